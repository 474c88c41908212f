"""The prompt and the mask, token by token."""

from __future__ import annotations

import dataclasses
import re

import pytest

from visiglot.errors import PromptError, TooLongError, UnknownNameError
from visiglot.render import load_template, render, template_names
from visiglot.types import IGNORE, Example, ImageRef, ImageSlot, Layout, Message, PromptSpec

IMAGE, BOS, EOS = 0, 1, 2


class Words:
    """A tokenizer of words, blanks, marks and <special tokens>, whose ids can be read back."""

    def __init__(self) -> None:
        self.vocabulary = ["<image>", "<bos>", "<eos>"]

    def encode(self, text: str) -> list[int]:
        ids = []
        for token in re.findall(r"<[^<>\s]+>|\w+|\s|[^\w\s]", text):
            if token not in self.vocabulary:
                self.vocabulary.append(token)
            ids.append(self.vocabulary.index(token))
        return ids

    def read(self, ids: tuple[int, ...]) -> list[str]:
        return ["_" if i == IGNORE else self.vocabulary[i] for i in ids]


def spec_of(words: Words, template: str, layout: Layout = "causal", **changes: object) -> PromptSpec:
    spec = PromptSpec(
        layout=layout,
        encode=words.encode,
        image_token="<image>",
        image_token_id=IMAGE,
        tokens_per_image=2,
        template=load_template(template),
        pad_id=EOS,
        prefix_ids=(BOS,) if layout == "causal" else (),
        suffix_ids=(EOS,) if layout == "seq2seq" else (),
        end_ids=(EOS,),
        max_length=64,
    )
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


def picture(name: str) -> ImageRef:
    return ImageRef(name, data=name.encode())


def example(*messages: Message, images: tuple[ImageRef, ...] = ()) -> Example:
    return Example("e1", messages, "deu_Latn", images, task="caption")


def user(*content: str | ImageSlot) -> Message:
    return Message("user", content)


def assistant(*content: str | ImageSlot) -> Message:
    return Message("assistant", content)


CAPTION = example(user(ImageSlot(0), "Was ist das?"), assistant("Ein Hund"), images=(picture("dog"),))

CAUSAL = {
    "plain": (
        "<bos> <image> <image> Was · ist · das ? Ein · Hund <eos>",
        "_     _       _       _   _ _   _ _   _ Ein · Hund <eos>",
    ),
    "vicuna": (
        "<bos> USER : · <image> <image> Was · ist · das ? · ASSISTANT : Ein · Hund </s> <eos>",
        "_     _    _ _ _       _       _   _ _   _ _   _ _ _         _ Ein · Hund </s> <eos>",
    ),
    "chatml": (
        "<bos> <|im_start|> user ¶ <image> <image> Was · ist · das ? <|im_end|> ¶ <|im_start|> assistant ¶ "
        "Ein · Hund <|im_end|> ¶ <eos>",
        "_     _            _    _ _       _       _   _ _   _ _   _ _          _ _            _         _ "
        "Ein · Hund <|im_end|> ¶ <eos>",
    ),
}

SEQ2SEQ = {
    "plain": ("<image> <image> Was · ist · das ? <eos>", "Ein · Hund <eos>"),
    "vicuna": ("USER : · <image> <image> Was · ist · das ? · ASSISTANT : <eos>", "Ein · Hund <eos>"),
    "chatml": (
        "<|im_start|> user ¶ <image> <image> Was · ist · das ? <|im_end|> ¶ <|im_start|> assistant ¶ <eos>",
        "Ein · Hund <eos>",
    ),
}


def tokens(line: str) -> list[str]:
    return [{"·": " ", "¶": "\n"}.get(token, token) for token in line.split()]


@pytest.mark.parametrize("template", CAUSAL)
def test_a_causal_row_supervises_the_answer_and_its_ending_only(template: str) -> None:
    words = Words()
    sample = render(CAPTION, spec_of(words, template))
    ids, labels = CAUSAL[template]
    assert words.read(sample.ids) == tokens(ids)
    assert words.read(sample.labels) == tokens(labels)
    assert sample.images == CAPTION.images
    assert (sample.id, sample.language, sample.task) == ("e1", "deu_Latn", "caption")


@pytest.mark.parametrize("template", SEQ2SEQ)
def test_a_seq2seq_row_gives_the_prompt_to_the_encoder_and_the_answer_to_the_decoder(template: str) -> None:
    words = Words()
    sample = render(CAPTION, spec_of(words, template, "seq2seq"))
    ids, labels = SEQ2SEQ[template]
    assert words.read(sample.ids) == tokens(ids)
    assert words.read(sample.labels) == tokens(labels)


def test_all_answers_of_a_conversation_are_supervised_in_a_causal_row() -> None:
    words = Words()
    talk = example(user("a"), assistant("b"), user("c"), assistant("d"))
    sample = render(talk, spec_of(words, "vicuna"))
    assert words.read(sample.ids) == tokens(
        "<bos> USER : · a · ASSISTANT : b </s> USER : · c · ASSISTANT : d </s> <eos>"
    )
    assert words.read(sample.labels) == tokens("_ _ _ _ _ _ _ _ b </s> _ _ _ _ _ _ _ d </s> <eos>")


def test_earlier_answers_of_a_conversation_are_read_by_the_encoder_of_a_seq2seq_row() -> None:
    words = Words()
    talk = example(user("a"), assistant("b"), user("c"), assistant("d"))
    sample = render(talk, spec_of(words, "vicuna", "seq2seq"))
    assert words.read(sample.ids) == tokens("USER : · a · ASSISTANT : b </s> USER : · c · ASSISTANT : <eos>")
    assert words.read(sample.labels) == tokens("d <eos>")


def test_several_pictures_stand_where_their_slots_do_and_may_come_twice() -> None:
    words = Words()
    both = example(
        user("first", ImageSlot(1), "then", ImageSlot(0), ImageSlot(1), "?"),
        assistant("yes"),
        images=(picture("a"), picture("b")),
    )
    sample = render(both, spec_of(words, "plain"))
    pictures = "<image> <image>"
    assert words.read(sample.ids) == tokens(f"<bos> first {pictures} then {pictures} {pictures} ? yes <eos>")
    assert [ref.name for ref in sample.images] == ["b", "a", "b"]


def test_a_picture_in_an_earlier_answer_is_read_but_not_supervised() -> None:
    words = Words()
    shown = example(
        user("q"), assistant("see", ImageSlot(0), "there"), user("r"), assistant("s"), images=(picture("a"),)
    )
    sample = render(shown, spec_of(words, "plain"))
    assert words.read(sample.ids) == tokens("<bos> q see <image> <image> there r s <eos>")
    assert words.read(sample.labels) == tokens("_ _ see _ _ there _ s <eos>")


def test_text_alone_is_rendered_without_pictures() -> None:
    words = Words()
    sample = render(example(user("q"), assistant("a")), spec_of(words, "plain"))
    assert words.read(sample.ids) == tokens("<bos> q a <eos>")
    assert sample.images == ()


def test_text_split_into_pieces_renders_as_one_piece() -> None:
    words = Words()
    spec = spec_of(words, "chatml")
    whole = example(user("caption in German"), assistant("Hund"))
    pieces = example(user("cap", "tion in ", "Ger", "man"), assistant("Hu", "nd"))
    assert render(pieces, spec) == render(whole, spec)


def test_an_ending_that_the_template_writes_is_not_written_twice() -> None:
    words = Words()
    end = words.encode("<|im_end|>")
    sample = render(CAPTION, spec_of(words, "chatml", end_ids=tuple(end)))
    assert words.read(sample.ids)[-3:] == ["Hund", "<|im_end|>", "\n"]
    seq2seq = render(CAPTION, spec_of(words, "chatml", "seq2seq", end_ids=tuple(end)))
    assert words.read(seq2seq.labels)[-2:] == ["Hund", "<|im_end|>"]


@pytest.mark.parametrize("layout", ["causal", "seq2seq"])
def test_completion_leaves_out_the_answer_and_has_no_labels(layout: Layout) -> None:
    words = Words()
    spec = spec_of(words, "chatml", layout)
    asked = dataclasses.replace(CAPTION, messages=CAPTION.messages[:1])
    sample = render(CAPTION, spec, complete=True)
    assert sample == render(asked, spec, complete=True)
    assert sample.labels == ()
    assert "Hund" not in words.read(sample.ids)


def test_completion_keeps_the_answers_that_are_history() -> None:
    words = Words()
    talk = example(user("a"), assistant("b"), user("c"))
    sample = render(talk, spec_of(words, "vicuna"), complete=True)
    assert words.read(sample.ids) == tokens("<bos> USER : · a · ASSISTANT : b </s> USER : · c · ASSISTANT :")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (example(user("say <image> now"), assistant("a")), "placeholder '<image>'"),
        (example(user("say <im", "age> now"), assistant("a")), "placeholder '<image>'"),
        (example(user("q"), assistant("an <image>")), "placeholder '<image>'"),
        (example(user(ImageSlot(1), "q"), assistant("a"), images=(picture("x"),)), "shows picture 1"),
        (example(user(ImageSlot(-1), "q"), assistant("a"), images=(picture("x"),)), "shows picture -1"),
        (example(user("q"), assistant("a"), images=(picture("x"),)), "stand nowhere in the text: x"),
        (example(user("q")), "last turn is user"),
        (example(), "last turn is missing"),
        (example(user("q"), assistant("  ")), "assistant turn is empty"),
        (example(user("q"), assistant(""), user("r"), assistant("a")), "assistant turn is empty"),
    ],
)
def test_an_example_that_does_not_fit_together_is_refused(broken: Example, message: str) -> None:
    with pytest.raises(PromptError, match=re.escape(message)) as caught:
        render(broken, spec_of(Words(), "plain"))
    assert "e1" in str(caught.value)
    assert caught.value.hint


def test_a_tokenizer_that_makes_a_placeholder_of_other_text_is_caught() -> None:
    spec = spec_of(Words(), "plain", encode=lambda text: [IMAGE] * len(text.split()))
    with pytest.raises(PromptError, match="placeholder"):
        render(example(user("harmless"), assistant("a")), spec)


def test_a_picture_in_the_answer_of_a_seq2seq_row_is_refused() -> None:
    shown = example(user("q"), assistant("see", ImageSlot(0)), images=(picture("a"),))
    with pytest.raises(PromptError, match="decoder can't read"):
        render(shown, spec_of(Words(), "plain", "seq2seq"))


def test_a_role_without_a_place_in_the_template_is_refused() -> None:
    ruled = example(Message("system", ("be brief",)), user("q"), assistant("a"))
    with pytest.raises(PromptError, match="gemma has no place for a system turn"):
        render(ruled, spec_of(Words(), "gemma"))


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(PromptError, match="prompt is empty"):
        render(example(), spec_of(Words(), "plain", prefix_ids=()), complete=True)


def test_nothing_is_cut_off_from_a_row_that_is_too_long() -> None:
    words = Words()
    length = len(render(CAPTION, spec_of(words, "plain")).ids)
    assert len(render(CAPTION, spec_of(words, "plain", max_length=length)).ids) == length
    with pytest.raises(TooLongError, match=f"{length} tokens, 2 of them for 1 picture; the model takes {length - 1}"):
        render(CAPTION, spec_of(words, "plain", max_length=length - 1))
    with pytest.raises(TooLongError):
        render(CAPTION, spec_of(words, "plain", max_length=4), complete=True)
    with pytest.raises(TooLongError):
        render(example(user("q"), assistant("w " * 9)), spec_of(words, "plain", "seq2seq", max_length=8))


def test_an_unknown_template_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'chatml'"):
        load_template("chat-ml")
    assert {"plain", "vicuna", "chatml", "llama-3", "gemma"} <= set(template_names())

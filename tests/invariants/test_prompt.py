"""Training prefix = serving prefix, for every template, both layouts and tokenizers that merge over seams."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from visiglot.render import load_template, render, template_names
from visiglot.types import IGNORE, Example, ImageRef, ImageSlot, Layout, Message, PromptSpec

SPECIAL = ["<image>", "<bos>", "<eos>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|end|>", "<|user|>"]
TEXT = [
    "USER: what is this? ASSISTANT: a dog",
    "USER: caption in German. ASSISTANT: ein Hund",
    "was ist das? ein Hund, ein Haus",
    "this is a dog. this is a house.",
]


def byte_pairs() -> Tokenizer:
    """A byte-level BPE, as Llama 3, Qwen and BLOOM have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT * 5, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    """A SentencePiece-like unigram that sets a blank before each text, as T5 has."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=[*SPECIAL, "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT * 5, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer


def merging() -> Callable[[str], list[int]]:
    """Pairs of characters as tokens: the worst case, where every seam of odd length would be bridged."""
    return lambda text: [10 + sum(map(ord, pair)) * 7 + len(pair) for pair in re.findall(r"(?s)..?", text)]


ENCODERS = {"byte_pairs": byte_pairs, "unigram": unigram, "merging": merging}


@pytest.fixture(scope="module", params=ENCODERS)
def encode(request: pytest.FixtureRequest) -> Callable[[str], list[int]]:
    made = ENCODERS[request.param]()
    return made if not isinstance(made, Tokenizer) else lambda text: made.encode(text, add_special_tokens=False).ids


def spec_of(encode: Callable[[str], list[int]], template: str, layout: Layout) -> PromptSpec:
    return PromptSpec(
        layout=layout,
        encode=encode,
        image_token="<image>",
        image_token_id=0,
        tokens_per_image=4,
        template=load_template(template),
        pad_id=2,
        prefix_ids=(1,),
        suffix_ids=(2,) if layout == "seq2seq" else (),
        end_ids=(2,),
    )


A, B = ImageRef("a", data=b"a"), ImageRef("b", data=b"b")


def talk(*turns: tuple[str | ImageSlot, ...], images: tuple[ImageRef, ...] = ()) -> Example:
    roles = ("user", "assistant")
    return Example("e", tuple(Message(roles[i % 2], turn) for i, turn in enumerate(turns)), "deu_Latn", images)  # type: ignore[arg-type]


EXAMPLES = {
    "one picture": talk((ImageSlot(0), "was ist das?"), ("ein Hund",), images=(A,)),
    "interleaved": talk(
        ("compare ", ImageSlot(0), " with ", ImageSlot(1), ImageSlot(0), "?"), ("a dog, a house",), images=(A, B)
    ),
    "no picture": talk(("was ist das?",), ("das",)),
    "a conversation": talk((ImageSlot(0), "this?"), ("a dog",), ("and", ImageSlot(1)), ("a house.",), images=(A, B)),
}


@pytest.mark.parametrize("template", template_names())
@pytest.mark.parametrize("kind", EXAMPLES)
def test_what_serving_reads_is_how_training_begins(
    encode: Callable[[str], list[int]], template: str, kind: str
) -> None:
    spec = spec_of(encode, template, "causal")
    trained = render(EXAMPLES[kind], spec)
    served = render(EXAMPLES[kind], spec, complete=True)
    assert trained.ids[: len(served.ids)] == served.ids
    rest = trained.labels[len(served.ids) :]
    assert rest
    assert IGNORE not in rest
    assert trained.labels[len(served.ids) - 1] == IGNORE
    assert trained.images == served.images


@pytest.mark.parametrize("template", template_names())
@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_encoder_reads_the_same_in_training_and_serving(
    encode: Callable[[str], list[int]], template: str, kind: str
) -> None:
    spec = spec_of(encode, template, "seq2seq")
    trained = render(EXAMPLES[kind], spec)
    served = render(EXAMPLES[kind], spec, complete=True)
    assert trained.ids == served.ids
    assert trained.images == served.images
    assert trained.labels[-1] == 2


@pytest.mark.parametrize("template", template_names())
def test_a_conversation_is_read_on_from_where_its_first_turn_was_served(
    encode: Callable[[str], list[int]], template: str
) -> None:
    """What was served for turn one stands at the head of what is trained on and served for turn two."""
    spec = spec_of(encode, template, "causal")
    whole = EXAMPLES["a conversation"]
    first = Example("e", whole.messages[:1], whole.language, (A,))
    served = render(first, spec, complete=True)
    for complete in (False, True):
        assert render(whole, spec, complete=complete).ids[: len(served.ids)] == served.ids


@pytest.mark.parametrize("template", template_names())
@pytest.mark.parametrize("layout", ["causal", "seq2seq"])
def test_every_picture_has_its_tokens(encode: Callable[[str], list[int]], template: str, layout: Layout) -> None:
    for example in EXAMPLES.values():
        for complete in (False, True):
            sample = render(example, spec_of(encode, template, layout), complete=complete)
            assert sample.ids.count(0) == 4 * len(sample.images)

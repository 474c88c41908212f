"""Example -> token ids and labels: the one place where turns, pictures and answers become a prompt.

Training, evaluation and serving all call `render`, so the prompt that a model was trained on and the prompt that it is
asked with can't drift apart.

Text is encoded in runs. A run ends where the assistant's words begin and end; inside it the template's words and the
message's words are encoded together, as the LLM's own chat template would. The texts around a picture are encoded each
on its own, or together where the model's own processor does that (`PromptSpec.encode_around`). No token ever spans the
seam between prompt and answer, so the prompt of training is, id for id, the prompt of serving.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from itertools import takewhile

from visiglot.errors import PromptError, TooLongError, UnknownNameError
from visiglot.types import IGNORE, Example, ImageRef, ImageSlot, Message, PromptSpec, Sample, Template


def render(example: Example, spec: PromptSpec, *, complete: bool = False) -> Sample:
    """Render an example for a model. Pure; nothing is ever cut off.

    Args:
        example: its last turn is the assistant's unless `complete`.
        spec: what must be known of the model.
        complete: stop where the assistant would begin to speak. An answer that stands last is left out.

    Returns:
        causal: ids [L] are everything that is read; labels [L] are aligned with them (not shifted) and IGNORE but for
        each assistant turn's words, what the template writes after them, and `end_ids` after the last.
        seq2seq: ids [L] are everything up to the last answer, then `suffix_ids`; labels [T] are the last answer's
        words and `end_ids`.
        What of an answer isn't learned (`Message.unlearned`) keeps its ids and is IGNORE in the labels; a token that it
        shares with what is learned is learned. The whole answer is in `targets` then.
        Labels are empty when `complete`.

    Raises:
        PromptError: no turns, no answer or an empty one, a role that the template has no place for, a slot that points
            to no picture, a picture that no slot shows, a placeholder in ordinary text.
        TooLongError: more than `spec.max_length` tokens (seq2seq: in the prompt or in the answer).
    """
    messages = list(example.messages)
    _check_pictures(example)
    answered = bool(messages) and messages[-1].role == "assistant"
    if not complete and not answered:
        raise PromptError(
            f"example {example.id}: its last turn is {messages[-1].role if messages else 'missing'}, not assistant",
            hint="Training needs an answer; render with complete=True to leave it open.",
        )
    if complete:
        messages = messages[:-1] if answered else messages
        sample = _open(example, messages, spec)
    elif spec.layout == "causal":
        sample = _causal(example, messages, spec)
    else:
        sample = _seq2seq(example, messages, spec)
    longest = max(len(sample.ids), len(sample.labels))
    if longest > spec.max_length:
        pictures = len(sample.images)
        raise TooLongError(
            f"example {example.id}: {longest} tokens, {pictures * spec.tokens_per_image} of them for "
            f"{pictures} picture{'' if pictures == 1 else 's'}; the model takes {spec.max_length}",
            hint="Raise model.prompt.max_length, or shorten or leave out the example; nothing is cut off.",
        )
    if not sample.ids:
        raise PromptError(f"example {example.id}: its prompt is empty", hint="Give it a picture or some text.")
    return sample


def load_template(name: str) -> Template:
    """The row `name` of templates.toml.

    Raises:
        UnknownNameError: with the nearest names.
    """
    rows = _templates()
    if name not in rows:
        raise UnknownNameError("template", name, rows)
    return rows[name]


def template_names() -> list[str]:
    return sorted(_templates())


@cache
def _templates() -> dict[str, Template]:
    text = resources.files("visiglot").joinpath("templates.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text).items()
    return {name: Template(name, row["before"], row["after"], row.get("start", "")) for name, row in rows}


# --- layouts ---------------------------------------------------------------------------------------------------------


def _open(example: Example, messages: Sequence[Message], spec: PromptSpec) -> Sample:
    """Everything up to the words that the assistant is about to say."""
    writer = _Writer(example, spec)
    writer.write_start(messages)
    for message in messages:
        writer.write_turn(message)
    writer.write_text(_around(example, spec, "assistant")[0])
    writer.end_run(supervised=False)
    writer.write_prefix()  # of a prompt that is nothing but pictures
    suffix = spec.suffix_ids if spec.layout == "seq2seq" else ()
    return writer.sample((*writer.ids, *suffix), ())


def _causal(example: Example, messages: Sequence[Message], spec: PromptSpec) -> Sample:
    writer = _Writer(example, spec)
    writer.write_start(messages)
    for message in messages:
        if message.role == "assistant":
            _check_answer(example, message)
        writer.write_turn(message)
    end = () if _template_ends(example, spec) else spec.end_ids
    sample = writer.sample((*writer.ids, *end), (*writer.labels, *end))
    if not writer.unlearned:
        return sample
    said = tuple(id if at in writer.unlearned else sample.labels[at] for at, id in enumerate(sample.ids))
    return replace(sample, targets=said)


def _seq2seq(example: Example, messages: Sequence[Message], spec: PromptSpec) -> Sample:
    answer = messages[-1]
    _check_answer(example, answer)
    if any(isinstance(part, ImageSlot) for part in answer.content):
        raise PromptError(
            f"example {example.id}: a picture stands in the answer, which the decoder can't read",
            hint="Move the picture into the prompt.",
        )
    prompt = _open(example, messages[:-1], spec)
    said = (*_encode(example, spec, answer.text), *spec.end_ids)
    masked = _unlearned(example, spec, answer, said)
    return replace(prompt, labels=(*[IGNORE] * masked, *said[masked:]), targets=said if masked else ())


class _Writer:
    """Grows ids, their causal labels and the pictures of the slots. `_run` is what is in the run still open,
    `unlearned` where words of answers stand that aren't learned."""

    def __init__(self, example: Example, spec: PromptSpec) -> None:
        self.example = example
        self.spec = spec
        self.ids: list[int] = []
        self.labels: list[int] = []
        self.images: list[ImageRef] = []
        self.first_answer: int | None = None
        self.unlearned: set[int] = set()
        self._run: list[str | ImageRef] = []
        self._prefix = spec.prefix_ids
        if not spec.prefix_after_images:
            self.write_prefix()

    def write_start(self, messages: Sequence[Message]) -> None:
        """What the template begins with, unless a system turn does."""
        if not messages or messages[0].role != "system":
            self.write_text(self.spec.template.start)

    def write_turn(self, message: Message) -> None:
        before, after = _around(self.example, self.spec, message.role)
        supervised = message.role == "assistant"
        self.write_text(before)
        if supervised:
            self.end_run(supervised=False)
            if self.first_answer is None:
                self.first_answer = len(self.ids)
        for part in message.content:
            self._run.append(part if isinstance(part, str) else self.example.images[part.index])
        self.write_text(after)
        if supervised:
            start = len(self.ids)
            self.end_run(supervised=True)
            masked = _unlearned(self.example, self.spec, message, self.ids[start:])
            self.labels[start : start + masked] = [IGNORE] * masked
            self.unlearned.update(range(start, start + masked))

    def write_text(self, text: str) -> None:
        self._run.append(text)

    def end_run(self, *, supervised: bool) -> None:
        pictures = [part for part in self._run if isinstance(part, ImageRef)]
        texts = [""]
        for part in self._run:
            if isinstance(part, str):
                texts[-1] += part
            else:
                texts.append("")
        self._run.clear()
        for position, ids in enumerate(_encode_around(self.example, self.spec, texts)):
            if position:
                self._write_picture(pictures[position - 1])
            if ids:
                self.write_prefix()
            self.ids.extend(ids)
            self.labels.extend(ids if supervised else [IGNORE] * len(ids))

    def write_prefix(self) -> None:
        """Write the prefix that isn't written yet."""
        self.ids.extend(self._prefix)
        self.labels.extend([IGNORE] * len(self._prefix))
        self._prefix = ()

    def _write_picture(self, image: ImageRef) -> None:
        self.images.append(image)
        self.ids.extend([self.spec.image_token_id] * self.spec.tokens_per_image)
        self.labels.extend([IGNORE] * self.spec.tokens_per_image)

    def sample(self, ids: tuple[int, ...], labels: tuple[int, ...]) -> Sample:
        assert not self._run, "the last run is still open"
        example = self.example
        return Sample(
            example.id, ids, labels, tuple(self.images), example.language, example.task, first_answer=self.first_answer
        )


# --- pieces and checks -----------------------------------------------------------------------------------------------


def _encode_around(example: Example, spec: PromptSpec, texts: Sequence[str]) -> list[list[int]]:
    """The ids of the texts before, between and after the pictures of a run, none of which may be a picture's."""
    if spec.encode_around is None or len(texts) == 1:
        return [_encode(example, spec, text) for text in texts]
    for text in texts:
        _refuse_placeholder(example, spec, text, ())
    return spec.encode_around(texts)


def _encode(example: Example, spec: PromptSpec, text: str) -> list[int]:
    """The ids of a text, none of which may be a picture's."""
    if not text:
        return []
    ids = list(spec.encode(text))
    _refuse_placeholder(example, spec, text, ids)
    return ids


def _unlearned(example: Example, spec: PromptSpec, message: Message, ids: Sequence[int]) -> int:
    """How many of an answer's `ids`, from the first, say nothing but what isn't learned."""
    alone = _encode(example, spec, message.text[: message.unlearned])
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(alone, ids)))


def _refuse_placeholder(example: Example, spec: PromptSpec, text: str, ids: Sequence[int]) -> None:
    if spec.image_token in text or spec.image_token_id in ids:
        raise PromptError(
            f"example {example.id}: ordinary text holds the picture placeholder {spec.image_token!r}: {_excerpt(text)}",
            hint="Say where a picture stands with an ImageSlot, and take the placeholder out of the text.",
        )


def _around(example: Example, spec: PromptSpec, role: str) -> tuple[str, str]:
    """What the template writes before and after a role's words."""
    template = spec.template
    if role not in template.before or role not in template.after:
        raise PromptError(
            f"example {example.id}: template {template.name} has no place for a {role} turn",
            hint=f"It has {', '.join(template.before)}; put the words into one of these, or choose another template.",
        )
    return template.before[role], template.after[role]


def _template_ends(example: Example, spec: PromptSpec) -> bool:
    """Whether the template itself writes `end_ids` after an answer, so that they aren't written twice."""
    end = list(spec.end_ids)
    written = _encode(example, spec, _around(example, spec, "assistant")[1])
    return any(written[i : i + len(end)] == end for i in range(len(written) - len(end) + 1))


def _check_answer(example: Example, message: Message) -> None:
    if not message.text.strip():
        raise PromptError(
            f"example {example.id}: an assistant turn is empty", hint="Leave the example out, or give it its answer."
        )


def _check_pictures(example: Example) -> None:
    """Every slot points to a picture and every picture has a slot."""
    count = len(example.images)
    slots = [part.index for message in example.messages for part in message.content if isinstance(part, ImageSlot)]
    for index in slots:
        if not 0 <= index < count:
            raise PromptError(
                f"example {example.id}: a slot shows picture {index}, but the example has {count} (counted from 0)",
                hint="Add the picture to `images` or correct the slot's index.",
            )
    unused = sorted(set(range(count)) - set(slots))
    if unused:
        names = ", ".join(example.images[index].name for index in unused)
        raise PromptError(
            f"example {example.id}: {len(unused)} of its {count} pictures stand nowhere in the text: {names}",
            hint="Put an ImageSlot where each is to be seen, or leave the picture out.",
        )


def _excerpt(text: str, length: int = 80) -> str:
    return repr(text if len(text) <= length else f"{text[:length]}…")

"""Any Hugging Face image-text-to-text model, asked a benchmark through its own processor and `generate`.

It is the way for models that Visiglot's own decoder has no format for. Models that it has one for (its own, BLIP-2,
LLaVA) are asked through that one.

Shapes: B rows, L tokens of the prompt, T tokens of an answer, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from visiglot.errors import CheckpointError, EvaluationError, VisiglotError
from visiglot.evaluate.answers import asked_turns, hash_state
from visiglot.evaluate.benchmark import Settings
from visiglot.evaluate.ranking import Likelihoods, choices_of
from visiglot.images import load_image
from visiglot.types import Example, ImageSlot, Message

ROWS = 8
"""Prompts that are answered together."""

LIMITS = ("max_position_embeddings", "n_positions", "max_sequence_length")
"""Where a language model's config says how many tokens it takes."""


def load_stock(name: str, *, device: torch.device, dtype: torch.dtype | str) -> tuple[Any, Any]:
    """Model and processor by transformers' own classes, ready to answer. Code of the repository is never run.

    Args:
        name: a folder or a hub id.
        dtype: "auto" (as saved) or one of torch's.

    Raises:
        CheckpointError: it isn't there, or no image-text-to-text model.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(name)
        model = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{name} can't be loaded as an image-text-to-text model: {error}",
            hint="Name a model folder or hub id that transformers' AutoModelForImageTextToText takes.",
        ) from error
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise CheckpointError(
            f"{name} has no processor for pictures and words",
            hint="Its folder needs preprocessor_config.json and the tokenizer's files.",
        )
    return model.to(device).eval(), processor


class StockAnswerer:
    """A transformers model. Prompts are in the words of its chat template; without one, its placeholder and the words.

    Args:
        name: what the user called the model.
        rows: prompts that are answered together.
    """

    def __init__(self, model: Any, processor: Any, *, name: str, rows: int = ROWS) -> None:
        self._model = model
        self._processor = processor
        self._rows = rows
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "right" if model.config.is_encoder_decoder else "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self._pad = tokenizer.pad_token_id
        self._limit = _limit(model.config)
        self._placeholder = getattr(processor, "image_token", None) or ""
        self.device = str(model.device)
        self.name = name
        facts = {
            "processor": processor.to_dict() if hasattr(processor, "to_dict") else str(type(processor)),
            "template": getattr(processor, "chat_template", None),
            "vocabulary": sorted(tokenizer.get_vocab().items()),
            "config": model.config.to_dict(),
            "generation": model.generation_config.to_dict(),
        }
        self.fingerprint = hash_state(model.state_dict(), facts)

    def answer(self, examples: Sequence[Example], settings: Settings) -> Iterator[tuple[int, str | VisiglotError]]:
        """Answers some rows at a time, rows with the same number of pictures together."""
        ready: dict[int, list[tuple[int, Example, list[Any]]]] = {}
        for index, example in enumerate(examples):
            try:
                pictures = [load_image(ref) for ref in example.images]
                self._check_length(example, self._inputs([(example, pictures)]))
            except VisiglotError as error:
                yield index, error
                continue
            rows = ready.setdefault(len(pictures), [])
            rows.append((index, example, pictures))
            if len(rows) == self._rows:
                yield from self._generate(ready.pop(len(pictures)), settings)
        for rows in ready.values():
            yield from self._generate(rows, settings)

    def rank(self, examples: Sequence[Example]) -> Iterator[tuple[int, Likelihoods | VisiglotError]]:
        """The log-likelihood of each choice as the answer that follows the prompt, with the token that ends it."""
        for index, example in enumerate(examples):
            try:
                pictures = [load_image(ref) for ref in example.images]
                inputs = self._inputs([(example, pictures)])
                self._check_length(example, inputs)
                yield index, tuple(self._likelihood(inputs, choice) for choice in choices_of(example))
            except VisiglotError as error:
                yield index, error

    # --- generation ---

    @torch.no_grad()
    def _generate(
        self, rows: Sequence[tuple[int, Example, list[Any]]], settings: Settings
    ) -> Iterator[tuple[int, str | VisiglotError]]:
        inputs = self._inputs([(example, pictures) for _, example, pictures in rows])
        options = asdict(settings)
        ids = self._model.generate(
            **inputs,
            do_sample=False,
            num_beams=options.pop("beams"),
            pad_token_id=self._pad,
            **{key: value for key, value in options.items() if key != "length_penalty" or settings.beams > 1},
        )
        if not self._model.config.is_encoder_decoder and _echoes(ids, inputs["input_ids"]):
            ids = ids[:, inputs["input_ids"].shape[1] :]
        texts = self._processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
        for (index, _, _), text in zip(rows, texts, strict=True):
            yield index, text.strip()

    # --- likelihoods ---

    @torch.no_grad()
    def _likelihood(self, inputs: dict[str, Any], answer: str) -> float:
        """log p(answer, end | prompt) in nats; `inputs` are of one row.

        `generate` is made to say the answer, so that a prompt is read here as it is when the model answers, whatever
        masks and positions its family has.
        """
        tokenizer = self._processor.tokenizer
        ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"]]
        if tokenizer.eos_token_id is not None:
            ids.append(tokenizer.eos_token_id)
        said = self._model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=len(ids),
            pad_token_id=self._pad,
            logits_processor=[_Only(ids)],
            output_logits=True,
            return_dict_in_generate=True,
        )
        rows = torch.stack([one[0].float() for one in said.logits])
        return -float(cross_entropy(rows, torch.tensor(ids[: len(rows)], device=rows.device), reduction="sum"))

    # --- prompts ---

    def _inputs(self, rows: Sequence[tuple[Example, list[Any]]]) -> dict[str, Any]:
        """What the model is called with for B rows with equally many pictures each."""
        turns = [[_turn(message) for message in asked_turns(example)] for example, _ in rows]
        if getattr(self._processor, "chat_template", None):
            texts = [self._processor.apply_chat_template(one, add_generation_prompt=True) for one in turns]
        else:
            texts = ["\n".join(self._plain(turn) for turn in one) for one in turns]
        pictures = [pictures for _, pictures in rows]
        images: dict[str, Any] = {"images": pictures} if any(pictures) else {}
        try:
            found = self._processor(text=texts, padding=True, return_tensors="pt", **images)
        except ValueError as error:
            raise EvaluationError(f"{self.name}: its processor doesn't take the prompt: {error}") from error
        return {
            key: value.to(self._model.device, self._model.dtype if value.is_floating_point() else None)
            for key, value in found.items()
            if key != "labels"
        }

    def _plain(self, turn: dict[str, Any]) -> str:
        return "".join(part["text"] if part["type"] == "text" else self._placeholder for part in turn["content"])

    def _check_length(self, example: Example, inputs: dict[str, Any]) -> None:
        length = inputs["input_ids"].shape[1]
        if self._limit is not None and length >= self._limit:
            raise EvaluationError(
                f"example {example.id}: {length} tokens, the model takes {self._limit}",
                hint="Use a model with a longer context.",
            )


class _Only:
    """A logits processor that leaves one token at each step: those of an answer, in their order."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._left = list(reversed(ids))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        only = torch.full_like(scores, -torch.inf)
        only[:, self._left.pop()] = 0
        return only


def _turn(message: Message) -> dict[str, Any]:
    parts = [
        {"type": "image"} if isinstance(part, ImageSlot) else {"type": "text", "text": part} for part in message.content
    ]
    return {"role": message.role, "content": parts}


def _limit(config: Any) -> int | None:
    text = config.get_text_config()
    return next((value for key in LIMITS if isinstance(value := getattr(text, key, None), int)), None)


def _echoes(ids: torch.Tensor, prompt: torch.Tensor) -> bool:
    """Whether `generate` gave the prompts [B, L] back before the answers, as it does when it is given their ids."""
    length = prompt.shape[1]
    return ids.shape[1] >= length and bool((ids[:, :length] == prompt).all())

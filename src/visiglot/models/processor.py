"""The processor: tokenizer, picture preprocessing, and the `PromptSpec` that follows from a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from visiglot.errors import PromptError
from visiglot.models.families import family
from visiglot.render import load_template, render
from visiglot.types import Example, ImageRef, ImageSlot, Message, PromptSpec

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_TOKEN = "<image>"


class VisiglotProcessor(ProcessorMixin):  # type: ignore[misc]
    """Text and pictures to what `VisionLanguageModel` reads.

    Args:
        image_processor: any transformers image processor that gives `pixel_values` of one size.
        tokenizer: the LLM's.
        image_token: placeholder of a picture in text.
        image_token_id: id that fills its positions.
        tokens_per_image: K.
        layout: "causal" or "seq2seq".
        family: the LLM config's `model_type`.
        template: row of the template table.
        max_length: tokens a row may have, image tokens included.
        bos_after_images: whether BOS follows the pictures that a prompt begins with, as in BLIP-2.
        whole_turns: encode the words before and after a picture in one go, with `image_token` between them, which the
            tokenizer must know; as LLaVA's processor does. Else each on its own.
    """

    def __init__(
        self,
        image_processor: Any,
        tokenizer: Any,
        image_token: str = IMAGE_TOKEN,
        image_token_id: int = -1,
        tokens_per_image: int = 0,
        layout: str = "causal",
        family: str = "",
        template: str = "plain",
        max_length: int = 256,
        bos_after_images: bool = False,
        whole_turns: bool = False,
    ) -> None:
        self.image_token = image_token
        self.image_token_id = image_token_id
        self.tokens_per_image = tokens_per_image
        self.layout = layout
        self.family = family
        self.template = template
        self.max_length = max_length
        self.bos_after_images = bos_after_images
        self.whole_turns = whole_turns
        super().__init__(image_processor, tokenizer)

    @property
    def mean(self) -> tuple[float, ...]:
        return tuple(self.image_processor.image_mean)

    @property
    def std(self) -> tuple[float, ...]:
        return tuple(self.image_processor.image_std)

    def fingerprint(self) -> str:
        """SHA-256 of everything that changes pixel values: part of the feature cache's key."""
        return hashlib.sha256(self.image_processor.to_json_string().encode()).hexdigest()

    def spec(self, *, max_length: int | None = None) -> PromptSpec:
        """What `render` must know of this model."""
        tokenizer = self.tokenizer
        eos = tokenizer.eos_token_id
        if eos is None:
            raise PromptError(
                f"the tokenizer {type(tokenizer).__name__} has no end-of-text token, so an answer could never end",
                hint="Set eos_token in its tokenizer_config.json.",
            )
        bos = tokenizer.bos_token_id if family(self.family).bos else None
        seq2seq = self.layout == "seq2seq"
        return PromptSpec(
            layout="seq2seq" if seq2seq else "causal",
            encode=lambda text: list(tokenizer.encode(text, add_special_tokens=False)),
            image_token=self.image_token,
            image_token_id=self.image_token_id,
            tokens_per_image=self.tokens_per_image,
            template=load_template(self.template),
            pad_id=eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
            prefix_ids=() if bos is None else (bos,),
            suffix_ids=(eos,) if seq2seq else (),
            end_ids=(eos,),
            max_length=max_length or self.max_length,
            prefix_after_images=self.bos_after_images,
            encode_around=self._encode_around if self.whole_turns else None,
        )

    def _encode_around(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of the texts around pictures, encoded as one text with a placeholder for each picture."""
        ids = self.tokenizer.encode(self.image_token.join(texts), add_special_tokens=False)
        token = self.tokenizer.convert_tokens_to_ids(self.image_token)
        runs: list[list[int]] = [[]]
        for id_ in ids:
            if id_ == token:
                runs.append([])
            else:
                runs[-1].append(id_)
        return runs

    def pixel_values(self, images: Sequence[Image]) -> Tensor:
        """Resized, normalised pictures: [I, 3, H, W] float32."""
        values: Tensor = self.image_processor(list(images), return_tensors="pt")["pixel_values"]
        return values.float()

    def __call__(
        self,
        images: Sequence[Image] | Image | None = None,
        text: str | Sequence[str] | None = None,
        padding_side: str | None = None,
        **_: Any,
    ) -> BatchFeature:
        """One user turn a text; `<image>` marks where its pictures stand, taken from `images` in order.

        Returns:
            input_ids and attention_mask [R, L], and with pictures pixel_values [I, 3, H, W], slot_image and
            slot_row [S].

        Raises:
            PromptError: the placeholders and the pictures differ in number.
        """
        texts = [text] if isinstance(text, str) else list(text or [])
        pictures = [] if images is None else list(images) if isinstance(images, Sequence) else [images]
        spec = self.spec()
        rows, slot_row = [], []
        for row, words in enumerate(texts):
            pieces = words.split(self.image_token)
            content: list[str | ImageSlot] = [pieces[0]]
            for index, piece in enumerate(pieces[1:]):
                content += [ImageSlot(index), piece]
                slot_row.append(row)
            example = Example(
                id=f"text {row}",
                messages=(Message("user", tuple(part for part in content if part != "")),),
                language="",
                images=tuple(ImageRef(f"image {index}", data=b"") for index in range(len(pieces) - 1)),
            )
            rows.append(render(example, spec, complete=True).ids)
        if len(slot_row) != len(pictures):
            raise PromptError(
                f"the texts hold {len(slot_row)} {self.image_token} placeholder(s), {len(pictures)} picture(s) given",
                hint="Put one placeholder where each picture stands.",
            )
        longest = max(map(len, rows), default=0)
        left = (padding_side or ("left" if self.layout == "causal" else "right")) == "left"
        input_ids = torch.full((len(rows), longest), spec.pad_id)
        mask = torch.zeros_like(input_ids)
        for row, ids in enumerate(rows):
            where = slice(longest - len(ids), longest) if left else slice(0, len(ids))
            input_ids[row, where] = torch.tensor(ids)
            mask[row, where] = 1
        values: dict[str, Any] = {"input_ids": input_ids, "attention_mask": mask}
        if pictures:
            values["pixel_values"] = self.pixel_values(pictures)
            values["slot_image"] = torch.arange(len(pictures))
            values["slot_row"] = torch.tensor(slot_row)
        return BatchFeature(values)

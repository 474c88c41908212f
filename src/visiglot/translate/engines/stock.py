"""The same families of models through transformers' own `generate`: slower than CTranslate2, and needs only PyTorch.

A text's output doesn't depend on its batch mates but by rounding: padding is masked, but matrix products may add up in
another order for another number of rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from visiglot.errors import TranslationError
from visiglot.translate.engine import ENGINES, Engine
from visiglot.translate.engines.folders import Located, content_hash, failed, load_tokenizer, locate
from visiglot.translate.engines.seq2seq import (
    BATCH_TOKENS,
    MARGIN,
    NO_REPEAT,
    Batch,
    Codec,
    Count,
    Factor,
    Generated,
    Limits,
    Seq2SeqEngine,
)

UNSTATED = 1024
"""Positions of a model that has no limit: T5's are relative."""


@ENGINES.register("transformers")
def transformers_engine(
    model: str,
    name: str | None = None,
    licence: str | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    beams: Count = 4,
    batch_tokens: Count | None = None,
    max_length_factor: Factor = 2.0,
    device: str = "auto",
    threads: Annotated[int, Field(ge=0, strict=True)] = 0,
) -> Engine:
    """An engine of transformers.

    Args:
        model: a Hugging Face model, by folder or hub id.
        name, licence: what provenance records; default: what is known of the model.
        dtype: of weights and computing; float16 makes T5, and so MADLAD-400, overflow and is refused there.
        beams: 4 is what translation models are usually measured with; 1 is about twice as fast.
        batch_tokens: of a batch: padded tokens of its texts times beams; default: BATCH_TOKENS of the device.
        max_length_factor: tokens of an output for each token of its text, with a few more for short ones.
        device: auto, cpu, cuda or cuda:<n>.
        threads: of PyTorch in this process; 0: as they are.

    Raises:
        TranslationError: the model can't be used.
        ModelError: there is no such device.
    """
    located = locate(model, name, licence)
    if located.converted:
        raise TranslationError(f"{model} is in CTranslate2's format", hint="Use the engine ctranslate2.")
    from visiglot.models.device import pick_device

    chosen = pick_device(device)
    limits = (beams, batch_tokens or BATCH_TOKENS[chosen.type], max_length_factor)
    return _Transformers(located, dtype, limits, chosen, threads)


class _Transformers(Seq2SeqEngine):
    def __init__(self, located: Located, dtype: str, limits: tuple[int, int, float], device: Any, threads: int) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM, GenerationConfig, __version__

        self.name = located.name
        self.licence = located.licence
        self.codec = Codec(load_tokenizer(located.folder, located.name), located.name)
        if dtype == "float16" and self.codec.marks.family == "madlad":
            raise TranslationError(f"{located.name}: T5 overflows in float16", hint="Use bfloat16 or float32.")
        self._device = device
        if threads:
            torch.set_num_threads(threads)
        try:
            model = AutoModelForSeq2SeqLM.from_pretrained(str(located.folder), dtype=getattr(torch, dtype))
        except (OSError, ValueError, RuntimeError) as error:
            raise failed(f"{located.name} can't be loaded from {located.folder}", error) from error
        self.model: Any = model.to(self._device).eval()
        self.limits = Limits(*limits, getattr(model.config, "max_position_embeddings", None) or UNSTATED)
        self._pad: int = self.codec.tokenizer.pad_token_id
        # The model's own generation settings would end an output at the limit as if it had come to its end.
        model.generation_config = GenerationConfig(
            decoder_start_token_id=model.config.decoder_start_token_id,
            eos_token_id=self.codec.end,
            pad_token_id=self._pad,
            suppress_tokens=[self._pad] if self.codec.marks.family == "marian" else None,
        )
        facts = {
            "engine": "transformers",
            "version": __version__,
            "model": content_hash(located),
            "dtype": dtype,
            "beams": self.limits.beams,
            "max_length_factor": self.limits.max_length_factor,
            "margin": MARGIN,
            "no_repeat": NO_REPEAT,
        }
        self.identity = json.dumps(facts, sort_keys=True)

    def generate(self, batches: Sequence[Batch]) -> Iterator[list[Generated]]:
        """The outputs of each batch, in order.

        Raises:
            TranslationError: PyTorch can't go on.
        """
        for batch in batches:
            try:
                yield self._generate(batch)
            except RuntimeError as error:
                raise failed(
                    f"{self.name}: PyTorch can't go on", error, "A smaller batch_tokens needs less memory."
                ) from error

    def _generate(self, batch: Batch) -> list[Generated]:
        import torch

        length = max(map(len, batch.sources))
        padded = [[*ids, *[self._pad] * (length - len(ids))] for ids in batch.sources]
        mask = [[1] * len(ids) + [0] * (length - len(ids)) for ids in batch.sources]
        prefixed = batch.prefix is not None
        with torch.inference_mode():
            rows = self.model.generate(
                input_ids=torch.tensor(padded, device=self._device),
                attention_mask=torch.tensor(mask, device=self._device),
                forced_bos_token_id=batch.prefix,
                num_beams=self.limits.beams,
                do_sample=False,
                max_new_tokens=batch.limit + prefixed,
                no_repeat_ngram_size=NO_REPEAT if batch.again else 0,
            )
        return [self._read(row[1 + prefixed :]) for row in rows.tolist()]

    def _read(self, ids: list[int]) -> Generated:
        if self.codec.end in ids:
            return Generated(tuple(ids[: ids.index(self.codec.end)]), True)
        return Generated(tuple(ids), False)

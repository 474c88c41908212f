"""CTranslate2: NLLB-200, M2M-100, MADLAD-400 and Opus-MT models, in 8 bits unless said otherwise.

A text's output doesn't depend on its batch mates but by rounding: CTranslate2 masks padding and scales 8-bit numbers
for each position by itself, but its matrix products may add up in another order for another number of rows.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from visiglot.data.index_files import index_folder
from visiglot.errors import MissingExtraError, TranslationError
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

Compute = Literal["int8", "int8_float32", "int8_float16", "int8_bfloat16", "float32", "float16", "bfloat16"]

AHEAD = 2
"""Batches that CTranslate2 has at most, for each that it computes at a time; when it is stopped they are lost."""

UNSTATED = 1024
"""Positions of a model that doesn't say how many it has: those of NLLB-200."""


@ENGINES.register("ctranslate2")
def ctranslate2_engine(
    model: str,
    name: str | None = None,
    licence: str | None = None,
    tokenizer: str | None = None,
    compute: Compute = "int8",
    beams: Count = 4,
    batch_tokens: Count | None = None,
    max_length_factor: Factor = 2.0,
    device: str = "auto",
    threads: Annotated[int, Field(ge=0, strict=True)] = 0,
) -> Engine:
    """An engine of CTranslate2.

    Args:
        model: a folder that CTranslate2's converter wrote, or a Hugging Face model, by folder or hub id, which is
            converted once into the cache.
        name, licence: what provenance records; default: what is known of the model.
        tokenizer: folder or hub id of the tokenizer; default: the model's.
        compute: what numbers are computed with.
        beams: 4 is what translation models are usually measured with; 1 is about twice as fast.
        batch_tokens: of a batch: padded tokens of its texts times beams; default: BATCH_TOKENS of the device.
        max_length_factor: tokens of an output for each token of its text, with a few more for short ones.
        device: auto, cpu, cuda or cuda:<n>.
        threads: batches at a time on the CPU; 0: OMP_NUM_THREADS if that is set, else as many as there are cores.

    Raises:
        MissingExtraError: ctranslate2 isn't installed.
        TranslationError: the model, the device or the numbers can't be used.
    """
    located = locate(model, name, licence)
    loaded = load_tokenizer(tokenizer or located.folder, located.name)
    kind, index = _device(device)
    limits = Limits(beams, batch_tokens or BATCH_TOKENS[kind], max_length_factor, _positions(located, loaded))
    own = {"tokenizer": tokenizer} if tokenizer else {}
    return _CTranslate2(located, loaded, compute, limits, (kind, index), threads, own)


class _CTranslate2(Seq2SeqEngine):
    def __init__(
        self,
        located: Located,
        tokenizer: Any,
        compute: Compute,
        limits: Limits,
        device: tuple[str, int],
        threads: int,
        own: dict[str, str],
    ) -> None:
        import ctranslate2

        self.name = located.name
        self.licence = located.licence
        self.codec = Codec(tokenizer, located.name)
        self.limits = limits
        kind, index = device
        able = sorted(ctranslate2.get_supported_compute_types(kind, index))
        if compute not in able:
            raise TranslationError(
                f"engine ctranslate2: {kind} doesn't compute in {compute}", hint=f"It does in {', '.join(able)}."
            )
        workers = _threads(threads) if kind == "cpu" else 1
        self._ahead = AHEAD * workers
        folder = located.folder if located.converted else converted(located, tokenizer, compute)
        try:
            self._translator = ctranslate2.Translator(
                str(folder),
                device=kind,
                device_index=index,
                compute_type=compute,
                inter_threads=workers,
                intra_threads=1 if kind == "cpu" else 0,
            )
        except (RuntimeError, ValueError) as error:
            raise failed(f"{located.name} can't be loaded by CTranslate2 from {folder}", error) from error
        facts = {
            "engine": "ctranslate2",
            "version": ctranslate2.__version__,
            "model": content_hash(located),
            "compute": compute,
            "beams": limits.beams,
            "max_length_factor": limits.max_length_factor,
            "margin": MARGIN,
            "no_repeat": NO_REPEAT,
            **own,
        }
        self.identity = json.dumps(facts, sort_keys=True)

    def generate(self, batches: Sequence[Batch]) -> Iterator[list[Generated]]:
        """The outputs of each batch, in order. CTranslate2 always has some to go on with, and never many.

        Raises:
            TranslationError: CTranslate2 can't go on.
        """
        waiting, asked = iter(batches), deque[tuple[Batch, Any]]()
        try:
            asked.extend((batch, self._asked(batch)) for batch in islice(waiting, self._ahead))
            while asked:
                batch, answers = asked.popleft()
                said = [self._read(answer.result().hypotheses[0], batch.prefix is not None) for answer in answers]
                asked.extend((batch, self._asked(batch)) for batch in islice(waiting, 1))
                yield said
        except (RuntimeError, ValueError) as error:
            raise failed(
                f"{self.name}: CTranslate2 can't go on", error, "A smaller batch_tokens needs less memory."
            ) from error

    def _asked(self, batch: Batch) -> Any:
        """Results of the texts of a batch, which are there later."""
        tokens = self.codec.tokenizer.convert_ids_to_tokens
        return self._translator.translate_batch(
            [tokens(list(ids)) for ids in batch.sources],
            None if batch.prefix is None else [tokens([batch.prefix])] * len(batch.sources),
            asynchronous=True,
            beam_size=self.limits.beams,
            max_decoding_length=batch.limit + (batch.prefix is not None),
            min_decoding_length=0,
            max_input_length=0,
            no_repeat_ngram_size=NO_REPEAT if batch.again else 0,
            return_end_token=True,
        )

    def _read(self, tokens: list[str], prefixed: bool) -> Generated:
        ids = self.codec.tokenizer.convert_tokens_to_ids(tokens[prefixed:])
        finished = bool(ids) and ids[-1] == self.codec.end
        return Generated(tuple(ids[:-1] if finished else ids), finished)


def converted(located: Located, tokenizer: Any, compute: str) -> Path:
    """The folder of a Hugging Face model in CTranslate2's format; converted once, kept in the cache.

    Raises:
        TranslationError: the model isn't one that CTranslate2 converts.
    """
    import ctranslate2
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):  # type: ignore[misc]
        def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **kwargs: Any) -> Any:
            return _complete(tokenizer)

    def build(folder: Path) -> None:
        try:
            Converter(str(located.folder), low_cpu_mem_usage=True).convert(str(folder / "model"), quantization=compute)
        except (ValueError, KeyError, AttributeError, RuntimeError, OSError) as error:
            raise failed(f"{located.name} can't be converted for CTranslate2", error) from error

    facts = {"what": "CTranslate2", "version": ctranslate2.__version__, "numbers": compute}
    return index_folder(f"the converted model {located.name}", located.files, facts, build) / "model"


def _complete(tokenizer: Any) -> Any:
    """The tokenizer with its languages in its vocabulary: M2M100Tokenizer leaves them out, and CTranslate2 then too."""
    missing = getattr(tokenizer, "lang_token_to_id", {})
    if missing:
        vocabulary = {**tokenizer.get_vocab(), **missing}
        tokenizer.get_vocab = lambda: vocabulary
    return tokenizer


def _positions(located: Located, tokenizer: Any) -> int:
    """Tokens that a text may have. A converted model doesn't say; its tokenizer may."""
    if located.converted:
        return min(int(tokenizer.model_max_length), UNSTATED)
    path = located.folder / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8")).get("max_position_embeddings") or UNSTATED)
    except (OSError, ValueError, AttributeError) as error:
        raise failed(f"{path} can't be read", error) from error


def _threads(given: int) -> int:
    return given or int(os.environ.get("OMP_NUM_THREADS") or 0) or len(os.sched_getaffinity(0))


def _device(name: str) -> tuple[str, int]:
    try:
        import ctranslate2
    except ModuleNotFoundError as error:
        raise MissingExtraError("ctranslate2 (it translates)", "translate") from error
    kind, _, index = name.partition(":")
    count = ctranslate2.get_cuda_device_count()
    if kind == "auto" and not index:
        kind = "cuda" if count else "cpu"
    if kind not in ("cpu", "cuda") or (index and not (kind == "cuda" and index.isdecimal())):
        raise TranslationError(f"no such device: {name!r}", hint="Use auto, cpu, cuda or cuda:<n>.")
    number = int(index or 0)
    if kind == "cuda" and number >= count:
        raise TranslationError(
            f"device {name}: CTranslate2 sees {count} CUDA device(s)", hint="Use device=cpu or auto."
        )
    return kind, number

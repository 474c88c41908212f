"""Loading a whole model: a folder or hub id of a known format, or parts that a YAML file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from visiglot.config import load_model_section
from visiglot.errors import ConfigError, UnknownNameError
from visiglot.models.build import Built, build_model
from visiglot.models.checkpoint.stock import load_whole
from visiglot.models.checkpoint.tensors import check_fp32_parts, opened_model
from visiglot.models.config import PARTS
from visiglot.models.device import pick_device
from visiglot.models.processor import VisiglotProcessor
from visiglot.models.quantize import check_quantization, quantize_model
from visiglot.models.runs import resolve_model
from visiglot.models.vlm import VisionLanguageModel

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
AUTO = "auto"
YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class PartsReport:
    """Where the parts of a model came from: what `load_report` is for a model that a YAML file names."""

    where: str
    said: tuple[str, ...]

    def lines(self) -> list[str]:
        return [f"{self.where}: put together of parts", *self.said]


def load_model(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    fp32_parts: Sequence[str] = (),
    quantize: str | None = None,
    quantize_parts: str = "language_model",
) -> tuple[VisionLanguageModel, VisiglotProcessor]:
    """A model with its processor, ready to answer.

    A checkpoint must hold every weight of the model and no other. What became of them where it isn't in our own format
    is in `model.load_report`.

    Args:
        name: `nano`, a run, a run or model folder, a hub id (of ours, of stock BLIP-2 or LLaVA, of mBLIP as it was
            released), or a YAML file that names the parts as a recipe's `model` does.
        device: auto (a GPU if there is one), cpu, cuda or cuda:n.
        dtype: auto (as saved), fp32 or bf16.
        fp32_parts: parts kept in float32 whatever `dtype` is: "connector" (the Q-Former suffers most from bf16),
            "vision".
        quantize: None, or linear layers in fewer bits: int8, nf4 or llm-int8, see `visiglot.models.quantize`.
        quantize_parts: what of them: "language_model" or "all".

    Raises:
        CheckpointError: there is no such model, it is of no known format, or a file of it is missing, broken or of
            another model.
        ConfigError: the YAML file is wrong, or leaves a part without weights.
        ModelError: there is no such device.
        UnknownNameError: no such dtype, part or quantisation.
        MissingExtraError: the quantisation needs bitsandbytes.
    """
    if quantize is not None:
        check_quantization(quantize, quantize_parts)
    target = pick_device(device)
    if dtype not in (AUTO, *DTYPES):
        raise UnknownNameError("dtype", dtype, (AUTO, *DTYPES))
    check_fp32_parts(fp32_parts)
    where = resolve_model(name)
    if where.endswith(YAML):
        few = {part: torch.bfloat16 for part in PARTS if part not in fp32_parts}
        built = load_parts(where, few if dtype == "bf16" else {})
        model, processor = built.model, built.processor
        model.load_report = PartsReport(where, tuple(built.report))
    else:
        opened = opened_model(where)
        processor = opened.processor()
        model = load_whole(VisionLanguageModel, where, dtype=DTYPES.get(dtype, AUTO), fp32_parts=tuple(fp32_parts))
        model.config.template = processor.template
    model.processor = processor
    model = model.to(target).eval()
    if quantize is not None:
        quantize_model(model, quantize, quantize_parts)
    return model, processor


def load_parts(path: str, dtypes: Mapping[str, torch.dtype]) -> Built:
    """A model from parts that have weights, as a YAML file with the keys of a recipe's `model` names them.

    This is how a model is put together that was saved in pieces: the parts of its training, a language model and its
    adapter.

    Args:
        dtypes: of parts that aren't to be float32.

    Raises:
        ConfigError: the file is wrong, or a part would start with random weights.
        CheckpointError: a part can't be loaded.
    """
    section = load_model_section(path)
    sources = {
        "vision": section.vision.from_,
        "connector": section.connector.from_,
        "language_model": section.language_model.from_,
    }
    bare = [f"{name}.from: is missing; a model that answers needs weights" for name, one in sources.items() if not one]
    if section.language_model.quantize is not None:
        bare.append("language_model.quantize: is for training; ask for it with --quantize where the model answers")
    if bare:
        raise ConfigError(path, bare)
    built = build_model(section, languages=(), seed=0, dtypes=dtypes)
    fresh = [line for line in built.report if "; fresh: " in line]
    if fresh:
        raise ConfigError(
            path, [f"{line}: has no weights, so the model can't answer yet" for line in fresh], hint="Train it first."
        )
    return built

"""Our own format: the tensors have our names already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visiglot.models.checkpoint import reading
from visiglot.models.checkpoint.formats import FORMATS, Format
from visiglot.models.config import VisiglotConfig
from visiglot.models.processor import VisiglotProcessor


class Visiglot(Format):
    """A `VisionLanguageModel` as its `save_pretrained` writes it."""

    settles_generation = True

    def reads(self, raw: Mapping[str, Any]) -> bool:
        return raw.get("model_type") == VisiglotConfig.model_type

    def config(self, raw: Mapping[str, Any], where: str) -> VisiglotConfig:
        config: VisiglotConfig = VisiglotConfig.from_dict(dict(raw))
        return config

    def name(self, key: str) -> str | None:
        return key

    def processor(self, where: str, config: VisiglotConfig) -> VisiglotProcessor:
        with reading(f"{where}: its processor"):
            processor: VisiglotProcessor = VisiglotProcessor.from_pretrained(where)
        return processor


FORMATS.add("visiglot", Visiglot())

"""`--to visiglot`: Visiglot's own format, low-rank layers merged and all weights in one folder. Everything fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from visiglot.export.prepare import generation_config
from visiglot.export.stock import SHARD, writing
from visiglot.export.targets import TARGETS, Target
from visiglot.types import Template


class Own(Target):
    """`VisionLanguageModel`."""

    name: ClassVar[str] = "visiglot"
    module: ClassVar[str] = "visiglot"
    model_class: ClassVar[str] = "VisionLanguageModel"
    processor_class: ClassVar[str] = "VisiglotProcessor"
    library: ClassVar[str] = "visiglot"
    forms: ClassVar[tuple[str, ...]] = ("placeholder",)
    looks_up_image_token: ClassVar[bool] = False

    def obstacles(self, config: Any) -> list[str]:
        return []

    def words(self, template: Template, before: str, after: str) -> tuple[str, str]:
        return before, after

    def processor(self, model: Any, processor: Any) -> Any:
        return processor

    def write(self, model: Any, processor: Any, folder: Path) -> None:
        with writing(folder):
            model.save_pretrained(folder, max_shard_size=SHARD)
            generation_config(model).save_pretrained(folder)
            processor.save_pretrained(folder)


TARGETS.add("visiglot", Own())

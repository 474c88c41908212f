"""`--to visiglot`: Visiglot's own format, low-rank layers merged and all weights in one folder. Everything fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from visiglot.errors import CheckpointError
from visiglot.export.prepare import generation_config
from visiglot.export.targets import TARGETS, Target
from visiglot.models.checkpoint import first_line
from visiglot.types import Template

SHARD = "5GB"


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
        try:
            model.save_pretrained(folder, max_shard_size=SHARD)
            generation_config(model).save_pretrained(folder)
            processor.save_pretrained(folder)
        except Exception as error:  # OSError, and what safetensors and tokenizers make of one
            raise CheckpointError(
                f"{folder} can't be written: {first_line(error)}", hint="Make room, or name another --out."
            ) from error


TARGETS.add("visiglot", Own())

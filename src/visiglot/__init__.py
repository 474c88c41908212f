"""Visiglot gives an image encoder any language model's languages.

`import visiglot` is light: a public name is imported when it is first touched. The model's classes are registered with
transformers' Auto classes as soon as both packages are imported, in whichever order, so that

    import visiglot
    from transformers import AutoModelForImageTextToText
    model = AutoModelForImageTextToText.from_pretrained(folder)

loads a checkpoint of ours without remote code.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visiglot.config import Recipe, load_recipe
    from visiglot.errors import VisiglotError
    from visiglot.languages import language, resolve
    from visiglot.models import VisiglotConfig, VisiglotProcessor, VisionLanguageModel
    from visiglot.models.build import build_model
    from visiglot.models.decode import Decoder, Decoding, Row, generate
    from visiglot.models.load import load_model
    from visiglot.train.loop import fit
    from visiglot.types import Example, ImageRef, ImageSlot, Message, Prediction, Score

    __version__: str

__all__ = [
    "Decoder",
    "Decoding",
    "Example",
    "ImageRef",
    "ImageSlot",
    "Message",
    "Prediction",
    "Recipe",
    "Row",
    "Score",
    "VisiglotConfig",
    "VisiglotError",
    "VisiglotProcessor",
    "VisionLanguageModel",
    "__version__",
    "build_model",
    "fit",
    "generate",
    "language",
    "load_model",
    "load_recipe",
    "resolve",
]

_HOMES = {
    "visiglot.config": ("Recipe", "load_recipe"),
    "visiglot.errors": ("VisiglotError",),
    "visiglot.languages": ("language", "resolve"),
    "visiglot.models": ("VisiglotConfig", "VisiglotProcessor", "VisionLanguageModel"),
    "visiglot.models.build": ("build_model",),
    "visiglot.models.decode": ("Decoder", "Decoding", "Row", "generate"),
    "visiglot.models.load": ("load_model",),
    "visiglot.train.loop": ("fit",),
    "visiglot.types": ("Example", "ImageRef", "ImageSlot", "Message", "Prediction", "Score"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("visiglot")
    elif name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
    else:
        raise AttributeError(f"module 'visiglot' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _AfterTransformers:
    """A finder that imports `visiglot.models`, which registers its classes, right after `transformers` is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "transformers":
            return None
        from importlib.util import find_spec  # slow to import, and most commands never come here

        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            importlib.import_module("visiglot.models")

        spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec


if "transformers" in sys.modules:
    importlib.import_module("visiglot.models")
else:
    sys.meta_path.insert(0, _AfterTransformers())

"""`import visiglot`: light, complete, and known to transformers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.tiny import build_tiny

import visiglot

LOAD = """
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor
folder = {folder!r}
print(type(AutoConfig.from_pretrained(folder)).__name__)
print(type(AutoModel.from_pretrained(folder)).__name__)
print(type(AutoModelForImageTextToText.from_pretrained(folder)).__name__)
print(type(AutoProcessor.from_pretrained(folder)).__name__)
"""


def python(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", visiglot.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(visiglot, name) is not None
    assert name in dir(visiglot)


def test_public_names_are_sorted() -> None:
    assert visiglot.__all__ == sorted(visiglot.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'VisionLanguageModle'"):
        _ = visiglot.VisionLanguageModle  # type: ignore[attr-defined]


def test_import_is_light() -> None:
    code = (
        "import sys, visiglot; print([name for name in ('torch', 'transformers', 'pydantic') if name in sys.modules])"
    )
    assert python(code) == ["[]"]


@pytest.mark.parametrize(
    "first",
    [
        "import visiglot, transformers",
        pytest.param("import transformers, visiglot", marks=pytest.mark.slow),
        pytest.param("import transformers.models.auto.modeling_auto, visiglot", marks=pytest.mark.slow),
        pytest.param("import visiglot\nimport accelerate", marks=pytest.mark.slow),
    ],
)
def test_auto_classes_load_a_checkpoint_whichever_package_is_imported_first(first: str, tmp_path: Path) -> None:
    built = build_tiny()
    built.model.save_pretrained(tmp_path)
    built.processor.save_pretrained(tmp_path)
    model = "VisionLanguageModel"
    assert python(first + LOAD.format(folder=str(tmp_path))) == ["VisiglotConfig", model, model, "VisiglotProcessor"]

"""Exports through the command line: the gate's process is a real one, and what the card says is done by another."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import TEXTS, build_tiny
from tests.unit.export.conftest import add_lora, livelier, untie

from visiglot.models.runs import nano_folder

pytestmark = pytest.mark.slow

PICTURE = nano_folder() / "examples" / "pizza.png"
MODELS = {
    "blip2": ("blip2", "mt5", "qformer", ["q", "v"]),
    "llava": ("clip", "llama", "mlp", ["q_proj", "down_proj"]),
    "visiglot": ("resnet", "t5", "qformer", ["q", "v"]),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved models with low-rank layers, one that fits each target; mT5's head isn't its embedding."""
    folders = {}
    for to, (vision, llm, connector, targets) in MODELS.items():
        built: Any = build_tiny(vision, llm, connector)
        livelier(built.model)
        if llm == "mt5":
            untie(built.model)
        add_lora(built.model, targets)
        folders[to] = tmp_path_factory.mktemp("models") / to
        built.model.save_pretrained(folders[to])
        built.processor.save_pretrained(folders[to])
    return folders


def visiglot(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "visiglot", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def run_code(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, in a process that starts without anything of ours."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize(("to", "dtype"), [*((to, "fp32") for to in MODELS), ("llava", "bf16")])
def test_the_code_on_the_card_answers_as_the_model_does(
    models: dict[str, Path], tmp_path: Path, to: str, dtype: str
) -> None:
    out = tmp_path / "out"
    done = visiglot("export", models[to], "--to", to, "--out", out, "--dtype", dtype)
    assert done.returncode == 0, done.stderr
    card = (out / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)
    assert ("visiglot" in code.replace(str(out), "")) == (to == "visiglot")
    (tmp_path / "picture.png").write_bytes(PICTURE.read_bytes())
    ran = run_code(code.replace("max_new_tokens=40", "max_new_tokens=6"), tmp_path)
    assert ran.returncode == 0, ran.stderr
    if dtype == "fp32" and to != "visiglot":
        asked = visiglot("caption", PICTURE, "--model", models[to], "-l", "de", "--out", "-", "--device", "cpu",
                         "--max-new-tokens", 6)  # fmt: skip
        assert json.loads(asked.stdout)["text"].strip() == ran.stdout.strip()


def test_an_auto_class_loads_what_was_exported(models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert visiglot("export", models["llava"], "--to", "llava", "--out", out).returncode == 0
    code = (
        "from transformers import AutoModelForImageTextToText, AutoProcessor\n"
        f"for kind in (AutoModelForImageTextToText, AutoProcessor):\n"
        f"    print(type(kind.from_pretrained({str(out)!r})).__name__)\n"
    )
    assert run_code(code, tmp_path).stdout.split() == ["LlavaForConditionalGeneration", "LlavaProcessor"]


def test_a_trimmed_export_passes_the_gate_in_a_fresh_process(models: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("\n".join(TEXTS[:3]), encoding="utf-8")
    arguments = ("export", models["blip2"], "--to", "blip2", "-l", "en,de", "--text", text, "--out", tmp_path / "out")
    done = visiglot(*arguments)
    assert done.returncode == 0, done.stderr
    assert "texts are cut into the same tokens as before" in done.stderr


def test_what_the_fresh_process_cannot_load_is_said_and_nothing_is_left(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """The process that loads the folder is of an environment in which transformers can't be imported."""
    (tmp_path / "broken" / "transformers").mkdir(parents=True)
    (tmp_path / "broken" / "transformers" / "__init__.py").write_text("raise ImportError('broken on purpose')")
    code = (
        "import os, sys, transformers\n"
        f"os.environ['PYTHONPATH'] = {str(tmp_path / 'broken')!r}\n"
        f"sys.argv = ['visiglot', 'export', {str(models['blip2'])!r}, '--to', 'blip2', '--out', 'out']\n"
        "from visiglot.cli import main\n"
        "main()\n"
    )
    (tmp_path / "work").mkdir()
    done = run_code(code, tmp_path / "work")
    assert done.returncode == 2
    assert "loading it or asking it fails: ImportError: broken on purpose" in done.stderr
    assert list((tmp_path / "work").iterdir()) == []

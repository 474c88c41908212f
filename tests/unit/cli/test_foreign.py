"""Models of other formats asked by `generate`, `ask` and `evaluate` read what the stock processor makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from tests.checkpoints import picture, stock_blip2, stock_llava
from tests.unit.cli.conftest import Run
from tests.unit.evaluate.conftest import ToyData, toy_benchmark
from transformers import AutoProcessor

from visiglot import load_model
from visiglot.evaluate.benchmark import BENCHMARKS
from visiglot.models.decode import Decoder, Decoding
from visiglot.types import Example, ImageSlot, Message

SHORT = Decoding(max_new_tokens=1)
Read = list[tuple[int, ...]]


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "llava"
    stock_llava(folder)
    return folder


@pytest.fixture(scope="module")
def blip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "blip2"
    stock_blip2(folder, "mt5")
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """The ids of the prompts that were decoded, in their order."""
    found: Read = []
    add = Decoder.add
    monkeypatch.setattr(
        Decoder, "add", lambda self, rows: (found.extend(row.sample.ids for row in rows), add(self, rows))[1]
    )
    return found


def stock_ids(folder: Path, pictures: int, text: str) -> tuple[int, ...]:
    """What the stock processor makes of a text with `<image>` in place."""
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    images: list[Image.Image] = [picture(seed) for seed in range(pictures)]
    return tuple(processor(images=images or None, text=[text], return_tensors="pt")["input_ids"][0].tolist())


def chat(folder: Path, pictures: int, words: str) -> str:
    """What the model's own chat template makes of pictures and a question."""
    content = [*({"type": "image"} for _ in range(pictures)), {"type": "text", "text": words}]
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    written: str = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return written


@pytest.mark.parametrize("pictures", [0, 1, 2])
def test_generate_asks_llava_by_its_own_chat_template(llava: Path, read: Read, pictures: int) -> None:
    model, _ = load_model(str(llava), device="cpu")
    shown = [picture(seed) for seed in range(pictures)]
    model.generate([shown], ["dog cat?"], SHORT)
    text = chat(llava, pictures, "dog cat?")
    assert text.count("<image>\n") == pictures
    assert read == [stock_ids(llava, pictures, text)]


def test_a_stream_asks_llava_by_its_own_chat_template(llava: Path, read: Read) -> None:
    model, _ = load_model(str(llava), device="cpu")
    list(model.stream(picture(0), "dog cat?", SHORT))
    assert read == [stock_ids(llava, 1, chat(llava, 1, "dog cat?"))]


@pytest.mark.parametrize("prompt", ["perro {image} gato", "perro: {image}", "{image}perro", "{image}\nperro"])
def test_a_picture_amid_the_words_of_llava_keeps_what_stands_around_it(llava: Path, read: Read, prompt: str) -> None:
    model, _ = load_model(str(llava), device="cpu")
    model.generate([picture(0)], [prompt], SHORT)
    assert read == [stock_ids(llava, 1, f"USER: {prompt.replace('{image}', '<image>')} ASSISTANT:")]


@pytest.mark.parametrize("stdin", [False, True])
def test_ask_asks_llava_by_its_own_chat_template(
    run: Run, llava: Path, read: Read, pictures: Path, stdin: bool
) -> None:
    image = pictures / "a.png"
    asked: tuple[object, ...] = ("-",) if stdin else (image, "--prompt", "dog cat?")
    rows = [{"image": str(image), "prompt": "dog cat?"}] if stdin else None
    result = run("ask", *asked, "-m", llava, "--max-new-tokens", 1, "--device", "cpu", "-o", "-", stdin=rows)
    assert result.exit_code == 0
    assert read == [stock_ids(llava, 1, chat(llava, 1, "dog cat?"))]
    assert '"prompt": "dog cat?"' in result.stdout


def test_caption_asks_llava_by_its_own_chat_template(run: Run, llava: Path, read: Read, pictures: Path) -> None:
    options = ("-l", "de", "-m", llava, "--max-new-tokens", 1, "--device", "cpu", "-o", "-")
    for prompt in ((), ("--prompt", "Describe the image in {language} in one sentence.")):
        assert run("caption", pictures / "a.png", *options, *prompt).exit_code == 0
    assert read == [stock_ids(llava, 1, chat(llava, 1, "Describe the image in German in one sentence."))] * 2


# --- evaluate --------------------------------------------------------------------------------------------------------


class Behind(ToyData):
    """The toy data with pictures behind the words, as the built-in benchmark has them."""

    def examples(self, language: str, **choice: Any) -> Any:
        for example in super().examples(language, **choice):
            message = Message("user", ("Name it.", ImageSlot(0)))
            yield Example(
                example.id,
                (message,),
                language,
                example.images,
                example.references,
                task=example.task,
                group=example.id,
            )


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(BENCHMARKS._things, "behind", toy_benchmark("behind", Behind()))
    return "behind"


def evaluated(run: Run, model: Path, out: Path) -> str:
    arguments = ("-b", "behind", "-l", "en", "--limit", 1, "--only", "generate", "--device", "cpu", "-o", out)
    result = run("evaluate", model, *arguments)
    assert result.exit_code == 0
    return result.stderr


@pytest.mark.parametrize(
    ("model", "text"), [("llava", lambda f: chat(f, 1, "Name it.")), ("blip2", lambda f: "Name it.")]
)
def test_evaluate_shows_a_picture_where_the_model_reads_it(
    run: Run, behind: str, read: Read, request: Any, tmp_path: Path, model: str, text: Callable[[Path], str]
) -> None:
    folder = request.getfixturevalue(model)
    evaluated(run, folder, tmp_path / "out")
    assert read == [stock_ids(folder, 1, text(folder))]


def test_evaluate_says_what_became_of_the_tensors(run: Run, behind: str, blip2: Path, tmp_path: Path) -> None:
    assert f"{blip2}: read as blip2, tensors: " in evaluated(run, blip2, tmp_path / "out")


def test_evaluate_asks_built_in_models_as_before(
    run: Run, behind: str, read: Read, tiny_model: Path, tmp_path: Path
) -> None:
    _, processor = load_model(str(tiny_model), device="cpu")
    stderr = evaluated(run, tiny_model, tmp_path / "out")
    assert "read as" not in stderr
    assert list(read[0]) == processor(text="Name it.<image>", images=[picture(0)])["input_ids"][0].tolist()


# --- parts -----------------------------------------------------------------------------------------------------------


def test_parts_of_a_yaml_file_are_told_by_ask_and_evaluate(
    run: Run, behind: str, blip2: Path, pictures: Path, tmp_path: Path
) -> None:
    path = parts_file(blip2, tmp_path)
    asked = run("ask", pictures / "a.png", "-p", "dog", "-m", path, "--max-new-tokens", 1, "--device", "cpu")
    assert asked.exit_code == 0
    for said in (asked.stderr, evaluated(run, path, tmp_path / "out")):
        assert f"vision: Blip2VisionModel from {blip2}" in said


def parts_file(model: Path, folder: Path) -> Path:
    path = folder / "parts.yaml"
    options = {"num_queries": 5, "width": 24, "layers": 4, "heads": 3, "intermediate": 44}
    source = {"from": str(model)}
    parts = {"vision": source, "connector": {**source, "options": options}, "language_model": source}
    path.write_text(yaml.safe_dump({**parts, "prompt": {"image_first": True}}), encoding="utf-8")
    return path

"""`visiglot translate`: a source or a recipe in other languages, and the lines that train on it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.drawn import drawn_recipe
from tests.formats import fixtures, picture
from tests.translating import Strict
from tests.unit.cli.conftest import Run

from visiglot.config import DataSection, dump_recipe
from visiglot.data.mixture import Mixture
from visiglot.data.parquet_source import ParquetSource
from visiglot.translate.engine import ENGINES

EN, DE, SW = "eng_Latn", "deu_Latn", "swh_Latn"


@pytest.fixture
def captions(tmp_path: Path) -> dict[str, Any]:
    """Options of a file of 12 English captions with their pictures."""
    folder = tmp_path / "data"
    folder.mkdir()
    picture(folder, *(f"{n}.jpg" for n in range(12)))
    rows = [{"image": f"{n}.jpg", "caption": f"a picture with {n} dogs"} for n in range(12)]
    path = folder / "captions.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return {"path": str(path), "images": str(folder)}


@pytest.fixture(autouse=True)
def permissive(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's outputs are English with a mark, which real filters would reject."""
    if "real filters" not in str(request.node.name).replace("_", " "):
        monkeypatch.setattr("visiglot.translate.filters.Filters", lambda *a, **b: Strict())


def given(options: dict[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in options.items()]


def lines_for_a_recipe(printed: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(line) for line in re.findall(r"^  - (\{type: parquet.*)$", printed, re.MULTILINE)]


def test_a_source_becomes_a_file_that_the_printed_line_draws_from(
    run: Run, captions: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(
        "translate", "capfilt", *given(captions), "--languages", "en,de,sw", "--engine", "marked", "--out", out
    )
    assert result.exit_code == 0, result.output
    assert re.search(r"^capfilt +deu_Latn +0 +12 +0", result.stdout, re.MULTILINE)
    (line,) = lines_for_a_recipe(result.stdout)
    data = DataSection.model_validate({"sources": [{**line, "task": "caption"}], "languages": [EN, DE, SW]})
    mixture = Mixture(data, total=36, seed=0)
    assert set(mixture.table().values()) == {12}
    drawn = [mixture[k] for k in range(36)]
    assert {one.messages[-1].text for one in drawn if one.language == SW} == {
        f"[swh_Latn] a picture with {n} dogs" for n in range(12)
    }
    assert all(one.images[0].read() for one in drawn), "pictures are found from where they lie"
    assert result.stdout.splitlines()[-1] == str(out)


def test_a_recipes_sources_are_translated_by_its_allocation(run: Run, captions: dict[str, Any], tmp_path: Path) -> None:
    source = {"type": "capfilt", "options": captions, "task": "caption", "translate": True, "weight": "size"}
    section = {"sources": [source], "languages": [EN, DE, SW], "allocation": {"policy": "lrm"}}
    path = tmp_path / "recipe.yaml"
    path.write_text(
        dump_recipe(
            drawn_recipe({"data": section}).model_copy(update={"data": drawn_recipe({"data": section}).stages[0].data})
        ),
        encoding="utf-8",
    )
    out = tmp_path / "out"
    result = run("translate", path, "--engine", "marked", "--out", out)
    assert result.exit_code == 0, result.output
    found = ParquetSource(out / "capfilt-caption.parquet", root=Path("/"))
    assert {code: len(indices) for code, indices in found.by_language.items()} == {EN: 6, DE: 3, SW: 3}
    assert len({one.id.split("/")[0] for one in map(found.__getitem__, range(12))}) == 12
    (line,) = lines_for_a_recipe(result.stdout)
    assert (line["task"], line["weight"]) == ("caption", "size")
    assert "translate" not in line
    text = path.read_text(encoding="utf-8")
    assert "translate: true" in text
    mixed = {**section, "sources": [line]}
    path.write_text(dump_recipe(drawn_recipe({"data": mixed})), encoding="utf-8")
    assert run("data", "plan", path).exit_code == 0
    refused = run("translate", path, "--engine", "marked", "--languages", "de", "--out", out)
    assert refused.exit_code == 2
    assert "the recipe says it" in refused.stderr


def test_nothing_is_written_in_a_dry_run(run: Run, captions: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("translate", "capfilt", *given(captions), "-l", "de,sw", "-e", "marked", "-o", out, "--dry-run")
    result = run(*command, "--allocation", "uniform", "--limit", "10")
    assert "10 examples from eng_Latn" in result.stdout
    assert re.search(r"^deu_Latn +5", result.stdout, re.MULTILINE)
    assert not out.exists()


def test_a_stopped_command_goes_on_and_its_report_is_shown(run: Run, captions: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("translate", "capfilt", *given(captions), "-l", "de,sw", "-e", "marked", "-o", out)
    stopped = run(*command, "--engine-option", "fail_after=1")
    assert stopped.exit_code == 2
    assert "the engine is gone" in stopped.stderr
    assert "the rest isn't done yet" in run("translate", "--report", out).stdout
    refused = run(*command)
    assert "other settings: engine" in refused.stderr
    assert run(*command, "--no-resume").exit_code == 0
    report = run("translate", "--report", out)
    assert "24 of 24 examples are there" in report.stdout
    assert "a picture with" in report.stdout
    assert (out / "report.html").is_file()


def test_pictures_can_go_into_the_files(run: Run, captions: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("translate", "capfilt", *given(captions), "-l", "de", "-e", "marked", "-o", out)
    result = run(*command, "--pictures", "bytes")
    (line,) = lines_for_a_recipe(result.stdout)
    assert line["options"] == {"path": str(out / "capfilt.parquet")}
    found = ParquetSource(out / "capfilt.parquet")
    assert found[0].images[0].data == (Path(captions["images"]) / "0.jpg").read_bytes()


def test_a_parquet_file_of_examples_is_a_source_too(run: Run, tmp_path: Path) -> None:
    options = given(fixtures()["vqav2"](tmp_path).options)
    written = tmp_path / "set.parquet"
    run("data", "write", "vqav2", *options, "--out", written, "--pictures", "bytes")
    result = run("translate", written, "-l", "de", "-e", "marked", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = ParquetSource(tmp_path / "out" / "set.parquet")
    assert [one.facts["answer"] for one in map(found.__getitem__, range(3))] == [
        "[deu_Latn] net",
        "[deu_Latn] pitcher",
        "ja",
    ]


def test_a_commercial_recipe_refuses_an_engine_that_isnt(run: Run, captions: dict[str, Any], tmp_path: Path) -> None:
    source = {"type": "capfilt", "options": captions, "translate": True}
    section = {"sources": [source], "languages": [EN, DE], "licence": "commercial"}
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(drawn_recipe({"data": section})), encoding="utf-8")
    command = ("translate", path, "--engine", "marked", "--out", tmp_path / "out")
    result = run(*command, "--engine-option", "licence=CC-BY-NC-4.0")
    assert result.exit_code == 2
    assert "CC-BY-NC-4.0 forbids commercial use" in result.stderr
    assert run(*command).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("capfilt",), "--engine: is missing"),
        (("capfilt", "-e", "marked", "-o", "out"), "--languages: is missing"),
        (("capfitl", "-e", "marked", "-o", "out"), "capfilt"),
        (("capfilt", "-l", "de", "-e", "markde", "-o", "out", "path=x", "images=y"), "marked"),
        (("--report", "out", "-l", "de"), "--languages: --report translates nothing"),
        (("--report", "nowhere"), "holds no translation.json"),
    ],
)
def test_mistakes_are_said_with_what_is_right(run: Run, arguments: tuple[str, ...], said: str) -> None:
    result = run("translate", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_options_of_engine_and_allocation_are_checked(run: Run, captions: dict[str, Any], tmp_path: Path) -> None:
    command = ("translate", "capfilt", *given(captions), "-l", "de", "-e", "marked", "-o", tmp_path / "out")
    result = run(*command, "--engine-option", "licens=MIT")
    assert "--engine-option licens: no such key; did you mean 'licence'?" in result.stderr
    assert "--allocation 'mc5'" in run(*command, "--allocation", "mc5").stderr
    weights = run(
        *command[:-2], "-l", "de,sw", "-o", tmp_path / "w", "--allocation", "{policy: weights, weights: {sw: 1}}"
    )
    assert weights.exit_code == 0, weights.output
    assert list(ParquetSource(tmp_path / "w" / "capfilt.parquet", root=Path("/")).by_language) == [SW]


def test_real_filters_reject_what_is_in_another_language(run: Run, captions: dict[str, Any], tmp_path: Path) -> None:
    memory = tmp_path / "memory.tsv"
    lines = ["en\tde"]
    for n in range(12):
        wrong = f"une photo avec {n} chiens qui courent dans la rue devant la maison"
        right = f"ein Bild mit {n} Hunden, die vor dem Haus auf der Straße laufen"
        lines.append(f"a picture with {n} dogs\t{wrong if n == 3 else right}")
    memory.write_text("\n".join(lines), encoding="utf-8")
    engine = ("-e", "memory", "--engine-option", f"path={memory}", "--engine-option", "licence=CC0-1.0")
    command = ("translate", "capfilt", *given(captions), "-l", "de", *engine)
    keep = ("--no-filter", "length-ratio")
    result = run(*command, *keep, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert re.search(r"^capfilt +deu_Latn +0 +11 +1 +wrong language 1", result.stdout, re.MULTILINE)
    found = ParquetSource(tmp_path / "out" / "capfilt.parquet", root=Path("/"))[0]
    assert found.facts["caption"] == "ein Bild mit 0 Hunden, die vor dem Haus auf der Straße laufen"
    assert found.provenance is not None
    assert found.provenance.engine == "memory memory.tsv"
    passed = run(*command, *keep, "--no-filter", "wrong language", "-o", tmp_path / "passed")
    assert re.search(r"^capfilt +deu_Latn +0 +12 +0", passed.stdout, re.MULTILINE)


def test_real_filters_take_limits_for_all_languages_and_for_one(
    run: Run, captions: dict[str, Any], tmp_path: Path
) -> None:
    memory = tmp_path / "memory.tsv"
    rows = [f"a picture with {n} dogs\tBild, {n} Hunde, {'im Garten vor dem Haus ' * 2}" for n in range(12)]
    memory.write_text("\n".join(["en\tde", *rows]), encoding="utf-8")
    command = ("translate", "capfilt", *given(captions), "-l", "de", "-e", "memory")
    engine = ("--engine-option", f"path={memory}", "--no-filter", "wrong language", "--no-filter", "repetition")
    for number, (limits, translated) in enumerate(
        [([], 0), (["spread=3"], 12), (["de.spread=3", "any.spread=1"], 12), (["Latn.spread=1.8e+0", "zh.spread=4"], 0)]
    ):
        out = tmp_path / str(number)
        options = [word for limit in limits for word in ("--filter-limit", limit)]
        result = run(*command, *engine, *options, "-o", out)
        assert (result.exit_code == 0) == (translated > 0), result.output
        counts = json.loads((out / "translation.json").read_text(encoding="utf-8"))["counts"]
        assert (counts[0]["translated"], counts[0]["reasons"].get("length ratio", 0)) == (translated, 12 - translated)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("spraed=2", "any.spraed: no such key; did you mean 'spread'?"),
        ("Thai.spread=0", "Thai.spread: input should be greater than or equal to 1"),
        ("spread", "has no `key=value`"),
        ("Thay.spread=3", "no such language: 'Thay'"),
    ],
)
def test_real_filters_refuse_limits_that_there_are_not(
    run: Run, captions: dict[str, Any], tmp_path: Path, limit: str, said: str
) -> None:
    out = tmp_path / "out"
    command = ("translate", "capfilt", *given(captions), "-l", "de", "-e", "marked", "-o", out)
    result = run(*command, "--filter-limit", limit)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not out.exists()


def test_help_names_every_engine_and_its_licence(run: Run) -> None:
    words = " ".join(run("translate", "--help").stdout.replace("│", " ").split())
    assert all(name in words for name in ENGINES.names() if name != "marked")
    assert "NLLB-200 CC-BY-NC-4.0" in words

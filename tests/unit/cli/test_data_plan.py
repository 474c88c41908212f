"""`visiglot data plan`: who goes to which language, what is drawn, what is left out, before any work."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.drawn import drawn_recipe
from tests.unit.cli.conftest import Run

from visiglot.config import dump_recipe
from visiglot.data.parquet_source import write_examples
from visiglot.languages import resolve
from visiglot.types import Example, Message, Provenance

COUNTS = {
    "capfilt/caption": 2_272_954,
    "coco-karpathy/caption": 414_068,
    "llava-detail/detail": 23_196,
    "llava-conversation/conversation": 209_950,
    "aokvqa/rationale": 34_000,
    "aokvqa/explanation": 34_000,
    "vqav2/vqa": 443_708,
    "vqav2/vqg": 443_708,
    "capfilt/matching": 599_951,
    "imagenet/imagenet-name": 295_856,
    "imagenet/imagenet-decide": 295_856,
}
"""Of mBLIP's mix of 11 tasks (arXiv 2307.06930 and its repository); conversation and A-OKVQA are estimates there."""


def captions(folder: Path, count: int = 12) -> Path:
    """A file of BLIP's captions, a row a line."""
    path = folder / "captions.jsonl"
    rows = [{"image": f"{n}.jpg", "caption": f"a picture of {n} things"} for n in range(count)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def recipe(folder: Path, *sources: dict[str, Any], **data: Any) -> Path:
    """A recipe of two steps of eight examples whose data are `sources`."""
    section = {"sources": list(sources), "languages": ["eng_Latn", "deu_Latn", "swh_Latn"], **data}
    path = folder / "recipe.yaml"
    path.write_text(dump_recipe(drawn_recipe({"steps": 2, "data": section})), encoding="utf-8")
    return path


def capfilt(path: Path, **values: Any) -> dict[str, Any]:
    return {"type": "capfilt", "options": {"path": str(path), "images": str(path.parent)}, "translate": True, **values}


def test_centurios_mix_is_half_english_of_what_is_translated_and_never_translates_text_in_pictures(run: Run) -> None:
    plan = json.loads(run("data", "plan", "centurio-qwen-7b", "--json").stdout)
    found = {source["name"]: source for source in plan["data"]["data"]["sources"]}
    translated = found["centurio-instruct"]["languages"]
    assert translated["eng_Latn"] == 316_000
    others = [count for code, count in translated.items() if code != "eng_Latn"]
    assert len(others) == 95
    assert max(others) - min(others) <= 1
    assert sum(others) == 316_000
    assert found["centurio-reading"]["languages"] == {"eng_Latn": 134_000}


@pytest.mark.parametrize("name", ["mblip-mt0-xl", "mblip-bloomz-7b"])
def test_mblips_mix_has_the_counts_of_mblip(run: Run, name: str) -> None:
    plan = json.loads(run("data", "plan", name, "--json").stdout)
    found = plan["data"]["data"]["sources"]
    assert {source["name"]: source["total"] for source in found} == COUNTS
    assert sum(source["total"] for source in found) == 5_067_247
    (captions,) = [source for source in found if source["name"] == "capfilt/caption"]
    assert captions["languages"].keys() == set(resolve("mblip"))
    assert [captions["languages"][code] for code in ("afr_Latn", "yor_Latn", "ibo_Latn")] == [448, 21, 28]
    stage = plan["stages"][-1]
    drawn = {name: sum(counts.values()) for name, counts in stage["draws"].items()}
    assert sum(drawn.values()) == stage["examples"]
    assert all(abs(drawn[name] / stage["examples"] - count / 5_067_247) < 1e-3 for name, count in COUNTS.items())


def test_mblips_counts_are_printed_with_where_they_come_from(run: Run) -> None:
    printed = run("data", "plan", "mblip-mt0-xl").stdout
    for name, count in COUNTS.items():
        assert re.search(rf"^{name} +{count:,}  .*not opened: the number is the recipe's", printed, re.MULTILINE)
    assert re.search(r"^all +5,067,247", printed, re.MULTILINE)
    assert "…" not in printed, "no number is cut off"
    assert printed.count("in which language they will be") == 1, "the warm-up's source is one of the mix"


def test_a_commercial_mix_says_what_it_leaves_out_and_why(run: Run) -> None:
    printed = run("data", "plan", "mblip-mt0-xl", "--licence", "commercial").stdout
    left_out = dict(re.findall(r"^left out: (\S+): (.*)$", printed, re.MULTILINE))
    assert left_out.keys() == {name for name in COUNTS if name.startswith(("llava", "imagenet"))}
    assert left_out["llava-detail/detail"] == "CC-BY-NC-4.0 forbids commercial use"
    assert "NLLB" in printed
    assert re.search(r"^all +4,242,389", printed, re.MULTILINE)


def test_files_that_are_there_are_counted_and_shared_out(run: Run, tmp_path: Path) -> None:
    source = capfilt(captions(tmp_path), examples=99)
    plan = json.loads(run("data", "plan", recipe(tmp_path, source, allocation={"policy": "lrm"}), "--json").stdout)
    (found,) = plan["data"]["stages.stage0.data"]["sources"]
    assert found["opened"]
    assert found["examples"] == 12
    assert found["languages"] == {"eng_Latn": 6, "deu_Latn": 3, "swh_Latn": 3}
    assert plan["stages"][0]["draws"] == {"capfilt": {"eng_Latn": 8, "deu_Latn": 4, "swh_Latn": 4}}


def test_english_is_shared_out_though_nothing_stays_english(run: Run, tmp_path: Path) -> None:
    path = recipe(tmp_path, capfilt(captions(tmp_path)), languages=["deu_Latn", "swh_Latn"])
    plan = json.loads(run("data", "plan", path, "--json").stdout)
    (found,) = plan["data"]["stages.stage0.data"]["sources"]
    assert (found["examples"], found["languages"]) == (12, {"deu_Latn": 6, "swh_Latn": 6})


def test_sources_that_are_never_translated_keep_their_own_language(run: Run, tmp_path: Path) -> None:
    file = captions(tmp_path)
    kept = capfilt(file, translate=False, task="caption", languages="eng_Latn")
    path = recipe(tmp_path, capfilt(file), kept, allocation={"policy": "english_share", "english": 0.5})
    printed = run("data", "plan", path).stdout
    assert re.search(r"^capfilt +12  of 12, in 3 languages once translated", printed, re.MULTILINE)
    assert re.search(r"^capfilt/caption +12  in eng_Latn", printed, re.MULTILINE)


def test_two_sources_of_one_name_are_told_apart(run: Run, tmp_path: Path) -> None:
    file = captions(tmp_path)
    printed = run("data", "plan", recipe(tmp_path, capfilt(file), capfilt(file))).stdout
    assert {"capfilt#1", "capfilt#2"} <= set(printed.split())


def test_a_missing_file_whose_size_is_not_stated_is_an_error(run: Run, tmp_path: Path) -> None:
    path = recipe(tmp_path, capfilt(tmp_path / "none.json"))
    result = run("data", "plan", path)
    assert result.exit_code == 2
    assert "there is no file" in result.stderr


def test_a_broken_file_is_an_error_whatever_size_is_stated(run: Run, tmp_path: Path) -> None:
    file = captions(tmp_path)
    file.write_text('{"caption": 3, "image": "a"}\n', encoding="utf-8")
    result = run("data", "plan", recipe(tmp_path, capfilt(file, examples=99)))
    assert result.exit_code == 2
    assert re.search(r"captions.jsonl, line 1, field `caption`", result.stderr)


@pytest.mark.parametrize(
    ("type_", "options", "language"),
    [
        ("gqa", {}, "eng_Latn"),
        ("gqa", {"language": "de"}, "deu_Latn"),
        ("gqa", {"language": "fr"}, ""),
        ("llava", {}, ""),
        ("llava", {"language": "sw"}, "swh_Latn"),
        ("parquet-images", {"caption": "c"}, "eng_Latn"),
        ("parquet-images", {"caption": "c", "language_column": "l", "language": "sw"}, ""),
    ],
)
def test_a_source_that_is_not_there_counts_in_the_language_that_is_known_of_it(
    run: Run, tmp_path: Path, type_: str, options: dict[str, str], language: str
) -> None:
    missing = {"path": str(tmp_path / "none"), "images": str(tmp_path)}
    source = {"type": type_, "options": missing | options, "examples": 10}
    plan = json.loads(run("data", "plan", recipe(tmp_path, source), "--json").stdout)
    (section,) = plan["data"].values()
    assert section["sources"][0]["languages"] == {language: 10}


def test_an_unknown_licence_is_said_without_jargon(run: Run, tmp_path: Path) -> None:
    result = run("data", "plan", recipe(tmp_path, capfilt(captions(tmp_path))), "--licence", "non")
    assert result.exit_code == 2
    assert "'non' is not one of" in " ".join(result.stderr.split())
    assert "Value error" not in result.stderr


def test_training_refuses_what_is_still_to_be_translated(run: Run, tmp_path: Path) -> None:
    path = recipe(tmp_path, capfilt(captions(tmp_path)))
    result = run("train", path)
    assert result.exit_code == 2
    assert "sources.0: capfilt is in English" in result.stderr
    assert "`visiglot data plan` says how many go to which language" in " ".join(result.stderr.split())
    assert not (tmp_path / "cache" / "index").exists(), "nothing was gone through for that"


def test_check_finds_unknown_tasks_their_options_and_what_an_allocation_cannot_say(run: Run, tmp_path: Path) -> None:
    file = captions(tmp_path)
    path = recipe(
        tmp_path,
        capfilt(file, task="captoin"),
        capfilt(file, task="matching", task_options={"answrs": "english"}),
        capfilt(file, task_options={"prompts": "both"}),
        capfilt(file, allocation={"policy": "weights", "weights": {"fr": 1}}),
        languages=["eng_Latn", "ace_Latn"],
        allocation={"policy": "mc4"},
    )
    result = run("recipes", "check", path)
    assert result.exit_code == 2
    said = {line.removeprefix("  problem: stages.stage0.data.") for line in result.stderr.splitlines()}
    for beginning, rest in (
        ("sources.0.task: no such task: 'captoin'", "'caption'"),
        ("sources.1.task_options.answrs: no such key", "'answers'"),
        ("sources.2.task_options: there is no task", ""),
        ("sources.3.allocation.weights.fr: isn't among", ""),
        ("allocation.policy: mC4 has no ace_Latn", ""),
    ):
        assert any(line.startswith(beginning) and rest in line for line in said), (beginning, said)


def test_rows_that_a_licence_leaves_out_are_counted_with_the_reason(run: Run, tmp_path: Path) -> None:
    turns = (Message("user", ("q",)), Message("assistant", ("a",)))
    free, translated = Provenance("a", "MIT"), Provenance("a", "MIT", engine="facebook/nllb-200-3.3B")
    rows = [Example(str(n), turns, "deu_Latn", provenance=free if n % 3 else translated) for n in range(9)]
    write_examples(tmp_path / "a.parquet", rows)
    path = recipe(tmp_path, {"type": "parquet", "options": {"path": str(tmp_path / "a.parquet")}})
    assert "left out" not in run("data", "plan", path).stdout
    printed = run("data", "plan", path, "--licence", "commercial").stdout
    assert re.search(r"^a +6  in deu_Latn", printed, re.MULTILINE)
    assert "left out: 3 rows of a: translated by facebook/nllb-200-3.3B, which is CC-BY-NC-4.0" in printed

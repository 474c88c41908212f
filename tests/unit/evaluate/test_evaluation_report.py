"""Evaluation folders -> report.html and report.md."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.evaluate.conftest import WORDS, Scripted, row, toy_benchmark

from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import Benchmark
from visiglot.evaluate.generate import collect_predictions
from visiglot.evaluate.predictions import prediction_path, write_predictions
from visiglot.evaluate.report import build_report
from visiglot.evaluate.score import score_predictions

pytest.importorskip("sacrebleu")


def evaluated(benchmark: Benchmark, out: Path, **script: object) -> Path:
    answerer = Scripted(**script)  # type: ignore[arg-type]
    collect_predictions(answerer, benchmark, list(WORDS), out, resume=True, command=["visiglot", "evaluate", "a b"])
    return out


def report(*folders: Path, out: Path) -> tuple[str, str]:
    for folder in folders:
        score_predictions(folder)
    html, markdown, _ = build_report(folders, out)
    return html.read_text(encoding="utf-8"), markdown.read_text(encoding="utf-8")


def line(markdown: str, *starts: str) -> list[str]:
    """Cells of the first table row after each heading or caption in turn."""
    for start in starts:
        markdown = markdown[markdown.index(start) :]
    return [cell.strip() for cell in markdown.splitlines()[0].strip("| ").split(" | ")]


def headline(markdown: str) -> dict[str, str]:
    """What both tables of the first section say of exact match."""
    cells: dict[str, str] = {}
    for heads in ("| benchmark | metric | English", "| benchmark | metric | controls"):
        cells |= dict(zip(line(markdown, heads), line(markdown, heads, "| toy (english) | exact")))
    return cells


@pytest.fixture
def one(toy: Benchmark, tmp_path: Path) -> tuple[str, str]:
    """English right but for one, everything else right but for the cat; the dog fails in every language."""
    return report(evaluated(toy, tmp_path / "e", wrong={"cat": "<script>x</script>"}, broken=("dog",)), out=tmp_path)


def test_right_to_left_answers_carry_language_and_direction(one: tuple[str, str]) -> None:
    html, _ = one
    assert '<span lang="ar" dir="auto">شمس</span>' in html
    assert '<span lang="he" dir="auto">שמש</span>' in html
    assert '<small lang="ar" dir="auto">قطة</small>' in html  # what would have been right


def test_answers_never_become_markup_and_nothing_is_fetched(one: tuple[str, str]) -> None:
    html, _ = one
    assert "<script" not in html
    assert "&lt;script&gt;x&lt;/script&gt;" in html
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', html)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_all_commands_that_made_an_evaluation_together_are_shown(toy: Benchmark, tmp_path: Path) -> None:
    folder = evaluated(toy, tmp_path / "e")
    collect_predictions(Scripted(), toy, ["eng_Latn"], folder, resume=True, limit=1, command=["visiglot", "less"])
    _, markdown = report(folder, out=tmp_path)
    assert "visiglot evaluate 'a b'\nvisiglot less\n" in markdown
    assert "2 commands made it together" in markdown


def test_failures_are_counted_named_and_left_out(one: tuple[str, str]) -> None:
    _, markdown = one
    cells = headline(markdown)
    assert cells["English"] == "50.0 % (0.0–100.0)"  # one of the two that were answered
    assert (cells["answers"], cells["failed"]) == ("10", "5")
    assert "dog: scores aren't finite" in markdown


def test_the_headline_separates_english_and_the_benchmarks_groups(
    register: Callable[[Benchmark], Benchmark], tmp_path: Path
) -> None:
    benchmark = register(toy_benchmark())
    folder = evaluated(benchmark, tmp_path / "e", wrong={"cat": "猫"})  # right in Japanese, wrong elsewhere
    _, markdown = report(folder, out=tmp_path)
    cells = headline(markdown)
    assert cells["English"] == "66.7 % (0.0–100.0)"
    assert cells["pictured"] == "66.7 % (0.0–100.0) in 2"
    assert cells["never pictured"] == "100.0 % (100.0–100.0) in 1"
    assert cells["other languages"] == "66.7 % (0.0–100.0) in 1"
    ratio = line(markdown, "Groups of languages compared", "| toy (english) | exact")
    assert ratio[:3] == ["toy (english)", "exact", "never pictured / pictured"]
    assert ratio[3].startswith("150.0 % (100.0–")
    assert line(markdown, "The English gap", "| never pictured")[1:] == ["66.7 %", "100.0 %", "−33.3 %"]
    assert "Japanese (never pictured)" in markdown


def test_a_control_stands_beside_what_it_controls(register: Callable[[Benchmark], Benchmark], tmp_path: Path) -> None:
    plain = register(toy_benchmark())
    control = register(toy_benchmark("toy-wrong", control_of="toy", control="wrong image"))
    folder = evaluated(plain, tmp_path / "e")
    evaluated(control, tmp_path / "e", wrong=dict.fromkeys(WORDS["eng_Latn"], "no idea"))
    _, markdown = report(folder, out=tmp_path)
    cells = headline(markdown)
    assert cells["controls"] == "wrong image 0.0 % (0.0–0.0)"
    assert "| toy-wrong" not in markdown.partition("## How to make it again")[0]


def test_what_is_guessed_half_of_the_time_has_no_ratio_of_groups(
    register: Callable[[Benchmark], Benchmark], tmp_path: Path
) -> None:
    benchmark = register(replace(toy_benchmark(), chance={"caption": 0.5}))
    _, markdown = report(evaluated(benchmark, tmp_path / "e"), out=tmp_path)
    assert "Groups of languages compared" not in markdown
    cells = headline(markdown)
    assert cells["chance"] == "50.0 %"


def test_means_by_script_and_tier_and_the_worst_languages_are_there(one: tuple[str, str]) -> None:
    _, markdown = one
    assert line(markdown, "Means by script", "| Arab |") == ["Arab", "1", "50.0 % (0.0–100.0)"]
    assert "Means by resource class" in markdown
    heads = line(markdown, "The five worst languages", "| language")
    assert heads == ["language", "exact (interval)", "answers", "failed"]


def test_two_folders_stand_side_by_side(toy: Benchmark, tmp_path: Path) -> None:
    good = evaluated(toy, tmp_path / "good", name="good")
    poor = evaluated(toy, tmp_path / "poor", name="poor", fingerprint="weights-2", wrong={"cat": "?", "dog": "?"})
    html, markdown = report(good, poor, out=tmp_path)
    _, first, second, *_ = line(markdown, "exact by language", "| German")
    assert first == "100.0 % (100.0–100.0)"
    assert second.startswith("33.3 % (")
    assert "How to make it again: good" in html
    assert "How to make it again: poor" in html


def test_it_says_how_to_make_it_again(one: tuple[str, str]) -> None:
    html, markdown = one
    assert "visiglot evaluate &#x27;a b&#x27;" in html
    assert "weights-1" in markdown
    assert "toy-1" in markdown


def test_predictions_from_elsewhere_are_reported_without_a_run(toy: Benchmark, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    for code, words in WORDS.items():
        path = prediction_path(folder, "toy", "english", code)
        write_predictions([row(id, word, word, language=code) for id, word in words.items()], path)
    _, markdown = report(folder, out=tmp_path / "out")
    cells = headline(markdown)
    assert cells["other languages"] == "100.0 % (100.0–100.0) in 4"
    assert "made elsewhere" in markdown


def test_the_report_is_the_same_when_made_again(toy: Benchmark, tmp_path: Path) -> None:
    folder = evaluated(toy, tmp_path / "e")
    assert report(folder, out=tmp_path / "a") == report(folder, out=tmp_path / "b")


def test_a_folder_that_was_not_scored_says_what_to_do(toy: Benchmark, tmp_path: Path) -> None:
    folder = evaluated(toy, tmp_path / "e")
    with pytest.raises(EvaluationError, match=r"has no scores\.jsonl"):
        build_report([folder], tmp_path)
    score_predictions(folder)
    (folder / "means.jsonl").unlink()
    with pytest.raises(EvaluationError, match=r"has no means\.jsonl(.|\n)*--only score"):
        build_report([folder], tmp_path)


def test_a_report_leads_to_other_pages_relative_to_itself(toy: Benchmark, tmp_path: Path) -> None:
    folder = evaluated(toy, tmp_path / "e")
    score_predictions(folder)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a study.md").write_text("# A study\n", encoding="utf-8")
    see = {"A <study>": str(tmp_path / "docs" / "a study.md"), "Home": "https://example.org/a?b=c&d"}
    html, markdown, _ = build_report([folder], tmp_path / "out" / "demo", see=see)
    page = html.read_text(encoding="utf-8")
    assert 'See also: <a href="../../docs/a%20study.md">A &lt;study&gt;</a>' in page
    assert '<a href="https://example.org/a?b=c&amp;d">Home</a>' in page
    assert "[Home](<https://example.org/a?b=c&d>)" in markdown.read_text(encoding="utf-8")
    assert (html.parent / "../../docs/a study.md").is_file()


@pytest.mark.parametrize("target", ["missing.md", "javascript:alert(1)", "data:text/html,x"])
def test_a_page_that_isnt_there_isnt_led_to(target: str, toy: Benchmark, tmp_path: Path) -> None:
    folder = evaluated(toy, tmp_path / "e")
    score_predictions(folder)
    with pytest.raises(EvaluationError, match="can't lead to"):
        build_report([folder], tmp_path, see={"Page": target})
    assert not (tmp_path / "report.html").exists()

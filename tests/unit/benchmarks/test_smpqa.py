"""SMPQA: charts that are drawn here, the same in every language and the same every time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.lrm_data import FONT, write_smpqa
from tests.unit.benchmarks.conftest import Examples, Scores

from visiglot.benchmarks import charts
from visiglot.benchmarks.charts import COLOURS, Chart, draw_chart, plan
from visiglot.benchmarks.smpqa import fitting_words, labels_of, load
from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS

INK = Image.new("L", (30, 12), 255)
"""A label that needs no font."""

DIGEST = """
import hashlib, sys
from pathlib import Path
from visiglot.benchmarks import charts
from visiglot.benchmarks.smpqa import load
charts.CHARTS = 2
told = hashlib.sha256()
for code in ("eng_Latn", "arb_Arab"):
    for row in load(Path(sys.argv[1])).examples(code, split="test", prompt_set="native", limit=None):
        told.update(repr((row.id, row.messages, row.references, row.choices)).encode())
        told.update(row.images[0].read())
print(told.hexdigest())
"""


@pytest.fixture(autouse=True)
def _few_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "CHARTS", 2)


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    """Each with an empty cache and with hashes of its own."""
    folder = write_smpqa(tmp_path)
    digests = []
    for turn in ("1", "2"):
        environment = {**os.environ, "VISIGLOT_CACHE": str(tmp_path / turn), "PYTHONHASHSEED": turn}
        command = [sys.executable, "-c", DIGEST, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.append(done.stdout.strip())
    assert len(digests[0]) == 64
    assert digests[0] == digests[1]


def test_another_seed_gives_other_charts(tmp_path: Path) -> None:
    folder = write_smpqa(tmp_path)
    assert plan(0) == plan(0)
    assert plan(0) != plan(1)
    assert load(folder, 0).revision != load(folder, 1).revision


def test_there_are_as_many_charts_and_questions_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    planned = plan(0)
    assert Counter(chart.kind for chart in planned) == {"bar": 50, "pie": 50}
    assert {len(chart.values) for chart in planned} == {4, 5, 6, 7, 8}
    assert {chart.across for chart in planned if chart.kind == "bar"} == {True, False}
    assert any(chart.apart for chart in planned)
    for chart in planned:
        assert len(set(chart.values)) == len(chart.values) == len(set(chart.colours))
        assert all(30 <= value <= 100 for value in chart.values)


def test_each_chart_has_five_questions_of_reading_and_eight_of_grounding_half_of_them_yes(examples: Examples) -> None:
    rows = examples("smpqa").values()
    for group in {row.group for row in rows}:
        own = [row for row in rows if row.group == group]
        assert Counter(row.task for row in own) == {"reading": 5, "grounding": 8}
        assert Counter(row.references for row in own if row.task == "grounding") == {("yes",): 4, ("no",): 4}


def test_languages_differ_in_labels_only(examples: Examples) -> None:
    english, arabic = examples("smpqa"), examples("smpqa", "arb_Arab")
    assert english.keys() == arabic.keys()
    for id, row in english.items():
        assert len(row.choices) == len(arabic[id].choices)
        assert row.choices.index(row.references[0]) == arabic[id].choices.index(arabic[id].references[0])
        assert row.images[0].name != arabic[id].images[0].name


def test_answers_are_what_the_chart_shows() -> None:
    """The bar of the biggest value is the highest one, in its colour."""
    chart = Chart("bar", 0, (40, 100, 30, 70), ("red", "blue", "green", "yellow"), (320, 300))
    drawn = draw_chart(chart, [INK] * 4)
    with Image.open(BytesIO(drawn)) as picture:
        pixels = np.asarray(picture)
    heights = {name: (pixels == COLOURS[name]).all(axis=2).any(axis=1).sum() for name in chart.colours}
    assert sorted(heights, key=heights.__getitem__) == ["green", "red", "yellow", "blue"]
    assert chart.colours[chart.biggest] == "blue"
    assert chart.colours[chart.smallest] == "green"


def test_a_pies_slices_are_as_big_as_their_values() -> None:
    chart = Chart("pie", 0, (30, 60, 90), ("red", "blue", "green"), (400, 400))
    drawn = draw_chart(chart, [INK] * 3)
    with Image.open(BytesIO(drawn)) as picture:
        pixels = np.asarray(picture)
    counts = [(pixels == COLOURS[name]).all(axis=2).sum() for name in chart.colours]
    assert [count / sum(counts) for count in counts] == pytest.approx([1 / 6, 1 / 3, 1 / 2], abs=0.01)


def test_prompts_are_in_the_language_and_the_papers_are_its_own(examples: Examples) -> None:
    native = examples("smpqa", "arb_Arab")["bar-0/grounding/0"]
    assert native.messages[0].text.endswith("أجب بكلمة نعم أو لا.")
    assert native.choices == ("نعم", "لا")
    paper = examples("smpqa", "arb_Arab", prompt_set="paper")
    assert paper["pie-1/reading/0"].messages[0].text == (
        "What is the label of the biggest slice?\nAnswer the question using a single word or phrase."
    )
    label = native.messages[0].text.split("«")[1].split("»")[0]
    assert paper["bar-0/grounding/0"].messages[0].text.startswith(f"Is the bar with label ’{label}’ the biggest?")
    assert paper["bar-0/grounding/0"].choices == ("yes", "no")


def test_guessing_gives_a_share_of_the_labels_and_half_of_the_yes(scores: Scores) -> None:
    found = scores("smpqa", {"bar-0/reading/0": "keyboard and more", "bar-0/grounding/0": "no"}, "eng_Latn")
    sizes = [len(chart.values) for chart in plan(0)]
    assert found["reading", "choices"].value == pytest.approx(sum(sizes) / len(sizes))
    assert found["reading", "chance"].value == pytest.approx(sum(1 / size for size in sizes) / len(sizes))
    assert found["grounding", "chance"].value == 0.5
    assert found["reading", "normalised-exact"].value == 19 / 20
    assert found["grounding", "normalised-exact"].value == 31 / 32


def test_words_that_cannot_be_labels_are_passed_over() -> None:
    found = ["Stuhl", "stuhl", "B", "zwei-teilig", "A4", "слон", "Ein sehr langes Wort steht da", "", "gut so"]
    assert fitting_words(found, rarer_half=False) == ["Stuhl", "слон", "gut so"]
    assert fitting_words(["the", "of", "chair", "table"], rarer_half=True) == ["chair", "table"]


def test_no_label_stands_in_another() -> None:
    chart = plan(0)[0]
    known = ["sun", "sunset", "moon", "moonlight", *(f"{letter * 3}" for letter in "abcdefgh")]
    labels = labels_of(chart, known, 0)
    assert len(labels) == len(chart.values)
    assert not {"sun", "sunset"} <= set(labels)
    assert not {"moon", "moonlight"} <= set(labels)


def test_too_few_words_are_said(root: Path) -> None:
    (root / "smpqa/words/eng_Latn.txt").write_text("one\ntwo\nthree\nfour\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"has 2 words in eng_Latn that can be labels, a chart needs 8"):
        BENCHMARKS.get("smpqa").open(root).examples("eng_Latn", split="test", prompt_set="native", limit=None)


def test_words_that_no_font_has_are_never_labels(root: Path, examples: Examples) -> None:
    """They would be boxes."""
    file = root / "smpqa/words/eng_Latn.txt"
    file.write_text(file.read_text(encoding="utf-8") + "言葉\n" * 2, encoding="utf-8")
    assert not any("言葉" in row.choices for row in examples("smpqa").values())


def test_a_script_without_a_font_is_said(root: Path) -> None:
    (root / "smpqa/words/tha_Thai.txt").write_text("รางวัล\nประตู\nภูเขา\nตลาด\n", encoding="utf-8")
    data = BENCHMARKS.get("smpqa").open(root)
    with pytest.raises(EvaluationError, match=r"0 words in tha_Thai .* 2 more have letters that no font has") as caught:
        data.examples("tha_Thai", split="test", prompt_set="native", limit=None)
    assert "a font of the script Thai" in (caught.value.hint or "")


def test_fonts_are_part_of_the_revision(root: Path, tmp_path: Path) -> None:
    before = BENCHMARKS.get("smpqa").open(root).revision
    other = write_smpqa(tmp_path / "other")
    assert load(other).revision == before
    another = write_smpqa(tmp_path / "another")
    (another / "fonts" / "DejaVuSans-Bold.ttf").symlink_to(FONT.with_name("DejaVuSans-Bold.ttf"))
    assert load(another).revision != before
    assert len(before) == len(f"sha256:{hashlib.sha256().hexdigest()}")

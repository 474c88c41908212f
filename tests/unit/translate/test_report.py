"""Counts and samples of a translation, finished or not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.facts import Facts
from tests.translating import CHANGED, UNKNOWN, Marked, Strict

from visiglot.config import AllocationSection, SourceSection
from visiglot.errors import TranslationError
from visiglot.translate import jobs as jobs_module
from visiglot.translate.folder import Folder
from visiglot.translate.jobs import plan_source
from visiglot.translate.pipeline import translate
from visiglot.translate.report import report_text, write_report
from visiglot.translate.store import Store
from visiglot.translate.tally import SAMPLES, Rejected, Sample, merged, read_tally, tally, write_tally
from visiglot.translate.translator import Translator

EN, DE, AR = "eng_Latn", "deu_Latn", "arb_Arab"


def make(folder: Path, *, fail_after: int | None = None) -> Folder:
    rows = [(EN, {"caption": f"a {'rejected' if n % 4 == 3 else 'good'} picture {n} <b>"}) for n in range(40)]
    job = plan_source(
        Facts(rows), SourceSection(type="nano"), [EN, DE, AR], allocation=AllocationSection(policy="parallel"), seed=0
    )
    out = Folder(folder / "out")
    with Store(folder / "store") as store:
        translator = Translator(Marked(fail_after=fail_after), store, Strict(), EN)  # type: ignore[arg-type]
        translate([job], translator, out, settings={"engine": {"name": "tests/marked"}})
    return out


def test_it_counts_by_language_and_reason_and_shows_both_fates(tmp_path: Path) -> None:
    out = make(tmp_path)
    text = report_text(out, out.tallies())
    assert "100 of 120 examples are there and 20 were rejected." in text
    assert "| German (deu\\_Latn) | 0 | 30 | 10 | 25.0% | 10 |" in text
    assert "CC-BY-SA-4.0" in text
    assert text.count("✗") == 0
    assert text.count("! ") == 4, "two samples of each language"
    page = (out.root / "report.html").read_text(encoding="utf-8")
    assert 'lang="ar" dir="auto"' in page
    assert "good picture 0 &lt;b&gt;" in page
    assert "wrong language" in page


def test_it_counts_what_became_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "SHARD", 3)
    answers = ["dog", CHANGED, UNKNOWN, "dog", "yes"]
    rows = [
        *((EN, {"question": "What is it?", "answer": answers[n % 5]}) for n in range(10)),
        (EN, {"question": "Which?", "answer": "cat", "choices": f"cat\n{CHANGED}\ndog"}),
        (EN, {"question": "Is it rejected?", "answer": "dog"}),
    ]
    job = plan_source(
        Facts(rows), SourceSection(type="nano"), [EN, DE], allocation=AllocationSection(policy="parallel"), seed=0
    )
    out = Folder(tmp_path / "out")
    with Store(tmp_path / "store") as store:
        translator = Translator(Marked(), store, Strict(), EN)  # type: ignore[arg-type]
        translate([job], translator, out, settings={"engine": {"name": "tests/marked"}})
    _, german = out.tallies()
    assert german.labels == {"translated": 7, "comes back changed": 3, "no translation": 2, "list incomplete": 2}
    text = report_text(out, out.tallies())
    assert "| language | translated | not | share | no translation | comes back changed | list incomplete |" in text
    assert "| German (deu\\_Latn) | 7 | 7 | 50.0% | 2 | 3 | 2 |" in text


def test_right_to_left_texts_are_isolated_in_terminals(tmp_path: Path) -> None:
    out = make(tmp_path)
    lines = [line for line in report_text(out, out.tallies()).splitlines() if "[arb" in line.replace("\\", "")]
    assert lines
    assert all("\u2068" in line and "\u2069" in line for line in lines)


def test_what_is_finished_so_far_can_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "SHARD", 10)
    with pytest.raises(TranslationError):
        make(tmp_path, fail_after=5)
    out = Folder(tmp_path / "out")
    text = report_text(out, out.tallies())
    assert "the rest isn't done yet" in text
    assert "wrong language" in text
    write_report(out, out.tallies())
    assert (out.root / "report.html").is_file()


def test_samples_are_the_same_in_whatever_order_shards_are_done(tmp_path: Path) -> None:
    parts = [
        tally("a", DE, translated=20, samples=[Sample(f"{n}/{k}", DE, (("x", "y"),)) for k in range(20)])
        for n in range(5)
    ]
    (one,), (other,) = merged(parts), merged(reversed(parts))
    assert one.samples == other.samples
    assert (one.translated, len(one.samples)) == (100, SAMPLES)


def test_tallies_together_count_who_was_rejected_and_dont_name_them() -> None:
    parts = [
        tally("a", DE, kept=1, rejected=[Rejected(f"{n}", DE, reason, "") for n in range(3)], labels={"translated": 2})
        for reason in ("copy", "copy", "empty")
    ]
    (one,) = merged(parts)
    assert (one.kept, one.left_out, one.rejected) == (3, 9, ())
    assert (one.reasons, one.labels) == ({"copy": 6, "empty": 3}, {"translated": 6})


def test_a_tally_is_read_as_it_was_written(tmp_path: Path) -> None:
    lines = [Rejected("1", AR, "copy", "it is"), Rejected("2", AR, "copy", "it is")]
    one = tally("a", AR, kept=1, translated=2, rejected=lines, samples=[Sample("1", AR, (("x", "ك"),), "copy", "d")])
    write_tally(one, tmp_path / "t.json")
    assert read_tally(tmp_path / "t.json") == one
    assert one.reasons == {"copy": 2}
    os.truncate(tmp_path / "t.json", 10)
    with pytest.raises(TranslationError, match="can't be read"):
        read_tally(tmp_path / "t.json")


def test_a_folder_that_is_no_translation_is_said(tmp_path: Path) -> None:
    with pytest.raises(TranslationError, match=r"holds no translation\.json"):
        Folder(tmp_path).tallies()

"""A data set in other languages: whole examples, each text translated once, the same after any interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.facts import Facts
from tests.translating import Marked, Strict

from visiglot.config import AllocationSection, SourceSection
from visiglot.data.parquet_source import ParquetSource
from visiglot.data.progress import telling
from visiglot.errors import LanguageError, TranslationError
from visiglot.translate import jobs as jobs_module
from visiglot.translate import rules as rules_module
from visiglot.translate.folder import Folder
from visiglot.translate.jobs import Job, plan_source
from visiglot.translate.pipeline import Choices, joint_licence, translate
from visiglot.translate.store import Store
from visiglot.translate.tally import Tally
from visiglot.translate.translator import TranslationNotice, Translator
from visiglot.types import Example

EN, DE, SW, AR = "eng_Latn", "deu_Latn", "swh_Latn", "arb_Arab"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "SHARD", 4)


def questions(count: int = 10, **more: Any) -> Facts:
    rows = [
        (EN, {"question": f"What is number {n % 7}?", "answer": ("a dog", "2", "red")[n % 3]}) for n in range(count)
    ]
    return Facts(rows, **more)


def job_of(source: Facts, *languages: str, **more: Any) -> Job:
    options = {"allocation": AllocationSection(policy="parallel"), "seed": 1, **more}
    job = plan_source(source, SourceSection(type="vqav2"), languages, **options)
    return replace(job, root=Path("/pictures"))


Run = Callable[..., list[Tally]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def translate_into(
        name: str, *jobs: Job, engine: Marked | None = None, store: str = "", **options: Any
    ) -> list[Tally]:
        with Store(tmp_path / f"{store or name}.sqlite") as kept:
            translator = Translator(engine or Marked(), kept, Strict(), EN)  # type: ignore[arg-type]
            return translate(jobs, translator, Folder(tmp_path / name), settings={"engine": {"name": "x"}}, **options)

    return translate_into


def read(folder: Path, name: str = "facts") -> list[Example]:
    source = ParquetSource(folder / f"{name}.parquet", root=Path("/pictures"))
    return [source[number] for number in range(len(source))]


def files(folder: Path) -> dict[str, bytes]:
    """What doesn't depend on the time that it took."""
    names = sorted(p.name for p in folder.iterdir() if p.name not in ("log.jsonl", "translation.json"))
    return {name: (folder / name).read_bytes() for name in names}


def test_every_example_is_in_every_language_and_english_passes_through(run: Run, tmp_path: Path) -> None:
    source = questions()
    found = run("out", job_of(source, EN, DE, SW))
    assert {(t.language, t.kept, t.translated, len(t.rejected)) for t in found} == {
        (EN, 10, 0, 0),
        (DE, 0, 10, 0),
        (SW, 0, 10, 0),
    }
    examples = read(tmp_path / "out")
    english = [one for one in examples if one.language == EN]
    assert [(one.id, one.messages, one.facts) for one in english] == [
        (one.id, one.messages, one.facts) for one in map(source.__getitem__, range(10))
    ]
    german = next(one for one in examples if one.id == "facts/3/deu_Latn")
    assert german.facts["question"] == "[deu_Latn] What is number 3?"
    assert german.facts["answer"] == "[deu_Latn] a dog" == german.messages[-1].text
    assert german.provenance is not None
    assert (german.provenance.engine, german.provenance.licence) == ("tests/marked", "CC0-1.0 AND CC-BY-SA-4.0")


def test_a_text_is_translated_once_for_each_language_and_never_again(run: Run) -> None:
    engine = Marked()
    run("out", job_of(questions(30), DE, SW), engine=engine, store="shared")
    asked = [(target, text) for target, texts in engine.calls for text in texts if target in (DE, SW)]
    assert len(asked) == len(set(asked)) == 2 * (7 + 1 + 2), "questions, the turn of each, labels"
    again = Marked()
    run("other", job_of(questions(30), DE), engine=again, store="shared")
    assert again.calls == []


def test_an_example_with_a_rejected_text_is_left_out_whole_and_named(run: Run, tmp_path: Path) -> None:
    source = questions(6)
    source.rows[2] = (EN, {"question": "Is this rejected?", "answer": "a dog"})
    source.rows[4] = (EN, {"question": "Where is the xylophone?", "answer": "here"})
    (found,) = run("out", job_of(source, DE))
    assert (found.translated, dict(found.reasons)) == (4, {"wrong language": 1, "no translation": 1})
    assert [one.id for one in read(tmp_path / "out")] == [f"facts/{n}/deu_Latn" for n in (0, 1, 3, 5)]
    lines = [json.loads(line) for line in (tmp_path / "out" / "ledger.jsonl").read_text().splitlines()]
    assert [(line["id"], line["language"], line["reason"]) for line in lines] == [
        ("facts/2/deu_Latn", DE, "wrong language"),
        ("facts/4/deu_Latn", DE, "no translation"),
    ]
    assert "xylophone" in lines[1]["detail"]


def test_a_label_that_comes_back_changed_stays_english_everywhere(run: Run, tmp_path: Path) -> None:
    rows = [(EN, {"question": f"What is number {n}?", "answer": "bank"}) for n in range(5)]
    run("out", job_of(Facts(rows), DE))
    assert {one.facts["answer"] for one in read(tmp_path / "out")} == {"bank"}
    assert {one.facts["answer.language"] for one in read(tmp_path / "out")} == {EN}
    rows[3] = (EN, {"question": "What is number 3?", "answer": "dog"})
    (found,) = run("strict", job_of(Facts(rows), DE), choices=Choices(labels="reject"))
    assert (found.translated, dict(found.reasons)) == (1, {"unchecked label": 4})


def test_an_engine_of_one_direction_checks_no_label_and_says_so(run: Run, tmp_path: Path) -> None:
    class OneWay(Marked):
        def check(self, source: str, targets: Any) -> None:
            if source != EN:
                raise LanguageError("language of the engine", source, [EN])

    with pytest.warns(TranslationNotice, match="can't translate from deu_Latn") as said:
        run("out", job_of(questions(10), DE), engine=OneWay())
    assert len(said) == 1
    assert {one.facts["answer"] for one in read(tmp_path / "out")} == {"a dog", "2", "red"}
    assert read(tmp_path / "out")[0].facts["question"] == "[deu_Latn] What is number 0?"


@pytest.mark.parametrize("calls", range(8))
def test_an_engine_that_fails_at_any_call_costs_nothing_that_was_finished(run: Run, tmp_path: Path, calls: int) -> None:
    jobs = job_of(questions(10), EN, DE, SW)
    straight = Marked()
    run("straight", jobs, engine=straight)
    failing = Marked(fail_after=calls)
    with pytest.raises(TranslationError, match="gone"):
        run("broken", jobs, engine=failing)
    rest = Marked()
    run("broken", jobs, engine=rest)
    assert files(tmp_path / "broken") == files(tmp_path / "straight")
    assert failing.calls + rest.calls == straight.calls, "nothing is asked again"


def test_what_is_finished_is_left_alone_and_other_settings_are_refused(run: Run, tmp_path: Path) -> None:
    run("out", job_of(questions(), DE))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    engine = Marked()
    run("out", job_of(questions(), DE), engine=engine)
    assert engine.calls == []
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    with pytest.raises(TranslationError, match="other settings: jobs"):
        run("out", job_of(questions(), DE, SW))
    with pytest.raises(TranslationError, match="other settings: engine"):
        run("out", job_of(questions(), DE), engine=Marked(identity="marked 2"))
    run("out", job_of(questions(), DE, SW), resume=False)
    assert len(read(tmp_path / "out")) == 20


def test_a_folder_of_something_else_is_never_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(TranslationError, match=r"holds thesis.tex"):
        run("out", job_of(questions(), DE), resume=False)


def test_a_folder_of_something_else_is_left_as_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(TranslationError, match=r"holds thesis.tex"):
        run("out", job_of(questions(), DE))
    (tmp_path / "out" / "thesis.tex").unlink()
    assert list((tmp_path / "out").iterdir()) == []
    run("out", job_of(questions(), DE))


class OnDisk(Facts):
    """Facts that say which file they are read from."""

    files: tuple[Path, ...] = ()


@pytest.mark.parametrize("finished", [False, True])
def test_a_source_that_was_edited_is_never_mixed_with_what_it_was(run: Run, tmp_path: Path, finished: bool) -> None:
    path = tmp_path / "rows.jsonl"

    def source(text: str) -> OnDisk:
        path.write_text(text, encoding="utf-8")
        found = OnDisk([(EN, {"caption": f"picture {n} of {text}"}) for n in range(10)])
        found.files = (path,)
        return found

    first = source("dogs")
    if finished:
        run("out", job_of(first, DE))
    else:
        with pytest.raises(TranslationError, match="gone"):
            run("out", job_of(first, DE), engine=Marked(fail_after=1))
    edited = source("a cat")
    with pytest.raises(TranslationError, match=r"other settings: files of a source \(they have changed\)") as caught:
        run("out", job_of(edited, DE))
    assert "--no-resume" in str(caught.value.hint)
    run("out", job_of(edited, DE), resume=False)
    assert {one.facts["caption"] for one in read(tmp_path / "out")} == {
        f"[{DE}] picture {n} of a cat" for n in range(10)
    }


@pytest.mark.parametrize("change", ["RULES", "TABLES"])
def test_shards_of_other_rules_are_never_mixed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    with pytest.raises(TranslationError, match="gone"):
        run("out", job_of(questions(), DE), engine=Marked(fail_after=2))
    value = rules_module.RULES + 1 if change == "RULES" else {"visiglot.translate": ("filters.toml",)}
    monkeypatch.setattr(rules_module, change, value)
    with pytest.raises(TranslationError, match=r"other settings: rules \(visiglot has others now\)"):
        run("out", job_of(questions(), DE))


def test_it_says_how_far_it_is_within_the_first_shard(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiglot.data.progress.EVERY", 0.0)
    said: list[str] = []
    with telling(said.append):
        run("out", job_of(questions(3), DE))
    assert said[0].startswith("translating: 0 of 3 examples")
    assert "4 sentences translated" in said[0]
    assert said[-1].startswith("translating: 3 of 3 examples")


def test_a_finished_translation_holds_no_line_of_the_ledger_in_memory(run: Run, tmp_path: Path) -> None:
    rows = [(EN, {"caption": f"picture {n}{' rejected' if n % 2 else ''}"}) for n in range(20)]
    found = run("out", job_of(Facts(rows), DE, SW))
    assert [(one.left_out, one.rejected, dict(one.reasons)) for one in found] == [(10, (), {"wrong language": 10})] * 2
    lines = [json.loads(line) for line in (tmp_path / "out" / "ledger.jsonl").read_text().splitlines()]
    wanted = [f"facts/{n}/{code}" for code in (DE, SW) for n in range(1, 20, 2)]
    assert [line["id"] for line in lines] == wanted
    assert {tuple(line) for line in lines} == {("source", "id", "language", "reason", "detail")}


def test_two_processes_never_share_a_folder(run: Run, tmp_path: Path) -> None:
    with Folder(tmp_path / "out").owned(), pytest.raises(TranslationError, match="another process"):
        run("out", job_of(questions(), DE))


def test_a_language_that_the_engine_lacks_is_said_before_any_work(run: Run, tmp_path: Path) -> None:
    with pytest.raises(LanguageError):
        run("out", job_of(questions(), DE, "epo_Latn"))
    assert not (tmp_path / "out").exists()


def test_rows_that_are_in_a_language_already_stay_as_they_are(run: Run, tmp_path: Path) -> None:
    source = Facts([(EN, {"caption": "a dog runs"}), (DE, {"caption": "ein Hund"}), (AR, {"caption": "كلب"})])
    run("out", job_of(source, DE))
    assert [(one.id, one.facts["caption"]) for one in read(tmp_path / "out")] == [
        ("facts/1", "ein Hund"),
        ("facts/0/deu_Latn", "[deu_Latn] a dog runs"),
    ]


def test_all_rejected_is_an_error_that_shows_samples(run: Run, tmp_path: Path) -> None:
    source = Facts([(EN, {"caption": f"rejected picture {n}"}) for n in range(3)])
    with pytest.raises(TranslationError, match="every example was rejected: wrong language 3"):
        run("out", job_of(source, DE))
    assert "rejected picture" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_it_says_how_to_make_it_again_and_how_long_it_took(run: Run, tmp_path: Path) -> None:
    run("out", job_of(questions(), EN, DE))
    about = json.loads((tmp_path / "out" / "translation.json").read_text())
    assert about["finished"] is True
    assert about["settings"]["engine"] == {"name": "x", "identity": "marked 1", "licence": "CC-BY-SA-4.0"}
    assert about["settings"]["jobs"][0]["examples"] == {EN: 10, DE: 10}
    assert about["settings"]["jobs"][0]["first_and_last"] == ["facts/0", "facts/9"]
    assert about["made_with"]["visiglot"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert sum(line["examples"] for line in lines) == 20
    assert sum(line["sentences_translated"] for line in lines) == 7 + 1 + 2 * 2, "labels are translated back"
    assert not (tmp_path / "out" / "shards").exists()


def test_licences_are_joined_once() -> None:
    assert joint_licence("CC-BY-4.0", "CC-BY-NC-4.0") == "CC-BY-4.0 AND CC-BY-NC-4.0"
    assert joint_licence("CC-BY-4.0 AND MIT", "MIT") == "CC-BY-4.0 AND MIT"
    assert joint_licence("CC-BY-4.0 AND MIT", "CC0-1.0 AND MIT") == "CC-BY-4.0 AND MIT AND CC0-1.0"
    assert joint_licence("CC-BY-4.0", "") == "CC-BY-4.0"

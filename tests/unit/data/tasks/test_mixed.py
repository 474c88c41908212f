"""Questions in one language with answers that stayed in another: each task counts and names its own target's (mBLIP's
B1b and B1c)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.facts import Facts, answer_of, prompt_of

from visiglot.config import DataSection
from visiglot.data.mixture import Mixture
from visiglot.data.parquet_source import ParquetSource, write_examples
from visiglot.data.tasks import tasked
from visiglot.errors import DataError
from visiglot.languages import ENGLISH

SWAHILI = "swh_Latn"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """200 questions in Swahili, every fourth with an English answer; 10 in English."""
    rows = []
    for n in range(200):
        stays = {"answer": f"net {n}", "answer.language": ENGLISH} if n % 4 == 0 else {"answer": f"wavu {n}"}
        rows.append((SWAHILI, {"question": f"Nini {n}?", "source.question": f"What {n}?", **stays}))
    rows += [(ENGLISH, {"question": f"Who {n}?", "answer": f"she {n}"}) for n in range(10)]
    source = Facts(rows)
    write_examples(tmp_path / "set.parquet", map(source.__getitem__, range(len(source))), root=Path("/pictures"))
    return tmp_path / "set.parquet"


def opened(path: Path, *languages: str) -> ParquetSource:
    return ParquetSource(path, root=Path("/pictures"), languages=languages or None)


def test_an_answer_is_asked_for_in_its_own_language(path: Path) -> None:
    source = tasked(opened(path), "vqa", {}, 0)
    assert {code: len(found) for code, found in source.by_language.items()} == {SWAHILI: 150, ENGLISH: 60}
    for code, indices in source.by_language.items():
        for one in (source[index] for index in indices.tolist()):
            assert one.language == code
            assert ("English" in prompt_of(one), "Swahili" in prompt_of(one)) == (code == ENGLISH, code == SWAHILI)
            assert answer_of(one).startswith("wavu" if code == SWAHILI else ("net", "she"))


def test_a_question_is_asked_for_in_its_own_language_whatever_the_answers(path: Path) -> None:
    source = tasked(opened(path), "vqg", {}, 0)
    assert {code: len(found) for code, found in source.by_language.items()} == {SWAHILI: 200, ENGLISH: 10}
    one = source[0]
    assert (one.language, answer_of(one)) == (SWAHILI, "Nini 0?")
    assert "Swahili" in prompt_of(one)
    assert "net 0" in prompt_of(one)


def test_answers_in_a_language_that_isnt_asked_for_are_left_out(path: Path) -> None:
    source = tasked(opened(path, SWAHILI), "vqa", {}, 0)
    assert {code: len(found) for code, found in source.by_language.items()} == {SWAHILI: 150}
    with pytest.raises(DataError, match="is in eng_Latn"):
        source[0]


def test_templates_are_even_over_the_answers_of_a_language(path: Path) -> None:
    source = tasked(opened(path), "vqa", {}, 0)
    for indices in source.by_language.values():
        used = Counter(prompt_of(source[i]).replace(source[i].facts["question"], "") for i in indices.tolist())
        assert max(used.values()) - min(used.values()) <= 1


def test_a_mixture_draws_them_by_the_language_of_the_answer(path: Path) -> None:
    line = {"type": "parquet", "options": {"path": str(path), "root": "/pictures"}, "task": "vqa"}
    data = DataSection.model_validate(
        {"sources": [line], "languages": [SWAHILI, ENGLISH], "allocation": {"policy": "size"}}
    )
    mixture = Mixture(data, total=210, seed=0)
    assert sorted(mixture.table().values()) == [60, 150]
    assert sum(mixture[k].language == ENGLISH for k in range(210)) == 60


def test_rows_that_a_licence_leaves_out_stay_out(path: Path) -> None:
    source = opened(path)
    kept = source.permitting(lambda licence, engine: None)
    assert {code: found.tolist() for code, found in kept.by_language_of("answer").items()} == {
        code: found.tolist() for code, found in source.by_language_of("answer").items()
    }
    assert dict(source.permitting(lambda licence, engine: "no").by_language_of("answer")) == {}


def test_facts_are_found_across_batches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = opened(path).by_language_of("answer")
    monkeypatch.setattr("visiglot.data.parquet_source.ROWS_AT_ONCE", 7)
    parts = opened(path).by_language_of("answer")
    assert {code: found.tolist() for code, found in whole.items()} == {c: f.tolist() for c, f in parts.items()}

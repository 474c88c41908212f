"""Hard negatives: the search against a plain one, killed and resumed, and what is never a neighbour."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.data.captioned import Captioned, Told

from visiglot.data.captions import normal_form
from visiglot.data.mining import RANKS, Neighbours
from visiglot.data.mining import mine as module
from visiglot.data.mining.encoders import Lexical
from visiglot.data.mining.mine import mine
from visiglot.data.mining.search import Captions, nearest
from visiglot.errors import DataError

WORDS = ("dog", "cat", "boat", "house", "tree", "kite", "lamp", "red", "blue", "old", "small", "wooden")


def random_captions(count: int, seed: int = 0, width: int = 8) -> Captions:
    """Random vectors; some captions say the same, some share a picture, some have none."""
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((count, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = draw.integers(0, count * 2 // 3, count).astype(np.int32)
    pictures = draw.integers(-count // 4, count // 2, count).clip(min=-1).astype(np.int32)
    return Captions(vectors, texts, pictures)


def plain(captions: Captions, index: int, most: int) -> list[int]:
    """The nearest by looking at every one."""
    products = captions.vectors.astype(np.float64) @ captions.vectors[index].astype(np.float64)
    allowed = [
        n
        for n in range(len(captions))
        if captions.texts[n] != captions.texts[index]
        and (captions.pictures[n] != captions.pictures[index] or captions.pictures[n] < 0)
    ]
    return sorted(allowed, key=lambda n: (-products[n], n))[:most]


@pytest.mark.parametrize("block", [1, 17, 64, 1000], ids=lambda block: f"blocks of {block}")
def test_the_search_is_exact_whatever_the_blocks(block: int) -> None:
    captions = random_captions(200)
    found = nearest(captions, 0, 200, 30, block=block, device="cpu")
    assert found.tolist() == [plain(captions, n, 30) for n in range(200)]


def test_a_part_is_asked_for_as_in_the_whole() -> None:
    captions = random_captions(90)
    whole = nearest(captions, 0, 90, 12, block=90, device="cpu")
    assert np.array_equal(nearest(captions, 31, 50, 12, block=20, device="cpu"), whole[31:50])


def test_where_there_are_too_few_the_rest_is_none() -> None:
    captions = random_captions(10)
    found = nearest(captions, 0, 10, 25, block=3, device="cpu")
    for n in range(10):
        best = plain(captions, n, 25)
        assert found[n].tolist() == [*best, *[-1] * (25 - len(best))]


def test_of_equally_near_ones_the_earlier_comes_first() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, -1], [-1, 0], [0, 1], [0, -1]], np.float32)
    captions = Captions(vectors, np.arange(6, dtype=np.int32), np.full(6, -1, np.int32))
    for block in (1, 2, 6):
        found = nearest(captions, 0, 2, 5, block=block, device="cpu")
        assert found.tolist() == [[1, 2, 4, 5, 3], [4, 0, 3, 2, 5]]


def told(count: int = 120, seed: int = 0) -> list[Told]:
    """English and German captions in turn; two for each picture, and some that only look different."""
    draw = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        text = " ".join(draw.choice(WORDS, 4))
        if n % 12 == 11:
            text = rows[n - 9].caption.upper() + "!"
        rows.append(Told(text, f"{n // 4}.jpg", ("eng_Latn", "deu_Latn", "eng_Latn")[n % 3]))
    return rows


@pytest.fixture
def source() -> Captioned:
    return Captioned(told())


def table(folder: Path) -> NDArray[np.int32]:
    return np.fromfile(folder / "neighbours.i32", np.int32)


def test_neighbours_are_of_the_language_and_neither_the_same_text_nor_picture(
    source: Captioned, tmp_path: Path
) -> None:
    found = mine(source, "lexical", tmp_path / "n", ranks=(1, 2, 5, 20), block=16)
    assert found.ranks == (1, 2, 5, 20)
    for index in range(len(source)):
        one, others = source.told[index], [source.told[n] for n in found.rank(index)]
        assert len(others) == 4
        assert index not in found.rank(index)
        assert all(other.language == one.language for other in others)
        assert all(other.picture != one.picture for other in others)
        assert all(normal_form(other.caption) != normal_form(one.caption) for other in others)


def test_rank_r_is_the_r_th_nearest(source: Captioned, tmp_path: Path) -> None:
    found = mine(source, "lexical", tmp_path / "n", ranks=(7, 1, 3))
    everything = mine(source, "lexical", tmp_path / "all", ranks=range(1, 8))
    assert found.ranks == (1, 3, 7)
    for index in range(len(source)):
        ranked = everything.rank(index)
        assert found.rank(index) == (ranked[0], ranked[2], ranked[6])


def test_lexical_neighbours_share_words(tmp_path: Path) -> None:
    texts = ["a red dog", "a red dog runs", "two blue boats", "two blue boats sail", "the old lamp", "the old lamps"]
    source = Captioned([Told(text, f"{n}.jpg") for n, text in enumerate(texts)])
    found = mine(source, "lexical", tmp_path / "n", ranks=(1,))
    assert [found.rank(n)[0] for n in range(6)] == [1, 0, 3, 2, 5, 4]


def test_ranks_that_a_small_language_lacks_are_left_out(tmp_path: Path) -> None:
    rows = [Told(f"word{n}", f"{n}.jpg") for n in range(5)] + [Told("allein", "x.jpg", "deu_Latn")]
    found = mine(Captioned(rows), "lexical", tmp_path / "n", ranks=(1, 4, 5))
    assert [len(found.rank(n)) for n in range(6)] == [2, 2, 2, 2, 2, 0]
    assert found.count() == (5, 5, 0)


def test_languages_that_were_not_asked_for_have_no_neighbours(source: Captioned, tmp_path: Path) -> None:
    source.by_language = {"deu_Latn": source.by_language["deu_Latn"]}
    found = mine(source, "lexical", tmp_path / "n", ranks=(1,))
    assert [bool(found.rank(n)) for n in range(len(source))] == [one.language == "deu_Latn" for one in source.told]


def test_a_limit_takes_part_of_each_language(source: Captioned, tmp_path: Path) -> None:
    found = mine(source, "lexical", tmp_path / "n", ranks=(1, 2), limit=10)
    having = [n for n in range(len(source)) if found.rank(n)]
    assert sorted(source.told[n].language for n in having) == ["deu_Latn"] * 10 + ["eng_Latn"] * 10
    assert {one for n in having for one in found.rank(n)} <= set(having)
    assert max(having) > 100


def test_blocks_change_nothing(source: Captioned, tmp_path: Path) -> None:
    for block in (7, 1000):
        mine(source, "lexical", tmp_path / str(block), ranks=(1, 2, 3, 30), block=block)
    assert np.array_equal(table(tmp_path / "7"), table(tmp_path / "1000"))


class Killed(BaseException):
    """What no code of ours catches."""


def after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which kills the process when it was called so often."""
    left = calls

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return function(*arguments, **options)

    return counted


@pytest.mark.parametrize("calls", [0, 1, 4])
@pytest.mark.parametrize("place", ["encoding", "comparing"])
def test_a_killed_search_goes_on_where_it_was(
    source: Captioned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, calls: int
) -> None:
    options: dict[str, Any] = {"ranks": (1, 2, 9), "block": 10}
    mine(source, "lexical", tmp_path / "straight", **options)
    done: list[int] = []
    real = nearest
    with monkeypatch.context() as patch:
        if place == "encoding":
            patch.setattr(Lexical, "__call__", after(calls, Lexical.__call__))
        else:
            patch.setattr(module, "nearest", after(calls, real))
        with pytest.raises(Killed):
            mine(source, "lexical", tmp_path / "killed", **options)
    with pytest.raises(DataError, match=r"holds no mined neighbours"):
        Neighbours(tmp_path / "killed")
    monkeypatch.setattr(module, "nearest", lambda *a, **k: (done.append(1), real(*a, **k))[1])
    mine(source, "lexical", tmp_path / "killed", **options)
    assert (tmp_path / "killed" / "neighbours.i32").read_bytes() == (
        tmp_path / "straight" / "neighbours.i32"
    ).read_bytes()
    blocks = 4 + 8  # of 40 German and 80 English captions
    assert len(done) == blocks - (calls if place == "comparing" else 0)
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == ["about.json", "neighbours.i32"]


def test_what_is_done_is_not_done_again(source: Captioned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mine(source, "lexical", tmp_path / "n")
    monkeypatch.setattr(module, "nearest", after(0, nearest))
    again = mine(source, "lexical", tmp_path / "n")
    assert again.rank(5) == first.rank(5)
    assert again.ranks == RANKS


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "stopped"])
@pytest.mark.parametrize(
    ("change", "named"),
    [({"ranks": (1, 3)}, "ranks"), ({"limit": 7}, "languages"), ({"source": 1}, "fingerprint")],
    ids=["ranks", "limit", "source"],
)
def test_another_search_does_not_go_into_the_same_folder(
    source: Captioned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    named: str,
    finished: bool,
) -> None:
    with monkeypatch.context() as patch:
        if not finished:
            patch.setattr(module, "nearest", after(1, nearest))
        try:
            mine(source, "lexical", tmp_path / "n", ranks=(1, 2), block=16)
        except Killed:
            assert not finished
    changed = dict(change)
    other = Captioned(told(seed=1)) if changed.pop("source", None) else source
    with pytest.raises(DataError, match=rf"holds another search; {named} is "):
        mine(other, "lexical", tmp_path / "n", **{"ranks": (1, 2), "block": 16, **changed})


def test_a_folder_with_something_else_in_it_is_left_alone(source: Captioned, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(DataError, match="is no folder of mined neighbours"):
        mine(source, "lexical", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


class TestNeighbours:
    @pytest.fixture
    def found(self, source: Captioned, tmp_path: Path) -> Neighbours:
        return mine(source, "lexical", tmp_path / "n", ranks=(1, 2))

    def test_they_fit_their_source_wherever_it_lies_and_whatever_it_is_asked_for(
        self, found: Neighbours, source: Captioned
    ) -> None:
        found.check(source)
        same = Captioned(told(), name="another name")
        same.by_language = {}
        found.check(same)

    @pytest.mark.parametrize(
        ("other", "problem"),
        [
            (told()[:-1], "of 120 examples of captioned, but source captioned has 119"),
            (told()[::-1], "of other examples"),
            (told(seed=5), "of other examples"),
        ],
        ids=["fewer", "another order", "other captions"],
    )
    def test_they_are_refused_for_another_source(self, found: Neighbours, other: Sequence[Told], problem: str) -> None:
        with pytest.raises(DataError, match=problem):
            found.check(Captioned(other))

    def test_a_check_reads_few_examples_of_many(self, found: Neighbours) -> None:
        many = Captioned(told(count=3000))
        mined = mine(many, "lexical", found.folder.parent / "many", ranks=(1,), limit=5)
        many.read = 0
        mined.check(many)
        assert 100 < many.read < 200

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"source": "x"}'])
    def test_a_folder_that_is_none_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(DataError, match="holds no mined neighbours"):
            Neighbours(tmp_path)
        (tmp_path / "about.json").write_text(text)
        with pytest.raises(DataError, match="can't be read"):
            Neighbours(tmp_path)

    def test_a_table_of_another_size_is_refused(self, found: Neighbours) -> None:
        about = json.loads((found.folder / "about.json").read_text())
        (found.folder / "about.json").write_text(json.dumps({**about, "examples": 119}))
        with pytest.raises(DataError, match="can't be read"):
            Neighbours(found.folder)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A red dog.", "a  RED dog"),
        ("ﬁre", "fire"),
        ("Straße", "STRASSE"),
        ("x-ray", "x ray"),
        ("un café", "un cafe\u0301"),
    ],
)
def test_texts_that_say_the_same_share_a_normal_form(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(("one", "other"), [("कि", "की"), ("!", "?"), ("😀", "🎈"), ("a dog", "a dogs")])
def test_texts_that_do_not_have_others(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)

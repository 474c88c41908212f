"""What is stored and when, what people have translated, and answers that no file can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.translating import Marked, Strict

from visiglot.errors import EngineError, TranslationError
from visiglot.translate import translator as translator_module
from visiglot.translate.engine import Engine, Output, is_whole
from visiglot.translate.engines.memory import memory_engine
from visiglot.translate.filters import Filters
from visiglot.translate.store import Store
from visiglot.translate.translator import Cached, Refused, Translated, Translator, Work

EN, DE = "eng_Latn", "deu_Latn"

HALF = "\ud83d"


@dataclass
class InPortions(Marked):
    """Hands over so many outputs at a time, and stops as it is told after some."""

    size: int = 3
    stops: BaseException | None = None
    after: int = 2
    asked: list[str] = field(default_factory=list)

    def portions(self, texts: Sequence[str], source: str, target: str) -> Iterator[Mapping[str, Output]]:
        for number, first in enumerate(range(0, len(texts), self.size)):
            if number == self.after and self.stops is not None:
                raise self.stops
            some = texts[first : first + self.size]
            self.asked += some
            yield {text: self._one(text, source, target) for text in some}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as kept:
        yield kept


def translator(engine: Engine, store: Store, filters: object = None) -> Translator:
    return Translator(engine, store, filters or Strict(), EN)  # type: ignore[arg-type]


# --- what is stored when ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [KeyboardInterrupt(), TranslationError("gone"), EngineError("gone")])
def test_what_an_engine_handed_over_is_stored_whatever_stops_it(store: Store, stops: BaseException) -> None:
    texts = [f"text {n}" for n in range(9)]
    stopped = InPortions(stops=stops)
    with pytest.raises(type(stops)):
        Cached(stopped, store, Work()).translate(texts, EN, DE)
    assert stopped.asked == texts[:6]
    again, work = InPortions(), Work()
    said = Cached(again, store, work).translate(texts, EN, DE)
    assert [one.text for one in said] == [f"[{DE}] {text}" for text in texts]
    assert again.asked == texts[6:]
    assert (work.found, work.made) == (6, 3)


def test_what_came_with_an_engines_error_is_stored(store: Store) -> None:
    class Fails(Marked):
        def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
            raise EngineError("gone", made={texts[0]: Output("ja")})

    with pytest.raises(EngineError, match="gone"):
        Cached(Fails(), store, Work()).translate(["a", "b"], EN, DE)
    assert store.find(["a", "b"], EN, DE) == {"a": Output("ja")}


def test_an_engine_that_says_all_at_once_is_asked_for_so_many_and_no_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert translator_module.ASKED_TOGETHER == 2048, "docs/translate.md says what is lost at most"
    monkeypatch.setattr(translator_module, "ASKED_TOGETHER", 4)
    texts = [f"text {n}" for n in range(10)]
    failing = Marked(fail_after=2)
    with pytest.raises(TranslationError):
        Cached(failing, store, Work()).translate(texts, EN, DE)
    rest = Marked()
    Cached(rest, store, Work()).translate(texts, EN, DE)
    assert [list(some) for _, some in failing.calls + rest.calls] == [texts[:4], texts[4:8], texts[8:]]


def test_what_is_asked_together_is_the_same_after_a_restart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translator_module, "ASKED_TOGETHER", 4)
    texts = [f"text {n}" for n in range(10)]
    store.add({texts[1]: Output("x"), texts[2]: Output("x")}, EN, DE)
    engine = Marked()
    Cached(engine, store, Work()).translate(texts, EN, DE)
    assert [list(some) for _, some in engine.calls] == [[texts[0], texts[3]], texts[4:8], texts[8:]]


@pytest.mark.parametrize("change", [lambda said: said[:-1], lambda said: [*said, said[0]]])
def test_an_engine_with_more_or_fewer_outputs_than_texts_is_named(
    store: Store, change: Callable[[list[Output]], list[Output]]
) -> None:
    class Wrong(Marked):
        def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
            return change(super().translate(texts, source, target))

    class Lacking(InPortions):
        def portions(self, texts: Sequence[str], source: str, target: str) -> Iterator[Mapping[str, Output]]:
            return super().portions(texts[1:], source, target)

    for engine, count in ((Wrong(), len(change([Output("")] * 3))), (Lacking(), 2)):
        with pytest.raises(TranslationError, match=f"tests/marked gave {count} outputs for 3 texts"):
            Cached(engine, store, Work()).translate([f"{count}{letter}" for letter in "abc"], EN, DE)


def test_trouble_that_may_pass_is_asked_for_again_and_what_lasts_is_not(store: Store) -> None:
    class Troubled(Marked):
        well = False

        def _one(self, text: str, source: str, target: str) -> Output:
            if text == "never":
                return Output(None, reason="it declines")
            if text == "later" and not self.well:
                return Output(None, reason="it is busy", passing=True)
            return Output(f"<{text}>")

    engine = Troubled()
    asked = ["never", "later", "now"]
    first = Cached(engine, store, Work()).translate(asked, EN, DE)
    assert [one.text for one in first] == [None, None, "<now>"]
    assert first[1].reason == "it is busy"
    engine.well = True
    second = Cached(engine, store, Work()).translate(asked, EN, DE)
    assert [one.text for one in second] == [None, "<later>", "<now>"]
    assert [some for _, some in engine.calls] == [("now", "later", "never"), ("later",)]


def test_half_a_character_costs_that_text_and_nothing_else(store: Store) -> None:
    class Halves(Marked):
        def _one(self, text: str, source: str, target: str) -> Output:
            half = text == "What is half?"
            return Output(f"ein {HALF}" if half else "ganz", reason=f"so {HALF}" if half else None)

    said = translator(Halves(), store).translate(["What is half?", "What is whole?"], DE)
    assert said["What is whole?"] == Translated("ganz", frozenset({"tests/marked"}))
    refused = said["What is half?"]
    assert isinstance(refused, Refused)
    assert refused.reason == "no translation"
    assert "half a character in it: 'ein \\ud83d'" in refused.detail
    assert is_whole(refused.detail)
    assert len(store.find(["What is half?", "What is whole?"], EN, DE)) == 2, "it isn't asked for again"


# --- what people have translated -------------------------------------------------------------------------------------


@pytest.fixture
def remembering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Engine]:
    """An engine of a memory with these rows."""
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))

    def build(*rows: tuple[str, str], engine: str | None = "marked", name: str = "house.tsv") -> Engine:
        path = tmp_path / name
        quoted = ("\t".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
        path.write_text("\n".join(["en\tde", *quoted]), encoding="utf-8")
        return memory_engine(path, engine=engine)

    return build


def test_whole_texts_come_from_the_memory_and_the_rest_by_sentences(
    store: Store, remembering: Callable[..., Engine]
) -> None:
    two, page, other = "A dog. It runs.", "Press <b>the button</b>, {name}.\nThen wait.", "A dog. It sleeps."
    engine = remembering(
        (two, "Da rennt ein Hund."),
        (page, "Drücken Sie <b>den Knopf</b>, {name}.\nDann warten."),
        ("A dog.", "Ein Hund."),
    )
    made = translator(engine, store)
    said = made.translate([two, page, other], DE)
    assert said[two] == Translated("Da rennt ein Hund.", frozenset({"memory house.tsv"}))
    assert said[page] == Translated(
        "Drücken Sie <b>den Knopf</b>, {name}.\nDann warten.", frozenset({"memory house.tsv"})
    )
    assert said[other] == Translated(f"Ein Hund. [{DE}] It sleeps.", frozenset({"memory house.tsv", "tests/marked"}))
    assert made.work.found == 2


def test_a_unit_that_loses_what_must_survive_is_passed_over(store: Store, remembering: Callable[..., Engine]) -> None:
    text = "Hello {name}. How are you?"
    engine = remembering((text, "Hallo. Wie geht es?"), ("How are you?", "Wie geht es?"))
    said = translator(engine, store).translate([text], DE)[text]
    assert isinstance(said, Translated)
    assert said.text == f"[{DE}] Hello {{name}}. Wie geht es?"


def test_filters_judge_what_people_have_translated(store: Store, remembering: Callable[..., Engine]) -> None:
    text = "A dog. It runs over the green lawn."
    wrong = "Un perro. Corre por el verde césped del jardín."
    said = translator(remembering((text, wrong)), store, Filters()).translate([text], DE)[text]
    assert isinstance(said, Refused)
    assert (said.reason, said.translation) == ("wrong language", wrong)


def test_labels_of_the_memory_need_no_way_back(store: Store, remembering: Callable[..., Engine]) -> None:
    engine = remembering(("sofa", "Sofa"), ("couch", "Sofa"), ("bank", "Ufer"))
    labels = translator(engine, store).labels(["sofa", "couch", "bank", "dog", "yes"], DE)
    assert labels["couch"] == Translated("Sofa", frozenset({"memory house.tsv"}))
    assert labels["sofa"] == labels["couch"]
    assert labels["bank"] == Translated("Ufer", frozenset({"memory house.tsv"}))
    assert labels["dog"] == Translated(f"[{DE}] dog", frozenset({"tests/marked"}))
    assert labels["yes"] == Translated("ja")


def test_a_memory_behind_a_memory_has_whole_texts_too(
    store: Store, remembering: Callable[..., Engine], tmp_path: Path
) -> None:
    text = "A dog. It runs."
    remembering((text, "Da rennt ein Hund."), ("A cat. It runs.", "x"), name="old.tsv")
    path = tmp_path / "new.tsv"
    path.write_text("en\tde\nA cat. It runs.\tDa rennt eine Katze.\n", encoding="utf-8")
    engine = memory_engine(path, engine="memory", engine_options={"path": str(tmp_path / "old.tsv")})
    said = translator(engine, store).translate([text, "A cat. It runs."], DE)
    assert said[text] == Translated("Da rennt ein Hund.", frozenset({"memory old.tsv"}))
    assert said["A cat. It runs."] == Translated("Da rennt eine Katze.", frozenset({"memory new.tsv"}))

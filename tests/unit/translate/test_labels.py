"""Labels are kept where they come back as they were, whatever they are translated with."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from visiglot.errors import TranslationError
from visiglot.translate.engine import Output
from visiglot.translate.labels import (
    CHANGED,
    COPY,
    LOST,
    NO_TRANSLATION,
    UNFINISHED,
    Checked,
    check_labels,
    conflicting,
)

EN, DE, ZH = "eng_Latn", "deu_Latn", "zho_Hans"

WORDS = {
    (EN, DE): {
        "dog": "Hund",
        "cat": "Katze",
        "red # blue": "rot # blau",
        "bank": "Ufer",
        "sofa": "Sofa",
        "couch": "Sofa",
        "Yes": "Ja",
        "pizza": "Pizza",
        "T-shirt": "T-Shirt",
        "xylophone": None,
        "dots": "...",
    },
    (DE, EN): {
        "Hund": "Dog.",
        "Katze": "the cat",
        "rot # blau": "red # blue",
        "Ufer": "shore",
        "Sofa": "sofa",
        "Ja": "yes",
        "Pizza": "pizza",
        "T-Shirt": "t shirt",
    },
    (EN, ZH): {"dog": "狗", "cat": "cat", "IKEA": "IKEA", "pizza": "比萨饼"},
    (ZH, EN): {"狗": "dog", "IKEA": "IKEA", "比萨饼": "pizza", "cat": "cat"},
}


@dataclass
class Dictionary:
    """An engine that knows single texts; `long` are stopped at their longest."""

    name: str = "tests/dictionary"
    licence: str = ""
    identity: str = "dictionary 1"
    long: frozenset[str] = frozenset()
    lost: int = 0
    calls: list[tuple[str, str, list[str]]] = field(default_factory=list)

    def check(self, source: str, targets: Sequence[str]) -> None:
        return None

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        self.calls.append((source, target, list(texts)))
        words: Mapping[str, str | None] = WORDS[source, target]
        outputs = [Output(words[text], finished=text not in self.long) for text in texts]
        return outputs[: len(outputs) - self.lost]


def test_a_label_is_kept_iff_it_comes_back() -> None:
    labels = ["dog", "cat", "bank", "Yes", "pizza", "T-shirt", "xylophone", "dots"]
    found = check_labels(Dictionary(), labels, EN, DE)
    assert found.kept == {"dog": "Hund", "Yes": "Ja", "pizza": "Pizza", "T-shirt": "T-Shirt"}
    assert found.dropped == {"cat": CHANGED, "bank": CHANGED, "xylophone": NO_TRANSLATION, "dots": NO_TRANSLATION}


def test_each_label_is_a_text_of_its_own_whatever_is_in_it() -> None:
    engine = Dictionary()
    found = check_labels(engine, ["red # blue", "dog"], EN, DE).kept
    assert found == {"red # blue": "rot # blau", "dog": "Hund"}
    assert engine.calls == [(EN, DE, ["dog", "red # blue"]), (DE, EN, ["Hund", "rot # blau"])]


def test_neither_order_nor_company_changes_a_label() -> None:
    labels = ["dog", "cat", "sofa", "couch", "Yes", "pizza", "bank", "T-shirt"]
    together = check_labels(Dictionary(), labels, EN, DE).kept
    one_by_one = {k: v for label in labels for k, v in check_labels(Dictionary(), [label], EN, DE).kept.items()}
    assert together == one_by_one
    first = Dictionary()
    check_labels(first, labels, EN, DE)
    for seed in range(5):
        engine = Dictionary()
        shuffled = random.Random(seed).sample([*labels, *labels], 2 * len(labels))
        assert check_labels(engine, shuffled, EN, DE).kept == together
        assert engine.calls == first.calls, "the engine sees the same batches"


def test_a_word_that_stays_as_it_is_in_another_script_is_no_translation_but_a_name_is() -> None:
    found = check_labels(Dictionary(), ["cat", "dog", "IKEA", "pizza"], EN, ZH)
    assert found.kept == {"dog": "狗", "IKEA": "IKEA", "pizza": "比萨饼"}
    assert found.dropped == {"cat": COPY}


def test_a_label_that_was_cut_is_dropped() -> None:
    engine = Dictionary(long=frozenset({"dog"}))
    assert check_labels(engine, ["dog", "Yes"], EN, DE).dropped == {"dog": UNFINISHED}
    assert check_labels(Dictionary(long=frozenset({"Hund"})), ["dog"], EN, DE).kept == {"dog": "Hund"}


def test_labels_in_their_own_language_are_themselves_and_none_cost_no_call() -> None:
    engine = Dictionary()
    assert check_labels(engine, ["dog", " "], EN, EN) == Checked({"dog": "dog"}, {})
    assert check_labels(engine, [], EN, DE) == Checked({}, {})
    assert engine.calls == []


@dataclass
class Blurring(Dictionary):
    """An engine that drops points and braces, and knows "Hund" and "dog"."""

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        self.calls.append((source, target, list(texts)))
        words = {"dog": "Hund"} if target == DE else {"Hund": "dog"}
        bare = ["".join(c for c in text if c not in ".{}<>/") for text in texts]
        return [Output(words.get(text, text), engine="someone") for text in bare]


def test_what_must_survive_in_a_label_is_never_sent_and_comes_back() -> None:
    engine = Blurring()
    labels = ["{dog}", "<b>dog</b>", "dog {x}"]
    found = check_labels(engine, labels, EN, DE)
    assert found.kept == {"{dog}": "{dog}", "<b>dog</b>": "<b>Hund</b>", "dog {x}": "Hund {x}"}
    assert engine.calls == [(EN, DE, ["dog"]), (DE, EN, ["Hund"])]
    nobody, someone = frozenset[str](), frozenset({"someone"})
    assert found.engines == {"{dog}": nobody, "<b>dog</b>": someone, "dog {x}": someone}
    assert check_labels(Blurring(), ["{dog}"], EN, ZH).kept == {"{dog}": "{dog}"}, "no word was copied"


def test_another_number_is_another_label() -> None:
    assert check_labels(Blurring(), ["3.5 km"], EN, DE).dropped == {"3.5 km": LOST}

    class Back(Blurring):
        def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
            return [Output("3,5 km" if target == DE else "35 km") for _ in texts]

    assert check_labels(Back(), ["3.5 km"], EN, DE).dropped == {"3.5 km": CHANGED}


def test_an_engine_that_loses_outputs_is_refused_and_nothing_shifts() -> None:
    with pytest.raises(TranslationError, match="1 outputs for 2 labels"):
        check_labels(Dictionary(lost=1), ["dog", "cat"], EN, DE)


def test_choices_that_become_the_same_conflict_and_those_that_were_the_same_do_not() -> None:
    translations = {"sofa": "Sofa", "couch": "sofa.", "dog": "Hund", "Dog": "Hund", "bank": "Bank"}
    assert conflicting(translations, ["sofa", "couch", "dog"]) == {"sofa", "couch"}
    assert conflicting(translations, ["dog", "Dog", "bank"]) == set()
    assert conflicting(translations, ["sofa", "unknown"]) == set()

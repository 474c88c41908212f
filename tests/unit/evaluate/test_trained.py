"""Which languages a report takes for trained with pictures."""

from __future__ import annotations

from tests.unit.evaluate.conftest import ToyData

from visiglot.evaluate.trained import TrainedLanguages, groups_of

DATA = ToyData()


def test_a_model_that_says_what_it_saw_makes_the_groups() -> None:
    found = groups_of(DATA, TrainedLanguages(("eng_Latn", "heb_Hebr", "deu_Latn"), ("eng_Latn", "jpn_Jpan")))
    assert found == {
        "trained with pictures": ("eng_Latn", "jpn_Jpan"),
        "never pictured": ("deu_Latn", "arb_Arab", "heb_Hebr"),
    }


def test_every_language_without_a_picture_is_never_pictured_whatever_the_data_say() -> None:
    assert "deu_Latn" in DATA.language_groups["pictured"]
    assert "deu_Latn" in groups_of(DATA, TrainedLanguages((), ("eng_Latn",)))["never pictured"]


def test_a_card_alone_keeps_languages_it_lacks_out_of_the_datas_groups() -> None:
    found = groups_of(DATA, TrainedLanguages(("eng_Latn", "deu_Latn", "jpn_Jpan"), None))
    assert found == {"pictured": ("eng_Latn", "deu_Latn"), "never pictured": ("jpn_Jpan",)}


def test_a_model_of_which_nothing_is_known_has_the_datas_groups() -> None:
    assert groups_of(DATA, TrainedLanguages()) == DATA.language_groups


def test_a_language_model_that_never_saw_a_picture_has_the_datas_groups_too() -> None:
    assert groups_of(DATA, TrainedLanguages(tuple(DATA.languages), ())) == DATA.language_groups

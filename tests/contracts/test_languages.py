"""Every row of the language table and every named set keeps its promises."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from importlib import resources

import pytest

from visiglot.languages import SEGMENTATIONS, Language, all_languages, language, resolve, sets

ROWS = all_languages()
RIGHT_TO_LEFT = {"R", "AL"}
TABLE = tomllib.loads(resources.files("visiglot").joinpath("languages.toml").read_text(encoding="utf-8"))


def each_row(test):
    return pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)(test)


@each_row
def test_code_is_iso_language_and_script(row: Language) -> None:
    assert re.fullmatch(r"[a-z]{3}_[A-Z][a-z]{3}", row.code)
    assert row.script == row.code[4:]


@each_row
def test_native_name_is_written_in_the_script_and_direction_of_the_row(row: Language) -> None:
    letters = [char for char in row.native if char.isalpha()]
    assert letters
    assert row.direction == ("rtl" if unicodedata.bidirectional(letters[0]) in RIGHT_TO_LEFT else "ltr")
    latin = all("LATIN" in unicodedata.name(char) or "MODIFIER" in unicodedata.name(char) for char in letters)
    assert latin == (row.script == "Latn")


@each_row
def test_texts_are_normalised_and_filled(row: Language) -> None:
    for text in (row.name, row.native, row.bcp47, *row.aliases, *row.literals.values()):
        assert text == unicodedata.normalize("NFC", text).strip() != ""


@pytest.mark.filterwarnings("ignore::visiglot.languages.LanguageNotice")
@each_row
def test_everything_a_row_is_called_means_the_row(row: Language) -> None:
    for alias in (row.code, row.name, row.native, row.bcp47, *row.aliases):
        for spelling in (alias, alias.upper(), alias.lower(), alias.replace("-", "_"), alias.replace("_", "-")):
            if spelling.replace("_", "-").casefold() == alias.replace("_", "-").casefold():
                assert language(spelling).code == row.code, spelling


@each_row
def test_numbers_are_in_range(row: Language) -> None:
    assert row.segmentation in SEGMENTATIONS
    assert row.tier is None or row.tier in range(6)
    assert row.mc4_share is None or 0 < row.mc4_share < 100
    assert row.mc4_tokens is None or row.mc4_tokens > 0
    assert row.mc4_share is None or row.mc4_tokens is not None


@each_row
def test_bcp47_tag_is_well_formed_and_says_the_script_of_secondary_scripts(row: Language) -> None:
    assert re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?", row.bcp47)
    _, _, script = row.bcp47.partition("-")
    assert script in ("", row.script)


def test_no_alias_is_written_twice() -> None:
    aliases = [alias.lower() for row in ROWS for alias in row.aliases]
    assert sorted(set(aliases)) == sorted(aliases)


def test_no_two_rows_share_a_name_a_tag_or_a_cldr_locale() -> None:
    for key in ("code", "name", "native", "bcp47"):
        values = [getattr(row, key) for row in ROWS]
        assert len(set(values)) == len(values), key
    locales = [row.cldr for row in ROWS if row.cldr]
    assert len(set(locales)) == len(locales)


def test_languages_written_without_spaces_have_a_rule() -> None:
    spaceless = {row.code for row in ROWS if row.segmentation != "spaces"}
    scripts = {"Jpan", "Hans", "Hant", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"}
    assert spaceless == {row.code for row in ROWS if row.script in scripts}


def test_ambiguous_names_name_rows_and_literals_belong_to_rows() -> None:
    codes = {row.code for row in ROWS}
    for name, candidates in TABLE["ambiguous"].items():
        assert len(candidates) > 1, name
        assert set(candidates) <= codes
    assert set(TABLE["literals"]) <= codes
    for words in TABLE["literals"].values():
        assert {"yes", "no"} <= set(words) <= {"yes", "no", "caption"}
        assert words["yes"] != words["no"]


@pytest.mark.parametrize("name", sets())
def test_members_of_a_set_are_rows_each_once_and_its_name_is_no_language(name: str) -> None:
    members = sets()[name]
    assert set(members) <= {row.code for row in ROWS}
    assert len(set(members)) == len(members)
    assert resolve(name) == members
    assert name == name.lower() != "all"
    assert name not in {alias.lower() for row in ROWS for alias in (row.name, row.native, *row.aliases)}


def test_sets_have_their_published_sizes() -> None:
    sizes = {name: len(codes) for name, codes in sets().items()}
    expected = {"mblip": 96, "xm3600": 36, "flores200": 204, "iglue": 20, "lrm": 10, "parrot": 6, "mc4": 107}
    assert expected.items() <= sizes.items()
    assert 12 <= sizes["nano"] <= 16


def test_nano_languages_have_emoji_names_and_yes_and_no() -> None:
    for code in sets()["nano"]:
        assert language(code).cldr
        assert {"yes", "no"} <= set(language(code).literals)


def test_shares_of_mblip_add_up_to_the_whole_of_mc4() -> None:
    shares = [language(code).mc4_share for code in sets()["mblip"]]
    assert None not in shares
    assert sum(filter(None, shares)) == pytest.approx(100, abs=0.01)


def test_every_language_of_mc4_has_its_tokens() -> None:
    members = set(sets()["mc4"])
    assert all(language(code).mc4_tokens for code in members)
    others = {row.code for row in ROWS if row.mc4_tokens} - members
    assert others == {"zho_Hant", "ckb_Arab"}

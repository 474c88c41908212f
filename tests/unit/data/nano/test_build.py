from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from visiglot.data.nano import build
from visiglot.data.nano.build import FILES, build_nano, nano_dir
from visiglot.data.nano.concepts import concept_id, hold_out
from visiglot.data.nano.load import NanoData, load_nano, split_flag
from visiglot.data.nano.pictures import render_picture, slug
from visiglot.errors import DataError, ImageError

from .packages import CONCRETE, FLAGS, NO_ENGLISH, NO_FLUENT, NO_NOTO, NOT_CONCRETE


def test_only_concrete_things_with_a_name_and_all_pictures_are_concepts(data: NanoData) -> None:
    assert set(data.concepts) == {concept_id(emoji) for emoji in CONCRETE}
    for emoji in (NO_NOTO, NO_ENGLISH, *NOT_CONCRETE):
        assert concept_id(emoji) not in data.concepts


def test_fluent_may_lack_a_concept(data: NanoData) -> None:
    lacking = set(data.concepts) - set(data.pictures["fluent"])
    assert lacking == {concept_id(emoji) for emoji in (NO_FLUENT, *FLAGS)}
    for style in ("openmoji", "twemoji", "noto"):
        assert set(data.pictures[style]) == set(data.concepts)


def test_pictures_are_64_pixel_rgb_on_white(data: NanoData) -> None:
    for style in data.styles:
        for picture in data.pictures[style].values():
            with Image.open(io.BytesIO(picture.image.read())) as image:
                assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 64))
                assert image.getpixel((0, 0)) == (255, 255, 255)
                assert image.getpixel((32, 32)) != (255, 255, 255)


def test_every_row_has_a_source_and_its_licence(data: NanoData, built: Path) -> None:
    card = json.loads((built / "card.json").read_text())
    assert data.sources == card["licences"]
    assert data.pictures["openmoji"][concept_id("🐶")].licence == "CC-BY-SA-4.0"
    assert data.pictures["twemoji"][concept_id("🐶")].source == "npm:@discordapp/twemoji@16.0.1"
    assert data.names["deu_Latn"][concept_id("🇰🇪")].source == "npm:cldr-annotations-derived-full@48.2.0"


def test_the_card_counts_what_is_there(data: NanoData, built: Path) -> None:
    card = json.loads((built / "card.json").read_text())
    assert card["concepts"] == len(data.concepts)
    assert card["held_out_concepts"] == len(data.held_out)
    assert card["pictures_by_style"] == {style: len(pictures) for style, pictures in data.pictures.items()}
    assert card["names_by_language"] == {language: len(names) for language, names in data.names.items()}


def test_regional_variants_and_locales_with_few_names_are_left_out(data: NanoData) -> None:
    assert data.languages == ("deu_Latn", "eng_Latn", "fra_Latn", "swh_Latn", "tur_Latn", "zho_Hans")
    assert data.names["deu_Latn"][concept_id("🐶")].text == "dog face de"


def test_names_are_nfc_and_placeholders_are_dropped(data: NanoData) -> None:
    peach = data.names["fra_Latn"][concept_id("🍑")]
    assert peach.text == "pêche blanche"
    assert unicodedata.is_normalized("NFC", peach.text)
    assert concept_id("🦅") not in data.names["deu_Latn"]
    assert concept_id("🦆") not in data.names["deu_Latn"]


def test_words_that_only_repeat_the_root_locale_are_dropped(data: NanoData) -> None:
    assert data.words["swh_Latn"] == {}
    assert data.words["deu_Latn"]["label:animal"] == "animal de"
    assert (data.words["deu_Latn"]["yes"], data.words["deu_Latn"]["no"]) == ("ja", "nein")
    assert data.words["eng_Latn"]["yes"] == "yes"


def test_a_country_is_what_stands_behind_the_colon(data: NanoData) -> None:
    assert data.countries["fra_Latn"][concept_id("🇰🇪")] == "Kenya fr"
    assert data.countries["zho_Hans"][concept_id("🇰🇪")] == "Kenya zh"
    assert data.countries["tur_Latn"] == {}
    assert split_flag("Flagge:") is None


def test_a_second_call_returns_at_once(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_nano(packages=packages)
    assert folder == nano_dir()
    monkeypatch.setattr(build, "fetch_packages", None)
    assert build_nano(packages=packages) == folder


def test_two_builds_are_equal_byte_for_byte(built: Path, packages: Path, tmp_path: Path) -> None:
    again = build_nano(tmp_path / "again", packages=packages)
    for name in (*FILES, "card.json"):
        assert (again / name).read_bytes() == (built / name).read_bytes(), name


def test_a_language_set_that_is_not_what_the_data_has_is_said(
    packages: Path, data: NanoData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def told(name: str, codes: tuple[str, ...]) -> list[str]:
        said.clear()
        monkeypatch.setattr(build, "sets", lambda: {"cldr": codes})
        build_nano(tmp_path / name, packages=packages, progress=said.append)
        return [line for line in said if "language set" in line]

    assert told("same", data.languages) == []
    lacks, names = told("other", ("xho_Latn", *data.languages[1:]))
    assert f"lacks {data.languages[0]}" in lacks
    assert "names, and the data lacks, xho_Latn" in names


def test_force_builds_anew_in_the_same_place(packages: Path, tmp_path: Path) -> None:
    folder = build_nano(tmp_path / "out" / "nano", packages=packages)
    (folder / "names.parquet").write_bytes(b"broken")
    build_nano(folder, packages=packages, force=True)
    assert load_nano(folder).names
    assert [path.name for path in folder.parent.iterdir()] == ["nano"]


def test_a_failed_build_leaves_nothing_behind(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "write_rows", full)
    with pytest.raises(DataError, match="No space left"):
        build_nano(tmp_path / "out" / "nano", packages=packages)
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_with_other_things_is_not_overwritten(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="isn't the built-in data set"):
        build_nano(tmp_path / "mine", packages=packages, force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"


def test_missing_data_names_the_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        load_nano(tmp_path)
    assert "visiglot data nano" in str(raised.value.hint)


def test_one_in_ten_of_every_stratum_is_held_out_whatever_the_order() -> None:
    members = [(f"stratum {number % 4}", f"id {number}") for number in range(200)]
    held_out = hold_out(members, 10)
    assert len(held_out) == 20
    assert {sum(id in held_out for stratum, id in members if stratum == f"stratum {n}") for n in range(4)} == {5}
    assert hold_out(reversed(members), 10) == held_out


def test_slugs_match_the_file_names_of_fluent() -> None:
    assert [slug(name) for name in ("T-Rex", "piñata", "woman’s hat", "1st place medal")] == [
        "t-rex",
        "pinata",
        "womans-hat",
        "1st-place-medal",
    ]


@pytest.mark.parametrize("drawing", [b"<svg", b"\x89PNG nonsense"])
def test_a_drawing_that_cannot_be_read_names_itself(drawing: bytes) -> None:
    with pytest.raises(ImageError, match="openmoji 1F436"):
        render_picture(drawing, name="openmoji 1F436")


def test_a_cache_that_cannot_be_written_is_said_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("VISIGLOT_CACHE", str(blocked / "cache"))
    monkeypatch.setattr("visiglot.data.nano.fetch.npm_command", lambda: ["false"])
    with pytest.raises(DataError, match="can't be written") as caught:
        build_nano()
    assert "VISIGLOT_CACHE" in str(caught.value.hint)

"""Words on pictures: what is drawn is what is to be read, and the same again from the same seed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from visiglot.data.nano import lettered
from visiglot.data.nano.lettered import LetteredSource, build_lettered
from visiglot.data.nano.load import NanoData
from visiglot.data.source import LeavesOut, Source, build_source
from visiglot.errors import DataError
from visiglot.lettering import Fonts
from visiglot.types import ImageSlot

LANGUAGES = ["eng_Latn", "deu_Latn"]


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Fonts:
    folder = tmp_path_factory.mktemp("fonts")
    shutil.copy(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", folder)
    return Fonts(folder)


def source(data: NanoData, fonts: Fonts, **options: object) -> LetteredSource:
    given = {"languages": LANGUAGES, "pictures": 6, "size": 192, **options}
    return build_lettered(data, fonts, **given)  # type: ignore[arg-type]


def test_each_language_has_as_many_pictures_as_asked_for(data: NanoData, fonts: Fonts) -> None:
    found = source(data, fonts)
    assert isinstance(found, Source)
    assert isinstance(found, LeavesOut)
    assert len(found) == 12
    assert {code: rows.tolist() for code, rows in found.by_language.items()} == {
        "eng_Latn": list(range(6)),
        "deu_Latn": list(range(6, 12)),
    }
    assert [found[i].language for i in range(12)] == ["eng_Latn"] * 6 + ["deu_Latn"] * 6
    for i in (-1, 12):
        with pytest.raises(IndexError):
            found[i]


def test_the_answer_is_the_words_of_its_language_in_their_lines(
    data: NanoData, fonts: Fonts, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, tuple[int, int, int, int]]] = []
    real = lettered.draw_text

    def spy(image: Image.Image, text: str, box: tuple[int, int, int, int], **options: object) -> object:
        drawn.append((text, real(image, text, box, **options)))  # type: ignore[arg-type]
        return drawn[-1][1]

    monkeypatch.setattr(lettered, "draw_text", spy)
    found = source(data, fonts, words=3)
    for i in range(len(found)):
        drawn.clear()
        example = found[i]
        names = {name.text for name in data.names[example.language].values()}
        lines = example.messages[1].text.split("\n")
        assert [text for text, _ in drawn] == lines
        assert set(lines) <= names
        assert 1 <= len(lines) <= 3
        tops, bottoms = [box[1] for _, box in drawn], [box[3] for _, box in drawn]
        assert all(bottom <= top for bottom, top in zip(bottoms, tops[1:]))
        assert isinstance(example.messages[0].content[0], ImageSlot)


def test_pictures_follow_from_the_seed_alone(data: NanoData, fonts: Fonts) -> None:
    first, again, other = (
        source(data, fonts),
        source(data, fonts, languages=LANGUAGES[::-1]),
        source(data, fonts, seed=1),
    )
    assert first[7] == again[1]
    assert first[0] != other[0]
    assert len({first[i].images[0].key for i in range(12)}) == 12
    picture = Image.open(BytesIO(first[0].images[0].read()))
    assert picture.size == (192, 192)
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10


def test_ink_and_paper_are_far_apart(data: NanoData, fonts: Fonts) -> None:
    (light, _), (_, dark) = lettered.PAPER_LIGHT, lettered.INK_DARK
    assert light - dark > 100


def test_data_without_a_drawing_of_anything_else_are_drawn_too(data: NanoData, fonts: Fonts) -> None:
    found = source(data, fonts, languages=["eng_Latn"], words=1, pictures=1)
    word = found[0].group
    drawn = {style: {word: next(iter(pictures.values()))} for style, pictures in data.pictures.items()}
    bare = replace(found, _data=replace(data, pictures=drawn), _words={"eng_Latn": (word,)})
    assert bare[0].group == word


def test_words_that_cannot_be_drawn_are_left_out_and_counted(data: NanoData, fonts: Fonts) -> None:
    found = source(data, fonts, size=128)
    names = {name.text for code in LANGUAGES for id, name in data.names[code].items() if id not in data.held_out}
    long = [one for one in names if len(one) == max(map(len, names))]
    assert found.left_out["too long for 128 pixels"] >= len(long)
    drawn = {line for i in range(12) for line in found[i].messages[1].text.split("\n")}
    assert drawn < names
    assert not drawn & set(long)
    chinese = source(data, fonts, languages=["zho_Hans"], size=1024)
    lacking = sum("旗" in data.names["zho_Hans"][id].text for id in data.names["zho_Hans"] if id not in data.held_out)
    assert lacking
    assert chinese.left_out == {"no font has a letter of it": lacking}
    assert not any("旗" in chinese[i].messages[1].text for i in range(6))


def test_without_a_word_that_can_be_drawn_there_is_no_source(data: NanoData, fonts: Fonts, tmp_path: Path) -> None:
    shutil.copytree(fonts.folder, tmp_path / "fonts")
    (tmp_path / "fonts" / "characters.json").write_text('{"DejaVuSans.ttf": "U+30"}')
    with pytest.raises(DataError, match=r"can be drawn(.|\n)*no font has(.|\n)*`fonts`"):
        source(data, Fonts(tmp_path / "fonts"))


def test_held_out_things_and_text_only_languages_are_not_shown_in_training(data: NanoData, fonts: Fonts) -> None:
    found = source(data, fonts, pictures=40)
    assert not {found[i].group for i in range(len(found))} & data.held_out
    test = source(data, fonts, pictures=2, split="test")
    assert test[0].references == (test[0].references[0],)
    assert len(test[0].messages) == 1


def test_the_source_of_the_table_opens_folders(built: Path, fonts: Fonts) -> None:
    options = {"folder": str(built), "fonts": str(fonts.folder), "pictures": 3, "size": 192}
    found = build_source("lettered", options, languages=LANGUAGES, seed=5)
    assert len(found) == 6
    example = found[0]
    assert example.provenance is not None
    assert "Unicode-3.0" in example.provenance.licence
    assert example.id == "lettered/train/eng_Latn/0"

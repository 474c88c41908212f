"""Words on pictures are shaped as their script wants it, stay in their box, and are never drawn wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, features

from visiglot import lettering
from visiglot.errors import DataError
from visiglot.lettering import Fonts, draw_text, text_mask

DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
"""Latin, Greek, Cyrillic, Armenian, Georgian, Arabic, Hebrew, Lao; no Devanagari, no Chinese."""
COMPUTER_MODERN = DEJAVU.with_name("cmr10.ttf")
"""Latin, and little else."""


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Fonts:
    folder = tmp_path_factory.mktemp("fonts")
    shutil.copy(DEJAVU, folder)
    return Fonts(folder)


def ink(fonts: Fonts, text: str, language: str, size: int = 40) -> np.ndarray:
    return np.asarray(text_mask(text, fonts=fonts, language=language, size=size))


def test_letters_join_in_arabic_and_stand_apart_where_joining_is_forbidden(fonts: Fonts) -> None:
    joined, apart = ink(fonts, "بيت", "arb_Arab"), ink(fonts, "ب‌ي‌ت", "arb_Arab")
    assert joined.shape[1] < apart.shape[1]
    blank = [not column.any() for column in joined.T]
    assert not any(blank), "a joined word has no gap"
    assert any(not column.any() for column in apart.T)


def test_hebrew_runs_to_the_left_and_english_to_the_right(fonts: Fonts) -> None:
    right, left = ink(fonts, "אב", "heb_Hebr"), ink(fonts, "א", "heb_Hebr")
    np.testing.assert_array_equal(right[-left.shape[0] :, -left.shape[1] + 2 :] > 128, left[:, 2:] > 128)
    both = ink(fonts, "ij", "eng_Latn")
    first = ink(fonts, "i", "eng_Latn")
    assert (both[:, : first.shape[1]].sum(0) > 0).all()


def test_marks_stand_on_their_letter_however_they_are_encoded(fonts: Fonts) -> None:
    np.testing.assert_array_equal(ink(fonts, "é", "fra_Latn"), ink(fonts, "e\u0301", "fra_Latn"))
    assert ink(fonts, "q̂", "eng_Latn").shape[1] <= ink(fonts, "q", "eng_Latn").shape[1] + 2


@pytest.mark.parametrize("align", ["left", "center", "right"])
@pytest.mark.parametrize("box", [(10, 20, 150, 60), (5, 5, 30, 190), (40, 0, 200, 20)])
def test_ink_stays_in_the_box_fills_it_and_is_where_the_answer_says(
    fonts: Fonts, align: str, box: tuple[int, int, int, int]
) -> None:
    image = Image.new("RGB", (200, 200), "white")
    found = draw_text(image, "Äpfel gy", box, fonts=fonts, language="deu_Latn", align=align)  # type: ignore[arg-type]
    dark = np.asarray(image.convert("L")) < 255
    rows, columns = np.nonzero(dark.any(1))[0], np.nonzero(dark.any(0))[0]
    assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == found
    left, top, right, bottom = box
    assert left <= found[0] < found[2] <= right
    assert top <= found[1] < found[3] <= bottom
    fills = max((found[2] - found[0]) / (right - left), (found[3] - found[1]) / (bottom - top))
    assert fills > 0.75
    if align == "left":
        assert found[0] == left
    if align == "right":
        assert found[2] == right


def test_the_same_words_make_the_same_picture(fonts: Fonts, tmp_path: Path) -> None:
    shutil.copy(DEJAVU, tmp_path)
    np.testing.assert_array_equal(ink(fonts, "Ωμέγα", "ell_Grek"), ink(Fonts(tmp_path), "Ωμέγα", "ell_Grek"))


def test_a_letter_that_no_font_has_is_named_and_never_drawn_as_a_box(fonts: Fonts) -> None:
    assert fonts.missing("हाथी cat", "hin_Deva") == "हाथी"
    assert fonts.missing("Kätzchen, №1", "deu_Latn") == ""
    with pytest.raises(DataError, match=r"U\+0939 DEVANAGARI LETTER HA(.|\n)*Hindi(.|\n)*Deva/"):
        text_mask("हाथी", fonts=fonts, language="hin_Deva", size=30)


def test_a_text_of_two_scripts_is_drawn_in_two_fonts_and_marks_stay_with_their_letter(tmp_path: Path) -> None:
    (tmp_path / "Latn").mkdir()
    shutil.copy(COMPUTER_MODERN, tmp_path / "Latn")
    shutil.copy(DEJAVU, tmp_path)
    two = Fonts(tmp_path)
    assert two.runs("cat", "eng_Latn") == [("cat", tmp_path / "Latn" / "cmr10.ttf")]
    assert two.runs("cat кот", "eng_Latn") == [("cat кот", tmp_path / "DejaVuSans.ttf")]
    (tmp_path / "DejaVuSans.ttf").rename(tmp_path / "a.ttf")
    only = Fonts(tmp_path)
    only._stated[tmp_path / "a.ttf"] = lettering._Ranges("U+400-4FF, U+301")
    assert [text for text, _ in only.runs("x ко\u0301т y", "eng_Latn")] == ["x ", "ко\u0301т", " y"]
    mask = text_mask("x кот", fonts=only, language="eng_Latn", size=30)
    assert mask.width > text_mask("кот", fonts=only, language="eng_Latn", size=30).width


def test_words_that_run_to_the_left_are_not_put_together_from_two_fonts(tmp_path: Path) -> None:
    shutil.copy(COMPUTER_MODERN, tmp_path / "a.ttf")
    shutil.copy(DEJAVU, tmp_path / "b.ttf")
    two = Fonts(tmp_path)
    two._stated[tmp_path / "b.ttf"] = lettering._Ranges("U+590-6FF")
    with pytest.raises(DataError, match="run to the left"):
        two.runs("בית cat", "heb_Hebr")


def test_fonts_below_a_scripts_folder_are_asked_first_for_its_languages(tmp_path: Path) -> None:
    for name in ("Cyrl", "Armn"):
        (tmp_path / name).mkdir()
        shutil.copy(DEJAVU, tmp_path / name / f"{name}.ttf")
    both = Fonts(tmp_path)
    assert both.runs("abc", "rus_Cyrl")[0][1].name == "Cyrl.ttf"
    assert both.runs("abc", "hye_Armn")[0][1].name == "Armn.ttf"


def test_characters_json_says_which_file_to_look_into(tmp_path: Path) -> None:
    shutil.copy(DEJAVU, tmp_path / "a.ttf")
    shutil.copy(DEJAVU, tmp_path / "b.ttf")
    (tmp_path / "characters.json").write_text(json.dumps({"a.ttf": "U+61-63,U+41", "b.ttf": "U+64-7A"}))
    cut = Fonts(tmp_path)
    assert [(text, path.name) for text, path in cut.runs("abcdAz", "eng_Latn")] == [
        ("abc", "a.ttf"), ("d", "b.ttf"), ("A", "a.ttf"), ("z", "b.ttf"),
    ]  # fmt: skip
    assert cut.missing("aB~", "eng_Latn") == "B~"
    (tmp_path / "characters.json").write_text("{")
    with pytest.raises(DataError, match=r"characters\.json"):
        Fonts(tmp_path)


def test_what_cannot_be_drawn_is_refused(fonts: Fonts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (100, 100))
    with pytest.raises(DataError, match="more than one line"):
        draw_text(image, "a\nb", (0, 0, 90, 90), fonts=fonts, language="eng_Latn")
    with pytest.raises(DataError, match="nothing to see"):
        draw_text(image, "  ", (0, 0, 90, 90), fonts=fonts, language="eng_Latn")
    with pytest.raises(DataError, match=r"takes \d+ x \d+ pixels, the box has 20 x 20"):
        draw_text(image, "much too long a text", (0, 0, 20, 20), fonts=fonts, language="eng_Latn")
    with pytest.raises(DataError, match=r"no font in(.|\n)*data fonts"):
        Fonts(tmp_path)
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    with pytest.raises(DataError, match=r"broken\.ttf can't be read"):
        Fonts(tmp_path).missing("a", "eng_Latn")
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(DataError, match="Raqm"):
        Fonts(DEJAVU.parent)

"""The task files of mBLIP and Centurio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visiglot.data.source import Source, build_source
from visiglot.errors import DataError
from visiglot.languages import all_languages
from visiglot.types import ImageSlot

CODES = [row.code for row in all_languages()]


def opened(kind: str, path: Path, rows: list[dict[str, Any]], **options: object) -> Source:
    file = path / "f.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    return build_source(kind, {"path": str(file), **options}, languages=CODES, seed=0)


def languages(path: Path, *pairs: tuple[str, str], **options: object) -> list[str]:
    rows = [{"context": prompt, "label": label, "image_id": "1.jpg"} for prompt, label in pairs]
    source = opened("mblip", path, rows, images=str(path), **options)
    return [source[n].language for n in range(len(source))]


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("Caption the image in Scottish Gaelic.", "gla_Latn"),
        ("Short Kurdish image caption: ", "ckb_Arab"),
        ("Image caption (in Southern Sotho): ", "sot_Latn"),
        ("Write a short former Hebrew image description.", "heb_Hebr"),
        ("Wie heißt das? Short Filipino answer:", "tgl_Latn"),
        ("Question: Is it in German? Brief answer (in English):", "eng_Latn"),
        ("Give a short answer in Haitian to the following question. Is it in German?", "hat_Latn"),
        ("Answer the provided question in Nyanja with three words or less. x?", "nya_Latn"),
        ("What is the Bangla answer to this question? x?", "ben_Beng"),
        ("Briefly answer in Yoruba. x?", "yor_Latn"),
        ("Given the image, generate a question in Malay whose answer is: in German. Question:", "zsm_Latn"),
        ('What is a Chinese question for the image with the answer "2"?', "zho_Hant"),
        ("What is the central object in the image? Give a short Chinese answer.", "zho_Hans"),
        ("Complete the sentence in Irish. This is a photo of a", "gle_Latn"),
        ("Say what you see, in Swahili.", "swh_Latn"),
    ],
)
def test_the_language_that_mblips_prompt_names_is_that_of_the_answer(tmp_path: Path, prompt: str, code: str) -> None:
    assert languages(tmp_path, (prompt, "x")) == [code]


def test_what_no_prompt_names_is_taken_from_the_script(tmp_path: Path) -> None:
    pairs = [
        ("Is there a German shepherd?", "Yes."),
        ("画像の説明", "白いカップ"),
        ("សូម", "ពែងមួយ"),
        ("Опишите", "Чашка"),
        ("صف", "كوب"),
        ("What is it?", "12"),
    ]
    assert languages(tmp_path, *pairs) == ["eng_Latn", "jpn_Jpan", "khm_Khmr", "eng_Latn"]
    assert languages(tmp_path, *pairs, language="de") == ["deu_Latn", "jpn_Jpan", "khm_Khmr", "deu_Latn"]
    assert languages(tmp_path, *pairs, ("Caption the image in Thai.", "x"), unnamed="skip") == ["tha_Thai"]


def test_what_mblip_translated_with_is_kept(tmp_path: Path) -> None:
    pairs = [
        ("Caption the image in German.", "x", "1.jpg", "facebook/nllb-200-distilled-1.3B"),
        ("x? Short German answer:", "x", "COCO_val2014_1.jpg", "Google Translate"),
        ("What is in the image? Answer briefly in German.", "x", "n01440764/1.JPEG", None),
        ("Caption the image in English.", "x", "1.jpg", None),
        ("บรรยาย", "ถ้วย", "1.jpg", "facebook/nllb-200-distilled-1.3B"),
    ]
    rows = [{"context": prompt, "label": label, "image_id": image} for prompt, label, image, _ in pairs]
    source = opened("mblip", tmp_path, rows, images=str(tmp_path))
    found = [source[n].provenance for n in range(len(source))]
    assert [one and one.engine for one in found] == [engine for *_, engine in pairs]


def test_pictures_of_mblip_lie_where_their_names_say(tmp_path: Path) -> None:
    rows = [{"context": "x", "label": "y", "image_id": "n01440764/1.JPEG"}]
    with pytest.raises(
        DataError, match=r"field `image_id`: is n01440764/1\.JPEG, but the source has no option `imagenet`"
    ):
        opened("mblip", tmp_path, rows, coco=str(tmp_path), web=str(tmp_path))
    assert opened("mblip", tmp_path, rows, images=str(tmp_path))[0].images[0].path == tmp_path / "n01440764/1.JPEG"


def test_an_evaluation_file_of_mblip_has_gold_answers(tmp_path: Path) -> None:
    rows = [{"context": "x?", "label": "", "text_label": ["a", "b"], "image_id": "1.jpg"}]
    example = opened("mblip", tmp_path, rows, images=str(tmp_path))[0]
    assert [message.role for message in example.messages] == ["user"]
    assert example.references == ("a", "b")


@pytest.mark.parametrize(("gold", "golds"), [("a cup", ("a cup",)), (["a cup", "cup"], ("a cup", "cup"))])
def test_a_test_file_of_centurio_has_gold_answers(tmp_path: Path, gold: object, golds: tuple[str, ...]) -> None:
    rows = [{"context": ["What?"], "label": [""], "text_label": gold, "image_id": "1.jpg"}]
    example = opened("centurio", tmp_path, rows, images=str(tmp_path))[0]
    assert [message.role for message in example.messages] == ["user"]
    assert example.references == golds


@pytest.mark.parametrize("place", ["", "<image_placeholder>\n"])
def test_a_single_picture_of_centurio_needs_no_placeholder(tmp_path: Path, place: str) -> None:
    rows = [{"context": [f"{place}What?", "And?"], "label": ["x", "y"], "image_id": "1.jpg"}]
    example = opened("centurio", tmp_path, rows, images=str(tmp_path), language="sw")[0]
    assert example.messages[0].content == (ImageSlot(0), "What?")
    assert (example.language, example.references) == ("swh_Latn", ("y",))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            {"context": ["a"], "label": ["b"], "image_id": ["1.jpg", "2.jpg"]},
            "field `image_id`: has 2 pictures, but .* 0 times",
        ),
        ({"context": ["<image_placeholder>a"], "label": ["b"], "image_id": ""}, "field `image_id`: has 0 pictures"),
        ({"context": ["a", "b"], "label": ["", "c"], "image_id": ""}, r"field `label\[0\]`: is empty"),
        (
            {"context": ["a", "b"], "label": ["", ""], "text_label": "c", "image_id": ""},
            "only the last answer may be empty",
        ),
        ({"context": ["a"], "label": [""], "image_id": ""}, "field `text_label`: is missing"),
        ({"context": ["a"], "label": "b", "image_id": ""}, "must have an answer to each of 1 turns, found 'b'"),
    ],
)
def test_a_bad_row_of_centurio_is_told(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=rf"f\.json, line 1, {said}" if said.startswith("field") else said):
        opened("centurio", tmp_path, [row], images=str(tmp_path))

"""A picture is mirrored only where no text says left or right."""

import dataclasses

import pytest
import torch
from tests.drawn import Drawn, drawn_recipe
from tests.tiny import build_tiny

from visiglot.config import AugmentationSection, Recipe, StageSection
from visiglot.data.ledger import Ledger
from visiglot.languages import language
from visiglot.render import render
from visiglot.train.directions import known_languages, says_side
from visiglot.train.feed import Feed, upright
from visiglot.train.pictures import Pictures
from visiglot.train.precision import build_accelerator
from visiglot.train.stages import Sources, prepare_stage
from visiglot.types import Example, ImageRef, ImageSlot, Message, Sample

SAYING = {
    "eng_Latn": "Two dogs, the leftmost asleep",
    "deu_Latn": "Ein Hund zur Linken",
    "fra_Latn": "un chien à droite",
    "spa_Latn": "el de la derecha",
    "ita_Latn": "all'estrema sinistra",
    "por_Latn": "à esquerda da mesa",
    "nld_Latn": "rechtsboven een vogel",
    "swe_Latn": "till höger om huset",
    "pol_Latn": "Po Lewej stronie",
    "ces_Latn": "vpravo stojí dům",
    "rus_Cyrl": "Справа стоит дом",
    "ukr_Cyrl": "зліва від дому",
    "tur_Latn": "SAĞDA bir ev",
    "fin_Latn": "talon vasemmalla puolella",
    "hun_Latn": "jobbra a háztól",
    "ell_Grek": "στα δεξιά, στο αριστερό χέρι",
    "heb_Hebr": "בצד ימין",
    "arb_Arab": "على اليد اليُمنى",
    "pes_Arab": "سمت چپ",
    "hin_Deva": "बाईं ओर एक घर",
    "zho_Hans": "左边有一只狗",
    "jpn_Jpan": "家の右側に犬",
    "kor_Hang": "집의 왼쪽에 개",
    "vie_Latn": "bên trái ngôi nhà",
    "ind_Latn": "di sebelah kiri rumah",
    "tha_Thai": "ด้านซ้ายของบ้าน",
}


def example(text: str, code: str, prompt: str = "", image: ImageRef | None = None) -> Example:
    pictures = () if image is None else (image,)
    slots = () if image is None else (ImageSlot(0),)
    return Example("a", (Message("user", (*slots, prompt)), Message("assistant", (text,))), code, pictures)


@pytest.mark.parametrize("code", SAYING)
def test_a_text_that_says_a_side_is_found_in_its_language(code: str) -> None:
    assert says_side(example(SAYING[code], code))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("eng_Latn", "A bright upright chair"),
        ("deu_Latn", "Ein blinkender Hund"),
        ("fra_Latn", "un bel endroit"),
        ("rus_Cyrl", "королева и собака"),
        ("ind_Latn", "makanan di atas meja"),
        ("zho_Hans", "一只狗"),
    ],
)
def test_a_text_that_says_none_is_told_from_those_that_do(code: str, text: str) -> None:
    assert not says_side(example(text, code))


def test_an_english_prompt_counts_beside_an_answer_in_another_language() -> None:
    assert says_side(example("Ein Hund.", "deu_Latn", "What is on the right?"))
    assert not says_side(example("Ein Hund.", "deu_Latn", "What is in front?"))


def test_a_language_whose_words_nobody_wrote_down_is_never_mirrored() -> None:
    assert "ewe_Latn" not in known_languages()
    assert says_side(example("", "ewe_Latn"))


def test_the_table_names_languages_by_their_codes() -> None:
    assert [code for code in known_languages() if language(code).code != code] == []
    assert len(known_languages()) > 90


# --- views -----------------------------------------------------------------------------------------------------------

MIRRORED = AugmentationSection(
    flip=1.0, scale=(1, 1), shift=0, rotation=0, brightness=0, contrast=0, saturation=0, hue=0, grey=0, background=0,
    blur=0, cutout=0,
)  # fmt: skip
BUILT = build_tiny()


def left_heavy() -> ImageRef:
    """A picture that isn't its own mirror image."""
    from io import BytesIO

    from PIL import Image

    picture = Image.new("RGB", (32, 32), "white")
    picture.paste("red", (0, 0, 8, 32))
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return ImageRef("left-heavy", data=buffer.getvalue())


def sample(id_: str, text: str) -> Sample:
    made = dataclasses.replace(example(text, "eng_Latn", "Caption: ", left_heavy()), id=id_)
    return dataclasses.replace(render(made, BUILT.processor.spec()), says_side=says_side(made))


def feed() -> Feed:
    return Feed(BUILT.processor.spec(), Pictures(BUILT.processor), draw="0/s", augmentation=MIRRORED)


def test_a_picture_is_mirrored_unless_a_text_of_the_step_says_a_side() -> None:
    plain = Pictures(BUILT.processor).plain([left_heavy()])
    quiet, saying = sample("a", "a red bar"), sample("b", "a bar on the left")
    of_quiet = feed().batch([quiet], 0, upright([quiet]))
    assert of_quiet.pixel_values is not None
    torch.testing.assert_close(of_quiet.pixel_values, plain.flip(-1), atol=1e-5, rtol=0)
    still = upright([quiet, saying])
    for rows in ([quiet], [saying], [quiet, saying]):  # the same in all passes of the step
        batch = feed().batch(rows, 0, still)
        assert batch.pixel_values is not None
        torch.testing.assert_close(batch.pixel_values, plain, atol=1e-5, rtol=0)


def test_only_the_picture_that_is_spoken_of_stays_upright() -> None:
    spec = BUILT.processor.spec()
    other = dataclasses.replace(render(Drawn(["eng_Latn"]).examples[0], spec))
    still = upright([sample("b", "a bar on the left"), other])
    assert still == {left_heavy().key}


def test_a_picture_that_cannot_be_read_is_left_to_whoever_shows_it() -> None:
    from pathlib import Path

    gone = ImageRef("gone", path=Path("/nowhere/at/all.png"))
    assert upright([dataclasses.replace(sample("b", "left"), images=(gone,))]) == frozenset()


def test_samples_say_sides_where_the_stage_mirrors_and_only_there() -> None:
    built = build_tiny()
    for flip, expected in ((0.5, {True}), (0.0, {False})):
        stage = {"augment": True, "augmentation": {"flip": flip}}
        values = drawn_recipe(stage, data={"seeded": True}).model_dump(mode="json", by_alias=True, exclude_none=True)
        values["data"]["languages"] = ["ewe_Latn"]  # nobody knows how it says left
        prepared = prepare_stage(
            Recipe.model_validate(values), 0, built.model, built.processor, Sources(),
            build_accelerator("fp32", "cpu"), Ledger(None, 0.01),
        )  # fmt: skip
        assert {one.says_side for one in prepared.loader.load(0).samples} == expected


def test_cached_views_are_never_mirrored() -> None:
    stage = {"name": "s", "parts": {"connector": {"train": "full"}}, "steps": 1, "augmentation": {"flip": 0.5}}
    with pytest.raises(ValueError, match="made once for whatever texts"):
        StageSection.model_validate(stage | {"cache_views": 4})
    assert StageSection.model_validate(stage | {"cache_views": 4, "augment": True}).augmentation.flip == 0.5

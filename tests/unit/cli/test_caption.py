from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import build_tiny
from tests.unit.cli.conftest import Run
from typer.testing import Result

from visiglot.cli.pictures import find_pictures
from visiglot.cli.prompts import content
from visiglot.cli.questions import Generation, Questioner, Task
from visiglot.data.nano.prompts import caption_prompt, fill, load_prompts
from visiglot.languages import sets
from visiglot.models.runs import SHIPPED, nano_folder
from visiglot.prompts import LAST
from visiglot.types import ImageSlot

KEYS = {"id", "image", "language", "prompt", "text", "error"}


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def caption(run: Run, model: Path, *arguments: object) -> Result:
    return run("caption", *arguments, "--model", model, "--max-new-tokens", 3, "--device", "cpu")


def test_every_picture_has_a_row_in_every_language_and_a_bad_one_an_error(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "captions.jsonl"
    result = caption(run, tiny_model, pictures, "--languages", "de,sw", "--out", out)
    rows = rows_of(out)
    names = [(pictures / name).as_posix() for name in ("a.png", "bad.jpg", "below/b.png")]
    assert [(row["image"], row["language"]) for row in rows] == [
        (name, code) for name in names for code in ("deu_Latn", "swh_Latn")
    ]
    assert all(set(row) == KEYS for row in rows)
    assert all((row["text"] is None) != (row["error"] is None) for row in rows)
    assert [row["image"] for row in rows if row["error"] is not None] == [names[1], names[1]]
    assert len({row["id"] for row in rows}) == len(rows)
    assert rows[0]["prompt"] == "Caption in German:"
    assert result.exit_code == 1
    assert "2 of 6 rows failed" in result.stderr
    assert "Convert it to one of PNG" in result.stderr
    assert "Convert it to one of PNG" in rows[2]["error"]


def test_good_pictures_exit_with_0(run: Run, tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "captions.jsonl"
    assert caption(run, tiny_model, pictures / "a.png", "-l", "all", "-o", out).exit_code == 0
    assert [row["language"] for row in rows_of(out)] == ["eng_Latn", "deu_Latn"]  # the model's card


def test_any_language_of_the_table_is_answered_with_one_notice_for_those_not_on_the_card(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "captions.jsonl"
    asked = "German,Kiswahili,zh-TW,yo,SR_latn"
    result = caption(run, tiny_model, pictures / "a.png", "-l", asked, "-o", out)
    assert result.exit_code == 0
    codes = ["deu_Latn", "swh_Latn", "zho_Hant", "yor_Latn", "srp_Latn"]
    assert [row["language"] for row in rows_of(out)] == codes
    assert rows_of(out)[1]["prompt"] == "Caption in Swahili:"
    (notice,) = (line for line in result.stderr.splitlines() if line.startswith("notice"))
    assert "swh_Latn (Swahili), zho_Hant (Traditional Chinese)" in notice
    assert "deu_Latn" not in notice


def test_every_language_of_the_built_in_data_can_be_asked_for_at_once(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "captions.jsonl"
    result = caption(run, tiny_model, pictures / "a.png", "-l", "cldr", "-o", out)
    assert result.exit_code == 0
    assert [row["language"] for row in rows_of(out)] == list(sets()["cldr"])
    assert "and 94 more" in result.stderr  # English and German are on the card, ten are named


@pytest.mark.parametrize(
    ("prompt", "told"),
    [("Which animal is this?", True), ("Caption in {language}:", False), ("Caption in Swahili: {image}", False)],
)
def test_a_model_that_knows_the_built_in_prompts_alone_is_told_of_when_asked_another(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path, prompt: str, told: bool
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    shutil.copy(nano_folder() / SHIPPED["nano"] / "recipe.yaml", model)
    for folder, notice in ((tiny_model, False), (model, told)):
        result = run(
            "ask", pictures / "a.png", "-p", prompt, "-l", "de", "-m", folder, "--max-new-tokens", 3, "--device", "cpu"
        )
        assert result.exit_code == 0
        assert ("'Caption in {language}: {image}'" in result.stderr) == notice


def test_rows_that_are_there_are_kept_and_failures_tried_again(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "captions.jsonl"
    caption(run, tiny_model, pictures, "-l", "de", "-o", out)
    first = rows_of(out)
    marked = [{**row, "text": row["text"] and "kept"} for row in first]
    other = {**first[0], "id": "elsewhere", "image": "elsewhere.png", "text": "of another picture"}
    torn = '{"id": "cut o'
    out.write_text("".join(json.dumps(row) + "\n" for row in [other, *marked]) + torn, encoding="utf-8")
    (pictures / "bad.jpg").write_bytes((pictures / "a.png").read_bytes())
    result = caption(run, tiny_model, pictures, "-l", "de", "-o", out)
    assert result.exit_code == 0
    assert f"4 rows in {out}, 1 of them about other things" in result.stderr
    again = rows_of(out)
    assert [row["text"] for row in again[:2]] == ["of another picture", "kept"]
    assert again[3]["text"] == "kept"
    assert again[2]["error"] is None
    assert again[2]["text"] != "kept"


def test_a_row_made_with_other_settings_is_made_anew(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "captions.jsonl"
    caption(run, tiny_model, pictures / "a.png", "-l", "de", "-o", out)
    (before,) = rows_of(out)
    caption(run, tiny_model, pictures / "a.png", "-l", "de", "-o", out, "--beams", 2)
    (after,) = rows_of(out)
    assert before["id"] != after["id"]


def test_no_resume_makes_the_file_anew(run: Run, tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "captions.jsonl"
    caption(run, tiny_model, pictures / "a.png", "-l", "de", "-o", out)
    out.write_text(out.read_text(encoding="utf-8").replace('"text": "', '"text": "old '), encoding="utf-8")
    caption(run, tiny_model, pictures / "a.png", "-l", "de", "-o", out, "--no-resume")
    assert "old " not in out.read_text(encoding="utf-8")


def test_a_file_of_something_else_is_refused_and_left_alone(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "notes.jsonl"
    out.write_text('{"mine": 1}\n', encoding="utf-8")
    result = caption(run, tiny_model, pictures, "-l", "de", "-o", out)
    assert result.exit_code == 2
    assert "notes.jsonl, line 1 is no row of answers" in result.stderr
    assert out.read_text(encoding="utf-8") == '{"mine": 1}\n'


def test_the_table_isolates_right_to_left_texts(run: Run, tiny_model: Path, pictures: Path) -> None:
    result = caption(run, tiny_model, pictures / "a.png", "-l", "ar,de")
    arabic, german = (line for line in result.stdout.splitlines() if ("_" in line and "Arab" in line) or "Latn" in line)
    assert arabic.count("\u2068") == arabic.count("\u2069") == 2
    assert "\u2068" not in german


def test_a_dash_writes_rows_to_stdout(run: Run, tiny_model: Path, pictures: Path) -> None:
    result = caption(run, tiny_model, pictures / "a.png", "-l", "de", "-o", "-")
    (line,) = result.stdout.splitlines()
    assert set(json.loads(line)) == KEYS


def test_each_picture_is_encoded_once_for_all_languages(
    run: Run, tiny_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visiglot.models.vlm import VisionLanguageModel

    encoded: list[int] = []
    encode = VisionLanguageModel.encode_images

    def counting(self: VisionLanguageModel, pixel_values: Any) -> Any:
        encoded.append(len(pixel_values))
        return encode(self, pixel_values)

    monkeypatch.setattr(VisionLanguageModel, "encode_images", counting)
    caption(run, tiny_model, pictures / "a.png", pictures / "below", "-l", "de,sw,en,fr")
    assert sum(encoded) == 2


def test_a_sheet_shows_every_picture_with_its_texts(run: Run, tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    caption(run, tiny_model, pictures, "-l", "ar,de", "--sheet", sheet)
    page = sheet.read_text(encoding="utf-8")
    assert page.count("<img ") == 2
    assert page.count('lang="ar"') >= 2
    assert page.count("no picture format that is read") == 1, "not once for each language"
    assert "2 answers" in page


def test_a_sheet_says_language_and_direction_of_right_to_left_texts(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.html"
    caption(run, tiny_model, pictures / "a.png", "-l", "ar,he,ur,de", "--sheet", sheet)
    page = sheet.read_text(encoding="utf-8")
    texts = re.findall(r'<span lang="(\w+)" dir="(\w+)">[^<]+</span>', page)
    assert texts == [(code, "auto") for code in ("ar", "he", "ur", "de")]


def test_the_model_s_own_prompt_and_place_of_the_picture_are_taken(run: Run, pictures: Path, tmp_path: Path) -> None:
    built = build_tiny()
    built.model.config.caption_prompt = "Describe the image in {language}."
    built.model.config.image_first = True
    built.model.save_pretrained(tmp_path / "model")
    built.processor.save_pretrained(tmp_path / "model")
    out = tmp_path / "captions.jsonl"
    caption(run, tmp_path / "model", pictures / "a.png", "-l", "de", "-o", out)
    prompt = "{image}Describe the image in {language}."
    caption(run, tmp_path / "model", pictures / "a.png", "-l", "de", "-o", out, "--prompt", prompt)
    (row,) = rows_of(out)  # the same question, so the same row
    assert row["prompt"] == "Describe the image in German."
    caption(run, tmp_path / "model", pictures / "a.png", "-l", "de", "-o", out, "--prompt", "{language}: {image}")
    assert [row["prompt"] for row in rows_of(out)] == ["Describe the image in German.", "German:"]


@pytest.mark.parametrize("pivot", [True, False])
@pytest.mark.parametrize(
    ("said", "shown"), [("What is it? || ein Hund", "ein Hund"), ("ein Hund", "ein Hund"), ("What? ||", "What?")]
)
def test_of_a_model_that_puts_the_question_into_english_first_the_answer_is_shown(
    pivot: bool, said: str, shown: str, run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visiglot.models.answer import Answering
    from visiglot.models.decode import Answer

    built = build_tiny(pivot=pivot)
    built.model.save_pretrained(tmp_path / "model")
    built.processor.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(
        Answering, "answer", lambda self, asked: [(r.key, Answer((), said, 0.0, "stop")) for r in asked]
    )
    out = tmp_path / "captions.jsonl"
    caption(run, tmp_path / "model", pictures / "a.png", "-l", "de", "-o", out)
    (row,) = rows_of(out)
    assert row["text"] == (shown if pivot else said)


@pytest.mark.parametrize("option", ["--dry-run", "--resume"])
def test_all_languages_of_a_model_that_lists_none_are_an_error_that_says_so(
    run: Run, pictures: Path, tmp_path: Path, option: str
) -> None:
    built = build_tiny()
    built.model.config.languages = []
    built.model.save_pretrained(tmp_path / "model")
    built.processor.save_pretrained(tmp_path / "model")
    result = caption(run, tmp_path / "model", pictures / "a.png", option)
    assert result.exit_code == 2
    assert "card lists no languages" in result.stderr
    assert caption(run, tmp_path / "model", pictures / "a.png", "-l", "de", option).exit_code == 0


def test_what_is_drawn_depends_on_the_question_and_the_seed_alone(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "bad.jpg").unlink()
    drawn = ("-l", "de,sw", "--temperature", 3, "--max-new-tokens", 8, "--device", "cpu", "-m", tiny_model)
    out = tmp_path / "captions.jsonl"
    assert run("caption", pictures, *drawn, "-o", out).exit_code == 0
    whole = {(row["image"], row["language"]): row["text"] for row in rows_of(out)}
    assert len(set(whole.values())) == 4
    line, *_ = out.read_text(encoding="utf-8").splitlines(keepends=True)
    out.write_text(line, encoding="utf-8")
    for options in ((), ("--no-resume", "--batch-tokens", 1)):  # resumed, and each alone
        run("caption", pictures, *drawn, "-o", out, *options)
        assert {(row["image"], row["language"]): row["text"] for row in rows_of(out)} == whole
    run("caption", pictures, *drawn, "-o", out, "--seed", 1)
    assert {(row["image"], row["language"]): row["text"] for row in rows_of(out)} != whole


@pytest.mark.parametrize(
    "changed",
    [
        {"beams": 2},
        {"max_new_tokens": 5},
        {"beams": 2, "length_penalty": 2.0},
        {"repetition_penalty": 1.5},
        {"temperature": 1.0},
        {"temperature": 1.0, "seed": 1},
        {"temperature": 1.0, "top_p": 0.5},
        {"temperature": 1.0, "top_k": 5},
    ],
)
def test_every_setting_is_part_of_the_id(pictures: Path, changed: dict[str, Any]) -> None:
    def row_id(values: dict[str, Any], fingerprint: str = "weights") -> str:
        task = Task(None, "de", Generation(**({"beams": 1, "max_new_tokens": 4} | values)), caption=True)
        questioner = Questioner(task, "Caption:", card=(), placing=LAST, fingerprint=fingerprint)
        ((question,),) = (
            group.questions for group in questioner.about_pictures(find_pictures([str(pictures / "a.png")]))
        )
        return question.asked.id

    *fewer, _ = changed.items()
    assert len({row_id({}), row_id(changed), row_id(dict(fewer)), row_id(changed, "others")}) == (4 if fewer else 3)
    assert row_id({"seed": 1}) == row_id({})  # nothing is drawn


def test_how_the_model_is_loaded_is_part_of_the_id(run: Run, tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    ids = set()
    ways: tuple[tuple[str, ...], ...] = (
        (),
        ("--dtype", "bf16"),
        ("--dtype", "bf16", "--fp32-parts", "connector"),
        ("--quantize", "int8"),
        ("--quantize", "int8", "--quantize-parts", "all"),
    )
    for way in ways:
        out = tmp_path / f"{'-'.join(way)}.jsonl"
        result = caption(run, tiny_model, pictures / "a.png", "-l", "de", "-o", out, *way)
        assert result.exit_code == 0
        assert ("int8" in result.stderr) == ("int8" in way)
        ids.update(row["id"] for row in rows_of(out))
    assert len(ids) == len(ways)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--quantize", "int7"), "no such quantisation: 'int7'"),
        (("--quantize", "int8", "--quantize-parts", "vision"), "no such choice of parts to quantise: 'vision'"),
        (("--fp32-parts", "connectr"), "no such part: 'connectr'"),
        (("--length-penalty", 2), "--length-penalty: it weighs beams"),
        (("--top-p", 0.5), "--top-p: it cuts what is drawn"),
        (("--top-k", 5), "--top-k: it cuts what is drawn"),
        (("--temperature", 1, "--beams", 2), "temperature: 1.0 samples, which 2 beams can't"),
        (("--repetition-penalty", 0), "repetition_penalty: must be above 0"),
    ],
)
def test_an_option_that_would_be_ignored_or_cannot_be_is_refused_before_a_model_is_loaded(
    run: Run, pictures: Path, options: tuple[object, ...], said: str
) -> None:
    result = run("caption", pictures / "a.png", "-m", "no-such-model", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_ask_without_languages_asks_once_as_it_is(run: Run, tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    run("ask", pictures / "a.png", "-p", "Is it {red}?", "-m", tiny_model, "-o", out, "--max-new-tokens", 2)
    (row,) = rows_of(out)
    assert (row["language"], row["prompt"]) == (None, "Is it {red}?")


def test_ask_with_languages_says_in_which_to_answer(run: Run, tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    for prompt in ("What is it?", "What is it in {language}? {image} Say it."):
        run("ask", pictures / "a.png", "-p", prompt, "-m", tiny_model, "-l", "sw", "-o", out, "--max-new-tokens", 2)
    assert [row["prompt"] for row in rows_of(out)] == [
        "What is it? Answer in Swahili.",
        "What is it in Swahili? Say it.",
    ]


def test_the_caption_prompt_is_the_one_that_is_trained() -> None:
    trained = fill(load_prompts()["caption"].english[0], {"language": "German"}, ImageSlot(0))
    assert content(caption_prompt(), "German") == trained


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("What?", ("What?", ImageSlot(0))),
        ("What?\n", ("What?\n", ImageSlot(0))),
        ("{image} What?", (ImageSlot(0), " What?")),
        ("In {language}: {image}!", ("In Thai:", ImageSlot(0), "!")),
    ],
)
def test_a_picture_stands_where_the_prompt_says_or_last(prompt: str, expected: tuple[object, ...]) -> None:
    assert content(prompt, "Thai") == expected


def test_pictures_come_from_files_folders_and_patterns_sorted_and_once(pictures: Path) -> None:
    (pictures / "notes.txt").write_text("not a picture")
    named = [pictures / "a.png", pictures, f"{pictures}/**/*.png"]
    found = [ref.path for ref in find_pictures([str(one) for one in named])]
    assert found == [pictures / "a.png", pictures / "bad.jpg", pictures / "below" / "b.png"]


def test_when_no_picture_can_be_read_the_error_is_one_paragraph_and_the_exit_code_2(
    run: Run, tiny_model: Path, pictures: Path
) -> None:
    result = caption(run, tiny_model, pictures / "bad.jpg", "-l", "de")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error  picture")
    assert "Convert it to one of PNG" in result.stderr


@pytest.mark.parametrize("text", ['{"mine": 1}', '{"id": 7}', "notes without an end", '[1, 2]\n{"id": "'])
@pytest.mark.parametrize("option", ["--resume", "--no-resume"])
def test_no_file_of_something_else_is_ever_overwritten(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path, text: str, option: str
) -> None:
    out = tmp_path / "user.json"
    out.write_text(text, encoding="utf-8")
    assert caption(run, tiny_model, pictures / "a.png", "-l", "de", "-o", out, option).exit_code == 2
    assert out.read_text(encoding="utf-8") == text


def test_no_resume_keeps_the_rows_about_other_pictures(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "captions.jsonl"
    caption(run, tiny_model, pictures / "a.png", "-l", "de", "-o", out)
    caption(run, tiny_model, pictures / "below", "-l", "de", "-o", out, "--no-resume")
    assert [Path(row["image"]).name for row in rows_of(out)] == ["a.png", "b.png"]


def test_a_page_replaces_a_page_and_nothing_else(run: Run, tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    for _ in range(2):
        assert caption(run, tiny_model, pictures / "a.png", "-l", "de", "--sheet", sheet).exit_code == 0
    before = (pictures / "a.png").read_bytes()
    result = caption(run, tiny_model, pictures / "a.png", "-l", "de", "--sheet", pictures / "a.png")
    assert result.exit_code == 2
    assert "no page of Visiglot's" in result.stderr
    assert (pictures / "a.png").read_bytes() == before


def test_a_dry_run_counts_rows_and_writes_nothing(
    run: Run, tiny_model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visiglot.models.load.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    out = tmp_path / "captions.jsonl"
    result = caption(run, tiny_model, pictures, "-l", "all", "-o", out, "--dry-run", "--seed", 3)
    assert result.exit_code == 0
    assert "3 pictures x 2 languages (eng_Latn, deu_Latn): 6 rows would be made" in result.stdout
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ask", "-p", "{image} or {image}?"), "has {image} 2 times"),
        (("ask", "-p", "What is it in {language}?"), "no language is asked for"),
        (("caption", "--prompt", "{image}{image}", "-l", "de"), "has {image} 2 times"),
    ],
)
def test_a_prompt_that_cannot_be_filled_is_refused_before_a_model_is_loaded(
    run: Run, pictures: Path, arguments: tuple[str, ...], said: str
) -> None:
    verb, *options = arguments
    result = run(verb, pictures / "a.png", "-m", "no-such-model", *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_no_more_than_the_limit_is_read_of_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from visiglot import images
    from visiglot.errors import ImageError
    from visiglot.types import ImageRef

    path = tmp_path / "large.png"
    path.write_bytes(b"x" * 100)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("the whole file was read"))
    with pytest.raises(ImageError, match="100 bytes, the limit is 10"):
        images.picture_hash(ImageRef("large.png", path=path), max_bytes=10)

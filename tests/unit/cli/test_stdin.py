"""`visiglot caption -` and `visiglot ask -`: rows in, rows out."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.unit.cli.conftest import Run
from tests.unit.cli.test_caption import KEYS, rows_of
from typer.testing import Result

SHORT = ("--max-new-tokens", 3, "--device", "cpu")


def printed(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def here(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the pictures, as the working directory."""
    monkeypatch.chdir(pictures)
    return pictures


def data_url(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_rows_are_answered_in_their_order_and_languages(run: Run, tiny_model: Path, here: Path) -> None:
    rows = [
        {"image": "below/b.png", "id": "first"},
        {"image": "a.png", "language": "Kiswahili", "id": "second"},
        {"image": "below/b.png", "languages": ["fr"], "id": "third"},
        {"image": "a.png", "language": "de", "prompt": "Name it in {language}: {image}"},
    ]
    result = run("caption", "-", "-m", tiny_model, "-l", "de,sw", "-o", "-", *SHORT, stdin=rows)
    assert result.exit_code == 0
    found = printed(result)
    assert [(row["id"], row["image"], row["language"]) for row in found[:4]] == [
        ("first/deu_Latn", "below/b.png", "deu_Latn"),
        ("first/swh_Latn", "below/b.png", "swh_Latn"),
        ("second", "a.png", "swh_Latn"),
        ("third/fra_Latn", "below/b.png", "fra_Latn"),
    ]
    assert all(set(row) == KEYS | {"digest"} for row in found[:4])
    assert set(found[4]) == KEYS
    assert [row["prompt"] for row in found[2:]] == ["Caption in Swahili:", "Caption in French:", "Name it in German:"]
    assert all(row["error"] is None for row in found)


def test_a_row_says_the_same_as_the_picture_on_the_command_line(run: Run, tiny_model: Path, here: Path) -> None:
    (of_file,) = printed(run("caption", "a.png", "-m", tiny_model, "-l", "de", "-o", "-", *SHORT))
    rows = [{"image": "a.png"}, {"image": data_url(here / "a.png")}]
    of_row, of_url = printed(run("caption", "-", "-m", tiny_model, "-l", "de", "-o", "-", *SHORT, stdin=rows))
    assert of_row == of_file
    assert of_url["text"] == of_file["text"]
    assert of_url["image"].startswith("data:")
    assert len(of_url["image"]) == len("data:") + 12


def test_bad_lines_are_told_with_their_numbers_and_the_rest_goes_on(run: Run, tiny_model: Path, here: Path) -> None:
    rows = [
        "no JSON",
        {"image": "a.png", "id": "fine"},
        "",
        {"image": "a.png", "language": "Klingonish", "id": "unknown"},
        {"image": "https://example.org/a.png"},
        {"image": "data:image/png;base64,@@@"},
        {"image": "bad.jpg", "id": "broken"},
    ]
    result = run("caption", "-", "-m", tiny_model, "-l", "de", "-o", "-", *SHORT, stdin=rows)
    assert result.exit_code == 1
    for said in (
        "line 1: no JSON",
        "line 4: no such language",
        "line 5: the picture https://example.org/a.png is no file; nothing is fetched",
        "line 6: the data URL data:image/png;base64,@@@ is no base64",
        "picture bad.jpg: no picture format",
        "5 of 6 rows failed",
    ):
        assert said in result.stderr
    found = {row["id"]: row for row in printed(result)}
    assert list(found) == ["fine/deu_Latn", "unknown", "broken/deu_Latn"]
    assert found["fine/deu_Latn"]["error"] is None
    assert found["unknown"]["error"].startswith("line 4: no such language")
    assert "no picture format" in found["broken/deu_Latn"]["error"]


def test_the_exit_code_is_2_when_no_line_could_be_asked_and_0_when_there_is_none(run: Run, tiny_model: Path) -> None:
    assert run("ask", "-", "-m", tiny_model, "-p", "What?", stdin=["{}"]).exit_code == 2
    assert run("ask", "-", "-m", tiny_model, "-p", "What?", stdin=[]).exit_code == 0


def test_ask_takes_each_row_s_own_prompt_and_needs_one(run: Run, tiny_model: Path, here: Path) -> None:
    rows = [{"image": "a.png", "prompt": "Red?"}, {"image": "a.png", "prompt": "Blue?", "language": "de"}]
    result = run("ask", "-", "-m", tiny_model, "-o", "-", *SHORT, stdin=[*rows, {"image": "a.png"}])
    assert [row["prompt"] for row in printed(result)] == ["Red?", "Blue? Answer in German."]
    assert "line 3: no prompt" in result.stderr
    assert result.exit_code == 1
    alone = run("ask", "a.png", "-m", tiny_model)
    assert alone.exit_code == 2
    assert "Write the question behind --prompt" in alone.stderr


def test_a_prompt_may_show_several_pictures(run: Run, tiny_model: Path, here: Path) -> None:
    both = ["a.png", "below/b.png"]
    prompt = 'Is it correct to say "two dogs"?'
    rows = [
        {"images": both, "prompt": prompt},
        {"images": both, "prompt": f"Left: {{image}} Right: {{image}} {prompt}"},
        {"images": both, "prompt": f"{{image}} {prompt}"},
    ]
    result = run("ask", "-", "-m", tiny_model, "-o", "-", *SHORT, stdin=rows)
    first, second = printed(result)
    assert first["image"] == second["image"] == "a.png; below/b.png"
    assert first["error"] is None
    assert first["id"] != second["id"]
    assert "line 3: the prompt has {image} 1 times, and 2 pictures to show" in result.stderr


def test_a_picture_whose_rows_come_apart_is_encoded_once(
    run: Run, tiny_model: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visiglot.models import answer
    from visiglot.models.vlm import VisionLanguageModel

    encoded: list[int] = []
    encode = VisionLanguageModel.encode_images
    monkeypatch.setattr(
        VisionLanguageModel, "encode_images", lambda self, px: (encoded.append(len(px)), encode(self, px))[1]
    )
    monkeypatch.setattr(answer, "ROWS_PER_WINDOW", 1)
    rows = [{"image": name, "prompt": f"{i}?"} for i, name in enumerate(["a.png", "below/b.png"] * 3)]
    result = run("ask", "-", "-m", tiny_model, "-o", "-", *SHORT, stdin=[*rows, {"image": data_url(here / "a.png")}])
    assert len(printed(result)) == 6
    assert sum(encoded) == 2


def test_a_line_is_answered_before_the_next_is_written(
    tiny_model: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visiglot.cli.answering import STDOUT, Loading, Output, answer_pictures
    from visiglot.cli.questions import Generation, Task

    reading, writing = os.pipe()
    answered = [threading.Event(), threading.Event()]
    told: list[str] = []

    def echo(text: str, nl: bool) -> None:
        told.append(text)
        answered[len(told) - 1].set()

    def write() -> None:
        with os.fdopen(writing, "w") as file:
            for number, event in enumerate(answered):
                print(json.dumps({"image": "a.png", "id": str(number)}), file=file, flush=True)
                if not event.wait(60):
                    return

    monkeypatch.setattr(typer, "echo", echo)
    writer = threading.Thread(target=write)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        writer.start()
        task = Task("What?", None, Generation(1, 2), caption=False)
        loading = Loading(str(tiny_model), "cpu", "auto", None, None, "language_model", None)
        answer_pictures(["-"], task, loading, Output(STDOUT, None, True, False))
    writer.join()
    assert [json.loads(text)["id"] for text in told] == ["0", "1"]
    assert all(event.is_set() for event in answered)


def test_a_killed_job_goes_on_by_the_rows_own_ids(run: Run, tiny_model: Path, here: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    rows = [{"image": "a.png", "id": f"row {i}", "prompt": f"{i}?"} for i in range(4)]
    rows.append({"image": "bad.jpg", "id": "row 4", "prompt": "4?"})
    command = ("ask", "-", "-m", tiny_model, "-o", out, *SHORT)
    assert run(*command, stdin=rows).exit_code == 1
    whole = out.read_text(encoding="utf-8")
    assert [row["id"] for row in rows_of(out)] == [f"row {i}" for i in range(5)]
    first, second, *_ = whole.splitlines(keepends=True)
    out.write_text(first.replace('"text": "', '"text": "kept ') + second[:30], encoding="utf-8")
    (here / "bad.jpg").write_bytes((here / "a.png").read_bytes())
    again = run(*command, stdin=rows)
    assert again.exit_code == 0
    assert "1 of 5 rows were there already" in again.stderr
    found = rows_of(out)
    assert [row["id"] for row in found] == [f"row {i}" for i in range(5)]
    assert found[0]["text"].startswith("kept ")
    assert all(row["error"] is None for row in found)


def test_an_own_id_does_not_hide_another_question_or_setting(
    run: Run, tiny_model: Path, here: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answers.jsonl"
    command = ("ask", "-", "-m", tiny_model, "-o", out)
    row = {"image": "a.png", "id": "x", "prompt": "Red?"}
    other = {"image": "a.png", "id": "y", "prompt": "Red?"}
    run(*command, *SHORT, stdin=[row, other])
    kept = run(*command, *SHORT, stdin=[row])
    assert "1 of 1 rows were there already" in kept.stderr
    for changed, options in (
        ({**row, "prompt": "Blue?"}, SHORT),
        ({**row, "image": "below/b.png"}, SHORT),
        (row, ("--max-new-tokens", 4)),
    ):
        before = {one["id"]: one for one in rows_of(out)}
        assert "already" not in run(*command, *options, stdin=[changed]).stderr
        after = {one["id"]: one for one in rows_of(out)}
        assert after["y"] == before["y"]
        assert after["x"]["digest"] != before["x"]["digest"]
        assert len(rows_of(out)) == 2


def test_an_id_stands_for_one_row_of_a_file(run: Run, tiny_model: Path, here: Path, tmp_path: Path) -> None:
    rows = [{"image": "a.png", "id": "x"}, {"image": "below/b.png", "id": "x"}]
    result = run("ask", "-", "-p", "Red?", "-m", tiny_model, "-o", tmp_path / "rows.jsonl", *SHORT, stdin=rows)
    assert result.exit_code == 1
    assert "line 2: the id 'x' is that of line 1" in result.stderr
    assert [(row["image"], row["error"]) for row in rows_of(tmp_path / "rows.jsonl")] == [("a.png", None)]


def test_the_error_of_a_line_that_could_not_be_asked_goes_when_the_line_is_mended(
    run: Run, tiny_model: Path, here: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.jsonl"
    command = ("caption", "-", "-m", tiny_model, "-o", out, *SHORT)
    assert run(*command, stdin=[{"image": "a.png", "id": "x", "languages": ["Klingonish"]}]).exit_code == 2
    assert [row["id"] for row in rows_of(out)] == ["x"]
    assert run(*command, stdin=[{"image": "a.png", "id": "x", "languages": ["de"]}]).exit_code == 0
    assert [row["id"] for row in rows_of(out)] == ["x/deu_Latn"]


def test_a_sheet_shows_each_row_s_prompt_and_all_its_pictures(
    run: Run, tiny_model: Path, here: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.html"
    rows = [
        {"images": ["a.png", "below/b.png"], "prompt": "The same?"},
        {"image": "a.png", "prompt": "Red?"},
        {"image": "a.png", "prompt": "Blue?"},
        {"image": "bad.jpg", "prompt": "Green?"},
    ]
    run("ask", "-", "-m", tiny_model, "--sheet", sheet, *SHORT, stdin=rows)
    page = sheet.read_text(encoding="utf-8")
    assert page.count("<img ") == 2
    assert all(f">{asked}</small>" in page for asked in ("The same?", "Red?", "Blue?", "Green?"))


def test_a_dry_run_counts_rows_and_tells_bad_lines(
    run: Run, tiny_model: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visiglot.models.answer.Answering.__init__", lambda *_, **__: pytest.fail("a model was loaded"))
    rows = [{"image": "nowhere.png"}, {"image": "a.png", "language": "sw"}, "no JSON"]
    result = run("caption", "-", "-m", tiny_model, "--dry-run", stdin=rows)
    assert result.exit_code == 0
    assert "2 lines: 3 rows would be made" in result.stdout
    assert "1 lines can't be asked" in result.stdout
    assert "line 3: no JSON" in result.stderr


def test_pictures_cannot_stand_beside_stdin(run: Run, here: Path) -> None:
    result = run("caption", "-", "a.png", stdin=[])
    assert result.exit_code == 2
    assert "Give - alone" in result.stderr

"""`visiglot data check` and `data write`: what a source holds, said before and written as one file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.drawn import draw
from tests.unit.cli.conftest import Run

from visiglot.data.parquet import write_rows
from visiglot.data.parquet_source import ParquetSource, write_examples
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

Captions = Callable[..., list[str]]


@pytest.fixture
def captions(tmp_path: Path) -> Captions:
    """`captions(("a.png", "a circle"))`: the source `coco-captions` of these, as the command line names it.

    a.png and same.png are one picture, cut.png and page.jpg are broken, whatever else isn't there is missing.
    """
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, data in {
        "a.png": draw("red", "circle"),
        "same.png": draw("red", "circle"),
        "b.png": draw("blue", "square"),
        "cut.png": draw("green", "bar")[:60],
        "page.jpg": b"<html>404</html>",
    }.items():
        (folder / name).write_bytes(data)

    def source(*rows: tuple[str, str]) -> list[str]:
        files = list(dict.fromkeys(file for file, _ in rows))
        images = [{"id": number, "file_name": file} for number, file in enumerate(files)]
        annotations = [
            {"id": 100 + number, "image_id": files.index(file), "caption": caption}
            for number, (file, caption) in enumerate(rows)
        ]
        path = tmp_path / "captions.json"
        text = json.dumps({"images": images, "annotations": annotations}, ensure_ascii=False).replace("{", "\n{")
        path.write_text(text, encoding="utf-8")
        return ["coco-captions", f"path={path}", f"images={folder}"]

    return source


GOOD = [("a.png", "a red circle"), ("b.png", "a blue square"), ("a.png", "a circle")]


def parquet(tmp_path: Path, *examples: Example) -> Path:
    path = tmp_path / "set.parquet"
    write_examples(path, examples)
    return path


def example(name: str, *content: str | ImageSlot, language: str = "eng_Latn", **more: Any) -> Example:
    messages = (Message("user", content or ("Say it.",)), Message("assistant", (more.pop("answer", "yes"),)))
    return Example(name, messages, language, **more)


class TestCheck:
    def test_it_says_what_a_source_holds(self, run: Run, captions: Captions) -> None:
        result = run("data", "check", *captions(*GOOD))
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [
            "coco-captions: 3 examples in 1 language",
            "  eng_Latn 3",
            "looked at       all",
            "  tasks         caption 3",
            "  licences      CC-BY-4.0 3",
            "  text only     0 (0.0%)",
            "  pictures      3 shown, 2 different",
            "3 examples looked at, 0 can't be used",
        ]

    def test_bad_pictures_are_counted_by_reason_and_named(self, run: Run, captions: Captions) -> None:
        files = ("a.png", "cut.png", "gone.jpg", "page.jpg", "gone2.jpg", "gone.jpg")
        result = run("data", "check", *captions(*[(file, f"caption {n}") for n, file in enumerate(files)]))
        assert result.exit_code == 1
        lines = result.stdout.splitlines()
        assert "  pictures      6 shown, 5 different" in lines
        assert "    2 missing: gone.jpg, gone2.jpg" in lines
        assert "    1 broken: cut.png" in lines
        assert "    1 unknown kind: page.jpg" in lines
        assert "  101: picture cut.png: broken PNG: image file is truncated" in lines
        assert lines[-1] == "6 examples looked at, 5 can't be used"

    def test_most_rows_may_be_bad(self, run: Run, captions: Captions) -> None:
        result = run("data", "check", *captions(GOOD[0], *[("b.png", " ")] * 9))
        assert result.exit_code == 1
        assert result.stdout.startswith("coco-captions: 1 example in 1 language\n")
        assert result.stdout.splitlines()[-1] == "1 example looked at, 0 can't be used, 9 rows left out"

    def test_a_file_without_a_good_row_says_what_is_wrong_with_the_first(self, run: Run, captions: Captions) -> None:
        result = run("data", "check", *captions(("a.png", " "), ("b.png", " ")))
        assert result.exit_code == 2
        assert "has no examples: 2 of 2 rows can't be used; the first: " in result.stderr
        assert "captions.json, line 5, field `caption`: is empty" in result.stderr

    @pytest.mark.parametrize(("name", "kind"), [("foo.json", "llava"), ("d/0.tar", "webdataset"), ("data/x", "llava")])
    def test_a_path_in_place_of_a_source_says_how_to_name_one(self, run: Run, name: str, kind: str) -> None:
        result = run("data", "check", name)
        assert result.exit_code == 2
        assert f"Name its format: `visiglot data check {kind} path={name}`; `visiglot data ls` lists" in result.stderr

    @pytest.mark.parametrize(
        ("words", "option"),
        [(("gqa", "path"), "path"), (("gqa", "path=a", "imges=b"), "path"), (("imagenet", "a"), "images")],
    )
    def test_options_are_explained_with_one_that_the_source_has(
        self, run: Run, words: tuple[str, ...], option: str
    ) -> None:
        result = run("data", "check", *words)
        assert result.exit_code == 2
        assert f"Options look like {option}=…; `visiglot data ls {words[0]}` lists them." in result.stderr

    def test_what_is_there_twice_is_told_apart(self, run: Run, captions: Captions) -> None:
        rows = [("a.png", "a circle"), ("same.png", "a circle"), ("b.png", "a circle"), ("a.png", "another")]
        lines = run("data", "check", *captions(*rows)).stdout.splitlines()
        assert "  same bytes    1 as a picture of another name: same.png" in lines
        assert "  same example  1 in pictures and words as an earlier one: 101" in lines
        assert not any("same id" in line for line in lines)

    def test_the_same_words_in_two_languages_are_no_duplicate(self, run: Run, tmp_path: Path) -> None:
        both = [example("a", answer="Pizza"), example("b", answer="Pizza", language="deu_Latn")]
        assert "same" not in run("data", "check", parquet(tmp_path, *both)).stdout

    def test_text_only_examples_licences_and_ids_are_counted(self, run: Run, tmp_path: Path) -> None:
        shown = {"images": (ImageRef("a", data=draw("red", "circle")),)}
        examples = [
            example("a", ImageSlot(0), "What?", provenance=Provenance("set", "CC0-1.0"), **shown),
            example("b", provenance=Provenance("set", "MIT")),
            example("b", "Other words.", provenance=Provenance("set", "MIT")),
            example("c", "No words.", answer=" "),
        ]
        result = run("data", "check", parquet(tmp_path, *examples))
        assert result.exit_code == 1
        lines = result.stdout.splitlines()
        assert "  licences      MIT 2, CC0-1.0 1, unknown 1" in lines
        assert "  text only     3 (75.0%)" in lines
        assert "  same id       1 as an earlier one: b" in lines
        assert "  empty answers 1: c" in lines
        assert "  c: its answer is empty" in lines

    def test_a_sample_is_spread_evenly_and_said_to_be_one(self, run: Run, captions: Captions) -> None:
        source = captions(*[("a.png", f"caption {n}") for n in range(40)])
        lines = run("data", "check", *source, "--limit", 4, "--json")
        told = json.loads(lines.stdout)
        assert (told["examples"], told["looked_at"]) == (40, 4)
        printed = run("data", "check", *source, "--limit", 4).stdout
        assert "looked at       4 of 40, spread evenly" in printed
        assert printed.splitlines()[-1] == "4 of 40 examples looked at, 0 can't be used"
        assert json.loads(run("data", "check", *source, "--all", "--json").stdout)["looked_at"] == 40
        assert run("data", "check", *source, "--all", "--limit", 4).exit_code == 2

    def test_a_bad_row_ends_it_with_its_place_only_when_that_is_asked_for(self, run: Run, captions: Captions) -> None:
        source = captions(*GOOD, ("b.png", " "))
        result = run("data", "check", *source, "--on-bad", "error")
        assert result.exit_code == 2
        assert "captions.json, line 8, field `caption`: is empty" in result.stderr
        assert result.stdout == ""
        assert run("data", "check", *source, "--max-bad", "0.1").exit_code == 2
        assert run("data", "check", *source).exit_code == 1

    def test_bad_rows_are_shown_from_their_ledger(self, run: Run, captions: Captions) -> None:
        source = captions(*GOOD, ("b.png", " "))
        result = run("data", "check", *source)
        assert result.exit_code == 1
        lines = result.stdout.splitlines()
        assert lines[-1] == "3 examples looked at, 0 can't be used, 1 row left out"
        assert lines[2].startswith("left out        1 of 4 rows (25.00%), ")
        assert lines[3].endswith("captions.json, line 8, field `caption`: is empty")
        ledger = Path(lines[2].rpartition(", ")[2])
        assert json.loads(ledger.read_text(encoding="utf-8"))["reason"] == "bad row"
        told = json.loads(run("data", "check", *source, "--json").stdout)
        assert told["rows_left_out"]["reasons"] == {"bad row": 1}
        assert told["rows_left_out"]["share"] == 0.25

    def test_rows_that_a_parquet_file_spoils_are_counted_or_end_it(self, run: Run, tmp_path: Path) -> None:
        escaping = example("b", ImageSlot(0), images=(ImageRef("b", path=tmp_path / "link" / "b.png"),))
        path = parquet(tmp_path, example("a"), escaping)
        (tmp_path / "link").symlink_to("/")
        counted = run("data", "check", path)
        assert counted.exit_code == 1
        assert "2 examples looked at, 1 can't be used" in counted.stdout
        ended = run("data", "check", path, "--on-bad", "error")
        assert ended.exit_code == 2
        assert "set.parquet, row 1: the picture's path 'link/b.png' leaves" in ended.stderr

    def test_another_programs_parquet_file_is_sent_to_its_source(self, run: Run, tmp_path: Path) -> None:
        write_rows(tmp_path / "hf.parquet", [{"text": "a", "image": b""}])
        result = run("data", "check", tmp_path / "hf.parquet")
        assert result.exit_code == 2
        assert "holds no examples: its columns are text, image" in result.stderr
        assert "parquet-images" in result.stderr

    def test_a_link_out_of_the_pictures_says_where_they_are(self, run: Run, captions: Captions, tmp_path: Path) -> None:
        name, path, _ = captions(("coco/a.png", "a circle"))
        (tmp_path / "pictures").rename(tmp_path / "coco")
        (tmp_path / "playground").mkdir()
        (tmp_path / "playground" / "coco").symlink_to(tmp_path / "coco")
        linked = run("data", "check", name, path, f"images={tmp_path / 'playground'}")
        assert linked.exit_code == 1
        assert f"Name the folder in which the pictures really are: {tmp_path}." in linked.stdout
        assert run("data", "check", name, path, f"images={tmp_path}").exit_code == 0

    def test_a_task_writes_what_is_looked_at(self, run: Run, captions: Captions) -> None:
        source = captions(*GOOD)
        plain = json.loads(run("data", "check", *source, "--json").stdout)
        asked = json.loads(run("data", "check", *source, "--task", "caption", "--json").stdout)
        assert plain["source"] == "coco-captions"
        assert asked["source"] == "coco-captions/caption"
        assert "no such task: 'capton'" in run("data", "check", *source, "--task", "capton").stderr
        assert "there is no task" in run("data", "check", *source, "--task-option", "a=b").stderr

    def test_the_page_shows_all_pictures_and_marks_what_is_bad(self, run: Run, tmp_path: Path) -> None:
        pictures = tuple(ImageRef(colour, data=draw(colour, "circle")) for colour in ("red", "blue"))
        arabic = example(
            "first",
            ImageSlot(0),
            ImageSlot(1),
            "ما هذا؟",
            answer="دائرة",
            language="arb_Arab",
            images=pictures,
            provenance=Provenance("set", "CC-BY-4.0"),
            task="vqa",
        )
        broken = example("second", ImageSlot(0), "What?", images=(ImageRef("cut", data=draw("red", "bar")[:60]),))
        sheet = tmp_path / "sheet.html"
        result = run("data", "check", parquet(tmp_path, arabic, broken), "--sheet", sheet)
        assert result.exit_code == 1
        page = sheet.read_text(encoding="utf-8")
        assert "first · vqa · arb_Arab · CC-BY-4.0" in page
        assert '<dt>asked</dt><dd><span lang="" dir="auto">ما هذا؟</span>' in page
        assert '<dt>Arabic</dt><dd><span lang="ar" dir="auto">دائرة</span>' in page
        assert page.index("picture cut: broken PNG") < page.index("first · vqa")
        assert page.count("<img") == 1, "two pictures side by side, and none of the broken one"
        (tmp_path / "mine.html").write_text("my own")
        assert run("data", "check", tmp_path / "set.parquet", "--sheet", tmp_path / "mine.html").exit_code == 2


class TestWrite:
    def test_the_file_gives_the_same_examples(self, run: Run, captions: Captions, tmp_path: Path) -> None:
        out = tmp_path / "out" / "set.parquet"
        result = run("data", "write", *captions(*GOOD), "--out", out, "--root", tmp_path)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines() == [
            f"written   3 examples, {out.stat().st_size:,} bytes",
            f"pictures  relative to {tmp_path}: give the source the option root={tmp_path}",
            str(out),
        ]
        read = ParquetSource(out, root=tmp_path)
        assert [read[n].facts["caption"] for n in range(3)] == [caption for _, caption in GOOD]
        assert read[0].images[0].path == tmp_path / "pictures" / "a.png"
        assert read[0].provenance == Provenance("coco-captions", "CC-BY-4.0")
        assert run("data", "check", out, f"root={tmp_path}").exit_code == 0

    def test_languages_without_an_example_are_named(self, run: Run, captions: Captions, tmp_path: Path) -> None:
        out = tmp_path / "set.parquet"
        result = run("data", "write", *captions(*GOOD), "--out", out, "-l", "en,sw,de")
        assert result.exit_code == 0, result.output
        assert "notice  source coco-captions has no examples in swh_Latn, deu_Latn" in result.stderr
        result = run("data", "write", *captions(*GOOD), "--out", out, "-l", "en", "--force")
        assert "no examples" not in result.stderr

    def test_pictures_may_go_into_the_file(self, run: Run, captions: Captions, tmp_path: Path) -> None:
        out = tmp_path / "set.parquet"
        assert run("data", "write", *captions(*GOOD), "--out", out, "--pictures", "bytes").exit_code == 0
        read = ParquetSource(out)
        assert read[1].images == (ImageRef("b.png", data=draw("blue", "square")),)

    def test_pictures_outside_the_root_are_refused_with_a_cure(
        self, run: Run, captions: Captions, tmp_path: Path
    ) -> None:
        result = run("data", "write", *captions(*GOOD), "--out", tmp_path / "out" / "set.parquet")
        assert result.exit_code == 2
        assert "a.png isn't below" in result.stderr
        assert "--pictures bytes" in result.stderr

    def test_pictures_behind_a_link_are_refused_when_they_are_written(
        self, run: Run, captions: Captions, tmp_path: Path
    ) -> None:
        """Else the file could be written but not read."""
        name, path, _ = captions(*GOOD)
        (tmp_path / "sets").mkdir()
        (tmp_path / "sets" / "coco").symlink_to(tmp_path / "pictures")
        source = (name, path, f"images={tmp_path / 'sets' / 'coco'}")
        result = run("data", "write", *source, "--out", tmp_path / "sets" / "set.parquet")
        assert result.exit_code == 2
        assert "by a link, to" in result.stderr

    @pytest.mark.parametrize("pictures", ["path", "bytes"])
    def test_a_bad_picture_ends_it_and_leaves_nothing(
        self, run: Run, captions: Captions, tmp_path: Path, pictures: str
    ) -> None:
        source = captions(*GOOD, ("cut.png", "a bar"))
        out = tmp_path / "out" / "set.parquet"
        result = run("data", "write", *source, "--out", out, "--root", tmp_path, "--no-check-pictures")
        assert result.exit_code == 0, "nobody looks into it"
        out.unlink()
        root = ("--root", tmp_path) if pictures == "path" else ()
        result = run("data", "write", *source, "--out", out, "--pictures", pictures, *root)
        assert result.exit_code == 2
        assert "example 103: picture cut.png: broken PNG" in result.stderr
        assert list(out.parent.iterdir()) == []

    def test_what_is_left_out_stands_in_a_ledger_beside_the_file(
        self, run: Run, captions: Captions, tmp_path: Path
    ) -> None:
        source = captions(*GOOD, ("gone.png", "a ghost"), ("b.png", " "), ("cut.png", "a bar"))
        out = tmp_path / "set.parquet"
        result = run("data", "write", *source, "--out", out, "--on-bad", "skip", "--max-bad", 0.5)
        assert result.exit_code == 0, result.output
        ledger = tmp_path / "set.bad.jsonl"
        assert result.stdout.splitlines()[:4] == [
            "left out  1 of 6 rows",
            "left out  2 examples: unreadable picture",
            f"ledger    {ledger}",
            f"written   3 examples, {out.stat().st_size:,} bytes",
        ]
        rows = [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]
        assert [row["reason"] for row in rows] == ["bad row", "unreadable picture", "unreadable picture"]
        assert [row["id"] for row in rows[1:]] == ["103", "105"]
        assert "there is no file" in rows[1]["detail"]
        assert len(ParquetSource(out)) == 3

    def test_a_ledger_of_an_earlier_file_does_not_stay(self, run: Run, captions: Captions, tmp_path: Path) -> None:
        out = tmp_path / "set.parquet"
        run("data", "write", *captions(*GOOD, ("gone.png", "a ghost")), "--out", out, "--on-bad", "skip")
        assert (tmp_path / "set.bad.jsonl").exists()
        assert run("data", "write", *captions(*GOOD), "--out", out).exit_code == 2, "it is there already"
        assert (tmp_path / "set.bad.jsonl").exists()
        assert run("data", "write", *captions(*GOOD), "--out", out, "--force").exit_code == 0
        assert not (tmp_path / "set.bad.jsonl").exists()

    def test_a_source_without_a_good_example_writes_nothing(self, run: Run, captions: Captions, tmp_path: Path) -> None:
        out = tmp_path / "set.parquet"
        result = run("data", "write", *captions(("gone.png", "a ghost")), "--out", out, "--on-bad", "skip")
        assert result.exit_code == 2
        assert "none of the 1 examples of coco-captions can be used" in result.stderr
        assert not out.exists()

    def test_too_many_bad_pictures_end_it(self, run: Run, captions: Captions, tmp_path: Path) -> None:
        """The share is taken of at least a thousand examples, so that ten at the start stop nothing."""
        source = captions(*[("gone.png", f"caption {n}") for n in range(20)], *GOOD)
        out = tmp_path / "set.parquet"
        result = run("data", "write", *source, "--out", out, "--on-bad", "skip")
        assert result.exit_code == 2
        assert "11 of 23 examples can't be used (unreadable picture 11), more than the allowed 1.0%" in result.stderr
        assert not out.exists()
        assert run("data", "write", *source, "--out", out, "--on-bad", "skip", "--max-bad", 1).exit_code == 0

    def test_a_limit_is_spread_evenly(self, run: Run, captions: Captions, tmp_path: Path) -> None:
        source = captions(*[("a.png", f"caption {n}") for n in range(40)])
        out = tmp_path / "set.parquet"
        assert run("data", "write", *source, "--out", out, "--limit", 4).exit_code == 0
        read = ParquetSource(out)
        assert [read[n].id for n in range(len(read))] == ["100", "110", "120", "130"]

    def test_a_task_writes_the_prompts(self, run: Run, captions: Captions, tmp_path: Path) -> None:
        out = tmp_path / "set.parquet"
        result = run("data", "write", *captions(*GOOD), "--task", "caption", "--out", out)
        assert result.exit_code == 0, result.output
        read = ParquetSource(out)[0]
        assert read.messages[0].text.strip()
        assert read.messages[-1].text == "a red circle"
        assert read.facts["caption"] == "a red circle"

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (("--out", "set.json"), "--out: must end in .parquet"),
            (("--out", "a.parquet", "--root", "none"), "there is no folder none"),
            (("--out", "a.parquet", "--root", ".", "--pictures", "bytes"), "--pictures bytes has no paths"),
        ],
    )
    def test_options_that_do_not_fit_are_said(
        self, run: Run, captions: Captions, options: tuple[str, ...], problem: str
    ) -> None:
        result = run("data", "write", *captions(*GOOD), *options)
        assert result.exit_code == 2
        assert problem in result.stderr


def test_a_file_that_is_not_there_is_looked_for_from_the_folder_that_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("data", "check", "llava", "path=missing.json").stderr
    assert "there is no file missing.json" in said
    assert f"starts from {tmp_path}" in said

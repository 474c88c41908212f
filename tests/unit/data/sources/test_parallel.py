"""Multi30k, WIT, ImageNet and Wikipedia's codes."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from tests.formats import picture
from tests.formats.parallel import WIT_COLUMNS, imagenet, multi30k, wit_row

from visiglot.data.source import Source, build_source
from visiglot.data.sources.wit import file_name
from visiglot.data.wiki_codes import wiki_language
from visiglot.errors import DataError
from visiglot.languages import all_languages

CODES = [row.code for row in all_languages()]


def opened(kind: str, **options: object) -> Source:
    return build_source(kind, options, languages=CODES, seed=0)


class TestMulti30k:
    def test_the_languages_may_be_chosen(self, tmp_path: Path) -> None:
        source = opened("multi30k", **multi30k(tmp_path).options, codes=["cs"])
        assert [source[n].id for n in range(len(source))] == ["train-1-cs", "train-2-cs"]
        assert "source.caption" not in source[0].facts

    def test_a_language_or_a_split_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        options = multi30k(tmp_path).options
        with pytest.raises(DataError, match=r"there is no train\.fr or train\.fr\.gz in"):
            opened("multi30k", **options, codes=["fr"])
        with pytest.raises(DataError, match=r"there is no val\.en, val\.de"):
            opened("multi30k", **options, split="val")

    def test_the_list_of_pictures_must_have_as_many_lines(self, tmp_path: Path) -> None:
        options = multi30k(tmp_path).options
        (tmp_path / "list.txt").write_text("1000092795.jpg\n")
        with pytest.raises(DataError, match=r"list\.txt has 1 lines, but .*train\.en has 2"):
            opened("multi30k", **options, image_list=str(tmp_path / "list.txt"))


class TestWit:
    URL = "https://upload.wikimedia.org/wikipedia/commons/a/Half%20Dome.JPG?x=1"

    def table(self, folder: Path, *lines: str) -> Path:
        path = folder / "wit.tsv"
        path.write_text("\t".join(WIT_COLUMNS) + "\n" + "".join(lines), encoding="utf-8")
        return path

    def test_a_table_without_the_captions_column_says_which_it_has(self, tmp_path: Path) -> None:
        path = tmp_path / "wit.tsv"
        path.write_text(f"language\timage_url\tcaption\nen\t{self.URL}\tA hill\n", encoding="utf-8")
        problem = r"line 2, field `caption_reference_description`: is no column of the table, which has language, image"
        with pytest.raises(DataError, match=problem):
            opened("wit", path=str(path), images=str(tmp_path))

    def test_a_picture_is_named_by_its_url(self) -> None:
        assert re.fullmatch(r"[0-9a-f]{32}\.jpg", file_name(self.URL))
        assert file_name(self.URL) != file_name(f"{self.URL}2")

    def test_pictures_may_be_listed_in_a_table(self, tmp_path: Path) -> None:
        picture(tmp_path / "images", "x/one.png")
        path = self.table(tmp_path, wit_row("de", self.URL, "Ein Berg"), wit_row("en", "https://a.example/b", "A hill"))
        (tmp_path / "files.tsv").write_text(f"{self.URL}\tx/one.png\n")
        options = {"path": str(path), "images": str(tmp_path / "images")}
        source = opened("wit", **options, files=str(tmp_path / "files.tsv"))
        assert [source[n].images[0].name for n in range(len(source))] == ["x/one.png"]
        (tmp_path / "files.tsv").write_text(f"{self.URL}\t../one.png\n")
        with pytest.raises(DataError, match=r"wit\.tsv, line 2, field `image_url`: .* leaves"):
            opened("wit", **options, files=str(tmp_path / "files.tsv"))

    def test_the_column_of_captions_may_be_chosen(self, tmp_path: Path) -> None:
        picture(tmp_path / "images", file_name(self.URL))
        path = self.table(tmp_path, wit_row("en", self.URL, "A hill"))
        options = {"path": str(path), "images": str(tmp_path / "images")}
        assert len(opened("wit", **options)) == 1
        assert len(opened("wit", **options, caption="alt_text")) == 0

    def test_a_picture_that_comes_later_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "images").mkdir()
        path = self.table(tmp_path, wit_row("en", self.URL, "A hill"))
        options = {"path": str(path), "images": str(tmp_path / "images")}
        assert len(opened("wit", **options)) == 0
        picture(tmp_path / "images", file_name(self.URL))
        assert len(opened("wit", **options)) == 1


class TestImageNet:
    def write(self, folder: Path, pictures: int, languages: int) -> dict[str, object]:
        picture(folder / "train", *(f"n1/{n}.JPEG" for n in range(pictures)))
        (folder / "names.json").write_text('{"0": ["n1", "tench"], "1": ["n2", "hen"]}')
        codes = ["DE", "FR", "SW", "TR"][:languages]
        (folder / "labels.json").write_text(json.dumps({code: [[0], [code.lower()]] for code in codes}))
        return {name: str(folder / file) for name, file in self.FILES.items()}

    FILES = {"images": "train", "names": "names.json", "labels": "labels.json"}  # noqa: RUF012

    def test_no_picture_is_used_twice(self, tmp_path: Path) -> None:
        source = opened("imagenet", **self.write(tmp_path, 40, 4), rounds=8)
        found = [source[n] for n in range(len(source))]
        assert len({example.images[0].name for example in found}) == len(found) == 40
        assert set(Counter(example.language for example in found).values()) == {8}

    def test_a_class_with_too_few_pictures_has_fewer_rounds(self, tmp_path: Path) -> None:
        source = opened("imagenet", **self.write(tmp_path, 7, 2), rounds=3)
        counts = Counter(source[n].language for n in range(len(source)))
        assert counts == {"eng_Latn": 3, "deu_Latn": 2, "fra_Latn": 2}

    def test_the_same_pictures_are_chosen_each_time(self, tmp_path: Path) -> None:
        options = self.write(tmp_path, 12, 1)
        first = opened("imagenet", **options, rounds=2)
        again = opened("imagenet", **options, rounds=2, name="other")
        names = [[one[n].images[0].name for n in range(4)] for one in (first, again)]
        assert names[0] == names[1]
        assert names[0] != sorted(names[0])

    def test_without_labels_there_is_english_only(self, tmp_path: Path) -> None:
        options = self.write(tmp_path, 3, 2)
        del options["labels"]
        assert set(opened("imagenet", **options).by_language) == {"eng_Latn"}

    @pytest.mark.parametrize(
        ("labels", "said"),
        [
            ({"DE": [[2], ["x"]]}, r"field `DE\[0\]\[0\]`: is 2, but there are 2 classes"),
            ({"DE": [[0], [" "]]}, r"field `DE\[1\]\[0\]`: must be a name"),
            ({"DE": [[0, 1], ["x"]]}, r"field `DE`: has 2 classes, but 1 names"),
            ({"DE": "x"}, r"field `DE`: must be a list of numbers and a list of names"),
            ([], r"labels\.json: must be an object"),
        ],
    )
    def test_bad_labels_are_named(self, tmp_path: Path, labels: object, said: str) -> None:
        options = self.write(tmp_path, 1, 1)
        (tmp_path / "labels.json").write_text(json.dumps(labels))
        with pytest.raises(DataError, match=said):
            opened("imagenet", **options)

    def test_a_folder_without_a_name_is_told(self, tmp_path: Path) -> None:
        fixture = imagenet(tmp_path)
        picture(tmp_path / "train", "n99/1.JPEG")
        with pytest.raises(DataError, match=r"folder n99, field `folder`: has no name in"):
            opened("imagenet", **fixture.options)


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("de", "deu_Latn"),
        ("KU", "kmr_Latn"),
        ("ALS", None),
        ("zh-TW", "zho_Hant"),
        ("ZH_YUE", "yue_Hant"),
        ("iw", "heb_Hebr"),
        ("be-tarask", "bel_Cyrl"),
        ("xmf", None),
    ],
)
def test_codes_mean_what_wikipedia_means_by_them(code: str, language: str | None) -> None:
    assert wiki_language(code) == language

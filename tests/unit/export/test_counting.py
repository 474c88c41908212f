from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.unit.export.conftest import GERMAN, TOKENIZERS

from visiglot.errors import ConfigError, DataError
from visiglot.export.counting import ids_of, keep_built_in, keep_files, keep_frequent, prompts_in

CODES = ("deu_Latn", "swh_Latn")


@pytest.fixture
def german(tmp_path: Path) -> Path:
    path = tmp_path / "german.txt"
    path.write_text("\n".join(GERMAN) + "\n", encoding="utf-8")
    return path


def test_a_file_holds_a_text_a_line(german: Path) -> None:
    (texts,) = keep_files(CODES, [str(german)]).texts
    assert list(texts.read()) == GERMAN
    assert texts.language is None


def test_a_file_may_say_its_language(german: Path) -> None:
    kept = keep_files(CODES, [f"German={german}", f"sw={german}"])
    assert [texts.language for texts in kept.texts] == list(CODES)


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "no-language=x.txt"
    path.write_text("Hund", encoding="utf-8")
    (texts,) = keep_files(CODES, [str(path)]).texts
    assert list(texts.read()) == ["Hund"]


def test_where_all_files_say_their_language_each_language_needs_one(german: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        keep_files(CODES, [f"de={german}", f"fr={german}"])
    assert caught.value.problems == [f"{german}: is in fra_Latn", "swh_Latn: has no file"]


@pytest.mark.parametrize(("content", "said"), [(b"", "holds no text"), (b"\xff\xfe", "can't be read")])
def test_a_file_without_text_is_an_error(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        keep_files(CODES, [str(path)])
    with pytest.raises(DataError, match="can't be read"):
        keep_files(CODES, [str(tmp_path / "none.txt")])


def test_without_the_built_in_data_an_error_says_what_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        keep_built_in(CODES)
    for said in ("nothing says which tokens they need", "--text FILE", "--frequencies FILE", "`visiglot data nano`"):
        assert said in str(caught.value)


def test_the_built_in_data_give_names_keywords_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    name = SimpleNamespace(text="Hund", keywords=("Tier", "Haustier"))
    data = SimpleNamespace(
        languages=("deu_Latn",), names={"deu_Latn": {"dog": name}}, words={"deu_Latn": {"yes": "ja"}}
    )
    monkeypatch.setattr("visiglot.data.nano.load.load_nano", lambda: data)
    (texts,) = keep_built_in(["deu_Latn"]).texts
    assert list(texts.read()) == ["Hund", "Tier", "Haustier", "ja"]
    with pytest.raises(ConfigError, match="swh_Latn: the built-in data have no text in it"):
        keep_built_in(CODES)


def test_long_texts_are_counted_to_their_end() -> None:
    tokenizer = TOKENIZERS["unigram"]()
    last = set(tokenizer.encode("犬", add_special_tokens=False))
    tokenizer.backend_tokenizer.enable_truncation(4)
    assert last <= ids_of(tokenizer, ["Hund " * 20 + "犬"])


def test_prompts_name_the_languages_in_english_and_by_themselves() -> None:
    texts = list(prompts_in(["deu_Latn"], ["Describe in {language}:"]).read())
    assert {"German", "Deutsch", "Describe in German:", "Caption in German: "} <= set(texts)
    assert all(any(character in text for text in texts) for character in "azAZ09?!:")


# --- frequencies -----------------------------------------------------------------------------------------------------

TABLES = {
    "tokens.json": json.dumps({"▁": 5, "H": 0, "u": 2.5}),
    "ids.json": json.dumps({"3": 1, "4": 0}),
    "by-language.json": json.dumps({"de": {"▁": 1}, "Swahili": {"u": 1}, "fr": {"s": 9}}),
    "tokens.tsv": "▁\t5\nH\t0\nu\t1\n",
    "by-language.tsv": "deu_Latn\t▁\t2\nswh_Latn\tu\t3\nfra_Latn\ts\t3\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tokens_that_are_counted_are_kept(tmp_path: Path, name: str) -> None:
    tokenizer = TOKENIZERS["unigram"]()
    path = tmp_path / name
    path.write_text(TABLES[name], encoding="utf-8")
    kept = keep_frequent(CODES, path, tokenizer)
    assert kept.texts == ()
    wanted = {3} if name == "ids.json" else set(tokenizer.convert_tokens_to_ids(["▁", "u"]))
    assert kept.ids == wanted


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("x.json", '{"de": {"u": 1}}', ConfigError, "swh_Latn: isn't in it"),
        ("x.json", '{"nosuchtoken": 1}', ConfigError, "'nosuchtoken': is no token of this model"),
        ("x.json", '{"99999": 1}', ConfigError, "'99999': is no token of this model"),
        ("x.json", '{"u": 0}', ConfigError, "counts nothing"),
        ("x.json", "[1]", DataError, "can't be read as token counts"),
        ("x.json", "{", DataError, "can't be read as token counts"),
        ("x.tsv", "a\tb\tc\td\n", DataError, "a line has 4 columns"),
        ("x.tsv", "u\tmany\n", DataError, "can't be read as token counts"),
    ],
)
def test_a_table_that_does_not_fit_is_an_error(
    tmp_path: Path, name: str, text: str, error: type[Exception], said: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=said):
        keep_frequent(CODES, path, TOKENIZERS["unigram"]())

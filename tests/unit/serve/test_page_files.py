"""The page's files, headers and words, and what it is told of the model; how it behaves: tests/browser/test_page.py."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest
from tests.unit.serve.serving import SERVED, serving

from visiglot.languages import all_languages, language
from visiglot.serve.static import page_files, page_policy

FILES = dict(page_files())
HTML = FILES["index.html"].data.decode()
TABLE = json.loads(FILES["table.json"].data)
ENGLISH = TABLE["words"]["eng_Latn"]


def test_the_page_and_all_that_it_loads_need_no_key_but_the_model_s_facts_do() -> None:
    with serving(keys=["secret"]) as running:
        assert running.ask(method="GET", path="/").body.decode() == HTML
        for name, file in FILES.items():
            if name != "index.html":
                reply = running.ask(method="GET", path=f"/page/{name}")
                assert (reply.status, reply.body) == (200, file.data), name
                assert reply.headers["content-type"] == file.kind
        assert running.ask(method="GET", path="/v1/models").status == 401


def test_nothing_beside_the_page_s_files_is_sent() -> None:
    with serving() as running:
        for path in (
            "/page",
            "/page/",
            "/page/index.html",
            "/page/words.toml",
            "/page/../static.py",
            "/page/%2e%2e/api",
        ):
            assert running.ask(method="GET", path=path).status == 404, path


def test_a_name_that_was_pointed_here_gets_no_page() -> None:
    with serving() as running:
        assert running.ask(method="GET", path="/", Host="evil.example").status == 403


def test_the_policy_lets_the_page_s_own_script_and_style_run_and_nothing_else() -> None:
    with serving() as running:
        headers = running.ask(method="GET", path="/").headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    (script,) = re.findall(r"<script>(.*?)</script>", HTML, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", HTML, re.DOTALL)
    for kind, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[kind] == f"'sha256-{digest}'"
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_another_script_has_another_policy() -> None:
    assert page_policy("<script>1</script>") != page_policy("<script>2</script>")


def test_the_page_has_no_handler_style_or_address_of_others_in_its_markup() -> None:
    markup = re.sub(r"<(script|style)>.*?</\1>", "", HTML, flags=re.DOTALL)
    assert re.findall(r"\s(on\w+|style)=", markup) == []
    assert re.findall(r"https?://[^\s\"]+", HTML) == ["https://creativecommons.org/licenses/by/4.0/"]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", HTML)


def test_every_language_is_there_with_all_its_names() -> None:
    rows = {row["code"]: row for row in TABLE["languages"]}
    assert set(rows) == {row.code for row in all_languages()}
    assert rows["swh_Latn"]["native"] == "Kiswahili"
    assert {"sw", "swa", "Swahili"} <= set(rows["swh_Latn"]["names"])
    assert rows["heb_Hebr"]["dir"] == "rtl"
    assert rows["zho_Hant"]["tag"] == "zh-Hant"


def test_every_example_picture_is_there() -> None:
    assert len(TABLE["examples"]) == 8
    assert all(FILES[name].data.startswith(b"\x89PNG") for name in TABLE["examples"])


@pytest.mark.parametrize("code", TABLE["words"])
def test_the_page_s_words_are_complete_in_each_of_its_languages(code: str) -> None:
    words = TABLE["words"][code]
    assert language(code).code == code
    assert list(words) == list(ENGLISH)
    for name, text in words.items():
        assert text.strip() == text != "", name
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", ENGLISH[name])), name


def test_every_word_is_used_and_every_used_word_exists() -> None:
    assert [word for word in ENGLISH if f'"{word}"' not in HTML] == []
    used = {*re.findall(r'data-word="(\w+)"', HTML), *re.findall(r'\bsay\("(\w+)"', HTML)}
    assert used <= set(ENGLISH)


def test_the_model_s_facts_are_told_beside_openai_s() -> None:
    served = replace(SERVED, licence="CC-BY-4.0", experts=6)
    with serving(served=served, choices=7, image_bytes=1000) as running:
        (model,) = running.ask(method="GET", path="/v1/models").json["data"]
        assert running.ask(method="GET", path="/v1/models/tiny").json == model
        assert running.client().models.list().data[0].id == "tiny"
    assert (model["licence"], model["experts"]) == ("CC-BY-4.0", 6)
    assert (model["limits"]["choices"], model["limits"]["image_bytes"]) == (7, 1000)

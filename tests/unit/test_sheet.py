"""Pages of pictures with texts."""

from __future__ import annotations

import base64
import math
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from visiglot.errors import ImageError, LanguageError, VisiglotError
from visiglot.sheet import Bar, Card, Mark, Measure, Page, Text, format_value, write_page

EVIL = "<script>alert('x')</script> & \"quotes\""
VOID = {"meta", "img", "br", "link", "input", "hr"}


def png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


class Reader(HTMLParser):
    """The tags of a page with their attributes, and the text inside each element that has `lang`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.tags[-1][1], data))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def full_page(text: str = "قطة") -> Page:
    page = Page("Title " + text, "Summary " + text)
    page.section("Section " + text)
    page.paragraph(text)
    page.code(text)
    page.table(("name " + text, "value"), [(text, "1")], caption="Table " + text, numeric=[1])
    page.bars([Bar(text, (Measure(0.5, 0.4, 0.6, text),), language="arb_Arab", note=text)], caption=text)
    texts = (Text("arb_Arab", text, note=text, status="wrong", expected=text), Text("deu_Latn", ""))
    page.cards([Card(png(), text, texts, caption=text)])
    return page


def test_every_element_is_closed_and_there_is_one_first_heading() -> None:
    reader = Reader(full_page().html())
    assert reader.open == []
    assert len(reader.named("h1")) == 1
    assert reader.named("html") == [{"lang": "en"}]


def test_texts_carry_their_language_and_find_their_direction() -> None:
    reader = Reader(full_page().html())
    marked = [attributes for attributes, text in reader.texts if text == "قطة" and attributes.get("lang") == "ar"]
    assert len(marked) == 2  # the answer and what was expected
    assert all(attributes["dir"] == "auto" for attributes in marked)
    assert all(attributes.get("dir") == "auto" for _, attributes in reader.tags[1:] if "lang" in attributes)


def test_words_of_an_unknown_language_have_a_label_and_find_their_direction() -> None:
    page = Page("t")
    page.cards([Card(None, "a", (Text("", "ما هذا؟", label="asked"),))])
    assert '<dt>asked</dt><dd><span lang="" dir="auto">ما هذا؟</span></dd>' in page.html()
    assert "- asked: ما هذا؟" in page.markdown()


def test_words_from_outside_never_become_markup() -> None:
    html = full_page(EVIL).html()
    reader = Reader(html)
    assert not reader.named("script")
    assert "<script" not in html
    assert sum(EVIL in text for _, text in reader.texts) >= 10
    assert reader.named("img")[0]["alt"] == EVIL


def test_a_page_asks_the_network_for_nothing() -> None:
    html = full_page().html()
    reader = Reader(html)
    links = [
        a[key] for _, a in reader.tags for key in ("src", "href", "srcset", "action", "data", "poster") if key in a
    ]
    assert links
    assert all((link or "").startswith("data:image/png;base64,") for link in links)
    assert not re.search(r"https?://|//[a-z]|@import|url\(", html)
    policy = next(a["content"] for a in reader.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert (policy or "").startswith("default-src 'none'; img-src data:")


def test_the_picture_on_the_page_is_the_picture_that_was_given() -> None:
    source = Reader(full_page().html()).named("img")[0]["src"] or ""
    assert base64.b64decode(source.partition(",")[2]) == png()


def test_bytes_that_are_no_picture_are_refused() -> None:
    page = Page("t")
    page.cards([Card(b"<svg onload=alert(1)>", "x", ())])
    with pytest.raises(ImageError, match="no PNG"):
        page.html()


def test_an_unknown_language_is_refused() -> None:
    page = Page("t")
    page.cards([Card(None, "x", (Text("xxx_Xxxx", "word"),))])
    with pytest.raises(LanguageError):
        page.html()


def test_a_bar_is_as_long_as_its_share_of_the_largest_end() -> None:
    page = Page("t")
    bars = [Bar("a", (Measure(0.4, 0.3, 0.5),)), Bar("b", (Measure(0.1, 0.05, 0.2),)), Bar("c", (Measure(math.nan),))]
    page.bars(bars, caption="shares")
    styles = [a["style"] for a in Reader(page.html()).named("span") if "style" in a]
    assert styles == ["width:80.00%", "left:60.00%;width:40.00%", "width:20.00%", "left:10.00%;width:30.00%"]


def test_values_are_readable_without_seeing_the_bars() -> None:
    page = Page("t")
    page.bars([Bar("Thai", (Measure(0.4, 0.3, 0.5),))], caption="shares")
    html = page.html()
    assert "40.0 %" in html
    assert "30.0–50.0" in html
    assert 'aria-hidden="true"' in html


def test_tables_name_their_rows_and_columns() -> None:
    reader = Reader(full_page().html())
    scopes = [attributes.get("scope") for attributes in reader.named("th")]
    assert {"col", "row"} <= set(scopes)
    assert None not in scopes


def test_an_empty_answer_is_shown_as_empty() -> None:
    page = Page("t")
    page.cards([Card(None, "x", (Text("deu_Latn", "", status="wrong"),))])
    assert "(empty)" in page.html()
    assert "(empty)" in page.markdown()


def test_markdown_holds_the_same_numbers_and_keeps_its_tables_whole() -> None:
    text = full_page("a|b <b> *c*\nd").markdown()
    assert "50.0 % (40.0–60.0)" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert "<b>" not in text.replace("\\<b\\>", "").split("```")[0]


@pytest.mark.parametrize(
    ("value", "percent", "text"),
    [(0.413, True, "41.3 %"), (41.3, False, "41.30"), (-0.05, True, "−5.0 %"), (-1e-9, True, "0.0 %")],
)
def test_numbers_are_written_one_way(value: float, percent: bool, text: str) -> None:
    assert format_value(value, percent=percent) == text


def test_a_value_that_was_not_measured_is_a_dash() -> None:
    assert format_value(math.nan, percent=True) == "–"


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sub" / "page.html"
    write_page(Page("first"), path)
    assert "first" in path.read_text(encoding="utf-8")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(VisiglotError, match="No space left"):
        write_page(Page("second"), path)
    assert "first" in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_what_guessing_gives_is_marked_across_every_bar_and_said() -> None:
    page = Page("t")
    bars = [Bar("a", (Measure(0.4, series="x"), Measure(0.2, series="y"))), Bar("b", (Measure(math.nan, series="x"),))]
    page.bars(bars, caption="shares", mark=Mark("chance", 0.5))
    marks = [a["style"] for a in Reader(page.html()).named("span") if a.get("class") == "mark"]
    assert marks == ["left:100.00%"] * 4  # a place for each series in each bar
    assert "chance: 50.0 %" in page.html()
    assert "shares (chance: 50.0 %)" in page.markdown()


def test_bars_of_a_group_stand_under_its_heading_with_their_further_columns() -> None:
    page = Page("t")
    bars = [
        Bar("a", (Measure(0.4, cells=("7",)),), group="first <group>"),
        Bar("b", (Measure(0.3, cells=("8",)),), group="first <group>"),
        Bar("c", (Measure(0.2, cells=("9",)),), group="second"),
    ]
    page.bars(bars, caption="shares", columns=["failed"])
    reader = Reader(page.html())
    assert len(reader.named("tbody")) == 2
    assert [a["colspan"] for a in reader.named("th") if a.get("scope") == "rowgroup"] == ["4", "4"]
    assert [text for a, text in reader.texts if a.get("data-label") == "failed"] == ["7", "8", "9"]
    assert "| b | 30.0 % | 8 | first \\<group\\> |" in page.markdown()


def test_answers_under_one_label_share_it_and_the_question_and_what_was_expected() -> None:
    page = Page("t")
    texts = [
        Text("arb_Arab", word, note, "wrong", "شمس", asked="ما هذا؟") for word, note in (("قطة", "A"), ("كلب", "B"))
    ]
    page.cards([Card(None, "a", (*texts, Text("deu_Latn", "Sonne", "A", asked="Was ist das?")))])
    html = page.html()
    assert html.count("<dt>") == 2
    assert html.count('<dd class="asked"><small lang="ar" dir="auto">ما هذا؟</small></dd>') == 1
    assert html.count('<small lang="ar" dir="auto">شمس</small>') == 1
    assert html.index("كلب") < html.index(">شمس<")


def test_a_note_on_a_bar_stands_apart_from_the_native_name() -> None:
    page = Page("t")
    page.bars([Bar("Swahili", (Measure(0.5, 0.4, 0.6, ""),), language="swh_Latn", note="never pictured")], caption="c")
    assert re.search(r"Kiswahili</\w+> <small[^>]*>\(never pictured\)</small>", page.html())
    assert "Swahili (never pictured)" in page.markdown()

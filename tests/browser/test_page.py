"""The page of `visiglot serve` as people use it, in a real browser, mostly over the built-in model.

Screenshots are left in out/browser/.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.browser.driver import Browser, chromium
from tests.drawn import draw
from tests.unit.serve.asking import tiny
from tests.unit.serve.serving import Running, Stub, serving

from visiglot.data.nano.prompts import caption_prompt
from visiglot.models.load import load_model
from visiglot.serve.chat import Served
from visiglot.serve.engine import Engine
from visiglot.types import Placing

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "out" / "browser"
EXAMPLES = ROOT / "src" / "visiglot" / "nano" / "examples"
DONE = "document.querySelector('#answers article') && !document.querySelector('[aria-busy=true]')"
TEXTS = "Object.fromEntries([...document.querySelectorAll('#answers .text')].map((one) => [one.lang, one.textContent]))"
ERROR = "document.getElementById('error').textContent"
THREE = ("de", "ar", "ja")

EDGES = """
(() => {
  const words = document.querySelector('#answers .text[lang=%s]');
  const at = (place) => {
    const range = document.createRange();
    range.setStart(words.firstChild, place);
    range.setEnd(words.firstChild, place + 1);
    return range.getBoundingClientRect();
  };
  const box = words.getBoundingClientRect();
  return {first: [at(0).left, at(0).right], last: at(words.textContent.length - 1).left, box: [box.left, box.right]};
})()
"""
"""Where the first and the last character of an answer stand, and where its box does."""

SHARES = """
[...document.querySelectorAll('#experts tbody tr')].map((row) =>
  [...row.querySelectorAll('i')].map((one) => one.offsetWidth / one.parentNode.offsetWidth))
"""
"""How much of its lane each bar of each language fills."""


@pytest.fixture(scope="module")
def nano() -> Iterator[Running]:
    model, processor = load_model("nano", device="cpu")
    served = Served("nano", tuple(model.config.languages), Placing(), caption_prompt(model.config), 0, "CC-BY-SA-4.0")
    with serving(Engine(model, processor), served=served) as running:
        yield running


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser that had nothing to complain of when the test has ended; requests that failed aren't counted."""
    with chromium(tmp_path) as found:
        found.resize(1200, 900)
        yield found
        assert [one for one in found.complaints if not one.startswith("network: ")] == []


@pytest.fixture
def bicycle(tmp_path: Path) -> Path:
    """A picture of the user's, as a JPEG."""
    path = tmp_path / "velo.jpg"
    Image.open(EXAMPLES / "bicycle.png").convert("RGB").save(path, quality=95)
    return path


def url(running: Running) -> str:
    return f"http://127.0.0.1:{running.port}/"


def click(browser: Browser, selector: str) -> None:
    browser.eval(f"document.querySelector({json.dumps(selector)}).click()")


def choose(browser: Browser, *names: str) -> None:
    """Languages, by whatever they are called, typed into the field."""
    click(browser, "#none")
    for name in names:
        browser.eval("document.getElementById('search').focus(); document.getElementById('search').value = ''")
        browser.type(name)
        browser.press("Enter")
    browser.press("Escape")


def show(browser: Browser, name: str) -> None:
    """One of the example pictures."""
    click(browser, f"#examples button:has([alt='{name}.png'])")
    browser.until(f"document.getElementById('preview').alt.includes('{name}')")


def shown(browser: Browser) -> dict[str, str]:
    """The answers by tag, when all have come to their end."""
    browser.until(DONE)
    found: dict[str, str] = browser.eval(TEXTS)
    return found


def test_a_picture_goes_in_and_three_languages_come_out(browser: Browser, nano: Running, bicycle: Path) -> None:
    browser.go(url(nano))
    browser.give_file("#file", bicycle)
    browser.until("document.getElementById('preview').naturalWidth === 256")
    choose(browser, "Deutsch", "arabic", "jpn")
    click(browser, "#go")
    said = shown(browser)
    assert tuple(said) == THREE
    assert said["de"] == "Fahrrad"
    assert browser.eval("document.getElementById('status').textContent") == "Answers: 3 / 3"
    edges = {tag: browser.eval(EDGES % tag) for tag in THREE}
    for tag, edge in edges.items():
        assert len(said[tag]) > 1
        assert (edge["last"] < edge["first"][0]) == (tag == "ar"), tag
    left, right = edges["ar"]["box"]
    assert right - edges["ar"]["first"][1] < 3, "Arabic begins at the right of its box"
    assert edges["ar"]["last"] - left > 20
    assert edges["de"]["first"][0] - edges["de"]["box"][0] < 3
    tops = browser.eval("[...document.querySelectorAll('#answers article')].map((one) => one.offsetTop)")
    assert len(set(tops)) == 1, "the answers stand side by side"
    browser.screenshot(SHOTS / "answers.png")
    browser.prefer("dark")
    browser.screenshot(SHOTS / "answers-dark.png")
    dark = Image.open(SHOTS / "answers-dark.png").convert("L").getpixel((5, 5))
    assert isinstance(dark, int)
    assert dark < 60


def test_a_question_goes_beside_the_picture(browser: Browser) -> None:
    stub = Stub(pieces=("a dog",))
    with serving(stub) as running:
        browser.go(url(running))
        show(browser, "pizza")
        assert browser.eval("document.getElementById('go').textContent") == "Caption"
        browser.eval("document.getElementById('question').focus()")
        browser.type("Which animal is this?")
        assert browser.eval("document.getElementById('go').textContent") == "Ask"
        choose(browser, "Kiswahili")
        click(browser, "#go")
        assert shown(browser) == {"sw": "a dog"}
    (ask,) = stub.asks
    assert ask.example.messages[-1].text.startswith("Which animal is this? Answer in Swahili.")
    assert len(ask.example.images) == 1


def test_everything_can_be_done_with_a_keyboard(browser: Browser, nano: Running) -> None:
    browser.go(url(nano))
    focused = "document.activeElement.id || document.activeElement.firstChild?.alt || document.activeElement.tagName"

    def tab_to(wanted: str) -> None:
        for _ in range(40):
            browser.press("Tab")
            if browser.eval(focused) == wanted:
                outline = browser.eval("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", f"{wanted} doesn't show that it has the focus"
                return
        raise AssertionError(f"{wanted} can't be reached with Tab")

    tab_to("pizza.png")
    browser.press("Enter")
    browser.until("!document.getElementById('preview').hidden")
    tab_to("sailboat.png")
    browser.press("Tab")
    for left in range(browser.eval("document.querySelectorAll('#chosen button').length"), 0, -1):
        assert browser.eval("document.querySelectorAll('#chosen button').length") == left
        browser.press("Space")
    assert browser.eval(focused) == "search"
    browser.type("hebr")
    browser.press("ArrowDown")
    active = "document.getElementById(document.getElementById('search').getAttribute('aria-activedescendant'))"
    assert "עברית" in browser.eval(f"{active}.textContent")
    browser.press("Enter")
    assert browser.eval(f"{active}.getAttribute('aria-selected')") == "true"
    browser.screenshot(SHOTS / "search.png")
    browser.press("Escape")
    assert browser.eval("document.getElementById('found').hidden")
    tab_to("question")
    tab_to("go")
    browser.press("Enter")
    assert shown(browser)["he"] == "פיצה"


def test_a_language_is_found_by_any_of_its_names(browser: Browser, nano: Running) -> None:
    browser.go(url(nano))
    for name, tag in (("francais", "fr"), ("swa", "sw"), ("中文", "zh-Hans"), ("iw", "he"), ("Burmese", "my"),
                      ("deu_Latn", "de"), ("日本語", "ja"), ("brezhoneg", "br")):  # fmt: skip
        choose(browser, name)
        assert browser.eval("document.querySelector('#chosen bdi')?.lang") == tag, name
    browser.eval("document.getElementById('search').focus()")
    browser.type("no such language")
    assert browser.eval("document.getElementById('found').hidden")


@pytest.mark.parametrize("width", [320, 390, 800])
def test_nothing_stands_outside_a_narrow_window(browser: Browser, nano: Running, width: int) -> None:
    browser.resize(width, 800)
    browser.go(url(nano))
    show(browser, "elephant")
    click(browser, "#all")
    click(browser, "#about summary")
    assert browser.eval("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    click(browser, "#go")
    assert len(shown(browser)) == 65
    assert browser.eval("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    outside = browser.eval(
        "[...document.querySelectorAll('button, input, textarea, article, .text, h2')]"
        f".filter((one) => one.getBoundingClientRect().right > {width} + 1).map((one) => one.id || one.className)"
    )
    assert outside == []
    browser.screenshot(SHOTS / f"narrow-{width}.png")


def test_a_broken_picture_is_told_and_the_next_one_is_answered(
    browser: Browser, nano: Running, tmp_path: Path, bicycle: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(draw("red", "circle")[:100])
    browser.go(url(nano))
    browser.give_file("#file", broken)
    choose(browser, "German")
    click(browser, "#go")
    browser.until(f"{ERROR} !== ''")
    message = browser.eval(ERROR)
    assert "image" in message or "picture" in message, message
    assert browser.eval("document.getElementById('error').getAttribute('role')") == "alert"
    assert browser.eval("document.querySelector('article > small').textContent") == "incomplete"
    browser.screenshot(SHOTS / "broken.png")
    browser.give_file("#file", bicycle)
    browser.until(f"{ERROR} === ''")
    click(browser, "#go")
    assert shown(browser)["de"] == "Fahrrad"


def test_text_in_place_of_a_picture_is_told(browser: Browser, nano: Running, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    browser.go(url(nano))
    browser.give_file("#file", tmp_path / "notes.txt")
    browser.until("document.getElementById('drop-hint').textContent.includes(\"can't show\")")
    click(browser, "#go")
    browser.until(f"{ERROR} !== ''")


def test_a_server_that_goes_in_the_middle_is_told_and_its_successor_answers(browser: Browser) -> None:
    with ExitStack() as first:
        running = first.enter_context(serving(Stub(endless=True)))
        browser.go(url(running))
        show(browser, "castle")
        choose(browser, "de", "sw")
        click(browser, "#go")
        browser.until("[...document.querySelectorAll('#answers .text')].every((one) => one.textContent.length > 20)")
        assert browser.eval("document.querySelectorAll('[aria-busy=true]').length") == 2
        assert browser.eval("document.getElementById('go').textContent") == "Stop"
        browser.screenshot(SHOTS / "streaming.png")
        first.close()
        browser.until(f"{ERROR} !== ''")
    assert "kept" in browser.eval(ERROR) or "closing" in browser.eval(ERROR)
    assert all(text.startswith("a small dog") for text in shown(browser).values())
    assert browser.eval("[...document.querySelectorAll('article > small')].map((one) => one.textContent)") == [
        "incomplete", "incomplete",
    ]  # fmt: skip
    browser.screenshot(SHOTS / "gone.png")
    click(browser, "#go")
    browser.until(f'{ERROR}.startsWith("The server can\'t be reached")')
    with serving(port=running.port):
        click(browser, "#go")
        browser.until(f"{ERROR} === ''")
        assert shown(browser) == {"de": "a small dog", "sw": "a small dog"}


def test_stop_ends_the_work_on_the_server(browser: Browser) -> None:
    stub = Stub(endless=True)
    with serving(stub) as running:
        browser.go(url(running))
        show(browser, "castle")
        click(browser, "#go")
        browser.until("document.querySelector('#answers .text')?.textContent.length > 20")
        click(browser, "#go")
        assert stub.cancelled.wait(30)
        browser.until(DONE)
        assert browser.eval(ERROR) == ""


def test_nothing_is_asked_without_a_picture_or_a_language(browser: Browser) -> None:
    stub = Stub()
    with serving(stub) as running:
        browser.go(url(running))
        click(browser, "#go")
        browser.until(f"{ERROR} === 'Choose a picture first.'")
        show(browser, "pizza")
        click(browser, "#none")
        click(browser, "#go")
        browser.until(f"{ERROR} === 'Choose a language first.'")
    assert stub.asks == []


def test_what_a_model_says_is_never_markup(browser: Browser) -> None:
    evil = "<img src=x onerror=document.title='evil'><b>bold</b> =1+1"
    with serving(Stub(pieces=(evil,))) as running:
        browser.go(url(running))
        show(browser, "pizza")
        choose(browser, "de")
        click(browser, "#go")
        assert shown(browser) == {"de": evil}
        assert browser.eval("document.querySelectorAll('#answers img, #answers b').length") == 0
        assert browser.eval("document.title") == "tiny · Visiglot"


def test_the_policy_stops_scripts_styles_and_markup_of_others(browser: Browser) -> None:
    with serving() as running:
        browser.go(url(running))
        browser.eval("window.violations = []; document.addEventListener('securitypolicyviolation',"
                     " (event) => violations.push(event.effectiveDirective))")  # fmt: skip
        browser.eval("(() => { const one = document.createElement('style'); one.textContent = 'h1 { color: red }';"
                     " document.head.append(one) })()")  # fmt: skip
        browser.eval("(() => { const one = document.createElement('img'); one.src = 'http://127.0.0.1:1/x.png';"
                     " document.body.append(one) })()")  # fmt: skip
        with pytest.raises(AssertionError, match="TrustedHTML"):
            browser.eval("document.body.innerHTML = 'x'")
        browser.until("violations.length >= 3")
        assert set(browser.eval("violations")) >= {"style-src-elem", "img-src"}
    browser.complaints.clear()


def test_answers_are_kept_as_json_and_csv(browser: Browser, tmp_path: Path) -> None:
    with serving(Stub(pieces=('=a "dog",\n', "كلب"))) as running:
        browser.go(url(running))
        browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        show(browser, "pizza")
        choose(browser, "de", "ar")
        click(browser, "#go")
        shown(browser)
        click(browser, "#json")
        click(browser, "#csv")
        found = {name: kept(tmp_path / name) for name in ("answers.json", "answers.csv")}
    whole: Any = json.loads(found["answers.json"])
    assert (whole["model"], whole["picture"]) == ("tiny", "pizza.png")
    assert [one["language"] for one in whole["answers"]] == ["deu_Latn", "arb_Arab"]
    assert whole["answers"][1] == {
        "language": "arb_Arab", "tag": "ar", "name": "Arabic", "text": '=a "dog",\nكلب', "finish_reason": "stop",
    }  # fmt: skip
    assert found["answers.csv"].startswith('\ufeff"language","tag","name","text","finish_reason"\r\n')
    assert '"deu_Latn","de","German","\'=a ""dog"",\nكلب","stop"\r\n' in found["answers.csv"]


def kept(path: Path) -> str:
    for _ in range(600):
        if path.is_file() and path.stat().st_size:
            return path.read_bytes().decode()
        time.sleep(0.05)
    raise AssertionError(f"{path.name} isn't there")


def test_a_picture_can_be_dropped_and_pasted(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "dropped.png").write_bytes(draw("red", "circle"))
    with serving() as running:
        browser.go(url(running))
        browser.drop_file(tmp_path / "dropped.png", 600, 500)
        browser.until("document.getElementById('preview').alt.includes('dropped.png')")
        browser.eval("""
            (async () => {
              const blob = await (await fetch("page/pizza.png")).blob();
              const data = new DataTransfer();
              data.items.add(new File([blob], "pasted.png", {type: "image/png"}));
              document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data}));
            })()""")
        browser.until("document.getElementById('preview').alt.includes('pasted.png')")


def test_a_picture_can_be_taken_with_the_camera(browser: Browser) -> None:
    stub = Stub()
    with serving(stub) as running:
        browser.go(url(running))
        click(browser, "#camera")
        browser.until("document.getElementById('video').videoWidth > 0")
        assert browser.eval("document.getElementById('viewfinder').open")
        browser.screenshot(SHOTS / "camera.png")
        click(browser, "#shutter")
        browser.until("document.getElementById('preview').alt.includes('camera.jpg')")
        assert browser.eval("document.getElementById('video').srcObject === null"), "the camera is let go"
        click(browser, "#go")
        shown(browser)
    data = stub.asks[0].example.images[0].data
    assert data is not None
    assert Image.open(io.BytesIO(data)).format == "JPEG"


def test_a_key_is_asked_for_where_one_is_needed(browser: Browser) -> None:
    with serving(keys=["right"]) as running:
        browser.go(url(running))
        assert browser.eval("document.activeElement.id") == "key"
        browser.type("wrong")
        browser.press("Enter")
        browser.until(f"{ERROR}.startsWith('Incorrect API key')")
        browser.eval("document.getElementById('key').value = ''")
        browser.type("right")
        browser.press("Enter")
        browser.until("document.getElementById('access').hidden")
        show(browser, "pizza")
        click(browser, "#go")
        assert set(shown(browser).values()) == {"a small dog"}


def test_the_page_speaks_its_reader_s_language(browser: Browser) -> None:
    with serving() as running:
        browser.speak("sw,de-AT,en")
        browser.go(url(running))
        assert browser.eval("document.documentElement.lang") == "de"
        assert browser.eval("document.getElementById('go').textContent") == "Beschreiben"
        chosen = "[...document.querySelectorAll('#chosen bdi')].map((one) => one.lang)"
        assert browser.eval(chosen) == ["sw", "de", "en"], "what the reader asks for is chosen"
        choose(browser, "Suaheli")
        assert browser.eval(chosen) == ["sw"]
        browser.speak("zh-TW")
        browser.go(url(running))
        assert browser.eval("document.documentElement.lang") == "zh-Hant"
        browser.speak("mi")
        browser.go(url(running))
        assert browser.eval("document.documentElement.lang") == "en"


def test_experts_of_parrot_are_drawn_by_language(browser: Browser) -> None:
    built = tiny(connector="parrot")
    served = Served("tiny", ("eng_Latn", "arb_Arab", "tur_Latn"), Placing(), "Caption in {language}: ", 0,
                    experts=built.model.connector.num_experts)  # fmt: skip
    with serving(Engine(built.model, built.processor), served=served, default_new_tokens=8) as running:
        browser.go(url(running))
        show(browser, "guitar")
        click(browser, "#all")
        click(browser, "#go")
        shown(browser)
        rows = browser.eval(SHARES)
        assert [len(row) for row in rows] == [3, 3, 3]
        assert [sum(row) for row in rows] == pytest.approx([1, 1, 1], abs=0.02)
        assert len({tuple(row) for row in rows}) > 1, "the prompt's language moves the weights"
        browser.screenshot(SHOTS / "experts.png")

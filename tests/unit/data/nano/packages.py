"""The eight packages of the built-in data in their own formats, tiny: drawings and names that the test makes up."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import unicodedata
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

MAMMALS = {"🐶": "dog face", "🐱": "cat face", "🐭": "mouse face", "🐹": "hamster", "🐰": "rabbit face"}
MAMMALS |= {"🦊": "fox", "🐻": "bear", "🐼": "panda", "🐨": "koala", "🐯": "tiger face"}
BIRDS = {"🐔": "chicken", "🐧": "penguin", "🦆": "duck", "🦅": "eagle"}
FROG = {"🐸": "frog"}
FRUIT = {"🍎": "red apple", "🍌": "banana", "🍇": "grapes", "🍉": "watermelon", "🍓": "strawberry", "🍒": "cherries"}
FRUIT |= {"🍑": "peach", "🍍": "pineapple"}
FLAGS = {"🇩🇪": "Germany", "🇫🇷": "France", "🇰🇪": "Kenya", "🇯🇵": "Japan", "🇧🇷": "Brazil"}
UMBRELLA = {"☂": "umbrella"}
CONCRETE = MAMMALS | BIRDS | FROG | FRUIT | UMBRELLA | {flag: f"flag: {land}" for flag, land in FLAGS.items()}

NO_NOTO, NO_ENGLISH = "🦄", "🦓"
NOT_CONCRETE = {"😀": "grinning face", "🕐": "one o’clock", "🌑": "new moon"}
LACKING = {NO_NOTO: "unicorn", NO_ENGLISH: "zebra"}
NO_FLUENT = "🐼"

SUBGROUPS: dict[str, dict[str, str]] = {
    "animal-mammal": MAMMALS | LACKING,
    "animal-bird": BIRDS,
    "animal-amphibian": FROG,
    "food-fruit": FRUIT,
    "sky-weather": {**UMBRELLA, "🌑": "new moon"},
    "country-flag": {flag: f"flag: {land}" for flag, land in FLAGS.items()},
    "face-smiling": {"😀": "grinning face"},
    "time": {"🕐": "one o’clock"},
}

FLAG_FORMS = {
    "en": "flag: {}",
    "de": "Flagge: {}",
    "fr": "drapeau : {}",
    "zh": "旗：{}",
    "sw": "bendera: {}",
    "tr": "{} bayrağı",
    "de-AT": "Fahne: {}",
    "xh": "iflegi: {}",
}
LABELS = ("animal", "food_drink", "weather", "flag")
YES_NO = {"en": ("yes:y", "no:n"), "de": ("ja:j", "nein:n"), "fr": ("oui:o", "non:n"), "tr": ("evet:e", "hayır:h")}


def write_packages(folder: Path) -> str:
    """Write the tarballs into `folder`; return packages.toml with their hashes in place of the real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "cldr-annotations-full-48.2.0": _annotations(flags=False),
        "cldr-annotations-derived-full-48.2.0": _annotations(flags=True),
        "cldr-misc-full-48.2.0": _misc(),
        "emojibase-data-17.0.0": _emojibase(),
        "openmoji-17.0.0": _drawings("color/svg/", upper=True),
        "discordapp-twemoji-16.0.1": _drawings("dist/svg/", upper=False),
        "fluentui-emoji-1.3.0": _fluent(),
        "emoji-datasource-google-16.0.0": _noto(),
    }
    hashes = {}
    for name, files in contents.items():
        write_tarball(folder / f"{name}.tgz", files)
        hashes[name] = hashlib.sha256((folder / f"{name}.tgz").read_bytes()).hexdigest()
    return with_hashes(hashes)


def with_hashes(hashes: dict[str, str]) -> str:
    """The real packages.toml with the SHA-256 of the tarballs named "<name>-<version>" replaced."""
    text = resources.files("visiglot.data.nano").joinpath("packages.toml").read_text(encoding="utf-8")
    pattern = re.compile(r'name = "@?([^"]+)"\nversion = "([^"]+)"\nregistry = "npm"\nsha256 = "([0-9a-f]{64})"')

    def replaced(match: re.Match[str]) -> str:
        found = hashes[f"{match[1].replace('/', '-')}-{match[2]}"]
        return match[0].replace(match[3], found)

    return pattern.sub(replaced, text)


def write_tarball(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _annotations(*, flags: bool) -> dict[str, bytes]:
    files = {}
    for locale, form in FLAG_FORMS.items():
        rows: dict[str, Any] = {}
        if flags:
            rows = {flag: _row(form.format(_word(land, locale)), ["flag"]) for flag, land in FLAGS.items()}
        else:
            known = {**MAMMALS, **BIRDS, **FROG, **FRUIT, **UMBRELLA, **NOT_CONCRETE, **LACKING}
            for at, (emoji, english) in enumerate(known.items()):
                if (emoji == NO_ENGLISH and locale == "en") or (locale == "xh" and at > 3):
                    continue
                name = _word(english, locale)
                keywords = [f"{name} {part}" for part in ("red", "small", "round")]
                rows[emoji] = _row(name, [name, *keywords])
            if locale == "de":
                rows["🦅"] = _row("↑↑↑", ["↑↑↑"])
                rows["🦆"] = _row("🦆", [])
            if locale == "fr":
                rows["🍑"] = _row(unicodedata.normalize("NFD", "pêche  blanche"), ["fruit", "rose"])
        outer = "annotationsDerived" if flags else "annotations"
        content = {outer: {"identity": {"language": locale}, "annotations": rows}}
        files[f"{outer}/{locale}/annotations.json"] = json.dumps(content).encode()
    return files


def _word(english: str, locale: str) -> str:
    return english if locale == "en" else f"{english} {locale}"


def _row(name: str, keywords: list[str]) -> dict[str, list[str]]:
    return {"default": keywords, "tts": [name]}


def _misc() -> dict[str, bytes]:
    files = {}
    for locale in FLAG_FORMS:
        # Kiswahili has neither labels nor yes/no of its own here: CLDR repeats the root locale's English.
        language = "en" if locale == "sw" else locale
        labels = {key: _word(key.replace("_", " & "), language) for key in LABELS}
        yes, no = YES_NO.get(language, YES_NO["en"])
        for name, own in (
            ("characterLabels", {"characterLabels": labels}),
            ("posix", {"posix": {"messages": {"yesstr": yes, "nostr": no}}}),
        ):
            files[f"main/{locale}/{name}.json"] = json.dumps({"main": {locale: own}}).encode()
    return files


def _emojibase() -> dict[str, bytes]:
    groups = {"0": "somewhere"}
    subgroups = {str(at): name for at, name in enumerate(SUBGROUPS)}
    rows = []
    for at, members in enumerate(SUBGROUPS.values()):
        for emoji, label in members.items():
            shown = emoji + "\ufe0f" if emoji == "☂" else emoji
            rows.append({"emoji": shown, "label": label, "group": 0, "subgroup": at, "order": len(rows)})
    rows.append({"emoji": "🇦", "label": "regional indicator A"})
    return {
        "en/data.json": json.dumps(rows).encode(),
        "meta/groups.json": json.dumps({"groups": groups, "subgroups": subgroups}).encode(),
    }


def _all() -> dict[str, str]:
    return {emoji: label for members in SUBGROUPS.values() for emoji, label in members.items()}


def _stem(emoji: str) -> str:
    return "-".join(f"{ord(character):x}" for character in emoji)


def _colour(text: str) -> tuple[int, int, int]:
    red, green, blue = hashlib.sha256(text.encode()).digest()[:3]
    return red, green, blue


def _svg(text: str) -> bytes:
    fill = "#{:02x}{:02x}{:02x}".format(*_colour(text))
    circle = f'<circle cx="36" cy="36" r="24" fill="{fill}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">{circle}</svg>'.encode()


def _drawings(folder: str, *, upper: bool) -> dict[str, bytes]:
    stems = {emoji: _stem(emoji).upper() if upper else _stem(emoji) for emoji in _all()}
    return {f"{folder}{stem}.svg": _svg(folder + emoji) for emoji, stem in stems.items()}


def _fluent() -> dict[str, bytes]:
    drawn = {emoji: label for emoji, label in _all().items() if emoji not in FLAGS and emoji != NO_FLUENT}
    return {f"icons/modern/{label.replace(' ', '-')}.svg": _svg("fluent" + emoji) for emoji, label in drawn.items()}


def _noto() -> dict[str, bytes]:
    files = {}
    for emoji in _all():
        if emoji == NO_NOTO:
            continue
        picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        ImageDraw.Draw(picture).rectangle((8, 8, 56, 56), fill=_colour("noto" + emoji))
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        stem = _stem(emoji) + ("-fe0f" if emoji == "☂" else "")
        files[f"img/google/64/{stem}.png"] = stream.getvalue()
    return files

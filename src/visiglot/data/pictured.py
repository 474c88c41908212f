"""A recipe's data as they will be trained on: whether they can be opened, and in which languages they have pictures."""

from __future__ import annotations

from collections.abc import Iterator

from visiglot.config import Recipe
from visiglot.data.licences import permitted
from visiglot.data.opening import open_section, refuse_untranslated
from visiglot.data.source import Source
from visiglot.languages import resolve

LOOKED_AT = 64
"""Examples of a source and language that are looked at, evenly spread."""


def open_sources(recipe: Recipe) -> Iterator[Source]:
    """Every source of any stage, opened as training opens it, once.

    Raises:
        DataError, ConfigError: a source can't be opened, must be translated first, or has nothing in the languages
            asked for.
        UnknownNameError: there is no such source any more.
    """
    opened: set[str] = set()
    for data in [stage.data or recipe.data for stage in recipe.stages]:
        refuse_untranslated(permitted(data))
        for section in permitted(data).sources:
            languages = resolve(section.languages or data.languages)
            asked = section.model_dump_json(include={"type", "options", "task", "task_options"})
            key = f"{asked} {languages} {data.licence}"
            if key not in opened:
                opened.add(key)
                yield open_section(section, data, languages, recipe.train.seed)


def pictured_languages(recipe: Recipe) -> tuple[str, ...]:
    """FLORES-200 codes, sorted, of the languages in which some stage trains on an example with a picture.

    What a source shows in which language is its own to know: the built-in data never show a picture to its text-only
    languages, whatever a recipe asks for. So sources are opened, and what `open_sources` raises is raised; no picture
    is read.
    """
    found: set[str] = set()
    for source in open_sources(recipe):
        found |= {code for code in source.by_language.keys() - found if _shows_pictures(source, code)}
    return tuple(sorted(found))


def _shows_pictures(source: Source, code: str) -> bool:
    indices = source.by_language[code]
    step = max(1, -(-len(indices) // LOOKED_AT))
    return any(source[int(index)].images for index in indices[::step])

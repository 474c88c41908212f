"""mBLIP's released task files (Geigle et al., 2023, arXiv 2307.06930): prompts and targets in 96 languages."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.rows import JsonRows, Row
from visiglot.data.rows.numbered import NumberedRows
from visiglot.languages import ENGLISH, all_languages, language, sets
from visiglot.types import Example

TEXT_ENGINE = "facebook/nllb-200-distilled-1.3B"
ANSWER_ENGINE = "Google Translate"
"""What the authors translated with; names of ImageNet's classes are from BabelNet."""

LICENCE = "CC-BY-NC-4.0 AND BabelNet Non-Commercial License"

_NAMES = {"Chinese": "zho_Hant", "Kurdish": "ckb_Arab", "former Hebrew": "heb_Hebr"}
"""What the files' authors call languages that have another name here, or one that is ambiguous elsewhere."""

_TEXTS = (
    r"^(?:Caption|Briefly describe|Summarize) the image in L\.",
    r"^Short L image caption:",
    r"^Image caption \(in L\):",
    r"^Write a short L image description\.",
    r"^Given the image, generate a question in L whose answer is:",
    r"^Based on the image, create a question \(in L\) for which",
    r"^From the image provided, come up with a L question that",
    r"^What is a L question for the image",
    r"^Given the image, what would be a L question that",
    r"\bCaption in L:?$",
)
"""The authors' prompts for captions and questions that name a language, L."""

_ANSWERS = (
    r"\bShort L answer:$",
    r"\bBrief answer \(in L\):$",
    r"^Give a short answer in L to the following question\.",
    r"^Answer the provided question in L with three words or less\.",
    r"^What is the L answer to this question\?",
    r"^Briefly answer in L\.",
    r"\bGive a short L answer\.$",
    r"^Complete the sentence in L\.",
    r"^Name the main thing of this photo in L:$",
    r"^In less than 3 words in L,",
    r"\bin L[.:)]*$",
)
"""Their prompts for answers and names of things, whose Chinese is simplified; the last is any that ends so."""


@adapter("mblip", title="mBLIP's task files", licence=LICENCE, own_languages=True)
def mblip(
    origin: Origin,
    *,
    path: Path,
    images: Path | None = None,
    coco: Path | None = None,
    web: Path | None = None,
    imagenet: Path | None = None,
    unnamed: Literal["keep", "skip"] = "keep",
) -> Reading:
    """One example for each row of a list of `context`, `label` and `image_id`, as in `task_mix_v2_mt.json`.

    Pictures are looked for by their names: `COCO_*.jpg` in `coco`, `n*/*.JPEG` in `imagenet`, all others in `web`; a
    folder that isn't given is `images`.

    The files don't say which language a target is in. It is taken from the prompt where that names it ("in German");
    "Chinese" is traditional, or simplified where an answer is asked for. Where no language is named, a target in a
    script that only one of the 96 languages has is in that one; one in a script that several of them share, other than
    the Latin, is left out; and all others count as English (option `language`), which is wrong for captions with native
    prompts and conversations in languages of Latin script: `unnamed: skip` leaves all of these out.
    """
    folders = {"coco": coco or images, "imagenet": imagenet or images, "web": web or images}

    def examples(row: Row) -> Sequence[Example]:
        prompt, name = row.text("context"), row.text("image_id")
        golds = _golds(row)
        answer = None if golds else row.text("label")
        code, engine = _named(prompt)
        if code is None and unnamed == "keep":
            code, engine = _by_script(answer or golds[0], origin.language), TEXT_ENGINE
        kind = "coco" if name.startswith("COCO_") else "imagenet" if re.match(r"n\d{8}/", name) else "web"
        folder = folders[kind]
        if folder is None:
            raise row.error("image_id", f"is {name}, but the source has no option `{kind}`", hint="Or give `images`.")
        if code is None:
            return ()
        ref = Pictures(folder).ref(row, "image_id", name)
        example = origin.question(row.key, (ref,), prompt, answer, answers=golds, language=code, task="instruction")
        translated = code != ENGLISH and kind != "imagenet"
        provenance = replace(origin.provenance, engine=engine if translated else None)
        return [replace(example, references=golds or example.references, provenance=provenance)]

    return Reading(NumberedRows(JsonRows(path)), examples)


def _golds(row: Row) -> tuple[str, ...]:
    """The gold answers of an evaluation file's row, whose label is empty."""
    if row.get("label") or row.get("text_label") is None:
        return ()
    return row.texts("text_label") if isinstance(row.get("text_label"), list) else (row.text("text_label"),)


def _named(prompt: str) -> tuple[str | None, str]:
    """The language that a prompt names for the answer, and what such answers were translated with."""
    for prompts, engine in ((_TEXTS, TEXT_ENGINE), (_ANSWERS, ANSWER_ENGINE)):
        found = _pattern(prompts).search(prompt.strip())
        if found is not None:
            code = _codes()[next(name for name in found.groups() if name is not None)]
            return ("zho_Hans" if code == "zho_Hant" and prompts is _ANSWERS else code), engine
    return None, TEXT_ENGINE


@cache
def _codes() -> dict[str, str]:
    """English names, as a prompt may write them, of the languages of the files."""
    codes: dict[str, str] = {}
    for row in map(language, sets()["mblip"]):
        codes.update({name: row.code for name in (row.name, *row.aliases) if name[:1].isupper() and len(name) > 2})
    return codes | _NAMES


@cache
def _pattern(prompts: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in sorted(_codes(), key=len, reverse=True))
    return re.compile("|".join(re.sub(r"\bL\b", lambda _: f"({names})", prompt, count=1) for prompt in prompts))


def _by_script(text: str, default: str) -> str | None:
    """The language that the letters of a text say; `default` for Latin ones, None where they say several."""
    scripts = Counter(script for letter in text if (script := _script(letter)))
    if not scripts:
        return default
    script = "KANA" if scripts["KANA"] else scripts.most_common(1)[0][0]
    if script == "LATIN":
        return default
    codes = _of_script().get(script, ())
    return codes[0] if len(codes) == 1 else None


@cache
def _script(letter: str) -> str:
    """First word of a letter's name in Unicode; "KANA" for both Japanese syllabaries, "" for what is no letter."""
    if not letter.isalpha():
        return ""
    word = unicodedata.name(letter, "").partition(" ")[0].partition("-")[0]
    return "KANA" if word in ("HIRAGANA", "KATAKANA") else word


@cache
def _of_script() -> dict[str, tuple[str, ...]]:
    """The files' languages by the script of their own names."""
    found: dict[str, tuple[str, ...]] = {"KANA": ("jpn_Jpan",), "CJK": ("zho_Hant",)}
    for row in all_languages():
        if row.code in sets()["mblip"] and row.script not in ("Jpan", "Hans", "Hant"):
            script = _script(row.native[0])
            found[script] = (*found.get(script, ()), row.code)
    return found

"""How families of translation models call the languages that are FLORES-200 codes here.

A family marks languages by tokens of its vocabulary. What a model can do is read off its own vocabulary, never off its
name: a language is there when its mark is.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from visiglot.errors import LanguageError, TranslationError
from visiglot.languages import Language, LanguageNotice, all_languages, language

FamilyName = Literal["nllb", "m2m100", "madlad", "marian"]

_NLLB = {"sat_Olck": "sat_Beng"}
"""NLLB's token for Santali names the wrong script; the texts it was trained on are in Ol Chiki, as FLORES-200 says."""

_M2M100 = {"zho_Hans": "zh", "nob_Latn": "no", "nso_Latn": "ns", "tgl_Latn": "tl"}

_MADLAD = {
    "dik_Latn": "din",
    "gom_Deva": "gom",
    "kmr_Latn": "ku",
    "knc_Arab": "kr_Arab",
    "knc_Latn": "kr",
    "nob_Latn": "no",
    "taq_Latn": "taq",
    "zho_Hans": "zh",
}
"""Where M2M-100's and MADLAD-400's codes aren't the BCP-47 tag of our table."""


@dataclass(frozen=True, slots=True)
class Marks:
    """How one model calls its languages.

    Args:
        family: which of the families it is.
        source: code -> what it is called as a source; None: marked by nothing, and any language may be tried.
        target: code -> the token that asks for it; "" where the model does nothing else.
    """

    family: FamilyName
    source: Mapping[str, str] | None
    target: Mapping[str, str]

    def check(self, model: str, source: str, targets: Sequence[str]) -> None:
        """Refuse what the model can't do.

        Raises:
            LanguageError: with the nearest that it can.
        """
        if self.source is not None and source not in self.source:
            raise _refusal(f"source language of {model}", source, self.source)
        for target in targets:
            if target not in self.target:
                raise _refusal(f"target language of {model}", target, self.target)


def marks_of(tokenizer: Any, model: str) -> Marks:
    """The languages that the vocabulary of a Hugging Face tokenizer has marks for.

    Raises:
        TranslationError: it is of no family that is known.
    """
    if type(tokenizer).__name__ == "MarianTokenizer":
        return _marian(tokenizer, model)
    rows = all_languages()
    families: tuple[FamilyName, ...] = ("nllb", "m2m100", "madlad")
    for family in families:
        found = {row.code: mark for row in rows if _has(tokenizer, mark := mark_of(family, row))}
        if found:
            return Marks(family, found if family != "madlad" else None, found)
    raise TranslationError(
        f"{model}: its tokenizer ({type(tokenizer).__name__}) has no marks of languages that are known",
        hint="Engines take NLLB-200, M2M-100, MADLAD-400 and Opus-MT (Marian) models.",
    )


def mark_of(family: FamilyName, row: Language) -> str:
    """The token that stands for a language in NLLB, M2M-100 or MADLAD-400, whether or not a model has it."""
    if family == "nllb":
        return _NLLB.get(row.code, row.code)
    if family == "m2m100":
        return f"__{_M2M100.get(row.code, row.bcp47)}__"
    return f"<2{_MADLAD.get(row.code, row.bcp47.replace('-', '_'))}>"


def _marian(tokenizer: Any, model: str) -> Marks:
    """An Opus-MT model: from its two languages, and from the marks of those that translate into several."""
    named = {"source": tokenizer.source_lang, "target": tokenizer.target_lang}
    missing = [f"{side}_lang" for side, name in named.items() if not name]
    marks = [token for token in tokenizer.get_vocab() if token.startswith(">>") and token.endswith("<<")]
    if "source_lang" in missing or (missing and not marks):
        raise TranslationError(
            f"{model}: its tokenizer_config.json says no {' and no '.join(missing)}",
            hint="Write the model's languages there, as Opus-MT models have them: "
            '{"source_lang": "en", "target_lang": "de"}.',
        )
    found: dict[str, str] = {}
    for mark in sorted(marks, key=lambda mark: (_rank(mark), mark)):
        code = _code(mark[2:-2])
        if code is not None:
            found.setdefault(code, mark)
    if not found:
        code = _code(named["target"])
        if code is None:
            raise TranslationError(
                f"{model} translates into {named['target']!r}, which is no language that is known",
                hint="Write its language into target_lang of its tokenizer_config.json.",
            )
        found = {code: ""}
    source = _code(named["source"])
    return Marks("marian", None if source is None else {source: ""}, found)


def _rank(mark: str) -> tuple[bool, bool, int]:
    """Best first: ISO 639-3 with a script, then bare, then two letters; any with a region last."""
    base, _, rest = mark[2:-2].partition("_")
    return (len(rest) not in (0, 4), not rest, -len(base))


def _code(name: str) -> str | None:
    """What a code of Opus-MT means; None: several languages ("mul", "ROMANCE"), or one that isn't in the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LanguageNotice)
        try:
            return language(name).code
        except LanguageError:
            return None


def _refusal(kind: str, code: str, known: Mapping[str, str]) -> LanguageError:
    """The error that names the same language in other scripts, else what looks like it."""
    same = sorted(one for one in known if one.partition("_")[0] == code.partition("_")[0])
    return LanguageError(kind, code, known, hint=f"It has {' and '.join(same)}." if same else None)


def _has(tokenizer: Any, mark: str) -> bool:
    return tokenizer.convert_tokens_to_ids(mark) not in (None, tokenizer.unk_token_id)

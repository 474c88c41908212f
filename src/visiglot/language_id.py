"""Which language a text is in: by its script where that says it, else by py3langid or a model of the user's.

Nothing here guesses: a language that the identifier doesn't know is undetermined. The same text has the same answer on
every machine.
"""

from __future__ import annotations

import math
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any, Protocol

from visiglot.errors import LanguageError, MissingExtraError, ModelError
from visiglot.languages import Language, all_languages, language
from visiglot.scripts import made_of, scripts_of, variants

MOST_LABELS = 20
"""Of a fastText model's labels, those that are asked for; the rest of the probability is none's."""

FEWEST_LETTERS = 8
"""In a text whose language is named by an identifier; in fewer, only scripts are looked at."""


@dataclass(frozen=True, slots=True)
class Identified:
    """A text's language.

    Args:
        code: FLORES-200 code; None: undetermined.
        confidence: 0 to 1; of an identifier, or the share of the text's letters that are of the script.
    """

    code: str | None
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """What an identifier says of a text against one language.

    Args:
        best: FLORES-200 code, or the identifier's own label, of what it takes the text for.
        confidence: in that, 0 to 1.
        target: its probability of the language that was asked about or of one that is confusable with it, 0 to 1.
    """

    best: str
    confidence: float
    target: float


class Identifier(Protocol):
    """A model of languages."""

    @property
    def labels(self) -> Sequence[str]:
        """All that it can say."""

    def rank(self, text: str) -> list[tuple[str, float]]:
        """Labels and their probabilities, the likeliest first; not always all of them."""


def identify(text: str, model: Path | None = None) -> Identified:
    """The language of a text.

    Args:
        model: a fastText model; None: py3langid.

    Raises:
        ModelError: the model can't be read.
        MissingExtraError: py3langid isn't installed.
    """
    found = scripts_of(text)
    likely = languages_by_script(text)
    if not likely:
        return Identified(None)
    if len(likely) == 1:
        return Identified(likely[0].code, sum(found[one] for one in made_of(likely[0].script)) / found.total())
    if found.total() < FEWEST_LETTERS:
        return Identified(None)
    ranked = load_identifier(model).rank(text)
    if not ranked:
        return Identified(None)
    label, confidence = ranked[0]
    known = {one.code for one in likely}
    return Identified(next((code for code in codes_of(label) if code in known), None), confidence)


def languages_by_script(text: str) -> tuple[Language, ...]:
    """The languages whose scripts have most of a text's letters; of Chinese in one of its two writings, those of that
    writing. None for a text without letters, or with letters of no language of the table."""
    found = scripts_of(text)
    counts = [(one, sum(found[script] for script in made_of(one.script))) for one in all_languages()]
    most = max(count for _, count in counts)
    likely = [one for one, count in counts if count == most > 0]
    if "Hani" in found and not found.keys() & {"Hira", "Kana", "Hang"}:
        simplified, traditional = variants(text)
        writing = "Hans" if simplified > traditional else "Hant"
        if simplified != traditional and any(one.script == writing for one in likely):
            likely = [one for one in likely if one.script == writing]
    return tuple(likely)


def rank(text: str, target: str, model: Path | None = None) -> Ranking | None:
    """How likely a text is in a language; None: the identifier doesn't know that language.

    Args:
        target: FLORES-200 code.
        model: as in `identify`.

    Raises:
        ModelError, MissingExtraError: as `identify`.
    """
    if not covers(target, model):
        return None
    ranked = load_identifier(model).rank(text)
    if not ranked:
        return None
    accepted = confusable_with(target)
    agreeing = sum(p for label, p in ranked if accepted & {code[:3] for code in codes_of(label)})
    label, confidence = ranked[0]
    return Ranking(next(iter(codes_of(label)), label), confidence, min(agreeing, 1.0))


@cache
def covers(code: str, model: Path | None = None) -> bool:
    """Whether an identifier has a label that means this very language, in this script."""
    return any(code in codes_of(label) for label in load_identifier(model).labels)


@cache
def confusable_with(code: str) -> frozenset[str]:
    """ISO 639-3 codes of the languages that count as this one, itself among them."""
    own = code[:3]
    groups = [frozenset(group) for group in _table()["confusable"]]
    return frozenset({own}).union(*(group for group in groups if own in group))


@cache
def codes_of(label: str) -> tuple[str, ...]:
    """FLORES-200 codes that a label means ("swh_Latn", "sw", "zho_Hani"); none: a language that isn't in the table."""
    bare, _, script = label.partition("_")
    exceptions: Mapping[str, Sequence[str]] = _table()["labels"]
    if bare in exceptions:
        codes = tuple(exceptions[bare])
        return tuple(code for code in codes if not script or script in (code[4:], *made_of(code[4:]))) or codes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a bare code of several scripts is meant as it is read
        for name in (label, bare):
            try:
                row: Language = language(name)
            except LanguageError:
                continue
            return (row.code,) if not script or name == label else ()
    return ()


@cache
def load_identifier(model: Path | None = None) -> Identifier:
    """py3langid, or a fastText model's file.

    Raises:
        ModelError: the file isn't there, isn't a fastText model, or fastText isn't installed.
        MissingExtraError: py3langid isn't installed.
    """
    return _Langid() if model is None else _FastText(model)


class _Langid:
    """py3langid with its own model."""

    def __init__(self) -> None:
        try:
            langid = import_module("py3langid.langid")
        except ImportError as error:
            raise MissingExtraError("py3langid, which tells languages apart,", "eval") from error
        self._model: Any = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
        self.labels: tuple[str, ...] = tuple(self._model.labels)

    def rank(self, text: str) -> list[tuple[str, float]]:
        return [(str(label), float(p)) for label, p in self._model.rank(text)]


class _FastText:
    """A fastText model whose labels are languages: __label__swh_Latn, __label__sw."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ModelError(f"--lid-model: there is no file {path}", hint="Give the path of a fastText model.")
        try:
            fasttext = import_module("fasttext")
        except ImportError as error:
            raise ModelError(
                f"--lid-model {path} needs fastText, which isn't installed", hint="pip install fasttext-predict"
            ) from error
        try:
            self._model: Any = fasttext.load_model(str(path))
            labels = self._model.predict("a", k=-1, threshold=-1.0)[0]
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            raise ModelError(
                f"{path} can't be used as a fastText model: {error}",
                hint="Give a supervised model's .bin or .ftz file. Older builds of fastText don't work with NumPy 2: "
                "pip install fasttext-predict",
            ) from error
        self.labels: tuple[str, ...] = tuple(sorted(map(_bare, labels)))
        if not any(map(codes_of, self.labels)):
            raise ModelError(
                f"{path}: no label is a language's: {', '.join(self.labels[:5])}, ...",
                hint="Labels must be __label__ and a code, as in __label__swh_Latn or __label__sw.",
            )

    def rank(self, text: str) -> list[tuple[str, float]]:
        labels, numbers = self._model.predict(" ".join(text.split()), k=MOST_LABELS)
        pairs = [(_bare(label), float(p)) for label, p in zip(labels, numbers, strict=True)]
        return [(label, min(p, 1.0)) for label, p in pairs if not math.isnan(p)]


def _bare(label: str) -> str:
    return label.removeprefix("__label__")


@cache
def _table() -> dict[str, Any]:
    text = resources.files("visiglot").joinpath("language_id.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)

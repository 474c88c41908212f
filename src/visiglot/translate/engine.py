"""What a translation engine is, and the table of engines.

An engine is asked for sentences that hold nothing but words: what must survive (`protect`) and where sentences end
(`sentences`) is settled before. It says of each output whether it came to its end, so that nothing is cut unseen. Two
things an engine may do or not: hand outputs over as they come (`Portioned`), and know whole texts (`Remembering`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from visiglot.errors import EngineError, TranslationError
from visiglot.registry import Registry

HALF = "there is half a character in it"
"""Why a text with a surrogate that stands alone has no translation, or is none: no file can hold it."""

_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Output:
    """What an engine says for one text.

    Args:
        text: the translation; None where the engine has none, as a translation memory may.
        finished: whether it came to its end by itself; False: it was stopped at the longest that is allowed.
        engine: who made it, where an engine asks others; None: the engine itself.
        reason: why there is no text, or not all of it, where the engine knows.
        passing: whether it may be otherwise when it is asked for again; such outputs aren't kept.
    """

    text: str | None
    finished: bool = True
    engine: str | None = None
    reason: str | None = None
    passing: bool = False


@runtime_checkable
class Engine(Protocol):
    """Translates texts from one language into another."""

    @property
    def name(self) -> str:
        """What provenance records: "facebook/nllb-200-distilled-1.3B"."""

    @property
    def licence(self) -> str:
        """SPDX-like licence that the engine puts on its output; "" where it puts none."""

    @property
    def identity(self) -> str:
        """All that its outputs follow from (weights, settings, prompt), as one text."""

    def check(self, source: str, targets: Sequence[str]) -> None:
        """Refuse languages, FLORES-200 codes, that it can't do.

        Raises:
            LanguageError: with the nearest that it can.
        """

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        """One output for each of `texts`, in their order; batches are the engine's business.

        Args:
            texts: sentences or short texts, none empty.
            source, target: FLORES-200 codes, different ones.

        Raises:
            TranslationError: the engine can't go on; an EngineError holds what it had made of `texts` by then.
        """


@runtime_checkable
class Portioned(Protocol):
    """An engine that hands outputs over as they come, so that little is lost when it is stopped."""

    def portions(self, texts: Sequence[str], source: str, target: str) -> Iterator[Mapping[str, Output]]:
        """Outputs of some texts at a time, in whatever order, until each has one.

        Args:
            texts, source, target: as in `Engine.translate`; no text twice.

        Raises:
            TranslationError: the engine can't go on; what came before holds.
        """


@runtime_checkable
class Remembering(Protocol):
    """An engine that has what people have translated."""

    def remembered(self, texts: Sequence[str], source: str, target: str) -> dict[str, Output]:
        """Their translations of those of `texts` that it has: of any length, with whatever is in them.

        Raises:
            TranslationError, DataError: it can't be read.
        """


def portions_of(engine: Engine, texts: Sequence[str], source: str, target: str) -> Generator[dict[str, Output]]:
    """What an engine says, as it comes; all at once where it doesn't say it in portions.

    Args:
        texts, source, target: as in `Engine.translate`; no text twice.

    Raises:
        TranslationError: the engine can't go on, or has more or fewer outputs than texts; what came before holds.
    """
    if isinstance(engine, Portioned):
        given = 0
        for some in engine.portions(texts, source, target):
            given += len(some)
            yield _whole(some)
    else:
        try:
            said = engine.translate(texts, source, target)
        except EngineError as error:
            yield _whole(error.made)
            raise EngineError(error.message, hint=error.hint) from error
        given = len(said)
        if given == len(texts):
            yield _whole(dict(zip(texts, said, strict=True)))
    if given != len(texts):
        raise TranslationError(
            f"engine {engine.name} gave {given} outputs for {len(texts)} texts",
            hint="This is a mistake of the engine; use another one, or mend it if it's yours.",
        )


def collected(portions: Iterable[Mapping[str, Output]], texts: Sequence[str]) -> list[Output]:
    """Portions as `Engine.translate` has them. Raises EngineError: the engine can't go on; with what came before."""
    made: dict[str, Output] = {}
    try:
        for some in portions:
            made |= some
    except EngineError as error:
        raise EngineError(error.message, hint=error.hint, made=made | error.made) from error
    return [made[text] for text in texts]


def is_whole(text: str) -> bool:
    """Whether a text has no half characters: surrogates that stand alone."""
    return text.isascii() or _HALF.search(text) is None


def _whole(outputs: Mapping[str, Output]) -> dict[str, Output]:
    """Without texts that no file can hold."""
    return {text: _mended(one) for text, one in outputs.items()}


def _mended(one: Output) -> Output:
    if one.reason is not None and not is_whole(one.reason):
        one = replace(one, reason=one.reason.encode(errors="replace").decode())
    if one.text is not None and not is_whole(one.text):
        return replace(one, text=None, finished=False, reason=f"{HALF}: {one.text[:120]!a}")
    return one


ENGINES: Registry[Callable[..., Engine]] = Registry(
    "translation engine",
    modules=(
        "visiglot.translate.engines.ct2",
        "visiglot.translate.engines.stock",
        "visiglot.translate.engines.openai",
        "visiglot.translate.engines.memory",
    ),
)
"""name -> factory(**options) -> Engine. Options are typed keyword arguments (`data.source.factory_problems`)."""

"""What a translation engine is, and the table of engines.

An engine is asked for sentences that hold nothing but words: what must survive (`protect`) and where sentences end
(`sentences`) is settled before. It says of each output whether it came to its end, so that nothing is cut unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from visiglot.registry import Registry


@dataclass(frozen=True, slots=True)
class Output:
    """What an engine says for one text.

    Args:
        text: the translation; None where the engine has none, as a translation memory may.
        finished: whether it came to its end by itself; False: it was stopped at the longest that is allowed.
        engine: who made it, where an engine asks others; None: the engine itself.
        reason: why there is no text, or not all of it, where the engine knows.
    """

    text: str | None
    finished: bool = True
    engine: str | None = None
    reason: str | None = None


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

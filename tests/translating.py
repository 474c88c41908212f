"""An engine and filters whose outputs can be told from their inputs, for tests of what is around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from visiglot.errors import LanguageError, TranslationError
from visiglot.translate.engine import ENGINES, Output

UNKNOWN = "xylophone"
"""A word that the engine has no translation of, alone or in a sentence."""

CHANGED = "bank"
"""A label that comes back as another one when it is translated back."""


@dataclass
class Marked:
    """Puts the target's language code before every text; into English it takes it off.

    Args:
        fail_after: calls of `translate` after which it raises.
        before: is called before each call.
    """

    name: str = "tests/marked"
    licence: str = "CC-BY-SA-4.0"
    identity: str = "marked 1"
    fail_after: int | None = None
    before: Callable[[], None] | None = None
    calls: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def check(self, source: str, targets: Sequence[str]) -> None:
        if "epo_Latn" in targets:
            raise LanguageError("language of the engine", "epo_Latn", ["eng_Latn"])

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[Output]:
        assert all(text.strip() for text in texts)
        if self.fail_after is not None and len(self.calls) >= self.fail_after:
            raise TranslationError("the engine is gone")
        if self.before is not None:
            self.before()
        self.calls.append((target, tuple(texts)))
        return [self._one(text, source, target) for text in texts]

    def _one(self, text: str, source: str, target: str) -> Output:
        if text.startswith(f"[{source}] "):
            back = text.removeprefix(f"[{source}] ")
            return Output("bench" if back == CHANGED else back)
        return Output(None if UNKNOWN in text else f"[{target}] {text}")


@dataclass(frozen=True)
class Reason:
    reason: str
    detail: str


class Strict:
    """Rejects texts with the word "rejected"."""

    def reject(self, original: str, translated: str, source: str, target: str, **about: Any) -> Reason | None:
        assert about["finished"]
        if "rejected" in original:
            return Reason("wrong language", f"{translated!r} isn't in {target}")
        return None


def build_marked(*, licence: str = "CC-BY-SA-4.0", fail_after: int | None = None) -> Marked:
    """Joins the table of engines as "marked"."""
    return Marked(licence=licence, fail_after=fail_after)


ENGINES.add("marked", build_marked)

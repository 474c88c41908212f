"""The words that caption and ask put around a picture."""

from __future__ import annotations

from visiglot.errors import PromptError
from visiglot.types import ImageSlot

IMAGE, LANGUAGE = "{image}", "{language}"
ANSWER_IN = " Answer in {language}."


def caption_prompt() -> str:
    """The prompt that models of the built-in recipes learn to caption with."""
    from visiglot.data.nano.prompts import load_prompts

    return load_prompts()["caption"].english[0]


def content(prompt: str, language: str | None) -> tuple[str | ImageSlot, ...]:
    """A user turn about one picture.

    Args:
        prompt: {language} stands for the language's name; {image} for the picture, which stands last otherwise.
        language: English name; None when no language is asked for.

    A space before the picture goes, see `visiglot.data.nano.prompts.fill`.

    Raises:
        PromptError: {image} stands there twice, or {language} although no language is asked for.
    """
    if prompt.count(IMAGE) > 1:
        raise PromptError(
            f"the prompt has {IMAGE} {prompt.count(IMAGE)} times, and one picture to show: {prompt!r}",
            hint="Keep one, or none: the picture then stands last.",
        )
    if language is None and LANGUAGE in prompt:
        raise PromptError(
            f"the prompt has {LANGUAGE}, but no language is asked for: {prompt!r}",
            hint="Name some with --languages, or write the language's name into the prompt.",
        )
    words = prompt if language is None else prompt.replace(LANGUAGE, language)
    before, _, after = words.partition(IMAGE)
    return tuple(part for part in (before.rstrip(" "), ImageSlot(0), after) if part != "")

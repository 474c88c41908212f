"""The words that caption and ask put around a picture."""

from __future__ import annotations

from typing import Any

from visiglot.errors import PromptError
from visiglot.prompts import with_images
from visiglot.types import ImageSlot

LANGUAGE = "{language}"
ANSWER_IN = " Answer in {language}."


def caption_prompt(config: Any = None) -> str:
    """What a model is asked for a caption: what its config says, else what models of the built-in recipes learn."""
    from visiglot.data.nano.prompts import load_prompts

    own = getattr(config, "caption_prompt", None)
    return load_prompts()["caption"].english[0] if own is None else str(own)


def content(
    prompt: str, language: str | None, pictures: int = 1, *, image_first: bool = False
) -> tuple[str | ImageSlot, ...]:
    """A user turn about pictures.

    Args:
        prompt: {language} stands for the language's name; {image} for a picture, see `with_images`.
        language: English name; None when no language is asked for.
        image_first: where one picture stands that the prompt doesn't place: before the words, or after them.

    Raises:
        PromptError: the prompt places another number of pictures, or has {language} although none is asked for.
    """
    if language is None and LANGUAGE in prompt:
        raise PromptError(
            f"the prompt has {LANGUAGE}, but no language is asked for: {prompt!r}",
            hint="Name some with --languages, or write the language's name into the prompt.",
        )
    words = prompt if language is None else prompt.replace(LANGUAGE, language)
    return with_images(words, pictures, first=image_first)

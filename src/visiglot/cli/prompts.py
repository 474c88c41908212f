"""The words that caption and ask put around a picture."""

from __future__ import annotations

from visiglot.errors import PromptError
from visiglot.prompts import LANGUAGE, LAST, Content, with_images
from visiglot.types import Placing


def content(prompt: str, language: str | None, pictures: int = 1, placing: Placing = LAST) -> Content:
    """A user turn about pictures.

    Args:
        prompt: {language} stands for the language's name; {image} for a picture, see `with_images`.
        language: English name; None when no language is asked for.
        placing: where the model reads pictures that the prompt doesn't place.

    Raises:
        PromptError: the prompt places another number of pictures, or has {language} although none is asked for.
    """
    if language is None and LANGUAGE in prompt:
        raise PromptError(
            f"the prompt has {LANGUAGE}, but no language is asked for: {prompt!r}",
            hint="Name some with --languages, or write the language's name into the prompt.",
        )
    words = prompt if language is None else prompt.replace(LANGUAGE, language)
    return with_images(words, pictures, placing)

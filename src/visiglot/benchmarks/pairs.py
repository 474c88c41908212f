"""Pictures and captions that belong together, as questions of retrieval in both directions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from visiglot.evaluate.retrieval import TO_IMAGE, TO_TEXT
from visiglot.types import Example, ImageRef, ImageSlot, Message

METRICS = dict.fromkeys((TO_IMAGE, TO_TEXT), ("recall@1", "recall@5", "recall@10", "recall@1-chance", "candidates"))


def by_picture(example: Example) -> str:
    """What a limit doesn't part: a picture with its captions."""
    return example.group


def examples_of(pairs: Sequence[tuple[ImageRef, str]], language: str) -> Iterator[Example]:
    """For each pair a question for the picture, and for each picture one for its captions.

    Captions are called by their place among the pairs. Pictures are one when their names are.
    """
    refs = {ref.name: ref for ref, _ in pairs}
    of_picture: dict[str, list[str]] = {name: [] for name in refs}
    for number, (ref, caption) in enumerate(pairs):
        id = f"text/{number}"
        of_picture[ref.name].append(id)
        yield Example(
            id=id,
            messages=(Message("user", (caption,)),),
            language=language,
            images=(refs[ref.name],),
            references=(ref.name,),
            task=TO_IMAGE,
            group=ref.name,
            facts={"candidates": str(len(refs))},
        )
    for name, ids in of_picture.items():
        yield Example(
            id=f"picture/{name}",
            messages=(Message("user", (ImageSlot(0),)),),
            language=language,
            images=(refs[name],),
            references=tuple(ids),
            task=TO_TEXT,
            group=name,
            facts={"candidates": str(len(pairs))},
        )

"""Multi30k, Flickr30k captions and their translations by people (Elliott et al., 2016, arXiv 1605.00459)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.rows import Row
from visiglot.data.rows.lines import LineRows
from visiglot.errors import DataError
from visiglot.languages import ENGLISH, language
from visiglot.types import Example

CODES = ("en", "de", "fr", "cs")

_PICTURE = "picture"
"""The field that the list of pictures becomes."""


@adapter("multi30k", title="Multi30k, task 1 (translations)", licence=None, own_languages=True)
def multi30k(
    origin: Origin,
    *,
    folder: Path,
    images: Path,
    split: str = "train",
    codes: list[str] | None = None,
    image_list: Path | None = None,
) -> Reading:
    """One example for each line and language of `train.en`, `train.de`, … in `folder`, which may be packed (.gz).

    `codes` are the languages, by the files' endings; default: those of en, de, fr and cs whose file is there.
    `image_list` has the picture's name in each line; default: `train.txt` or `train_images.txt` in `folder`, or in
    `image_splits` in or beside it. All files must have the same number of lines. The English line of a translated
    caption is kept as the fact "source.caption".
    """
    texts = {code: file for code in codes or CODES if (file := _file(folder, f"{split}.{code}", codes is not None))}
    if not texts:
        raise DataError(
            f"there is no {split}.en, {split}.de, {split}.fr or {split}.cs in {folder}", hint="See `split`."
        )
    rows = LineRows({_PICTURE: image_list or _list_of(folder, split), **texts})
    pictures = Pictures(images)
    languages = {code: language(code).code for code in texts}
    english = next((code for code in texts if languages[code] == ENGLISH), None)

    def examples(row: Row) -> Sequence[Example]:
        ref = pictures.ref(row, _PICTURE, rows.where(row, _PICTURE).text(_PICTURE))
        found = []
        for code in texts:
            caption = rows.where(row, code).text(code)
            example = origin.caption(f"{split}-{row.where.number}-{code}", ref, caption, language=languages[code])
            if english is not None and code != english:
                original = {"source.caption": rows.where(row, english).text(english)}
                example = replace(example, facts={**example.facts, **original})
            found.append(example)
        return found

    return Reading(rows, examples)


def _file(folder: Path, name: str, needed: bool) -> Path | None:
    found = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if found is None and needed:
        raise DataError(f"there is no {name} or {name}.gz in {folder}", hint="See `folder`, `split` and `codes`.")
    return found


def _list_of(folder: Path, split: str) -> Path:
    names = (f"{split}.txt", f"{split}_images.txt")
    places = (folder, folder / "image_splits", folder.parent / "image_splits")
    found = next((path for place in places for name in names if (path := place / name).is_file()), None)
    if found is None:
        raise DataError(
            f"there is no {' or '.join(names)} in {folder}, nor in image_splits in or beside it",
            hint="Name the list of pictures in `image_list`.",
        )
    return found

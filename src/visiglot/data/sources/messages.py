"""Conversations as `messages` with `images`: what TRL, LLaMA-Factory and OpenAI's interface have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.conversations import MARK, Conversation, Turn, check_marks, check_turns
from visiglot.data.rows import JsonRows, Row
from visiglot.data.rows.numbered import NumberedRows
from visiglot.types import Example, ImageRef, Role

ROLES: tuple[Role, ...] = get_args(Role)


@adapter("messages", title="`messages` with `images` (TRL, OpenAI)", licence=None, own_languages=True)
def messages(origin: Origin, *, path: Path, images: Path | None = None) -> Reading:
    """One example for each conversation in a list of rows, or a row a line (.jsonl), with `messages` and `images`.

    A message has `role` (system, user, assistant) and `content`: a text with `<image>` where a picture stands, or a
    list of parts, `{"type": "text", "text"}`, `{"type": "image"}` and `{"type": "image_url", "image_url": {"url"}}`.
    `images` of a row has the pictures in their order, each a path or `{"path"}`; the part of a picture may also name
    its own (`image`, `path`, `url`). Pictures that stand nowhere come first. A row may have `id` and `language`.

    The option `images` is the folder of the pictures, by default the file's; all are paths below it, none is fetched.
    """
    pictures = Pictures(images or path.parent)

    def examples(row: Row) -> Sequence[Example]:
        turns: list[Turn] = []
        marked: list[ImageRef | None] = []
        for one in row.rows("messages"):
            text, own = _said(one, pictures)
            turns.append(Turn(_role(one), text, one, "role"))
            marked += own
        check_turns(turns)
        listed = [_ref(row, f"images[{n}]", value, pictures) for n, value in enumerate(_listed(row))]
        if marked:
            check_marks(row, "images", marked.count(None), len(listed))
            following = iter(listed)
            listed = [ref or next(following) for ref in marked]
        id = row.key if row.get("id") is None else f"{row.name('id')}#{row.key}"
        conversation = Conversation(id, turns, listed, row.language("language", default=origin.language))
        return conversation.examples(origin)

    return Reading(NumberedRows(JsonRows(path)), examples)


def _role(row: Row) -> Role:
    role = row.text("role")
    for known in ROLES:
        if role == known:
            return known
    raise row.error("role", f"must be one of {', '.join(ROLES)}, found {role!r}")


def _said(row: Row, pictures: Pictures) -> tuple[str, list[ImageRef | None]]:
    """A message's text with marks, and for each mark the picture that it names itself."""
    shows = _role(row) == "user"
    if isinstance(row.need("content"), str):
        text = row.text("content")
        return text, [None] * text.count(MARK) if shows else []
    written: list[str] = []
    own: list[ImageRef | None] = []
    for part in row.rows("content"):
        kind = part.text("type")
        if kind == "text":
            text = part.need("text")
            if not isinstance(text, str):
                raise part.error("text", "must be a text")
            own += [None] * text.count(MARK) if shows else []
        elif kind in ("image", "image_url") and shows:
            value = part.get("image_url", "image", "path", "url")
            own.append(None if value is None else _ref(part, kind, value, pictures))
            text = MARK
        else:
            raise part.error(
                "type", f"is {kind!r}; a turn may have text, and image or image_url where it is the user's"
            )
        written.append(text)
    said = "".join(written).strip()
    if not said:
        raise row.error("content", "is empty")
    return said, own


def _listed(row: Row) -> Sequence[Any]:
    value = row.get("images", "image")
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _ref(row: Row, name: str, value: Any, pictures: Pictures) -> ImageRef:
    """The picture that a path, or an object with a path, means."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in ("path", "url") if value.get(key) is not None), None)
    if not isinstance(value, str) or not value:
        raise row.error(name, "must be a path, or an object with `path`")
    if value.startswith("data:") or "://" in value:
        raise row.error(
            name,
            f"is no path: {value[:60]!r}",
            hint="Pictures are read from files; save this one below the folder of the pictures and name its path.",
        )
    return pictures.ref(row, name, value)

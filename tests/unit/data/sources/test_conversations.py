"""Conversations: pictures stand where the file says, questions keep their answers, and what is wrong has a place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visiglot.data.source import Source, build_source
from visiglot.errors import DataError
from visiglot.types import Example, ImageSlot

A, B = ImageSlot(0), ImageSlot(1)


def opened(type_: str, folder: Path, *rows: dict[str, Any], suffix: str = ".json", **options: Any) -> Source:
    path = folder / f"rows{suffix}"
    text = "\n".join(map(json.dumps, rows)) if suffix == ".jsonl" else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    return build_source(type_, {"path": str(path), **options}, languages=["eng_Latn", "swh_Latn"], seed=0)


def llava(folder: Path, image: Any, *said: str, **options: Any) -> list[Example]:
    turns = [{"from": "gpt" if n % 2 else "human", "value": text} for n, text in enumerate(said)]
    row = {"id": "x", "conversations": turns} | ({} if image is None else {"image": image})
    source = opened("llava", folder, row, **options)
    return [source[index] for index in range(len(source))]


def asked(example: Example) -> list[tuple[object, ...]]:
    return [message.content for message in example.messages if message.role == "user"]


@pytest.mark.parametrize(
    ("image", "question", "content"),
    [
        ("a", "<image>\nWhat?", (A, "What?")),
        ("a", "What?\n<image>", ("What?", A)),
        ("a", "What?\n <image> \n", ("What?", A)),
        ("a", "What is on <image> here?", ("What is on ", A, " here?")),
        ("a", "What?", (A, "What?")),
        (["a", "b"], "What?", (A, B, "What?")),
        (["a", "b"], "<image>\n<image>\nWhat?", (A, B, "What?")),
        (["a", "b"], "<image><image>What?", (A, B, "What?")),
        (["a", "b"], "Left: <image>\nright: <image>", ("Left: ", A, "right: ", B)),
        (["a"], "<image>", (A,)),
        (None, "A line\nand another.", ("A line\nand another.",)),
        ([], "What?", ("What?",)),
        ("", "What?", ("What?",)),
    ],
)
def test_pictures_stand_at_their_marks(tmp_path: Path, image: Any, question: str, content: tuple[object, ...]) -> None:
    (example,) = llava(tmp_path, image, question, "An answer.")
    assert asked(example) == [content]
    assert len(example.images) == sum(isinstance(part, ImageSlot) for part in content)


def test_marks_are_counted_over_all_turns(tmp_path: Path) -> None:
    (example,) = llava(tmp_path, ["a", "b"], "<image>\nFirst?", "One.", "And <image>?", "Two.", "Why?", "Thus.")
    assert asked(example) == [(A, "First?"), ("And ", B, "?"), ("Why?",)]
    assert [ref.name for ref in example.images] == ["a", "b"]
    assert [message.role for message in example.messages] == ["user", "assistant"] * 3
    assert example.facts == {}


def test_a_mark_in_an_answer_is_text(tmp_path: Path) -> None:
    (example,) = llava(tmp_path, "a", "<image>\nWhich tag is it?", "It is <image>.")
    assert example.messages[1].content == ("It is <image>.",)


def test_turns_alone_have_their_own_answers_and_the_pictures_seen_so_far(tmp_path: Path) -> None:
    examples = llava(
        tmp_path, ["a", "b"], "<image>\nFirst?", "One.", "And <image>", "Two.", "Why?", "Thus.", split_turns=True
    )
    assert [example.id for example in examples] == ["x#0/0", "x#0/1", "x#0/2"]
    assert [asked(example) for example in examples] == [[(A, "First?")], [(A, "And ", B)], [(A, B, "Why?")]]
    assert [len(example.images) for example in examples] == [1, 2, 2]
    assert [example.facts for example in examples] == [
        {"question": "First?", "answer": "One."},
        {"question": "And", "answer": "Two."},
        {"question": "Why?", "answer": "Thus."},
    ]


def test_turns_alone_all_have_pictures_that_stand_nowhere(tmp_path: Path) -> None:
    examples = llava(tmp_path, ["a", "b"], "First?", "One.", "Why?", "Thus.", split_turns=True)
    assert [asked(example) for example in examples] == [[(A, B, "First?")], [(A, B, "Why?")]]


def test_a_turn_before_the_first_picture_has_none(tmp_path: Path) -> None:
    examples = llava(tmp_path, "a", "Ready?", "Yes.", "<image>\nWhat?", "A cat.", split_turns=True)
    assert [(asked(example)[0], len(example.images)) for example in examples] == [(("Ready?",), 0), ((A, "What?"), 1)]


def test_long_answers_are_left_out_by_their_full_stops(tmp_path: Path) -> None:
    said = ("Q1?", "One. Two. Three.", "Q2?", "One. Two. Three. 4.0", "Q3?", "None")
    kept = llava(tmp_path, "a", *said, split_turns=True, max_sentences=3)
    assert [example.id for example in kept] == ["x#0/0", "x#0/2"]
    assert [example.facts["answer"] for example in kept] == ["One. Two. Three.", "None"]
    assert llava(tmp_path, "a", *said, max_sentences=3) == []


def test_the_words_are_no_fact_where_pictures_stand_amid_them(tmp_path: Path) -> None:
    assert llava(tmp_path, "a", "Is <image> red?", "Yes.")[0].facts == {"answer": "Yes."}
    assert llava(tmp_path, "a", "<image>\nRed?", "Yes.")[0].facts == {"question": "Red?", "answer": "Yes."}


def test_a_system_turn_stays_with_every_question(tmp_path: Path) -> None:
    turns = [("system", "Be brief."), ("human", "A?"), ("gpt", "a"), ("human", "B?"), ("gpt", "b")]
    row = {"id": "x", "conversations": [{"from": who, "value": text} for who, text in turns]}
    source = opened("llava", tmp_path, row, split_turns=True)
    for index, words in enumerate([["Be brief.", "A?", "a"], ["Be brief.", "B?", "b"]]):
        assert [message.text for message in source[index].messages] == words
        assert source[index].messages[0].role == "system"


def test_a_name_that_repeats_gives_other_ids(tmp_path: Path) -> None:
    row = {"id": "x", "conversations": [{"from": "human", "value": "A?"}, {"from": "gpt", "value": "a"}]}
    source = opened(
        "llava", tmp_path, row, {**row, "id": 5, "language": "sw"}, row, {**row, "id": None}, suffix=".jsonl"
    )
    assert [source[index].id for index in range(4)] == ["x#0", "5#1", "x#2", "3"]
    assert source.by_language["swh_Latn"].tolist() == [1]


@pytest.mark.parametrize(
    ("image", "who", "said"),
    [
        ("a", ["gpt", "human", "gpt"], r"`conversations\[0\].from`: is the assistant, where the user must speak"),
        ("a", ["human", "human", "gpt"], r"`conversations\[1\].from`: is the user, where the assistant must speak"),
        ("a", ["human", "gpt", "human"], r"`conversations\[2\].from`: is the user; the last word must be the assis"),
        ("a", ["human", "gpt", "system"], r"`conversations\[2\].from`: is the system, where the user must speak"),
        ("a", ["system"], r"`conversations\[0\].from`: is the system; the last word"),
        ("a", ["human", "bot"], r"`conversations\[1\].from`: must be one of human, .*, found 'bot'"),
        ("a", [], r"`conversations`: must be a list with something in it"),
        (["a", 5], ["human", "gpt"], r"`image\[1\]`: must be a text, found 5"),
        (7, ["human", "gpt"], r"`image`: must be a list"),
    ],
)
def test_what_is_no_conversation_is_named_by_its_field(tmp_path: Path, image: Any, who: list[str], said: str) -> None:
    row = {"id": "x", "image": image, "conversations": [{"from": one, "value": "Words."} for one in who]}
    with pytest.raises(DataError, match=rf"rows.json, line 1, field {said}"):
        opened("llava", tmp_path, row)


@pytest.mark.parametrize(
    ("image", "question", "said"),
    [
        ("a", "<image><image>?", "has 1 picture, but <image> stands 2 times"),
        (["a", "b"], "<image>?", "has 2 pictures, but <image> stands 1 time"),
        (None, "<image>?", "has 0 pictures, but <image> stands 1 time"),
    ],
)
def test_marks_and_pictures_agree_in_number(tmp_path: Path, image: Any, question: str, said: str) -> None:
    with pytest.raises(DataError, match=rf"rows.json, line 1, field `image`: {said}"):
        llava(tmp_path, image, question, "An answer.")


# --- messages --------------------------------------------------------------------------------------------------------


def message(content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": content}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def read(folder: Path, content: Any, **fields: Any) -> Example:
    return opened("messages", folder, {"messages": [message(content), message("Yes.", "assistant")], **fields})[0]


@pytest.mark.parametrize(
    ("content", "images", "found", "names"),
    [
        ("<image> or <image>?", ["a", "b"], (A, " or ", B, "?"), ["a", "b"]),
        (
            [text("This "), {"type": "image"}, text(" or "), {"type": "image"}],
            ["a", "b"],
            ("This ", A, " or ", B),
            ["a", "b"],
        ),
        ([{"type": "image", "image": "c"}, {"type": "image"}, text("Red?")], ["a"], (A, B, "Red?"), ["c", "a"]),
        ([{"type": "image"}, text("\nRed?")], "a", (A, "Red?"), ["a"]),
        ([{"type": "image_url", "image_url": {"url": "d/c"}}, text("Red?")], None, (A, "Red?"), ["d/c"]),
        ([{"type": "image_url", "image_url": "c"}], None, (A,), ["c"]),
        ([text("<image>\nRed?")], [{"path": "a", "bytes": None}], (A, "Red?"), ["a"]),
        ("Red?", ["a", "b"], (A, B, "Red?"), ["a", "b"]),
    ],
)
def test_contents_are_read(
    tmp_path: Path, content: Any, images: Any, found: tuple[object, ...], names: list[str]
) -> None:
    example = read(tmp_path, content, images=images)
    assert asked(example) == [found]
    assert [ref.name for ref in example.images] == names
    assert [ref.path for ref in example.images] == [tmp_path / name for name in names]


@pytest.mark.parametrize(
    ("content", "images", "said"),
    [
        ([text("A?"), {"type": "image"}], [], "`images`: has 0 pictures, but <image> stands 1 time"),
        ([{"type": "image", "path": "c"}, text("A?")], ["a"], "`images`: has 1 picture, but <image> stands 0 times"),
        ("A?", ["http://x.org/a.jpg"], r"`images\[0\]`: is no path"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}], [], "image_url`: is no path"),
        ("A?", [{"bytes": "AA"}], r"`images\[0\]`: must be a path"),
        ([{"type": "video"}], [], r"`messages\[0\].content\[0\].type`: is 'video'"),
        ([text(" ")], [], r"`messages\[0\].content`: is empty"),
        ([{"type": "text", "text": 5}], [], r"`messages\[0\].content\[0\].text`: must be a text"),
        ("", [], r"`messages\[0\].content`: is empty"),
        ({"a": 1}, [], r"`messages\[0\].content`: must be a list"),
    ],
)
def test_contents_that_cannot_be_read_are_named(tmp_path: Path, content: Any, images: Any, said: str) -> None:
    with pytest.raises(DataError, match=f"rows.json, line 1, field .*{said}"):
        read(tmp_path, content, images=images)


def test_roles_are_closed_and_only_users_show_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`messages\[1\].role`: must be one of system, user, assistant, found 'tool'"):
        opened("messages", tmp_path, {"messages": [message("A?"), message("b", "tool")]})
    with pytest.raises(DataError, match=r"`messages\[1\].content\[0\].type`: is 'image'"):
        opened("messages", tmp_path, {"messages": [message("A?"), message([{"type": "image"}], "assistant")]})

"""Conversations about pictures, and BLIP's captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.formats import Expected, Fixture, picture, replace_in, write_list


def turns(*said: str) -> list[dict[str, str]]:
    return [{"from": "gpt" if number % 2 else "human", "value": text} for number, text in enumerate(said)]


def llava(folder: Path) -> Fixture:
    """What LLaVA's files have, several pictures, Pangea's language, and no picture at all."""
    path = folder / "llava_instruct.json"
    picture(folder / "train2017", "000000033471.jpg", "000000052846.jpg", "a/000000334872.jpg")
    write_list(
        path,
        [
            {
                "id": "000000033471",
                "image": "000000033471.jpg",
                "conversations": turns(
                    "<image>\nWhat are the colors of the bus in the image?",
                    "The bus in the image is white and red.",
                    "What feature can be seen on the back of the bus?",
                    "The back of the bus features an advertisement.",
                ),
            },
            {
                "id": "000000033471",
                "image": ["000000033471.jpg", "000000052846.jpg"],
                "conversations": turns("Is <image> like <image>?", "No."),
                "language": "en",
            },
            {
                "id": "000000052846",
                "image": "000000052846.jpg",
                "conversations": turns("Wo ist die Katze?\n<image>", "Im Wald."),
                "language": "de",
            },
            {"id": "wgByO4Y_0", "model": "", "conversations": turns("Who are you?", "An assistant.")},
            {"id": 7, "image": ["a/000000334872.jpg"], "conversations": turns("Describe it.", "A snowy hill.")},
        ],
    )
    question = "What are the colors of the bus in the image?"
    asked = f"{question} | What feature can be seen on the back of the bus?"
    answer = "The bus in the image is white and red. | The back of the bus features an advertisement."
    return Fixture(
        options={"path": str(path), "images": str(folder / "train2017")},
        expected=(
            Expected("000000033471#0", ("000000033471.jpg",), asked, answer),
            Expected(
                "000000033471#1",
                ("000000033471.jpg", "000000052846.jpg"),
                "Is  like ?",
                "No.",
                facts={"answer": "No."},
            ),
            Expected(
                "000000052846#2",
                ("000000052846.jpg",),
                "Wo ist die Katze?",
                "Im Wald.",
                "deu_Latn",
                facts={"question": "Wo ist die Katze?", "answer": "Im Wald."},
            ),
            Expected("wgByO4Y_0#3", (), "Who are you?", "An assistant."),
            Expected("7#4", ("a/000000334872.jpg",), "Describe it.", "A snowy hill."),
        ),
        spoil=lambda: replace_in(path, "Is <image> like <image>?", "Is <image> like it?"),
        spoilt=r"llava_instruct.json, line 2, field `image`: has 2 pictures, but <image> stands 1 time",
        lost=("000000033471#1",),
        escape=lambda: replace_in(path, '"a/000000334872.jpg"', '"a/../../000000334872.jpg"'),
    )


def sharegpt4v(folder: Path) -> Fixture:
    """Paths begin with the data set that the picture is from."""
    path = folder / "sharegpt4v_instruct_gpt4-vision_cap100k.json"
    names = ("coco/train2017/000000000009.jpg", "sam/images/sa_545504.jpg")
    picture(folder / "data", *names)
    what = "What do you see happening in this image?"
    details = "Describe this image in details."
    write_list(
        path,
        [
            {
                "id": "000000000009",
                "image": names[0],
                "conversations": turns(f"{what}\n<image>", "In the center, a blue tray.\n\nThe tray has four parts."),
            },
            {"id": "sa_545504", "image": names[1], "conversations": turns(f"<image>\n{details}", "A sculpture.")},
        ],
    )
    tray = "In the center, a blue tray.\n\nThe tray has four parts."
    return Fixture(
        options={"path": str(path), "images": str(folder / "data")},
        expected=(
            Expected("000000000009#0", names[:1], what, tray, facts={"question": what, "answer": tray}),
            Expected("sa_545504#1", names[1:], details, "A sculpture."),
        ),
        spoil=lambda: replace_in(path, '"value": "A sculpture."', '"value": " "'),
        spoilt=r"cap100k.json, line 2, field `conversations\[1\].value`: is empty",
        lost=("sa_545504#1",),
        escape=lambda: replace_in(path, names[1], "/sam/images/sa_545504.jpg"),
    )


def messages(folder: Path) -> Fixture:
    """The ways to write content, in lines of JSON."""
    path = folder / "train.jsonl"
    picture(folder, "images/1.png", "images/2.png", "images/3.png")
    text = {"type": "text", "text": "Which is red?"}
    rows: list[dict[str, Any]] = [
        {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
                {"role": "user", "content": [{"type": "image"}, {"type": "image", "text": None}, text]},
                {"role": "assistant", "content": [{"type": "text", "text": "The first."}]},
            ],
            "images": ["images/1.png", "images/2.png"],
        },
        {
            "id": "b",
            "messages": [
                {"role": "user", "content": "<image>\nWas ist das?"},
                {"role": "assistant", "content": "Ein Kreis."},
            ],
            "images": [{"path": "images/2.png"}],
            "language": "German",
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "And "},
                        {"type": "image_url", "image_url": {"url": "images/3.png"}},
                        {"type": "text", "text": " here?"},
                    ],
                },
                {"role": "assistant", "content": "A bar."},
                {"role": "user", "content": "Sure?"},
                {"role": "assistant", "content": "Yes."},
            ]
        },
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return Fixture(
        options={"path": str(path)},
        expected=(
            Expected(
                "0",
                ("images/1.png", "images/2.png"),
                "Which is red?",
                "The first.",
                facts={"question": "Which is red?", "answer": "The first."},
            ),
            Expected("b#1", ("images/2.png",), "Was ist das?", "Ein Kreis.", "deu_Latn"),
            Expected("2", ("images/3.png",), "And  here? | Sure?", "A bar. | Yes."),
        ),
        spoil=lambda: replace_in(path, "Was ist das?", "<image>?"),
        spoilt=r"train.jsonl, line 2, field `images`: has 1 picture, but <image> stands 2 times",
        lost=("b#1",),
        escape=lambda: replace_in(path, '"images/3.png"', '"../3.png"'),
    )


def capfilt(folder: Path) -> Fixture:
    """BLIP's rows, and those that `visiglot data filter` writes; a picture is named by its row's position."""
    path = folder / "ccs_synthetic_filtered_large.json"
    picture(folder / "images", "00000000.jpg", "00000002.jpg", "kept/17.jpg")
    write_list(
        path,
        [
            {"url": "http://img.example.org/1.jpg", "caption": "a wooden chair"},
            {"url": "http://img.example.org/2.jpg", "image": "kept/17.jpg", "caption": "a red car in the rain"},
            {"url": "http://img.example.org/3.jpg", "caption": "the view of a pool with palm trees"},
        ],
    )
    return Fixture(
        options={"path": str(path), "images": str(folder / "images")},
        expected=(
            Expected("0", ("00000000.jpg",), "", "a wooden chair", facts={"caption": "a wooden chair"}),
            Expected("1", ("kept/17.jpg",), "", "a red car in the rain"),
            Expected("2", ("00000002.jpg",), "", "the view of a pool with palm trees"),
        ),
        spoil=lambda: replace_in(path, '"a red car in the rain"', "null"),
        spoilt=r"ccs_synthetic_filtered_large.json, line 2, field `caption`: is missing",
        lost=("1",),
        escape=lambda: replace_in(path, "kept/17.jpg", "../17.jpg"),
    )


FIXTURES = {"llava": llava, "sharegpt4v": sharegpt4v, "messages": messages, "capfilt": capfilt}

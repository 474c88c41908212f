"""mBLIP's and Centurio's task files."""

from __future__ import annotations

import json
from pathlib import Path

from tests.formats import Expected, Fixture, picture, replace_in


def mblip(folder: Path) -> Fixture:
    """`task_mix_v2_mt.json`, written as `json.dump(…, indent=2, ensure_ascii=False)` does."""
    path = folder / "mix.json"
    picture(folder / "coco", "COCO_train2014_000000000009.jpg", "COCO_train2014_000000000025.jpg")
    picture(folder / "web", "00001234.jpg")
    picture(folder / "imagenet", "n01440764/n01440764_10026.JPEG")
    rows = [
        ("Short German image caption: ", "Eine weiße Tasse.", "00001234.jpg"),
        ("What is written in German? Short English answer:", "stop", "COCO_train2014_000000000009.jpg"),
        (
            "From the image provided, come up with a Swahili question that leads to the reply: no. Question:",
            "Je, kuna paka?",
            "COCO_train2014_000000000025.jpg",
        ),
        ("What is in the image? Answer briefly in Chinese.", "丁鱥", "n01440764/n01440764_10026.JPEG"),
        ("Summarize the image in Chinese.", "一個白色的杯子。", "00001234.jpg"),
        ("อธิบายภาพสั้นๆ", "ถ้วยสีขาว", "00001234.jpg"),
        ("Кратко опишите изображение.", "Белая чашка.", "00001234.jpg"),
        ("Is there a tench?", "Yes, there is.", "n01440764/n01440764_10026.JPEG"),
    ]
    text = json.dumps(
        [dict(zip(("context", "label", "image_id"), row, strict=True)) for row in rows], indent=2, ensure_ascii=False
    )
    path.write_text(text, encoding="utf-8")
    codes = ("deu_Latn", "eng_Latn", "swh_Latn", "zho_Hans", "zho_Hant", "tha_Thai", "", "eng_Latn")
    return Fixture(
        options={"path": str(path), **{name: str(folder / name) for name in ("coco", "web", "imagenet")}},
        expected=tuple(
            Expected(
                str(number),
                (name,),
                prompt.strip(),
                label,
                code,
                facts={"question": prompt.strip(), "answer": label},
                references=(label,),
            )
            for number, ((prompt, label, name), code) in enumerate(zip(rows, codes, strict=True))
            if code
        ),
        spoil=lambda: replace_in(path, '"Eine weiße Tasse."', '" "'),
        spoilt=r"mix.json, line 2, field `label`: is empty",
        lost=("0",),
        escape=lambda: replace_in(path, '"COCO_train2014_000000000025.jpg"', '"COCO_/../../../x.jpg"'),
    )


def centurio(folder: Path) -> Fixture:
    """A training file, as `example_training.json` of the authors' repository."""
    path = folder / "train.json"
    picture(folder / "images", "0000.jpg", "0000a.jpg", "0000b.jpg")
    rows = [
        {"context": ["What is it?", "And where?"], "label": ["A cup.", "On a table."], "image_id": ["0000.jpg"]},
        {
            "context": ["<image_placeholder><image_placeholder>\nWhat differs?"],
            "label": ["The colour."],
            "image_id": ["0000a.jpg", "0000b.jpg"],
        },
        {
            "context": ["Compare <image_placeholder> and", "this one: <image_placeholder>\nWell?"],
            "label": ["Yes?", "Both are cups."],
            "image_id": ["0000a.jpg", "0000b.jpg"],
        },
        {"context": ["Say hello."], "label": ["Hello."], "image_id": ""},
    ]
    lines = [json.dumps(row) for row in rows]
    path.write_text("[\n" + ",\n".join(lines) + "\n]")
    return Fixture(
        options={"path": str(path), "images": str(folder / "images")},
        expected=(
            Expected("0", ("0000.jpg",), "What is it? | And where?", "A cup. | On a table."),
            Expected(
                "1",
                ("0000a.jpg", "0000b.jpg"),
                "What differs?",
                "The colour.",
                facts={"question": "What differs?", "answer": "The colour."},
            ),
            Expected(
                "2",
                ("0000a.jpg", "0000b.jpg"),
                "Compare  and | this one: Well?",
                "Yes? | Both are cups.",
                references=("Both are cups.",),
            ),
            Expected("3", (), "Say hello.", "Hello."),
        ),
        spoil=lambda: replace_in(path, '["The colour."]', '["The colour.", "x"]'),
        spoilt=r"train.json, line 3, field `label`: must have an answer to each of 1 turns, found 2",
        lost=("1",),
        escape=lambda: replace_in(path, '["0000.jpg"]', '["/etc/passwd"]'),
    )


FIXTURES = {"mblip": mblip, "centurio": centurio}

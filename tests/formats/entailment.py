"""NLVR2 and SNLI-VE."""

from __future__ import annotations

import json
from pathlib import Path

from tests.formats import Expected, Fixture, picture, replace_in


def nlvr2(folder: Path) -> Fixture:
    """`train.json`, which is lines of JSON; a row of the training set has its `directory`, one of the test set none."""
    path = folder / "train.json"
    picture(folder / "images/45", "train-10171-0-img0.png", "train-10171-0-img1.png")
    picture(folder / "images", "test1-0-1-img0.png", "test1-0-1-img1.png")

    def row(identifier: str, label: str, sentence: str, **more: object) -> str:
        urls = {"left_url": "https://a.example/1.jpg", "right_url": "https://a.example/2.jpg"}
        common = {"validation": {"77": label}, "sentence": sentence, "writer": "103", "label": label, **urls}
        return json.dumps({**common, "synset": "beer bottle", "query": "q2", "identifier": identifier, **more})

    lines = [
        row("train-10171-0-0", "True", "Two dogs are asleep.", directory=45),
        row("train-10171-0-1", "False", "There are no dogs.", directory=45),
        row("test1-0-1-0", "False", "A dog stands."),
    ]
    path.write_text("".join(f"{line}\n" for line in lines))
    pair = tuple(f"45/train-10171-0-img{n}.png" for n in (0, 1))
    ask = "Is this true of the two pictures?"
    return Fixture(
        options={"path": str(path), "images": str(folder / "images")},
        expected=(
            Expected(
                "train-10171-0-0",
                pair,
                f"Two dogs are asleep. {ask}",
                "yes",
                facts={"statement": "Two dogs are asleep.", "label": "true"},
            ),
            Expected("train-10171-0-1", pair, f"There are no dogs. {ask}", "no", facts={"label": "false"}),
            Expected("test1-0-1-0", ("test1-0-1-img0.png", "test1-0-1-img1.png"), f"A dog stands. {ask}", "no"),
        ),
        spoil=lambda: replace_in(path, '"label": "True"', '"label": "Maybe"'),
        spoilt=r"train.json, line 1, field `label`: must be True or False, found 'Maybe'",
        lost=("train-10171-0-0",),
        escape=lambda: replace_in(path, '"identifier": "test1-0-1-0"', '"identifier": "../../test1-0-1-0"'),
    )


def snli_ve(folder: Path) -> Fixture:
    """`snli_ve_train.jsonl`; the first annotator differs from the gold label."""
    path = folder / "snli_ve_train.jsonl"
    picture(folder / "flickr30k-images", "3416050480.jpg", "2407091303.jpg")

    def row(image: int, number: str, gold: str, first: str, hypothesis: str) -> str:
        values = {
            "Flickr30K_ID": str(image),
            "annotator_labels": [first, gold, gold, gold, gold],
            "captionID": f"{image}.jpg#4",
            "gold_label": gold,
            "pairID": f"{image}.jpg#4{number}",
            "sentence1": "A person on a horse.",
            "sentence2": hypothesis,
        }
        return json.dumps(values)

    lines = [
        row(3416050480, "r1n", "neutral", "entailment", "A person trains a horse."),
        row(3416050480, "r1c", "contradiction", "neutral", "A person is at a diner."),
        row(3416050480, "r1x", "-", "neutral", "It is cold."),
        row(2407091303, "r1e", "entailment", "neutral", "There is a horse."),
    ]
    path.write_text("\n".join(lines))
    ask = "Is this true of the picture? Yes, no or maybe?"
    return Fixture(
        options={"path": str(path), "images": str(folder / "flickr30k-images")},
        expected=(
            Expected(
                "3416050480.jpg#4r1n",
                ("3416050480.jpg",),
                f"A person trains a horse. {ask}",
                "maybe",
                facts={
                    "premise": "A person on a horse.",
                    "hypothesis": "A person trains a horse.",
                    "label": "neutral",
                },
            ),
            Expected("3416050480.jpg#4r1c", ("3416050480.jpg",), f"A person is at a diner. {ask}", "no"),
            Expected("2407091303.jpg#4r1e", ("2407091303.jpg",), f"There is a horse. {ask}", "yes"),
        ),
        spoil=lambda: replace_in(path, '"gold_label": "contradiction"', '"gold_label": "contradicts"'),
        spoilt=r"snli_ve_train.jsonl, line 2, field `gold_label`: must be entailment, contradiction, neutral or -",
        lost=("3416050480.jpg#4r1c",),
        escape=lambda: replace_in(path, '"Flickr30K_ID": "2407091303"', '"Flickr30K_ID": "../../x"'),
    )


FIXTURES = {"nlvr2": nlvr2, "snli-ve": snli_ve}

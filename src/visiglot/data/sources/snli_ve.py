"""SNLI-VE, visual entailment (Xie et al., 2019, arXiv 1901.06706)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visiglot.data.adapter import Origin, Pictures, Reading, adapter
from visiglot.data.rows import JsonRows, Row
from visiglot.types import Example

ANSWERS = {"entailment": "yes", "contradiction": "no", "neutral": "maybe"}


@adapter("snli-ve", title="SNLI-VE, visual entailment", licence="CC-BY-SA-4.0")
def snli_ve(origin: Origin, *, path: Path, images: Path) -> Reading:
    """One example for each row of `snli_ve_*.jsonl`; `images` is Flickr30k's folder of pictures.

    Rows have `Flickr30K_ID`, `gold_label`, `sentence1` (a caption of the picture), `sentence2` (the hypothesis) and
    `pairID`. The label is `gold_label`, never an annotator's; rows without one ("-") are left out. The licence is
    SNLI's, whose texts these are.
    """
    pictures = Pictures(images)

    def examples(row: Row) -> Sequence[Example]:
        label = row.text("gold_label")
        if label == "-":
            return ()
        if label not in ANSWERS:
            raise row.error("gold_label", f"must be {', '.join(ANSWERS)} or -, found {label!r}")
        name = row.name("Flickr30K_ID", "Flikr30kID").removesuffix(".jpg")
        ref = pictures.ref(row, "Flickr30K_ID", f"{name}.jpg")
        premise, hypothesis = row.text("sentence1"), row.text("sentence2")
        question = f"{hypothesis} Is this true of the picture? Yes, no or maybe?"
        facts = {"premise": premise, "hypothesis": hypothesis, "label": label}
        id = row.name("pairID")
        return [origin.question(id, (ref,), question, ANSWERS[label], task="entailment", **facts)]

    return Reading(JsonRows(path), examples)

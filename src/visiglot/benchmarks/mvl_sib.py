"""MVL-SIB: which sentence has the topic of the pictures, which picture that of the sentences? (Schmidt et al., 2025)

Sentences of SIB-200 in some 200 languages, the same in each, and ten pictures for each of seven topics. Tasks:

- `i2s-1`, `i2s-3`, `i2s-5`: one, three or five pictures of a topic, four sentences to choose from;
- `s2i-1`, `s2i-3`, `s2i-5`: one, three or five sentences, four pictures;
- `mvl-sib-text` is the control without pictures, in which a topic's name stands for them: `t2s`, and `s2t-1`, `s2t-3`,
  `s2t-5`.

As in the paper there are three questions of a kind for each of the 1,004 sentences, and wrong options are of three
other topics. Which they are, and in which order, is drawn here: the same in every language, and other draws than those
of the authors' script. The paper's wording isn't at hand, so there is no prompt set `paper`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

from visiglot.benchmarks.wording import asked_among, words
from visiglot.data.adapter import Pictures
from visiglot.data.rows import Row
from visiglot.data.rows.tables import TableRows
from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.metrics.letters import LETTERS
from visiglot.evaluate.published import (
    Asked,
    Publication,
    PublishedData,
    all_rows,
    lacking,
    open_published,
    picture_folder,
)
from visiglot.languages import all_languages
from visiglot.types import Example, ImageRef

T = TypeVar("T")

FOLDER = "mvl-sib"
REPO = "WueNLP/mvl-sib"
SENTENCES, PICTURES = "data/sib200", "data/images/sib200"
TOPICS = ("entertainment", "geography", "health", "politics", "science", "sports", "travel")
OF_A_TOPIC = 10
"""Pictures."""
SPLITS: dict[str, Sequence[str]] = {"all": ("train", "dev", "test"), "test": ("test",)}
"""Split -> SIB-200's. Nothing was trained on them here; the paper asks about all."""
QUESTIONS = 3
"""Of each kind about a sentence."""
OPTIONS = 4
COUNTS = (1, 3, 5)
TASKS = (*(f"i2s-{count}" for count in COUNTS), *(f"s2i-{count}" for count in COUNTS))
TEXT_TASKS = ("t2s", *(f"s2t-{count}" for count in COUNTS))

PUBLICATION = Publication(
    home=f"https://huggingface.co/datasets/{REPO}",
    layout=f"{SENTENCES}/<FLORES code>/train.tsv, dev.tsv, test.tsv (columns index_id, category, text), and "
    f"{PICTURES}/<topic>_<0 to 9>.jpg",
    texts=(f"{SENTENCES}/*/*.tsv", f"{PICTURES}/*.jpg"),
    pictures=(PICTURES,),
    repo=REPO,
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is asked about a sentence once.

    Args:
        index: of the sentence, over all languages; turn: which question about it.
        topic: its topic; wrong: three others.
        same: sentences of the topic, the sentence itself first; others: one of each wrong topic.
        pictures: numbers of five pictures of the topic; wrong_pictures: of one of each wrong topic.
        place: of the right option.
    """

    index: int
    turn: int
    topic: str
    wrong: tuple[str, ...]
    same: tuple[int, ...]
    others: tuple[int, ...]
    pictures: tuple[int, ...]
    wrong_pictures: tuple[int, ...]
    place: int


def load(tasks: Sequence[str], folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, FOLDER, PUBLICATION)
    pictured = tasks == TASKS
    pictures = picture_folder(FOLDER, folder, PUBLICATION) if pictured else Pictures(folder)
    if pictured:
        names = [f"{topic}_{number}.jpg" for topic in TOPICS for number in range(OF_A_TOPIC)]
        if missing := next((name for name in names if not (folder / PICTURES / name).is_file()), None):
            raise lacking(FOLDER, folder, f"{PICTURES}/{missing}", PUBLICATION)
    known = [language.code for language in all_languages()]
    files = {code: folder / SENTENCES / code / "test.tsv" for code in known}
    files = {code: file for code, file in files.items() if file.is_file()}
    if not files:
        raise lacking(FOLDER, folder, f"{SENTENCES}/<FLORES code>/test.tsv", PUBLICATION)
    return PublishedData(
        revision,
        dict.fromkeys(SPLITS, files),
        lambda asked: _examples(asked, tasks, pictures),
        PUBLICATION.home,
        unit=lambda example: example.id.partition("/")[2],
    )


def _examples(wanted: Asked, tasks: Sequence[str], pictures: Pictures) -> Iterator[Example]:
    texts, topics = read_sentences([wanted.file.with_name(f"{part}.tsv") for part in SPLITS[wanted.split]])
    said = words(FOLDER, wanted.prompt_set, wanted.language)
    for drawn in draws(topics, wanted.file):
        for task in tasks:
            yield _example(task, drawn, texts, said, pictures, wanted)


def read_sentences(files: Sequence[Path]) -> tuple[dict[int, str], dict[int, str]]:
    """Sentences and topics by index. Raises DataError: a topic isn't known, or an index is there twice."""
    texts: dict[int, str] = {}
    topics: dict[int, str] = {}
    for file in files:
        for row in all_rows(TableRows(file)):
            index = row.integer("index_id")
            if index in texts:
                raise row.error("index_id", f"is {index}, which an earlier row has")
            texts[index], topics[index] = row.text("text"), _topic(row)
    return texts, topics


def _topic(row: Row) -> str:
    """SIB-200 itself says "science/technology"."""
    topic = row.text("category").partition("/")[0]
    if topic not in TOPICS:
        raise row.error("category", f"must be one of {', '.join(TOPICS)}, found {topic!r}")
    return topic


def draws(topics: Mapping[int, str], file: Path) -> Iterator[Drawn]:
    """Three questions about each sentence, the same for all languages that have the same sentences.

    Raises:
        EvaluationError: a topic has less than five sentences, or there are less than four topics.
    """
    by_topic = {topic: sorted(index for index, own in topics.items() if own == topic) for topic in TOPICS}
    by_topic = {topic: found for topic, found in by_topic.items() if found}
    if len(by_topic) < OPTIONS or min(map(len, by_topic.values())) < max(COUNTS):
        raise EvaluationError(
            f"{file}: must have {max(COUNTS)} sentences or more of each of {OPTIONS} topics or more",
            hint=f"Is the file as it was published? It comes from {PUBLICATION.home}",
        )
    for index in sorted(topics):
        for turn in range(QUESTIONS):
            draw, topic = Random(f"mvl-sib/{index}/{turn}"), topics[index]
            wrong = draw.sample([other for other in by_topic if other != topic], OPTIONS - 1)
            rest = [other for other in by_topic[topic] if other != index]
            yield Drawn(
                index=index,
                turn=turn,
                topic=topic,
                wrong=tuple(wrong),
                same=(index, *draw.sample(rest, max(COUNTS) - 1)),
                others=tuple(draw.choice(by_topic[other]) for other in wrong),
                pictures=tuple(draw.sample(range(OF_A_TOPIC), max(COUNTS))),
                wrong_pictures=tuple(draw.randrange(OF_A_TOPIC) for _ in wrong),
                place=draw.randrange(OPTIONS),
            )


def _example(
    task: str, drawn: Drawn, texts: Mapping[int, str], said: Mapping[str, str], pictures: Pictures, wanted: Asked
) -> Example:
    kind, _, number = task.partition("-")
    count = int(number or 1)
    images: list[ImageRef] = []
    if kind == "i2s":
        images = [_picture(pictures, drawn.topic, n) for n in drawn.pictures[:count]]
    elif kind == "s2i":
        wrong = [_picture(pictures, topic, n) for topic, n in zip(drawn.wrong, drawn.wrong_pictures)]
        images = _placed(wrong, _picture(pictures, drawn.topic, drawn.pictures[0]), drawn.place)
    if kind.endswith("s"):
        options = _placed([texts[index] for index in drawn.others], texts[drawn.index], drawn.place)
    elif kind == "s2t":
        options = _placed(drawn.wrong, drawn.topic, drawn.place)
    else:
        options = [f"<image {n + 1}>" for n in range(OPTIONS)]
    values = {
        **said,
        "topic": drawn.topic,
        "topics": ", ".join(TOPICS),
        "sentences": "\n".join(f"- {texts[index]}" for index in drawn.same[:count]),
        "options": "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options)),
    }
    shown = options if kind != "s2i" else [""] * OPTIONS
    return Example(
        id=f"{task}/{drawn.index}/{drawn.turn}",
        messages=asked_among(said[kind], values, len(images)),
        language=wanted.language,
        images=tuple(images),
        references=(LETTERS[drawn.place],),
        task=task,
        group=str(drawn.index),
        facts={"topic": drawn.topic, "options": json.dumps(shown, ensure_ascii=False)},
        choices=tuple(LETTERS[:OPTIONS]),
    )


def _picture(pictures: Pictures, topic: str, number: int) -> ImageRef:
    name = f"{topic}_{number}.jpg"
    return ImageRef(name, path=pictures.root / name)


def _placed(wrong: Sequence[T], right: T, place: int) -> list[T]:
    return [*wrong[:place], right, *wrong[place:]]


def _benchmark(name: str, about: str, tasks: tuple[str, ...]) -> Benchmark:
    return Benchmark(
        name=name,
        about=about,
        load=partial(load, tasks),
        splits=tuple(SPLITS),
        prompt_sets=("native",),
        metrics=dict.fromkeys(tasks, ("choice-accuracy", "letter-failures")),
        settings=Settings(max_new_tokens=16),
        chance=dict.fromkeys(tasks, 1 / OPTIONS),
        folder="" if name == FOLDER else FOLDER,
        facts=("options", "topic"),
        licence="CC-BY-SA-4.0",
        citation="Schmidt et al., MVL-SIB, Findings of ACL 2025, arXiv 2502.12852; Adelani et al., SIB-200, EACL 2024, "
        "arXiv 2309.07445",
        translation="people, from English (FLORES-200)",
    )


BENCHMARKS.add(
    FOLDER,
    _benchmark(FOLDER, "Which sentence has the pictures' topic, and which picture the sentences'? One of four.", TASKS),
)
BENCHMARKS.add(
    f"{FOLDER}-text",
    _benchmark(f"{FOLDER}-text", "MVL-SIB without pictures, a topic's name in their place.", TEXT_TASKS),
)

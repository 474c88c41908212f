"""MME: two questions about each picture, one to be answered with yes and one with no (Fu et al., 2023).

English only, as published; `mme-mt` has them in other languages. Fourteen subtasks make up two tasks, perception and
cognition, whose scores are sums over their subtasks (`visiglot.evaluate.metrics.mme`). Two forms are read: the
release's folders, in which a picture's questions are a text file of two lines (question, tab, answer) beside it or in
`questions_answers_YN/`, and the Parquet files of lmms-lab's copy on the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from visiglot.benchmarks.packed import packed_rows
from visiglot.benchmarks.wording import asked, chosen, words
from visiglot.data.rows import Row, Where
from visiglot.errors import DataError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.metrics.mme import COGNITION, PERCEPTION, SUBTASKS
from visiglot.evaluate.published import Asked, Publication, PublishedData, open_published, text_lines
from visiglot.languages import ENGLISH
from visiglot.types import Example, ImageRef

REPO = "lmms-lab/MME"
ROOTS = (".", "MME_Benchmark_release_version", "MME_Benchmark_release_version/MME_Benchmark")
QUESTIONS, PICTURES = "questions_answers_YN", "images"
"""Folders of a subtask whose questions aren't beside its pictures."""
ENDINGS = (".jpg", ".png", ".jpeg")
ANSWERS = ("yes", "no")
INSTRUCTION = "Please answer yes or no."
"""What the questions end with."""
TASKS = {"perception": PERCEPTION, "cognition": COGNITION}
METRICS = (
    *("mme-score", "mme-accuracy", "mme-accuracy-plus", "yes-no-failures"),
    *("mme-score-official", "mme-accuracy-official", "mme-accuracy-plus-official"),
)
BY_GUESSING = 75.0
"""Points of a subtask: half of the answers are right, and of a quarter of the pictures both."""

PUBLICATION = Publication(
    home=f"https://huggingface.co/datasets/{REPO}, or the release of "
    "https://github.com/BradyFU/Awesome-Multimodal-Large-Language-Models/tree/Evaluation",
    layout="data/test-*.parquet; or <subtask>/<name>.txt beside <name>.jpg or .png, or "
    f"<subtask>/{QUESTIONS}/<name>.txt and <subtask>/{PICTURES}/<name>.jpg",
    texts=(
        "data/test-*.parquet",
        *(
            f"{root}/{subtask}/{below}*.txt"
            for root in ROOTS
            for subtask in SUBTASKS
            for below in ("", f"{QUESTIONS}/")
        ),
    ),
    pictures=tuple(f"{root}/{subtask}" for root in ROOTS for subtask in SUBTASKS),
    repo=REPO,
)


@dataclass(frozen=True, slots=True)
class Question:
    """One line of MME.

    Args:
        picture: which, over all subtasks: "code_reasoning/0020.png".
        row: where it stands, for messages.
    """

    subtask: str
    picture: str
    text: str
    label: str
    image: ImageRef
    row: Row


def load(folder: Path | None) -> PublishedData:
    folder, revision = open_published(folder, "mme", PUBLICATION)
    packed = sorted((folder / "data").glob("test-*.parquet"))
    texts = [] if packed else text_files(folder)
    read: Callable[[], Iterator[Question]] = partial(_packed, packed) if packed else partial(_written, texts)
    return PublishedData(
        revision,
        {"test": {ENGLISH: (packed or texts)[0]}},
        lambda asked: _examples(asked, list(read())),
        PUBLICATION.home,
        unit=lambda example: example.group,
    )


def text_files(folder: Path) -> list[Path]:
    """The text files of the release's folders, in the order of the subtasks and of their names."""
    return [
        file
        for subtask in SUBTASKS
        for root in ROOTS
        for below in (f"{root}/{subtask}/{QUESTIONS}", f"{root}/{subtask}")
        for file in sorted((folder / below).glob("*.txt"))
    ]


def _written(files: Sequence[Path]) -> Iterator[Question]:
    """The questions of text files. Raises DataError: a line isn't question, tab, answer, or there is no picture."""
    for file in files:
        apart = file.parent.name == QUESTIONS
        subtask = (file.parent.parent if apart else file.parent).name
        pictures = file.parent.parent / PICTURES if apart else file.parent
        image = next((path for end in ENDINGS if (path := pictures / f"{file.stem}{end}").is_file()), None)
        if image is None:
            raise DataError(
                f"{file}: there is no picture {file.stem} ({', '.join(ENDINGS)}) in {pictures}",
                hint="Unpack the whole release: each text file's picture has its name.",
            )
        name = f"{subtask}/{image.name}"
        for number, line in enumerate(text_lines(file), start=1):
            if line.strip():
                text, tab, answer = line.strip().rpartition("\t")
                row = Row({"question": text.strip(), "answer": answer.strip() if tab else None}, Where(file, number))
                yield _question(subtask, name, row, ImageRef(name, path=image))


def _packed(files: Sequence[Path]) -> Iterator[Question]:
    """The questions of Parquet files."""
    columns = ("question_id", "question", "answer", "category")
    for file in files:
        for row, images in packed_rows("MME's pictures", file, files, columns, ("image",)):
            if len(images) != 1:
                raise row.error("image", "is missing")
            yield _question(row.text("category"), row.text("question_id"), row, images[0])


def _question(subtask: str, picture: str, row: Row, image: ImageRef) -> Question:
    if subtask not in SUBTASKS:
        raise row.error("category", f"must be one of {', '.join(SUBTASKS)}, found {subtask!r}")
    text, label = row.text("question"), row.text("answer").lower()
    if label not in ANSWERS:
        raise row.error("answer", f"must be Yes or No, found {row.get('answer')!r}")
    return Question(subtask, picture, text, label, image, row)


def _examples(wanted: Asked, questions: Sequence[Question]) -> Iterator[Example]:
    said = words("mme", wanted.prompt_set, wanted.language)
    together: dict[str, list[Question]] = {}
    for question in questions:
        together.setdefault(question.picture, []).append(question)
    for number, (picture, pair) in enumerate(together.items()):
        if len(pair) != 2:
            raise pair[0].row.error("question", f"is one of {len(pair)} about {picture}; there must be two")
        for turn, one in enumerate(pair, start=1):
            bare = one.text.removesuffix(INSTRUCTION).rstrip()
            yield Example(
                id=f"{picture}/{turn}",
                messages=asked(said["ask"], {**said, "question": one.text, "bare": bare}),
                language=wanted.language,
                images=(one.image,),
                references=(said[one.label],),
                task=next(task for task, subtasks in TASKS.items() if one.subtask in subtasks),
                group=picture,
                facts={
                    "question": bare,
                    "instruction": INSTRUCTION if bare != one.text else "",
                    "label": one.label,
                    "category": one.subtask,
                    "index": str(number),
                    "index_rows": "2",
                },
                choices=chosen(said, ANSWERS),
            )


BENCHMARKS.add(
    "mme",
    Benchmark(
        name="mme",
        about="Yes-or-no questions, two about each picture, in 14 subtasks of perception and cognition; English.",
        load=load,
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics=dict.fromkeys(TASKS, METRICS),
        settings=Settings(max_new_tokens=16),
        chance={task: BY_GUESSING * len(subtasks) for task, subtasks in TASKS.items()},
        facts=("category", "index", "index_rows"),
        parts=("category",),
        licence="not stated",
        citation="Fu et al., MME: A Comprehensive Evaluation Benchmark for Multimodal Large Language Models, "
        "arXiv 2306.13394",
        translation="none: English",
    ),
)

"""A data set in other languages, from the plan to the files.

Shards of examples are read and written here, and translated by a crew: one translator, or workers (`cluster`). A shard
that is finished is on disk and never done again. An example is in a language with all of its texts or not at all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from visiglot.data.parquet_source import write_examples
from visiglot.data.progress import Progress
from visiglot.environment import commit, versions
from visiglot.errors import TranslationError
from visiglot.images import in_memory
from visiglot.translate.engine import Engine
from visiglot.translate.folder import REPORT, Folder
from visiglot.translate.jobs import Job, Shard
from visiglot.translate.report import write_report
from visiglot.translate.rules import rules
from visiglot.translate.tally import INCOMPLETE, TRANSLATED, Rejected, Sample, Tally, tally, write_tally
from visiglot.translate.texts import Texts, texts_of, translated
from visiglot.translate.translator import Answers, Questions, Refused, Translated, Work
from visiglot.types import Example, Provenance

PAIRS_SHOWN = 3
"""Texts of an example that a sample has."""

LABEL = "unchecked label"
"""Why an example is rejected, if it is, of which a label has no translation that comes back as it was."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What is up to the user.

    Args:
        embed: put the bytes of pictures into the files.
        labels: english: those without a translation stay as they are, and say so; reject: their examples are left out.
    """

    embed: bool = False
    labels: Literal["english", "reject"] = "english"


class Crew(Protocol):
    """Translates shards: a `Translator`, or many (`cluster.Cluster`)."""

    @property
    def engine(self) -> Engine:
        """Whose work it is."""

    def answers(
        self, shards: Sequence[Shard], ask: Callable[[Shard], Questions], heard: Callable[[Work], None]
    ) -> Generator[tuple[Shard, Answers]]:
        """The answers for each shard, in the order in which they come.

        Args:
            ask: what is asked of a shard; called once for each, when its turn has come.
            heard: is called now and then, with the work on shards that aren't answered yet, as far as it is known.

        Raises:
            TranslationError: it can't go on.
        """


def translate(
    jobs: Sequence[Job],
    crew: Crew,
    folder: Folder,
    *,
    settings: Mapping[str, Any],
    resume: bool = True,
    choices: Choices = Choices(),
) -> list[Tally]:
    """Translate sources into `folder`, or finish what was begun there.

    Args:
        jobs: which examples go into which language.
        crew: translates them.
        settings: what the result follows from besides the jobs and the engine; JSON.
        resume: go on with what is there; otherwise it is made anew.
        choices: what is up to the user.

    Returns:
        What became of the examples, one for each job and language.

    Raises:
        TranslationError: the engine can't go on, the folder can't be written or holds something else, or every example
            was rejected.
        LanguageError: the engine can't do a language.
        DataError: an example or a picture can't be read.
    """
    for job in jobs:
        if job.translated:
            crew.engine.check(job.language, list(job.translated))
    with folder.owned():
        about = {
            "settings": describe(jobs, crew.engine, settings, choices),
            "made_with": {**versions(), "commit": commit()},
        }
        if not folder.begin(about["settings"], resume=resume):
            _translate_shards(jobs, crew, folder, choices)
            folder.finish(jobs, {**about, "finished_at": datetime.now(UTC).isoformat(timespec="seconds")})
        tallies = folder.tallies()
        write_report(folder, tallies)
    refuse_nothing(tallies, folder)
    return tallies


def _translate_shards(jobs: Sequence[Job], crew: Crew, folder: Folder, choices: Choices) -> None:
    """Write the shards that aren't there yet."""
    todo = [(job, shard) for job in jobs for shard in job.shards() if not folder.tally(shard).is_file()]
    clock = _Clock(sum(len(shard.examples) for _, shard in todo))
    opened: dict[str, _Opened] = {}

    def write(one: _Opened, answers: Answers) -> None:
        one.write(answers, crew.engine, folder, choices)
        folder.log(clock.tick(one.shard, answers))

    for job, shard in todo:
        if not shard.translate:
            write(_Opened(job, shard), Answers({}, {}, Work(), 0.0))
    awaited = {shard.path: (job, shard) for job, shard in todo if shard.translate}

    def ask(shard: Shard) -> Questions:
        opened[shard.path] = _Opened(*awaited[shard.path])
        return opened[shard.path].questions

    with closing(crew.answers([shard for _, shard in awaited.values()], ask, clock.heard)) as answered:
        for shard, answers in answered:
            write(opened.pop(shard.path), answers)
    clock.done()


class _Opened:
    """A shard with its examples. Raises DataError: one can't be read."""

    def __init__(self, job: Job, shard: Shard) -> None:
        self.job = job
        self.shard = shard
        self.examples = [job.source[int(number)] for number in shard.examples]
        self.texts = [texts_of(example) for example in self.examples] if shard.translate else []

    @property
    def questions(self) -> Questions:
        whole = tuple(text for one in self.texts for text in one.whole)
        return Questions(self.shard.language, whole, tuple(label for one in self.texts for label in one.labels))

    def write(self, answers: Answers, engine: Engine, folder: Folder, choices: Choices) -> None:
        """Write the examples, translated where they are to be, and what became of them."""
        shard, examples = self.shard, self.examples
        if shard.translate:
            examples, found = translate_examples(examples, self.texts, answers, shard, engine, choices)
        else:
            found = tally(shard.job, shard.language, kept=len(examples))
        if choices.embed:
            examples = [replace(example, images=tuple(map(in_memory, example.images))) for example in examples]
        write_examples(folder.shard(shard), examples, root=self.job.root)
        write_tally(found, folder.tally(shard))


def translate_examples(
    examples: Sequence[Example],
    texts: Sequence[Texts],
    answers: Answers,
    shard: Shard,
    engine: Engine,
    choices: Choices,
) -> tuple[list[Example], Tally]:
    """Those of `examples` of which every text has a translation, in the shard's language, and what became of all."""
    whole = answers.whole
    labels = {label: one for label, one in answers.labels.items() if isinstance(one, Translated)}
    words = {label: one.text for label, one in labels.items()}
    fates: Counter[str] = Counter()
    made, rejected, samples = [], [], []
    for example, own in zip(examples, texts, strict=True):
        id = f"{example.id}/{shard.language}"
        found = [whole[text] for text in own.whole]
        refused = next((one for one in found if isinstance(one, Refused)), None)
        staying = own.unchecked(words)
        fates.update(_fates(own, staying, answers.labels))
        if refused is None and choices.labels == "reject":
            refused = next((_unchecked(own.groups[names], answers.labels) for names in staying), None)
        if refused is not None:
            rejected.append(Rejected(id, shard.language, refused.reason, refused.detail))
            pair = (refused.original, refused.translation)
            samples.append(Sample(id, shard.language, (pair,), refused.reason, refused.detail))
            continue
        said = {text: one for text, one in zip(own.whole, found, strict=True) if isinstance(one, Translated)}
        known = {label: labels[label] for label in own.labels if label in labels}
        made.append(_translated(example, own, said, known, shard.language, engine))
        pairs = tuple((text, one.text) for text, one in (said | known).items())
        samples.append(Sample(id, shard.language, pairs[:PAIRS_SHOWN]))
    translated = len(made)
    return made, tally(
        shard.job, shard.language, translated=translated, rejected=rejected, samples=samples, labels=fates
    )


def _fates(
    texts: Texts, staying: Sequence[tuple[str, ...]], labels: Mapping[str, Translated | Refused]
) -> Iterator[str]:
    """What became of each label of an example, whose groups `staying` stay as they are."""
    for names, group in texts.groups.items():
        for label in group:
            one = labels[label]
            yield one.reason if isinstance(one, Refused) else INCOMPLETE if names in staying else TRANSLATED


def _unchecked(group: Sequence[str], labels: Mapping[str, Translated | Refused]) -> Refused:
    lacking = [one.detail for one in map(labels.__getitem__, group) if isinstance(one, Refused)]
    return Refused(" | ".join(group), "", LABEL, lacking[0] if lacking else "two choices become one")


def _translated(
    example: Example,
    texts: Texts,
    whole: Mapping[str, Translated],
    labels: Mapping[str, Translated],
    target: str,
    engine: Engine,
) -> Example:
    """The example in another language, with who translated it in its provenance."""
    engines = sorted({name for one in (*whole.values(), *labels.values()) for name in one.engines})
    provenance = example.provenance or Provenance("unknown", "unknown")
    if engines:
        licence = joint_licence(provenance.licence, engine.licence)
        engines = [provenance.engine, *engines] if provenance.engine and provenance.engine not in engines else engines
        provenance = replace(provenance, licence=licence, engine=" + ".join(engines))
    words, names = ({text: one.text for text, one in part.items()} for part in (whole, labels))
    return translated(example, texts, words, names, target, provenance)


def describe(jobs: Sequence[Job], engine: Engine, settings: Mapping[str, Any], choices: Choices) -> dict[str, Any]:
    """All that the result follows from, as JSON."""
    return {
        **settings,
        "choices": asdict(choices),
        "engine": {**settings.get("engine", {}), "identity": engine.identity, "licence": engine.licence},
        "jobs": [
            {
                "name": job.name,
                "source": job.section.model_dump(mode="json", exclude_defaults=True),
                "language": job.language,
                "examples": job.counts,
                "first_and_last": job.ends,
                "root": str(job.root),
            }
            for job in jobs
        ],
        "files": {job.name: job.files for job in jobs},
        "rules": rules(),
    }


def refuse_nothing(tallies: Sequence[Tally], folder: Folder) -> None:
    """Raises TranslationError: examples were to be translated, and each was rejected."""
    reasons: dict[str, int] = {}
    for one in tallies:
        for reason, count in one.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    if reasons and not any(one.translated for one in tallies):
        counts = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        raise TranslationError(
            f"every example was rejected: {counts}",
            hint=f"{folder.root / REPORT} shows some. Use another engine, or let a reason pass with --no-filter.",
        )


def joint_licence(source: str, engine: str) -> str:
    """Of texts under one licence that an engine under another translated."""
    return " AND ".join(dict.fromkeys(filter(None, [*source.split(" AND "), *engine.split(" AND ")])))


@dataclass
class _Clock:
    """Word of how far it is, and what each shard took.

    Args:
        examples: that are to be done.
    """

    examples: int

    def __post_init__(self) -> None:
        self.progress = Progress("translating", "examples", self.examples, about=self._rate)
        self.began = time.monotonic()
        self.work = self.under_way = Work()

    def heard(self, work: Work) -> None:
        """There is more work than that on the shards that were ticked off."""
        self.under_way = work
        self.progress.look()

    def tick(self, shard: Shard, answers: Answers) -> dict[str, Any]:
        """What a shard took, for the log."""
        work, seconds = answers.work, answers.seconds
        self.work, self.under_way = self.work.and_also(work), Work()
        line = {
            "source": shard.job,
            "language": shard.language,
            "shard": shard.number,
            "examples": len(shard.examples),
            "texts": work.texts,
            "characters": work.characters,
            "sentences_translated": work.made,
            "sentences_found": work.found,
            "seconds": round(seconds, 3),
            "characters_a_second": round(work.characters / max(seconds, 1e-9)),
        }
        self.progress.advance(len(shard.examples))
        return line

    def done(self) -> None:
        self.progress.done()

    def _rate(self) -> str:
        work, seconds = self.work.and_also(self.under_way), max(time.monotonic() - self.began, 1e-9)
        return f"{work.made:,} sentences translated ({work.made / seconds:,.1f} a second) and {work.found:,} found"

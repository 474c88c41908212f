"""A data set in other languages, from the plan to the files.

Shards of examples are done one after the other; one that is finished is on disk and never done again. An example is in
a language with all of its texts or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from visiglot.data.parquet_source import write_examples
from visiglot.data.progress import Progress
from visiglot.environment import commit, versions
from visiglot.errors import TranslationError
from visiglot.images import in_memory
from visiglot.translate.engine import Engine
from visiglot.translate.folder import REPORT, Folder
from visiglot.translate.jobs import Job, Shard
from visiglot.translate.report import write_report
from visiglot.translate.tally import Rejected, Sample, Tally, tally, write_tally
from visiglot.translate.texts import Texts, texts_of, translated
from visiglot.translate.translator import Refused, Translated, Translator
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


def translate(
    jobs: Sequence[Job],
    translator: Translator,
    folder: Folder,
    *,
    settings: Mapping[str, Any],
    resume: bool = True,
    choices: Choices = Choices(),
) -> list[Tally]:
    """Translate sources into `folder`, or finish what was begun there.

    Args:
        jobs: which examples go into which language.
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
            translator.engine.check(job.language, list(job.translated))
    with folder.owned():
        about = {
            "settings": describe(jobs, translator, settings, choices),
            "made_with": {**versions(), "commit": commit()},
        }
        if not folder.begin(about["settings"], resume=resume):
            by_name = {job.name: job for job in jobs}
            todo = [s for job in jobs for s in job.shards() if not folder.tally(s).is_file()]
            clock = _Clock(translator, sum(len(shard.examples) for shard in todo))
            for shard in todo:
                write_shard(by_name[shard.job], shard, translator, folder, choices)
                folder.log(clock.tick(shard))
            clock.done()
            folder.finish(jobs, {**about, "finished_at": datetime.now(UTC).isoformat(timespec="seconds")})
        tallies = folder.tallies()
        write_report(folder, tallies)
    refuse_nothing(tallies, folder)
    return tallies


def write_shard(job: Job, shard: Shard, translator: Translator, folder: Folder, choices: Choices = Choices()) -> None:
    """Translate the examples of a shard, and write them and what became of them.

    Raises:
        TranslationError, DataError: as `translate` does.
    """
    examples = [job.source[int(number)] for number in shard.examples]
    if shard.translate:
        examples, found = translate_examples(examples, shard, translator, choices)
    else:
        found = tally(shard.job, shard.language, kept=len(examples))
    if choices.embed:
        examples = [replace(example, images=tuple(map(in_memory, example.images))) for example in examples]
    write_examples(folder.shard(shard), examples, root=job.root)
    write_tally(found, folder.tally(shard))


def translate_examples(
    examples: Sequence[Example], shard: Shard, translator: Translator, choices: Choices
) -> tuple[list[Example], Tally]:
    """Those of `examples` of which every text has a translation, in the shard's language, and what became of all."""
    texts = [texts_of(example) for example in examples]
    whole = translator.translate([text for one in texts for text in one.whole], shard.language)
    labels = translator.labels([label for one in texts for label in one.labels], shard.language)
    made, rejected, samples = [], [], []
    for example, own in zip(examples, texts, strict=True):
        id = f"{example.id}/{shard.language}"
        found = [whole[text] for text in own.whole]
        refused = next((one for one in found if isinstance(one, Refused)), None)
        if refused is None and choices.labels == "reject":
            groups = own.unchecked({label: one.text for label, one in labels.items()})
            refused = next((_unchecked(own.groups[names], labels) for names in groups), None)
        if refused is not None:
            rejected.append(Rejected(id, shard.language, refused.reason, refused.detail))
            pair = (refused.original, refused.translation)
            samples.append(Sample(id, shard.language, (pair,), refused.reason, refused.detail))
            continue
        said = {text: one for text, one in zip(own.whole, found, strict=True) if isinstance(one, Translated)}
        known = {label: labels[label] for label in own.labels if label in labels}
        made.append(_translated(example, own, said, known, shard.language, translator.engine))
        pairs = tuple((text, one.text) for text, one in (said | known).items())
        samples.append(Sample(id, shard.language, pairs[:PAIRS_SHOWN]))
    return made, tally(shard.job, shard.language, translated=len(made), rejected=rejected, samples=samples)


def _unchecked(group: Sequence[str], labels: Mapping[str, Translated]) -> Refused:
    lacking = [label for label in group if label not in labels]
    why = f"{lacking[0]!r} comes back changed" if lacking else "two choices become one"
    return Refused(" | ".join(group), "", LABEL, why)


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


def describe(
    jobs: Sequence[Job], translator: Translator, settings: Mapping[str, Any], choices: Choices
) -> dict[str, Any]:
    """All that the result follows from, as JSON."""
    engine = translator.engine
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
    return source if not engine or engine in source.split(" AND ") else f"{source} AND {engine}"


@dataclass
class _Clock:
    """Word of how far it is, and what each shard took.

    Args:
        examples: that are to be done.
    """

    translator: Translator
    examples: int

    def __post_init__(self) -> None:
        self.progress = Progress("translating", "examples", self.examples, about=self._rate)
        self.began = self.last = time.monotonic()
        self.seen = replace(self.translator.work)

    def tick(self, shard: Shard) -> dict[str, Any]:
        """What a shard took, for the log."""
        work, now = self.translator.work, time.monotonic()
        line = {
            "source": shard.job,
            "language": shard.language,
            "shard": shard.number,
            "examples": len(shard.examples),
            "texts": work.texts - self.seen.texts,
            "characters": work.characters - self.seen.characters,
            "sentences_translated": work.made - self.seen.made,
            "sentences_found": work.found - self.seen.found,
            "seconds": round(now - self.last, 3),
            "characters_a_second": round((work.characters - self.seen.characters) / max(now - self.last, 1e-9)),
        }
        self.seen, self.last = replace(work), now
        self.progress.advance(len(shard.examples))
        return line

    def done(self) -> None:
        self.progress.done()

    def _rate(self) -> str:
        work, seconds = self.translator.work, max(time.monotonic() - self.began, 1e-9)
        return f"{work.texts / seconds:,.0f} texts and {work.characters / seconds:,.0f} characters a second"

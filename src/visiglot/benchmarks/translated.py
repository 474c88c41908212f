"""MME, MMBench, POPE and SEED-Bench in other languages, machine-translated, as LRM-LLaVA evaluates on them (AAAI 2025).

Its translations (by Google, into nine languages) aren't published, so they are made anew, with any engine:

    visiglot translate benchmark:mme data=ROOT --languages lrm --engine ... --out ROOT/mme-mt

`write_questions` takes the English questions apart for that: question, hint, options and instruction each on their own,
without letters and gold answers. `mme-mt` puts the translated parts together again. Pictures, letters and gold labels
are always those of the English original, which must be there too (`ROOT/mme`, or the hub). That words are an engine's
is in the name of the benchmark, and so in every score, and which engine's in the fact "translated_by" of every answer.

What stands together (MME's two questions, MMBench's rotations) counts only where an engine translated all of it; units
that lack a part, or two of whose options became one, are left out in that language, and it is said how many.

Prompts: `native` asks for the answer in our words in the language; in `paper` the instruction is translated with the
rest: MME's own, and for options that of LLaVA-1.5, whose formats LRM-LLaVA says it keeps.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from visiglot.benchmarks import choice_tables, mme, pope, seed_bench
from visiglot.benchmarks.wording import asked, chosen, words
from visiglot.data.parquet_source import ParquetSource, write_examples
from visiglot.errors import EvaluationError, Notice, UnknownNameError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark
from visiglot.evaluate.metrics.letters import LETTERS
from visiglot.evaluate.published import Asked, Publication, PublishedData, open_published
from visiglot.languages import ENGLISH, language
from visiglot.types import Example, Provenance

ABOUT = "translation.json"
"""What `visiglot translate` writes beside the examples."""

ANSWERS = ("yes", "no")
FORMAT = 1
"""Raised when `write_questions` writes other parts than before."""
NAMES_A_LETTER = "Answer with the option's letter from the given choices directly."
"""LLaVA-1.5's response format for options (haotian-liu/LLaVA, docs/Evaluation.md)."""

TRANSLATED_BY = "translated_by"
"""Fact: the engines that made an example's words; "" where they are the original's."""

Parts = Mapping[str, str]
"""Of a question: "question", "hint", "instruction", and its options under their letters."""


@dataclass(frozen=True, slots=True)
class Original:
    """A benchmark that can be translated.

    Args:
        name: of the English one.
        home: where its files come from.
        kind: what is answered, and so which words of ours ask.
    """

    name: str
    home: str
    kind: Literal["yes-no", "choice"]


ORIGINALS = {
    one.name: one
    for one in (
        Original("mme", mme.PUBLICATION.home, "yes-no"),
        Original("mmbench", choice_tables.publication("mmbench", "").home, "choice"),
        Original("pope", pope.PUBLICATION.home, "yes-no"),
        Original("seed-bench", seed_bench.PUBLICATION.home, "choice"),
    )
}


def write_questions(name: str, root: Path | None, path: Path) -> None:
    """Write a benchmark's English questions as examples whose facts are their parts, for `visiglot translate`.

    Args:
        root: the folder that has a folder of data for each benchmark; None: the hub.

    Raises:
        UnknownNameError: the benchmark isn't one of ORIGINALS.
        EvaluationError: its data aren't there.
    """
    original = original_of(name)
    provenance = Provenance(f"benchmark {name}", BENCHMARKS.get(name).licence)
    write_examples(
        path,
        (
            Example(one.id, (), ENGLISH, facts=parts_of(original, one), provenance=provenance)
            for one in _english(original, BENCHMARKS.get(name).open(root))
        ),
    )


def original_of(name: str) -> Original:
    """Raises UnknownNameError."""
    if name not in ORIGINALS:
        raise UnknownNameError("benchmark to translate", name, ORIGINALS)
    return ORIGINALS[name]


def parts_of(original: Original, example: Example) -> dict[str, str]:
    """What is translated of an English example."""
    facts = example.facts
    found = {"question": facts["question"]}
    if original.kind == "yes-no":
        return found | ({"instruction": facts["instruction"]} if facts.get("instruction") else {})
    options = {letter: text for letter, text in zip(LETTERS, json.loads(facts["options"])) if text}
    return found | ({"hint": facts["hint"]} if facts.get("hint") else {}) | options | {"instruction": NAMES_A_LETTER}


def load(original: Original, folder: Path | None) -> PublishedData:
    name = f"{original.name}-mt"
    publication = Publication(
        home=f"`visiglot translate benchmark:{original.name} data=ROOT --languages lrm --engine … --out ROOT/{name}`, "
        f"which reads the files of {original.home}",
        layout=f"{ABOUT} and {original.name}.parquet",
        texts=(ABOUT, f"{original.name}.parquet"),
    )
    folder, revision = open_published(folder, name, publication)
    english = BENCHMARKS.get(original.name).open(folder.parent)
    assert isinstance(english, PublishedData)
    about = folder / ABOUT
    codes = [ENGLISH, *(code for code in _languages(about) if code != ENGLISH)]
    split = BENCHMARKS.get(original.name).splits[0]
    return PublishedData(
        f"{revision}, {original.name} {english.revision}",
        {split: dict.fromkeys(codes, about)},
        partial(_examples, original, english, folder / f"{original.name}.parquet"),
        publication.home,
        unit=english.unit,
    )


def _languages(about: Path) -> list[str]:
    """Of a finished translation. Raises EvaluationError: the file isn't the account of one."""
    try:
        jobs = json.loads(about.read_text(encoding="utf-8"))["settings"]["jobs"]
        return [language(code).code for job in jobs for code in job["examples"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(
            f"{about} can't be read as the account of a translation: {error}", hint="Make the translation anew."
        ) from error


def _english(original: Original, data: object) -> Sequence[Example]:
    assert isinstance(data, PublishedData)
    split = BENCHMARKS.get(original.name).splits[0]
    return data.examples(ENGLISH, split=split, prompt_set="paper", limit=None)


def _examples(original: Original, english: PublishedData, file: Path, wanted: Asked) -> Iterator[Example]:
    rows = _english(original, english)
    found: Mapping[str, tuple[Parts, str]] = {row.id: (parts_of(original, row), "") for row in rows}
    if wanted.language != ENGLISH:
        found = _translations(file, wanted.language)
    whole = _whole_units(original, english, rows, {id: parts for id, (parts, _) in found.items()})
    left_out = len(rows) - sum(map(len, whole))
    if left_out:
        warnings.warn(
            f"{original.name}-mt, {wanted.language}: {left_out:,} of {len(rows):,} questions aren't translated, or "
            "stand together with one that isn't, and are left out",
            Notice,
            stacklevel=2,
        )
    for row in (row for unit in whole for row in unit):
        parts, engine = found[row.id]
        yield _put_together(original, row, parts, engine, wanted)


def _translations(file: Path, code: str) -> dict[str, tuple[Parts, str]]:
    """Id of the original -> parts in a language, and who translated them."""
    source = ParquetSource(file, languages=[code])
    examples = (source[int(number)] for number in source.by_language.get(code, ()))
    return {
        one.id.removesuffix(f"/{code}"): (one.facts, (one.provenance.engine or "") if one.provenance else "")
        for one in examples
    }


def _whole_units(
    original: Original, english: PublishedData, rows: Iterable[Example], found: Mapping[str, Parts]
) -> list[list[Example]]:
    """The rows that stand together, where all of them can be asked."""
    units: dict[str, list[Example]] = {}
    for row in rows:
        units.setdefault(english.unit(row), []).append(row)
    return [unit for unit in units.values() if all(_can_be_asked(original, row, found.get(row.id)) for row in unit)]


def _can_be_asked(original: Original, row: Example, parts: Parts | None) -> bool:
    needed = parts_of(original, row)
    if parts is None or not needed.keys() <= parts.keys():
        return False
    letters = [part for part in needed if part in LETTERS]
    return len({parts[letter] for letter in letters}) == len({needed[letter] for letter in letters})


def _put_together(original: Original, row: Example, parts: Parts, engine: str, wanted: Asked) -> Example:
    said = words(f"{original.kind}-mt", wanted.prompt_set, wanted.language)
    row = replace(row, language=wanted.language, facts={**row.facts, TRANSLATED_BY: engine})
    if original.kind == "choice":
        options = [parts.get(letter, "") for letter in LETTERS[: len(json.loads(row.facts["options"]))]]
        listed = [f"{letter}. {text}" for letter, text in zip(LETTERS, options) if text]
        question = "\n".join([*([parts["hint"]] if "hint" in parts else []), parts["question"], *listed])
        values = {**said, "question": question, "instruction": parts["instruction"]}
        facts = {**row.facts, "options": json.dumps(options, ensure_ascii=False)}
        return replace(row, messages=asked(said["ask"], values), facts=facts)
    if wanted.prompt_set == "paper":
        said = {**said, **language(wanted.language).literals}
    instruction = parts.get("instruction", "")
    gap = " " if instruction and language(wanted.language).segmentation == "spaces" else ""
    values = {**said, "question": parts["question"], "instruction": gap + instruction}
    return replace(
        row,
        messages=asked(said["ask"], values),
        references=(said[row.facts["label"]],),
        choices=chosen(said, ANSWERS),
    )


def _add(original: Original) -> None:
    english = BENCHMARKS.get(original.name)
    own = english.about.partition("; ")[0].partition(" in six")[0].rstrip(".")
    BENCHMARKS.add(
        f"{original.name}-mt",
        Benchmark(
            name=f"{original.name}-mt",
            about=f"{own}; machine-translated.",
            load=partial(load, original),
            splits=english.splits[:1],
            prompt_sets=("native", "paper"),
            metrics=english.metrics,
            settings=english.settings,
            chance=english.chance,
            facts=(*english.facts, TRANSLATED_BY),
            parts=english.parts,
            licence=f"{english.licence}, and what the translating engine's licence puts on its output",
            citation=f"{english.citation}; Li et al., LRM-LLaVA, AAAI 2025, 39(23):24449-24457",
            translation=f"machine, by the engine in the fact {TRANSLATED_BY} of each answer; English: the original",
        ),
    )


for _original in ORIGINALS.values():
    _add(_original)

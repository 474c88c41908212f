"""The first stage: benchmark -> prediction files. Slow, resumable, and the only part that needs a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from visiglot import environment
from visiglot.errors import EvaluationError, VisiglotError
from visiglot.evaluate import provenance
from visiglot.evaluate.answers import Answerer, ModelAnswerer, asked_turns, error_line
from visiglot.evaluate.benchmark import Benchmark, BenchmarkData
from visiglot.evaluate.gathering import (
    append_to,
    keep_finished,
    own_share,
    part_of,
    pictures_of,
    put_together,
    read_parts,
    write_row,
)
from visiglot.evaluate.pictures import image_name, keep_pictures
from visiglot.evaluate.pivoted import without_pivot
from visiglot.evaluate.predictions import (
    prediction_path,
    read_predictions,
)
from visiglot.evaluate.provenance import BenchmarkRun, Run
from visiglot.evaluate.retrieval import check_kind, embedder_of, retrieve
from visiglot.evaluate.sharing import ALONE, Share
from visiglot.evaluate.trained import TrainedLanguages, groups_of
from visiglot.types import Example, Prediction

if TYPE_CHECKING:
    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel

Progress = Callable[[int, int, int], None]
"""Told (answers there, answers wanted, failures among them) whenever one more is written."""

Answers = Literal["generate", "likelihood"]
LIKELIHOOD = "likelihood"
UNKNOWN = TrainedLanguages()
ROWS_AT_ONCE = 1024
PICTURES_AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class Generated:
    """What a call did.

    Args:
        made, kept: answers made now, and those kept from before.
        failed: rows with an error.
        dropped: old rows that were made with other settings.
        lacking: languages asked for that the benchmark has no examples in.
        earlier: answers to what only earlier commands asked for, which are scored with these.
    """

    benchmark: str
    prompt_set: str
    made: int
    kept: int
    failed: int
    dropped: int
    lacking: tuple[str, ...]
    earlier: int = 0


def generate_predictions(
    model: VisionLanguageModel,
    processor: VisiglotProcessor,
    benchmark: Benchmark,
    languages: Sequence[str],
    out: Path,
    *,
    resume: bool,
    model_name: str,
    model_hash: str | None = None,
    split: str | None = None,
    prompt_set: str | None = None,
    limit: int | None = None,
    root: Path | None = None,
    recipe: str = "",
    trained: TrainedLanguages = UNKNOWN,
    command: Sequence[str] = (),
    max_batch_tokens: int = 16384,
    progress: Progress | None = None,
) -> Generated:
    """Ask a Visiglot model; see `collect_predictions` for the rest.

    Args:
        model_name: what the user called it.
        model_hash: of the weights, where the caller knows it; else computed.
        max_batch_tokens: token budget of the decoder.
    """
    answerer = ModelAnswerer(
        model, processor, name=model_name, fingerprint=model_hash, max_batch_tokens=max_batch_tokens
    )
    return collect_predictions(
        answerer,
        benchmark,
        languages,
        out,
        resume=resume,
        split=split,
        prompt_set=prompt_set,
        limit=limit,
        root=root,
        recipe=recipe,
        trained=trained,
        command=command,
        progress=progress,
    )


def collect_predictions(
    answerer: Answerer,
    benchmark: Benchmark,
    languages: Sequence[str],
    out: Path,
    *,
    resume: bool,
    split: str | None = None,
    prompt_set: str | None = None,
    limit: int | None = None,
    root: Path | None = None,
    recipe: str = "",
    trained: TrainedLanguages = UNKNOWN,
    command: Sequence[str] = (),
    answers: Answers = "generate",
    share: Share = ALONE,
    progress: Progress | None = None,
) -> Generated:
    """Ask `answerer` a benchmark in some languages and write one prediction file for each.

    All languages' questions about a picture are asked together, so that it is encoded once. Each answer is appended
    and flushed as it comes; at the end each file is put in the benchmark's order. A picture that can't be read and an
    answer that can't be made become rows with `error`.

    Args:
        languages: FLORES codes; those that the benchmark lacks are named in the result.
        out: the evaluation folder.
        resume: keep answers already there that were made with the same settings; failures are tried again. Without
            it, the files of these languages are made anew.
        split, prompt_set: default: the benchmark's first.
        limit: examples in each language, the first so many.
        root: the folder that holds a folder of data for each benchmark; default: each benchmark's own place.
        recipe, command: for run.json.
        trained: which languages the model knows, and which with pictures: makes the report's groups.
        answers: "generate", or "likelihood": the likeliest of each question's choices. The latter's prompt set is
            called <prompt set>-likelihood.
        share: of this process, where several ask the same. Each writes files of its own, and the main one gathers
            them, checks that nothing is missing, and returns what all made.

    Raises:
        EvaluationError: no examples in any of the languages, an id that is there twice, no likelihoods, or no vectors
            where the benchmark is ranked by them.
        UnknownNameError: no such split or prompt set.
        VisiglotError: a file can't be written.
    """
    split, prompt_set = benchmark.choose("split", split), benchmark.choose("prompt set", prompt_set)
    check_kind(answerer, benchmark, ranks=answers == LIKELIHOOD)
    data = benchmark.open(root)
    examples = _read_examples(benchmark, data, languages, split, prompt_set, limit)
    lacking = tuple(code for code in languages if code not in examples)
    settings_hash = _settings_hash(benchmark, data, answerer, split, prompt_set, answers)
    counts = {code: len(rows) for code, rows in examples.items()}
    row = _benchmark_run(benchmark, data, split, settings_hash, groups_of(data, trained), counts)
    run = Run(
        model=answerer.name,
        model_hash=answerer.fingerprint,
        recipe=recipe,
        command=tuple(command),
        commit=environment.commit(),
        versions=environment.versions(),
        device=answerer.device,
    )
    called = name_of(prompt_set, answers)
    paths = {code: prediction_path(out, benchmark.name, called, code) for code in examples}
    dropped = earlier = 0
    if share.main:
        name = f"{benchmark.name}.{called}"
        whole = provenance.add_benchmark(out, run, name, row, resume=resume).benchmarks[name]
        earlier = sum(whole.rows.values()) - sum(counts.values())
        today = {(code, one.id): _said(one, benchmark) for code, rows in examples.items() for one in rows}
        dropped = keep_finished(paths, settings_hash, today, resume=resume)
    share.wait()
    done = {(code, row.id): row for code, path in paths.items() for row in read_predictions(path)}
    share.wait()

    wanted = [(code, example) for code, rows in examples.items() for example in rows]
    waiting = [(code, example) for code, example in wanted if (code, example.id) not in done]
    before, own = len(wanted) - len(waiting), own_share(waiting, share)
    pivot = isinstance(answerer, ModelAnswerer) and answerer.pivot and answers == "generate"
    made = failed = 0
    with ExitStack() as stack:
        files = {code: stack.enter_context(append_to(part_of(path, share))) for code, path in paths.items()}
        for (code, example), answer in _answered(answerer, benchmark, own, answers, data, split, prompt_set):
            prediction = _prediction(code, example, answer, benchmark, split, called, answerer.name, settings_hash)
            if pivot:
                prediction = without_pivot(prediction)
            done[code, example.id] = prediction
            write_row(files[code], prediction, part_of(paths[code], share))
            made += 1
            failed += prediction.error is not None
            if progress is not None:
                progress(before + made, before + len(own), failed)
    assert made == len(own), "every example has one answer or one error"
    share.wait()
    if share.main:
        for code, path in paths.items():
            done.update({(code, row.id): row for row in read_parts(path)})
        new = [done[code, example.id] for code, example in waiting if (code, example.id) in done]
        made, failed = len(new), sum(row.error is not None for row in new)
        assert made == len(waiting), "what the processes made together is what was asked"
        put_together(paths, examples, done)
        keep_pictures([example for _, example in wanted], out)
    share.wait()
    return Generated(benchmark.name, called, made, before, failed, dropped, lacking, earlier)


def name_of(prompt_set: str, answers: Answers) -> str:
    """What the results of a prompt set are called."""
    return f"{prompt_set}-{LIKELIHOOD}" if answers == LIKELIHOOD else prompt_set


def _answered(
    answerer: Answerer,
    benchmark: Benchmark,
    own: Sequence[tuple[str, Example]],
    answers: Answers,
    data: BenchmarkData,
    split: str,
    prompt_set: str,
) -> Iterator[tuple[tuple[str, Example], str | tuple[float, ...] | VisiglotError]]:
    """(language and example, what the model says to it) of each in `own`."""
    if benchmark.embeds:
        every = {
            code: list(data.examples(code, split=split, prompt_set=prompt_set, limit=None))
            for code in dict.fromkeys(code for code, _ in own)
        }
        yield from retrieve(embedder_of(answerer, benchmark.name), own, every)
        return
    for chunk in _chunks(own):
        asked = [example for _, example in chunk]
        found = answerer.rank(asked) if answers == LIKELIHOOD else answerer.answer(asked, benchmark.settings)
        for index, answer in found:
            yield chunk[index], answer


def _read_examples(
    benchmark: Benchmark,
    data: BenchmarkData,
    languages: Sequence[str],
    split: str,
    prompt_set: str,
    limit: int | None,
) -> dict[str, list[Example]]:
    """Examples by language, checked."""
    found: dict[str, list[Example]] = {}
    for code in languages:
        if code not in data.languages:
            continue
        rows = list(data.examples(code, split=split, prompt_set=prompt_set, limit=limit))
        ids = [example.id for example in rows]
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise EvaluationError(
                f"benchmark {benchmark.name}, {code}: id {twice!r} is there twice",
                hint="Their answers couldn't be told apart. Are the files as they were published?",
            )
        for example in rows:
            benchmark.metrics_of(example.task)
        found[code] = rows
    if not any(found.values()):
        raise EvaluationError(
            f"benchmark {benchmark.name}, split {split}: no examples in {', '.join(languages)}",
            hint=f"It has {', '.join(data.languages) or 'none'}.",
        )
    return {code: rows for code, rows in found.items() if rows}


def _settings_hash(
    benchmark: Benchmark, data: BenchmarkData, answerer: Answerer, split: str, prompt_set: str, answers: Answers
) -> str:
    """SHA-256 of everything that an answer follows from, the example apart."""
    facts = {
        "benchmark": benchmark.name,
        "revision": data.revision,
        "split": split,
        "prompt_set": prompt_set,
        "settings": asdict(benchmark.settings),
        "model": answerer.fingerprint,
    }
    if answers != "generate":
        facts["answers"] = answers
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _benchmark_run(
    benchmark: Benchmark,
    data: BenchmarkData,
    split: str,
    settings_hash: str,
    groups: Mapping[str, tuple[str, ...]],
    rows: Mapping[str, int],
) -> BenchmarkRun:
    return BenchmarkRun(
        about=benchmark.about,
        split=split,
        revision=data.revision,
        settings=asdict(benchmark.settings),
        settings_hash=settings_hash,
        metrics=dict(benchmark.metrics),
        chance=dict(benchmark.chance),
        licence=benchmark.licence,
        citation=benchmark.citation,
        translation=benchmark.translation,
        control_of=benchmark.control_of,
        control=benchmark.control,
        language_groups=dict(groups),
        rows=rows,
    )


def _chunks(waiting: Sequence[tuple[str, Example]]) -> Iterator[list[tuple[str, Example]]]:
    """The examples picture by picture, cut where a chunk has enough of either."""
    by_picture: dict[tuple[str, ...], list[tuple[str, Example]]] = {}
    for code, example in waiting:
        by_picture.setdefault(pictures_of(example), []).append((code, example))
    chunk: list[tuple[str, Example]] = []
    pictures = 0
    for ids, rows in by_picture.items():
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            full = len(chunk) + len(part) > ROWS_AT_ONCE or pictures + len(ids) > PICTURES_AT_ONCE
            if chunk and full:
                yield chunk
                chunk, pictures = [], 0
            chunk += part
            pictures += len(ids)
    if chunk:
        yield chunk


def _prediction(
    code: str,
    example: Example,
    answer: str | tuple[float, ...] | VisiglotError,
    benchmark: Benchmark,
    split: str,
    prompt_set: str,
    model: str,
    settings_hash: str,
) -> Prediction:
    likelihoods: tuple[float, ...] = ()
    if isinstance(answer, tuple):
        likelihoods = answer
        answer = example.choices[max(range(len(likelihoods)), key=likelihoods.__getitem__)]
    return Prediction(
        id=example.id,
        image=image_name(example.images),
        language=code,
        text=answer if isinstance(answer, str) else None,
        error=None if isinstance(answer, str) else error_line(answer),
        benchmark=benchmark.name,
        split=split,
        prompt_set=prompt_set,
        model=model,
        settings_hash=settings_hash,
        likelihoods=likelihoods,
        **_said(example, benchmark),
    )


def _said(example: Example, benchmark: Benchmark) -> dict[str, Any]:
    """The fields of a prediction that its example says."""
    return {
        "prompt": "\n".join(turn.text for turn in asked_turns(example)),
        "references": example.references,
        "task": example.task,
        "group": example.group,
        "facts": {key: example.facts[key] for key in benchmark.facts},
        "choices": example.choices,
    }

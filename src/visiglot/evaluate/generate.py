"""The first stage: benchmark -> prediction files. Slow, resumable, and the only part that needs a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from visiglot import environment
from visiglot.errors import EvaluationError, VisiglotError
from visiglot.evaluate import provenance
from visiglot.evaluate.answers import Answerer, ModelAnswerer, error_line, picture_id
from visiglot.evaluate.benchmark import Benchmark, BenchmarkData
from visiglot.evaluate.pictures import image_name, keep_pictures
from visiglot.evaluate.predictions import (
    prediction_line,
    prediction_path,
    read_predictions,
    write_predictions,
)
from visiglot.evaluate.provenance import BenchmarkRun, Run
from visiglot.evaluate.trained import TrainedLanguages, groups_of
from visiglot.types import Example, Prediction

if TYPE_CHECKING:
    from visiglot.models.processor import VisiglotProcessor
    from visiglot.models.vlm import VisionLanguageModel

Progress = Callable[[int, int, int], None]
"""Told (answers there, answers wanted, failures among them) whenever one more is written."""

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
    """

    benchmark: str
    prompt_set: str
    made: int
    kept: int
    failed: int
    dropped: int
    lacking: tuple[str, ...]


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
        root: folder of the benchmark's data; default: its own place.
        recipe, command: for run.json.
        trained: which languages the model knows, and which with pictures: makes the report's groups.

    Raises:
        EvaluationError: no examples in any of the languages, or an id that is there twice.
        UnknownNameError: no such split or prompt set.
        VisiglotError: a file can't be written.
    """
    split, prompt_set = benchmark.choose("split", split), benchmark.choose("prompt set", prompt_set)
    data = benchmark.load(root)
    examples = _read_examples(benchmark, data, languages, split, prompt_set, limit)
    lacking = tuple(code for code in languages if code not in examples)
    settings_hash = _settings_hash(benchmark, data, answerer, split, prompt_set)
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
    provenance.add_benchmark(out, run, f"{benchmark.name}.{prompt_set}", row)

    paths = {code: prediction_path(out, benchmark.name, prompt_set, code) for code in examples}
    done: dict[tuple[str, str], Prediction] = {}
    dropped = 0
    for code, path in paths.items():
        old = read_predictions(path, torn=True) if resume and path.exists() else []
        kept = [p for p in old if p.settings_hash == settings_hash and p.error is None]
        dropped += sum(p.settings_hash != settings_hash for p in old)
        write_predictions(kept, path)
        done.update({(code, p.id): p for p in kept})
    wanted = [(code, example) for code, rows in examples.items() for example in rows]
    before = sum((code, example.id) in done for code, example in wanted)
    waiting = [(code, example) for code, example in wanted if (code, example.id) not in done]

    made = failed = 0
    with ExitStack() as stack:
        files = {code: stack.enter_context(_append(path)) for code, path in paths.items()}
        for chunk in _chunks(waiting):
            for index, answer in answerer.answer([example for _, example in chunk], benchmark.settings):
                code, example = chunk[index]
                prediction = _prediction(
                    code, example, answer, benchmark, split, prompt_set, answerer.name, settings_hash
                )
                done[code, example.id] = prediction
                _write(files[code], prediction, paths[code])
                made += 1
                failed += prediction.error is not None
                if progress is not None:
                    progress(before + made, len(wanted), failed)
    assert before + made == len(wanted), "every example has one answer or one error"
    _finish(paths, examples, done)
    keep_pictures([example for _, example in wanted], out)
    return Generated(benchmark.name, prompt_set, made, before, failed, dropped, lacking)


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
            raise EvaluationError(f"benchmark {benchmark.name}, {code}: id {twice!r} is there twice")
        for example in rows:
            benchmark.metrics_of(example.task)
        found[code] = rows
    if not any(found.values()):
        raise EvaluationError(
            f"benchmark {benchmark.name}, split {split}: no examples in {', '.join(languages)}",
            hint=f"It has {', '.join(data.languages) or 'none'}.",
        )
    return {code: rows for code, rows in found.items() if rows}


def _settings_hash(benchmark: Benchmark, data: BenchmarkData, answerer: Answerer, split: str, prompt_set: str) -> str:
    """SHA-256 of everything that an answer follows from, the example apart."""
    facts = {
        "benchmark": benchmark.name,
        "revision": data.revision,
        "split": split,
        "prompt_set": prompt_set,
        "settings": asdict(benchmark.settings),
        "model": answerer.fingerprint,
    }
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
        by_picture.setdefault(tuple(map(picture_id, example.images)), []).append((code, example))
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
    answer: str | VisiglotError,
    benchmark: Benchmark,
    split: str,
    prompt_set: str,
    model: str,
    settings_hash: str,
) -> Prediction:
    turns = example.messages[:-1] if example.messages[-1].role == "assistant" else example.messages
    return Prediction(
        id=example.id,
        image=image_name(example.images),
        language=code,
        prompt="\n".join(turn.text for turn in turns),
        text=answer if isinstance(answer, str) else None,
        error=None if isinstance(answer, str) else error_line(answer),
        benchmark=benchmark.name,
        split=split,
        prompt_set=prompt_set,
        references=example.references,
        model=model,
        settings_hash=settings_hash,
        task=example.task,
        group=example.group,
    )


def _append(path: Path) -> IO[str]:
    try:
        return path.open("a", encoding="utf-8", newline="\n")
    except OSError as error:
        raise _cannot_write(path, error) from error


def _write(file: IO[str], prediction: Prediction, path: Path) -> None:
    try:
        file.write(prediction_line(prediction))
        file.flush()
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> VisiglotError:
    return VisiglotError(
        f"{path} can't be written: {error.strerror or error}",
        hint="Free some space and run the same command with --resume; what is there is kept.",
    )


def _finish(
    paths: Mapping[str, Path],
    examples: Mapping[str, Sequence[Example]],
    done: Mapping[tuple[str, str], Prediction],
) -> None:
    """Put each file in the benchmark's order, answers outside today's limit behind."""
    for code, path in paths.items():
        first = [example.id for example in examples[code]]
        asked = set(first)
        rest = sorted(id for language, id in done if language == code and id not in asked)
        write_predictions([done[code, id] for id in (*first, *rest)], path)

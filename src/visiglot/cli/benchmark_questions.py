"""`benchmark:NAME` as the source of `visiglot translate`: the English questions of a benchmark, taken apart."""

from __future__ import annotations

from visiglot.cli.datasets.opening import read_options

PREFIX = "benchmark:"


def as_source(source: str, options: list[str]) -> tuple[str, list[str]]:
    """A source that `visiglot translate` reads, and its options; what isn't a benchmark's stays as it is.

    The questions are written into the cache once, under a name that follows from what the benchmark's files hold.

    Args:
        options: of a benchmark's questions `data=ROOT` only, as `--data` of `visiglot evaluate`.

    Raises:
        ConfigError: another option.
        UnknownNameError: the benchmark isn't one that can be translated.
        EvaluationError: its data aren't there.
    """
    if not source.startswith(PREFIX):
        return source, options
    import hashlib
    from pathlib import Path

    from visiglot.benchmarks.translated import FORMAT, original_of, write_questions
    from visiglot.config import cache_dir
    from visiglot.errors import ConfigError
    from visiglot.evaluate.benchmark import BENCHMARKS

    name = original_of(source.removeprefix(PREFIX)).name
    given = read_options(source, options, hint="Options look like data=ROOT.")
    if problems := [f"{key}: no such key; known: data" for key in given if key != "data"]:
        raise ConfigError(source, problems, hint="Options look like data=ROOT.")
    root = Path(str(given["data"])).expanduser() if given.get("data") else None
    told = f"{FORMAT}\0{BENCHMARKS.get(name).open(root).revision}"
    key = hashlib.sha256(told.encode()).hexdigest()[:16]
    path = cache_dir() / "questions" / f"{name}-{key}.parquet"
    if not path.is_file():
        write_questions(name, root, path)
    return str(path), [f"name={name}"]

"""Benchmarks that others published: where their files are, what exactly was opened, and rows in one order.

A benchmark reads the files as they are published, from a folder or from a repository of the hub. What is wrong with a
file is said with the file, the line, the field and where a good copy comes from.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from visiglot.data.adapter import Pictures
from visiglot.data.rows import Row, Rows
from visiglot.errors import DataError, EvaluationError
from visiglot.types import Example, ImageRef

FORMS: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...] = ("NFC", "NFD", "NFKC", "NFKD")
"""Unicode's forms in which archives and file systems write one name."""


@dataclass(frozen=True, slots=True)
class Publication:
    """How a benchmark is published.

    Args:
        home: where its files come from.
        layout: of a complete folder, for messages.
        texts: patterns of the files that are read, below the folder.
        pictures: folders of pictures, below the folder; those that are there count.
        repo: data set of the hub that has all of it; "": none is known, and a folder must be given.
        below: the part of that repository which the folder stands for.
    """

    home: str
    layout: str
    texts: tuple[str, ...]
    pictures: tuple[str, ...] = ()
    repo: str = ""
    below: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What examples are wanted of: a file of `PublishedData.files`, its language, the split and the prompt set."""

    file: Path
    language: str
    split: str
    prompt_set: str


def by_id(example: Example) -> str:
    """The unit of examples of which each stands alone."""
    return example.id


@dataclass(frozen=True)
class PublishedData:
    """A published benchmark, opened.

    Args:
        revision: see `open_published`.
        files: split -> FLORES code -> the file that the language's examples are read from.
        read: the examples of one language, in the order of the file.
        home: where a good copy comes from.
        unit: what an example can't be parted from (the circle that a question belongs to). Languages whose units are
            the same are in the same order.
    """

    revision: str
    files: Mapping[str, Mapping[str, Path]]
    read: Callable[[Asked], Iterable[Example]] = field(repr=False)
    home: str = ""
    unit: Callable[[Example], str] = by_id

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(code for files in self.files.values() for code in files))

    @property
    def language_groups(self) -> Mapping[str, tuple[str, ...]]:
        return {}

    def examples(self, language: str, *, split: str, prompt_set: str, limit: int | None) -> Sequence[Example]:
        """In the order of a hash of their units, so that a limit takes a fair part, and of each language the same.

        Args:
            limit: units are whole: as many as fit, and at least one.

        Raises:
            EvaluationError: the file can't be read, or isn't as published.
        """
        if language not in self.files.get(split, {}):
            return ()
        try:
            found = list(self.read(Asked(self.files[split][language], language, split, prompt_set)))
        except DataError as error:
            hint = error.hint or f"Is the file as it was published? It comes from {self.home}"
            raise EvaluationError(error.message, hint=hint) from error
        found.sort(key=lambda example: hashlib.sha256(self.unit(example).encode()).digest())
        return found if limit is None else found[: self._end(found, limit)]

    def _end(self, found: Sequence[Example], limit: int) -> int:
        """The last end of a unit that isn't behind `limit`, or the first end there is."""
        ends = [n for n in range(1, len(found) + 1) if n == len(found) or self._parts(found[n - 1], found[n])]
        return max((end for end in ends if end <= limit), default=ends[0] if ends else 0)

    def _parts(self, before: Example, after: Example) -> bool:
        return self.unit(before) != self.unit(after)


def open_published(folder: Path | None, benchmark: str, publication: Publication) -> tuple[Path, str]:
    """The folder of a benchmark's files and what exactly is in it.

    The revision of a folder is a SHA-256 over the names and bytes of the text files that are read, and over the names
    and sizes, not the bytes, of the pictures. That of the hub's is the repository and the commit.

    Args:
        folder: None: fetched from the hub, or taken from its cache.

    Raises:
        EvaluationError: no folder is given and no repository known, the fetch fails, or a pattern matches no file.
    """
    if folder is None and not publication.repo:
        raise EvaluationError(
            f"benchmark {benchmark}: no folder of its data is given, and no repository of the hub is known to have it",
            hint=f"Get it from {publication.home}, and name the folder above {benchmark}/ with --data. "
            f"Layout of {benchmark}/: {publication.layout}",
        )
    fetched = _fetch(benchmark, publication) if folder is None else None
    folder = fetched[0] if fetched is not None else folder
    assert folder is not None
    texts = sorted({path for pattern in publication.texts for path in folder.glob(pattern) if path.is_file()})
    if not texts:
        raise lacking(benchmark, folder, " or ".join(publication.texts), publication)
    if fetched is not None:
        return folder, f"{publication.repo}@{fetched[1]}"
    told = hashlib.sha256()
    for path in texts:
        told.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        with path.open("rb") as file:
            told.update(hashlib.file_digest(file, "sha256").digest())
    for line in _sizes(folder, publication.pictures):
        told.update(line)
    return folder, f"sha256:{told.hexdigest()}"


def lacking(benchmark: str, folder: Path, what: str, publication: Publication) -> EvaluationError:
    """What to raise where a folder lacks a file or folder."""
    return EvaluationError(
        f"benchmark {benchmark}: {folder} has no {what}",
        hint=f"Get it from {publication.home}. Layout of {benchmark}/: {publication.layout}",
    )


def files_by_language(folder: Path, patterns: Sequence[str], codes: Mapping[str, str]) -> dict[str, Path]:
    """FLORES code -> the language's file, where there is one.

    Args:
        patterns: paths below the folder with {code}; the first that exists is taken.
        codes: FLORES code -> what the files call the language.
    """
    found = {}
    for language, code in codes.items():
        paths = [folder / pattern.format(code=code) for pattern in patterns]
        there = next((path for path in paths if path.is_file()), None)
        if there is not None:
            found[language] = there
    return found


def picture_folder(benchmark: str, folder: Path, publication: Publication, names: Sequence[str] = ()) -> Pictures:
    """The first of the folders of pictures that is there.

    Raises:
        EvaluationError: none is.
    """
    names = names or publication.pictures
    for name in names:
        if (folder / name).is_dir():
            return Pictures(folder / name)
    raise lacking(benchmark, folder, f"folder {' or '.join(names)}", publication)


def open_pictured(
    benchmark: str,
    publication: Publication,
    patterns: Mapping[str, Sequence[str]],
    codes: Mapping[str, str],
    read: Callable[[Asked, Pictures], Iterable[Example]],
    folder: Path | None,
) -> PublishedData:
    """A benchmark with one file for each split and language, and one folder of pictures.

    Args:
        patterns, codes: by split, as of `files_by_language`.
        read: the examples of one file.

    Raises:
        EvaluationError: there are no texts, or no pictures.
    """
    folder, revision = open_published(folder, benchmark, publication)
    pictures = picture_folder(benchmark, folder, publication)
    files = {split: files_by_language(folder, paths, codes) for split, paths in patterns.items()}
    return PublishedData(revision, files, lambda asked: read(asked, pictures), publication.home)


def picture(pictures: Pictures, row: Row, name: str, path: str) -> ImageRef:
    """The picture at `path`, which the row's field `name` says, in whichever form of Unicode its file is named.

    Raises:
        DataError: the path leaves the folder.
    """
    ref = pictures.ref(row, name, path)
    if ref.path is None or path.isascii() or ref.path.exists():
        return ref
    for form in FORMS:
        other = pictures.ref(row, name, unicodedata.normalize(form, path))
        if other.path is not None and other.path.exists():
            return replace(other, name=ref.name)
    return ref


def text_lines(file: Path) -> list[str]:
    """The lines of a small text file. Raises DataError: it can't be read, or isn't UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} can't be read as text: {error}", hint="Save it as UTF-8, or copy it again.") from error


def all_rows(rows: Rows) -> Iterator[Row]:
    """Every row of a file, each of which must be good. Raises DataError."""
    for _, row in rows.scan():
        if isinstance(row, DataError):
            raise row
        yield replace(row, scanned=False)


def _fetch(benchmark: str, publication: Publication) -> tuple[Path, str]:
    """The folder in the hub's cache and the commit."""
    from huggingface_hub import snapshot_download

    patterns = [str(PurePosixPath(publication.below, pattern)) for pattern in publication.texts]
    try:
        snapshot = Path(snapshot_download(publication.repo, repo_type="dataset", allow_patterns=patterns))
    except Exception as error:  # the hub's client changes its HTTP library, and with it what a broken line raises
        raise EvaluationError(
            f"benchmark {benchmark}: {publication.repo} can't be fetched from the hub: "
            f"{str(error).strip().partition(chr(10))[0] or type(error).__name__}",
            hint=f"Check the network, or get it from {publication.home} and name the folder above {benchmark}/ with "
            f"--data. Layout of {benchmark}/: {publication.layout}",
        ) from error
    return snapshot / publication.below, snapshot.name


def _sizes(folder: Path, names: Sequence[str]) -> list[bytes]:
    """Name and size of every file below the folders of pictures, sorted."""
    found = []
    for name in names:
        for parent, _, files in os.walk(folder / name, followlinks=True):
            for file in files:
                path = Path(parent, file)
                size = path.stat().st_size if path.exists() else -1
                relative = path.relative_to(folder).as_posix()
                found.append(f"{relative}\0{size}\0".encode("utf-8", "surrogateescape"))
    return sorted(found)

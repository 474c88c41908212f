"""Examples in a Parquet file: everything an Example holds, pictures as bytes or as paths below a root."""

from __future__ import annotations

import copy
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visiglot.data.parquet import pyarrow
from visiglot.data.paths import check_path, resolve_below
from visiglot.data.source import SOURCES, Indices
from visiglot.errors import DataError
from visiglot.types import Example, ImageRef, ImageSlot, Message, Provenance

if TYPE_CHECKING:
    from pyarrow import Schema, Table

ROWS_PER_GROUP = 64
"""Rows that are read together. Few, since training reads in random order: one group of 50 kB pictures is 3 MB."""

GROUPS_KEPT = 16

ROWS_AT_ONCE = 2**16
"""Rows whose facts are looked through together."""

FORMAT = "visiglot.examples.2"

ADDED = {"facts": "visiglot.examples.2"}
"""Columns that files of an earlier format lack, with the format that brought them."""

_HINT = "Mend the row where the file is made; `visiglot.data.parquet_source.write_examples` writes whole rows only."


def _schema() -> Schema:
    import pyarrow as pa

    part = pa.struct([("text", pa.string()), ("image", pa.int32())])
    message = pa.struct([("role", pa.string()), ("content", pa.list_(part))])
    image = pa.struct([("name", pa.string()), ("path", pa.string()), ("data", pa.binary())])
    provenance = pa.struct(
        [("source", pa.string()), ("licence", pa.string()), ("engine", pa.string()), ("quality", pa.float64())]
    )
    return pa.schema(
        [
            ("id", pa.string()),
            ("messages", pa.list_(message)),
            ("language", pa.string()),
            ("images", pa.list_(image)),
            ("references", pa.list_(pa.string())),
            ("provenance", provenance),
            ("task", pa.string()),
            ("group", pa.string()),
            ("facts", pa.map_(pa.string(), pa.string())),
        ],
        metadata={"format": FORMAT},
    )


def write_examples(path: Path, examples: Iterable[Example], *, root: Path | None = None) -> int:
    """Write examples and return how many there were. The file appears whole or not at all.

    Pictures that are bytes go into the file; pictures that are paths stay where they are and are written relative to
    `root`.

    Args:
        root: the folder below which all paths lie; default: the file's own folder.

    Raises:
        DataError: a picture lies outside `root`, or the file can't be written.
        MissingExtraError: pyarrow isn't installed.
    """
    pa, pq = pyarrow()
    root = Path(os.path.abspath(root if root is not None else path.parent))
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    schema = _schema()
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with pq.ParquetWriter(part, schema, compression="zstd") as writer:
                rows: list[dict[str, Any]] = []
                for example in examples:
                    rows.append(_row(example, root))
                    if len(rows) == ROWS_PER_GROUP:
                        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                        rows.clear()
                    count += 1
                if rows:
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path} can't be written: {error}", hint="Free some space or correct the folder's permissions."
        ) from error
    return count


class ParquetSource:
    """The examples of a file that `write_examples` wrote. Rows are read when they are asked for.

    Args:
        path: the file.
        root: where the pictures' relative paths start; default: the file's own folder.
        languages: only these are in `by_language`; None: all.
        name: what messages call the source; default: the file's name.

    Raises:
        DataError: the file is missing, broken, or not of this format.
        MissingExtraError: pyarrow isn't installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        root: Path | None = None,
        languages: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        pa, pq = pyarrow()
        self.name = name or path.stem
        self.path = path
        self.root = (root if root is not None else path.parent).absolute()
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
            _refuse_columns(path, self._file.schema_arrow)
            codes = self._file.read(columns=["language"]).column("language").to_numpy(zero_copy_only=False)
        except FileNotFoundError as error:
            raise DataError(f"there is no file {path}", hint=check_path(path)) from error
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DataError(
                f"{path} can't be read as Parquet: {error}", hint="Copy it again, or write it anew."
            ) from error
        for number, code in enumerate(codes):
            if not isinstance(code, str):
                raise DataError(f"{path}, row {number}: `language` is empty", hint=_HINT)
        self._languages = languages
        found = np.unique(codes.astype(str))
        wanted = [code for code in found if languages is None or code in languages]
        self.by_language: Mapping[str, Indices] = {
            str(code): np.flatnonzero(codes == code).astype(np.int32) for code in wanted
        }
        self.left_out: dict[str, int] = {}
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self._groups: OrderedDict[int, Table] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} examples, there is no number {index}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = self._group(number).slice(index - int(self._starts[number]), 1).to_pylist()[0]
        return self._example(row, f"{self.path}, row {index}")

    @property
    def files(self) -> Sequence[Path]:
        """The file that it is read from."""
        return (self.path,)

    def ids(self) -> Sequence[str]:
        """Of each row."""
        return [str(id) for id in self._file.read(columns=["id"]).column("id").to_pylist()]

    def permitting(self, objection: Callable[[str | None, str | None], str | None]) -> ParquetSource:
        """This source, with only those rows in `by_language` that nothing is said against.

        Args:
            objection: (licence, engine that translated it) of a row's provenance -> what is said against it.
        """
        kept = copy.copy(self)
        table = self._file.read(columns=["provenance.licence", "provenance.engine"])
        provenance = table.column("provenance").combine_chunks()
        licences, engines = (
            provenance.field(name).dictionary_encode(null_encoding="encode") for name in ("licence", "engine")
        )
        pairs = [(one, other) for one in licences.dictionary.to_pylist() for other in engines.dictionary.to_pylist()]
        number = np.asarray(licences.indices, dtype=np.int64) * len(engines.dictionary) + np.asarray(engines.indices)
        said = [objection(*pair) for pair in pairs]
        allowed = np.array([reason is None for reason in said], dtype=bool)[number]
        counts = np.bincount(number, minlength=len(pairs))
        kept.by_language = {code: indices[allowed[indices]] for code, indices in self.by_language.items()}
        kept.left_out = {}
        for reason, count in zip(said, counts.tolist(), strict=True):
            if reason is not None and count:
                kept.left_out[reason] = kept.left_out.get(reason, 0) + count
        return kept

    def by_language_of(self, fact: str) -> Mapping[str, Indices]:
        """`by_language`, by the language of a fact: that of "<fact>.language" where a row has it."""
        rows, codes = self._said(f"{fact}.language")
        if not len(rows):
            return self.by_language
        parts = {code: [indices[~np.isin(indices, rows)]] for code, indices in self.by_language.items()}
        listed = np.isin(rows, np.concatenate([*self.by_language.values(), np.zeros(0, dtype=np.int32)]))
        for code in np.unique(codes[listed]).tolist():
            if self._languages is None or code in self._languages:
                parts.setdefault(code, []).append(rows[listed & (codes == code)])
        joined = {code: np.sort(np.concatenate(some)) for code, some in parts.items()}
        return {code: indices for code, indices in joined.items() if len(indices)}

    def _said(self, fact: str) -> tuple[Indices, NDArray[np.str_]]:
        """Numbers of the rows that have a fact, and what it says in each."""
        import pyarrow.compute as pc

        rows, said = [np.zeros(0, dtype=np.int32)], [np.zeros(0, dtype=np.str_)]
        if "facts" not in self._file.schema_arrow.names:
            return rows[0], said[0]
        first = 0
        for batch in self._file.iter_batches(ROWS_AT_ONCE, columns=["facts"]):
            facts = batch.column(0)
            offsets = facts.offsets.to_numpy()
            keys = facts.keys.slice(offsets[0], offsets[-1] - offsets[0])
            places = np.flatnonzero(pc.equal(keys, fact).to_numpy(zero_copy_only=False))
            rows.append((np.searchsorted(offsets, places + offsets[0], side="right") - 1 + first).astype(np.int32))
            said.append(np.array(facts.items.take(places + offsets[0]).to_pylist(), dtype=np.str_))
            first += len(batch)
        return np.concatenate(rows), np.concatenate(said)

    def _group(self, number: int) -> Table:
        with self._lock:
            table = self._groups.get(number)
            if table is None:
                table = self._file.read_row_group(number)
                self._groups[number] = table
                if len(self._groups) > GROUPS_KEPT:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(number)
            return table

    def _example(self, row: Mapping[str, Any], where: str) -> Example:
        _refuse_empty(row, where)
        return Example(
            id=row["id"],
            messages=tuple(
                Message(
                    message["role"],
                    tuple(p["text"] if p["image"] is None else ImageSlot(p["image"]) for p in message["content"]),
                )
                for message in row["messages"]
            ),
            language=row["language"],
            images=tuple(
                ImageRef(
                    image["name"],
                    path=None if image["path"] is None else resolve_below(self.root, image["path"], where=where),
                    data=image["data"],
                )
                for image in row["images"]
            ),
            references=tuple(row["references"]),
            provenance=None if row["provenance"] is None else Provenance(**row["provenance"]),
            task=row["task"],
            group=row["group"],
            facts=dict(row.get("facts") or ()),
        )


def _refuse_columns(path: Path, found: Schema) -> None:
    """Raises DataError: a file doesn't have the columns of an example."""
    fields = list(found)
    known = [field for field in _schema() if field.name not in ADDED or field in fields]
    if fields != known:
        missing = [field.name for field in known if field not in fields]
        raise DataError(
            f"{path} holds no examples: its columns are {', '.join(found.names)}; missing or of another type: "
            f"{', '.join(missing) or 'none, but there are more than belong'}",
            hint="`visiglot data write` writes such files; others are read by the source parquet-images.",
        )


_ROLES = ("system", "user", "assistant")


def _refuse_empty(row: Mapping[str, Any], where: str) -> None:
    """Parquet lets every value be null; an example does not.

    Raises:
        DataError: naming the first field that is empty, or that says nothing an example can hold.
    """
    empty = [
        name for name in ("id", "messages", "language", "images", "references", "task", "group") if row[name] is None
    ]
    for m, message in enumerate(row["messages"] or ()):
        field = f"messages[{m}]"
        if message is None or message["content"] is None:
            empty.append(field)
            continue
        if message["role"] not in _ROLES:
            raise DataError(f"{where}: `{field}.role` is {message['role']!r}", hint=f"One of {', '.join(_ROLES)}.")
        for p, part in enumerate(message["content"]):
            if part is None or (part["text"] is None and part["image"] is None):
                empty.append(f"{field}.content[{p}]")
            elif part["image"] is not None and not 0 <= part["image"] < len(row["images"] or ()):
                raise DataError(
                    f"{where}: `{field}.content[{p}].image` is {part['image']}, but the row has "
                    f"{len(row['images'] or ())} pictures",
                    hint=_HINT,
                )
    for i, image in enumerate(row["images"] or ()):
        if image is None or image["name"] is None or (image["path"] is None) == (image["data"] is None):
            empty.append(f"images[{i}] (a name, and a path or data)")
    empty += [f"references[{r}]" for r, text in enumerate(row["references"] or ()) if text is None]
    provenance = row["provenance"]
    empty += [f"provenance.{n}" for n in ("source", "licence") if provenance is not None and provenance[n] is None]
    if empty:
        raise DataError(f"{where}: `{empty[0]}` is empty", hint=_HINT)


@SOURCES.register("parquet")
def build_parquet(
    *, languages: Sequence[str], seed: int, path: str, root: str | None = None, name: str | None = None
) -> ParquetSource:
    """Whole examples in a Parquet file, as `visiglot data write` makes it.

    `root` is where the pictures' relative paths start; default: the file's own folder.
    """
    return ParquetSource(
        Path(path).expanduser(), root=Path(root).expanduser() if root else None, languages=languages, name=name
    )


def _row(example: Example, root: Path) -> dict[str, Any]:
    """The columns of an example. Raises DataError: it holds something that has no column."""
    if any(message.unlearned for message in example.messages):
        raise DataError(
            f"example {example.id}: part of its answer isn't to be learned, which a file of examples can't say",
            hint="Write the source without the task, and give the task where it is trained on.",
        )
    provenance = example.provenance
    return {
        "id": example.id,
        "messages": [
            {
                "role": message.role,
                "content": [
                    {"text": p, "image": None} if isinstance(p, str) else {"text": None, "image": p.index}
                    for p in message.content
                ],
            }
            for message in example.messages
        ],
        "language": example.language,
        "images": [
            {"name": ref.name, "path": None if ref.path is None else _relative(ref, root), "data": ref.data}
            for ref in example.images
        ],
        "references": list(example.references),
        "provenance": provenance
        and {
            "source": provenance.source,
            "licence": provenance.licence,
            "engine": provenance.engine,
            "quality": provenance.quality,
        },
        "task": example.task,
        "group": example.group,
        "facts": list(example.facts.items()),
    }


def _relative(ref: ImageRef, root: Path) -> str:
    assert ref.path is not None
    path = Path(os.path.abspath(ref.path))
    if not path.is_relative_to(root):
        raise DataError(
            f"picture {ref.name}: {ref.path} isn't below {root}",
            hint="Name a root above all pictures (--root), or have their bytes written (--pictures bytes).",
        )
    relative = path.relative_to(root).as_posix()
    resolve_below(root, relative, where=f"picture {ref.name}")  # as reading will
    return relative

"""Opening a mix of many examples and drawing from it in random order: Visiglot against a list in memory.

    list      all files through `json.load` into one list and a permutation of its numbers, as training scripts do
    first     Visiglot's first opening, which goes through the files once and leaves an index in the cache
    visiglot  every later opening

The files are LLaVA's layout, four of them, in mBLIP's 96 languages by mC4's shares. Each line is measured in a process
of its own: seconds until the first example is there, MiB that the process grew by after its imports, and examples a
second, read from places spread over the whole mix. The ratios are `list` over `visiglot`.

    python benchmarks/data.py --examples 50000,500000,5000000       needs 2 GB of disk; a quarter of an hour
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from loss import peak

FILES = 4
DRAWS = 2000
WAYS = ("list", "first", "visiglot")


def write(folder: Path, examples: int) -> None:
    """Files of `examples` rows in all."""
    from visiglot.languages import language, resolve

    rows = [language(code) for code in resolve("mblip")]
    shares = np.array([row.mc4_share for row in rows], dtype=float)
    pick = np.random.default_rng(0).choice(len(rows), size=examples, p=shares / shares.sum())
    words = random.Random(0)
    start = 0
    for number in range(FILES):
        stop = examples * (number + 1) // FILES
        with (folder / f"part-{number}.json").open("w", encoding="utf-8") as file:
            for n in range(start, stop):
                row = rows[pick[n]]
                turns = [
                    {"from": "human", "value": f"<image>\nCaption in {row.name}"},
                    {
                        "from": "gpt",
                        "value": f"{row.native} " + " ".join(f"word{words.randrange(999)}" for _ in range(9)),
                    },
                ]
                one = {"id": f"{n}", "image": f"{n % 1000:08d}.jpg", "language": row.code, "conversations": turns}
                file.write("[" if n == start else ",\n")
                file.write(json.dumps(one, ensure_ascii=False))
            file.write("]")
        start = stop


def measure(way: str, folder: Path) -> dict[str, float]:
    """One way, in this process."""
    from visiglot.config import DataSection, SourceSection
    from visiglot.data.mixture import Mixture

    files = sorted(folder.glob("part-*.json"))
    sources = tuple(
        SourceSection(
            type="llava", options={"path": str(path), "images": str(folder), "name": path.stem}, weight="size"
        )
        for path in files
    )
    before, began = peak(), time.perf_counter()
    drawn: Any
    if way == "list":
        rows = [row for path in files for row in json.loads(path.read_text(encoding="utf-8"))]
        order = np.random.default_rng(1).permutation(len(rows))
        total = len(rows)
        drawn = lambda k: rows[order[k]]  # noqa: E731
    else:
        total = int((folder / "examples").read_text())
        mixture = Mixture(DataSection(sources=sources, languages="mblip"), total=total, seed=1)
        drawn = mixture.__getitem__
    drawn(0)
    opened = time.perf_counter() - began
    places = np.random.default_rng(2).integers(0, total, DRAWS // 100)
    began = time.perf_counter()
    for place in places:
        for k in range(int(place), min(int(place) + 100, total)):
            drawn(k)
    rate = DRAWS / (time.perf_counter() - began)
    return {"seconds": opened, "mebibytes": peak() - before, "rate": rate}


def in_fresh_process(way: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    environment = {**os.environ, "VISIGLOT_CACHE": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", default="50000,500000", help="sizes of the mix, with commas")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, given.folder)))
        return
    print(f"{'examples':>10}  {'way':<10}{'s to open':>10}{'MiB':>8}{'examples/s':>12}")
    for size in map(int, given.examples.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder, size)
            (folder / "examples").write_text(str(size))
            found = {way: in_fresh_process(way, folder) for way in WAYS}
        for way, m in found.items():
            print(f"{size:>10,}  {way:<10}{m['seconds']:>10.2f}{m['mebibytes']:>8,.0f}{m['rate']:>12,.0f}")
        held, ours = found["list"], found["visiglot"]
        print(
            f"{size:>10,}  {'ratio':<10}{held['seconds'] / ours['seconds']:>9.1f}x"
            f"{held['mebibytes'] / max(ours['mebibytes'], 1):>7.1f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()

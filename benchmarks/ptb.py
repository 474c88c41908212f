"""How often our words differ from those of the Stanford PTB tokeniser, and which of the two is faster. Needs Java.

    python benchmarks/ptb.py JAR                      Debian's package descriptions, from apt's lists on this machine
    python benchmarks/ptb.py JAR FILE...              texts of your own, one a line
    python benchmarks/ptb.py JAR --golden tests/golden/ptb.json      write the jar's words for the texts in that file

JAR is stanford-corenlp-3.4.1.jar; pycocoevalcap's wheel has it under pycocoevalcap/tokenizer/. For Debian's long
descriptions: apt-get update -o Acquire::Languages=en.

The jar lets the next line decide whether a full stop ends a sentence. `alone` gives it each text with a word of its own
after it, which is what Visiglot's rules are equal to; `in a row` gives it one text after the other, as pycocoevalcap
does.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from visiglot.evaluate.segmentation import ptb

GUARD = "zzqzz"
"""A word that stands between two texts so that they don't touch."""

CAPTION = re.compile(r"[A-Za-z ,.'’\"-]+")
"""What caption-like lines consist of; and they have 4 to 30 words."""

SHOWN = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jar", type=Path)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--lines", type=int, default=150_000, help="at most so many texts, drawn with a fixed seed")
    parser.add_argument("--golden", type=Path)
    arguments = parser.parse_args()
    if arguments.golden:
        write_golden(arguments.jar, arguments.golden)
        return
    texts = list(dict.fromkeys(texts_of(arguments.files) if arguments.files else debian()))
    if len(texts) > arguments.lines:
        texts = random.Random(0).sample(texts, arguments.lines)
    measure(arguments.jar, texts)


def measure(jar: Path, texts: list[str]) -> None:
    """Print shares of lines that differ, the differences and the speeds."""
    start = time.perf_counter()
    ours = ptb.tokenise(texts, "eng_Latn")
    seconds = time.perf_counter() - start
    alone = jar_words(jar, texts, guarded=True)
    start = time.perf_counter()
    in_a_row = jar_words(jar, texts, guarded=False)
    java = time.perf_counter() - start
    captions = [index for index, text in enumerate(texts) if is_caption(text)]
    print(f"{len(texts)} texts, {len(captions)} of them caption-like")
    for name, theirs in (("alone", alone), ("in a row", in_a_row)):
        for kind, chosen in (("all", range(len(texts))), ("caption-like", captions)):
            differ = sum(theirs[index] != ours[index] for index in chosen)
            print(f"{name:8}  {kind:12}  {differ:5} differ = {100 * differ / max(1, len(chosen)):.4f} %")
    print(f"seconds: jar {java:.1f}, Visiglot {seconds:.1f}")
    different = Counter(
        f"{' '.join(left)}   here   {' '.join(right)}"
        for theirs, mine in zip(alone, ours, strict=True)
        if theirs != mine
        for left, right in [only_different(theirs, mine)]
    )
    for line, count in different.most_common(SHOWN):
        print(f"  {count:4}  jar   {line}")


def is_caption(text: str) -> bool:
    return CAPTION.fullmatch(text) is not None and 4 <= len(text.split()) <= 30


def only_different(left: list[str], right: list[str]) -> tuple[list[str], list[str]]:
    """Both without what they have in common at the start and at the end."""
    shorter = min(len(left), len(right))
    start = next((i for i in range(shorter) if left[i] != right[i]), shorter)
    end = next((i for i in range(shorter - start) if left[-1 - i] != right[-1 - i]), shorter - start)
    return left[start : len(left) - end], right[start : len(right) - end]


def jar_words(jar: Path, texts: Sequence[str], *, guarded: bool) -> list[list[str]]:
    """The jar's words of each text, filtered as pycocoevalcap filters them.

    Raises:
        ValueError: the jar gave another number of lines, as for a text with a line break in it.
    """
    lines = [line for text in texts for line in ((text, GUARD) if guarded else (text,))]
    command = ["java", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    run = subprocess.run(command, input="\n".join(lines).encode(), capture_output=True, check=True)
    found = run.stdout.decode().split("\n")[: len(lines)]
    if len(found) != len(lines) or (guarded and found[1::2] != [GUARD] * len(texts)):
        raise ValueError(f"{len(lines)} lines went in and {len(found)} others came out: is there a U+2028 in a text?")
    kept = (" ".join(word for word in line.split(" ") if word not in ptb.PUNCTUATION) for line in found)
    return [line.split() for line in kept][:: 2 if guarded else 1]


def texts_of(files: Iterable[Path]) -> Iterable[str]:
    for file in files:
        yield from (" ".join(line.split()) for line in file.read_text(encoding="utf-8").split("\n"))


def debian() -> Iterable[str]:
    """Short descriptions and the paragraphs of long ones."""
    files = sorted(Path("/var/lib/apt/lists").glob("*_Translation-en*"))
    command = ["/usr/lib/apt/apt-helper", "cat-file", *map(str, files)] if files else ["apt-cache", "dumpavail"]
    paragraph: list[str] = []
    for line in subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\n"):
        continues = line.startswith(" ") and line.strip() != "."
        if paragraph and not continues:
            yield " ".join(" ".join(paragraph).split())
            paragraph = []
        if line.startswith("Description"):
            yield " ".join(line.partition(":")[2].split())
        elif continues:
            paragraph.append(line)


def write_golden(jar: Path, file: Path) -> None:
    """Put the jar's words beside the texts of a golden file."""
    golden = json.loads(file.read_text(encoding="utf-8"))
    texts = [text for text, _ in golden["lines"]]
    golden["lines"] = [
        list(pair) for pair in zip(texts, map(" ".join, jar_words(jar, texts, guarded=True)), strict=True)
    ]
    lines = ",\n".join(json.dumps(pair, ensure_ascii=False) for pair in golden["lines"])
    file.write_text(f'{{"made": {json.dumps(golden["made"])},\n"lines": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()

"""SMPQA: reading labels in charts, and finding labelled parts of them, in any script (Geigle et al., 2025).

Made here as Centurio's authors describe it, for any language that there are words of and a font for: 50 bar charts and
50 pie charts, the same in every language but for their labels, with 5 questions of reading and 8 of grounding each,
half of the latter to be answered with yes. Which charts there are is drawn here, by a seed, and so are the words:
neither are those of the published set, so that numbers don't compare with published ones to the digit.

Words come from `words/<FLORES code>.txt`, one a line and the common ones first, of which the rarer half is used, as
published; without a folder, from the built-in data, whose names of things aren't sorted. Words that are long, have
digits, or have characters that no font has aren't used. Fonts are those of `fonts/` beside the words, or of `visiglot
data fonts`.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random

from visiglot.benchmarks.charts import MOST, TEXT, Chart, draw_chart, plan
from visiglot.benchmarks.wording import asked, chosen, words
from visiglot.data.fonts import load_fonts
from visiglot.data.index_files import index_folder
from visiglot.errors import EvaluationError
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings
from visiglot.evaluate.published import Asked, Publication, PublishedData, open_published, text_lines
from visiglot.languages import language
from visiglot.lettering import Fonts, text_mask
from visiglot.types import Example, ImageRef

FORMAT = 1
"""Raised when a seed gives other charts, labels or pictures than before."""
SEED = 0
LONGEST = 20
"""Characters of a label."""
ANSWERS = ("yes", "no")
READING = 3
"""Parts whose label is asked for by their colour; the biggest and the smallest are asked for too."""
METRICS = ("normalised-exact", "maxm-match", "mblip-relaxed", "chance", "choices")

PUBLICATION = Publication(
    home="https://github.com/frekwencja/most-common-words-multilingual (any list of words does)",
    layout="words/<FLORES code>.txt, a word a line, common ones first; fonts/ where you want others",
    texts=("words/*.txt",),
)


@dataclass(frozen=True, slots=True)
class Words:
    """Of one language.

    Args:
        file: that they are read from.
        read: them, common ones first or in no order.
        sorted_by_use: whether only the rarer half is used.
    """

    file: Path
    read: Callable[[], Sequence[str]]
    sorted_by_use: bool


def load(folder: Path | None, seed: int = SEED) -> PublishedData:
    """The charts of a seed, with words from a folder or from the built-in data."""
    found, revision = _built_in() if folder is None else _written(folder)
    own = folder / "fonts" if folder is not None else None
    fonts = load_fonts(own if own is not None and own.is_dir() else None)
    drawn_with = f"{_versions()}, fonts {_hash_of(fonts.folder)}"
    told = hashlib.sha256(f"{revision}\0{FORMAT}\0{seed}\0{drawn_with}".encode())
    return PublishedData(
        f"sha256:{told.hexdigest()}",
        {"test": {code: one.file for code, one in found.items()}},
        lambda asked: _examples(asked, found[asked.language], fonts, drawn_with, seed),
        PUBLICATION.home,
        unit=lambda example: example.group,
    )


def _written(folder: Path) -> tuple[dict[str, Words], str]:
    folder, revision = open_published(folder, "smpqa", PUBLICATION)
    files = {language(path.stem).code: path for path in sorted((folder / "words").glob("*.txt"))}
    return {code: Words(path, partial(text_lines, path), True) for code, path in files.items()}, revision


def _built_in() -> tuple[dict[str, Words], str]:
    """Names of the built-in data's things but flags."""
    from visiglot.data.nano.build import CARD, nano_dir
    from visiglot.data.nano.load import load_nano_once

    folder = nano_dir()
    data = load_nano_once(folder)

    def read(code: str) -> Sequence[str]:
        names = data.names[code]
        return [names[id].text for id, one in data.concepts.items() if id in names and one.category != "flag"]

    revision = hashlib.sha256((folder / CARD).read_bytes()).hexdigest()
    return {code: Words(folder / CARD, partial(read, code), False) for code in data.languages}, revision


def _versions() -> str:
    """Of all that a label's ink follows from besides the fonts."""
    import PIL
    from PIL import features

    return ", ".join([PIL.__version__, *(str(features.version(name)) for name in ("freetype2", "raqm", "harfbuzz"))])


@cache
def _hash_of(folder: Path) -> str:
    """SHA-256 over names and bytes of all files; once in a process."""
    told = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        told.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        told.update(hashlib.sha256(path.read_bytes()).digest())
    return told.hexdigest()


def _examples(wanted: Asked, own: Words, fonts: Fonts, drawn_with: str, seed: int) -> Iterator[Example]:
    code = wanted.language
    fitting = fitting_words(own.read(), rarer_half=own.sorted_by_use)
    known = [word for word in fitting if not fonts.missing(word, code)]
    if len(known) < MOST:
        raise _too_few(own.file, code, fitting, known, fonts)
    charts = [(chart, labels_of(chart, known, seed)) for chart in plan(seed)]
    folder = index_folder(
        f"SMPQA's charts in {code}",
        (own.file,),
        {"charts": [FORMAT, len(charts)], "seed": seed, "language": code, "drawn with": drawn_with},
        partial(_draw, charts, fonts, code),
    )
    for chart, labels in charts:
        image = ImageRef(f"{code}/{chart.name}.png", path=folder / f"{chart.name}.png")
        yield from _questions(chart, labels, image, wanted, seed)


def _too_few(file: Path, code: str, fitting: Sequence[str], known: Sequence[str], fonts: Fonts) -> EvaluationError:
    lacking = fonts.missing("".join(fitting), code)
    script = language(code).script
    return EvaluationError(
        f"benchmark smpqa: {file} has {len(known)} words in {code} that can be labels, a chart needs {MOST}"
        + (f"; {len(fitting) - len(known)} more have letters that no font has ({lacking[:10]})" if lacking else ""),
        hint=f"Put a font of the script {script} and the others that you need into <data>/smpqa/fonts/."
        if lacking
        else f"A label has at most {LONGEST} characters: letters, marks and spaces.",
    )


def fitting_words(found: Sequence[str], *, rarer_half: bool) -> list[str]:
    """Those that can be labels, each once, capitals aside."""
    plain = [unicodedata.normalize("NFC", word).strip() for word in found]
    if rarer_half:
        plain = plain[len(plain) // 2 :]
    by_form: dict[str, str] = {}
    for word in filter(_fits, plain):
        by_form.setdefault(word.casefold(), word)
    return list(by_form.values())


def _fits(word: str) -> bool:
    """Neither too long nor a letter that could stand for an option, and nothing but letters, marks and spaces."""
    kinds = {unicodedata.category(character)[0] for character in word}
    is_option = len(word) == 1 and word.isascii()
    return len(word) <= LONGEST and not is_option and "L" in kinds and kinds <= {"L", "M", "Z"}


def labels_of(chart: Chart, known: Sequence[str], seed: int) -> tuple[str, ...]:
    """The labels of a chart's parts. No label stands in another, so that no answer is another one's beginning."""
    labels: list[str] = []
    order = Random(f"smpqa/{seed}/{chart.name}/labels").sample(range(len(known)), len(known))
    for word in (known[place] for place in order):
        if not any(word.casefold() in one.casefold() or one.casefold() in word.casefold() for one in labels):
            labels.append(word)
        if len(labels) == len(chart.values):
            return tuple(labels)
    raise EvaluationError(
        f"benchmark smpqa: of {len(known)} words fewer than {len(chart.values)} can stand in one chart",
        hint="Give more words: none may be part of another.",
    )


def _draw(charts: Sequence[tuple[Chart, Sequence[str]]], fonts: Fonts, code: str, folder: Path) -> None:
    for chart, labels in charts:
        ink = [text_mask(label, fonts=fonts, language=code, size=TEXT) for label in labels]
        (folder / f"{chart.name}.png").write_bytes(draw_chart(chart, ink))


def _questions(chart: Chart, labels: Sequence[str], image: ImageRef, wanted: Asked, seed: int) -> Iterator[Example]:
    said = words("smpqa", wanted.prompt_set, wanted.language)
    for number, (key, values, right) in enumerate(_reading(chart, labels, seed)):
        yield _example("reading", number, chart, image, wanted, said, key, values, (right, tuple(labels)))
    for number, (key, values, holds) in enumerate(_grounding(chart, labels, seed)):
        answer = said["yes" if holds else "no"]
        yield _example("grounding", number, chart, image, wanted, said, key, values, (answer, chosen(said, ANSWERS)))


def _reading(chart: Chart, labels: Sequence[str], seed: int) -> list[tuple[str, Mapping[str, str], str]]:
    """(kind of question, what it names, the right label): the biggest, the smallest, and three by their colours."""
    parts = Random(f"smpqa/{seed}/{chart.name}/reading").sample(range(len(labels)), READING)
    return [
        ("biggest", {}, labels[chart.biggest]),
        ("smallest", {}, labels[chart.smallest]),
        *(("coloured", {"colour": chart.colours[part]}, labels[part]) for part in parts),
    ]


def _grounding(chart: Chart, labels: Sequence[str], seed: int) -> list[tuple[str, Mapping[str, str], bool]]:
    """(kind of question, what it names, whether it holds): four pairs, of which one holds and one doesn't."""
    draw = Random(f"smpqa/{seed}/{chart.name}/grounding")
    every = range(len(labels))
    found: list[tuple[str, Mapping[str, str], bool]] = []
    for key, right in (("isbiggest", chart.biggest), ("issmallest", chart.smallest)):
        wrong = draw.choice([part for part in every if part != right])
        found += [(key, {"label": labels[right]}, True), (key, {"label": labels[wrong]}, False)]
    for part in draw.sample(every, 2):
        other = draw.choice([colour for n, colour in enumerate(chart.colours) if n != part])
        for colour in (chart.colours[part], other):
            found.append(("iscoloured", {"label": labels[part], "colour": colour}, colour == chart.colours[part]))
    return found


def _example(
    task: str,
    number: int,
    chart: Chart,
    image: ImageRef,
    wanted: Asked,
    said: Mapping[str, str],
    key: str,
    values: Mapping[str, str],
    answers: tuple[str, tuple[str, ...]],
) -> Example:
    right, choices = answers
    values = {**values, "part": said.get(chart.kind, "")}
    if "colour" in values:
        values = {**values, "colour": said[values["colour"]]}
    return Example(
        id=f"{chart.name}/{task}/{number}",
        messages=asked(said[key], {**said, **values}),
        language=wanted.language,
        images=(image,),
        references=(right,),
        task=task,
        group=chart.name,
        choices=choices,
    )


BENCHMARKS.add(
    "smpqa",
    Benchmark(
        name="smpqa",
        about="Bar and pie charts with labels in the language: read a label, or tell whether one fits; drawn here.",
        load=load,
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={"reading": METRICS, "grounding": (*METRICS[:3], "yes-no-failures", *METRICS[3:])},
        settings=Settings(max_new_tokens=32),
        chance={"grounding": 0.5},
        licence="charts: made here; words: those of your lists, or Unicode-3.0 (the built-in data)",
        citation="Geigle et al., Centurio: On Drivers of Multilingual Ability of Large Vision-Language Model, "
        "ACL 2025, arXiv 2501.05122",
        translation="none: words of each language; questions in our words",
    ),
)

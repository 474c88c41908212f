"""What lies beside the weights: a model card each, their licence with attributions, and the sums of all files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.nano_data import TrainingData
from tools.nano_runs import FinishedRun
from tools.nano_scores import Scores, table
from tools.nano_weights import Proof
from visiglot.config import Recipe, load_recipe
from visiglot.data.nano.fetch import Package, load_packages
from visiglot.data.nano.settings import load_settings
from visiglot.export.card import language_lines
from visiglot.languages import language
from visiglot.models.checkpoint.packed import Packing
from visiglot.models.parts import count
from visiglot.models.vlm import VisionLanguageModel

SUMS = "SHA256SUMS"
LICENCE = "LICENSE-WEIGHTS.md"
RECIPE = "recipe.yaml"

LICENCE_URLS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "MIT": "https://opensource.org/license/mit",
    "Unicode-3.0": "https://www.unicode.org/license.txt",
}
ON_THE_HUB = ("Apache-2.0", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT")
"""Licences whose identifier on the Hugging Face hub is the SPDX one in lower case; others are `other` with a link."""

CHANGES = (
    "Changes: drawings were rasterised to small pictures on white and altered at random while training; names were put "
    "into prompts. The weights hold neither pictures nor names as such."
)


@dataclass(frozen=True)
class Kind:
    """What is particular to one of the three models; the rest of its card is read from its run.

    Args:
        folder: below the package's `nano`.
        recipe: name of its recipe, and of the model on the command line.
        task: as the Hugging Face hub calls it.
        is_: what it is.
        use: a command to begin with.
        limits: what it isn't for, one item each.
    """

    folder: str
    recipe: str
    task: str
    is_: str
    use: str
    limits: tuple[str, ...]


_TOY = (
    "It knows drawings of single things in the manner of emoji, those of its training data. What it says of "
    "photographs, scenes, people, text in pictures or anything else is worthless.",
    "It shows a method at a size that a laptop can train. Nothing should be decided on its answers.",
)
KINDS = (
    Kind(
        "english",
        "nano-english",
        "image-to-text",
        "The English vision-language model that re-alignment starts from: a vision encoder and a connector (a "
        "memory of phrases and a Q-Former), aligned with a small English language model. It plays the part that BLIP-2 "
        "has in mBLIP.",
        "visiglot caption picture.png --model nano-english --languages en",
        (*_TOY, "It answers in English only."),
    ),
    Kind(
        "lm",
        "nano-lm",
        "translation",
        "The multilingual language model that re-alignment goes to, trained on text alone. It plays the part that mT0 "
        "has in mBLIP. Its vision encoder and its connector are place-holders with random weights; only the language "
        "model is of use.",
        "visiglot train nano model.language_model.from=nano-lm",
        (
            "It was never shown a picture, and can't be asked about one: its place-holders make more tokens of it than "
            "fit.",
            "It translates names of things between the languages that it knows, and nothing longer.",
            _TOY[1],
        ),
    ),
    Kind(
        "model",
        "nano",
        "image-to-text",
        "The built-in model: the encoder and the connector of `nano-english`, re-aligned with the language model of "
        "`nano-lm`, as mBLIP does it. It names the thing in a drawing in many languages, some of which it was trained "
        "in without a single picture. The weights of encoder and language model lie in `../english` and `../lm` "
        "(`parts.json`); here are those of the connector and of the low-rank layers.",
        "visiglot caption picture.png --languages de,sw,ar",
        (
            *_TOY,
            "Things that no training picture showed it can hardly name, and it doesn't say that it can't.",
            "Names are CLDR's; where a language has several words for a thing, it was taught one.",
        ),
    ),
)


# --- the card --------------------------------------------------------------------------------------------------------


def card(
    kind: Kind,
    run: FinishedRun,
    model: VisionLanguageModel,
    data: TrainingData,
    *,
    packing: Packing,
    proof: Proof | None,
    scores: Sequence[Scores],
) -> str:
    """A model card: YAML for the hub, then what the model is, was trained on and how, what it scores, and limits."""
    sections = {
        "What it is": [kind.is_, "", *_parts(model)],
        "Use": ["```sh", kind.use, "```"],
        "Languages": language_lines(model.config.languages, data.pictured),
        "Training data": _data(data),
        "Training": _training(run),
        "Number format": _number_format(packing, proof),
        "Scores": [line for one in scores for line in one.lines()] or ["Not evaluated when this card was written."],
        "Limits": [f"- {limit}" for limit in kind.limits],
        "Licence": [
            f"{licence_link(run.recipe.licence)}; see [{LICENCE}](../{LICENCE}). Trained on:",
            "",
            *credit(data.packages),
        ],
    }
    text = [_front_matter(kind, run.recipe, model.config.languages), f"# {kind.recipe}", "", run.recipe.about, ""]
    for heading, lines in sections.items():
        text += [f"## {heading}", "", *lines, ""]
    return "\n".join(text).rstrip() + "\n"


def _front_matter(kind: Kind, recipe: Recipe, codes: Iterable[str]) -> str:
    known = recipe.licence in ON_THE_HUB
    licence = (
        {"license": recipe.licence.lower()}
        if known
        else {"license": "other", "license_name": recipe.licence.lower(), "license_link": LICENCE_URLS[recipe.licence]}
    )
    values = {
        **licence,
        "language": sorted({language(code).bcp47.partition("-")[0] for code in codes}),
        "library_name": "visiglot",
        "pipeline_tag": kind.task,
        "tags": ["multilingual", "vision-language", *recipe.cite],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120)}---\n"


def _parts(model: VisionLanguageModel) -> list[str]:
    kinds = {
        "vision": type(model.vision.model).__name__,
        "connector": str(model.config.connector["type"]),
        "language_model": type(model.language_model).__name__,
    }
    rows = [["part", "kind", "parameters"]]
    for part, kind in kinds.items():
        rows.append([f"`{part}`", kind, count(sum(p.numel() for p in getattr(model, part).parameters()))])
    said = [*table(rows), "", f"A picture becomes {model.config.tokens_per_image} image tokens."]
    if model.config.lora is not None:
        said[-1] += f" Low-rank layers in the language model: rank {model.config.lora['rank']}."
    return said


def _data(data: TrainingData) -> list[str]:
    def rows(packages: Iterable[Package]) -> list[str]:
        head = [["package", "version", "licence", "SHA-256 of the package", "what of it"]]
        return table(head + [[f"`{p.name}`", p.version, p.licence, f"`{p.sha256}`", p.purpose] for p in packages])

    files = data.card["files_sha256"]
    return [
        f"The built-in data of Visiglot (`visiglot data nano`), version {data.card['version']}, from packages of npm:",
        "",
        *rows(data.packages),
        "",
        *([*["Not trained on:", ""], *rows(data.held_out), ""] if data.held_out else []),
        f"{data.card['held_out_concepts']} of its {data.card['concepts']} concepts are never pictured. Its files:",
        "",
        *table([["file", "SHA-256"], *([f"`{name}`", f"`{digest}`"] for name, digest in files.items())]),
    ]


def _training(run: FinishedRun) -> list[str]:
    manifest = run.checkpoint.manifest
    rows = [["stage", "objective", "steps", "examples a step", "time"]]
    rows += [
        [one.name, one.objective, f"{one.steps:,}", f"{one.batch.rows:,}", _minutes(run.seconds[one.name])]
        for one in run.recipe.stages
    ]
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    return [
        f"Recipe: [{RECIPE}]({RECIPE}), resolved; seed {run.recipe.train.seed}. Times are sums over the run's log, "
        f"{_minutes(sum(run.seconds.values()))} in all.",
        "",
        *table(rows),
        "",
        f"Made with {versions}; commit `{manifest['commit'] or 'unknown'}`.",
    ]


def _number_format(packing: Packing, proof: Proof | None) -> list[str]:
    matrices = "bfloat16" if packing == "bf16" else "whole numbers of 8 bits with a scale for each row"
    said = (
        f"Matrices are stored as {matrices}, vectors as float32; all are read as float32 (`config.json`), so that "
        "answers are the same on machines that can't compute in bfloat16."
    )
    return [said] if proof is None else [said, "", f"Against the weights as trained: {proof}."]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


# --- the licence -----------------------------------------------------------------------------------------------------


def licence_link(licence: str) -> str:
    """An SPDX identifier as a link to its text."""
    return f"[{licence}]({LICENCE_URLS[licence]})"


def credit(packages: Iterable[Package]) -> list[str]:
    """One item for each attribution that packages ask for, with a link to their licence."""
    return [
        f"- {text} ({licence_link(licence)})" for text, licence in {p.attribution: p.licence for p in packages}.items()
    ]


def licence_text() -> str:
    """LICENSE-WEIGHTS.md: what is under which licence, by the recipes, and who is to be named, by packages.toml."""
    settings = load_settings()
    test_pictures = settings.styles[settings.test_style].package
    rows = [["folder", "model", "licence of the weights"]]
    rows += [[f"`{kind.folder}`", f"`{kind.recipe}`", licence_link(load_recipe(kind.recipe).licence)] for kind in KINDS]
    lines = [
        "# Licence of the weights",
        "",
        "The weights in this folder are not under the licence of Visiglot's code, which is "
        f"{licence_link('Apache-2.0')}:",
        "",
        *table(rows),
        "",
        "OpenMoji's drawings are share-alike, so what was trained on them is passed on under the same licence. Whoever "
        "passes the weights on names these sources, links their licences, and says what was changed:",
        "",
        *credit(package for name, package in load_packages().items() if name != test_pictures),
        "",
        CHANGES,
        "",
        "The pictures in `examples` have their own: see [ATTRIBUTION.md](examples/ATTRIBUTION.md).",
    ]
    return "\n".join(lines) + "\n"


# --- sums ------------------------------------------------------------------------------------------------------------


def sums_text(folder: Path) -> str:
    """Every file below `folder` but the sums themselves, as `sha256sum --check` reads it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files
    )

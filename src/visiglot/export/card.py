"""README.md of an exported folder: what the recipe, the configs and the cards of its parts say, and nothing else.

What none of them states is "not stated".
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from visiglot.data.nano.prompts import caption_prompt
from visiglot.data.tasks.pivot import PIVOT
from visiglot.environment import commit, versions
from visiglot.errors import CheckpointError
from visiglot.export.export import Exported
from visiglot.export.gate import FORMS
from visiglot.export.probe import DEFAULT_LANGUAGES, Case, Probe, words_around, written
from visiglot.export.targets import Target
from visiglot.files import write_text
from visiglot.languages import ENGLISH, language
from visiglot.models.parts import count
from visiglot.models.vlm import VisionLanguageModel
from visiglot.prompts import placing_of

NOT_STATED = "not stated"
ON_THE_HUB = ("apache-2.0", "bigscience-bloom-rail-1.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "llama2", "mit")
"""Identifiers of licences that the Hugging Face hub knows; it calls others `other`."""
LEAST_RESOURCED = 1
"""Joshi et al.'s classes up to this one have next to no labelled data."""


@dataclass(frozen=True)
class Part:
    """Where a part of the model comes from.

    Args:
        name: "vision", "connector" or "language_model".
        source: a hub id, a folder or a run; "new" for weights that started at random.
        licence: as the part's own card states it; None when nothing states it.
        on_hub: whether the source is a hub id.
    """

    name: str
    source: str
    licence: str | None
    on_hub: bool = False


@dataclass(frozen=True)
class Facts:
    """What is known of a model besides its weights.

    Args:
        name: what it is called.
        where: what users load: the folder, or the hub id that it goes to.
        about: a sentence; "" when nothing says it.
        licence: of the weights, as the recipe or the model's card states it.
        recipe: the resolved recipe as YAML; None when the model has none.
        stages: name, objective, steps and examples a step of each stage.
        parts: where they come from.
        data: what it was trained on, and its licence (None: not stated).
        pictured: languages that it was trained in with pictures; None when that isn't known.
        citations: BibTeX entries.
        scores: rows of a table, its head first; () when it wasn't evaluated.
        scores_told: how the scores were made.
        command: that made the export.
    """

    name: str
    where: str
    about: str = ""
    licence: str | None = None
    recipe: str | None = None
    stages: tuple[tuple[str, ...], ...] = ()
    parts: tuple[Part, ...] = ()
    data: tuple[tuple[str, str | None], ...] = ()
    pictured: tuple[str, ...] | None = None
    citations: tuple[str, ...] = ()
    scores: tuple[tuple[str, ...], ...] = ()
    scores_told: str = ""
    command: tuple[str, ...] = ()


def write_card(
    facts: Facts, target: Target, exported: Exported, model: VisionLanguageModel, probe: Probe, folder: Path
) -> None:
    """Write README.md, and recipe.yaml where there is a recipe, into an exported folder. Raises CheckpointError."""
    write_text(card(facts, target, exported, model, probe), folder / "README.md", error=CheckpointError)
    if facts.recipe is not None:
        write_text(facts.recipe, folder / "recipe.yaml", error=CheckpointError)


def card(facts: Facts, target: Target, exported: Exported, model: VisionLanguageModel, probe: Probe) -> str:
    """The whole text."""
    codes = tuple(model.config.languages)
    sections = {
        "What it is": _is(facts, target, exported, model),
        "Use": _use(facts, target, exported, model, probe),
        "Languages": language_lines(codes, facts.pictured),
        "Training": _training(facts),
        "Scores": _scores(facts),
        "Intended use": _intended(),
        "Bias, risks and limitations": _limits(facts, codes, exported),
        "How it was exported": _made(facts, exported),
        "Licence": _licence(facts),
        "Citation": ["```bibtex", "\n\n".join(facts.citations), "```"] if facts.citations else [f"{NOT_STATED}."],
    }
    text = [_front_matter(facts, target, codes), f"# {facts.name}", ""]
    for heading, lines in sections.items():
        text += [f"## {heading}", "", *lines, ""]
    return "\n".join(text).rstrip() + "\n"


def _front_matter(facts: Facts, target: Target, codes: Iterable[str]) -> str:
    values: dict[str, object] = {}
    if facts.licence:
        known = facts.licence.lower()
        values |= {"license": known} if known in ON_THE_HUB else {"license": "other", "license_name": known}
    if codes:
        values["language"] = sorted({language(code).bcp47.partition("-")[0] for code in codes})
    if hub_ids := sorted({part.source for part in facts.parts if part.on_hub}):
        values["base_model"] = hub_ids
    values |= {
        "library_name": target.library,
        "pipeline_tag": "image-text-to-text",
        "tags": ["multilingual", target.name],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120)}---\n"


# --- sections --------------------------------------------------------------------------------------------------------


def _is(facts: Facts, target: Target, exported: Exported, model: VisionLanguageModel) -> list[str]:
    kinds = {
        "vision": type(model.vision.model).__name__,
        "connector": str(model.config.connector["type"]),
        "language_model": type(model.language_model).__name__,
    }
    of = {part.name: part for part in facts.parts}
    rows = [("part", "kind", "parameters", "from", "licence")]
    for name, kind in kinds.items():
        size, part = count(exported.parameters[name]), of.get(name)
        source, licence = (NOT_STATED, None) if part is None else (part.source, part.licence)
        rows.append((f"`{name}`", kind, size, source, licence or NOT_STATED))
    about = [facts.about, ""] if facts.about else []
    return [
        *about,
        f"A vision-language model for `{target.model_class}`. A picture becomes {model.config.tokens_per_image} image "
        "tokens.",
        "",
        *table(rows),
    ]


def _use(facts: Facts, target: Target, exported: Exported, model: VisionLanguageModel, probe: Probe) -> list[str]:
    code = example_language(model.config.languages)
    if target.module == "visiglot":
        prompt = caption_prompt(model.config).replace("{language}", language(code).name).removesuffix("{image}").strip()
        load = f'model, processor = visiglot.load_model("{facts.where}")'
        ask = f'print(model.generate(["picture.png"], [{_quoted(prompt)}])[0][0])'
        caption = f"visiglot caption picture.png --model {shlex.quote(facts.where)} --languages {code}"
        return [*_python("import visiglot", "", load, ask), "", "```sh", caption, "```", *_pivot(model)]
    form, text = _question(target, exported, model, probe, code)
    new = "ids[0]" if model.layout == "seq2seq" else 'ids[0, inputs["input_ids"].shape[1] :]'
    cast = (
        [] if exported.verdict.dtype == "fp32" else ['inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)']
    )
    return [
        *_python(
            "from PIL import Image",
            f"from transformers import {target.model_class}, {target.processor_class}",
            "",
            f'folder = "{facts.where}"',
            f"processor = {target.processor_class}.from_pretrained(folder)",
            f"model = {target.model_class}.from_pretrained(folder)",
            'picture = Image.open("picture.png").convert("RGB")',
            *(line.format(text=_quoted(text)) for line in FORMS[form].code),
            *cast,
            "ids = model.generate(**inputs, max_new_tokens=40, do_sample=False)",
            f"print(processor.tokenizer.decode({new}, skip_special_tokens=True))",
        ),
        "",
        "The text has the picture where the model learned to read it. Write other questions around it likewise.",
        *_pivot(model),
    ]


def _pivot(model: VisionLanguageModel) -> list[str]:
    """What the code above prints of a model that says more than its answer."""
    if not model.config.pivot:
        return []
    return [
        "",
        f"It begins an answer with the question in English: `QUESTION {PIVOT} ANSWER`. In Python the text is whole; "
        f"`visiglot caption`, `ask` and `serve` show what stands behind `{PIVOT}`.",
    ]


def _question(
    target: Target, exported: Exported, model: VisionLanguageModel, probe: Probe, code: str
) -> tuple[str, str]:
    """A way to ask that was proven, and a text: the model's caption prompt, in place where the way allows that."""
    processor = exported.vocabulary.processor
    spec = processor.spec()
    words = words_around(placing_of(model.config, processor), caption_prompt(model.config), code)
    for form in probe.forms:
        text = written(target, form, spec, words)
        if text is not None:
            return form, text
    first: Case = probe.cases[0]
    return first.form, first.text


def example_language(codes: Sequence[str]) -> str:
    """A language to show a prompt in: the first that isn't English."""
    return next((code for code in (*codes, *DEFAULT_LANGUAGES) if code != ENGLISH), ENGLISH)


def language_lines(codes: Sequence[str], pictured: Collection[str] | None) -> list[str]:
    """The languages of a model by name, those that it was shown pictures in apart where that is known."""
    if not codes:
        return [f"Languages that it was trained to answer in: {NOT_STATED}."]
    if pictured is None:
        groups = {"languages": list(codes)}
    else:
        groups = {
            "trained with pictures": [code for code in codes if code in pictured],
            "trained on text alone": [code for code in codes if code not in pictured],
        }
    lines = []
    for name, own in groups.items():
        if own:
            lines += [f"{len(own)} {name}: {', '.join(f'{language(code).name} ({code})' for code in own)}.", ""]
    return lines[:-1]


def _training(facts: Facts) -> list[str]:
    lines = ["Recipe: [recipe.yaml](recipe.yaml), resolved." if facts.recipe else f"Recipe: {NOT_STATED}."]
    if facts.stages:
        lines += ["", *table([("stage", "objective", "steps", "examples a step"), *facts.stages])]
    rows = [(what, licence or NOT_STATED) for what, licence in facts.data]
    if not rows:
        return [*lines, "", f"Data: {NOT_STATED}."]
    return [
        *lines,
        "",
        "Data, of this model and of the models its parts come from:",
        "",
        *table([("data", "licence"), *rows]),
    ]


def _scores(facts: Facts) -> list[str]:
    return (
        [facts.scores_told, "", *table(facts.scores)] if facts.scores else ["Not evaluated when this card was written."]
    )


def _intended() -> list[str]:
    return [
        "Research on vision-language models in many languages, and a start for training on a task of one's own. It is "
        "not for direct deployment: first measure it on your task, in each of your languages, and see whether it says "
        "what must not be said."
    ]


def _limits(facts: Facts, codes: Sequence[str], exported: Exported) -> list[str]:
    low = [code for code in codes if (tier := language(code).tier) is not None and tier <= LEAST_RESOURCED]
    inherited = ", ".join(dict.fromkeys(f"`{part.source}`" for part in facts.parts if part.source != "new"))
    lines = [
        "- It is best in languages with much data; in others it is worse, in ways that are hard to see for who doesn't "
        "speak them."
    ]
    if low:
        lines.append(
            f"- {len(low)} of its {len(codes)} languages are in the two classes of Joshi et al. (2020) that have least "
            f"data: {', '.join(low)}."
        )
    if facts.pictured is not None and (unseen := [code for code in codes if code not in facts.pictured]):
        lines.append(
            f"- In {len(unseen)} languages it was never shown a picture; what it says there it knows from text."
        )
    lines += [
        "- It has the biases and gaps of its language model, of its encoder and of the data that they were trained on"
        f"{f' ({inherited})' if inherited else ''}.",
        "- It can name what isn't there, and doesn't say when it doesn't know. Where training data were translated by "
        "machine, it learned the errors of the translation too.",
    ]
    if exported.vocabulary.checked:
        lines.append(
            "- Its vocabulary was trimmed: other languages than those above fall into small pieces, and it can hardly "
            "answer in them."
        )
    return lines


def _made(facts: Facts, exported: Exported) -> list[str]:
    tools = ", ".join(f"{name} {version}" for name, version in versions().items())
    return [
        "```sh",
        shlex.join(facts.command),
        "```",
        "",
        *(f"- {line}" for line in exported.said),
        f"- {exported.verdict}",
        "",
        f"Made with {tools}; commit `{commit() or 'unknown'}`.",
    ]


def _licence(facts: Facts) -> list[str]:
    return [
        f"Of these weights: {facts.licence or NOT_STATED}. Those of parts and data are in the tables above, as far as "
        "they are stated; where there are several, all of them hold."
    ]


# --- pieces ----------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown; the first row is the head."""
    head, *rest = rows
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest)]


def _quoted(text: str) -> str:
    """A text as Python writes it, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _python(*lines: str) -> list[str]:
    return ["```python", *lines, "```"]

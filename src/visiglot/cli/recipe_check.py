"""What is wrong with a recipe that the schema can't know: every problem, found without weights and without data.

The model is assembled on PyTorch's meta device, which allocates nothing. A part whose config would have to be fetched
from the hub is stood in for by a tiny one, and whatever depends on its inside is left unchecked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from visiglot.cli.recipe_parts import adapted, connector_source, locate, part_config, settled, template_of
from visiglot.errors import ConfigError, VisiglotError, nearest

if TYPE_CHECKING:
    from visiglot.config import Recipe, StageSection
    from visiglot.models.config import VisiglotConfig
    from visiglot.models.vlm import VisionLanguageModel

T = TypeVar("T")

TINY_VISION = {
    "model_type": "vit",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "image_size": 32,
    "patch_size": 16,
}
TINY_LLM = {"model_type": "t5", "d_model": 8, "d_kv": 8, "d_ff": 8, "num_layers": 1, "num_heads": 1, "vocab_size": 8}


class Findings:
    """The problems found so far, a line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def attempt(self, where: str, make: Callable[[], T]) -> T | None:
        """What `make` gives; None, and a finding, where it raises a VisiglotError."""
        try:
            return make()
        except ConfigError as error:
            self.lines += [f"{where}: {problem}" for problem in error.problems]
        except VisiglotError as error:
            self.lines.append(f"{where}: {error!s}".replace("\n", "; "))
        return None


def problems_of(recipe: Recipe) -> list[str]:
    """Everything in the recipe that names what isn't there or makes no module; empty when it holds together."""
    findings = Findings()
    _check_names(recipe, findings)
    _check_data(recipe, findings)
    _check_model(recipe, findings)
    return findings.lines


def obstacles_of(recipe: Recipe) -> list[str]:
    """What must be done before a recipe that holds together can be trained, a line each."""
    from visiglot.data.licences import permitted
    from visiglot.data.opening import awaits_translation
    from visiglot.data.planning import label
    from visiglot.errors import DataError

    waiting: list[str] = []
    try:
        for data in (permitted(stage.data or recipe.data) for stage in recipe.stages):
            waiting += [label(source) for source in data.sources if awaits_translation(source, data)]
    except DataError as error:
        return [f"can't be trained: {error.message}"]
    if not waiting:
        return []
    names = list(dict.fromkeys(waiting))
    are = "source {} is" if len(names) == 1 else "sources {} are"
    return [f"can't be trained yet: {are.format(', '.join(names))} to be translated first"]


def _check_names(recipe: Recipe, findings: Findings) -> None:
    from visiglot.cli.recipes import bibtex
    from visiglot.evaluate.benchmark import BENCHMARKS
    from visiglot.languages import resolve
    from visiglot.render import load_template

    template, languages = recipe.model.prompt.template, recipe.evaluate.languages
    if template is not None:
        findings.attempt("model.prompt.template", partial(load_template, template))
    if languages is not None and languages != "all":
        findings.attempt("evaluate.languages", partial(resolve, languages))
    for name in recipe.evaluate.benchmarks:
        benchmark = findings.attempt("evaluate.benchmarks", partial(BENCHMARKS.get, name))
        if benchmark is not None:
            findings.attempt("evaluate.prompts", partial(benchmark.choose, "prompt set", recipe.evaluate.prompts))
    for key in recipe.cite:
        findings.attempt("cite", partial(bibtex, key))


def _check_data(recipe: Recipe, findings: Findings) -> None:
    from visiglot.data.allocation import allocation_problems
    from visiglot.data.opening import section_problems
    from visiglot.languages import resolve

    sections = [("data", recipe.data)]
    sections += [(f"stages.{stage.name}.data", stage.data) for stage in recipe.stages if stage.data is not None]
    for where, section in sections:
        for number, source in enumerate(section.sources):
            findings.lines += [f"{where}.sources.{number}.{problem}" for problem in section_problems(source, section)]
        if section.allocation is not None:
            problems = allocation_problems(section.allocation, resolve(section.languages))
            findings.lines += [f"{where}.allocation.{problem}" for problem in problems]


# --- the model -------------------------------------------------------------------------------------------------------


def _check_model(recipe: Recipe, findings: Findings) -> None:
    """Assemble the model and its stages on the meta device, part by part."""
    import torch

    from visiglot.config.model import SAME
    from visiglot.models.config import VisiglotConfig
    from visiglot.models.values import config_of
    from visiglot.models.vlm import VisionLanguageModel

    model = recipe.model
    if model.language_model.config is not None and model.language_model.tokenizer is None:
        findings.lines.append(
            "model.language_model.tokenizer: is missing; a new model needs a folder, a hub id or {vocabulary: N}"
        )
    sources = {
        "language_model.tokenizer": model.language_model.tokenizer,
        "language_model.adapter": model.language_model.adapter,
    }
    for where, name in sources.items():
        if isinstance(name, str):
            findings.attempt(f"model.{where}", partial(locate, name))
    start = findings.attempt("model.connector.from", lambda: connector_source(recipe))
    whole_recipe = settled(recipe) if start is not None else None
    recipe, same = whole_recipe or recipe, whole_recipe is None and model.connector.type == SAME
    model = recipe.model
    vision: Any = findings.attempt("model.vision", lambda: part_config(recipe, "vision"))
    llm: Any = findings.attempt("model.language_model", lambda: part_config(recipe, "language_model"))
    known = {"vision": vision is not None, "connector": not same, "language_model": llm is not None}
    with torch.device("meta"):
        seen: Any = (
            findings.attempt("model.vision", lambda: _vision_features(recipe, vision)) if known["vision"] else None
        )
        known["vision"] = known["vision"] and seen is not None
        vision_width = seen.patches.shape[2] if known["vision"] else 8
        if known["language_model"]:
            known["language_model"] = findings.attempt("model.language_model", lambda: _builds_llm(llm)) is not None
        vision = vision if known["vision"] else config_of("", TINY_VISION)
        llm = llm if known["language_model"] else config_of("", TINY_LLM)
        options = model.connector.options
        text_width = llm.get_text_config().hidden_size
        connector = None
        if known["connector"]:
            connector = findings.attempt(
                "model.connector",
                lambda: _check_connector(model.connector.type, options, vision_width, text_width),
            )
            known["connector"] = connector is not None
        if connector is not None:
            findings.attempt("model.connector", lambda: _check_tokens(connector, model.vision.tiles, seen))
        if start is not None and all(known.values()):
            findings.attempt("model.connector", lambda: _check_start(recipe, start, connector))
        described = {"type": model.connector.type if connector else "linear", "options": options if connector else {}}
        whole = VisionLanguageModel(
            VisiglotConfig(
                vision_config=vision,
                text_config=llm,
                connector={**described, "vision_width": vision_width},
                vision_layer=model.vision.layer if known["vision"] else -1,
            )
        )
        if known["connector"]:
            inside = [name for name, _ in whole.connector.named_parameters()]
            children = [name for name, _ in whole.connector.named_children()]
            for path in model.connector.fresh:
                if not any(name == path or name.startswith(f"{path}.") for name in inside):
                    findings.lines.append(
                        f"model.connector.fresh: the connector has no {path!r}; {_near(path, children)}"
                    )
        for stage in recipe.stages:
            _check_stage(recipe, stage, whole, known, findings)


def _vision_features(recipe: Recipe, config: Any) -> Any:
    """What the encoder says of a picture, without numbers. Raises ConfigError and ModelError."""
    from visiglot.models.values import from_values
    from visiglot.models.vision import VisionEncoder, image_size_of, measure

    section = recipe.model.vision
    size = section.image_size or image_size_of(config)
    if size is None and section.from_ is None:
        raise ConfigError("model.vision", ["image_size: is missing; this encoder takes pictures of any size"])
    with from_values("model.vision.config"):
        return measure(VisionEncoder(config, section.layer, tiles=section.tiles), size or 224)


def _check_tokens(connector: Any, tiles: int, features: Any) -> int | None:
    """Image tokens of a picture; None when the encoder isn't known. Raises ModelError."""
    from visiglot.models.connectors import count_tokens, refuse_tiles

    refuse_tiles(connector, tiles)
    return None if features is None else count_tokens(connector, features)


def _builds_llm(config: Any) -> bool:
    """True. Raises ConfigError and ModelError."""
    from visiglot.models.language_model import build_llm
    from visiglot.models.values import from_values

    with from_values("model.language_model.config"):
        build_llm(config)
    return True


def _check_connector(type_: str, options: dict[str, Any], vision_width: int, text_width: int) -> Any:
    """The connector on the meta device. Raises ConfigError and UnknownNameError."""
    from visiglot.models.connectors import CONNECTORS
    from visiglot.models.values import from_values

    factory = CONNECTORS.get(type_)
    parameters = inspect.signature(factory).parameters
    known = [name for name in parameters if name not in ("vision_width", "text_width")]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ConfigError("model.connector", [f"options.{name}: no such key; {_near(name, known)}" for name in unknown])
    with from_values("model.connector.options"):
        return factory(vision_width, text_width, **options)


def _check_start(recipe: Recipe, start: VisiglotConfig, connector: Any) -> None:
    """Hold the connector against that of the model which it starts from, on the meta device.

    Raises:
        ConfigError: a tensor that is to come from there has another shape there, or isn't in both.
    """
    from visiglot.models.connectors import CONNECTORS
    from visiglot.models.connectors.start import depends_on_llm

    section, there = recipe.model.connector, start.connector
    if there["type"] != section.type:
        raise ConfigError("model.connector", [f"type: is {section.type}, but {there['type']} in {section.from_}"])
    factory = CONNECTORS.get(section.type)
    source = factory(there["vision_width"], start.text_width, **there["options"])
    ours, theirs = ({name: value.shape for name, value in one.state_dict().items()} for one in (connector, source))

    def misfits(name: str) -> bool:
        if any(name == path or name.startswith(f"{path}.") for path in section.fresh):
            return False
        if name not in ours or name not in theirs:
            return True
        return ours[name] != theirs[name] and not depends_on_llm(name, theirs[name], ours[name])

    found = [name for name in dict.fromkeys([*ours, *theirs]) if misfits(name)]
    if not found:
        return
    usual = {name: one.default for name, one in inspect.signature(factory).parameters.items()}
    here, away = {**usual, **section.options}, {**usual, **there["options"]}
    other = [name for name in here if here[name] != away.get(name)]
    problems = [f"options.{name}: is {here[name]!r}, but {away.get(name)!r} in {section.from_}" for name in other]
    raise ConfigError("model.connector", problems or [f"{found[0]} has another shape in {section.from_}"])


# --- what it can be exported to --------------------------------------------------------------------------------------


def targets_of(recipe: Recipe) -> list[str]:
    """The export targets that a recipe's model fits, and the first obstacle of each that it doesn't, a line each.

    Parts that only the hub has count when their configs were fetched before. The recipe must be without problems.
    """
    from visiglot.export.targets import ANY, TARGETS

    config = whole_config(recipe)
    if config is None:
        return [f"export: {ANY}; the others are only known once the configs of its parts are on this machine"]
    obstacles = {name: target.obstacles(config) for name, target in TARGETS.items()}
    fits = ", ".join(name for name, found in obstacles.items() if not found)
    return [f"export: {fits}", *(f"not {name}: {found[0]}" for name, found in obstacles.items() if found)]


def whole_config(recipe: Recipe) -> VisiglotConfig | None:
    """The config of the model that a recipe makes; None where a part's isn't at hand. The recipe has no problems."""
    import torch

    from visiglot.models.config import VisiglotConfig
    from visiglot.models.connectors import CONNECTORS, count_tokens
    from visiglot.models.families import family
    from visiglot.models.vision import VisionEncoder, image_size_of, measure

    vision, llm, whole = part_config(recipe, "vision"), part_config(recipe, "language_model"), settled(recipe)
    if vision is None or llm is None or whole is None:
        return None
    model = whole.model
    with torch.device("meta"):
        encoder = VisionEncoder(vision, model.vision.layer, tiles=model.vision.tiles)
        features = measure(encoder, model.vision.image_size or image_size_of(vision) or 224)
        width, text = features.patches.shape[2], llm.get_text_config()
        connector = CONNECTORS.get(model.connector.type)(width, text.hidden_size, **model.connector.options)
    return VisiglotConfig(
        vision_config=vision,
        text_config=llm,
        connector={
            "type": model.connector.type,
            "vision_width": width,
            "options": model.connector.options,
            "words": model.connector.words,
        },
        vision_layer=model.vision.layer,
        vision_tiles=model.vision.tiles,
        tokens_per_image=count_tokens(connector, features),
        image_token_id=text.vocab_size,
        lora=adapted(recipe),
        template=template_of(recipe) or family(llm.model_type).template,
    )


# --- stages ----------------------------------------------------------------------------------------------------------


def _check_stage(
    recipe: Recipe, stage: StageSection, model: VisionLanguageModel, known: dict[str, bool], findings: Findings
) -> None:
    from visiglot.models.parts import bypass_problems
    from visiglot.train.caching import reading_problems

    where = f"stages.{stage.name}"
    findings.attempt(where, lambda: _check_objective(recipe, stage, model))
    names = [name for name, _ in model.named_parameters()]
    for path, part in stage.parts.items():
        root = path.partition(".")[0]
        known_inside = known.get(root, True)
        if (root not in known) if not known_inside else not _leads_to(path, names):
            candidates = [*known, *(f"connector.{name}" for name, _ in model.connector.named_children())]
            findings.lines.append(f"{where}.parts.{path}: the model has no such part; {_near(path, candidates)}")
        elif part.train == "lora" and path != "language_model":
            findings.lines.append(f"{where}.parts.{path}.train: `lora` is for language_model; use `full` or `frozen`")
    findings.lines += bypass_problems(model.connector, stage) if known["connector"] else []
    if (
        stage.cache_views
        and not stage.augment
        and any(path.partition(".")[0] == "vision" and part.train == "full" for path, part in stage.parts.items())
    ):
        findings.lines.append(f"{where}.cache_views: is {stage.cache_views}, but vision trains in this stage")
    findings.lines += reading_problems(model.connector, stage) if known["connector"] else []
    uses_lora = any(part.train == "lora" for part in stage.parts.values())
    if uses_lora and known["language_model"] and stage.lora.targets != "all-linear":
        modules = {name.rpartition(".")[2] for name, _ in model.language_model.named_modules()}
        for target in stage.lora.targets:
            if target not in modules:
                findings.lines.append(f"{where}.lora.targets: no layer {target!r}; {_near(target, modules)}")


def _leads_to(path: str, names: list[str]) -> bool:
    return any(name == path or name.startswith(f"{path}.") for name in names)


def _check_objective(recipe: Recipe, stage: StageSection, model: VisionLanguageModel) -> Any:
    """The objective on the meta device. Raises ConfigError and UnknownNameError."""
    from visiglot.render import load_template
    from visiglot.train.objectives import OBJECTIVES
    from visiglot.types import PromptSpec

    spec = PromptSpec(
        layout=model.config.layout,
        encode=lambda text: [],
        image_token="<image>",
        image_token_id=0,
        tokens_per_image=1,
        template=load_template("plain"),
        pad_id=0,
    )
    return OBJECTIVES.get(stage.objective)(model, spec, recipe.train, stage.options)


def _near(name: str, known: Any) -> str:
    close = nearest(name, known)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"known: {', '.join(sorted(known)[:12]) or 'none'}"

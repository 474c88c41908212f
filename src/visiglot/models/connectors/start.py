"""Where a connector starts: from another model's, or new at the scale of the LLM's words."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from visiglot.config import ModelSection
from visiglot.config.model import SAME
from visiglot.errors import CheckpointError, ConfigError
from visiglot.models.checkpoint.formats import FORMATS, open_model
from visiglot.models.checkpoint.tensors import LOOSE, fill_some, part_of
from visiglot.models.checkpoint.weights import find_weights, is_weights_file
from visiglot.models.config import VisiglotConfig
from visiglot.models.connectors import Connector
from visiglot.models.connectors.memory import PhraseMemory
from visiglot.models.parts import count
from visiglot.models.runs import resolve_model

SAMPLED = 2**14
"""Words whose scale stands for that of all: a copy of all would be as large as a tenth of some models."""
UNSEEN = {"heads", "keep_prefix", "normalise", "inner", "residual", "alpha", "top_k", "side"}
"""Options of connectors that change what the same tensors compute."""


def settled(section: ModelSection) -> ModelSection:
    """`section` with what `type: same` stands for.

    Raises:
        CheckpointError: the connector's `from` is no model.
    """
    if section.connector.type != SAME:
        return section
    name = section.connector.from_
    assert name is not None
    where = resolve_model(name)
    opened = None if is_weights_file(where) else open_model(where)
    if opened is None:
        raise CheckpointError(
            f"{name} is no vision-language model, so it doesn't say of which type its connector is",
            hint="Give model.connector its type and options.",
        )
    return as_there(section, opened.config)


def as_there(section: ModelSection, there: VisiglotConfig) -> ModelSection:
    """`section` with a model's connector (type, options, `words`), and the encoder's layer and tiles that it reads."""
    described = there.connector
    same = {"type": described["type"], "options": described["options"], "words": described.get("words")}
    return section.model_copy(
        update={
            "connector": section.connector.model_copy(update=same),
            "vision": section.vision.model_copy(update={"layer": there.vision_layer, "tiles": there.vision_tiles}),
        }
    )


def load_connector(connector: Connector, section: ModelSection) -> list[str]:
    """Fill a connector from another model, but for the paths that the recipe wants fresh or whose shapes differ.

    Only the files that hold the connector are read. Lines say what came from there and what is fresh.

    Raises:
        CheckpointError: there is none, or it doesn't fit.
    """
    name = section.connector.from_
    assert name is not None
    where = resolve_model(name)

    def wanted_fresh(key: str) -> bool:
        return any(key == path or key.startswith(f"{path}.") for path in section.connector.fresh)

    _refuse_other_arithmetic(connector, section, where)
    tensors = {key: value for key, value in part_of(where, "connector.").items() if not wanted_fresh(key)}
    own = connector.state_dict()
    fresh, problems = [], []
    for key, value in own.items():
        if wanted_fresh(key):
            fresh.append(key)
        elif key not in tensors:
            problems.append(f"{key}: missing in {name}")
        elif tensors[key].shape != value.shape:
            if depends_on_llm(key, tensors[key].shape, value.shape):
                fresh.append(key)
                tensors.pop(key)
            else:
                problems.append(f"{key}: {list(tensors[key].shape)} there, {list(value.shape)} here")
    problems += [f"{key}: in {name} but not in this connector" for key in tensors if key not in own]
    if problems:
        raise CheckpointError(
            f"the connector of {name} doesn't fit:\n  " + "\n  ".join(problems[:8]),
            hint="Give model.connector the type and options of that model's connector.",
        )
    fill_some(connector, tensors, name)  # what is fresh was named above, nothing else is missing
    size = count(sum(parameter.numel() for parameter in connector.parameters()))
    line = f"connector: {section.connector.type} from {name}, {size}"
    line += f"; fresh: {', '.join(fresh)}" if fresh else ", projection included"
    return [line, *_left_out(where)]


def _refuse_other_arithmetic(connector: Connector, section: ModelSection, where: str) -> None:
    """Raise ConfigError when the connector there differs in what no shape shows."""
    opened = None if is_weights_file(where) else open_model(where)
    if opened is None:
        return
    there = opened.config.connector
    problems = []
    if there["type"] != section.connector.type:
        problems.append(f"connector.type: is {section.connector.type!r}, that of {where} is {there['type']!r}")
    else:
        found, wanted = (connector.settled(options) for options in (section.connector.options, there["options"]))
        problems += [
            f"connector.options.{key}: is {found[key]!r}, that of {where} is {wanted[key]!r}"
            for key in sorted(UNSEEN & set(found))
            if found[key] != wanted[key]
        ]
    if problems:
        raise ConfigError("model", problems, hint="Write them as they are there, or `type: same` and no options.")


def _left_out(where: str) -> list[str]:
    """What a file of weights holds beside encoder and connector, by the first part of its names."""
    if not is_weights_file(where):
        return []
    kept = FORMATS.get(LOOSE)
    others: dict[str, int] = {}
    for name in find_weights(where):
        if not (kept.own_name(name) or "").startswith(("vision.", "connector.")) and not kept.leaves_out(name):
            first = "low-rank layers" if ".lora_" in name else name.partition(".")[0]
            others[first] = others.get(first, 0) + 1
    said = ", ".join(f"{name} ({number} tensors)" for name, number in sorted(others.items()))
    return [f"{where}: not taken as connector: {said}"] if said else []


def depends_on_llm(key: str, there: torch.Size, here: torch.Size) -> bool:
    """Whether a connector's tensors differ in shape because another LLM has another width."""
    key = key.removeprefix("inner.")
    if key.startswith("experts."):  # matrices from the LLM's width, or to it
        same = 1 if key.endswith("down_proj.weight") else 0
        return there[same] == here[same]
    if key == "pooled.values":
        return there[:-1] == here[:-1]
    return key.startswith(("projection.", "pooled.3."))  # the last layer of the perceptron


def match_scale(connector: nn.Module, llm: Any) -> None:
    """Start a Q-Former's projections at the scale of the LLM's word embeddings.

    Q-Former outputs and pooled features are near unit variance, while embeddings differ by orders of magnitude between
    LLMs (T5's are near 1, Llama's near 0.02); a connector that starts far from them is slow to be read.
    """
    scale = llm.get_input_embeddings().weight[:SAMPLED].float().std().item()
    inside = dict(connector.named_children())
    if "inner" in inside:
        match_scale(inside["inner"], llm)
    for name in ("projection", "pooled"):
        layer = inside.get(name)
        if isinstance(layer, nn.Sequential):
            layer = next((one for one in reversed(layer) if not isinstance(one, nn.Unflatten)), None)
        if isinstance(layer, PhraseMemory):
            nn.init.normal_(layer.values, std=scale)
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=scale * layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)

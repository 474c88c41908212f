"""Where a connector starts: from another model's, or new at the scale of the LLM's words."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from visiglot.config import ModelSection
from visiglot.errors import CheckpointError
from visiglot.models.checkpoint.tensors import fill_some, part_of
from visiglot.models.connectors.memory import PhraseMemory
from visiglot.models.parts import count
from visiglot.models.runs import resolve_model


def load_connector(connector: nn.Module, section: ModelSection) -> list[str]:
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
    return [f"{line}; fresh: {', '.join(fresh)}" if fresh else f"{line}, projection included"]


def depends_on_llm(key: str, there: torch.Size, here: torch.Size) -> bool:
    """Whether a Q-Former's tensors differ in shape because another LLM has another width."""
    if key == "pooled.values":
        return there[:-1] == here[:-1]
    return key.startswith(("projection.", "pooled.3."))  # the last layer of the perceptron


def match_scale(connector: nn.Module, llm: Any) -> None:
    """Start a Q-Former's projections at the scale of the LLM's word embeddings.

    Q-Former outputs and pooled features are near unit variance, while embeddings differ by orders of magnitude between
    LLMs (T5's are near 1, Llama's near 0.02); a connector that starts far from them is slow to be read.
    """
    scale = llm.get_input_embeddings().weight.float().std().item()
    for name in ("projection", "pooled"):
        layer = dict(connector.named_children()).get(name)
        if isinstance(layer, nn.Sequential):
            layer = next((one for one in reversed(layer) if not isinstance(one, nn.Unflatten)), None)
        if isinstance(layer, PhraseMemory):
            nn.init.normal_(layer.values, std=scale)
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=scale * layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)

"""A stand-in for lmms-eval, typed by hand from lmms-eval 0.7.3: what a model inherits, and what a request is.

Files of it that were read: `api/model.py` (the abstract class and its three methods), `api/instance.py` (`Instance`,
and what becomes of responses),
`api/task.py` (`construct_requests` of both kinds of task, `process_results`), `models/registry_v2.py` (`ModelManifest`,
the entry point group and what is checked of a class).
"""

from __future__ import annotations

import abc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

VERSION = "0.7.3"

METHODS: Mapping[str, tuple[str, ...]] = {
    "loglikelihood": ("self", "requests"),
    "generate_until": ("self", "requests"),
    "generate_until_multi_round": ("self", "requests"),
    "clean": ("self",),
}
"""Methods that lmms-eval calls, with their parameters."""

ENTRY_POINTS = "lmms_eval.models"


class lmms(abc.ABC):
    is_simple: bool = True

    def __init__(self) -> None:
        self._rank, self._world_size = 0, 1
        self.task_dict: dict[str, Any] = {}

    @abc.abstractmethod
    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]: ...

    @abc.abstractmethod
    def generate_until(self, requests: list[Any]) -> list[str]: ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests: list[Any]) -> list[str]: ...

    def clean(self) -> None:
        from torch import nn

        for name in [name for name, value in vars(self).items() if isinstance(value, nn.Module)]:
            delattr(self, name)


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass
class GenerationResult:
    text: Any
    token_counts: Any = None


def unwrap_generation_output(output: Any) -> tuple[Any, Any]:
    """What the evaluator makes of each response; of a likelihood's pair 0.7.3 makes a text."""
    if isinstance(output, GenerationResult):
        return output.text, output.token_counts
    listed = isinstance(output, list) and all(isinstance(one, str) for one in output)
    return (output if isinstance(output, str) or listed else str(output)), None


@dataclass
class Instance:
    """A request; `arguments` by kind as `construct_requests` makes them."""

    request_type: str
    arguments: tuple[Any, ...]

    @property
    def args(self) -> tuple[Any, ...]:
        return self.arguments


def chat_request(
    doc_to_messages: Callable[..., Any], options: Mapping[str, Any], doc_id: int = 0, task: str = "toy"
) -> Instance:
    return Instance("generate_until", ("context", doc_to_messages, dict(options), doc_id, task, "test"))


def simple_request(
    context: str, options: Mapping[str, Any], visuals: Sequence[Any] = (), doc_id: int = 0, task: str = "toy"
) -> Instance:
    return Instance("generate_until", (context, dict(options), lambda _: list(visuals), doc_id, task, "test"))


def choice_request(
    context: str, target: str | Callable[[Any], str], visuals: Sequence[Any] = (), doc_id: int = 0, task: str = "toy"
) -> Instance:
    return Instance("loglikelihood", (context, target, lambda _: list(visuals), doc_id, task, "test"))


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `import lmms_eval...` find this, whether or not the real one is installed."""
    parts: dict[str, dict[str, Any]] = {
        "lmms_eval": {},
        "lmms_eval.api": {},
        "lmms_eval.api.instance": {
            "GenerationResult": GenerationResult,
            "unwrap_generation_output": unwrap_generation_output,
        },
        "lmms_eval.api.model": {"lmms": lmms},
        "lmms_eval.models": {},
        "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest},
    }
    for name, values in parts.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "visiglot.integrations.lmms_eval.models", raising=False)

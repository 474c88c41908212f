"""Who `visiglot evaluate` asks: a model of ours, any model of transformers, or an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visiglot.cli.models import card_languages, recipe_of, tell_loaded, trained_languages

if TYPE_CHECKING:
    from visiglot.config import Recipe
    from visiglot.evaluate.answers import Answerer
    from visiglot.evaluate.trained import TrainedLanguages

ENDPOINT = "openai:"


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """How an endpoint is asked.

    Args:
        key_variable: the environment variable with its key; None: no key is sent.
        concurrent: requests in flight.
        requests_per_minute: None: no limit.
    """

    key_variable: str | None = None
    concurrent: int = 8
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a model before it is loaded.

    Args:
        name: as the user gave it.
        recipe: that trained it, where it is known.
        languages: those it says it knows; () where it doesn't say, or isn't here.
    """

    name: str
    recipe: Recipe | None
    languages: tuple[str, ...]

    @property
    def is_endpoint(self) -> bool:
        return self.name.startswith(ENDPOINT)

    def trained(self) -> TrainedLanguages:
        """What it was trained on, for the report's groups of languages."""
        from visiglot.evaluate.trained import TrainedLanguages

        return TrainedLanguages() if self.is_endpoint else trained_languages(self.name)

    def load(self, *, device: str, dtype: str, options: EndpointOptions) -> Answerer:
        """The model, ready to answer. What became of the tensors of a foreign format is said on stderr.

        Raises:
            VisiglotError: it can't be loaded, or there is no such endpoint's name.
        """
        if self.is_endpoint:
            return _endpoint(self.name, options)
        return _local(self.name, device, dtype)


def look_up(name: str) -> Asked:
    """What is known of the model of that name.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: the recipe beside it is broken.
        EvaluationError: the name of an endpoint lacks a part.
    """
    if name.startswith(ENDPOINT):
        from visiglot.evaluate.chat import parse_name

        parse_name(name)
        return Asked(name, None, ())
    return Asked(name, recipe_of(name), card_languages(name) or ())


def _endpoint(name: str, options: EndpointOptions) -> Answerer:
    from visiglot.endpoint import Endpoint, Pace
    from visiglot.evaluate.chat import ChatAnswerer, parse_name

    url, model = parse_name(name)
    endpoint = Endpoint(
        url,
        options.key_variable,
        timeout=600.0,
        retries=6,
        pace=Pace(options.requests_per_minute),
        total_tokens=None,
    )
    return ChatAnswerer(endpoint, model, name=name, concurrent=options.concurrent)


def _local(name: str, device: str, dtype: str) -> Answerer:
    from visiglot.evaluate.answers import ModelAnswerer
    from visiglot.evaluate.dual import DualAnswerer, is_dual, load_dual
    from visiglot.evaluate.embedding import ContrastiveAnswerer
    from visiglot.models.answer import MAX_BATCH_TOKENS
    from visiglot.models.checkpoint.formats import open_model
    from visiglot.models.device import pick_device
    from visiglot.models.load import AUTO, DTYPES, YAML, load_model
    from visiglot.models.runs import resolve_model
    from visiglot.train.projections import load_projections

    where = resolve_model(name)
    if where.endswith(YAML) or Path(where).is_file() or open_model(where) is not None:
        model, processor = load_model(name, device=device, dtype=dtype)
        tell_loaded(model)
        projections = load_projections(Path(where), model, processor)
        if projections is not None:
            return ContrastiveAnswerer(model, processor, projections, name=name, max_batch_tokens=MAX_BATCH_TOKENS)
        return ModelAnswerer(model, processor, name=name, max_batch_tokens=MAX_BATCH_TOKENS)
    where_to: dict[str, Any] = {"device": pick_device(device), "dtype": DTYPES.get(dtype, AUTO)}
    if is_dual(where):
        return DualAnswerer(*load_dual(where, **where_to), name=name)
    from visiglot.evaluate.stock import StockAnswerer, load_stock

    stock, its_processor = load_stock(where, **where_to)
    return StockAnswerer(stock, its_processor, name=name)

"""From what a server was told to its engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from visiglot.serve.limits import MIB

if TYPE_CHECKING:
    from visiglot.serve.chat import Served
    from visiglot.serve.engine import Engine
    from visiglot.serve.options import ServeOptions


def load_engine(
    options: ServeOptions,
    *,
    created: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    loaded: Callable[[Any], None] = lambda _: None,
) -> tuple[Engine, Served]:
    """The engine, not started, and what is known of its model.

    Args:
        created: when the model is said to have been loaded, in seconds since 1970; default: now.
        say: is told what is done.
        loaded: is told the model, as it was loaded.

    Raises:
        VisiglotError: the model can't be loaded, or not as it was asked for.
    """
    from visiglot.data.nano.prompts import caption_prompt
    from visiglot.models.decode import pack
    from visiglot.models.load import load_model
    from visiglot.models.quantize import check_quantization, quantize_model
    from visiglot.prompts import placing_of
    from visiglot.serve.chat import Served
    from visiglot.serve.engine import Engine

    if options.quantize is not None:
        check_quantization(options.quantize, options.quantize_parts)
    say(f"loading {options.model}")
    fp32_parts = [part.strip() for part in (options.fp32_parts or "").split(",") if part.strip()]
    model, processor = load_model(options.model, device=options.device, dtype=options.dtype, fp32_parts=fp32_parts)
    loaded(model)
    if options.quantize is not None:
        for line in quantize_model(model, options.quantize, options.quantize_parts):
            say(line)
    pack(model)
    engine = Engine(
        model,
        processor,
        max_batch_tokens=options.max_batch_tokens,
        max_waiting=options.max_waiting,
        feature_bytes=options.feature_mb * MIB,
        max_wait_seconds=options.max_wait_seconds,
    )
    config = model.config
    served = Served(
        options.name(),
        tuple(config.languages),
        placing_of(config, processor),
        caption_prompt(config),
        int(time.time()) if created is None else created,
        licence=options.licence,
        experts=model.connector.num_experts,
    )
    return engine, served


def log_requests() -> None:
    """A line for each request on stderr; of libraries only what is wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("visiglot.serve").setLevel(logging.INFO)

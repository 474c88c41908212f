"""Visiglot's models in lmms-eval: `--model visiglot --model_args pretrained=nano`.

lmms-eval finds `manifest` by the entry point group "lmms_eval.models"; nothing else of this package is imported until
the model is asked for.

    asking.py  what lmms-eval says of a request -> examples and settings of ours; needs no lmms-eval
    models.py  the two classes that lmms-eval asks
"""

from __future__ import annotations

from typing import Any

NAME = "visiglot"


def manifest() -> Any:
    """What lmms-eval's registry of models gets: the chat model, and for --force_simple the simple one."""
    from lmms_eval.models.registry_v2 import ModelManifest

    here = f"{__name__}.models"
    return ModelManifest(
        model_id=NAME, simple_class_path=f"{here}.VisiglotSimple", chat_class_path=f"{here}.VisiglotChat"
    )

"""Parrot: any connector's image tokens, turned towards the language of the prompt by experts (arXiv 2406.02539).

H, the image tokens of the connector inside, become MoE(H) + alpha H as in the released code and checkpoints, or
H + alpha MoE(H) as in the paper's equation 5. The two differ much at the start: new experts give little, so that the
released form begins with image tokens of a tenth of their size, the paper's with image tokens as they were.

Shapes: I pictures, S image slots, N patches, K image tokens, Dv vision width, D LLM width, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor

from visiglot.errors import ModelError, UnknownNameError
from visiglot.models.connectors import CONNECTORS, Connector
from visiglot.models.connectors.linear import num_prefix
from visiglot.models.connectors.parrot_experts import ExpertMixture
from visiglot.types import TextContext, VisionFeatures

Residual = Literal["released", "paper"]
GateText = Literal["first_user_turn", "prompt"]

ALPHA: dict[str, float] = {"released": 0.1, "paper": 1.0}
"""Where the options name none. The code's moe_weight is 0.1; the paper doesn't give its alpha, 1 is ours."""
RELEASED_INNER: Mapping[str, Any] = {"type": "mlp", "options": {"keep_prefix": True}}
"""A perceptron of two layers over all 577 tokens of CLIP, CLS included."""


@CONNECTORS.register("parrot")
class ParrotConnector(Connector):
    """A connector inside, then experts that are weighted by the prompt; K is that of the connector inside.

    Args:
        inner: {"type": name in the table of connectors, "options": its options}; it must not read the prompt itself.
        experts: E.
        width: inner width of an expert.
        residual: "released", MoE(H) + alpha H, or "paper", H + alpha MoE(H).
        alpha: see there; default 0.1 (released), 1 (paper).
        top_k: experts that count for a picture; None: all, as in the released code whatever its option says.
        zero_init: start with experts that give nothing.
        gate_text: what of a row the router reads. "first_user_turn": everything before the first answer, so that a
            picture's tokens stay the same over turns. "prompt": as released, also what isn't an answer of later turns
            in training, and all text, earlier answers included, when a further turn is answered. Both are the same for
            rows of one turn.
        bypassed: leave the experts out. Stages decide (`parts: {connector.experts: {train: bypassed}}`).
    """

    can_bypass: ClassVar[tuple[str, ...]] = ("experts",)

    def __init__(
        self,
        vision_width: int,
        text_width: int,
        *,
        inner: Mapping[str, Any] = RELEASED_INNER,
        experts: int = 6,
        width: int = 4096,
        residual: Residual = "released",
        alpha: float | None = None,
        top_k: int | None = None,
        zero_init: bool = False,
        gate_text: GateText = "first_user_turn",
        bypassed: bool = False,
    ) -> None:
        super().__init__(vision_width, text_width)
        _check(inner, experts, width, residual, top_k, gate_text)
        self.residual = residual
        self.alpha = ALPHA[residual] if alpha is None else alpha
        self.reads_all_turns = gate_text == "prompt"
        self.inner = CONNECTORS.get(inner["type"])(vision_width, text_width, **inner.get("options", {}))
        if self.inner.needs_context:
            raise ModelError(
                f"connector parrot: inner {inner['type']!r} reads the prompt itself",
                hint="Put a connector inside that makes the same tokens whatever the prompt is, such as mlp.",
            )
        self.reads_tiles = self.inner.reads_tiles
        self.experts = ExpertMixture(text_width, experts, width, top_k=top_k, zero_init=zero_init)
        self.bypass(bypassed)

    @classmethod
    def settled(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        found = super().settled(options)
        kind, inside = found["inner"]["type"], found["inner"].get("options", {})
        found["inner"] = {"type": kind, "options": CONNECTORS.get(kind).settled(inside)}
        found["alpha"] = ALPHA[found["residual"]] if found["alpha"] is None else found["alpha"]
        return found

    def bypass(self, bypassed: bool) -> None:
        """Leave the experts out, or take them in again. Without them the prompt isn't read."""
        self.bypassed = bypassed
        self.needs_context = not bypassed

    @property
    def num_experts(self) -> int:
        """E, or 0 when they are bypassed."""
        return 0 if self.bypassed else len(self.experts.each)

    def num_tokens(self, num_patches: int, grid: tuple[int, int] | None, tiles: int = 1) -> int:
        """Those of the connector inside."""
        return self.inner.num_tokens(num_patches, grid, tiles)

    def forward(self, features: VisionFeatures, context: TextContext | None = None) -> Tensor:
        """[I, N, Dv] -> [S, K, D], or [I, K, D] when the experts are bypassed."""
        tokens: Tensor = self.inner(features)
        if self.bypassed:
            return tokens if context is None else tokens[context.image_index]
        assert context is not None, "the experts need the prompt"
        weights = self._route(features, tokens, context)
        mixed: Tensor = self.experts(tokens, weights, context.image_index)
        own = tokens[context.image_index]
        return mixed + self.alpha * own if self.residual == "released" else own + self.alpha * mixed

    def routing(self, features: VisionFeatures, context: TextContext) -> Tensor | None:
        """The weight of each expert for each slot [S, E], before any top k; None when the experts are bypassed."""
        return None if self.bypassed else self._route(features, self.inner(features), context)

    def _route(self, features: VisionFeatures, tokens: Tensor, context: TextContext) -> Tensor:
        """The query is the image token of the encoder's CLS where the connector inside makes one, as in the released
        code; else, for encoders without CLS and connectors that mix patches, the mean of the image tokens."""
        has_prefix = num_prefix(features.num_patches, features.grid, keep_prefix=False) > 0
        is_cls = has_prefix and getattr(self.inner, "keep_prefix", False)
        query = tokens[:, 0] if is_cls else tokens.mean(1)  # [I, D]
        return self.experts.route(query[context.image_index], context)


def _check(
    inner: Mapping[str, Any], experts: int, width: int, residual: str, top_k: int | None, gate_text: str
) -> None:
    """Raise ModelError and UnknownNameError for options that make no connector."""
    for kind, value, known in (
        ("residual", residual, get_args(Residual)),
        ("gate_text", gate_text, get_args(GateText)),
    ):
        if value not in known:
            raise UnknownNameError(kind, value, known)
    if "type" not in inner or set(inner) - {"type", "options"}:
        raise ModelError(
            f"connector parrot: inner is {dict(inner)}", hint="It has `type` and, where that takes some, `options`."
        )
    if experts < 1 or width < 1 or (top_k is not None and not 1 <= top_k <= experts):
        raise ModelError(
            f"connector parrot: experts {experts}, width {width}, top_k {top_k}",
            hint="experts and width are at least 1, top_k is from 1 to experts or left out.",
        )

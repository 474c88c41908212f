"""What stock BLIP-2 and LLaVA and Parrot's release call the tensors of a `VisionLanguageModel`, in both directions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Naming:
    """Pairs of (prefix in the stock file, prefix here); the first pair that fits a name decides."""

    pairs: tuple[tuple[str, str], ...]

    def ours(self, name: str) -> str | None:
        """The name here of a stock tensor; None when no part of ours holds it."""
        for theirs, here in self.pairs:
            if name.startswith(theirs):
                return here + name.removeprefix(theirs)
        return None

    def theirs(self, name: str) -> str | None:
        """The stock name of one of our tensors; None when the stock class has no place for it."""
        for theirs, here in self.pairs:
            if name.startswith(here):
                return theirs + name.removeprefix(here)
        return None


BLIP2 = Naming(
    (
        ("vision_model.", "vision.model."),
        ("query_tokens", "connector.queries"),
        ("qformer.", "connector.qformer."),
        ("language_projection.", "connector.projection."),
        ("language_model.", "language_model."),
    )
)
"""`Blip2ForConditionalGeneration`, as of its first release and of today."""

LLAVA = Naming(
    (
        ("vision_tower.", "vision.model."),
        ("multi_modal_projector.linear_1.", "connector.projection.0."),
        ("multi_modal_projector.linear_2.", "connector.projection.2."),
        ("language_model.", "language_model."),
    )
)
"""`LlavaForConditionalGeneration` as its files have it; in memory transformers 5 puts `model.` before the parts and
takes `model.` out of the causal LLM's own names."""

PARROT = Naming(
    (
        ("model.vision_tower.vision_tower.vision_model.", "vision.model."),
        ("model.mm_projector.", "connector.inner.projection."),
        ("model.moe_model.gate.", "connector.experts.router."),
        ("model.moe_model.experts.", "connector.experts.each."),
        ("model.", "language_model.model."),
        ("lm_head.", "language_model.lm_head."),
    )
)
"""`ParrotQwen2ForCausalLM` of github.com/AIDC-AI/Parrot, whose parts hang on its LLM."""

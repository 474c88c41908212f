"""The vision-language model: encoder -> connector -> LLM, each of them stock.

Forward, in four steps:
    1. the encoder turns each picture into patches and a pooled vector (once, however many rows show it);
    2. the connector turns them into K image tokens, with a look at the prompt if it wants one;
    3. the image tokens replace the placeholders in the rows' word embeddings;
    4. the LLM reads the rows: a causal LLM in one sequence, an encoder-decoder with its encoder.

Shapes: I pictures, S image slots, R rows, N patches, K image tokens, L tokens, T target tokens, P supervised positions,
D LLM width, Dv vision width, V vocabulary, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from visiglot.errors import PromptError
from visiglot.models import language_model as lm
from visiglot.models.checkpoint.foreign import Report, settle_generation, state_of
from visiglot.models.checkpoint.tensors import (
    check_fp32_parts,
    fill,
    opened_model,
    own_state,
    part_of,
    refuse_hub_options,
    refuse_misfits,
    refuse_other_shapes,
    stored_dtype,
)
from visiglot.models.checkpoint.weights import StoredTensor
from visiglot.models.config import VisiglotConfig
from visiglot.models.connectors import CONNECTORS, Connector
from visiglot.models.lora import inject_lora
from visiglot.models.prompting import Prompting
from visiglot.models.quantize import refuse_quantized
from visiglot.models.vision import VisionEncoder
from visiglot.types import IGNORE, Batch, Layout, TextContext, VisionFeatures

MIXED_WORDS = 16
"""How many of the nearest words an image token is mixed of."""


@dataclass
class VLMOutput(ModelOutput):  # type: ignore[misc]
    """Mean loss over the supervised tokens (None without labels) and logits [R, L or T, V]."""

    loss: Tensor | None = None
    logits: Tensor | None = None


@dataclass(frozen=True)
class TargetStates:
    """What the head reads at the supervised positions: states [P, D], labels [P], the row of each [P]."""

    states: Tensor
    labels: Tensor
    rows: Tensor


class VisionLanguageModel(Prompting, PreTrainedModel):  # type: ignore[misc]
    """A vision encoder, a connector and an LLM.

    `vision.model` and `language_model` are stock transformers modules with their own key names; low-rank layers, when
    `config.lora` is set, sit inside the LLM and are saved with it.
    """

    config_class = VisiglotConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    input_modalities: ClassVar[tuple[str, ...]] = ("image", "text")
    load_report: Report | None = None

    def __init__(self, config: VisiglotConfig) -> None:
        super().__init__(config)
        self.vision = VisionEncoder(config.vision_config, config.vision_layer, tiles=config.vision_tiles)
        described = config.connector
        self.connector: Connector = CONNECTORS.get(described["type"])(
            described["vision_width"], config.text_width, **described["options"]
        )
        self.language_model = lm.build_llm(config.text_config)
        if config.lora is not None:
            inject_lora(self.language_model, config.lora)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: the encoder, the Q-Former and the LLM initialise themselves, linear layers as PyTorch does."""

    @classmethod
    def from_pretrained(cls, where: Any, *args: Any, **kwargs: Any) -> Any:
        """A model of ours, or of one of the table of formats (BLIP-2, mBLIP, LLaVA), by transformers' own loading.

        Weights are read one at a time, straight into the model, so that loading takes hardly more memory than they do.
        Parts that a folder shares with others are read from there, matrices in 8 bits unpacked. `load_report` says what
        became of the tensors of another format.

        Args:
            where: a model folder or a hub id; None with transformers' own `config` and `state_dict`.
            fp32_parts: parts ("connector", "vision") that are kept in float32 whatever `dtype` is.

        Raises:
            CheckpointError: there is no such model, a shared part isn't there or isn't what was shared, or a tensor is
                missing or fits nowhere, or an option of the hub is given.
            UnknownNameError: no such part.
        """
        fp32_parts = kwargs.pop("fp32_parts", ())
        check_fp32_parts(fp32_parts)
        if where is None:
            return super().from_pretrained(where, *args, **kwargs)
        refuse_hub_options(kwargs)
        opened = opened_model(str(where))
        foreign = opened.kind != "visiglot"
        state: Mapping[str, Tensor | StoredTensor]
        state, report = state_of(opened) if foreign else (own_state(opened), None)
        dtype = kwargs.get("dtype", "auto")
        if dtype == "auto":
            stated = opened.config.dtype
            dtype = stated if stated in (torch.float32, torch.bfloat16) else stored_dtype(state)
        state = {name: one.read_as(dtype) if isinstance(one, StoredTensor) else one for name, one in state.items()}
        kwargs = {"config": opened.config, **kwargs, "state_dict": state, "dtype": dtype}
        asked = {**kwargs, "ignore_mismatched_sizes": True, "output_loading_info": True}
        model, info = super().from_pretrained(None, *args, **asked)
        refuse_other_shapes(str(where), info["mismatched_keys"])
        refuse_misfits(str(where), list(info["missing_keys"]), list(info["unexpected_keys"]))
        settle_generation(opened, model)
        model.load_report = report
        model.name_or_path = str(where)
        for part in fp32_parts:
            fill(getattr(model, part).float(), part_of(str(where), f"{part}."), str(where))
        return (model, info) if kwargs.get("output_loading_info") else model

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """transformers' own, but tensors keep the names that the modules have.

        By default it writes some families (ViT, DINOv2) under names of older versions, which only a whole model finds
        again, not a recipe that takes one part of it. A quantised model can't be saved (ModelError) without a
        `state_dict` that says what its weights are.
        """
        if kwargs.get("state_dict") is None:
            refuse_quantized(self, "saved")
        super().save_pretrained(save_directory, **{"save_original_format": False, **kwargs})

    @property
    def layout(self) -> Layout:
        return self.config.layout  # type: ignore[no-any-return]

    def get_input_embeddings(self) -> nn.Embedding:
        return self.language_model.get_input_embeddings()  # type: ignore[no-any-return]

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()  # type: ignore[no-any-return]

    # --- step 1: pictures ---

    def encode_images(self, pixel_values: Tensor) -> VisionFeatures:
        """Features of pictures [I, 3, H, W]."""
        features: VisionFeatures = self.vision(pixel_values.to(next(self.vision.parameters()).dtype))
        return features

    # --- step 2: image tokens ---

    def image_tokens(
        self, features: VisionFeatures, context: TextContext | None = None, *, as_words: bool = True
    ) -> Tensor:
        """Features of I pictures -> [I, K, D], or [S, K, D] for a connector that reads the prompt.

        Args:
            as_words: mix word embeddings if the model does; False gives what the connector makes.
        """
        dtype = next(self.connector.parameters()).dtype
        if not torch.is_autocast_enabled(features.patches.device.type) and features.patches.dtype != dtype:
            features = features.like(features.patches.to(dtype), features.pooled.to(dtype))
        tokens: Tensor = self.connector(features, context)
        if as_words and self.config.connector.get("words") is not None:
            tokens = self.mix_words(tokens, self.config.connector["words"])
        return tokens

    def mix_words(self, tokens: Tensor, temperature: float) -> Tensor:
        """[..., D] -> [..., D]: each token becomes a mixture of the words nearest to it, see `word_scores`.

        A token that is sure of a word becomes that word, so the LLM reads only what it has learned to read (compare
        Ovis, Lu et al., 2024, which mixes the rows of a learned visual table). Words beyond the nearest `MIXED_WORDS`
        are left out: at a low temperature they have hardly a share, and a gradient over a whole vocabulary costs more
        than the LLM.
        """
        with torch.no_grad():
            scores, words = self.word_scores(tokens, temperature)
            nearest = scores.topk(min(MIXED_WORDS, len(words))).indices  # [..., n]
        near = words[nearest]  # [..., n, D]
        products = (near @ tokens.float()[..., None]).squeeze(-1)  # [..., n]
        scale = temperature * words.square().sum(-1).mean()
        weights = ((products - near.square().sum(-1) / 2) / scale).softmax(-1)
        return (weights[..., None, :] @ near).squeeze(-2)

    def word_scores(self, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """How near each token is to each word: scores [..., V] for a softmax, and the word embeddings [V, D].

        The score is -|token - word|^2 / (2 temperature), distances relative to a word's mean square, less the part that
        all words share.
        """
        table = self.get_input_embeddings().weight
        words = self.word_embeddings(torch.arange(len(table), device=table.device)).detach().float()
        squares = words.square().sum(-1)
        return (tokens.float() @ words.T - squares / 2) / (temperature * squares.mean()), words

    # --- step 3: rows ---

    def embed(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        pixel_values: Tensor | None = None,
        features: VisionFeatures | None = None,
        slot_image: Tensor | None = None,
        slot_row: Tensor | None = None,
        prompt_mask: Tensor | None = None,
    ) -> Tensor:
        """Word embeddings with the pictures' tokens in place.

        Args:
            input_ids, attention_mask: [R, L].
            pixel_values: [I, 3, H, W], or `features` of the I pictures; neither when no row shows one.
            slot_image, slot_row: [S], the picture and the row of each slot, rows in order and slots in text order.
                Default: picture i stands in row i.
            prompt_mask: [R, L] what a connector that reads the prompt may see of each row, see `TextContext.mask`.
                Default: every text token, for rows that are prompts of one turn.

        Returns:
            [R, L, D].

        Raises:
            PromptError: a row's placeholders and its pictures don't match.
        """
        is_image = (input_ids == self.config.image_token_id) & attention_mask.bool()
        embeddings = self.word_embeddings(input_ids)
        if features is None and pixel_values is not None:
            features = self.encode_images(pixel_values)
        if slot_image is None or slot_row is None:
            count = 0 if features is None else features.patches.shape[0]
            slot_image = slot_row = torch.arange(count, device=input_ids.device)
        self._check_slots(is_image, slot_row)
        if features is None:
            return embeddings
        # pictures that stand in no slot pass the connector all the same: what is cut up over processes meets there
        if self.connector.needs_context:
            seen = attention_mask.bool() & ~is_image
            if prompt_mask is not None:
                seen &= prompt_mask
            tokens = self.image_tokens(features, TextContext(embeddings[slot_row], seen[slot_row], slot_image))
        else:
            tokens = self.image_tokens(features)[slot_image]
        # slots are in row-major text order, and so are the placeholders
        return embeddings.masked_scatter(is_image[..., None], tokens.to(embeddings.dtype))

    def word_embeddings(self, input_ids: Tensor) -> Tensor:
        """[R, L] -> [R, L, D]; what stands at placeholders means nothing, for their rows of the table may not exist."""
        embeddings: Tensor = self.language_model.get_input_embeddings()(
            input_ids.masked_fill(input_ids == self.config.image_token_id, 0)
        )
        return embeddings

    def prompts_of(self, batch: Batch) -> Tensor:
        """[R, L] True at the text tokens of each prompt; in a causal row never at or after the first label."""
        seen: Tensor = batch.attention_mask.bool() & (batch.input_ids != self.config.image_token_id)
        if self.layout == "causal":
            seen &= before_labels(batch.answers, all_turns=self.connector.reads_all_turns)
        return seen if batch.prompt_mask is None or self.connector.reads_all_turns else seen & batch.prompt_mask

    def slot_tokens(self, batch: Batch, features: VisionFeatures, *, as_words: bool = True) -> Tensor:
        """The image tokens of each slot of `batch` [S, K, D], which shows `features` of its I pictures."""
        if not self.connector.needs_context:
            return self.image_tokens(features, as_words=as_words)[batch.slot_image]
        return self.image_tokens(features, self.slot_context(batch), as_words=as_words)

    def slot_context(self, batch: Batch) -> TextContext:
        """What a connector may see of the row of each slot of `batch`."""
        embeddings = self.word_embeddings(batch.input_ids)[batch.slot_row]
        return TextContext(embeddings, self.prompts_of(batch)[batch.slot_row], batch.slot_image)

    def _check_slots(self, is_image: Tensor, slot_row: Tensor) -> None:
        per_image = self.config.tokens_per_image
        held = is_image.sum(1)
        slots = torch.bincount(slot_row, minlength=is_image.shape[0])
        if slots.numel() > is_image.shape[0] or not torch.equal(held, slots * per_image):
            row = int((held != slots[: held.numel()] * per_image).nonzero()[0]) if slots.numel() == held.numel() else -1
            found, pictures = (int(held[row]), int(slots[row])) if row >= 0 else (int(held.sum()), slot_row.numel())
            raise PromptError(
                f"row {row}: the prompt holds {found} image tokens, its {pictures} picture(s) make "
                f"{pictures * per_image} ({per_image} each)",
                hint="Render prompts with this model's processor (processor.spec()); one placeholder run a picture.",
            )
        if slot_row.numel() > 1 and bool((slot_row[1:] < slot_row[:-1]).any()):
            raise PromptError("image slots must be in the order of their rows", hint="Use visiglot.data.collate.")

    # --- step 4: the LLM ---

    def target_states(self, batch: Batch) -> TargetStates:
        """Hidden states at the supervised positions of a batch, so that the head need not run anywhere else."""
        embeddings = self.embed(
            batch.input_ids,
            batch.attention_mask,
            pixel_values=batch.pixel_values,
            features=batch.features,
            slot_image=batch.slot_image,
            slot_row=batch.slot_row,
            prompt_mask=self.prompts_of(batch),
        )
        if self.layout == "seq2seq":
            encoded = lm.encoder_states(self.language_model, embeddings, batch.attention_mask)
            hidden = lm.decoder_states(self.language_model, encoded, batch.attention_mask, batch.answers)
            labels = batch.labels
        else:
            hidden = lm.causal_states(self.language_model, embeddings, batch.attention_mask)[:, :-1]
            labels = batch.labels[:, 1:]
        supervised = labels != IGNORE
        return TargetStates(hidden[supervised], labels[supervised], supervised.nonzero()[:, 0])

    def head(self, states: Tensor) -> Tensor:
        """[..., D] -> logits [..., V], as the LLM itself computes them."""
        return lm.logits_of(self.language_model, states)

    def text_states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Mean over the tokens of the LLM's view of plain text (its encoder's, if it has one): [R, L] -> [R, D]."""
        embeddings = self.language_model.get_input_embeddings()(input_ids)
        read = lm.encoder_states if self.layout == "seq2seq" else lm.causal_states
        hidden = read(self.language_model, embeddings, attention_mask)
        weight = attention_mask[..., None].to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        pixel_values: Tensor | None = None,
        features: VisionFeatures | None = None,
        slot_image: Tensor | None = None,
        slot_row: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        prompt_mask: Tensor | None = None,
    ) -> VLMOutput:
        """Logits at every position, and the mean loss over supervised tokens when `labels` are given.

        Args are those of `embed` and `Batch`. For an encoder-decoder give `labels` or `decoder_input_ids` [R, T].
        Without a `prompt_mask` a connector sees a causal row up to its first label. Training uses `target_states` and
        `head`, which never hold all logits.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if prompt_mask is None and labels is not None and self.layout == "causal":
            prompt_mask = before_labels(labels, all_turns=self.connector.reads_all_turns)
        embeddings = self.embed(
            input_ids,
            attention_mask,
            pixel_values=pixel_values,
            features=features,
            slot_image=slot_image,
            slot_row=slot_row,
            prompt_mask=prompt_mask,
        )
        if self.layout == "seq2seq":
            if decoder_input_ids is None:
                if labels is None:
                    raise PromptError("an encoder-decoder needs `labels` or `decoder_input_ids`")
                decoder_input_ids = lm.shift_right(self.language_model, labels)
            arguments: dict[str, Any] = {"decoder_input_ids": decoder_input_ids}
        else:
            positions = lm.takes(type(self.language_model), "position_ids")
            arguments = {"position_ids": lm.position_ids(attention_mask)} if positions else {}
        logits: Tensor = self.language_model(
            inputs_embeds=embeddings, attention_mask=attention_mask, use_cache=False, **arguments
        ).logits
        if labels is None:
            return VLMOutput(logits=logits)
        predicted, wanted = (logits, labels) if self.layout == "seq2seq" else (logits[:, :-1], labels[:, 1:])
        loss = cross_entropy(predicted.flatten(0, 1).float(), wanted.flatten(), ignore_index=IGNORE)
        return VLMOutput(loss=loss, logits=logits)


def before_labels(labels: Tensor, *, all_turns: bool = False) -> Tensor:
    """[R, L] True before a row's first supervised token, or with `all_turns` at all that aren't supervised."""
    return labels == IGNORE if all_turns else (labels != IGNORE).cumsum(1) == 0

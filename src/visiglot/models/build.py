"""Assembling a model from its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AutoImageProcessor, BlipImageProcessorPil, LlavaImageProcessorPil
from transformers.initialization import no_init_weights

from visiglot.config import ModelSection, PromptSection, TokenizerSection
from visiglot.errors import ConfigError, ModelError
from visiglot.models import language_model as lm
from visiglot.models.checkpoint import reading
from visiglot.models.checkpoint.adapters import load_adapter
from visiglot.models.checkpoint.formats import open_model
from visiglot.models.checkpoint.stock import load_config, load_stock, load_tokenizer
from visiglot.models.checkpoint.tensors import fill, part_of
from visiglot.models.checkpoint.weights import is_weights_file
from visiglot.models.config import PARTS, VisiglotConfig
from visiglot.models.connectors import CONNECTORS, count_tokens
from visiglot.models.connectors.start import load_connector, match_scale, settled
from visiglot.models.families import family
from visiglot.models.lora import inject_lora, merge_layers
from visiglot.models.parts import count
from visiglot.models.processor import IMAGE_TOKEN, VisiglotProcessor
from visiglot.models.runs import resolve_model
from visiglot.models.tokenizer import train_tokenizer
from visiglot.models.values import config_of, from_values, token_ids
from visiglot.models.vision import VisionEncoder, encoder_class, image_size_of, measure
from visiglot.models.vlm import VisionLanguageModel


@dataclass
class Built:
    """A model, its processor, and what happened while it was assembled, a line each."""

    model: VisionLanguageModel
    processor: VisiglotProcessor
    report: list[str] = field(default_factory=list)


def build_model(
    section: ModelSection,
    *,
    languages: Sequence[str],
    seed: int,
    texts: Callable[[], Iterable[str]] | None = None,
    dtypes: Mapping[str, torch.dtype] | None = None,
) -> Built:
    """Assemble a model as a recipe's `model` section says.

    To train, every weight is float32, also of parts that were saved in fewer bits (the report says which): training
    needs that of what it changes, and a checkpoint of one number format is read back as it was written.

    Args:
        section: the recipe's `model`.
        languages: FLORES-200 codes for the model's card, beside those of a model that all parts come from.
        seed: of every freshly initialised weight; the global generator is left as it was.
        texts: gives the texts to train a tokenizer on, when the section asks for one.
        dtypes: of the weights of each part ("vision", "connector", "language_model"), where it isn't float32.

    Raises:
        ConfigError, ModelError, CheckpointError: a part can't be built or loaded.
    """
    section = settled(section)
    report: list[str] = []
    formats = {part: (dtypes or {}).get(part, torch.float32) for part in PARTS}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vision, image_processor = _vision(section, formats["vision"], report)
        llm, tokenizer, lora = _language_model(section, texts, formats["language_model"], report)
        vision.tiles = section.vision.tiles
        size = _image_size(section, vision, image_processor)
        image_processor = _image_processor(section, image_processor, size * vision.tiles)
        features = measure(vision, size)
        vision_width = features.patches.shape[2]
        text_config = llm.config.get_text_config()
        described = {
            "type": section.connector.type,
            "vision_width": vision_width,
            "options": section.connector.options,
            "words": section.connector.words,
        }
        with from_values("model.connector"):
            connector = CONNECTORS.get(section.connector.type)(
                vision_width, text_config.hidden_size, **section.connector.options
            )
        match_scale(connector, llm)
        if section.connector.from_ is not None:
            report += load_connector(connector, section)
        else:
            report.append(f"connector: {section.connector.type}, new, {_size(connector)}")
        connector.to(formats["connector"])
    tokens = count_tokens(connector, features)
    if tokens < 1:
        raise ConfigError("model.connector", [f"options: make {tokens} tokens of a picture; it needs at least one"])
    image_token_id = _image_token_id(tokenizer, text_config.vocab_size)
    asked = _asked(section, llm)
    config = VisiglotConfig(
        vision_config=vision.model.config,
        text_config=llm.config,
        connector=described,
        vision_layer=section.vision.layer,
        vision_tiles=vision.tiles,
        tokens_per_image=tokens,
        image_token_id=image_token_id,
        lora=lora,
        languages=list(dict.fromkeys([*_languages_there(section), *languages])),
        template=asked.template,
        max_length=section.prompt.max_length,
        caption_prompt=section.prompt.caption,
        pivot=section.prompt.pivot,
        image_first=section.prompt.image_first,
        image_gap=_gap(section.prompt, asked.gap) if section.prompt.image_first else "",
    )
    with torch.device("meta"):
        model = VisionLanguageModel(config)
    model.vision, model.connector, model.language_model = vision, connector, llm
    lm.check_head(llm)
    model.generation_config = llm.generation_config
    processor = VisiglotProcessor(
        image_processor,
        tokenizer,
        image_token_id=image_token_id,
        tokens_per_image=tokens,
        layout=config.layout,
        family=llm.config.model_type,
        template=config.template,
        max_length=config.max_length,
        whole_turns=asked.whole_turns,
        bos_after_images=section.prompt.image_first and family(llm.config.model_type).bos,
    )
    model.processor = processor
    seen = f"{features.num_patches} patches"
    if vision.tiles > 1:
        seen = f"{seen} of an overview, and of each of {vision.tiles} x {vision.tiles} tiles"
    report.append(f"{tokens} image tokens a picture of {size} px ({seen})")
    return Built(model, processor, report)


# --- parts -----------------------------------------------------------------------------------------------------------


def _vision(section: ModelSection, dtype: torch.dtype, report: list[str]) -> tuple[VisionEncoder, Any]:
    source = section.vision
    if source.from_ is None:
        config = config_of("model.vision", source.config)
        with from_values("model.vision.config"):
            encoder = VisionEncoder(config, source.layer)
        report.append(f"vision: {type(encoder.model).__name__}, new, {_size(encoder)}")
        return encoder, None
    where = resolve_model(source.from_)
    said: list[str] = []
    if is_weights_file(where):
        config = config_of("model.vision", source.config)
        encoder = _filled_encoder(config, source.layer, where, dtype)
        image_processor = None
    elif (opened := open_model(where)) is not None:
        config = opened.config
        if section.connector.from_ == source.from_ and config.vision_layer != source.layer:
            raise ConfigError(
                "model.vision", [f"layer: is {source.layer}, the connector of {where} reads {config.vision_layer}"]
            )
        encoder = _filled_encoder(config.vision_config, source.layer, where, dtype)
        image_processor = opened.format.image_processor(where, config)
    else:
        config = load_config(where)
        inner = config.to_dict().get("vision_config") and config.vision_config
        encoder = VisionEncoder(inner or config, source.layer)
        encoder.model, said = load_stock(encoder_class(inner or config), where, inner, dtype=dtype)
        image_processor = _own_image_processor(where, said)
    said += _to_dtype(encoder, encoder.model.config, config, dtype)
    report.append("; ".join([f"vision: {type(encoder.model).__name__} from {source.from_}, {_size(encoder)}", *said]))
    return encoder, image_processor


class _Asked(NamedTuple):
    """How prompts are written: the template, whether turns are encoded as a whole, what follows a picture put first."""

    template: str
    whole_turns: bool = False
    gap: str = ""


def _asked(section: ModelSection, llm: Any) -> _Asked:
    """As the recipe says; else as the whole model that the LLM comes from is asked, or as its family is."""
    source, wanted = section.language_model, section.prompt.template
    if source.from_ is not None and source.tokenizer is None:
        opened = open_model(resolve_model(source.from_))
        if opened is not None:
            theirs = opened.processor()
            if wanted in (None, theirs.template):
                return _Asked(theirs.template, theirs.whole_turns, opened.config.image_gap)
    return _Asked(wanted or family(llm.config.model_type).template)


def _languages_there(section: ModelSection) -> Sequence[str]:
    """Those on the card of the one model that all parts come from: training goes on in some of them, and ends none."""
    name = section.language_model.from_
    if name is None or {section.vision.from_, section.connector.from_} != {name}:
        return ()
    opened = open_model(resolve_model(name))
    return () if opened is None else opened.config.languages or ()


def _gap(section: PromptSection, usual: str) -> str:
    return usual if section.image_gap is None else section.image_gap


def _filled_encoder(config: Any, layer: int, where: str, dtype: torch.dtype) -> VisionEncoder:
    with no_init_weights():
        encoder = VisionEncoder(config, layer, dtype)
    fill(encoder, part_of(where, "vision."), where)
    return encoder


def _own_image_processor(where: str, said: list[str]) -> Any:
    """The preprocessing of a stock encoder; None, which is said, when it states none."""
    with reading(f"{where}: its preprocessing"):
        try:
            return AutoImageProcessor.from_pretrained(where)
        except OSError:
            said.append("states no preprocessing, so the recipe's or the plain one is used")
            return None


def _language_model(
    section: ModelSection, texts: Callable[[], Iterable[str]] | None, dtype: torch.dtype, report: list[str]
) -> tuple[Any, Any, dict[str, Any] | None]:
    source = section.language_model
    where = None if source.from_ is None else resolve_model(source.from_)
    lora = None
    tokenizer = _tokenizer(section, where, texts, report)
    if where is None:
        config = config_of("model.language_model", source.config, token_ids(tokenizer))
        with from_values("model.language_model.config"):
            llm = lm.build_llm(config)
        report.append(f"language_model: {type(llm).__name__}, new, {_size(llm)}")
        return llm, tokenizer, None
    said: list[str] = []
    opened = None if is_weights_file(where) else open_model(where)
    if opened is not None:
        config, lora = opened.config, opened.config.lora
        with no_init_weights():
            llm = lm.build_llm(config.text_config, dtype)
        llm.tie_weights()
        if lora is not None:
            inject_lora(llm, lora)
        fill(llm, part_of(where, "language_model."), where)
    else:
        config = load_config(where)
        llm, said = load_stock(lm.llm_class(config), where, dtype=dtype)
    said += _to_dtype(llm, llm.config, config, dtype)
    report.append("; ".join([f"language_model: {type(llm).__name__} from {source.from_}, {_size(llm)}", *said]))
    if source.adapter is not None:
        if lora is not None:
            raise ConfigError("model.language_model", [f"adapter: {source.from_} has low-rank layers already"])
        lora, line = load_adapter(llm, resolve_model(source.adapter))
        report.append(line)
    if source.merge and lora is not None:
        merge_layers(llm)
        report.append(f"language_model: its low-rank layers (rank {lora['rank']}) were merged into it")
        lora = None
    return llm, tokenizer, lora


def _tokenizer(
    section: ModelSection, where: str | None, texts: Callable[[], Iterable[str]] | None, report: list[str]
) -> Any:
    wanted = section.language_model.tokenizer
    if isinstance(wanted, TokenizerSection):
        if texts is None:
            raise ModelError("model.language_model.tokenizer: a tokenizer is to be trained, but there are no texts")
        tokenizer = train_tokenizer(texts(), wanted.vocabulary)
        report.append(f"tokenizer: unigram with byte fallback, trained, {len(tokenizer)} pieces")
        return tokenizer
    folder = where if wanted is None else _tokenizer_folder(wanted)
    if folder is None:
        raise ConfigError(
            "model.language_model",
            ["tokenizer: is missing; a new language model needs a folder, a hub id or {vocabulary: N}"],
        )
    return load_tokenizer(folder)


def _tokenizer_folder(name: str) -> str:
    """A folder of a tokenizer alone, or what a model's name leads to."""
    alone = Path(name).expanduser()
    return str(alone) if (alone / "tokenizer_config.json").is_file() else resolve_model(name)


def _image_size(section: ModelSection, vision: VisionEncoder, image_processor: Any) -> int:
    size = section.vision.image_size or image_size_of(vision.model.config)
    if size is None and image_processor is not None:
        size = image_processor.size["height"]
    if size is None:
        raise ConfigError(
            "model.vision", [f"image_size: is missing; {type(vision.model).__name__} takes pictures of any size"]
        )
    return int(size)


def _image_processor(section: ModelSection, found: Any, size: int) -> Any:
    """The encoder's own preprocessing, or a plain one: bicubic to a square, then mean and std (default: CLIP's).

    Padded to squares, or seen in tiles, pictures are resized bicubically whatever the encoder's own preprocessing does.

    Args:
        size: side in pixels, of all tiles together.
    """
    values: dict[str, Any] = {}
    if section.vision.image_mean is not None:
        values["image_mean"] = list(section.vision.image_mean)
    if section.vision.image_std is not None:
        values["image_std"] = list(section.vision.image_std)
    own = {} if found is None else {"image_mean": list(found.image_mean), "image_std": list(found.image_std)}
    if section.vision.pad or (section.vision.tiles > 1 and getattr(found, "do_pad", False)):
        square = {"height": size, "width": size}
        return LlavaImageProcessorPil(do_pad=True, size={"shortest_edge": size}, crop_size=square, **own | values)
    if found is None or section.vision.tiles > 1:
        return BlipImageProcessorPil(size={"height": size, "width": size}, **own | values)
    if section.vision.image_size is not None:
        found.size = {"height": size, "width": size}
    for name, value in values.items():
        setattr(found, name, value)
    return found


def _image_token_id(tokenizer: Any, vocab_size: int) -> int:
    """Id of the placeholder: the tokenizer's own if it has one, else the first id that no text uses.

    It may lie beyond the embedding table: its row is never looked up, so nothing is resized and no head untied.
    """
    known = tokenizer.get_vocab().get(IMAGE_TOKEN)
    return max(len(tokenizer), vocab_size) if known is None else int(known)


def _size(module: nn.Module) -> str:
    return count(sum(parameter.numel() for parameter in module.parameters()))


def _to_dtype(module: nn.Module, config: Any, saved: Any, dtype: torch.dtype) -> list[str]:
    """Make all of a loaded part `dtype`, and say so when its checkpoint's config, `saved`, states another."""
    module.to(dtype)
    config.dtype = dtype
    names = [str(one).removeprefix("torch.") for one in (saved.dtype, dtype)]
    return [] if saved.dtype in (None, dtype) else [f"{names[0]} kept as {names[1]}"]

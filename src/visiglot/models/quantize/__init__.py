"""Linear layers in fewer bits: smaller always, faster where memory is what a step waits for. They answer, or stay as
they are below low-rank layers that train.

    int8       8 bits; activations are rounded too, each row by a scale of its own, so no row depends on its batch mates
    nf4        4 bits in blocks of 64 (Dettmers et al., 2023, arXiv 2305.14314), without double quantisation
    llm-int8   8 bits with outlier columns in full (Dettmers et al., 2022, arXiv 2208.07339), as mBLIP's paper has it;
               the columns are picked over the whole batch, so rows depend on their batch mates

`int8` is ours (`layers.py`), the others are bitsandbytes' (`bnb.py`). docs/quantize.md has their errors.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from visiglot.errors import MissingExtraError, ModelError, UnknownNameError
from visiglot.memory import release_memory
from visiglot.models.quantize.layers import Int8Linear, QuantizedLinear

if TYPE_CHECKING:
    from visiglot.models.vlm import VisionLanguageModel

Quantization = Literal["int8", "nf4", "llm-int8"]
Parts = Literal["language_model", "all"]

LOW_RANK = frozenset({"lora_A", "lora_B"})
"""Names of modules below which peft keeps low-rank layers."""


def check_quantization(kind: str, parts: str = "language_model") -> None:
    """Refuse what can't be done before a model is loaded.

    Raises:
        UnknownNameError: no such kind, or no such parts.
        MissingExtraError: the kind needs bitsandbytes, which isn't installed.
    """
    if kind not in get_args(Quantization):
        raise UnknownNameError("quantisation", kind, get_args(Quantization))
    if parts not in get_args(Parts):
        raise UnknownNameError("choice of parts to quantise", parts, get_args(Parts))
    if kind != "int8" and importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError(f"bitsandbytes, which --quantize {kind} runs on,", "quantize")


def quantize_model(model: VisionLanguageModel, kind: str, parts: str = "language_model") -> list[str]:
    """Quantise linear layers of a loaded model, one by one, in place. Afterwards it can only answer.

    The head, embeddings, norms and the connector's own layers stay as they are. So do low-rank layers, with the layer
    that they adapt quantised beneath them: that is how mBLIP trained them, and merged before they would be rounded too.

    Args:
        model: on the device where it is to stay; nothing of it trains from now on.
        kind: one of `Quantization`.
        parts: "language_model", as in mBLIP's paper, or "all": the vision encoder and the Q-Former too, as on its card.

    Returns:
        Lines that say what was quantised, what was left, and how large they are.

    Raises:
        UnknownNameError, MissingExtraError: see `check_quantization`.
        ModelError: the model is quantised already, or has no layer that can be.
    """
    check_quantization(kind, parts)
    if is_quantized(model):
        raise ModelError("the model is quantised already", hint="Load it again to quantise it in another way.")
    model.requires_grad_(False)
    names = [f"language_model.{name}" for name in linear_layers(model.language_model)]
    if parts == "all":
        names += [f"vision.{name}" for name in linear_layers(model.vision)]
        for name, module in model.connector.named_modules():
            if isinstance(module, PreTrainedModel):
                names += [f"connector.{name}.{inner}" for inner in linear_layers(module)]
    if not names:
        raise ModelError(
            f"{type(model.language_model).__name__} has no linear layer that can be quantised",
            hint="Quantise before weights are packed for decoding, or go without --quantize.",
        )
    before = {part: _size(module) for part, module in model.named_children()}
    for name in names:
        _put(model, name, _quantized(model.get_submodule(name), kind))
    release_memory()
    return list(_report(model, kind, before))


def quantize_frozen(model: VisionLanguageModel, kind: str, device: torch.device, dtype: torch.dtype) -> list[str]:
    """Quantise the language model's linear layers below its low-rank ones, to train those (Dettmers et al., 2023).

    One layer at a time goes to the device, where nothing of it is ever whole but that layer. What is frozen beside
    them (embeddings, head, norms) is kept in `dtype`: in float32 mT0-XL's two tables of words alone are 4.1 GB.

    Args:
        model: its language model anywhere, with low-rank layers if it is to have any.
        kind: one of `Quantization`.
        device: where it will train.
        dtype: of the products, float32 or bfloat16.

    Returns:
        Lines as `quantize_model` gives them, of the language model.

    Raises:
        UnknownNameError, MissingExtraError: see `check_quantization`.
        ModelError: a layer that would be quantised trains.
    """
    check_quantization(kind)
    llm = model.language_model
    names = linear_layers(llm)
    training = [name for name in names if llm.get_submodule(name).weight.requires_grad]
    if training:
        raise ModelError(
            f"language_model.{training[0]} is to be quantised and to be trained",
            hint="Train low-rank layers above it (parts.language_model.train: lora), or leave out `quantize`.",
        )
    before = {"language_model": _size(llm)}
    for name in names:
        _put(llm, name, _quantized(llm.get_submodule(name), kind, device, dtype, arranged=False))
    for parameter in llm.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    release_memory()
    return [line for line in _report(model, kind, before) if line.startswith("language_model ")]


def unquantize(model: VisionLanguageModel) -> None:
    """Put float32 linear layers where quantised ones are, on the CPU, with the numbers that those stood for.

    Quantised again in the same way they are the same to the bit.
    """
    for name, layer in _quantized_layers(model):
        weight = layer.weights().cpu()
        with torch.device("meta"):
            rows, width, biased = layer.out_features, layer.in_features, layer.bias is not None
            plain = Conv1D(rows, width) if layer.transposed else nn.Linear(width, rows, bias=biased)
        plain.weight = nn.Parameter(weight.t().contiguous() if layer.transposed else weight, requires_grad=False)
        if layer.bias is not None:
            plain.bias = nn.Parameter(layer.bias.detach().cpu(), requires_grad=False)
        _put(model, name, plain)
    release_memory()


def whole_weights(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A model's state with the weights that quantised layers stand for, in float32, in place of what they keep."""
    found = dict(state)
    for name, layer in _quantized_layers(model):
        for kept in layer.kept():
            del found[f"{name}.{kept}"]
        weight = layer.weights()
        found[f"{name}.weight"] = (weight.t() if layer.transposed else weight).contiguous().cpu()
    return found


def _quantized_layers(model: nn.Module) -> list[tuple[str, QuantizedLinear]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, QuantizedLinear)]


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(root.get_submodule(parent), last, module)


def is_quantized(model: nn.Module) -> bool:
    """Whether a layer of `model` was quantised by `quantize_model`."""
    return any(isinstance(module, QuantizedLinear) for module in model.modules())


def refuse_quantized(model: nn.Module, done: str) -> None:
    """Raise ModelError for a quantised model, which can't be `done` ("saved")."""
    if is_quantized(model):
        raise ModelError(
            f"a quantised model can't be {done}: what its weights were is gone",
            hint="Load it again, and quantise last.",
        )


def linear_layers(root: nn.Module) -> list[str]:
    """Names of the linear layers below `root` that are neither its head nor low-rank."""
    output = getattr(root, "get_output_embeddings", None)
    head = None if output is None else output()
    return [
        name
        for name, module in root.named_modules()
        if _is_linear(module) and module is not head and LOW_RANK.isdisjoint(name.split("."))
    ]


def _is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer that is called; attention of PyTorch's own reads the weights of one."""
    read = nn.modules.linear.NonDynamicallyQuantizableLinear
    return isinstance(module, nn.Linear | Conv1D) and not isinstance(module, read)


def _quantized(
    linear: Any,
    kind: str,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    *,
    arranged: bool = True,
) -> QuantizedLinear:
    weight = linear.weight.detach().to(device=device, dtype=dtype)
    bias = linear.bias
    if bias is not None and device is not None:
        bias = nn.Parameter(bias.detach().to(device), requires_grad=bias.requires_grad)
    if isinstance(linear, Conv1D):  # GPT-2's: [in, out]
        weight = weight.t().contiguous()
    layer: QuantizedLinear
    if kind == "int8":
        layer = Int8Linear(weight, bias)
    else:
        from visiglot.models.quantize import bnb

        layer = bnb.Nf4Linear(weight, bias, arranged=arranged) if kind == "nf4" else bnb.LlmInt8Linear(weight, bias)
    layer.transposed = isinstance(linear, Conv1D)
    return layer


# --- what was done ---------------------------------------------------------------------------------------------------


def _report(model: nn.Module, kind: str, before: dict[str, int]) -> Iterator[str]:
    for part, module in model.named_children():
        layers = [layer for layer in module.modules() if isinstance(layer, QuantizedLinear)]
        size = _size(module)
        if not layers:
            yield f"{part}  left as it was, {_bytes(size)}"
            continue
        rounded = sum(layer.nbytes for layer in layers)
        yield (
            f"{part}  {kind}: {len(layers)} linear layers, {layers[0].label}; {_bytes(before[part])} before, "
            f"{_bytes(size)} now"
        )
        yield f"{part}  left as they were: {', '.join(_left(module))}, norms, biases; {_bytes(size - rounded)}"


def _left(part: nn.Module) -> list[str]:
    """Last names of what has matrices that weren't quantised, a tied head too; low-rank layers go by that name."""
    found: dict[str, None] = {}
    for name, parameter in part.named_parameters(remove_duplicate=False):
        path = name.removesuffix(".weight").split(".")
        if parameter.dim() > 1:
            found[path[-1] if LOW_RANK.isdisjoint(path) else "low-rank layers"] = None
    return list(found)


def _size(module: nn.Module) -> int:
    """Bytes of all weights."""
    rounded = sum(layer.nbytes for layer in module.modules() if isinstance(layer, QuantizedLinear))
    return rounded + sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def _bytes(number: int) -> str:
    return f"{number / 2**30:.2f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"

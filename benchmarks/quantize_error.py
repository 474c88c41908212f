"""What quantising costs in precision: one linear layer, its activations with and without a channel of outliers.

Numbers are errors of the layer's products (root mean square), relative to what all channels but that one make of them.
Weights and activations are drawn from a normal distribution; the outlier channel is the same in every row, as it is
before the last layers (`wo`) of T5's feed-forward blocks, and made 50 and 500 times as large there. "beside 30x" is how
much rows without outliers change when one row of the batch is 30 times as large.

With `--times`, the milliseconds of a product with 1 to 80 rows instead, the best of `--repeats`, on one thread.

    python benchmarks/quantize_error.py --inputs 5120 --outputs 2048
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from unittest import mock

import torch
from torch import Tensor

from visiglot.models.quantize import layers
from visiglot.models.quantize.bnb import LlmInt8Linear, Nf4Linear
from visiglot.models.quantize.layers import Int8Linear

Product = Callable[[Tensor], Tensor]
SPIKES = (1, 50, 500)
ROWS = (1, 5, 16, 80)
CHANNEL = 7


def in_one_part(layer: Int8Linear) -> Product:
    """`int8` with one part for each row, spikes or not."""

    def product(rows: Tensor) -> Tensor:
        with mock.patch.object(layers, "SPIKE", float("inf")):
            return layer(rows)  # type: ignore[no-any-return]

    return product


def one_scale(layer: Int8Linear) -> Product:
    """8-bit activations with one scale for the whole batch, as PyTorch's dynamic quantisation has it."""
    kept = layer.kept()

    def product(rows: Tensor) -> Tensor:
        step = rows.float().abs().max() / 127
        codes = (rows.float() / step).round()
        return ((codes.double() @ kept["codes"].double().T).float() * kept["scale"] * step).to(rows.dtype)

    return product


def weights_only(layer: Int8Linear) -> Product:
    """8-bit weights, activations as they are."""
    kept = layer.kept()
    weight = kept["codes"].float() * kept["scale"][:, None]
    return lambda rows: (rows.float() @ weight.T).to(rows.dtype)


def ways(weight: Tensor) -> dict[str, Product]:
    int8 = Int8Linear(weight, None)
    return {
        "as loaded": lambda rows: torch.nn.functional.linear(rows, weight),
        "int8": int8,
        "  in one part": in_one_part(int8),
        "  weights only": weights_only(int8),
        "  one scale a batch": one_scale(int8),
        "llm-int8": LlmInt8Linear(weight, None),
        "nf4": Nf4Linear(weight, None),
    }


def error(product: Product, weight: Tensor, rows: Tensor) -> float:
    """Of the products, relative to the products of all channels but the one with outliers."""
    others = rows.double()
    others[:, CHANNEL] = 0
    wanted = rows.double() @ weight.double().T
    return ((product(rows).double() - wanted).norm() / (others @ weight.double().T).norm()).item()


def change(product: Product, rows: Tensor) -> float:
    """Of all rows but the last, when the last is 30 times as large."""
    other = rows.clone()
    other[-1] *= 30
    before, after = product(rows)[:-1].double(), product(other)[:-1].double()
    return ((after - before).norm() / before.norm()).item()


def milliseconds(product: Product, rows: Tensor, repeats: int) -> float:
    """Of the fastest of some calls."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        product(rows)
        found.append(time.perf_counter() - start)
    return min(found) * 1000


def print_errors(weight: Tensor, plain: Tensor) -> None:
    print(f"{'':<22}{'no outliers':>12}{'x50':>10}{'x500':>10}{'beside 30x':>12}")
    for name, product in ways(weight).items():
        cells = []
        for spike in SPIKES:
            rows = plain.clone()
            rows[:, CHANNEL] *= spike
            cells.append(f"{error(product, weight, rows.to(weight.dtype)):.2%}")
        moved = f"{change(product, plain.to(weight.dtype)):.2%}"
        print(f"{name:<22}{cells[0]:>12}{cells[1]:>10}{cells[2]:>10}{moved:>12}")


def print_times(weight: Tensor, plain: Tensor, repeats: int) -> None:
    torch.set_num_threads(1)
    spiked = plain.clone()
    spiked[:, CHANNEL] *= 50
    print(f"{'ms, rows':<22}" + "".join(f"{count:>10}" for count in ROWS))
    for name, product in ways(weight).items():
        if name.startswith(" "):
            continue
        for label, rows in ((name, plain), (f"{name}, x50", spiked)):
            some = [milliseconds(product, rows[:count].to(weight.dtype), repeats) for count in ROWS]
            print(f"{label:<22}" + "".join(f"{one:>10.2f}" for one in some))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=5120)
    parser.add_argument("--outputs", type=int, default=2048)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(given.outputs, given.inputs, generator=generator).to(getattr(torch, given.dtype))
    plain = torch.randn(max(ROWS), given.inputs, generator=generator)
    print(f"torch {torch.__version__}, {platform.machine()}, {given.dtype}, {max(ROWS)} rows, seed 0")
    print(f"{given.inputs} -> {given.outputs}")
    with torch.inference_mode():
        if given.times:
            print_times(weight, plain, given.repeats)
        else:
            print_errors(weight, plain)


if __name__ == "__main__":
    main()

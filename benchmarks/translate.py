"""Translation: CTranslate2 with sorted batches of a token budget, against unsorted batches of 256 through `generate`.

The second is what mBLIP's scripts do (data/*/translate_*.py of github.com/gregor-ge/mBLIP), here in float32 on the CPU.
All ways translate the same texts greedily with the same NLLB-200 architecture and random weights, smaller than
NLLB-200-distilled-600M (--size 600m is that one), and say the same number of tokens for each text: the model never says
its end, so each output is as long as it is told to be. The texts are three data sets, captions, questions and sentences
of conversations, with lengths drawn for each; a batch of mBLIP's scripts is from one of them. Between the ways stand
the steps from one to the other. CPU seconds are the process's: on shared cores they are the fairer measure.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/translate.py
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from visiglot.translate.engines.ct2 import ctranslate2_engine
from visiglot.translate.engines.seq2seq import Batch, Generated, plan
from visiglot.translate.engines.stock import transformers_engine

SIZES = {
    "small": {"d_model": 256, "layers": 6, "heads": 4, "ffn": 1024, "vocabulary": 32_768},
    "600m": {"d_model": 1024, "layers": 12, "heads": 16, "ffn": 4096, "vocabulary": 256_206},
}
"""In both, the head takes about as many operations for a token as all layers of the decoder."""

MIX = {"captions": (13, 0.25), "questions": (9, 0.25), "sentences": (24, 0.55)}
"""Median tokens of a text, and the spread of their logarithm."""

LONGEST = 160
AHEAD = 5
"""Tokens of an output that are compared between two ways; a rounding error changes all that follow."""

Outputs = dict[int, tuple[int, ...]]


@dataclass(frozen=True)
class Measured:
    """Of one way: seconds on the clock and of the CPU, and what it said."""

    seconds: float
    cpu_seconds: float
    outputs: Outputs

    @property
    def tokens(self) -> int:
        return sum(map(len, self.outputs.values()))

    def agrees(self, other: Measured) -> float:
        """Share of texts whose first tokens are the same."""
        same = [self.outputs[n][:AHEAD] == ids[:AHEAD] for n, ids in other.outputs.items()]
        return sum(same) / len(same)


class Clock:
    """Seconds since it was made, on the clock and of the CPU."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def stop(self) -> tuple[float, float]:
        return time.perf_counter() - self._start[0], time.process_time() - self._start[1]


def write_model(folder: Path, size: dict[str, int], seed: int) -> None:
    """A model with random weights that never says its end, and a tokenizer of as many made-up words."""
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer, set_seed
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = size["vocabulary"] - len(special) - len(FAIRSEQ_LANGUAGE_CODES) - 1
    tokens = [*special, *(f"w{number}" for number in range(words))]
    tokenizer = NllbTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[])
    config = M2M100Config(
        vocab_size=size["vocabulary"],
        d_model=size["d_model"],
        encoder_layers=size["layers"],
        decoder_layers=size["layers"],
        encoder_attention_heads=size["heads"],
        decoder_attention_heads=size["heads"],
        encoder_ffn_dim=size["ffn"],
        decoder_ffn_dim=size["ffn"],
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
    )
    set_seed(seed)
    model = M2M100ForConditionalGeneration(config)
    with torch.no_grad():
        model.get_output_embeddings().weight[: len(special)] = 0.0
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def draw_texts(count: int, vocabulary: int, source: int, end: int, seed: int) -> list[tuple[int, ...]]:
    """Token ids of `count` texts of each kind, marks included, one kind after the other and each in any order."""
    draw = random.Random(seed)
    texts = []
    for median, spread in MIX.values():
        for _ in range(count):
            length = min(LONGEST, max(2, round(median * draw.lognormvariate(0, spread))))
            texts.append((source, *(draw.randrange(4, vocabulary - 300) for _ in range(length)), end))
    return texts


def by_batches(generate: Callable[[Sequence[Batch]], Any], batches: Sequence[Batch]) -> Measured:
    """An engine's way: all batches are handed to it."""
    clock = Clock()
    outputs: Outputs = {}
    for batch, generated in zip(batches, generate(batches), strict=True):
        rows: list[Generated] = generated
        outputs.update(zip(batch.numbers, (one.ids for one in rows), strict=True))
    return Measured(*clock.stop(), outputs)


@torch.inference_mode()
def by_scripts(
    model: Any, texts: Sequence[tuple[int, ...]], lengths: dict[int, int], prefix: int, size: int
) -> Measured:
    """mBLIP's way: batches in the data's order, each as long as its longest text and its longest output."""
    pad, end = model.config.pad_token_id, model.config.eos_token_id
    clock = Clock()
    outputs: Outputs = {}
    for first in range(0, len(texts), size):
        numbers = range(first, min(first + size, len(texts)))
        longest = max(len(texts[number]) for number in numbers)
        ids = torch.tensor([[*texts[n], *[pad] * (longest - len(texts[n]))] for n in numbers])
        wanted = torch.tensor([lengths[number] for number in numbers])

        def ends(said: torch.Tensor, scores: torch.Tensor, wanted: torch.Tensor = wanted) -> torch.Tensor:
            scores[said.shape[1] - 2 >= wanted, end] = torch.inf  # behind the start and the language's mark
            return scores

        rows = model.generate(
            input_ids=ids,
            attention_mask=(ids != pad).long(),
            forced_bos_token_id=prefix,
            num_beams=1,
            do_sample=False,
            max_new_tokens=int(wanted.max()) + 2,
            logits_processor=[ends],
        )
        outputs.update({n: tuple(row[2 : 2 + lengths[n]]) for n, row in zip(numbers, rows.tolist(), strict=True)})
    return Measured(*clock.stop(), outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--texts", type=int, default=256, help="of each kind")
    parser.add_argument("--batch", type=int, default=256, help="texts in a batch of mBLIP's scripts")
    parser.add_argument("--batch-tokens", type=int, help="the engines' option; default: theirs")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only-ends", action="store_true", help="leave out the steps between the two ways")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    size = SIZES[given.size]
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["VISIGLOT_CACHE"] = temporary
        folder = Path(temporary) / "model"
        write_model(folder, size, given.seed)
        options: dict[str, Any] = {
            "beams": 1,
            "batch_tokens": given.batch_tokens,
            "device": "cpu",
            "threads": given.threads,
        }
        stock: Any = transformers_engine(str(folder), **options)
        number = stock.codec.tokenizer.convert_tokens_to_ids
        texts = draw_texts(given.texts, size["vocabulary"], number("eng_Latn"), stock.codec.end, given.seed)
        prefix = stock.codec.prefix("swh_Latn")
        batches = [
            replace(batch, limit=max(map(len, batch.sources)))
            for batch in plan(dict(enumerate(texts)), stock.limits, prefix)
        ]
        lengths = {number: batch.limit for batch in batches for number in batch.numbers}
        ordered = sorted(map(len, texts))
        print(f"torch {torch.__version__}, {given.threads} threads, {platform.machine()}; {given.size}: {size}")
        print(
            f"{len(texts)} texts of {ordered[0]} to {ordered[-1]} tokens, mean {statistics.mean(ordered):.1f}, "
            f"90% up to {ordered[len(ordered) * 9 // 10]}; {sum(lengths.values()):,} tokens to say; "
            f"{len(batches)} sorted batches; seed {given.seed}"
        )
        warm = [replace(batch, limit=2) for batch in batches[-1:]]
        by_batches(stock.generate, warm)
        base = by_scripts(stock.model, texts, lengths, prefix, given.batch)
        print(f"{'way':<44}{'s':>8}{'CPU s':>8}{'tokens/s':>10}{'ratio':>8}{'by CPU':>8}{'agrees':>8}")
        show("unsorted batches through generate, fp32", base, base)
        ways = (
            []
            if given.only_ends
            else [("sorted batches through generate, fp32", None), ("CTranslate2, fp32", "float32")]
        )
        for name, compute in [*ways, ("CTranslate2, int8", "int8")]:
            if compute is None:
                generate = stock.generate
            else:
                generate = ctranslate2_engine(str(folder), compute=compute, **options).generate  # type: ignore[arg-type,attr-defined]
            by_batches(generate, warm)
            found = by_batches(generate, batches)
            show(name, found, base)
            if found.tokens != base.tokens:
                sys.exit("the ways say different numbers of tokens: this is a bug")
            if compute != "int8" and found.agrees(base) < 0.95:
                sys.exit("the ways say different things in float32: this is a bug")
        print(f"\nCTranslate2 in 8 bits is {base.seconds / found.seconds:.1f} times as fast as mBLIP's way")


def show(name: str, found: Measured, base: Measured) -> None:
    print(
        f"{name:<44}{found.seconds:>8.1f}{found.cpu_seconds:>8.1f}{found.tokens / found.seconds:>10,.0f}"
        f"{base.seconds / found.seconds:>7.1f}x{base.cpu_seconds / found.cpu_seconds:>7.1f}x{found.agrees(base):>8.0%}",
        flush=True,
    )


if __name__ == "__main__":
    main()

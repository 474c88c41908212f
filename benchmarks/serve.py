"""The engine of `visiglot serve` against a server that answers one request at a time with stock `generate`.

The same model with random weights, the same pictures and prompts, greedy, and no HTTP, which both would need alike.
Clients send a request, wait for its answer and send the next; every request shows a picture of its own unless
`--pictures` says otherwise. Texts of both servers are held against each other; in bf16 a tie may part them. Where
others use the machine too, seconds of the processor with one thread (`--threads 1`) say more than those of the clock.

    stock     the picture and the prompt through `generate` of transformers' BLIP-2, one request after the other
    visiglot  requests join one running batch between decode steps; weights as `visiglot serve` packs them

    python benchmarks/serve.py                               about eight minutes on two cores
    python benchmarks/serve.py --minutes 10 --only load      memory while 64 clients ask without a pause
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from towers import IMAGE_TOKENS, SIZES, build_stock, wrap

SIDE = 256
GROWTH = 1.05
"""How much more memory the second half of a load may take than the first did at its end."""


@dataclass(frozen=True)
class Result:
    """How one request went: seconds to its first token and to its end, and its text."""

    first: float
    whole: float
    text: str


Server = Callable[[int], Awaitable[Result]]
"""Number of a request -> how it went."""


# --- the model -------------------------------------------------------------------------------------------------------


def build_processor(stock: Any) -> Any:
    """A processor for `stock` whose words are its ids: "w17" is 17."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, ViTImageProcessor

    from visiglot.models.processor import VisiglotProcessor

    vocabulary = stock.config.text_config.vocab_size
    words = {"<pad>": 0, "</s>": 1, **{f"w{number}": number for number in range(2, vocabulary)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    side = stock.config.vision_config.image_size
    return VisiglotProcessor(
        ViTImageProcessor(size={"height": side, "width": side}),
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>"),
        image_token_id=stock.config.image_token_index,
        tokens_per_image=IMAGE_TOKENS,
        layout="seq2seq" if stock.config.text_config.is_encoder_decoder else "causal",
        family=stock.config.text_config.model_type,
    )


def example_of(number: int, given: argparse.Namespace) -> Any:
    """Request `number`: a picture of noise and some words, the same each time."""
    from PIL import Image

    from visiglot.prompts import with_images
    from visiglot.types import Example, ImageRef, Message

    shown = number % given.pictures if given.pictures else number
    generator = torch.Generator().manual_seed(shown)
    pixels = torch.randint(0, 256, (SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    file = BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG", compress_level=1)
    chooser = random.Random(number)
    words = " ".join(f"w{chooser.randint(100, 2900)}" for _ in range(chooser.randint(6, 14)))
    picture = ImageRef(f"picture {shown}", data=file.getvalue())
    return Example(str(number), (Message("user", with_images(words, 1)),), "eng_Latn", (picture,))


def new_tokens_of(number: int, given: argparse.Namespace) -> int:
    """Answers differ in length: half of the most to the most."""
    return random.Random(-1 - number).randint(given.new_tokens // 2, given.new_tokens)


# --- the servers -----------------------------------------------------------------------------------------------------


class _FirstToken:
    """A streamer that notes when the first token comes, which is what follows the prompt."""

    def __init__(self) -> None:
        self.calls = 0
        self.time = 0.0

    def put(self, value: Any) -> None:
        self.calls += 1
        if self.calls == 2:
            self.time = time.perf_counter()

    def end(self) -> None:
        pass


def stock_server(stock: Any, processor: Any, given: argparse.Namespace) -> Server:
    """One request at a time, first come, first served."""
    from visiglot.images import load_image
    from visiglot.models.decode.text import decode_text
    from visiglot.render import render

    spec, turn = processor.spec(), asyncio.Lock()
    dtype = next(stock.parameters()).dtype

    @torch.inference_mode()
    def generate(example: Any, new_tokens: int) -> tuple[float, str]:
        ids = torch.tensor([render(example, spec, complete=True).ids])
        pixels = processor.pixel_values([load_image(example.images[0])]).to(dtype)
        streamer = _FirstToken()
        out = stock.generate(
            pixel_values=pixels,
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            do_sample=False,
            streamer=streamer,
        )
        return streamer.time, decode_text(processor.tokenizer, out[0, -new_tokens:].tolist())

    async def serve(number: int) -> Result:
        example, new_tokens = example_of(number, given), new_tokens_of(number, given)
        start = time.perf_counter()
        async with turn:
            first, text = await asyncio.to_thread(generate, example, new_tokens)
        return Result(first - start, time.perf_counter() - start, text)

    return serve


def build_engine(model: Any, processor: Any, given: argparse.Namespace) -> Any:
    from visiglot.serve.engine import Engine

    return Engine(
        model,
        processor,
        max_batch_tokens=given.max_batch_tokens,
        max_waiting=1024,
        feature_bytes=given.feature_mb * 2**20,
        max_wait_seconds=600,
    )


def engine_server(engine: Any, given: argparse.Namespace) -> Server:
    from visiglot.models.decode import Decoding
    from visiglot.serve.engine import Ask

    async def serve(number: int) -> Result:
        ask = Ask(example_of(number, given), Decoding(new_tokens_of(number, given)), user=str(number % 7))
        start, first, text = time.perf_counter(), 0.0, ""
        async for piece in engine.stream(ask):
            first = first or time.perf_counter()
            text += piece.text
        return Result(first - start, time.perf_counter() - start, text)

    return serve


# --- the load --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """Seconds that some requests took together, by the clock and of the processor, and how each of them went."""

    wall: float
    cpu: float
    results: dict[int, Result]


async def load(server: Server, clients: int, more: Callable[[int], bool]) -> Run:
    """Requests 0, 1, ... of `clients`, as long as there is `more(n)`."""
    results: dict[int, Result] = {}
    following = iter(range(10**9))

    async def client() -> None:
        while more(number := next(following)):
            results[number] = await server(number)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Run(time.perf_counter() - wall, time.process_time() - cpu, results)


def resident_mb() -> float:
    """Memory of this process that is resident now; the peak where the system doesn't say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return pages * resource.getpagesize() / 2**20


async def compare(stock: Any, processor: Any, given: argparse.Namespace) -> None:
    """Requests a second and time to the first token of both servers, at each number of clients."""
    from visiglot.models.decode import pack

    found: dict[tuple[str, int], Run] = {}

    async def measure(name: str, server: Server) -> None:
        await load(server, 1, lambda n: n < 2)  # not counted
        for clients in given.clients:
            count = max(given.each * clients, given.fewest)
            found[name, clients] = await load(server, clients, lambda n, count=count: n < count)  # type: ignore[misc]
            print(f"{name} {clients}: {found[name, clients].wall:.1f} s", file=sys.stderr, flush=True)

    await measure("stock", stock_server(stock, processor, given))
    model = wrap(stock)
    pack(model)
    engine = build_engine(model, processor, given)
    engine.start()
    await measure("visiglot", engine_server(engine, given))
    engine.close()
    columns = ["clients", "server", "requests/s", "over stock", "CPU s each", "over stock", "first token, median s"]
    print(f"| {' | '.join([*columns, 'slowest s', 'texts equal'])} |")
    print("|---" * (len(columns) + 2) + "|")
    for clients in given.clients:
        stock_run = found["stock", clients]
        for name in ("stock", "visiglot"):
            run = found[name, clients]
            count = len(run.results)
            firsts = [result.first for result in run.results.values()]
            same = sum(result.text == stock_run.results[number].text for number, result in run.results.items())
            speed = f"{count / run.wall:.2f} | {stock_run.wall / run.wall:.1f}x"
            work = f"{run.cpu / count:.2f} | {stock_run.cpu / run.cpu:.1f}x"
            first = f"{statistics.median(firsts):.2f} | {max(firsts):.2f}"
            print(f"| {clients} | {name} | {speed} | {work} | {first} | {same} of {count} |")


async def hold(stock: Any, processor: Any, given: argparse.Namespace) -> None:
    """Memory while clients ask without a pause: the second half mustn't need more than the first."""
    from visiglot.models.decode import pack

    model = wrap(stock)
    pack(model)
    engine = build_engine(model, processor, given)
    engine.start()
    end = time.perf_counter() + 60 * given.minutes
    samples: list[float] = []

    async def watch() -> None:
        while time.perf_counter() < end:
            samples.append(resident_mb())
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    run = await load(engine_server(engine, given), max(given.clients), lambda _: time.perf_counter() < end)
    await watching
    stats = engine.stats()
    engine.close()
    first, second = samples[: len(samples) // 2], samples[len(samples) // 2 :]
    print(
        f"{len(run.results)} requests of {max(given.clients)} clients in {run.wall / 60:.1f} minutes, "
        f"{len(run.results) / run.wall:.2f} a second; features kept: {stats.feature_bytes / 2**20:.0f} of "
        f"{stats.max_feature_bytes / 2**20:.0f} MB; resident: {max(first):.0f} MB at most in the first half, "
        f"{max(second):.0f} MB in the second"
    )
    if max(second) > GROWTH * max(first):
        sys.exit("memory grows")


def main() -> None:
    numbers = {"type": lambda text: [int(number) for number in text.split(",")]}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="mid")
    parser.add_argument("--llm", choices=("mt0", "bloom"), default="mt0")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--clients", default="1,8,64", **numbers)
    parser.add_argument("--each", type=int, default=2, help="requests of each client")
    parser.add_argument("--fewest", type=int, default=8, help="requests in all")
    parser.add_argument("--new-tokens", type=int, default=30, help="of an answer at most; at least half of them")
    parser.add_argument("--pictures", type=int, default=0, help="that requests are about in turns; 0: each has its own")
    parser.add_argument("--max-batch-tokens", type=int, default=16384)
    parser.add_argument("--feature-mb", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=0.0, help="of load for `--only load`")
    parser.add_argument("--only", choices=("compare", "load"), default="compare")
    given = parser.parse_args()
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(given.threads)
    stock = build_stock(given.size, given.llm, getattr(torch, given.dtype))
    processor = build_processor(stock)
    print(
        f"{given.llm} {given.size}, {given.dtype}, {given.threads} thread(s), {given.new_tokens // 2} to "
        f"{given.new_tokens} new tokens, {given.pictures or 'as many pictures as requests'}"
        f"{' pictures' if given.pictures else ''}; torch {torch.__version__}, transformers {transformers.__version__}",
        flush=True,
    )
    asyncio.run((compare if given.only == "compare" else hold)(stock, processor, given))


if __name__ == "__main__":
    main()

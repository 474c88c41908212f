"""Captions of one picture in many languages: Visiglot against the model card's way, with random weights.

    card      stock `generate` as on mBLIP's model card: one language at a time, the picture encoded each time
    tiled     stock `generate` with all languages in a batch, which needs the picture once for each
    visiglot  the picture encoded once, all languages decoded together
    int8      the same with the language model quantised

Every line is measured in a process of its own, after a short run that isn't counted, and appended to `--out` at once; a
line that is there isn't measured again. Tokens of `tiled` and `visiglot` are held against those of `card` in bf16.
The share is what is reached of the limit of `machine.py` at the speeds measured at the start; more than 1 is an error.

    python benchmarks/captions.py --size mid                     two minutes
    python benchmarks/captions.py --size full --llm mt0          needs 14 GiB; half an hour
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

DTYPES = {"bf16": "bfloat16", "fp32": "float32"}
TEXT_TOKENS = 10
TIE = 0.07
"""Scores that are no further apart may swap in bf16: two steps of its numbers between 4 and 8."""


@dataclass(frozen=True)
class Line:
    """What is measured.

    Args:
        size, llm: of the models, see `towers.py`.
        way: card, tiled, visiglot or int8.
        dtype: bf16 or fp32.
        languages: how many.
        layers: share of the layers that the model has; below 1 only to extrapolate.
    """

    size: str
    llm: str
    way: str
    dtype: str
    languages: int
    beams: int = 1
    new_tokens: int = 30
    layers: float = 1.0

    @property
    def key(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


# --- one line, in a process of its own -------------------------------------------------------------------------------


def measure(line: Line) -> dict[str, Any]:
    """Seconds, tokens and memory of one line."""
    import torch
    import transformers
    from machine import work_of
    from towers import SIZES, build_stock, wrap

    transformers.logging.set_verbosity_error()
    dtype = getattr(torch, DTYPES[line.dtype])
    stock = build_stock(line.size, line.llm, dtype, share=line.layers)
    work = work_of(stock, TEXT_TOKENS, line.new_tokens)
    generator = torch.Generator().manual_seed(1)
    side = SIZES[line.size].vision["image_size"]
    pixels = torch.randn(1, 3, side, side, generator=generator).to(dtype)
    vocabulary = stock.config.text_config.vocab_size
    texts = torch.randint(100, vocabulary - 100, (96, TEXT_TOKENS), generator=generator)[: line.languages]
    images = torch.full((len(texts), stock.config.num_query_tokens), stock.config.image_token_index)
    ids = torch.cat([images, texts], dim=1)
    run = _visiglot(wrap(stock), line) if line.way in ("visiglot", "int8") else _stock(stock, line)
    with torch.inference_mode():
        run(pixels, ids[:1], 3)
        wall, cpu = time.perf_counter(), time.process_time()
        found = run(pixels, ids, line.new_tokens)
        found["seconds"] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    return {
        **asdict(line),
        **found,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "work": asdict(work),
        "date": date.today().isoformat(),
        "versions": f"torch {torch.__version__}, transformers {transformers.__version__}",
    }


def _stock(stock: Any, line: Line) -> Any:
    """Stock `generate`, for one language after the other (card) or for all at once (tiled)."""
    import torch

    def answer(pixels: Any, ids: Any, new_tokens: int) -> tuple[list[list[int]], list[float]]:
        greedy = line.beams == 1
        out = stock.generate(
            pixel_values=pixels.expand(len(ids), -1, -1, -1),
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            do_sample=False,
            num_beams=line.beams,
            return_dict_in_generate=True,
            output_logits=greedy and len(ids) == 1,
        )
        gaps: list[float] = []
        if out.get("logits"):
            best = torch.cat(out.logits).topk(2).values.float()
            gaps = (best[:, 0] - best[:, 1]).tolist()
        return out.sequences[:, -new_tokens:].tolist(), gaps

    def run(pixels: Any, ids: Any, new_tokens: int) -> dict[str, Any]:
        if line.way == "tiled":
            return {"tokens": answer(pixels, ids, new_tokens)[0]}
        answers = [answer(pixels, one, new_tokens) for one in ids.split(1)]
        return {"tokens": [tokens[0] for tokens, _ in answers], "gaps": [gaps for _, gaps in answers]}

    return run


def _visiglot(model: Any, line: Line) -> Any:
    """The picture once, one batch."""
    from visiglot.models.decode import Decoder, Decoding, Row, pack
    from visiglot.types import ImageRef, Sample

    if line.way == "int8":
        from visiglot.models.quantize import quantize_model

        quantize_model(model, "int8")
    pack(model)
    silent = SimpleNamespace(pad_token_id=0, eos_token_id=None, decode=lambda *args, **kwargs: "")
    picture = (ImageRef("picture", data=b"picture"),)

    def run(pixels: Any, ids: Any, new_tokens: int) -> dict[str, Any]:
        features = model.encode_images(pixels)
        decoding = Decoding(new_tokens, beams=line.beams)
        rows = [
            Row(str(position), Sample(str(position), tuple(row), (), picture, "eng_Latn"), features, decoding)
            for position, row in enumerate(ids.tolist())
        ]
        answers = Decoder(model, SimpleNamespace(tokenizer=silent)).run(rows)
        return {"tokens": [list(answer.ids) for answer in answers.values()]}

    return run


# --- all lines -------------------------------------------------------------------------------------------------------


def lines_of(given: argparse.Namespace, llm: str) -> list[Line]:
    """What is measured for one LLM, baselines first."""
    base = Line(given.size, llm, "card", "bf16", min(given.card_languages, max(given.languages)), given.beams)
    lines = [replace(base, new_tokens=given.new_tokens)]
    card = lines[0]
    if not given.no_fp32:
        one = replace(card, dtype="fp32", languages=1)
        thirds = given.size == "full" and llm == "mt0"  # in fp32 the whole model takes 18 GiB
        lines += [replace(one, layers=1 / 3), replace(one, layers=2 / 3)] if thirds else [one]
    lines += [replace(card, way="tiled", languages=count) for count in given.tiled if count in given.languages]
    for way in ("visiglot", *(["int8"] if given.int8 else [])):
        lines += [replace(card, way=way, languages=count) for count in given.languages]
    return lines


def in_fresh_process(arguments: list[str], threads: int) -> dict[str, Any]:
    count = str(threads)
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def check_tokens(found: dict[str, Any], card: dict[str, Any]) -> str:
    """How many answers are those of the card, "15 + 1 tie of 16": a tie is one that parts at scores too near to tell.

    Exits when a greedy answer parts from the card's where the likeliest token was clear.
    """
    pairs = list(zip(found["tokens"], card["tokens"]))
    parted = [position for position, (ours, wanted) in enumerate(pairs) if ours != wanted]
    if found["way"] != "int8" and found["beams"] == 1:
        for position in parted:
            ours, wanted = pairs[position]
            at = next(step for step, (a, b) in enumerate(zip(ours, wanted)) if a != b)
            if card["gaps"][position][at] > TIE:
                sys.exit(f"{found['way']}, language {position}: token {at} isn't the card's, which was clear")
        return f"{len(pairs) - len(parted)}{f' + {len(parted)} ties' if parted else ''} of {len(pairs)}"
    return f"{len(pairs) - len(parted)} of {len(pairs)}"


def table(lines: list[Line], known: dict[str, dict[str, Any]], llm: str, given: argparse.Namespace) -> str:
    """The lines of one LLM as Markdown."""
    from machine import Peaks, Work

    peaks = Peaks(**known["peaks"]["peaks"])
    measured = [
        {**known[line.key], "seconds": known[line.key]["seconds"][given.clock]} for line in lines if line.key in known
    ]
    card = next(found for found in measured if found["way"] == "card" and found["dtype"] == "bf16")
    seconds = {"bf16": card["seconds"] / card["languages"]}
    slow = [found["seconds"] for found in measured if found["dtype"] == "fp32"]
    if slow:
        seconds["fp32"] = 2 * slow[1] - slow[0] if len(slow) == 2 else slow[0]
    title = f"{llm}, {given.size}, {'greedy' if card['beams'] == 1 else 'beam ' + str(card['beams'])}"
    columns = ["languages", "s", "captions/s", "over bf16 card", "over fp32 card", "peak GiB", "of the limit", "tokens"]
    rows = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for dtype, each in sorted(seconds.items(), reverse=True):
        memory = max(f["peak_gib"] for f in measured if f["way"] == "card" and f["dtype"] == dtype)
        exact = len(slow) != 2 or dtype == "bf16"
        gib, mark = (f"{memory:.1f}", "") if exact else ("–", " (extrapolated)")
        rows.append(f"| card, {dtype}{mark} | each | {each:.1f} | {1 / each:.3f} | | | {gib} | | |")
    for found in measured:
        if found["way"] == "card":
            continue
        count = found["languages"]
        over = [f"{seconds[d] * count / found['seconds']:.1f}x" if d in seconds else "" for d in ("bf16", "fp32")]
        share = ""
        if found["way"] != "int8":  # its products run at another speed
            limit = Work(**found["work"]).limit(count, found["beams"], peaks, found["dtype"], 2)
            share = f"{limit / found['seconds']:.2f}"
            if limit > found["seconds"]:
                sys.exit(f"{found['way']}, {count} languages: {share} of the limit is reached: a measuring error")
        rows.append(
            f"| {found['way']} | {count} | {found['seconds']:.1f} | {count / found['seconds']:.2f} | {over[0]} | "
            f"{over[1]} | {found['peak_gib']:.1f} | {share} | {check_tokens(found, card)} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("tiny", "mid", "full"), default="mid")
    parser.add_argument("--llm", choices=("mt0", "bloom"), nargs="+", default=["mt0", "bloom"])
    numbers = {"type": lambda text: [int(number) for number in text.split(",")]}
    parser.add_argument("--languages", help="how many; default: 1,16 (full: 1,4,16,48,96)", **numbers)
    parser.add_argument("--tiled", default="16", help="how many languages `tiled` is measured for", **numbers)
    parser.add_argument("--card-languages", type=int, help="how many `card` is measured for; default: 4 (full: 16)")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--new-tokens", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: where others use the machine too"
    )
    parser.add_argument("--int8", action="store_true", help="measure `int8` too")
    parser.add_argument("--no-fp32", action="store_true", help="leave the card's way in fp32 out")
    parser.add_argument("--out", type=Path, help="JSON lines; default: out/captions-<size>.jsonl")
    parser.add_argument("--line", help=argparse.SUPPRESS)
    parser.add_argument("--peaks", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.line:
        print(json.dumps(measure(Line(**json.loads(given.line)))))
        return
    if given.peaks:
        from machine import measure_peaks

        print(json.dumps({"peaks": asdict(measure_peaks()), "processor": platform.processor() or platform.machine()}))
        return
    if given.clock == "cpu" and given.threads > 1:
        parser.error("--clock cpu would count the seconds of each thread; use --threads 1")
    given.languages = given.languages or ([1, 4, 16, 48, 96] if given.size == "full" else [1, 16])
    given.card_languages = given.card_languages or (16 if given.size == "full" else 4)
    out = given.out or Path(f"out/captions-{given.size}.jsonl")
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {}
    for text in out.read_text(encoding="utf-8").splitlines() if out.exists() else ():
        entry = json.loads(text)
        known[entry["key"]] = entry

    def record(key: str, arguments: list[str]) -> None:
        if key not in known:
            known[key] = {"key": key, **in_fresh_process(arguments, given.threads)}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(known[key]) + "\n")

    record("peaks", ["--peaks"])
    peaks = known["peaks"]["peaks"]
    speeds = ", ".join(f"{flops / 1e9:.0f} GFLOP/s in {dtype}" for dtype, flops in peaks["flops"].items())
    print(f"{given.threads} thread(s), {given.clock} time; at most {speeds}, {peaks['bandwidth'] / 1e9:.1f} GB/s read")
    for llm in given.llm:
        lines = lines_of(given, llm)
        for line in lines:
            record(line.key, ["--line", line.key])
            seconds = known[line.key]["seconds"][given.clock]
            print(f"{llm} {line.way} {line.dtype} {line.languages}: {seconds:.1f} s", file=sys.stderr, flush=True)
        print("\n" + table(lines, known, llm, given) + "\n")


if __name__ == "__main__":
    main()

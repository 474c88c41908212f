"""Loading takes the memory of the weights and little more, whatever the format and the number format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tests.checkpoints import SPARE, legacy_mblip, text_config, tokenizer_of
from transformers import Blip2Config, Blip2ForConditionalGeneration

from visiglot.models.load import load_model

ROWS, WIDTH, LAYERS = 200_000, 512, 4
LARGEST = 1.15

LOAD = """
import json, re, sys
from pathlib import Path
import torch
from visiglot.models import VisionLanguageModel
from visiglot.models.load import load_model
from visiglot.models.checkpoint import adapters, blip2, stock
from transformers.models.mt5 import modeling_mt5
from transformers.models.blip_2 import modeling_blip_2

def status(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

small, where, dtype, fp32_parts = sys.argv[1], sys.argv[2], sys.argv[3], tuple(filter(None, sys.argv[4].split(",")))
load_model(small, device="cpu", dtype=dtype)  # what is paid once in a process
Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
before = status("VmRSS")
model, _ = load_model(where, device="cpu", dtype=dtype, fp32_parts=fp32_parts)
used = status("VmHWM") - before
weights = {p.data_ptr(): p.numel() * p.element_size() for p in model.parameters()}
print(json.dumps({"used": used, "weights": sum(weights.values())}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mBLIP as of 2023, with an embedding table and a head that outweigh the rest, as in mT0."""
    folder = tmp_path_factory.mktemp("large")
    legacy_mblip(folder, "mt5", shards=1)
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    raw["text_config"] |= {"d_model": WIDTH, "vocab_size": ROWS, "num_layers": LAYERS, "d_ff": 1024, "d_kv": 64}
    (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    assert text_config("mt5", tokenizer_of("mt5"))["vocab_size"] == len(tokenizer_of("mt5")) + SPARE
    text = {key: value for key, value in raw["text_config"].items() if key != "is_encoder_decoder"}
    model = Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config=raw["vision_config"],
            qformer_config=raw["qformer_config"],
            text_config=text,
            num_query_tokens=raw["num_query_tokens"],
        )
    )
    head = model.language_model.lm_head
    head.weight = torch.nn.Parameter(head.weight.detach() + 1)
    state = model.state_dict()
    names = sorted(state)
    weight_map = {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :])):
        file = f"pytorch_model-{number + 1:05d}-of-00002.bin"
        torch.save({name: state[name].clone() for name in part}, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    (folder / "pytorch_model-00001-of-00001.bin").unlink()
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    model.save_pretrained(folder / "today")
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / "today" / name).write_bytes((folder / name).read_bytes())
    del model, state
    model, processor = load_model(str(folder / "today"), device="cpu")
    model.save_pretrained(folder / "ours")
    processor.save_pretrained(folder / "ours")
    options = model.config.connector["options"]
    parts = {
        "vision": {"from": str(folder)},
        "connector": {"from": str(folder), "options": options},
        "language_model": {"from": str(folder)},
    }
    (folder / "parts.yaml").write_text(yaml.safe_dump(parts), encoding="utf-8")
    legacy_mblip(folder / "small", "mt5")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("form", [".", "today", "ours", "parts.yaml"], ids=["mblip", "blip2", "visiglot", "parts"])
@pytest.mark.parametrize(("dtype", "fp32_parts"), [("fp32", ""), ("bf16", ""), ("bf16", "connector")])
def test_loading_takes_the_memory_of_the_weights(folder: Path, form: str, dtype: str, fp32_parts: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder / "small"), str(folder / form), dtype, fp32_parts],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["weights"] > 300 * 2**20, found
    assert 0.8 * found["weights"] <= found["used"] <= LARGEST * found["weights"], found

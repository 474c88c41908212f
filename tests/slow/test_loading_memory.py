"""Loading takes the memory of the weights and little more, whatever the format and the number format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.checkpoints import SPARE, legacy_mblip, text_config, tokenizer_of
from transformers import Blip2Config, Blip2ForConditionalGeneration

from visiglot.models import VisionLanguageModel

ROWS, WIDTH, LAYERS = 60_000, 512, 12
LARGEST = 1.15

LOAD = """
import json, resource, sys
import torch, transformers
from visiglot.models import VisionLanguageModel
from visiglot.models.checkpoint import adapters, blip2, stock  # what loading imports
from transformers.models.bloom import modeling_bloom
from transformers.models.mt5 import modeling_mt5
from transformers.models.blip_2 import modeling_blip_2
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
torch.ones(4, 4) @ torch.ones(4, 4)
before = peak()
model = VisionLanguageModel.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[2]))
weights = {p.data_ptr(): p.numel() * p.element_size() for p in model.parameters()}
print(json.dumps({"used": peak() - before, "weights": sum(weights.values())}))
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
    del model, state
    VisionLanguageModel.from_pretrained(folder / "today").save_pretrained(folder / "ours")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("form", [".", "today", "ours"], ids=["mblip", "blip2", "visiglot"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loading_takes_the_memory_of_the_weights(folder: Path, form: str, dtype: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    run = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder / form), dtype],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert found["weights"] > 130 * 2**20, found
    assert found["used"] <= LARGEST * found["weights"], found

"""Models to export: tiny, with pictures that count and low-rank layers that do something; tokenizers of three kinds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import CONNECTOR, LLM, TEXTS, VISION
from torch import nn

from visiglot.config import ModelSection
from visiglot.export import gate, verdict
from visiglot.models.build import Built, build_model
from visiglot.models.lora import inject_lora
from visiglot.models.tokenizer import train_tokenizer

OPT = {
    "model_type": "opt",
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "ffn_dim": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
}
LLMS = {**LLM, "opt": OPT}
LORA_TARGETS = {
    "bloom": ["query_key_value", "dense"],
    "mt5": ["q", "k", "v", "wo"],
    "opt": ["q_proj", "fc1"],
    "t5": ["q", "wi"],
}
GERMAN = ["Hund Katze Maus Elefant Haus Baum", "Auto Zug Schiff Fisch", "Caption in German: ein Haus"]


def bloom_tokenizer() -> Any:
    """Byte-level BPE, as BLOOM's and most of today's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=380, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def llama_tokenizer() -> Any:
    """SentencePiece's BPE with byte fallback, which writes BOS, as Llama's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    special = ["<unk>", "<s>", "</s>"]
    made.train_from_iterator(
        TEXTS * 3, trainers.BpeTrainer(vocab_size=460, special_tokens=[*special, *bytes_], show_progress=False)
    )
    described = json.loads(made.to_str())
    described["added_tokens"] = [row for row in described["added_tokens"] if row["content"] in special]
    made = Tokenizer.from_str(json.dumps(described))
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "unigram": lambda: train_tokenizer(TEXTS, 420),
    "byte-level": bloom_tokenizer,
    "byte-fallback": llama_tokenizer,
}


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tokenizers, by kind."""
    folder = tmp_path_factory.mktemp("tokenizers")
    for name, make in TOKENIZERS.items():
        make().save_pretrained(folder / name)
        (folder / name / "config.json").write_text("{}", encoding="utf-8")  # by it a model folder is known
    return {name: folder / name for name in TOKENIZERS}


Make = Callable[..., Built]


@pytest.fixture
def make(tokenizers: dict[str, Path]) -> Make:
    """`make("blip2", "mt5", "qformer")`: a tiny model whose answers depend on its picture, with low-rank layers."""

    def build(
        vision: str,
        llm: str,
        connector: str,
        /,
        *,
        tokenizer: str = "unigram",
        lora: bool = True,
        spare_rows: int = 0,
        **changes: Any,
    ) -> Built:
        kind = dict(LLMS[llm])
        if spare_rows or tokenizer != "unigram":
            from transformers import AutoTokenizer

            known = AutoTokenizer.from_pretrained(tokenizers[tokenizer])
            kind["vocab_size"] = len(known) + spare_rows
        section = ModelSection.model_validate(
            {
                "vision": {"config": VISION[vision], "image_size": 32, **changes.pop("vision", {})},
                "connector": {**CONNECTOR[connector], **changes.pop("connector", {})},
                "language_model": {"config": kind, "tokenizer": str(tokenizers[tokenizer])},
                "prompt": {"max_length": 96, **changes},
            }
        )
        built = build_model(section, languages=["eng_Latn", "deu_Latn"], seed=0)
        livelier(built.model)
        if spare_rows:
            for table in (built.model.get_input_embeddings(), built.model.get_output_embeddings()):
                table.weight.data[-spare_rows:] = 0
        if lora:
            add_lora(built.model, LORA_TARGETS.get(llm, ["q_proj", "down_proj"]))
        built.model.eval()
        return built

    return build


def livelier(model: Any) -> None:
    """Larger weights, so that pictures move logits by more than what may be overlooked; T5's heads get their own."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2 and "norm" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def untie(model: Any) -> None:
    """Give the LLM a head of its own, as mT0 has one although its config says otherwise."""
    head = model.language_model.get_output_embeddings()
    numbers = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(0))
    head.weight = nn.Parameter(numbers * 0.2)


def add_lora(model: Any, targets: list[str]) -> None:
    """Low-rank layers with random weights."""
    lora = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": targets}
    inject_lora(model.language_model, lora)
    model.config.lora = lora
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.1, generator=generator)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate's questions are answered here and not in a fresh process, which the slow tests start."""

    def run(folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
        gate.answer(folder, scratch)
        report = json.loads((scratch / gate.REPORT).read_text(encoding="utf-8"))
        (scratch / gate.REPORT).write_text(json.dumps({**report, "visiglot": False}), encoding="utf-8")
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(verdict, "run_gate", run)

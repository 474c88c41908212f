"""What trainings of mBLIP leave behind: Lightning checkpoints, adapters, state dicts without an LLM; parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub.errors import EntryNotFoundError
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tests.checkpoints import (
    PROMPTS,
    legacy_mblip,
    old_state,
    picture,
    stock_blip2,
    stock_llava,
    tokenizer_of,
)
from torch import Tensor, nn
from transformers import Blip2ForConditionalGeneration

from visiglot.config import ModelSection
from visiglot.errors import CheckpointError, ConfigError
from visiglot.models.build import build_model
from visiglot.models.checkpoint import weights
from visiglot.models.load import load_model

TARGETS = {"mt5": ["q", "k", "v", "o", "wi_0", "wi_1", "wo"], "bloom": ["query_key_value", "dense"]}


def vision_values(model: Blip2ForConditionalGeneration) -> dict[str, Any]:
    return {"model_type": "blip_2_vision_model", **{k: getattr(model.config.vision_config, k) for k in VISION_KEYS}}


VISION_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "image_size",
    "patch_size",
)


def qformer_options(model: Blip2ForConditionalGeneration) -> dict[str, Any]:
    config = model.config.qformer_config
    return {
        "num_queries": model.config.num_query_tokens,
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "intermediate": config.intermediate_size,
    }


def saved_llm(folder: Path, model: Blip2ForConditionalGeneration, llm: str) -> str:
    model.language_model.save_pretrained(folder)
    tokenizer_of(llm).save_pretrained(folder)
    return str(folder)


def adapted(model: Blip2ForConditionalGeneration, llm: str) -> Any:
    """The LLM within PEFT, its low-rank layers with numbers that matter; the model around it is left as it is."""
    config = LoraConfig(r=3, lora_alpha=6, lora_dropout=0.05, target_modules=TARGETS[llm])
    peft = get_peft_model(model.language_model, config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return peft


def old_adapter(folder: Path, peft: Any) -> str:
    """As PEFT wrote it in 2023, with mBLIP's own names of targets, two of which match nothing by today's rules."""
    folder.mkdir()
    state = {
        name.replace(".default.", "."): value.detach().clone()
        for name, value in peft.state_dict().items()
        if "lora_" in name
    }
    assert all(name.startswith("base_model.model.") for name in state)
    torch.save(state, folder / "adapter_model.bin")
    said = {
        "peft_type": "LORA",
        "task_type": None,
        "r": 3,
        "lora_alpha": 6,
        "lora_dropout": 0.05,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": ["q", ".k", "v", ".o", "wi_0", "wi_1", "wo"],
        "base_model_name_or_path": "bigscience/mt0-xl",
    }
    (folder / "adapter_config.json").write_text(json.dumps(said), encoding="utf-8")
    return str(folder)


def lightning(path: Path, state: dict[str, Tensor]) -> str:
    torch.save({"state_dict": {f"model.model.{name}": value for name, value in state.items()}, "epoch": 0}, path)
    return str(path)


def yaml_of(path: Path, **parts: Any) -> str:
    path.write_text(yaml.safe_dump({**parts, "prompt": {"image_first": True, "max_length": 200}}), encoding="utf-8")
    return str(path)


def answers(model: Any, processor: Any) -> Tensor:
    inputs = processor(images=[picture(1)], text=["<image>" + PROMPTS[0]])
    labels = torch.tensor([[5, 9, 11, 1]]) if model.layout == "seq2seq" else None
    with torch.no_grad():
        return model(**inputs, labels=labels).logits


@pytest.mark.parametrize("llm", ["mt5", "bloom"])
def test_a_lightning_checkpoint_and_an_old_adapter_make_the_model_that_was_trained(llm: str, tmp_path: Path) -> None:
    stock = legacy_mblip(tmp_path / "base", llm)
    language_model = saved_llm(tmp_path / "llm", stock, llm)
    trained = {name: value for name, value in stock.state_dict().items() if name.startswith(("query", "qformer"))}
    trained |= {f"language_projection.{n}": v for n, v in stock.language_projection.state_dict().items()}
    peft = adapted(stock, llm)
    parts = yaml_of(
        tmp_path / "parts.yaml",
        vision={"from": str(tmp_path / "base")},
        connector={"from": lightning(tmp_path / "last.ckpt", trained), "options": qformer_options(stock)},
        language_model={"from": language_model, "adapter": old_adapter(tmp_path / "adapter", peft)},
    )
    model, processor = load_model(parts, device="cpu")
    found = answers(model, processor)
    base, _ = load_model(str(tmp_path / "base"), device="cpu")
    assert (answers(base, processor) - found).abs().max() > 0.01
    merged = peft.merge_and_unload()
    base.language_model.load_state_dict(merged.state_dict())
    torch.testing.assert_close(found, answers(base, processor), atol=5e-4, rtol=0)


def test_an_adapter_of_today_is_the_adapter_of_2023(tmp_path: Path) -> None:
    stock = legacy_mblip(tmp_path / "base", "mt5")
    language_model = saved_llm(tmp_path / "llm", stock, "mt5")
    peft = adapted(stock, "mt5")
    old = old_adapter(tmp_path / "old", peft)
    peft.save_pretrained(tmp_path / "new")
    assert (tmp_path / "new" / "adapter_model.safetensors").is_file()
    found = []
    for adapter in (old, str(tmp_path / "new")):
        parts = yaml_of(
            tmp_path / "parts.yaml",
            vision={"from": str(tmp_path / "base")},
            connector={"from": str(tmp_path / "base"), "options": qformer_options(stock)},
            language_model={"from": language_model, "adapter": adapter},
        )
        model, processor = load_model(parts, device="cpu")
        assert model.config.lora == {"rank": 3, "alpha": 6.0, "dropout": 0.05, "targets": sorted(TARGETS["mt5"])}
        found.append(answers(model, processor))
    assert torch.equal(*found)


def test_low_rank_layers_inside_a_lightning_checkpoint_are_an_adapter(tmp_path: Path) -> None:
    stock = legacy_mblip(tmp_path / "base", "mt5")
    language_model = saved_llm(tmp_path / "llm", stock, "mt5")
    peft = adapted(stock, "mt5")
    low_rank = {f"language_model.{n}": v for n, v in peft.state_dict().items() if "lora_" in n}
    built = build_model(
        ModelSection.model_validate(
            {
                "vision": {"from": str(tmp_path / "base")},
                "connector": {"from": str(tmp_path / "base"), "options": qformer_options(stock)},
                "language_model": {
                    "from": language_model,
                    "adapter": lightning(tmp_path / "last.ckpt", {**low_rank, "query_tokens": stock.query_tokens}),
                },
            }
        ),
        languages=(),
        seed=0,
    )
    layer = built.model.language_model.encoder.block[0].layer[0].SelfAttention.q
    theirs = peft.base_model.model.encoder.block[0].layer[0].SelfAttention.q
    assert torch.equal(layer.lora_A["default"].weight, theirs.lora_A["default"].weight)
    assert built.model.config.lora is not None
    assert built.model.config.lora["alpha"] == 16


def broken_adapter(tmp_path: Path, change: Any) -> tuple[nn.Module, str]:
    stock = legacy_mblip(tmp_path / "base", "mt5")
    llm = stock.language_model
    folder = Path(old_adapter(tmp_path / "adapter", adapted(stock, "mt5")))
    state = torch.load(folder / "adapter_model.bin", weights_only=True)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    change(state, config)
    torch.save(state, folder / "adapter_model.bin")
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return llm, saved_llm(tmp_path / "llm", legacy_mblip(tmp_path / "again", "mt5"), "mt5")


Q = "base_model.model.decoder.block.1.layer.0.SelfAttention.q"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state, _: [state.pop(f"{Q}.lora_{side}.weight") for side in "AB"], "not decoder.block.1"),
        (lambda state, _: state.pop(f"{Q}.lora_B.weight"), r"lora_B.*is missing"),
        (lambda state, _: state.update({f"{Q}x.lora_A.weight": torch.zeros(3, 4)}), "no such layer"),
        (lambda state, _: state.update({"base_model.model.lm_head.weight": torch.zeros(2)}), "no tensor of low-rank"),
        (lambda _, config: config.update(use_dora=True), "use_dora"),
        (lambda _, config: config.update(alpha_pattern={"q": 32}), "alpha_pattern"),
        (lambda _, config: config.update(peft_type="PREFIX_TUNING"), "PREFIX_TUNING"),
        (lambda _, config: config.update(r=4), "rank 4"),
    ],
    ids=["a layer", "a half", "foreign", "other weights", "DoRA", "alpha", "prefix", "rank"],
)
def test_an_adapter_that_would_be_taken_in_part_is_refused(change: Any, said: str, tmp_path: Path) -> None:
    _, language_model = broken_adapter(tmp_path, change)
    parts = yaml_of(
        tmp_path / "parts.yaml",
        vision={"from": str(tmp_path / "base")},
        connector={"from": str(tmp_path / "base"), "options": {"num_queries": 5}},
        language_model={"from": language_model, "adapter": str(tmp_path / "adapter")},
    )
    with pytest.raises(CheckpointError, match=said):
        load_model(parts, device="cpu")


def test_a_state_dict_without_an_llm_gives_encoder_and_connector(tmp_path: Path) -> None:
    stock = stock_blip2(tmp_path / "stock", "mt5")
    state = {n: v.clone() for n, v in old_state(stock).items() if not n.startswith("language_model.")}
    torch.save(state, tmp_path / "blip2-flant5xl-nolm.bin")
    file = str(tmp_path / "blip2-flant5xl-nolm.bin")
    parts = yaml_of(
        tmp_path / "parts.yaml",
        vision={"from": file, "config": vision_values(stock)},
        connector={"from": file, "options": qformer_options(stock)},
        language_model={"from": saved_llm(tmp_path / "llm", stock, "mt5")},
    )
    model, processor = load_model(parts, device="cpu")
    whole = load_model(str(tmp_path / "stock"), device="cpu")
    torch.testing.assert_close(answers(model, processor), answers(*whole), atol=5e-4, rtol=0)


def test_a_file_of_weights_is_no_model_by_itself(tmp_path: Path) -> None:
    file = lightning(tmp_path / "last.ckpt", {"query_tokens": torch.zeros(1, 5, 24)})
    with pytest.raises(CheckpointError, match="without the config") as caught:
        load_model(file, device="cpu")
    assert "YAML" in str(caught.value.hint)
    adapter = old_adapter(tmp_path / "adapter", adapted(legacy_mblip(tmp_path / "base", "mt5"), "mt5"))
    with pytest.raises(CheckpointError, match="without the model that it adapts") as caught:
        load_model(adapter, device="cpu")
    assert "YAML" in str(caught.value.hint)


def test_parts_without_weights_make_no_model_that_answers(tmp_path: Path) -> None:
    stock = stock_blip2(tmp_path / "stock", "mt5")
    name = str(tmp_path / "stock")
    parts: dict[str, Any] = {
        "vision": {"from": name},
        "connector": {"options": qformer_options(stock)},
        "language_model": {"from": name},
    }
    with pytest.raises(ConfigError, match=r"connector\.from"):
        load_model(yaml_of(tmp_path / "a.yaml", **parts), device="cpu")
    parts["connector"] |= {"from": name, "fresh": ["projection"]}
    with pytest.raises(ConfigError, match="has no weights"):
        load_model(yaml_of(tmp_path / "b.yaml", **parts), device="cpu")


# --- parts of a model ------------------------------------------------------------------------------------------------


def section(blip2: str, llm: str, stock: Any, **connector: Any) -> ModelSection:
    return ModelSection.model_validate(
        {
            "vision": {"from": blip2},
            "connector": {"from": blip2, "options": qformer_options(stock), **connector},
            "language_model": {"from": llm},
        }
    )


def test_only_the_files_that_hold_encoder_and_connector_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = stock_blip2(tmp_path / "hub", "mt5", shard="30KB")
    index = json.loads((tmp_path / "hub" / "model.safetensors.index.json").read_text(encoding="utf-8"))
    wanted = {file for name, file in index["weight_map"].items() if not name.startswith("language_model.")}
    fetched: set[str] = set()

    def download(repo: str, name: str) -> str:
        assert repo == "someone/blip2"
        fetched.add(name)
        if not (tmp_path / "hub" / name).is_file():
            raise EntryNotFoundError(name)
        return str(tmp_path / "hub" / name)

    monkeypatch.setattr(weights, "hf_hub_download", download)
    connector = weights.find_weights("someone/blip2").below("qformer.")
    assert connector["layernorm.bias"].read().shape == (24,)
    found = {name for name in fetched if name.endswith(".safetensors")}
    assert found
    assert found < wanted < set(index["weight_map"].values())
    del stock


def test_a_realignment_starts_from_blip2_and_another_llm(tmp_path: Path) -> None:
    stock = stock_blip2(tmp_path / "blip2", "t5")
    other = legacy_mblip(tmp_path / "other", "mt5")
    llm = saved_llm(tmp_path / "llm", other, "mt5")
    built = build_model(section(str(tmp_path / "blip2"), llm, stock), languages=(), seed=0)
    assert torch.equal(built.model.connector.queries, stock.query_tokens)
    assert torch.equal(built.model.connector.projection.weight, stock.language_projection.weight)
    assert torch.equal(built.model.vision.model.post_layernorm.bias, stock.vision_model.post_layernorm.bias)
    assert torch.equal(built.model.language_model.lm_head.weight, other.language_model.lm_head.weight)
    assert any("projection included" in line for line in built.report)


def test_a_projection_is_fresh_where_that_is_asked_for_or_the_width_differs_and_it_is_said(tmp_path: Path) -> None:
    stock = stock_blip2(tmp_path / "blip2", "t5")
    name = str(tmp_path / "blip2")
    asked = build_model(section(name, name, stock, fresh=["projection"]), languages=(), seed=0)
    assert any("fresh: projection.weight, projection.bias" in line for line in asked.report)
    assert not torch.equal(asked.model.connector.projection.weight, stock.language_projection.weight)
    state = load_file(tmp_path / "blip2" / "model.safetensors")
    state["language_projection.weight"] = torch.zeros(40, 24)
    state["language_projection.bias"] = torch.zeros(40)
    save_file(state, tmp_path / "blip2" / "model.safetensors", metadata={"format": "pt"})
    wider = build_model(section(name, name, stock), languages=(), seed=0)
    assert any("fresh: projection.weight, projection.bias" in line for line in wider.report)


@pytest.mark.parametrize("make", [legacy_mblip, stock_llava], ids=["mblip", "llava"])
def test_training_goes_on_from_a_released_model(make: Any, tmp_path: Path) -> None:
    make(tmp_path)
    whole, _ = load_model(str(tmp_path), device="cpu")
    config = whole.config
    built = build_model(
        ModelSection.model_validate(
            {
                "vision": {"from": str(tmp_path), "layer": config.vision_layer},
                "connector": {
                    "from": str(tmp_path),
                    "type": config.connector["type"],
                    "options": config.connector["options"],
                },
                "language_model": {"from": str(tmp_path)},
            }
        ),
        languages=(),
        seed=0,
    )
    theirs = whole.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in built.model.state_dict().items())
    assert built.processor.tokens_per_image == config.tokens_per_image


# --- files -----------------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("run",))


def test_code_in_a_pickle_is_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {"a": torch.zeros(2)}, "hyper_parameters": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(CheckpointError, match="never run") as caught:
        weights.find_weights(str(tmp_path / "evil.ckpt"))
    assert "state_dict" in str(caught.value.hint)
    assert "run" not in capsys.readouterr().out


def test_files_that_are_missing_cut_short_or_elsewhere_are_named(tmp_path: Path) -> None:
    stock_blip2(tmp_path, "mt5", shard="30KB")
    index = tmp_path / "model.safetensors.index.json"
    first = min(tmp_path.glob("model-*.safetensors"))
    whole = first.read_bytes()
    first.write_bytes(whole[:-8])
    with pytest.raises(CheckpointError, match=first.name):
        load_model(str(tmp_path), device="cpu")
    first.unlink()
    with pytest.raises(CheckpointError, match=first.name):
        load_model(str(tmp_path), device="cpu")
    values = json.loads(index.read_text(encoding="utf-8"))
    values["weight_map"] = {name: f"../{file}" for name, file in values["weight_map"].items()}
    index.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(CheckpointError, match="beside their index"):
        load_model(str(tmp_path), device="cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_tensors_larger_than_a_window_are_read_whole(
    dtype: torch.dtype, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "WINDOW", 256)
    state = {"a": torch.randn(37, 3, 5), "b": torch.tensor(2.5), "c": torch.arange(300)}
    file = tmp_path / f"w.{suffix}"
    torch.save(state, file) if suffix == "bin" else save_file(state, file)
    found = weights.find_weights(str(file))
    for name, value in state.items():
        stored = found[name].read_as(dtype)
        expected = value.to(dtype) if value.is_floating_point() else value
        assert stored.shape == value.shape
        assert stored.dtype == expected.dtype
        assert torch.equal(stored.read(), expected)
    assert found["a"].equals(found["a"])
    assert not found["a"].equals(found["b"])


def test_what_a_file_holds_beside_the_connector_is_said(tmp_path: Path) -> None:
    stock = legacy_mblip(tmp_path / "base", "mt5")
    peft = adapted(stock, "mt5")
    trained = {name: value for name, value in stock.state_dict().items() if name.startswith(("query", "qformer"))}
    trained |= {f"language_projection.{n}": v for n, v in stock.language_projection.state_dict().items()}
    low_rank = {f"language_model.{n}": v for n, v in peft.state_dict().items() if "lora_" in n}
    base = str(tmp_path / "base")
    values = {
        "vision": {"from": base},
        "connector": {"from": lightning(tmp_path / "last.ckpt", trained | low_rank), "options": qformer_options(stock)},
        "language_model": {"from": saved_llm(tmp_path / "llm", legacy_mblip(tmp_path / "again", "mt5"), "mt5")},
    }
    built = build_model(ModelSection.model_validate(values), languages=(), seed=0)
    assert any(f"low-rank layers ({len(low_rank)} tensors)" in line for line in built.report)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vision": {"from": "M"}}, "layer: is -1"),
        ({"connector": {"from": "M", "type": "mlp", "options": {"keep_prefix": True}}}, "keep_prefix: is True"),
        ({"connector": {"from": "M", "type": "linear"}}, "connector.type: is 'linear'"),
    ],
    ids=["layer", "prefix", "type"],
)
def test_parts_that_would_compute_something_else_together_are_refused(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    stock_llava(tmp_path)
    values = {
        "vision": {"from": "M", "layer": -2},
        "connector": {"from": "M", "type": "mlp"},
        "language_model": {"from": "M"},
    } | change
    text = json.dumps(values).replace('"M"', json.dumps(str(tmp_path)))
    with pytest.raises(ConfigError, match=said):
        build_model(ModelSection.model_validate(json.loads(text)), languages=(), seed=0)


def test_a_language_model_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="adapter"):
        ModelSection.model_validate({"vision": {"from": "a"}, "language_model": {"from": "x.ckpt"}})


def test_files_cut_short_or_at_odds_with_their_index_are_told_from_a_missing_network(tmp_path: Path) -> None:
    legacy_mblip(tmp_path, "mt5", shards=1)
    file = tmp_path / "pytorch_model-00001-of-00001.bin"
    state = torch.load(file, weights_only=True)
    del state["qformer.layernorm.bias"]
    torch.save(state, file)
    with pytest.raises(CheckpointError, match="although the index says so"):
        load_model(str(tmp_path), device="cpu")
    cut = file.read_bytes()[:10_000]
    file.unlink()  # what failed to load may still be mapped
    file.write_bytes(cut)
    with pytest.raises(CheckpointError, match=file.name) as caught:
        load_model(str(tmp_path), device="cpu")
    assert "network" not in str(caught.value.hint)
    assert "weights_only=False" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vision: {from: a}\nlanguage_model: {from: b, adaptor: c}\n", "did you mean 'adapter'"),
        ("", "must be a mapping"),
        ("vision: {from: a", "is not YAML"),
    ],
    ids=["a misspelt key", "nothing", "no YAML"],
)
def test_a_file_of_parts_is_read_as_a_recipe_is(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "parts.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_model(str(path), device="cpu")

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import LLM, TEXTS, VISION, build_tiny, tiny_section

from visiglot.config import ModelSection
from visiglot.errors import CheckpointError, ConfigError, ModelError
from visiglot.models.build import Built, build_model, load_model, load_tensors
from visiglot.models.runs import checkpoints, resolve_model

FILES = {"model/config.json": {"bytes": 2, "sha256": ""}}


def save(built: Built, folder: Path) -> Path:
    built.model.save_pretrained(folder)
    built.processor.save_pretrained(folder)
    return folder


def realigned(folder: Path, **changes: Any) -> ModelSection:
    """Encoder and connector of `folder`, a new language model."""
    values = tiny_section("resnet", "mt5").model_dump(by_alias=True)
    values["vision"] = {"from": str(folder)}
    values["connector"]["from"] = str(folder)
    for path, value in changes.items():
        section, key = path.split("__")
        values[section][key] = value
    return ModelSection.model_validate(values)


def build(section: ModelSection) -> Built:
    return build_model(section, languages=["eng_Latn"], seed=1, texts=lambda: TEXTS)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_the_same_seed_builds_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one = build_tiny(seed=3).model
    assert torch.equal(torch.rand(3), expected)
    assert same(one, build_tiny(seed=3).model)
    assert not same(one, build_tiny(seed=4).model)


def test_parts_move_to_another_language_model(tmp_path: Path) -> None:
    english = build_tiny("resnet", "t5")
    new = build(realigned(save(english, tmp_path), connector__fresh=["projection"]))
    assert same(new.model.vision, english.model.vision)
    assert torch.equal(new.model.connector.queries, english.model.connector.queries)
    assert not torch.equal(new.model.connector.projection.weight, english.model.connector.projection.weight)
    assert any("fresh: projection.weight, projection.bias" in line for line in new.report)
    assert new.processor.fingerprint() == english.processor.fingerprint()


def test_the_projection_is_kept_when_the_width_fits_and_nobody_wants_it_fresh(tmp_path: Path) -> None:
    english = build_tiny("resnet", "t5")
    new = build(realigned(save(english, tmp_path)))
    assert torch.equal(new.model.connector.projection.weight, english.model.connector.projection.weight)


def test_the_projection_is_fresh_and_said_so_when_the_width_differs(tmp_path: Path) -> None:
    english = build_tiny("resnet", "t5")
    wider = {"config": {**LLM["mt5"], "d_model": 48}, "tokenizer": {"vocabulary": 420}}
    new = build(realigned(save(english, tmp_path), language_model__config=wider["config"]))
    assert new.model.connector.projection.out_features == 48
    assert any("fresh: projection.weight" in line for line in new.report)


def test_a_connector_of_another_shape_is_refused(tmp_path: Path) -> None:
    english = build_tiny("resnet", "t5")
    section = realigned(
        save(english, tmp_path), connector__options={"num_queries": 6, "width": 16, "layers": 2, "heads": 2}
    )
    with pytest.raises(CheckpointError, match=r"queries: \[1, 4, 16\] there, \[1, 6, 16\] here"):
        build(section)


def test_a_language_model_with_its_tokenizer_moves(tmp_path: Path) -> None:
    source = build_tiny("vit", "mt5")
    values = tiny_section("resnet", "t5").model_dump(by_alias=True)
    values["language_model"] = {"from": str(save(source, tmp_path))}
    new = build(ModelSection.model_validate(values))
    assert same(new.model.language_model, source.model.language_model)
    assert new.processor.tokenizer.encode("dog cat") == source.processor.tokenizer.encode("dog cat")


def test_a_stock_llm_folder_is_read_with_stock_code(tmp_path: Path) -> None:
    source = build_tiny("vit", "llama")
    source.model.language_model.save_pretrained(tmp_path)
    source.processor.tokenizer.save_pretrained(tmp_path)
    values = tiny_section("resnet", "t5").model_dump(by_alias=True)
    values["language_model"] = {"from": str(tmp_path)}
    new = build(ModelSection.model_validate(values))
    assert new.model.layout == "causal"
    assert same(new.model.language_model, source.model.language_model)


def test_a_stock_encoder_folder_is_read_with_stock_code(tmp_path: Path) -> None:
    source = build_tiny("siglip", "t5")
    source.model.vision.model.save_pretrained(tmp_path)
    values = tiny_section("vit", "t5").model_dump(by_alias=True)
    values["vision"] = {"from": str(tmp_path)}
    new = build(ModelSection.model_validate(values))
    assert same(new.model.vision, source.model.vision)


def test_the_image_token_needs_no_row_in_the_embedding_table() -> None:
    model = build_tiny("vit", "mt5").model
    assert model.config.image_token_id >= model.get_input_embeddings().weight.shape[0]


def test_load_model_reads_what_was_saved(tmp_path: Path) -> None:
    built = build_tiny("vit", "gemma2")
    model, processor = load_model(str(save(built, tmp_path)), device="cpu")
    assert same(model, built.model)
    assert model.config.languages == ["eng_Latn", "deu_Latn"]
    assert processor.spec().tokens_per_image == built.processor.spec().tokens_per_image


def test_a_folder_without_a_model_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither config\.json, nor model/, nor checkpoints/"):
        load_model(str(tmp_path))


def test_an_unknown_name_lists_the_runs_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path))
    (tmp_path / "runs" / "swahili").mkdir(parents=True)
    with pytest.raises(CheckpointError) as caught:
        resolve_model("swahilli")
    assert "swahili" in str(caught.value)


def test_the_last_complete_checkpoint_is_the_furthest_with_a_manifest(tmp_path: Path) -> None:
    for folder, stage, step in (("realign-20", 1, 20), ("warmup-100", 0, 100), ("realign-9", 1, 9)):
        (tmp_path / "checkpoints" / folder / "model").mkdir(parents=True)
        (tmp_path / "checkpoints" / folder / "model" / "config.json").write_text("{}")
        manifest = json.dumps({"stage": "s", "stage_index": stage, "step": step, "complete": True, "files": FILES})
        (tmp_path / "checkpoints" / folder / "manifest.json").write_text(manifest)
    (tmp_path / "checkpoints" / ".realign-30.partial").mkdir()
    (tmp_path / "checkpoints" / "realign-40" / "model").mkdir(parents=True)  # no manifest: never finished
    assert [found.folder.name for found in checkpoints(tmp_path)] == ["warmup-100", "realign-9", "realign-20"]
    assert resolve_model(str(tmp_path)) == str(tmp_path / "checkpoints" / "realign-20" / "model")


def test_a_stock_model_is_no_visiglot_model(tmp_path: Path) -> None:
    build_tiny("vit", "llama").model.language_model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="is a 'llama' model"):
        load_model(str(tmp_path))


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    save(build_tiny(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="weights can't be read"):
        load_tensors(str(tmp_path), "vision.")


def test_a_misspelt_config_key_names_the_nearest() -> None:
    values = tiny_section().model_dump(by_alias=True)
    values["vision"]["config"] = {**VISION["vit"], "hiden_size": 3}
    with pytest.raises(ConfigError, match="'hiden_size'; Did you mean 'hidden_size'"):
        build(ModelSection.model_validate(values))


def test_an_unknown_model_type_names_the_nearest() -> None:
    values = tiny_section().model_dump(by_alias=True)
    values["language_model"]["config"] = {"model_type": "lama"}
    with pytest.raises(ConfigError, match="'llama'"):
        build(ModelSection.model_validate(values))


def test_a_vision_model_is_no_language_model() -> None:
    values = tiny_section().model_dump(by_alias=True)
    values["language_model"]["config"] = {"model_type": "vit"}
    with pytest.raises(ModelError, match="no causal LLM for ViTConfig"):
        build(ModelSection.model_validate(values))


def test_a_new_llm_needs_a_tokenizer() -> None:
    values = tiny_section().model_dump(by_alias=True)
    values["language_model"]["tokenizer"] = None
    with pytest.raises(ConfigError, match="tokenizer: is missing"):
        build(ModelSection.model_validate(values))


def test_unknown_connector_options_are_an_error() -> None:
    values = tiny_section().model_dump(by_alias=True)
    values["connector"] = {"type": "mlp", "options": {"dept": 3}}
    with pytest.raises(ConfigError, match="dept"):
        build(ModelSection.model_validate(values))

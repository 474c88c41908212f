from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.tiny import LLM, TEXTS, VISION, build_tiny, tiny_section

from visiglot.config import ModelSection
from visiglot.errors import CheckpointError, ConfigError, ModelError
from visiglot.models.build import Built, build_model
from visiglot.models.checkpoint import weights
from visiglot.models.checkpoint.tensors import load_tensors
from visiglot.models.load import load_model
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


def with_memory(section: ModelSection, phrases: int = 7) -> ModelSection:
    section.connector.options.update(pooled_tokens=2, pooled_phrases=phrases)
    return section


def test_what_is_fresh_may_be_of_another_kind(tmp_path: Path) -> None:
    english = tiny_section("resnet", "t5")
    english.connector.options.update(pooled_tokens=2)
    save(build(english), tmp_path)
    new = build(with_memory(realigned(tmp_path, connector__fresh=["projection", "pooled"])))
    assert new.model.connector.memory.values.shape == (7, 2, 32)


def test_a_memorys_keys_move_to_another_language_model_and_its_values_are_fresh(tmp_path: Path) -> None:
    english = build(with_memory(tiny_section("resnet", "t5")))
    save(english, tmp_path)
    wider = {**LLM["mt5"], "d_model": 48}
    fresh = ["projection", "pooled.values"]
    section = with_memory(realigned(tmp_path, connector__fresh=fresh, language_model__config=wider))
    memory, before = build(section).model.connector.memory, english.model.connector.memory
    assert memory.values.shape == (7, 2, 48)
    assert torch.equal(memory.keys, before.keys)
    assert torch.equal(memory.log_scale, before.log_scale)


def test_a_memory_of_another_size_is_refused_not_forgotten(tmp_path: Path) -> None:
    save(build(with_memory(tiny_section("resnet", "t5"))), tmp_path)
    with pytest.raises(CheckpointError, match=r"pooled\.keys"):
        build(with_memory(realigned(tmp_path), phrases=9))


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


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    """The checkpoint in `folder` with other tensors."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return folder


def without(prefix: str) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    return lambda tensors: {key: value for key, value in tensors.items() if not key.startswith(prefix)}


def test_a_checkpoint_without_its_connector_is_refused(tmp_path: Path) -> None:
    rewrite(save(build_tiny(), tmp_path), without("connector."))
    with pytest.raises(CheckpointError, match=r"missing: connector\."):
        load_model(str(tmp_path), device="cpu")


def test_a_checkpoint_with_weights_that_fit_nowhere_is_refused(tmp_path: Path) -> None:
    rewrite(save(build_tiny(), tmp_path), lambda tensors: tensors | {"connector.extra": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"unexpected: connector\.extra"):
        load_model(str(tmp_path), device="cpu")


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json", "processor_config.json"])
@pytest.mark.parametrize("left", [None, 0, 20])
def test_a_file_that_is_missing_or_cut_short_is_a_checkpoint_error(tmp_path: Path, file: str, left: int | None) -> None:
    path = save(build_tiny(), tmp_path) / file
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(CheckpointError):
        load_model(str(tmp_path), device="cpu")


@pytest.mark.parametrize("part", ["vision", "language_model"])
def test_a_stock_part_that_lacks_a_weight_is_refused(tmp_path: Path, part: str) -> None:
    source = build_tiny("vit", "llama")
    stock = source.model.vision.model if part == "vision" else source.model.language_model
    stock.save_pretrained(tmp_path)
    source.processor.tokenizer.save_pretrained(tmp_path)
    first = min(load_file(tmp_path / "model.safetensors"))
    rewrite(tmp_path, without(first))
    values = tiny_section("vit", "llama").model_dump(by_alias=True)
    values[part] = {"from": str(tmp_path)}
    with pytest.raises(CheckpointError, match="missing: "):
        build(ModelSection.model_validate(values))


def test_what_a_stock_checkpoint_holds_beyond_the_part_is_named(tmp_path: Path) -> None:
    source = build_tiny("siglip", "t5")
    source.model.vision.model.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors | {"classifier.weight": torch.zeros(2, 2)})
    values = tiny_section("vit", "t5").model_dump(by_alias=True)
    values["vision"] = {"from": str(tmp_path)}
    new = build(ModelSection.model_validate(values))
    assert same(new.model.vision, source.model.vision)
    assert any("left out: classifier" in line for line in new.report)


@pytest.mark.parametrize("stock", [True, False])
def test_parts_in_bf16_are_kept_as_float32_and_read_back_equal(tmp_path: Path, stock: bool) -> None:
    source = build_tiny("vit", "t5")
    source.model.to(torch.bfloat16)
    (source.model.vision.model if stock else source.model).save_pretrained(tmp_path / "narrow")
    source.processor.save_pretrained(tmp_path / "narrow")
    values = tiny_section("vit", "llama").model_dump(by_alias=True)
    values["vision"] = {"from": str(tmp_path / "narrow"), "image_size": 32}
    new = build(ModelSection.model_validate(values))
    assert any("bfloat16 kept as float32" in line for line in new.report)
    assert {parameter.dtype for parameter in new.model.parameters()} == {torch.float32}
    again, _ = load_model(str(save(new, tmp_path / "whole")), device="cpu")
    assert same(again, new.model)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}


@pytest.mark.parametrize("vision", list(VISION))
def test_every_encoder_can_be_taken_from_a_saved_model(vision: str, tmp_path: Path) -> None:
    source = build_tiny(vision, "t5")
    again, _ = load_model(str(save(source, tmp_path)), device="cpu")
    assert same(again, source.model)
    new = build(realigned(tmp_path))
    assert same(new.model.vision, source.model.vision)


def test_tensors_of_the_hub_are_fetched_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = build_tiny()
    source.model.save_pretrained(tmp_path, max_shard_size="20KB")
    fetched: list[str] = []

    def download(repo: str, name: str) -> str:
        assert repo == "someone/model"
        fetched.append(name)
        if not (tmp_path / name).is_file():
            raise EntryNotFoundError(name)
        return str(tmp_path / name)

    monkeypatch.setattr(weights, "hf_hub_download", download)
    found = load_tensors("someone/model", "connector.")
    assert torch.equal(found["queries"], source.model.connector.queries)
    shards = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert fetched[:2] == ["config.json", "model.safetensors.index.json"]
    assert 0 < len([name for name in fetched if name in shards]) < len(shards)


def test_tensors_of_the_hub_without_a_network_are_a_checkpoint_error() -> None:
    with pytest.raises(CheckpointError, match="someone/no-such-model") as caught:
        load_tensors("someone/no-such-model", "connector.")
    assert "without a network" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("section", "config"),
    [
        ("language_model", {**LLM["t5"], "d_model": "abc"}),
        ("language_model", {**LLM["t5"], "d_ff": -3}),
        ("vision", {**VISION["vit"], "hidden_size": -8}),
        ("vision", {**VISION["vit"], "num_attention_heads": 0}),
    ],
)
def test_values_that_make_no_part_are_a_config_error(section: str, config: dict[str, Any]) -> None:
    values = tiny_section().model_dump(by_alias=True)
    values[section]["config"] = config
    with pytest.raises(ConfigError, match=rf"model\.{section}\.config"):
        build(ModelSection.model_validate(values))


@pytest.mark.parametrize(
    "connector",
    [
        {"type": "qformer", "options": {"heads": 0}},
        {"type": "qformer", "options": {"width": "wide"}},
        {"type": "qformer", "options": {"num_queries": 0, "width": 16, "layers": 2, "heads": 2}},
        {"type": "mlp", "options": {"hidden": -1}},
    ],
)
def test_values_that_make_no_connector_are_a_config_error(connector: dict[str, Any]) -> None:
    values = tiny_section().model_dump(by_alias=True)
    values["connector"] = connector
    with pytest.raises(ConfigError, match=r"model\.connector"):
        build(ModelSection.model_validate(values))


def test_a_folder_of_the_working_directory_replaces_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIGLOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "cache" / "runs" / "mine"
    for folder in (run, tmp_path / "mine", tmp_path / "other"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    assert resolve_model("mine") == str(run)
    assert Path(resolve_model("./mine")).resolve() == tmp_path / "mine"
    assert Path(resolve_model("other")).resolve() == tmp_path / "other"


def test_padded_pictures_keep_all_of_them_within_the_mean_colour() -> None:
    values = tiny_section("clip", "llama", "mlp").model_dump(by_alias=True)
    values["vision"] |= {"pad": True, "image_mean": (0.5, 0.25, 0.0), "image_std": (0.5, 0.5, 0.5)}
    processor = build(ModelSection.model_validate(values)).processor
    pixels = processor.pixel_values([Image.new("RGB", (64, 32), "white")])[0]  # [3, 32, 32]
    assert pixels[:, 0].abs().max() < 0.01  # the mean
    torch.testing.assert_close(pixels[:, 16], torch.tensor([1.0, 1.5, 2.0])[:, None].expand(3, 32))


@pytest.mark.parametrize(("first", "gap", "found"), [(True, "\n", "\n"), (True, None, ""), (False, "\n", "")])
def test_a_gap_follows_pictures_that_stand_first(first: bool, gap: str | None, found: str) -> None:
    built = build_tiny("clip", "llama", "mlp", image_first=first, image_gap=gap)
    assert built.model.config.image_gap == found


def going_on(folder: Path, **prompt: Any) -> Built:
    """All parts of `folder`, to be trained in Swahili."""
    section = ModelSection.model_validate({"from": str(folder), "prompt": {"image_first": True, **prompt}})
    return build_model(section, languages=["swh_Latn"], seed=1)


def test_a_model_that_is_trained_on_is_asked_as_it_was_before(tmp_path: Path) -> None:
    save(build_tiny("clip", "llama", "mlp", template="vicuna", image_first=True, image_gap="\n"), tmp_path)
    built = going_on(tmp_path)
    assert (built.model.config.template, built.processor.template) == ("vicuna", "vicuna")
    assert built.model.config.image_gap == "\n"
    other = going_on(tmp_path, template="plain", image_gap=" ")
    assert (other.model.config.template, other.model.config.image_gap) == ("plain", " ")


def test_a_model_that_is_trained_on_keeps_its_languages_and_parts_of_several_models_have_none(tmp_path: Path) -> None:
    save(build_tiny(), tmp_path)
    assert going_on(tmp_path).model.config.languages == ["eng_Latn", "deu_Latn", "swh_Latn"]
    assert build(realigned(tmp_path)).model.config.languages == ["eng_Latn"]


@pytest.mark.parametrize("tiles", [1, 2])
def test_a_model_that_is_trained_on_goes_on_padding_its_pictures(tiles: int, tmp_path: Path) -> None:
    values = tiny_section("siglip", "llama", "multiscale-pool").model_dump(by_alias=True)
    values["vision"] |= {"pad": True, "tiles": tiles}
    before = build(ModelSection.model_validate(values))
    save(before, tmp_path)
    after = going_on(tmp_path)
    picture = [Image.new("RGB", (64, 32), "white")]
    pixels = after.processor.pixel_values(picture)
    assert pixels.shape[-1] == 32 * tiles
    torch.testing.assert_close(pixels, before.processor.pixel_values(picture))

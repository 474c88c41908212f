from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tests.unit.export.conftest import Make, untie
from transformers import GenerationConfig

from visiglot.cli.prompts import content
from visiglot.data.nano.prompts import caption_prompt
from visiglot.errors import CheckpointError, ModelError
from visiglot.export.export import export_model
from visiglot.export.probe import build_probe, example_pictures, prompt_of
from visiglot.export.stock import StockTarget
from visiglot.export.targets import TARGETS
from visiglot.images import load_image
from visiglot.models.decode import Decoding
from visiglot.models.load import load_model
from visiglot.prompts import placing_of
from visiglot.render import render
from visiglot.types import Example, ImageRef, Message

pytestmark = pytest.mark.usefixtures("in_this_process")

PAIRS = [
    ("blip2", "blip2", "mt5", "qformer", "unigram"),
    ("blip2", "blip2", "bloom", "qformer", "byte-level"),
    ("blip2", "blip2", "opt", "qformer", "byte-level"),
    ("llava", "clip", "llama", "mlp", "byte-fallback"),
    ("llava", "clip", "qwen3", "mlp", "byte-level"),
    ("visiglot", "resnet", "t5", "qformer", "unigram"),
    ("visiglot", "siglip", "gemma2", "linear", "byte-level"),
]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("to", "vision", "llm", "connector", "tokenizer"), PAIRS)
def test_a_model_with_low_rank_layers_gives_the_same_numbers_in_the_target_s_class(
    make: Make, tmp_path: Path, to: str, vision: str, llm: str, connector: str, tokenizer: str
) -> None:
    built = make(vision, llm, connector, tokenizer=tokenizer)
    done = export_model(built.model, built.processor, TARGETS.get(to), tmp_path / "out")
    assert done.verdict.apart <= 5e-4
    assert done.verdict.moved > 1e-2
    assert done.verdict.tokens > 0
    assert "low-rank layers (rank 4) merged onto float32 weights" in done.said
    assert left_in(tmp_path) == ["out"]
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= set(
        left_in(tmp_path / "out")
    )


@torch.inference_mode()
def test_merging_changes_no_logit(make: Make, tmp_path: Path) -> None:
    built = make("blip2", "mt5", "qformer", spare_rows=4)
    target, pictures = TARGETS.get("blip2"), example_pictures()
    before = make("blip2", "mt5", "qformer", spare_rows=4)
    before.model.load_state_dict(built.model.state_dict())
    export_model(built.model, built.processor, target, tmp_path / "out")
    stock = transformers.Blip2ForConditionalGeneration.from_pretrained(tmp_path / "out")
    processor = transformers.Blip2Processor.from_pretrained(tmp_path / "out")
    picture = load_image(ImageRef("picture", path=pictures[0]))
    inputs = processor(images=picture, text="Caption in German:", return_tensors="pt")
    start = torch.tensor([[0, 5, 7]])
    ours = before.model(
        inputs["input_ids"].masked_fill(
            inputs["input_ids"] == stock.config.image_token_index, before.model.config.image_token_id
        ),
        pixel_values=inputs["pixel_values"],
        decoder_input_ids=start,
    ).logits
    theirs = stock(**inputs, decoder_input_ids=start).logits
    assert (ours - theirs).abs().max() < 5e-4


def test_a_head_of_its_own_stays_one_beside_a_config_that_says_tied(make: Make, tmp_path: Path) -> None:
    built = make("blip2", "mt5", "qformer", lora=False, spare_rows=8)
    untie(built.model)
    head = built.model.language_model.lm_head.weight.clone()
    table = built.model.language_model.shared.weight.clone()
    export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")
    stock = transformers.Blip2ForConditionalGeneration.from_pretrained(tmp_path / "out").language_model
    assert torch.equal(stock.lm_head.weight, head)
    assert torch.equal(stock.shared.weight, table)
    assert torch.equal(stock.decoder.embed_tokens.weight, table)


def test_the_placeholder_takes_a_free_row_and_nothing_is_resized(make: Make, tmp_path: Path) -> None:
    built = make("blip2", "mt5", "qformer", spare_rows=8)
    rows, tokens = built.model.get_input_embeddings().weight.shape[0], len(built.processor.tokenizer)
    done = export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")
    config = transformers.Blip2Config.from_pretrained(tmp_path / "out")
    assert config.image_token_index == tokens < rows == config.text_config.vocab_size
    assert not any("appended" in line for line in done.said)


def test_where_no_row_is_free_one_is_appended_that_repeats_one_no_answer_has(make: Make, tmp_path: Path) -> None:
    built = make("blip2", "bloom", "qformer", tokenizer="byte-level", lora=False)
    rows = built.model.get_input_embeddings().weight.shape[0]
    done = export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")
    assert "1 row appended to the embedding for the placeholder" in done.said
    stock = transformers.Blip2ForConditionalGeneration.from_pretrained(tmp_path / "out")
    assert stock.config.image_token_index == rows
    table = stock.language_model.get_input_embeddings().weight
    assert table.shape[0] == rows + 1
    (repeated,) = (table[:rows] == table[rows]).all(1).nonzero().flatten().tolist()
    inputs = transformers.Blip2Processor.from_pretrained(tmp_path / "out")(
        images=load_image(ImageRef("picture", path=example_pictures()[0])), text="Caption", return_tensors="pt"
    )
    said = stock.generate(**inputs, max_new_tokens=20, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert not {rows, repeated} & set(said.tolist())


def test_bf16_weights_are_held_against_the_model_in_bf16(make: Make, tmp_path: Path) -> None:
    built = make("clip", "llama", "mlp")
    done = export_model(built.model, built.processor, TARGETS.get("llava"), tmp_path / "out", dtype="bf16")
    assert done.verdict.dtype == "bf16"
    assert done.verdict.apart <= done.verdict.allowed
    stock = transformers.LlavaForConditionalGeneration.from_pretrained(tmp_path / "out")
    assert stock.dtype == torch.bfloat16
    assert stock.model.language_model.rotary_emb.inv_freq.dtype == torch.float32


def test_prompts_with_bos_are_asked_in_the_one_way_that_writes_it_where_it_was(make: Make) -> None:
    built = make("blip2", "opt", "qformer", tokenizer="byte-level", spare_rows=8)
    target = TARGETS.get("blip2")
    built.model.config.caption_prompt = "Caption in {language}: "
    for after_images, form in ((False, "picture in place"), (True, "picture first")):
        built.processor.bos_after_images = built.model.config.image_first = after_images
        built.processor.image_token_id = built.model.config.image_token_id = len(built.processor.tokenizer)
        stock_processor = target.processor(built.model, built.processor)
        probe = build_probe(built.model, built.processor, target, stock_processor, example_pictures())
        assert probe.forms == (form,)
        assert all((case.sample.ids[0] == 1) != after_images for case in probe.cases)


def test_generation_settings_come_along(make: Make, tmp_path: Path) -> None:
    built = make("blip2", "bloom", "qformer", tokenizer="byte-level")
    built.model.language_model.generation_config.eos_token_id = 9
    export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")
    ends = sorted([9, built.processor.tokenizer.eos_token_id])
    assert GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id == ends
    stock = transformers.Blip2ForConditionalGeneration.from_pretrained(tmp_path / "out")
    assert stock.language_model.generation_config.eos_token_id == ends


def test_a_large_model_is_written_in_shards(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visiglot.export.stock.SHARD", "100KB")
    built = make("blip2", "mt5", "qformer")
    export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")
    names = left_in(tmp_path / "out")
    assert "model.safetensors.index.json" in names
    assert sum(name.endswith(".safetensors") for name in names) > 1


def test_parameters_are_counted_before_shared_embeddings_come_apart(make: Make, tmp_path: Path) -> None:
    for name, head in (("tied", False), ("untied", True)):
        built = make("blip2", "t5", "qformer", lora=False, spare_rows=8)
        if head:
            untie(built.model)
        done = export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / name)
        stock = transformers.Blip2ForConditionalGeneration.from_pretrained(tmp_path / name)
        assert done.parameters["vision"] == stock.vision_model.num_parameters()
        assert done.parameters["language_model"] == stock.language_model.num_parameters()
        assert sum(done.parameters.values()) == stock.num_parameters()


# --- nothing is left behind ------------------------------------------------------------------------------------------


def spoiled(monkeypatch: pytest.MonkeyPatch, spoil: Any) -> None:
    """Let every stock target write something else than the model."""
    write = StockTarget.write

    def other(self: Any, model: Any, processor: Any, folder: Path) -> None:
        spoil(model, processor)
        write(self, model, processor, folder)

    monkeypatch.setattr(StockTarget, "write", other)


def blind(model: Any, processor: Any) -> None:
    model.connector.projection.weight.data.zero_()


def other_logits(model: Any, processor: Any) -> None:
    model.get_input_embeddings().weight.data[5:].mul_(1.01)


def other_colours(model: Any, processor: Any) -> None:
    processor.image_processor.image_mean = [0.4, 0.4, 0.4]


def cropped(model: Any, processor: Any) -> None:
    """The middle in place of the whole squeezed: the same for square pictures."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    ours = processor.image_processor
    side = ours.size["height"]
    processor.image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_mean=ours.image_mean,
        image_std=ours.image_std,
    )


def other_words(model: Any, processor: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (other_logits, r"logits differ by \d"),
        (other_colours, "about bicycle.png, .* pixel values differ"),
        (cropped, "about wide.png, .* pixel values differ"),
        (other_words, "makes other tokens"),
    ],
)
def test_what_is_not_the_model_leaves_nothing_but_the_error(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, said: str
) -> None:
    built = make("blip2", "mt5", "qformer")
    spoiled(monkeypatch, spoil)
    with pytest.raises(CheckpointError, match=said) as caught:
        export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")
    assert "Nothing was left behind" in str(caught.value)
    assert left_in(tmp_path) == []


def test_a_model_that_does_not_see_its_picture_is_refused(make: Make, tmp_path: Path) -> None:
    built = make("blip2", "mt5", "qformer", lora=False)
    blind(built.model, built.processor)
    with pytest.raises(ModelError, match="the model sees no picture"):
        export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")
    assert left_in(tmp_path) == []


def test_another_greedy_token_is_named_with_both_logits_apart(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visiglot.export import gate

    greedy = gate.Stock.greedy
    monkeypatch.setattr(gate.Stock, "greedy", lambda self, inputs, n: (greedy(self, inputs, n) + 1) % 300)
    built = make("blip2", "mt5", "qformer")
    with pytest.raises(
        CheckpointError, match=r"greedy token 0 is \d+, the model's \d+, whose logit is [\d.e-]+ larger"
    ):
        export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")


def test_a_folder_that_holds_something_is_left_alone(make: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine", encoding="utf-8")
    built = make("blip2", "mt5", "qformer")
    with pytest.raises(CheckpointError, match="is there already"):
        export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")
    assert left_in(tmp_path / "out") == ["mine"]


def test_an_empty_folder_is_taken(make: Make, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    built = make("resnet", "t5", "linear")
    export_model(built.model, built.processor, TARGETS.get("visiglot"), tmp_path / "out")
    assert (tmp_path / "out" / "config.json").is_file()


def test_what_a_killed_export_left_is_removed_by_the_next_and_what_is_in_use_stays(make: Make, tmp_path: Path) -> None:
    aside = "from pathlib import Path; from visiglot.export.export import _aside; import time\n"
    aside += f"with _aside(Path({str(tmp_path / 'out')!r})) as folder: print(folder, flush=True); time.sleep(60)"
    killed, living = (
        subprocess.Popen([sys.executable, "-c", aside], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        left, used = (Path(process.stdout.readline().strip()) for process in (killed, living) if process.stdout)
        killed.kill()
        killed.wait()
        other = tmp_path / ".out.somebody"
        other.mkdir()
        assert left.is_dir()
        built = make("resnet", "t5", "linear")
        export_model(built.model, built.processor, TARGETS.get("visiglot"), tmp_path / "out")
        assert left_in(tmp_path) == sorted([used.name, other.name, "out"])
    finally:
        for process in (killed, living):
            process.kill()
            process.communicate()


def test_a_quantised_model_is_refused_with_the_weight(make: Make, tmp_path: Path) -> None:
    built = make("blip2", "mt5", "qformer")
    built.model.language_model.shared.register_buffer("codes", torch.zeros(4, 4, dtype=torch.int8))
    with pytest.raises(ModelError, match=r"is quantised \(language_model.shared.codes\)"):
        export_model(built.model, built.processor, TARGETS.get("blip2"), tmp_path / "out")
    assert left_in(tmp_path) == []


# --- and back --------------------------------------------------------------------------------------------------------


PROMPTED: list[dict[str, Any]] = [
    {},
    {"template": "vicuna", "image_first": True, "caption": "Caption in {language}: ", "max_length": 80},
]
KEPT = ("languages", "image_first", "image_gap", "max_length", "template")


def asked(model: Any, processor: Any) -> dict[str, Any]:
    """How `caption` asks a model in German, and what the model says: the prompt's tokens, and those of the answer."""
    words = content(caption_prompt(model.config), "German", 1, placing_of(model.config, processor))
    picture = ImageRef("bicycle", path=example_pictures()[0])
    ids = render(
        Example("asked", (Message("user", words),), "deu_Latn", (picture,)), processor.spec(), complete=True
    ).ids
    prompt = caption_prompt(model.config).replace("{language}", "German")
    model.processor = processor
    ((answer,),) = model.generate(example_pictures()[:1], [prompt], Decoding(max_new_tokens=8), details=True)
    placeholder = processor.image_token_id
    return {"ids": ["<image>" if id_ == placeholder else id_ for id_ in ids], "answer": answer.ids}


@pytest.mark.parametrize("prompted", PROMPTED, ids=["as built-in recipes", "otherwise"])
@pytest.mark.parametrize(("to", "vision", "llm", "connector", "tokenizer"), PAIRS[:5])
def test_an_export_is_loaded_again_as_the_model_that_it_was(
    make: Make, tmp_path: Path, to: str, vision: str, llm: str, connector: str, tokenizer: str, prompted: dict[str, Any]
) -> None:
    built = make(vision, llm, connector, tokenizer=tokenizer, spare_rows=8, **prompted)
    config, said = built.model.config, asked(built.model, built.processor)
    before = {key: getattr(config, key) for key in KEPT} | {"caption_prompt": caption_prompt(config)}
    export_model(built.model, built.processor, TARGETS.get(to), tmp_path / "out")
    model, processor = load_model(str(tmp_path / "out"), device="cpu")
    assert {key: getattr(model.config, key) for key in before} == before
    assert (processor.max_length, processor.template) == (before["max_length"], before["template"])
    assert asked(model, processor) == said
    again = export_model(model, processor, TARGETS.get(to), tmp_path / "again")
    assert again.verdict.apart <= 5e-4
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("template", ["plain", "chatml", "vicuna"])
def test_llava_s_chat_template_writes_what_the_model_was_trained_on(make: Make, tmp_path: Path, template: str) -> None:
    built = make("clip", "llama", "mlp", tokenizer="byte-level", template=template)
    export_model(built.model, built.processor, TARGETS.get("llava"), tmp_path / "out")
    processor = transformers.LlavaProcessor.from_pretrained(tmp_path / "out")
    turn = {"role": "user", "content": [{"type": "text", "text": "Caption:"}, {"type": "image"}]}
    written = processor.apply_chat_template([turn], add_generation_prompt=True)
    ids = processor(images=load_image(ImageRef("picture", path=example_pictures()[0])), text=written).input_ids[0]
    sample = prompt_of(("Caption:", ""), built.processor.spec())
    assert [id_ for id_ in ids if id_ != processor.image_token_id] == [
        id_ for id_ in sample.ids if id_ != built.processor.image_token_id
    ]
    assert len(ids) == len(sample.ids)

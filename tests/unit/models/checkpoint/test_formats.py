"""Models of other formats against stock transformers on the same folder, and against themselves in today's format."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from httpx2 import Request, Response
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from PIL.Image import Image
from safetensors.torch import load_file, save_file
from tests.checkpoints import PROMPTS, QUERIES, legacy_mblip, picture, stock_blip2, stock_llava
from tests.tiny import build_tiny
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoProcessor, Blip2Processor, PreTrainedTokenizerFast

from visiglot.cli.models import card_languages
from visiglot.errors import CheckpointError, UnknownNameError
from visiglot.models import VisionLanguageModel
from visiglot.models.checkpoint import weights
from visiglot.models.checkpoint.stock import load_image_processor
from visiglot.models.decode import Decoder, Decoding, Row
from visiglot.models.load import load_model
from visiglot.render import render
from visiglot.types import IGNORE, Example, ImageRef, ImageSlot, Message, Sample

BLIP2 = ("mt5", "t5", "bloom", "opt")
LLAVA = (("llama", "clip_vision_model", "default"), ("qwen2", "siglip_vision_model", "full"))
CASES = [
    *((f"blip2-{llm}", stock_blip2, (llm,)) for llm in BLIP2),
    *((f"mblip-{llm}", legacy_mblip, (llm,)) for llm in ("mt5", "bloom")),
    *((f"llava-{one[0]}", stock_llava, one) for one in LLAVA),
]
PICTURES = (picture(1), picture(2, (64, 30)), picture(3, (28, 28)))


class Case:
    """A stock model and ours, of one folder."""

    def __init__(self, name: str, make: Any, arguments: tuple[str, ...], folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.stock = make(folder, *arguments)
        self.stock_folder = folder / "stock" if make is legacy_mblip else folder
        self.model, self.processor = load_model(str(folder), device="cpu", dtype="fp32")
        self.is_llava = make is stock_llava

    def stock_processor(self) -> Any:
        processor = AutoProcessor.from_pretrained(self.stock_folder, backend="pil")
        if self.folder == self.stock_folder:
            return processor
        own = PreTrainedTokenizerFast.from_pretrained(self.folder)  # as in 2023: today's class of that name isn't it
        return Blip2Processor(processor.image_processor, own, num_query_tokens=processor.num_query_tokens)

    def stock_inputs(self, pictures: tuple[Image, ...], prompts: tuple[str, ...]) -> dict[str, Tensor]:
        texts = [f"USER: <image>\n{prompt} ASSISTANT:" if self.is_llava else prompt for prompt in prompts]
        processor = self.stock_processor()
        found = processor(images=list(pictures), text=texts, padding=True, return_tensors="pt")
        return {key: found[key] for key in ("pixel_values", "input_ids", "attention_mask")}

    def sample(self, prompt: str) -> Sample:
        words = ("\n" if self.is_llava else "") + prompt
        content = (ImageSlot(0), words)
        example = Example("one", (Message("user", content),), "deu_Latn", (ImageRef("a", data=b""),))
        return render(example, self.processor.spec(), complete=True)

    def inputs(
        self, pictures: tuple[Image, ...], prompts: tuple[str, ...], side: str | None = None
    ) -> dict[str, Tensor]:
        newline = "\n" if self.is_llava else ""
        texts = [f"{self.processor.image_token}{newline}{prompt}" for prompt in prompts]
        return dict(self.processor(images=list(pictures), text=texts, padding_side=side))


@cache
def _made() -> dict[str, Case]:
    return {}


@pytest.fixture(params=CASES, ids=lambda case: case[0])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name, make, arguments = request.param
    if name not in _made():
        _made()[name] = Case(name, make, arguments, tmp_path_factory.mktemp(name))
    return _made()[name]


def unpadded(ids: Tensor, mask: Tensor) -> list[list[int]]:
    return [row[seen.bool()].tolist() for row, seen in zip(ids, mask)]


def logits_of(model: Any, inputs: dict[str, Tensor], labels: Tensor | None) -> Tensor:
    with torch.no_grad():
        return model(**inputs, labels=labels).logits


def test_prompts_are_the_stock_processors_id_for_id(case: Case) -> None:
    stock, ours = case.stock_inputs(PICTURES, PROMPTS), case.inputs(PICTURES, PROMPTS)
    assert unpadded(stock["input_ids"], stock["attention_mask"]) == [
        [id_ if id_ != case.model.config.image_token_id else case.stock.config.image_token_index for id_ in row]
        for row in unpadded(ours["input_ids"], ours["attention_mask"])
    ]
    assert torch.equal(stock["pixel_values"], ours["pixel_values"])


def test_logits_are_the_stock_models(case: Case) -> None:
    stock, ours = case.stock_inputs(PICTURES, PROMPTS), case.inputs(PICTURES, PROMPTS)
    labels = torch.tensor([[5, 9, 11, 1]] * 3) if case.model.layout == "seq2seq" else None
    found = logits_of(case.model, ours, labels)
    expected = logits_of(case.stock, stock, labels)
    if labels is None:  # what stands at padding is anything
        rows = zip(found, ours["attention_mask"].bool(), expected, stock["attention_mask"].bool())
        for mine, mine_seen, theirs, theirs_seen in rows:
            torch.testing.assert_close(mine[mine_seen], theirs[theirs_seen], atol=5e-4, rtol=0)
    else:
        torch.testing.assert_close(found, expected, atol=5e-4, rtol=0)


def test_the_picture_is_seen(case: Case) -> None:
    """Not so in the workaround for mBLIP that goes round, whose answers are the same for every picture."""
    labels = torch.tensor([[5, 9]]) if case.model.layout == "seq2seq" else None
    one, other = (logits_of(case.model, case.inputs((image,), PROMPTS[:1]), labels)[:, -1] for image in PICTURES[:2])
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("by", [-1, 1])
def test_a_wrong_number_of_image_tokens_is_refused(case: Case, by: int) -> None:
    inputs = case.inputs(PICTURES[:1], PROMPTS[:1])
    row = inputs["input_ids"][0].tolist()
    at = row.index(case.model.config.image_token_id)
    row[at : at + 1] = [row[at]] * (1 + by)
    inputs["input_ids"] = torch.tensor([row])
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with pytest.raises(Exception, match="image tokens"):
        case.model.embed(**{key: inputs[key] for key in ("input_ids", "attention_mask", "pixel_values")})


SEARCHES = {
    "greedy": {"max_new_tokens": 12},
    "beam-5-short": {"beams": 5, "length_penalty": -1.0, "max_new_tokens": 10},
    "beam-5-long": {"beams": 5, "length_penalty": 1.0, "max_new_tokens": 50, "repetition_penalty": 1.5},
}


@pytest.mark.parametrize("search", SEARCHES)
def test_answers_are_token_for_token_the_stock_models(case: Case, search: str) -> None:
    settings = SEARCHES[search]
    samples = [case.sample(prompt) for prompt in PROMPTS]
    decoding = Decoding(**settings, penalize_prompt=case.model.layout == "causal")
    with torch.no_grad():
        features = [case.model.encode_images(case.processor.pixel_values([image])) for image in PICTURES]
    rows = [Row(str(index), sample, features[index], decoding) for index, sample in enumerate(samples)]
    answers = Decoder(case.model, case.processor).run(rows)
    names = {"beams": "num_beams"}
    for index in range(len(PROMPTS)):
        inputs = case.stock_inputs(PICTURES[index : index + 1], PROMPTS[index : index + 1])
        with torch.no_grad():
            ids = case.stock.generate(
                **inputs, do_sample=False, **{names.get(key, key): value for key, value in settings.items()}
            )[0].tolist()
        new = ids[1:] if case.model.layout == "seq2seq" else ids[inputs["input_ids"].shape[1] :]
        assert list(answers[str(index)].ids) == new


def test_the_loss_is_the_stock_models(case: Case) -> None:
    stock, ours = case.stock_inputs(PICTURES[:1], PROMPTS[1:2]), case.inputs(PICTURES[:1], PROMPTS[1:2])
    if case.model.layout == "seq2seq":
        labels = torch.tensor([[5, 9, 11, 1]])
    else:
        labels = stock["input_ids"].clone()
        labels[:, :-4] = IGNORE
    with torch.no_grad():
        found, expected = case.model(**ours, labels=labels).loss, case.stock(**stock, labels=labels).loss
    assert abs(found.item() - expected.item()) < 1e-5


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_row_alone_is_a_row_in_a_padded_batch(case: Case, side: str) -> None:
    labels = torch.tensor([[5, 9, 11, 1]] * 3) if case.model.layout == "seq2seq" else None
    inputs = case.inputs(PICTURES, PROMPTS, side)
    together = logits_of(case.model, inputs, labels)
    for row in range(3):
        alone = logits_of(
            case.model,
            case.inputs(PICTURES[row : row + 1], PROMPTS[row : row + 1]),
            None if labels is None else labels[:1],
        )[0]
        own = together[row] if labels is not None else together[row][inputs["attention_mask"][row].bool()]
        torch.testing.assert_close(own, alone, atol=5e-4, rtol=0)


def test_a_prompt_may_be_absent(case: Case) -> None:
    """Stock raises for mT5 (no BOS to start from)."""
    example = Example("one", (Message("user", (ImageSlot(0),)),), "deu_Latn", (ImageRef("a", data=b""),))
    sample = render(example, case.processor.spec(), complete=True)
    with torch.no_grad():
        features = case.model.encode_images(case.processor.pixel_values(PICTURES[:1]))
    row = Row("one", sample, features, Decoding(max_new_tokens=4))
    assert len(Decoder(case.model, case.processor).run([row])["one"].ids) == 4


def test_features_of_two_pictures_stand_one_after_the_other(case: Case) -> None:
    """As mBLIP shows MaRVL's pairs."""
    images = (ImageRef("a", data=b""), ImageRef("b", data=b""))
    example = Example("one", (Message("user", (ImageSlot(0), ImageSlot(1), "dog")),), "deu_Latn", images)
    sample = render(example, case.processor.spec(), complete=True)
    ids = torch.tensor([sample.ids])
    pixels = case.processor.pixel_values(PICTURES[:2])
    with torch.no_grad():
        embeddings = case.model.embed(
            ids,
            torch.ones_like(ids),
            pixel_values=pixels,
            slot_image=torch.tensor([0, 1]),
            slot_row=torch.tensor([0, 0]),
        )
        tokens = case.model.image_tokens(case.model.encode_images(pixels))
    at = ids[0] == case.model.config.image_token_id
    torch.testing.assert_close(embeddings[0, at], tokens.flatten(0, 1))


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("llm", ["mt5", "bloom"])
def test_mblip_of_2023_gives_the_numbers_of_the_same_model_in_todays_format(llm: str, tmp_path: Path) -> None:
    legacy_mblip(tmp_path, llm)
    old, _ = load_model(str(tmp_path), device="cpu")
    new, _ = load_model(str(tmp_path / "stock"), device="cpu")
    theirs = new.state_dict()
    assert set(theirs) == set(old.state_dict())
    assert all(torch.equal(value, theirs[name]) for name, value in old.state_dict().items())
    assert old.layout == new.layout == ("seq2seq" if llm == "mt5" else "causal")
    assert len(old.config.languages) == 96
    assert old.config.image_first


def test_a_head_of_its_own_stays_one_though_the_config_says_tied(tmp_path: Path) -> None:
    legacy_mblip(tmp_path / "old", "mt5")
    model, processor = load_model(str(tmp_path / "old"), device="cpu")
    llm = model.language_model
    assert llm.config.tie_word_embeddings
    assert not torch.equal(llm.lm_head.weight, llm.shared.weight)
    model.save_pretrained(tmp_path / "ours")
    processor.save_pretrained(tmp_path / "ours")
    again, _ = load_model(str(tmp_path / "ours"), device="cpu")
    assert torch.equal(again.language_model.lm_head.weight, llm.lm_head.weight)
    assert torch.equal(again.language_model.shared.weight, llm.shared.weight)


def test_embeddings_are_in_memory_once(tmp_path: Path) -> None:
    legacy_mblip(tmp_path, "mt5")
    llm = load_model(str(tmp_path), device="cpu")[0].language_model
    assert llm.encoder.embed_tokens.weight is llm.decoder.embed_tokens.weight is llm.shared.weight


def test_what_became_of_the_tensors_is_said_by_name(tmp_path: Path) -> None:
    legacy_mblip(tmp_path, "mt5")
    model, _ = load_model(str(tmp_path), device="cpu")
    assert model.load_report is not None
    said = "\n".join(model.load_report.lines())
    assert "read as blip2" in said
    assert "vision_model.embeddings.position_ids" in said
    assert "language_model.encoder.embed_tokens.weight" in said
    assert "head has weights of its own" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("qformer.layernorm.bias"), "missing: connector.qformer.layernorm.bias"),
        (lambda state: state.update({"itm_head.weight": torch.zeros(2, 24)}), "itm_head.weight"),
        (lambda state: state.update({"qformer.extra": torch.zeros(2)}), "unexpected: connector.qformer.extra"),
        (
            lambda state: state.update({"query_tokens": torch.zeros(1, QUERIES + 1, 24)}),
            r"connector\.queries is \[1, 6, 24\] there, \[1, 5, 24\] here",
        ),
    ],
    ids=["missing", "of no part", "unexpected", "of another shape"],
)
def test_a_tensor_too_few_or_too_many_is_an_error(change: Any, said: str, tmp_path: Path) -> None:
    stock_blip2(tmp_path, "mt5")
    state = load_file(tmp_path / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=said):
        VisionLanguageModel.from_pretrained(tmp_path)


def test_embeddings_that_differ_where_the_model_has_one_tensor_are_an_error(tmp_path: Path) -> None:
    legacy_mblip(tmp_path, "mt5", shards=1)
    file = tmp_path / "pytorch_model-00001-of-00001.bin"
    state = torch.load(file, weights_only=True)
    state["language_model.decoder.embed_tokens.weight"] += 1
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=r"decoder\.embed_tokens\.weight"):
        VisionLanguageModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("layer_norm_eps", 1e-5, "layer_norm_eps"), ("use_qformer_text_input", True, "use_qformer_text_input")],
)
def test_a_qformer_that_ours_cant_be_is_refused(key: str, value: Any, said: str, tmp_path: Path) -> None:
    stock_blip2(tmp_path, "mt5")
    path = tmp_path / "config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["qformer_config"][key] = value
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(CheckpointError, match=said):
        load_model(str(tmp_path), device="cpu")


def test_a_chat_template_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    stock_llava(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("{% for m in messages %}[[{{ m['role'] }}]]{% endfor %}")
    with pytest.raises(Exception, match="chat template"):
        load_model(str(tmp_path), device="cpu")


def test_the_template_of_llava_follows_from_its_chat_template(tmp_path: Path) -> None:
    stock_llava(tmp_path)
    model, processor = load_model(str(tmp_path), device="cpu")
    assert model.config.template == processor.template == "vicuna"


def test_the_connector_can_stay_in_float32(tmp_path: Path) -> None:
    stock = stock_blip2(tmp_path, "mt5")
    model, processor = load_model(str(tmp_path), device="cpu", dtype="bf16", fp32_parts=("connector",))
    assert model.language_model.shared.weight.dtype == torch.bfloat16
    assert torch.equal(model.connector.queries, stock.query_tokens)
    with torch.no_grad():
        features = model.encode_images(processor.pixel_values(PICTURES[:1]))
        assert model.image_tokens(features).dtype == torch.float32
    row = Row("one", _plain(processor), features, Decoding())
    assert Decoder(model, processor).run([row])["one"].ids


def _plain(processor: Any) -> Sample:
    example = Example("one", (Message("user", (ImageSlot(0), "dog")),), "deu_Latn", (ImageRef("a", data=b""),))
    return render(example, processor.spec(), complete=True)


def test_the_card_of_mblips_release_is_the_languages_that_it_was_trained_in(tmp_path: Path) -> None:
    legacy_mblip(tmp_path, "mt5")
    assert len(card_languages(str(tmp_path)) or ()) == 96
    assert card_languages(str(tmp_path / "stock")) == ()


def test_a_family_without_sdpa_attends_in_its_own_way(tmp_path: Path) -> None:
    """BLOOM; its encoder and Q-Former still take PyTorch's attention."""
    legacy_mblip(tmp_path, "bloom")
    model, _ = load_model(str(tmp_path), device="cpu")
    assert model.language_model.config._attn_implementation == "eager"
    assert model.vision.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("make", [stock_blip2, legacy_mblip, stock_llava])
def test_a_config_that_states_no_number_format_is_read_in_that_of_the_weights(make: Any, tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "config.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    for one in (raw, raw["text_config"], raw["vision_config"]):
        one.pop("dtype", None)
        one.pop("torch_dtype", None)
    path.write_text(json.dumps(raw), encoding="utf-8")
    model, _ = load_model(str(tmp_path), device="cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_tokenizer_of_2023_does_what_its_file_says(tmp_path: Path) -> None:
    """Today's T5 class builds another from the vocabulary: without byte fallback, with another normaliser."""
    legacy_mblip(tmp_path, "mt5")
    _, processor = load_model(str(tmp_path), device="cpu")
    text = "ＡＢＣ　① dog "
    written = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert processor.spec().encode(text) == written.encode(text, add_special_tokens=False).ids


def test_a_chat_template_of_strings_is_understood(tmp_path: Path) -> None:
    stock_llava(tmp_path)
    template = "{% for m in messages %}{{ 'USER: ' + m['content'] + ' ' }}{% endfor %}ASSISTANT:"
    (tmp_path / "chat_template.jinja").write_text(template, encoding="utf-8")
    _, processor = load_model(str(tmp_path), device="cpu")
    assert processor.template == "vicuna"


def test_options_of_the_hub_are_refused_rather_than_ignored(tmp_path: Path) -> None:
    stock_blip2(tmp_path)
    with pytest.raises(CheckpointError, match="revision"):
        VisionLanguageModel.from_pretrained(tmp_path, revision="v1-arxiv")
    with pytest.raises(UnknownNameError, match="language"):
        VisionLanguageModel.from_pretrained(tmp_path, fp32_parts=("language",))


def test_our_own_folders_must_be_whole_too(tmp_path: Path) -> None:
    built = build_tiny()
    built.model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["foo.bar"] = state.pop("connector.projection.weight")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"missing: connector\.projection\.weight"):
        VisionLanguageModel.from_pretrained(tmp_path)


def test_without_a_network_nothing_is_assumed_of_preprocessing(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, name: str) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(weights, "hf_hub_download", download)
    assert weights.fetch("someone/model", "tokenizer.json") is None
    with pytest.raises(CheckpointError, match="without a network"):
        load_image_processor("someone/model", 224)


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (OSError("no route"), r"the hub can't be reached \(no route\)"),
        (RepositoryNotFoundError("404", response=Response(404, request=Request("HEAD", "http://hub"))), "has none"),
    ],
)
def test_a_model_that_is_nowhere_is_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, said: str
) -> None:
    asked: list[str] = []

    def head(url: str) -> None:
        asked.append(url)
        raise raised

    monkeypatch.setattr(weights, "get_hf_file_metadata", head)
    monkeypatch.setattr(weights, "hf_hub_download", lambda *_: pytest.fail("asked again"))
    with pytest.raises(CheckpointError, match=f"there is no folder and no run of that name, and .*{said}"):
        load_model("runs/mine")
    assert len(asked) == 1


def test_a_model_that_is_nowhere_is_said_to_be_so_in_offline_mode() -> None:
    with pytest.raises(CheckpointError, match="'runs/mine': there is no folder and no run of that name"):
        load_model("runs/mine")

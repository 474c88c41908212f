"""The fresh process of the gate: it loads an exported folder as its users do and answers what it is asked.

It runs as a file (`python gate.py PROBE`), so that it has nothing of Visiglot's in memory: importing the package would
register its classes with transformers. It imports Visiglot only where Visiglot's own class is what users load.

PROBE is a folder: `probe.json` says what is asked, `pictures/` are shown. It gets `answers.safetensors` (for case i:
ids.i [L], pixels.i [3, H, W], logits.i [T, V], greedy.i [n]) and `answers.json`.

Shapes: L tokens, T tokens of the answer that is read along, n new tokens, V vocabulary.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

PROBE, PICTURES, TENSORS, REPORT = "probe.json", "pictures", "answers.safetensors", "answers.json"


# --- how a question is put -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """One way to ask about a picture.

    Args:
        text: (words before the picture, words after it, the placeholder, tokens a picture) -> the text that is
            written; None where the form has no place for words before the picture.
        inputs: (processor, picture, text) -> what the model reads: input_ids, attention_mask, pixel_values.
        code: Python lines that do the same, for the model card; {text} is the text as Python writes it.
    """

    text: Callable[[str, str, str, int], str | None]
    inputs: Callable[[Any, Any, str], Mapping[str, Any]]
    code: tuple[str, ...]


def _together(processor: Any, picture: Any, text: str) -> Mapping[str, Any]:
    return _read(processor(images=picture, text=text, return_tensors="pt"))


def _apart(processor: Any, picture: Any, text: str) -> Mapping[str, Any]:
    words = processor.tokenizer(text, return_tensors="pt")
    return _read({**words, "pixel_values": processor(images=picture, return_tensors="pt")["pixel_values"]})


def _read(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: inputs[key] for key in ("input_ids", "attention_mask", "pixel_values")}


_TOGETHER = ('inputs = processor(images=picture, text={text}, return_tensors="pt")',)
_APART = (
    'inputs = processor.tokenizer({text}, return_tensors="pt")',
    'inputs["pixel_values"] = processor(images=picture, return_tensors="pt")["pixel_values"]',
)
FORMS: Mapping[str, Form] = {
    "picture first": Form(lambda before, after, token, count: None if before else after, _together, _TOGETHER),
    "picture in place": Form(lambda before, after, token, count: f"{before}{token * count}{after}", _apart, _APART),
    "placeholder": Form(lambda before, after, token, count: f"{before}{token}{after}", _together, _TOGETHER),
}
"""By name. BLIP-2's processor puts a picture's tokens before the text; or they are written where they belong."""


# --- the models ------------------------------------------------------------------------------------------------------


class Stock:
    """A model of transformers."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model = model
        text = model.config.text_config
        self.seq2seq = bool(text.is_encoder_decoder)
        self.start = text.to_dict().get("decoder_start_token_id")

    def logits(self, inputs: Mapping[str, Any], answer: Any) -> Any:
        """[T, V] after the prompt and after each of the answer's tokens [T] but the last."""
        import torch

        if self.seq2seq:
            decoder = torch.cat([torch.tensor([self.start]), answer[:-1]])[None]
            return self.model(**inputs, decoder_input_ids=decoder).logits[0]
        ids = torch.cat([inputs["input_ids"], answer[None, :-1]], dim=1)
        seen = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": inputs["pixel_values"]}
        return self.model(**seen).logits[0, inputs["input_ids"].shape[1] - 1 :]

    def greedy(self, inputs: Mapping[str, Any], new_tokens: int) -> Any:
        """[n] the likeliest tokens, one after the other, as `generate` finds them."""
        ids = self.model.generate(
            **inputs, max_new_tokens=new_tokens, do_sample=False, num_beams=1, repetition_penalty=1.0
        )[0]
        return ids[1:] if self.seq2seq else ids[inputs["input_ids"].shape[1] :]


class Own:
    """A model of Visiglot's own class, read and decoded by its own code."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model = model
        self.processor = processor

    def logits(self, inputs: Mapping[str, Any], answer: Any) -> Any:
        """As `Stock.logits`."""
        from visiglot.export.probe import logits_along

        return logits_along(self.model, inputs["input_ids"][0].tolist(), answer.tolist(), inputs["pixel_values"][0])

    def greedy(self, inputs: Mapping[str, Any], new_tokens: int) -> Any:
        """As `Stock.greedy`."""
        from visiglot.export.probe import greedy_answer

        return greedy_answer(self.model, self.processor, inputs, new_tokens)


# --- the process -----------------------------------------------------------------------------------------------------


def answer(folder: Path, probe: Path) -> None:
    """Answer every case of a probe with the model in `folder`."""
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    asked = json.loads((probe / PROBE).read_text(encoding="utf-8"))
    library = import_module(asked["module"])
    processor = getattr(library, asked["processor_class"]).from_pretrained(folder)
    model, loading = getattr(library, asked["model_class"]).from_pretrained(folder, output_loading_info=True)
    reader = (Stock if asked["module"] == "transformers" else Own)(model.eval(), processor)
    found = {}
    with torch.inference_mode():
        for number, case in enumerate(asked["cases"]):
            with Image.open(probe / PICTURES / case["picture"]) as picture:
                inputs = dict(FORMS[case["form"]].inputs(processor, picture.convert("RGB"), case["text"]))
            found[f"ids.{number}"] = inputs["input_ids"][0]
            found[f"pixels.{number}"] = inputs["pixel_values"][0].float()
            inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
            found[f"logits.{number}"] = reader.logits(inputs, torch.tensor(case["answer"])).float()
            found[f"greedy.{number}"] = reader.greedy(inputs, case["new_tokens"])
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, probe / TENSORS)
    report = {
        "missing": sorted(loading["missing_keys"]),
        "unexpected": sorted(loading["unexpected_keys"]),
        "visiglot": "visiglot" in sys.modules,
    }
    (probe / REPORT).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    answer(Path(sys.argv[1]), Path(sys.argv[2]))

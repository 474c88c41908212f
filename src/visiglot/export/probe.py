"""What an exported model is asked, and what ours answers: pictures, prompts in several languages.

The same questions go to the fresh process (`visiglot.export.gate`), as the stock processor takes them.

Shapes: L tokens, T tokens of an answer, V vocabulary, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from visiglot.data.nano.prompts import caption_prompt
from visiglot.errors import ModelError
from visiglot.export.gate import FORMS
from visiglot.export.targets import Target
from visiglot.images import load_image
from visiglot.languages import ENGLISH, language
from visiglot.models import language_model as lm
from visiglot.models.decode import Decoder, Decoding, Row
from visiglot.models.vlm import VisionLanguageModel
from visiglot.prompts import placing_of, with_images
from visiglot.render import render
from visiglot.types import Example, ImageRef, ImageSlot, Message, Placing, Sample, VisionFeatures

LANGUAGES = 3
"""How many the prompts are in."""
NEW_TOKENS = 12
SIDE = 192
"""Height of the wide picture, in pixels."""
SIDE_BY_SIDE = ("castle", "elephant", "pizza")
DEFAULT_LANGUAGES = (ENGLISH, "deu_Latn", "swh_Latn")
"""Where a model's card names none."""


@dataclass(frozen=True)
class Case:
    """One question and our answer.

    Args:
        picture: name of the file.
        form: name of the way in which the stock processor is asked.
        words: of the user's turn, before and after the picture.
        text: what the stock processor is given.
        sample: the prompt as our `render` writes it; its ids are [L].
        answer: token ids [T], greedy.
        logits: [T, V], float32, after the prompt and after each token of the answer but the last.
    """

    picture: str
    form: str
    words: tuple[str, str]
    text: str
    sample: Sample
    answer: tuple[int, ...]
    logits: Tensor


@dataclass(frozen=True)
class Probe:
    """All questions, and what our model reads of the pictures: [3, H, W] by name, float32."""

    cases: tuple[Case, ...]
    pixels: Mapping[str, Tensor]

    @property
    def forms(self) -> tuple[str, ...]:
        """The ways in which it is asked, first to last."""
        return tuple(dict.fromkeys(case.form for case in self.cases))


def example_pictures() -> list[Path]:
    """Two of the drawings that come with the package; they are square."""
    return [_drawing(name) for name in ("bicycle", "penguin")]


def wide_picture(folder: Path) -> Path:
    """Write a picture, three times as wide as high: drawings of the package side by side on a smooth gradient.

    Where pictures are cropped and where they are squeezed it becomes something else, which a square one doesn't.
    """
    across, down = np.meshgrid(np.linspace(0, 1, 3 * SIDE), np.linspace(0, 1, SIDE))
    gradient = np.stack([across, down, 1 - (across + down) / 2], axis=-1)
    wide = Image.fromarray((gradient * 255).round().astype(np.uint8))
    for place, name in enumerate(SIDE_BY_SIDE):
        drawing = load_image(ImageRef(name, path=_drawing(name))).resize((SIDE // 2, SIDE // 2))
        wide.paste(drawing, (place * SIDE + SIDE // 4, SIDE // 4))
    path = folder / "wide.png"
    wide.save(path)
    return path


def _drawing(name: str) -> Path:
    return Path(str(resources.files("visiglot"))) / "nano" / "examples" / f"{name}.png"


@torch.inference_mode()
def build_probe(
    model: VisionLanguageModel, processor: Any, target: Target, stock_processor: Any, pictures: Sequence[Path]
) -> Probe:
    """Ask our model, in every way in which the stock processor writes the very tokens that our prompts have.

    Raises:
        ModelError: it writes other tokens, whichever way it is asked; or the model doesn't see pictures.
        VisiglotError: the model can't be asked about a picture.
    """
    shown = {path.name: load_image(ImageRef(path.name, path=path)) for path in pictures}
    pixels = {name: processor.pixel_values([picture])[0] for name, picture in shown.items()}
    features = {name: model.encode_images(values[None].to(model.device)) for name, values in pixels.items()}
    spec, placing = processor.spec(), placing_of(model.config, processor)
    cases: list[Case] = []
    fits, unlike = [], []
    for form in target.forms:
        questions = list(_questions(model.config, placing, target, spec, form, list(shown)))
        problems = [
            said
            for name, _, text, sample in questions
            if (said := _other_ids(stock_processor, form, shown[name], text, sample, processor.tokenizer))
        ]
        unlike += problems[:1]
        if questions and not problems:
            fits.append(questions)
            for name, words, text, sample in questions:
                answer = _greedy(model, processor, sample, features[name])
                _refuse_placeholder(spec, text, answer)
                logits = logits_along(model, sample.ids, answer, pixels[name])
                cases.append(Case(name, form, words, text, sample, answer, logits))
    if not fits:
        raise ModelError(
            f"{target.processor_class} writes other tokens than the model's prompts have: {'; '.join(unlike)}",
            hint="`--to visiglot` keeps the model's own prompts.",
        )
    _refuse_blind(cases)
    return Probe(tuple(cases), pixels)


def words_around(placing: Placing, prompt: str, code: str) -> tuple[str, str]:
    """The words of a prompt before and after its picture, for a language."""
    row = language(code)
    words = prompt.replace("{language}", row.name).replace("{native}", row.native)
    content = with_images(words, 1, placing)
    place = next(place for place, part in enumerate(content) if isinstance(part, ImageSlot))
    return "".join(map(str, content[:place])), "".join(map(str, content[place + 1 :]))


def _questions(
    config: Any, placing: Placing, target: Target, spec: Any, form: str, pictures: Sequence[str]
) -> Iterable[tuple[str, tuple[str, str], str, Sample]]:
    """(picture, words, text for the stock processor, our prompt): all pictures with one prompt, then more languages."""
    codes = _codes(config)
    prompts = [(caption_prompt(config), code) for code in codes] + [("{native}: {image}", code) for code in codes]
    asked = [(prompts[0], name) for name in pictures]
    asked += [(prompt, pictures[place % len(pictures)]) for place, prompt in enumerate(prompts[1:])]
    for (prompt, code), name in asked:
        words = words_around(placing, prompt, code)
        text = written(target, form, spec, words)
        if text is None:  # the form has no place for words before a picture: they stand behind it
            words = ("", words[0] + words[1])
            text = written(target, form, spec, words)
        if text is not None:
            yield name, words, text, prompt_of(words, spec)


def written(target: Target, form: str, spec: Any, words: tuple[str, str]) -> str | None:
    """A user's turn as the stock processor is given it; None when the form has no place for its words."""
    around = target.words(spec.template, *words)
    return FORMS[form].text(*around, spec.image_token, spec.tokens_per_image)


def _codes(config: Any) -> tuple[str, ...]:
    """A few of the model's languages."""
    codes = tuple(config.languages) or DEFAULT_LANGUAGES
    return codes[:: max(1, len(codes) // LANGUAGES)][:LANGUAGES]


def prompt_of(words: tuple[str, str], spec: Any) -> Sample:
    """A user's turn about one picture, rendered. Raises PromptError."""
    content = tuple(part for part in (words[0], ImageSlot(0), words[1]) if part != "")
    picture = ImageRef("picture", data=b"")
    return render(Example("probe", (Message("user", content),), ENGLISH, (picture,)), spec, complete=True)


def _refuse_placeholder(spec: Any, text: str, answer: Sequence[int]) -> None:
    """Raise ModelError for an answer with the placeholder in it, which stands for pictures and is never to be said."""
    if spec.image_token_id in answer:
        raise ModelError(
            f"asked {text[-40:]!r}, the model says {spec.image_token}, which stands for pictures",
            hint="Its language model was trained to say it, or its head has random numbers there.",
        )


def _refuse_blind(cases: Sequence[Case]) -> None:
    """Raise ModelError when the first two questions, the same about two pictures, get the same logits."""
    first, second = (case.logits[0] for case in cases[:2])
    if torch.equal(first, second):
        raise ModelError(
            f"the model sees no picture: {cases[0].text[-40:]!r} gets the same logits about two of them",
            hint="Its connector says nothing, or so little that the number format loses it: try --dtype fp32.",
        )


def _other_ids(processor: Any, form: str, picture: Any, text: str, sample: Sample, tokenizer: Any) -> str | None:
    """How the stock processor's tokens differ from our prompt's; None when they don't."""
    found = FORMS[form].inputs(processor, picture, text)["input_ids"][0].tolist()
    if found == list(sample.ids):
        return None
    place = next((i for i, (a, b) in enumerate(zip(found, sample.ids)) if a != b), min(len(found), len(sample.ids)))

    def near(ids: Sequence[int]) -> str:
        return " ".join(map(str, tokenizer.convert_ids_to_tokens(list(ids[place : place + 4])))) or "its end"

    return f"{text[-40:]!r} ({form}) has {near(found)} at token {place}, ours {near(sample.ids)}"


@torch.inference_mode()
def least_likely(model: VisionLanguageModel, processor: Any) -> int:
    """The token whose logit stays lowest in the answers to a few prompts about a picture."""
    (path, *_), spec, config = example_pictures(), processor.spec(), model.config
    placing = placing_of(config, processor)
    pixels = processor.pixel_values([load_image(ImageRef(path.name, path=path))])
    features = model.encode_images(pixels.to(model.device))
    highest: list[Tensor] = []
    for code in _codes(config):
        sample = prompt_of(words_around(placing, caption_prompt(config), code), spec)
        answer = _greedy(model, processor, sample, features)
        highest.append(logits_along(model, sample.ids, answer, pixels[0]).amax(0))
    return int(torch.stack(highest).amax(0).argmin())


# --- our answers -----------------------------------------------------------------------------------------------------


@torch.inference_mode()
def logits_along(model: VisionLanguageModel, ids: Sequence[int], answer: Sequence[int], pixels: Tensor) -> Tensor:
    """Logits [T, V], float32, after a prompt [L] and after each token of an answer [T] but the last.

    Args:
        pixels: of its picture, [3, H, W].
    """
    prompt, read = torch.tensor([ids], device=model.device), torch.tensor([answer], device=model.device)
    shown = pixels[None].to(model.device)
    if model.layout == "seq2seq":
        start = torch.full((1, 1), lm.start_token(model.language_model), device=model.device)
        decoder = torch.cat([start, read[:, :-1]], dim=1)
        logits: Tensor = model(prompt, pixel_values=shown, decoder_input_ids=decoder).logits[0]
        return logits.float()
    whole = torch.cat([prompt, read[:, :-1]], dim=1)
    is_prompt = torch.arange(whole.shape[1], device=model.device)[None] < prompt.shape[1]
    logits = model(whole, pixel_values=shown, prompt_mask=is_prompt).logits[0, prompt.shape[1] - 1 :]
    return logits.float()


def _greedy(model: VisionLanguageModel, processor: Any, sample: Sample, features: VisionFeatures) -> tuple[int, ...]:
    row = Row("probe", sample, features, Decoding(max_new_tokens=NEW_TOKENS))
    return tuple(Decoder(model, processor).run([row])["probe"].ids)


@torch.inference_mode()
def greedy_answer(model: VisionLanguageModel, processor: Any, inputs: Mapping[str, Any], new_tokens: int) -> Tensor:
    """[T] greedy token ids for what our processor made of a prompt and its picture."""
    ids = tuple(inputs["input_ids"][0].tolist())
    sample = Sample("probe", ids, (), (ImageRef("picture", data=b""),), ENGLISH)
    row = Row("probe", sample, model.encode_images(inputs["pixel_values"]), Decoding(max_new_tokens=new_tokens))
    return torch.tensor(Decoder(model, processor).run([row])["probe"].ids)

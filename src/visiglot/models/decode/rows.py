"""What goes into the decoder and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from visiglot.errors import ConfigError
from visiglot.types import Sample, VisionFeatures

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How one row is decoded. The names mean what they mean in `transformers`' GenerationConfig.

    Args:
        max_new_tokens: tokens after which the answer is cut (finish "length").
        min_new_tokens: the answer can't end before it has this many.
        beams: 1 is greedy search or sampling.
        length_penalty: beam scores are divided by length ** length_penalty; above 0 favours long answers.
        repetition_penalty: 1 is none (Keskar et al., 2019, arXiv 1909.05858).
        penalize_prompt: the repetition penalty also counts the prompt's ids, image tokens included. Causal LLMs only;
            this is what `generate` does when it gets `input_ids` beside the embeddings.
        temperature: 0 takes the likeliest token; above 0 samples.
        top_p: sample from the likeliest tokens that together have this probability (Holtzman et al., 2020).
        top_k: sample from this many likeliest tokens; 0 is all.
        seed: of the row's own generator, so that an answer doesn't depend on its batch mates.

    Raises:
        ConfigError: with every value that is out of range.
    """

    max_new_tokens: int = 32
    min_new_tokens: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    penalize_prompt: bool = False
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        checks = (
            (self.max_new_tokens >= 1, f"max_new_tokens: must be at least 1, found {self.max_new_tokens}"),
            (
                0 <= self.min_new_tokens <= max(self.max_new_tokens, 0),
                f"min_new_tokens: must lie between 0 and max_new_tokens, found {self.min_new_tokens}",
            ),
            (self.beams >= 1, f"beams: must be at least 1, found {self.beams}"),
            (self.repetition_penalty > 0, f"repetition_penalty: must be above 0, found {self.repetition_penalty}"),
            (self.temperature >= 0, f"temperature: must not be negative, found {self.temperature}"),
            (0 < self.top_p <= 1, f"top_p: must lie above 0 and at most at 1, found {self.top_p}"),
            (self.top_k >= 0, f"top_k: must not be negative, found {self.top_k}"),
            (
                self.beams == 1 or self.temperature == 0,
                f"temperature: {self.temperature} samples, which {self.beams} beams can't; set one of them back",
            ),
        )
        problems = [problem for right, problem in checks if not right]
        if problems:
            raise ConfigError("decoding", problems)


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt to be answered.

    Args:
        key: the row's name among the rows in flight.
        sample: rendered for completion.
        features: of the row's images, [n, N, Dv] in slot order; None for a text-only row. Rows that show the same
            pictures share one object, which is then embedded once.
        decoding: the row's own settings.
        alternatives: of each new token, how many of the likeliest are told beside it; not with beams.
    """

    key: str
    sample: Sample
    features: VisionFeatures | None = None
    decoding: Decoding = Decoding()
    alternatives: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """What a step did to a row.

    Args:
        key: the row.
        token_ids: the tokens that are now certain: one for greedy search and sampling; with beams none until the
            row finishes, then all.
        finished: why the row ended, None while it goes on. A finished row has left the decoder.
        score: greedy and sampling: sum of the tokens' log-probabilities under the model's own distribution (before
            penalties and temperature). Beams: the winner's penalised score, 0 until the row finishes.
        alternatives: the likeliest tokens at the place of the new one, likeliest first, each with its log-probability
            under that same distribution; as many as the row asks for.
    """

    key: str
    token_ids: tuple[int, ...]
    finished: Finish | None
    score: float
    alternatives: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished row.

    Args:
        ids: the new tokens, the one that ended the answer included.
        text: the ids decoded without special tokens and white space at the ends.
        score: as in Event.
        finish: "stop" when the model ended the answer, "length" when it was cut.
    """

    ids: tuple[int, ...]
    text: str
    score: float
    finish: Finish

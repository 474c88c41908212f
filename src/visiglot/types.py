"""The frozen objects that pass between rooms.

Shapes in this file and everywhere else:
    I pictures in a batch (each once), S image slots (a picture standing at a place in a row), R rows, N patches,
    K image tokens that stand for one picture, L tokens of a row, T target tokens, D LLM width, Dv vision width,
    V vocabulary.
"""

from __future__ import annotations

import errno
import hashlib
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["system", "user", "assistant"]
Layout = Literal["causal", "seq2seq"]
OnBad = Literal["error", "skip"]
"""What a row or a picture that can't be used does: end the work, or be left out and counted."""

IGNORE = -100
"""The label of a token that isn't supervised (PyTorch's and transformers' convention)."""

MAX_IMAGE_BYTES = 64 * 2**20
"""Encoded bytes that a picture's file may have to be read at all."""


@dataclass(frozen=True)
class ImageRef:
    """Where a picture's bytes are. Exactly one of `path` and `data` is set; `name` is what an error calls it."""

    name: str
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)

    def read(self) -> bytes:
        """The encoded bytes. Raises OSError when the file can't be read."""
        if self.data is not None:
            return self.data
        assert self.path is not None
        return self.path.read_bytes()

    @cached_property
    def key(self) -> str:
        """SHA-256 of the encoded bytes: the picture's name in caches.

        A file is hashed once a process as long as its size and time of change stay. Raises OSError when it can't be
        read, is no regular file, or has more than MAX_IMAGE_BYTES (it isn't read then).
        """
        if self.data is not None:
            return hashlib.sha256(self.data).hexdigest()
        assert self.path is not None
        status = self.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a file", str(self.path))
        if status.st_size > MAX_IMAGE_BYTES:
            raise OSError(errno.EFBIG, f"{status.st_size:,} bytes, the limit is {MAX_IMAGE_BYTES:,}", str(self.path))
        return _file_key(self.path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2**17)
def _file_key(path: Path, size: int, changed_ns: int) -> str:
    """SHA-256 of a file that is told from its later versions by size and time of change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class ImageSlot:
    """A place in a message where a picture stands: `index` into the example's `images`."""

    index: int


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: text pieces and image slots in their order.

    Args:
        unlearned: characters of an assistant's text, from its beginning, that are read but not learned.
    """

    role: Role
    content: tuple[str | ImageSlot, ...]
    unlearned: int = 0

    @property
    def text(self) -> str:
        return "".join(part for part in self.content if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an example comes from: kept with every row from the source to the result file."""

    source: str
    licence: str
    engine: str | None = None
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One unit of data, whatever file it came from.

    Args:
        id: unique in its source.
        images: the pictures, in the order the slots count them; may be empty.
        messages: the turns. The last one is the assistant's when the example is for training.
        language: FLORES-200 code of the answer (the target), or of the prompt when there is no answer.
        references: gold answers, for evaluation.
        task: name of the task ("caption", "matching"); scores and losses are also counted by it.
        group: the unit of resampling in confidence intervals (for the built-in data the concept).
        facts: what the source says before any prompt, by name ("caption", "question", "answer"); tasks write their
            turns from it, and it is what gets translated. Of a translated example "source.question" is the original.
        choices: the answers that there are to choose from, where a question has such: a label set, or the options in
            their order. They can be ranked by likelihood.
        twin: the same pictures and the same answer after a prompt in another language, for objectives that compare.
    """

    id: str
    messages: tuple[Message, ...]
    language: str
    images: tuple[ImageRef, ...] = ()
    references: tuple[str, ...] = ()
    provenance: Provenance | None = None
    task: str = ""
    group: str = ""
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    choices: tuple[str, ...] = ()
    twin: Example | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """How turns become text: what stands before and after each role's words.

    `after["assistant"]` is supervised (the model must learn to stop); everything in `before` is not. `start` stands
    before everything, unless the turns begin with a system turn of their own.
    """

    name: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    start: str = ""


@dataclass(frozen=True, slots=True)
class Placing:
    """How a model reads pictures in a prompt.

    Args:
        first: where one picture stands that the words don't place: before them (as in BLIP-2), or after them. Several
            pictures that they don't place always stand before them.
        gap: what follows each picture that is put first (LLaVA: a line break).
        keeps_space: whether a space before a picture stays, as in models that read a turn and its placeholders as one
            text (LLaVA). Else it goes, since tokenizers join a space to the word behind it.
    """

    first: bool = False
    gap: str = ""
    keeps_space: bool = False


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """All that `render` must know of a model, so that `data` needn't know `models`.

    Args:
        layout: causal (prompt and answer in one sequence) or seq2seq (prompt to the encoder, answer to the decoder).
        encode: text -> token ids, no special tokens added.
        image_token: the placeholder's text; forbidden in ordinary text.
        image_token_id: its id, which fills every position that a picture's token will take.
        tokens_per_image: K.
        prefix_ids: before everything (BOS); suffix_ids: after the prompt (T5's </s> in the encoder).
        end_ids: after the last answer, supervised (EOS).
        max_length: tokens a row may have, image tokens included.
        prefix_after_images: whether the prefix follows the pictures that a prompt begins with.
        placing: where pictures stand that nobody placed.
        encode_around: texts around pictures -> ids of each, where a turn is encoded as a whole; None: each by `encode`.
    """

    layout: Layout
    encode: Callable[[str], list[int]]
    image_token: str
    image_token_id: int
    tokens_per_image: int
    template: Template
    pad_id: int
    prefix_ids: tuple[int, ...] = ()
    suffix_ids: tuple[int, ...] = ()
    end_ids: tuple[int, ...] = ()
    max_length: int = 2048
    prefix_after_images: bool = False
    encode_around: Callable[[Sequence[str]], list[list[int]]] | None = None
    placing: Placing = Placing()


@dataclass(frozen=True, slots=True)
class Sample:
    """A rendered example.

    Args:
        ids: what the LLM reads (causal: the whole sequence; seq2seq: the encoder's input), length L.
        labels: causal: one per id, IGNORE where not supervised; seq2seq: the decoder's target ids, length T.
            Empty when rendered for completion.
        images: the picture of each slot, in the order of the slots in `ids`.
        first_answer: position in `ids` where the first assistant turn's words begin; None when `ids` hold none (a
            prompt of one turn, or the encoder's input for it).
        says_side: whether a text may say left or right, so that the pictures aren't mirrored; looked up in training.
        targets: `labels` with those words of answers, too, that aren't supervised; empty: there are none.
        twin: of the example's twin, if it has one.
    """

    id: str
    ids: tuple[int, ...]
    labels: tuple[int, ...]
    images: tuple[ImageRef, ...]
    language: str
    task: str = ""
    first_answer: int | None = None
    says_side: bool = False
    targets: tuple[int, ...] = ()
    twin: Sample | None = None

    @property
    def prompt_length(self) -> int:
        """How many ids come before the first answer: what a connector may see of the row."""
        return len(self.ids) if self.first_answer is None else self.first_answer

    @property
    def num_targets(self) -> int:
        return sum(label != IGNORE for label in self.labels)


@dataclass(frozen=True)
class VisionFeatures:
    """What a vision encoder says about I pictures, each seen in one view, or as an overview and in m x m tiles.

    Args:
        patches: [I, V N, Dv]: those of the overview, then of the tiles row by row.
        pooled: [I, Dv], the CLS token or the mean over patches, of the overview.
        grid: (rows, columns) of a view's patches when they lie on one, so that rows * columns = N less prefix tokens.
        tiles: m; 1: the picture is seen whole and no more.
        read: whether `patches` are no longer the encoder's but what `Connector.read` made of them.
    """

    patches: Tensor
    pooled: Tensor
    grid: tuple[int, int] | None = None
    tiles: int = 1
    read: bool = False

    @property
    def views(self) -> int:
        """V: how often the encoder looks at a picture."""
        return views_of(self.tiles)

    @property
    def num_patches(self) -> int:
        """N, of one view."""
        return self.patches.shape[1] // self.views

    def like(self, patches: Tensor, pooled: Tensor) -> VisionFeatures:
        """Other numbers of the same encoder."""
        return VisionFeatures(patches, pooled, self.grid, self.tiles, self.read)

    def select(self, index: Tensor) -> VisionFeatures:
        """The features of the pictures in `index` [S], repeated as it says."""
        return self.like(self.patches[index], self.pooled[index])


def views_of(tiles: int) -> int:
    """Views of a picture that is cut into `tiles` x `tiles`: these and the overview, or the picture alone."""
    return 1 if tiles == 1 else 1 + tiles**2


@dataclass(frozen=True)
class TextContext:
    """The prompt as a connector may see it, one entry for each image slot.

    Args:
        embeddings: [S, L, D] word embeddings of the slot's row.
        mask: [S, L] True at the text tokens before the row's first answer (image tokens, padding, answers and all
            later turns are False), so that training and serving, of whichever turn, show a connector the same. For a
            connector that asks for all turns, True at all text tokens that aren't supervised.
        image_index: [S] the picture of each slot, so that one picture may serve many rows.
    """

    embeddings: Tensor
    mask: Tensor
    image_index: Tensor


@dataclass(frozen=True)
class Batch:
    """Padded rows and the pictures they share.

    Args:
        input_ids, attention_mask: [R, L].
        labels: causal [R, L], seq2seq [R, T]; IGNORE where not supervised.
        pixel_values: [I, 3, H, W], each picture once; None when `features` is given or there is no picture.
        features: of the I pictures, from the cache.
        slot_image, slot_row: [S]; slot s shows picture slot_image[s] in row slot_row[s]; slots of a row in text order.
        ids, languages, tasks: of the R rows.
        prompt_mask: [R, L] True at the text tokens before the row's first answer, see `TextContext.mask`. None: all
            text tokens before the first label.
        targets: `labels` with those words of answers, too, that aren't supervised; None: there are none.
        twins: pairs of rows that say the same of the same pictures after prompts in two languages.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    slot_image: Tensor
    slot_row: Tensor
    ids: tuple[str, ...]
    languages: tuple[str, ...]
    tasks: tuple[str, ...]
    pixel_values: Tensor | None = None
    features: VisionFeatures | None = None
    prompt_mask: Tensor | None = None
    targets: Tensor | None = None
    twins: tuple[tuple[int, int], ...] = ()

    @property
    def answers(self) -> Tensor:
        """What is said, IGNORE elsewhere: causal [R, L]; seq2seq [R, T], as the decoder reads it."""
        return self.labels if self.targets is None else self.targets


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer with what is needed to score it. Exactly one of `text` and `error` is None.

    Args:
        facts: what a metric needs beside the answer and the references, by name ("options", "index").
        choices: the answers that there were to choose from, if any.
        likelihoods: of each choice, its log-likelihood in nats, where the choices were ranked; `text` is the likeliest.
    """

    id: str
    image: str
    language: str
    prompt: str
    text: str | None
    error: str | None
    benchmark: str
    split: str
    prompt_set: str
    references: tuple[str, ...]
    model: str
    settings_hash: str
    task: str = ""
    group: str = ""
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    choices: tuple[str, ...] = ()
    likelihoods: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a report: a metric in a language with its interval and what it rests on.

    Args:
        missing: rows with an error. undetermined: answers that the metric can't judge.
        unchecked: whether answers to some questions may be lacking unseen: they were made elsewhere and never held
            against the benchmark's data.
    """

    benchmark: str
    prompt_set: str
    language: str
    metric: str
    tokenisation: str
    n: int
    value: float
    low: float
    high: float
    missing: int = 0
    undetermined: int = 0
    task: str = ""
    unchecked: bool = False

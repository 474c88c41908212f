"""The decoder: rows come and go between steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch

from visiglot.models.decode.choose import choose, start_search
from visiglot.models.decode.flight import Flight
from visiglot.models.decode.prompts import check_row, embed_prompts
from visiglot.models.decode.rows import Answer, Event, Row
from visiglot.models.decode.runner import LanguageModelRunner
from visiglot.models.decode.sharing import distinct_prompts, shared_prefixes
from visiglot.models.decode.text import TextStream, decode_text


class Decoder:
    """Decodes rows that may start and leave at any time; a row's answer doesn't depend on the others.

        decoder = Decoder(model, processor)
        events = decoder.add(rows)          # reads the prompts and takes the first token of each
        while decoder.keys:
            events = decoder.step()         # one more token for every row

    Args:
        model: a VisionLanguageModel in evaluation mode.
        processor: its processor.

    Raises:
        ModelError: the LLM can't be decoded in rows of different ages, or its start or end token isn't known.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self.model = model
        self.processor = processor
        self._runner = LanguageModelRunner(model.language_model, model.layout)
        # the answer ends where the LLM says, and where it was trained to end with this processor
        trained_end = processor.tokenizer.eos_token_id
        self._end_ids = self._runner.end_ids() | ({trained_end} if trained_end is not None else set())
        self._flights: list[Flight] = []

    @property
    def keys(self) -> list[str]:
        """The rows in flight."""
        return [search.key for flight in self._flights for search in flight.searches]

    @torch.inference_mode()
    def add(self, rows: Sequence[Row]) -> list[Event]:
        """Read the prompts of `rows` in one batch, take their first tokens, and let them join the rows in flight.

        What prompts have in common is read once: a causal LLM's keys and values of a beginning that rows share (the
        picture, when it comes first), and what an encoder makes of prompts that are the same.

        Raises:
            PromptError: a row's pictures or length don't fit. No row has joined then.
            ScoresError: the LLM's scores of rows aren't finite. No row has joined then.
        """
        assert not self.model.training, "the model is in training mode: its dropout would disturb the answers"
        keys = [row.key for row in rows]
        assert len({*keys, *self.keys}) == len(keys) + len(self.keys), f"keys must differ: {keys}"
        if not rows:
            return []
        for row in rows:
            check_row(row, self._runner.max_positions, self._runner.layout)
        flight, logits = self._read(rows)
        events, parents = choose(flight.searches, logits)
        flight.keep(parents)
        if flight.searches:
            for other in self._flights:
                if self._runner.mixes_ages or other.length == flight.length:
                    other.join(flight)
                    break
            else:
                self._flights.append(flight)
        return events

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """One more token for every row in flight; rows that finish leave.

        Raises:
            ScoresError: the LLM's scores of rows aren't finite; the decoder can't go on.
        """
        events: list[Event] = []
        for flight in self._flights:
            logits = self._runner.step(flight)
            found, parents = choose(flight.searches, logits)
            events += found
            flight.keep(parents)
        self._flights = [flight for flight in self._flights if flight.searches]
        return events

    @torch.inference_mode()
    def drop(self, keys: Collection[str]) -> None:
        """Let rows leave unfinished. Keys that aren't in flight (any more) are passed over."""
        for flight in self._flights:
            if any(search.key in keys for search in flight.searches):
                flight.keep(
                    [
                        [] if search.key in keys else list(range(width))
                        for search, width in zip(flight.searches, flight.widths)
                    ]
                )
        self._flights = [flight for flight in self._flights if flight.searches]

    def run(self, rows: Sequence[Row]) -> dict[str, Answer]:
        """The answers of `rows`, decoded together in one batch, in their order. The decoder must be empty."""
        assert not self.keys
        collected = Answers(self)
        done = dict(collected.take(self.add(rows)))
        while self.keys:
            done.update(collected.take(self.step()))
        return {row.key: done[row.key] for row in rows}

    def stream(self, row: Row) -> Iterator[str]:
        """The answer of `row` piece by piece, as whole characters; the decoder must be empty. With beams one piece."""
        assert not self.keys
        text = TextStream(self.processor.tokenizer)
        try:
            events = self.add([row])
            while True:
                for event in events:
                    piece = text.push(event.token_ids) + (text.flush() if event.finished else "")
                    if piece:
                        yield piece
                if not self.keys:
                    return
                events = self.step()
        finally:
            self.drop([row.key])

    def _read(self, rows: Sequence[Row]) -> tuple[Flight, torch.Tensor]:
        """`rows` in flight, one sub-row each, and the logits [R, V] of their first token."""
        searches = [start_search(row, self._history(row), self._end_ids) for row in rows]
        pad_id = self.processor.tokenizer.pad_token_id or 0
        if self._runner.layout == "seq2seq":
            distinct, entries = distinct_prompts(rows)
            return self._runner.encode(searches, *embed_prompts(self.model, distinct, "seq2seq", pad_id), entries)
        prefixes = shared_prefixes(rows, reads_prompt=self.model.connector.needs_context)
        return self._runner.prefill(searches, *embed_prompts(self.model, rows, "causal", pad_id), prefixes)

    def _history(self, row: Row) -> tuple[int, ...]:
        """The ids that the repetition penalty counts before there is a new one."""
        if self._runner.start_id is not None:
            return (self._runner.start_id,)
        return row.sample.ids if row.decoding.penalize_prompt else ()


class Answers:
    """Puts the events of a decoder together to answers."""

    def __init__(self, decoder: Decoder) -> None:
        self._tokenizer = decoder.processor.tokenizer
        self._ids: dict[str, list[int]] = {}

    def take(self, events: Sequence[Event]) -> Iterator[tuple[str, Answer]]:
        """The rows that finish with `events`."""
        for event in events:
            ids = self._ids.setdefault(event.key, [])
            ids += event.token_ids
            if event.finished:
                del self._ids[event.key]
                yield event.key, Answer(tuple(ids), decode_text(self._tokenizer, ids), event.score, event.finished)

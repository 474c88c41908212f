"""One decoder for causal and encoder-decoder LLMs; captioning, evaluation and serving only schedule it.

    rows.py       what goes in and comes out: Decoding, Row, Event, Answer
    cache.py      keys and values of rows that start at different times
    flight.py     the rows in flight: prefill, one forward pass, join, select
    choose.py     the next token: greedy, sampling, penalties
    beams.py      beam search
    text.py       token ids to text, whole characters only
    decoder.py    Decoder: add, step, drop, run, stream
    schedule.py   generate: many rows within a token budget

Greedy search and beam search give the tokens of `transformers`' `generate`, which is the oracle in the tests.
"""

from visiglot.models.decode.decoder import Decoder
from visiglot.models.decode.rows import Answer, Decoding, Event, Row
from visiglot.models.decode.schedule import cost, generate
from visiglot.models.decode.text import TextStream

__all__ = ["Answer", "Decoder", "Decoding", "Event", "Row", "TextStream", "cost", "generate"]

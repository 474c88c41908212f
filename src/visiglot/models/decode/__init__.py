"""One decoder for causal and encoder-decoder LLMs; captioning, evaluation and serving only schedule it.

    rows.py       what goes in and comes out: Decoding, Row, Event, Answer
    cache.py      keys and values of rows that start at different times
    sharing.py    what prompts have in common, so that it is read once
    flight.py     the rows in flight: join, keep
    runner.py     forward passes: the prompts, one step
    attention.py  a step's attention over an encoder's keys, which beams share
    choose.py     the next token: greedy, sampling, penalties
    vocabulary.py passes over the scores of a large vocabulary
    beams.py      beam search
    text.py       token ids to text, whole characters only
    decoder.py    Decoder: add, step, drop, run, stream
    packing.py    weights as a CPU's kernels read them
    schedule.py   generate: many rows within a token budget

Greedy search and beam search give the tokens of `transformers`' `generate`, which is the oracle in the tests.
"""

from visiglot.models.decode.decoder import Decoder
from visiglot.models.decode.packing import pack
from visiglot.models.decode.rows import Answer, Decoding, Event, Row
from visiglot.models.decode.schedule import cost, generate
from visiglot.models.decode.text import TextStream

__all__ = ["Answer", "Decoder", "Decoding", "Event", "Row", "TextStream", "cost", "generate", "pack"]

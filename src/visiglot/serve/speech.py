"""What the decoder does to a row, as pieces of its answer."""

from __future__ import annotations

from typing import Any

from visiglot.data.tasks.pivot import shown_part
from visiglot.errors import ServeError
from visiglot.models.decode import Event, TextStream
from visiglot.serve.asks import Ask, Piece, TokenLogprob

CONTEXT = 4
"""Tokens before a token that its text is decoded with: a space or the rest of a character may hang on them."""


class Speech:
    """One answer: events in, pieces out.

    Args:
        ask: what was asked.
        prompt_tokens: of its prompt.
        pivot: the answer begins with the question in English and a pivot (`visiglot.data.tasks.pivot`), and what stands
            behind is all that is given out, looked for stop texts in, and told the tokens of. Where there is no pivot,
            all is given out at the end.
    """

    def __init__(self, tokenizer: Any, ask: Ask, prompt_tokens: int, *, pivot: bool = False) -> None:
        self._tokenizer = tokenizer
        self._wants = ask.logprobs
        self._prompt_tokens = prompt_tokens
        self._pivot = pivot
        self._text = TextStream(tokenizer, ask.stop, shown_part if pivot else None)
        self._ids: list[int] = []
        self._repeated = 0
        self._score = 0.0
        self._told: list[tuple[int, int, TokenLogprob]] = []
        self.routing: tuple[tuple[float, ...], ...] = ()
        """Weights of experts that the next piece tells."""

    @property
    def made(self) -> int:
        """Tokens that were made."""
        return len(self._ids)

    def restart(self) -> None:
        """The row begins anew; what it says again isn't given out again."""
        self._repeated, self._score = 0, 0.0

    def take(self, event: Event) -> Piece | None:
        """The piece that `event` makes certain. One with `finish` is the last, and the row may have to leave then.

        Raises:
            ServeError: a row that began anew doesn't say what it had said.
        """
        likelihood = event.score - self._score
        self._score = event.score
        ids = event.token_ids
        again = self._ids[self._repeated : self._repeated + len(ids)]
        if again:
            if tuple(again) != ids:
                raise ServeError("the answer had to be begun again and took another course", hint="Ask again.")
            self._repeated += len(ids)
            return None
        before = self._text.seen
        text = self._text.push(ids)
        if self._wants is not None and event.finished != "stop":
            self._told.append((before, self._text.seen, self._tell(ids[0], likelihood, event.alternatives)))
        self._ids += ids
        self._repeated = len(self._ids)
        if event.finished:
            text += self._text.flush()
        finish = "stop" if self._text.stopped else event.finished
        if not text and finish is None:
            return None
        told = self._given(whole=finish is not None and not self._text.stopped and not self._pivot)
        routing, self.routing = self.routing, ()
        return Piece(text, finish, self._prompt_tokens, len(self._ids), told, routing)

    def _given(self, *, whole: bool) -> tuple[TokenLogprob, ...]:
        """Of the tokens that weren't told yet, those whose text has begun to be given out."""
        count = sum(1 for start, *_ in self._told if whole or start < self._text.given)
        given, self._told = self._told[:count], self._told[count:]
        begin = self._text.begin
        return tuple(told for start, end, told in given if start >= begin or end > begin)

    def _tell(self, token: int, likelihood: float, alternatives: tuple[tuple[int, float], ...]) -> TokenLogprob:
        top = tuple(TokenLogprob(self._text_of(other), value) for other, value in alternatives)
        return TokenLogprob(self._text_of(token), likelihood, top)

    def _text_of(self, token: int) -> str:
        """What `token` adds to the text; of a special token its name."""
        context = self._ids[-CONTEXT:]
        before, after = self._decode(context), self._decode([*context, token])
        same = next((place for place, (a, b) in enumerate(zip(before, after)) if a != b), min(len(before), len(after)))
        added = after[same:]
        return added or self._decode([token], special=True)

    def _decode(self, ids: list[int], *, special: bool = False) -> str:
        text = self._tokenizer.decode(ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

"""Beam search for one row, as `transformers`' `generate` does it with `early_stopping=False`.

A step looks at the best (1 + number of end tokens) * beams continuations, at least 2 * beams, so that enough of them go
on whatever ends. Those among the best `beams` that end are kept, scored by sum of log-probabilities divided by
length ** length_penalty (Wu et al., 2016, arXiv 1609.08144, in the simple form of `generate`). The search stops when
`beams` answers are kept and the best running beam, scored at its present length, is no better than the worst of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from visiglot.models.decode.rows import Decoding, Event


@dataclass(frozen=True, slots=True)
class Candidate:
    """A continuation: the sum of log-probabilities, the beam it continues and the token it adds."""

    score: float
    parent: int
    token_id: int


@dataclass
class BeamSearch:
    """The beams of one row; it starts as one sub-row and has `decoding.beams` after the first step.

    Args:
        history: ids before the first new token that the repetition penalty counts.
        end_ids: tokens that end an answer.
    """

    key: str
    decoding: Decoding
    history: tuple[int, ...]
    end_ids: frozenset[int]
    running: list[tuple[float, tuple[int, ...]]] = field(default_factory=lambda: [(0.0, ())])
    kept: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """New tokens of each running beam."""
        return len(self.running[0][1])

    @property
    def num_candidates(self) -> int:
        """Continuations that a step looks at."""
        return max(2, 1 + len(self.end_ids)) * self.decoding.beams

    def tokens(self) -> list[tuple[int, ...]]:
        """New ids of each sub-row."""
        return [ids for _, ids in self.running]

    def last_ids(self) -> list[int]:
        """The ids to be fed next, one for each sub-row."""
        return [ids[-1] for _, ids in self.running]

    def advance(self, candidates: list[Candidate]) -> tuple[Event | None, list[int]]:
        """Take one step.

        Args:
            candidates: the best continuations of all beams, best first, `num_candidates` of them or all there are.

        Returns:
            The event, if the row has finished, and the parent of each beam that goes on.
        """
        beams, length = self.decoding.beams, self.length + 1
        before = self.tokens()
        full = length == self.decoding.max_new_tokens
        norm = float(length) ** self.decoding.length_penalty
        goes_on: list[Candidate] = []
        for rank, candidate in enumerate(candidates):
            if not full and candidate.token_id not in self.end_ids:
                goes_on.append(candidate)
            elif rank < beams:
                self.kept.append((candidate.score / norm, (*before[candidate.parent], candidate.token_id)))
        self.kept.sort(key=lambda kept: -kept[0])
        del self.kept[beams:]
        goes_on = goes_on[:beams]
        if full or (len(self.kept) == beams and goes_on[0].score / norm <= self.kept[-1][0]):
            score, ids = self.kept[0]
            return Event(self.key, ids, "stop" if ids[-1] in self.end_ids else "length", score), []
        assert len(goes_on) == beams, "fewer continuations than beams: the vocabulary is too small"
        self.running = [(candidate.score, (*before[candidate.parent], candidate.token_id)) for candidate in goes_on]
        return None, [candidate.parent for candidate in goes_on]

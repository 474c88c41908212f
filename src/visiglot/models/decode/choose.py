"""The next token of every row.

Shapes: B sub-rows (a row has one, with beams several, next to each other), V vocabulary.

A vocabulary may have 250k entries, so the scores are gone through a few rows at a time, which then stay in the
processor's cache; penalties touch the few ids that they are about, and truncated sampling looks at its candidates only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from visiglot.errors import ScoresError
from visiglot.models.decode.beams import BeamSearch, Candidate
from visiglot.models.decode.rows import Decoding, Event, Finish, Row
from visiglot.models.decode.vocabulary import likeliest, norms_of, top

FIRST_CANDIDATES = 64
"""Likeliest tokens that nucleus sampling looks at first; four times as many each time they aren't enough."""

PART = 2**19
"""Scores that are looked at together on a CPU. A row isn't divided, and other devices take all rows at once."""


@dataclass
class SingleSearch:
    """A row decoded greedily or by sampling: one sub-row."""

    key: str
    decoding: Decoding
    history: tuple[int, ...]
    end_ids: frozenset[int]
    generator: torch.Generator
    ids: list[int] = field(default_factory=list)
    score: float = 0.0
    alternatives: int = 0

    @property
    def length(self) -> int:
        return len(self.ids)

    def tokens(self) -> list[tuple[int, ...]]:
        return [tuple(self.ids)]

    def last_ids(self) -> list[int]:
        return self.ids[-1:]

    def advance(
        self, token_id: int, log_probability: float, alternatives: tuple[tuple[int, float], ...] = ()
    ) -> tuple[Event, list[int]]:
        """Take `token_id`; the event, and the sub-row that goes on ([0], or [] at the end)."""
        self.ids.append(token_id)
        self.score += log_probability
        finished: Finish | None = None
        if token_id in self.end_ids:
            finished = "stop"
        elif self.length == self.decoding.max_new_tokens:
            finished = "length"
        return Event(self.key, (token_id,), finished, self.score, alternatives), [] if finished else [0]


Search = SingleSearch | BeamSearch


def start_search(row: Row, history: tuple[int, ...], end_ids: frozenset[int]) -> Search:
    """The search of a row that has no new token yet; `history` are the ids that the penalty counts from the start."""
    if row.decoding.beams > 1:
        return BeamSearch(row.key, row.decoding, history, end_ids)
    generator = torch.Generator().manual_seed(row.decoding.seed)
    return SingleSearch(row.key, row.decoding, history, end_ids, generator, alternatives=row.alternatives)


def choose(searches: Sequence[Search], logits: Tensor) -> tuple[list[Event], list[list[int]]]:
    """Take one step with every row.

    Args:
        searches: the rows.
        logits: [B, V] scores after each sub-row's last token, of any floating type; float32 ones are changed in place.

    Returns:
        The events, and for each row its sub-rows that go on (beams: the parent of each; finished: none).

    Raises:
        ScoresError: the scores of rows aren't finite. Other rows may have taken their step then.
    """
    limit = PART // logits.shape[1] if logits.device.type == "cpu" else len(logits)
    events: list[Event] = []
    parents: list[list[int]] = []
    part: list[Search] = []
    start = size = 0
    for position, search in enumerate(searches):
        part.append(search)
        size += len(search.tokens())
        if position + 1 < len(searches) and size + len(searches[position + 1].tokens()) <= limit:
            continue
        found, goes_on = _choose(part, logits[start : start + size].float())
        events += found
        parents += goes_on
        part, start, size = [], start + size, 0
    assert start == len(logits)
    return events, parents


def _choose(searches: Sequence[Search], logits: Tensor) -> tuple[list[Event], list[list[int]]]:
    """`choose` for a few rows: `logits` [B, V] are float32 and changed in place."""
    starts: list[int] = []  # of each row's sub-rows
    total = 0
    for search in searches:
        starts.append(total)
        total += len(search.tokens())
    norms = norms_of(logits)
    _check_finite(searches, starts, norms)
    touched = _penalise(searches, starts, logits, norms)
    single_ids = _choose_singles(searches, starts, logits)
    candidates = _beam_candidates(searches, starts, logits, norms)
    log_probabilities = _log_probabilities(starts, single_ids, logits, norms, touched)
    alternatives = _alternatives(searches, starts, logits, norms)

    events: list[Event] = []
    parents: list[list[int]] = []
    for position, search in enumerate(searches):
        event: Event | None
        if isinstance(search, BeamSearch):
            event, goes_on = search.advance(candidates[position])
        else:
            chosen = single_ids[position], log_probabilities[position]
            event, goes_on = search.advance(*chosen, alternatives.get(position, ()))
        if event is not None:
            events.append(event)
        parents.append(goes_on)
    return events, parents


def _check_finite(searches: Sequence[Search], starts: Sequence[int], norms: Tensor) -> None:
    if bool(norms.isfinite().all()):
        return
    finite = norms.isfinite().tolist()
    bad = [s.key for s, start in zip(searches, starts) if not all(finite[start : start + len(s.tokens())])]
    raise ScoresError(bad, hint="The weights are broken, or the numbers overflow: try --dtype fp32.")


def _penalise(
    searches: Sequence[Search], starts: Sequence[int], logits: Tensor, norms: Tensor
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Apply repetition penalties and minimum lengths in place: (rows, columns, values as they were), None if nothing.

    The penalty works on log-probabilities under beams and on raw scores else, as in `generate`: below 0 it multiplies,
    above 0 it divides.
    """
    rows: list[int] = []
    columns: list[int] = []
    penalties: list[float] = []  # 0 forbids the token
    from_norm: list[bool] = []
    for search, start in zip(searches, starts):
        decoding = search.decoding
        forbidden = search.end_ids if search.length < decoding.min_new_tokens else frozenset()
        for offset, ids in enumerate(search.tokens()):
            seen: set[int] = set()
            if decoding.repetition_penalty != 1:
                # a prompt may hold ids that the head has no score for (an image token beyond the vocabulary)
                seen = {i for i in (*search.history, *ids) if i < logits.shape[1] and i not in forbidden}
            count = len(seen) + len(forbidden)
            rows += [start + offset] * count
            columns += [*seen, *forbidden]
            penalties += [decoding.repetition_penalty] * len(seen) + [0.0] * len(forbidden)
            from_norm += [isinstance(search, BeamSearch)] * count
    if not rows:
        return None
    device = logits.device
    row, column = torch.tensor(rows, device=device), torch.tensor(columns, device=device)
    penalty = torch.tensor(penalties, device=device)
    base = torch.where(torch.tensor(from_norm, device=device), norms[row], 0.0)
    before = logits[row, column]
    value = before - base
    value = torch.where(value < 0, value * penalty, value / penalty) + base
    logits[row, column] = value.masked_fill(penalty == 0, float("-inf"))
    return row, column, before


def _choose_singles(searches: Sequence[Search], starts: Sequence[int], logits: Tensor) -> dict[int, int]:
    """Position of each row without beams -> its next token."""
    greedy = [p for p, s in enumerate(searches) if isinstance(s, SingleSearch) and s.decoding.temperature == 0]
    chosen: dict[int, int] = {}
    if greedy:
        scores = logits
        if len(greedy) < len(logits):
            scores = logits[torch.tensor([starts[position] for position in greedy], device=logits.device)]
        chosen.update(zip(greedy, likeliest(scores).tolist()))
    for position, search in enumerate(searches):
        if isinstance(search, SingleSearch) and search.decoding.temperature > 0:
            chosen[position] = sample(logits[starts[position]], search.decoding, search.generator)
    return chosen


def _log_probabilities(
    starts: Sequence[int],
    chosen: dict[int, int],
    logits: Tensor,
    norms: Tensor,
    touched: tuple[Tensor, Tensor, Tensor] | None,
) -> dict[int, float]:
    """Log-probability of each chosen token under the model's own distribution; undoes the penalties."""
    if not chosen:
        return {}
    if touched is not None:
        row, column, before = touched
        logits[row, column] = before
    rows = torch.tensor([starts[position] for position in chosen], device=logits.device)
    values = logits[rows, torch.tensor(list(chosen.values()), device=logits.device)] - norms[rows]
    return dict(zip(chosen, values.tolist()))


def _alternatives(
    searches: Sequence[Search], starts: Sequence[int], logits: Tensor, norms: Tensor
) -> dict[int, tuple[tuple[int, float], ...]]:
    """Position of each row that asks -> its likeliest tokens with their log-probabilities; penalties are undone."""
    asked = [(p, s.alternatives) for p, s in enumerate(searches) if isinstance(s, SingleSearch) and s.alternatives]
    if not asked:
        return {}
    rows = torch.tensor([starts[position] for position, _ in asked], device=logits.device)
    values, ids = top(logits[rows], min(max(count for _, count in asked), logits.shape[1]))
    likelihoods = (values - norms[rows].unsqueeze(1)).tolist()
    return {
        position: tuple(zip(row_ids[:count], row_likelihoods[:count]))
        for (position, count), row_ids, row_likelihoods in zip(asked, ids.tolist(), likelihoods)
    }


def _beam_candidates(
    searches: Sequence[Search], starts: Sequence[int], logits: Tensor, norms: Tensor
) -> dict[int, list[Candidate]]:
    """Position of each row with beams -> its best continuations, best first."""
    beams = [(p, s) for p, s in enumerate(searches) if isinstance(s, BeamSearch)]
    if not beams:
        return {}
    rows = [starts[position] + beam for position, search in beams for beam in range(len(search.running))]
    index = torch.tensor(rows, device=logits.device)
    running = torch.tensor([score for _, search in beams for score, _ in search.running], device=logits.device)
    most = min(max(search.num_candidates for _, search in beams), logits.shape[1])
    values, ids = top(logits if len(rows) == len(logits) else logits[index], most)
    all_scores = (values - norms[index].unsqueeze(1) + running.unsqueeze(1)).tolist()
    all_ids = ids.tolist()
    found: dict[int, list[Candidate]] = {}
    row = 0
    for position, search in beams:
        candidates = [
            Candidate(score, beam, token_id)
            for beam in range(len(search.running))
            for score, token_id in zip(all_scores[row + beam], all_ids[row + beam])
        ]
        candidates.sort(key=lambda candidate: -candidate.score)
        found[position] = candidates[: search.num_candidates]
        row += len(search.running)
    return found


def sample(logits: Tensor, decoding: Decoding, generator: torch.Generator) -> int:
    """Draw a token from `logits` [V] after temperature, top-k and top-p, with one number of `generator`."""
    size = logits.shape[-1]
    ids: Tensor | None = None
    if decoding.top_k:
        logits, ids = logits.topk(min(decoding.top_k, size))
    elif decoding.top_p < 1:
        norm = (logits / decoding.temperature).logsumexp(-1)
        count = min(FIRST_CANDIDATES, size)
        values, ids = logits.topk(count)
        while count < size and float((values / decoding.temperature - norm).exp().sum()) < decoding.top_p:
            count = min(4 * count, size)
            values, ids = logits.topk(count)
        cut = (values.double() / decoding.temperature - norm).exp()
        return _draw(_nucleus(cut, decoding.top_p), ids, generator)
    most = logits.max()  # whatever temperature divides, the likeliest stays 0
    probabilities = ((logits.double() - most) / decoding.temperature).softmax(-1)
    if ids is not None and decoding.top_p < 1:
        probabilities = _nucleus(probabilities, decoding.top_p)
    return _draw(probabilities, ids, generator)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The fewest of `probabilities`, sorted, that reach `top_p` together; at least one."""
    before = probabilities.cumsum(-1) - probabilities
    return probabilities[: max(int((before < top_p).sum()), 1)]


def _draw(probabilities: Tensor, ids: Tensor | None, generator: torch.Generator) -> int:
    """The entry of `ids` (or the index) where the cumulated `probabilities` pass a uniform number."""
    cumulated = probabilities.cumsum(-1)
    point = torch.rand((), dtype=torch.float64, generator=generator).to(cumulated.device) * cumulated[-1]
    index = min(int(torch.searchsorted(cumulated, point, right=True)), len(cumulated) - 1)
    return index if ids is None else int(ids[index])

"""The next token: sampling, penalties and scores."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from visiglot.errors import ConfigError, ModelError
from visiglot.models.decode import Decoding
from visiglot.models.decode import choose as choose_module
from visiglot.models.decode.beams import BeamSearch, Candidate
from visiglot.models.decode.choose import SingleSearch, choose, sample

END = frozenset({1})


def _logits(size: int = 300, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 2


def _single(decoding: Decoding, ids: tuple[int, ...] = (), history: tuple[int, ...] = ()) -> SingleSearch:
    return SingleSearch("a", decoding, history, END, torch.Generator().manual_seed(decoding.seed), list(ids))


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(temperature=0.7),
        Decoding(temperature=1.3, top_k=5),
        Decoding(temperature=1.0, top_p=0.6),
        Decoding(temperature=2.5, top_p=0.97),  # more than the first candidates are needed
        Decoding(temperature=1.5, top_k=20, top_p=0.5),
    ],
)
def test_samples_follow_the_distribution_of_generate(decoding: Decoding) -> None:
    logits = _logits()
    ids = torch.zeros((1, 0), dtype=torch.long)
    wanted = TemperatureLogitsWarper(decoding.temperature)(ids, logits.clone()[None])
    if decoding.top_k:
        wanted = TopKLogitsWarper(decoding.top_k)(ids, wanted)
    if decoding.top_p < 1:
        wanted = TopPLogitsWarper(decoding.top_p)(ids, wanted)
    probabilities = wanted.softmax(-1)[0]
    generator = torch.Generator().manual_seed(1)
    draws = 4000
    counts = Counter(sample(logits, decoding, generator) for _ in range(draws))
    assert all(probabilities[token] > 0 for token in counts), "a token was drawn that truncation excludes"
    found = torch.tensor([counts[token] / draws for token in range(len(logits))])
    # total variation distance; 4000 draws over these supports stay well below 0.15
    assert float((found - probabilities).abs().sum() / 2) < 0.15
    assert counts[int(probabilities.argmax())] / draws == pytest.approx(float(probabilities.max()), abs=0.03)


@pytest.mark.parametrize("decoding", [Decoding(temperature=1e-320), Decoding(temperature=1e-320, top_p=0.9)])
def test_a_temperature_of_next_to_nothing_takes_the_likeliest(decoding: Decoding) -> None:
    for seed in range(5):
        logits = _logits(seed=seed) + 3
        assert sample(logits.clone(), decoding, torch.Generator().manual_seed(seed)) == int(logits.argmax())


def test_the_penalty_on_raw_scores_is_that_of_generate() -> None:
    logits = _logits()
    ids = (7, 7, 3, 250)
    search = _single(Decoding(repetition_penalty=1.5), ids, history=(0,))
    for token in (*ids, 0):  # let each penalised token nearly win, so that its penalty decides
        raised = logits.clone()
        raised[token] = logits.max() + 0.5
        wanted = RepetitionPenaltyLogitsProcessor(1.5)(torch.tensor([[0, *ids]]), raised.clone()[None])[0]
        search.ids = list(ids)
        events, _ = choose([search], raised.clone()[None])
        assert events[0].token_ids == (int(wanted.argmax()),)
        assert events[0].token_ids != (token,)


def test_the_score_is_of_the_models_own_distribution() -> None:
    logits = _logits()
    best = int(logits.argmax())
    log_probabilities = logits.log_softmax(-1)
    for penalty, wins in ((50.0, False), (1.01, True)):  # the winner is another token, or a penalised one
        search = _single(Decoding(repetition_penalty=penalty), (best,))
        events, _ = choose([search], logits.clone()[None])
        chosen = events[0].token_ids[0]
        assert (chosen == best) == wins
        assert events[0].score == pytest.approx(float(log_probabilities[chosen]), abs=1e-5)


def test_the_end_is_forbidden_before_the_minimum_and_allowed_at_it() -> None:
    logits = torch.zeros(1, 10)
    logits[0, 1], logits[0, 4] = 9.0, 5.0
    early, late = _single(Decoding(min_new_tokens=2), (3,)), _single(Decoding(min_new_tokens=2), (3, 3))
    events, parents = choose([early, late], logits.repeat(2, 1))
    assert [event.token_ids for event in events] == [(4,), (1,)]
    assert [event.finished for event in events] == [None, "stop"]
    assert parents == [[0], []]


def test_the_last_allowed_token_finishes_a_row_by_length() -> None:
    search = _single(Decoding(max_new_tokens=2), (3,))
    events, parents = choose([search], torch.tensor([[0.0, 0.0, 5.0, 0.0]]))
    assert (events[0].finished, parents) == ("length", [[]])


def test_greedy_sampled_and_beam_rows_share_a_step() -> None:
    logits = _logits(seed=3).repeat(4, 1) + torch.randn(4, 300, generator=torch.Generator().manual_seed(4))
    beams = BeamSearch("b", Decoding(beams=2), (), END, running=[(-1.0, (5,)), (-1.5, (6,))])
    searches = [_single(Decoding()), beams, _single(Decoding(temperature=0.01))]
    events, parents = choose(searches, logits.clone())
    assert [event.token_ids[0] for event in events] == [int(logits[0].argmax()), int(logits[3].argmax())]
    scores = (logits[1:3].log_softmax(-1) + torch.tensor([[-1.0], [-1.5]])).flatten().topk(2)
    assert [score for score, _ in beams.running] == pytest.approx(scores.values.tolist(), abs=1e-5)
    assert [ids[1] for _, ids in beams.running] == [index % 300 for index in scores.indices.tolist()]
    assert parents[1] == [index // 300 for index in scores.indices.tolist()]


@pytest.mark.parametrize("part", [1, 700, 10**9])
def test_how_many_rows_are_looked_at_together_changes_nothing(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.stack([_logits(seed=seed) for seed in range(7)]).bfloat16()

    def searches() -> list[SingleSearch | BeamSearch]:
        running = [(-1.0, (5,)), (-1.5, (6,)), (-2.0, (7,))]
        penalised = _single(Decoding(repetition_penalty=2.0), (int(logits[4].argmax()),))
        sampled = _single(Decoding(temperature=0.7, seed=3))
        beams = BeamSearch("b", Decoding(beams=3), (), END, running=running)
        return [_single(Decoding()), beams, penalised, sampled, _single(Decoding(min_new_tokens=2))]

    wanted = [choose([search], scores) for search, scores in zip(searches(), logits.split([1, 3, 1, 1, 1]))]
    monkeypatch.setattr(choose_module, "PART", part)
    events, parents = choose(searches(), logits)
    assert events == [event for found, _ in wanted for event in found]
    assert parents == [goes_on for _, found in wanted for goes_on in found]


def test_scores_that_are_not_finite_name_the_row() -> None:
    logits = _logits().repeat(2, 1)
    logits[1, 3] = float("nan")
    rows = [_single(Decoding()), _single(Decoding())]
    rows[1].key = "broken"
    with pytest.raises(ModelError, match="decoding broken: "):
        choose(rows, logits)


def test_beams_keep_an_ended_answer_and_stop_when_no_beam_can_beat_it() -> None:
    search = BeamSearch("b", Decoding(beams=2, max_new_tokens=9), (), END)
    event, parents = search.advance([Candidate(-0.1, 0, 1), Candidate(-1.0, 0, 5), Candidate(-1.2, 0, 6)])
    assert (event, parents) == (None, [0, 0])
    # the third candidate ends too, but is not among the best two: it is no answer
    event, parents = search.advance(
        [Candidate(-1.3, 1, 7), Candidate(-1.4, 0, 8), Candidate(-1.5, 0, 1), Candidate(-9.0, 1, 9)]
    )
    assert (event, parents) == (None, [1, 0])
    assert search.kept == [(-0.1, (1,))]
    event, parents = search.advance([Candidate(-6.0, 0, 1), Candidate(-6.3, 0, 2), Candidate(-6.6, 0, 3)])
    # -6.0 / 3 is kept; the best beam left, -6.3 / 3, is worse than both answers
    assert event is not None
    assert (event.token_ids, event.finished, event.score, parents) == ((1,), "stop", -0.1, [])


def test_a_decoding_names_every_value_that_is_out_of_range() -> None:
    with pytest.raises(ConfigError) as caught:
        Decoding(max_new_tokens=0, beams=3, temperature=0.5, top_p=0.0)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["max_new_tokens", "top_p", "temperature"]

"""CIDEr-D, BLEU and ROUGE-L of tokens against pycocoevalcap's numbers (tests/golden/captions.json says how they were
made)."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visiglot.evaluate.metrics.bleu import bleu, bleu_statistics
from visiglot.evaluate.metrics.cider import cider
from visiglot.evaluate.metrics.ngrams import count_ngrams, stable_order
from visiglot.evaluate.metrics.rouge import longest_common, rouge_l

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "captions.json").read_text(encoding="utf-8"))["sets"]
EXACT = {"rel": 0, "abs": 1e-9}
Captions = tuple[list[list[str]], list[list[list[str]]]]


def captions(name: str) -> Captions:
    """Candidates and references of a set as tokens."""
    names = list(itertools.takewhile(lambda one: one != "one image", GOLDEN)) if name == "all languages" else [name]
    images = [image for one in names for image in GOLDEN[one]["images"]]
    split = [[text.split() for text in image["references"]] for image in images]
    return [image["candidate"].split() for image in images], split


def bleus(candidates: list[list[str]], references: list[list[list[str]]]) -> list[float]:
    sums = bleu_statistics(count_ngrams(candidates, references)).sum(axis=0)
    return [float(bleu(sums, order)) for order in (1, 2, 3, 4)]


def ciders(candidates: list[list[str]], references: list[list[list[str]]]) -> list[float]:
    return [float(value) for value in cider(count_ngrams(candidates, references))]


@pytest.fixture(params=list(GOLDEN))
def case(request: pytest.FixtureRequest) -> tuple[Captions, dict[str, Any]]:
    return captions(request.param), GOLDEN[request.param]


def test_the_golden_sets_have_captions_in_many_scripts_with_one_to_five_references() -> None:
    candidates, references = captions("all languages")
    assert len(candidates) >= 40
    assert {len(one) for one in references} == {1, 2, 3, 4, 5}
    assert [] in candidates


def test_each_images_cider_and_the_corpus_are_pycocoevalcaps(case: tuple[Captions, dict[str, Any]]) -> None:
    (candidates, references), expected = case
    found = ciders(candidates, references)
    assert found == pytest.approx(expected["cider_of_images"], **EXACT)
    assert np.mean(found) == pytest.approx(expected["cider"], **EXACT)


def test_bleu_1_to_4_are_pycocoevalcaps(case: tuple[Captions, dict[str, Any]]) -> None:
    (candidates, references), expected = case
    assert bleus(candidates, references) == pytest.approx(expected["bleu"], **EXACT)


def test_each_images_rouge_and_the_corpus_are_pycocoevalcaps(case: tuple[Captions, dict[str, Any]]) -> None:
    images, expected = case
    found = [rouge_l(own, others) for own, others in zip(*images)]
    assert found == pytest.approx(expected["rouge_of_images"], **EXACT)
    assert np.mean(found) == pytest.approx(expected["rouge"], **EXACT)


def test_the_order_of_images_and_of_references_changes_no_value() -> None:
    candidates, references = captions("all languages")
    order = list(range(len(candidates)))
    random.Random(3).shuffle(order)
    moved = [candidates[n] for n in order], [references[n][::-1] for n in order]
    before = ciders(candidates, references)
    assert ciders(*moved) == pytest.approx([before[n] for n in order], **EXACT)
    assert bleus(*moved) == pytest.approx(bleus(candidates, references), **EXACT)
    assert [rouge_l(own, others) for own, others in zip(*moved)] == [
        rouge_l(candidates[n], references[n]) for n in order
    ]


def test_the_same_image_twice_is_two_documents() -> None:
    """Frequencies and number of documents both double, so the values stay, where the references have every n-gram."""
    _, references = captions("english")
    candidates = [others[-1] for others in references]
    assert ciders(candidates * 2, references * 2) == pytest.approx(ciders(candidates, references) * 2, **EXACT)
    assert bleus(candidates * 2, references * 2) == pytest.approx(bleus(candidates, references), **EXACT)


def test_cider_of_a_single_image_is_0_since_every_word_is_in_every_document() -> None:
    assert ciders([["a", "cat"]], [[["a", "cat"]]]) == [0.0]


def test_a_reference_as_candidate_has_cider_10_if_it_has_four_words_that_say_something() -> None:
    cat, dog = list("abcd"), list("efgh")
    assert ciders([cat, dog], [[cat], [dog]]) == pytest.approx([10.0, 10.0])


def test_of_two_references_equally_close_in_length_the_shorter_counts() -> None:
    counted = count_ngrams([list("abcd")], [[list("abcde"), list("abc"), list("a")]])
    assert bleu_statistics(counted)[0, :2].tolist() == [4, 3]


def test_a_repeated_word_counts_as_often_as_in_one_reference() -> None:
    counted = count_ngrams([list("aaaaaaa")], [[list("abcdae"), list("fga")]])
    assert bleu_statistics(counted)[0, 6] == 2


def test_an_empty_caption_changes_no_other_images_value() -> None:
    candidates, references = captions("german")
    alone = ciders(candidates, references)
    emptied = ciders([[], *candidates[1:]], references)
    assert emptied == pytest.approx([0.0, *alone[1:]], **EXACT)


def test_nothing_but_empty_captions_gives_zeros() -> None:
    assert ciders([[], []], [[["a"]], [["b"]]]) == [0.0, 0.0]
    assert bleus([[], []], [[["a"]], [["b"]]]) == [0.0] * 4


def test_sets_without_an_image_give_no_value() -> None:
    assert ciders([], []) == []
    assert bleu_statistics(count_ngrams([], [])).shape == (0, 10)


@pytest.mark.parametrize("references", [[[["a"]], []], [[["a"]]]])
def test_an_image_without_a_reference_is_refused(references: list[list[list[str]]]) -> None:
    with pytest.raises(ValueError):
        count_ngrams([["a"], ["b"]], references)


def test_the_longest_common_subsequence_is_that_of_the_table() -> None:
    def table(one: list[str], other: list[str]) -> int:
        row = [0] * (len(other) + 1)
        for token in one:
            above = list(row)
            for at, theirs in enumerate(other, start=1):
                row[at] = above[at - 1] + 1 if token == theirs else max(above[at], row[at - 1])
        return row[-1]

    pick = random.Random(0)
    pairs = [[pick.choices("abcd", k=pick.choice((0, 1, 5, 30, 90))) for _ in range(2)] for _ in range(300)]
    assert [longest_common(*pair) for pair in pairs] == [table(*pair) for pair in pairs]


@pytest.mark.parametrize("largest", [0, 1, 2**16 - 1, 2**16, 2**40])
def test_numbers_are_sorted_stably_however_large(largest: int) -> None:
    keys = np.random.default_rng(0).integers(0, largest, 5000, endpoint=True) // 7 * 7
    keys[0] = largest
    assert (stable_order(keys) == np.argsort(keys, kind="stable")).all()
    assert len(stable_order(keys[:0])) == 0

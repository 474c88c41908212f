"""Who gets what: every policy adds up, is repeatable, and does what its paper did."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest

from visiglot.config import AllocationSection
from visiglot.data.allocation import POLICIES, allocate, allocation_problems, assign, shares
from visiglot.errors import ConfigError
from visiglot.languages import ENGLISH, resolve

MBLIP = resolve("mblip")
FEW = ["eng_Latn", "deu_Latn", "swh_Latn", "yor_Latn"]
NEEDS: dict[str, dict[str, Any]] = {"weights": {"weights": {"en": 3, "de": 2, "sw": 1}}}
TRANSLATING = [name for name in POLICIES if name != "size"]


def section(policy: Any, **values: Any) -> AllocationSection:
    return AllocationSection(policy=policy, **{**NEEDS.get(policy, {}), **values})


def test_the_table_and_the_schema_name_the_same_policies() -> None:
    assert set(get_args(AllocationSection.model_fields["policy"].annotation)) == set(POLICIES)


@pytest.mark.parametrize(
    ("examples", "total"),
    [(2_273_005, 2_272_954), (414_113, 414_068), (23_240, 23_196), (600_000, 599_951), (443_757, 443_708)],
)
def test_mc4_gives_mblips_counts_of_its_data(examples: int, total: int) -> None:
    assert sum(allocate(section("mc4"), examples, MBLIP).values()) == total


def test_mc4_starves_small_languages_as_mblip_does() -> None:
    """Of mBLIP's web captions 52 languages get fewer than 1,000 and 19 fewer than 100; of its details 19 get none."""
    counts = allocate(section("mc4"), 2_273_005, MBLIP)
    assert sum(count < 1000 for count in counts.values()) == 52
    assert sum(count < 100 for count in counts.values()) == 19
    assert [counts[code] for code in resolve("yo,st,sm,ig")] == [21, 25, 25, 28]
    assert list(allocate(section("mc4"), 23_240, MBLIP).values()).count(0) == 19


def test_mc4_shares_one_language_of_mc4_between_its_two_scripts() -> None:
    one = allocate(section("mc4"), 100_000, ["eng_Latn", "zho_Hans"])
    both = allocate(section("mc4"), 100_000, ["eng_Latn", "zho_Hans", "zho_Hant"])
    assert both["zho_Hans"] == both["zho_Hant"] == one["zho_Hans"] // 2
    assert both["eng_Latn"] == one["eng_Latn"]


def test_alpha_goes_from_mc4_to_uniform() -> None:
    n = 1_000_000
    as_mc4 = allocate(section("mc4_alpha", alpha=1), n, MBLIP)
    assert all(0 <= as_mc4[code] - count <= 1 for code, count in allocate(section("mc4"), n, MBLIP).items())
    assert set(allocate(section("mc4_alpha", alpha=0), 960, MBLIP).values()) == {10}
    between = allocate(section("mc4_alpha", alpha=0.3), n, MBLIP)
    assert as_mc4["yor_Latn"] < between["yor_Latn"] < n // 96
    assert as_mc4[ENGLISH] > between[ENGLISH] > n // 96


def test_english_share_keeps_that_much_english_and_the_others_are_alike() -> None:
    assert list(allocate(section("english_share", english=0.25), 1000, FEW).values()) == [250] * 4
    assert list(allocate(section("english_share", english=1), 1000, FEW).values()) == [1000, 0, 0, 0]
    assert list(allocate(section("lrm"), 600, FEW).values()) == [300, 100, 100, 100]
    assert list(allocate(section("lrm"), 600, FEW[1:]).values()) == [200, 200, 200], "there is no English to keep"


def test_parallel_gives_every_example_to_every_language() -> None:
    counts = allocate(section("parallel"), 7, FEW)
    assert counts == dict.fromkeys(FEW, 7)
    assert all(assign(counts, 7, seed=1)(index) == tuple(FEW) for index in range(7))


def test_weights_give_nothing_to_a_language_that_has_none() -> None:
    assert list(allocate(section("weights"), 600, FEW).values()) == [300, 200, 100, 0]


@pytest.mark.parametrize("policy", [name for name in TRANSLATING if name not in ("mc4", "parallel")])
@pytest.mark.parametrize("n", [0, 1, 5, 997, 12_345])
def test_counts_add_up_to_one_example(policy: str, n: int) -> None:
    found = allocate(section(policy), n, FEW)
    assert list(found) == FEW
    assert sum(found.values()) == n
    assert found == allocate(section(policy), n, FEW)


@pytest.mark.parametrize("policy", TRANSLATING)
def test_each_example_is_in_as_many_languages_as_was_counted(policy: str) -> None:
    n = 5000
    counts = allocate(section(policy), n, FEW)
    languages_of = assign(counts, n, seed=3)
    given = [languages_of(index) for index in range(n)]
    found = Counter(code for codes in given for code in codes)
    assert dict(found) == {code: count for code, count in counts.items() if count}
    assert policy == "parallel" or max(map(len, given)) == 1


def test_who_is_in_which_language_follows_from_the_seed_and_is_not_the_order_of_the_file() -> None:
    counts = allocate(section("uniform"), 4000, FEW)

    def given(seed: int, number: int = 0) -> list[tuple[str, ...]]:
        return [assign(counts, 4000, seed, number)(index) for index in range(4000)]

    assert given(1) == given(1)
    assert given(1) != given(2)
    both = zip(given(1, 0), given(1, 1), strict=True)
    assert 800 < sum(one == other for one, other in both) < 1200, "a second task on the same rows is independent"
    first = Counter(given(1)[:1000])
    assert all(150 < first[code,] < 350 for code in FEW)


def test_shares_of_what_is_drawn_follow_the_policy_and_a_source_with_one_language_gets_all() -> None:
    sizes = {"eng_Latn": 10, "deu_Latn": 30}
    assert shares(section("size"), sizes) == [10, 30]
    assert shares(section("lrm"), sizes) == [0.5, 0.5]
    assert shares(section("weights", weights={"de": 1}), {"eng_Latn": 10}) == [1.0]


def test_what_a_policy_cannot_say_is_an_error() -> None:
    with pytest.raises(ConfigError, match="mC4 has no ace_Latn"):
        allocate(section("mc4"), 10, ["eng_Latn", "ace_Latn"])
    with pytest.raises(ConfigError, match="gives nothing to"):
        allocate(section("weights", weights={"fr": 1}), 10, FEW)
    with pytest.raises(ConfigError, match="`size` is for sources that have languages of their own"):
        allocate(section("size"), 10, FEW)


def test_problems_are_found_without_data() -> None:
    assert allocation_problems(section("mc4"), FEW) == []
    assert allocation_problems(section("weights"), FEW) == []
    (one,) = allocation_problems(section("mc4_alpha"), ["ace_Latn"])
    assert "mC4 has no ace_Latn" in one
    found = allocation_problems(section("weights", weights={"germn": 1, "fr": 1, "de": -1}), FEW)
    assert [line.partition(":")[0] for line in found] == ["weights.germn", "weights.fr", "weights.de"]
    assert allocation_problems(AllocationSection(policy="weights"), FEW) == [
        "weights: are missing; give them as {de: 2, sw: 1}"
    ]

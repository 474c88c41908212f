"""MMMB: multiple-choice questions about pictures, the same in six languages (Sun et al., 2025; Parrot).

Two scorers are in use, and their numbers can't be compared. Parrot's paper counts a question and its counterpart once,
and only where both are right (1,710 of them); the toolkit of today counts rows. Both are metrics here, with their N.
"""

from __future__ import annotations

from functools import partial

from visiglot.benchmarks.choice_tables import FACTS, open_tables
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings

BENCHMARKS.add(
    "mmmb",
    Benchmark(
        name="mmmb",
        about="Multiple-choice questions about pictures, the same in six languages.",
        load=partial(open_tables, "mmmb", "mmmb_{code}.tsv", "test"),
        splits=("test",),
        prompt_sets=("native", "paper"),
        metrics={
            "choice": (
                "choice-accuracy",
                "pair-accuracy",
                "letter-failures",
                "choice-accuracy-vlmevalkit",
                "pair-accuracy-vlmevalkit",
            )
        },
        settings=Settings(max_new_tokens=512),
        facts=FACTS,
        licence="not stated",
        citation="Sun et al., Parrot: Multilingual Visual Instruction Tuning, ICML 2025, arXiv 2406.02539",
        translation="GPT-4, from English, post-edited and voted on by people",
    ),
)

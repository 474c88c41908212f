"""Multilingual MMBench: the development set of MMBench 1.0 (Liu et al., 2024) in six languages (Sun et al., 2025).

Each question is there once for each rotation of its options, and counts only where all rotations are answered right.
"""

from __future__ import annotations

from functools import partial

from visiglot.benchmarks.choice_tables import FACTS, open_tables
from visiglot.evaluate.benchmark import BENCHMARKS, Benchmark, Settings

BENCHMARKS.add(
    "mmbench",
    Benchmark(
        name="mmbench",
        about="Multiple-choice questions about pictures in six languages, asked once for each rotation of the options.",
        load=partial(open_tables, "mmbench", "mmbench_dev_{code}.tsv", "dev"),
        splits=("dev",),
        prompt_sets=("native", "paper"),
        metrics={
            "choice": (
                "circular-accuracy",
                "choice-accuracy",
                "letter-failures",
                "circular-accuracy-vlmevalkit",
            )
        },
        settings=Settings(max_new_tokens=512),
        facts=FACTS,
        licence="not stated",
        citation="Liu et al., MMBench, ECCV 2024, arXiv 2307.06281; Sun et al., Parrot, ICML 2025, arXiv 2406.02539",
        translation="English and Chinese: MMBench's own; Arabic, Portuguese, Russian, Turkish: "
        "GPT-4, post-edited and voted on by people",
    ),
)

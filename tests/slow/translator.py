"""`python -m tests.slow.translator OUT STORE KILL_AT`: translates in a process that kills itself at its n-th step.

Steps are calls of the engine, texts added to the store, and files that appear; 0 lets it finish.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.facts import Facts
from tests.translating import Marked, Strict

from visiglot.config import AllocationSection, SourceSection
from visiglot.translate import jobs as jobs_module
from visiglot.translate.folder import Folder
from visiglot.translate.jobs import plan_source
from visiglot.translate.pipeline import translate
from visiglot.translate.store import Store
from visiglot.translate.translator import Translator

LANGUAGES = ("eng_Latn", "deu_Latn", "swh_Latn", "arb_Arab")


def main(out: str, store: str, kill_at: int) -> None:
    left = kill_at

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def stepping(function: Any) -> Any:
        def stepped(*arguments: Any, **options: Any) -> Any:
            step()
            result = function(*arguments, **options)
            step()
            return result

        return stepped

    os.replace = stepping(os.replace)
    Store.add = stepping(Store.add)  # type: ignore[method-assign]
    jobs_module.SHARD = 4
    rows = [
        (
            LANGUAGES[0],
            {"question": f"What is {'rejected' if n % 5 == 2 else n}?", "answer": ("bank", "dog", "cat")[n % 3]},
        )
        for n in range(14)
    ]
    allocation = AllocationSection(policy="parallel")
    job = plan_source(Facts(rows), SourceSection(type="nano"), LANGUAGES, allocation=allocation, seed=0)
    with Store(Path(store)) as kept:
        translator = Translator(Marked(before=step), kept, Strict(), LANGUAGES[0])  # type: ignore[arg-type]
        translate([job], translator, Folder(Path(out)), settings={})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

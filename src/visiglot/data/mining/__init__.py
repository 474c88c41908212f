"""Hard negatives: for each caption those that are near to it, by rank, and yet say something else."""

from __future__ import annotations

from visiglot.data.mining.neighbours import RANKS, Neighbours

__all__ = ["RANKS", "Neighbours"]

"""Evaluation in two stages with files between them: generate (slow, resumable) and score (pure)."""

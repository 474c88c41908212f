"""How much each expert of the connector counts for the pictures of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from visiglot.data.collate import collate, to_device
from visiglot.models.answer import join_features
from visiglot.serve.job import Job
from visiglot.serve.pictures import content_of
from visiglot.types import ImageRef, VisionFeatures


@torch.inference_mode()
def tell_routing(model: Any, processor: Any, jobs: Sequence[Job], features: Sequence[VisionFeatures | None]) -> None:
    """Give the answers of those `jobs` that ask for it, and haven't said anything, the weights of their experts.

    Args:
        features: of the pictures of each job.
    """
    asking = [(job, one) for job, one in zip(jobs, features) if job.ask.routing and one is not None]
    asking = [(job, one) for job, one in asking if job.speech is not None and not job.speech.made]
    if not asking:
        return
    found = {
        key: VisionFeatures(one.patches[place : place + 1], one.pooled[place : place + 1], one.grid)
        for job, one in asking
        for place, (key, _) in enumerate(job.pictures)
    }

    def look(refs: Sequence[ImageRef]) -> VisionFeatures:
        return join_features([found[content_of(ref)] for ref in refs])

    samples = [job.sample for job, _ in asking if job.sample is not None]
    batch = to_device(collate(samples, processor.spec(), features=look), model.device)
    assert batch.features is not None
    weights = model.connector.routing(batch.features, model.slot_context(batch))
    if weights is None:
        return
    told: list[list[tuple[float, ...]]] = [[] for _ in asking]
    for row, one in zip(batch.slot_row.tolist(), weights.double().cpu().tolist()):
        told[row].append(tuple(one))
    for (job, _), one in zip(asking, told):
        assert job.speech is not None
        job.speech.routing = tuple(one)

"""Processes on several machines, over Ray: being part of one, and what each process gets of what there is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from visiglot.errors import MissingExtraError, VisiglotError

OBJECT_STORE = 200 * 2**20
"""Bytes of shared memory of a local Ray; nothing but texts and requests are in it."""

_WHY = re.compile(r"[\w.]*(Error|Exception):|The actor is dead because")
"""Begins the line of a paragraph of Ray's that says why."""


def load_ray(who: str) -> Any:
    """The module `ray`, with its usage statistics off.

    Args:
        who: needs it, as the user knows it.

    Raises:
        MissingExtraError: it isn't installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.util.scheduling_strategies
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"ray, which {who} needs,", "ray") from error
    return ray


@contextmanager
def joined(ray: Any, processes: int, failed: type[VisiglotError]) -> Iterator[None]:
    """Be part of a Ray: the one that this process is in, RAY_ADDRESS, that of `ray start` here, or one of our own.

    Args:
        processes: that a Ray of our own must have CPUs for.
        failed: raised when there is none to be part of.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise failed(
            f"RAY_ADDRESS={address} is that of a Ray client, which isn't on the cluster",
            hint="Start visiglot on a machine of the cluster, with RAY_ADDRESS=HOST:PORT or without.",
        )
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    cores = max(processes, len(os.sched_getaffinity(0)))
    try:
        try:
            ray.init(num_cpus=cores, object_store_memory=OBJECT_STORE, include_dashboard=False, **quiet)
        except ValueError:  # there is one, whose resources aren't ours to set
            ray.init(**quiet)
    except Exception as error:  # Ray raises just that, too, where it took too long to start
        raise failed(
            f"Ray can't be {f'joined at {address}' if address else 'started or joined'}: {reason(error)}",
            hint="RAY_ADDRESS names a cluster to join, with RAY_AUTH_MODE=token where that is asked for; "
            "RAY_ADDRESS=local starts one on this machine alone.",
        ) from error
    ray._private.worker._worker_logs_enabled = False  # or deaths go to stdout, whatever log_to_driver says
    try:
        yield
    finally:
        ray.shutdown()
        ray._private.worker._worker_logs_enabled = True


def shares(nodes: Sequence[Mapping[str, float]], workers: int, *, gpu: bool) -> tuple[int, float]:
    """CPUs and GPUs for each worker, such that all of them find a place where the machines are idle and alike.

    Args:
        nodes: resources of each machine, as Ray counts them.
        gpu: whether GPUs are wanted.
    """
    usable = [node for node in nodes if node.get("CPU", 0) >= 1]
    with_gpu = [node for node in usable if node.get("GPU", 0) >= 1] if gpu else []
    usable = with_gpu or usable
    on_each = -(-workers // max(len(usable), 1))
    cpus = max(1, min((int(node["CPU"]) for node in usable), default=1) // on_each)
    if not with_gpu:
        return cpus, 0.0
    total = int(sum(node["GPU"] for node in with_gpu))
    return cpus, int(10_000 / -(-workers // total)) / 10_000


def resources(ray: Any) -> list[Mapping[str, float]]:
    """What each machine that is there has, as Ray counts it."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def reason(error: Exception) -> str:
    """Why, of the paragraph that an exception of Ray's says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in reversed(lines) if _WHY.match(line)), lines[0])[:300]

"""One small file for each benchmark; importing this package fills `visiglot.evaluate.benchmark.BENCHMARKS`."""

from visiglot.benchmarks import nano

__all__ = ["nano"]

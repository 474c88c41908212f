"""One small file for each benchmark; importing this package fills `visiglot.evaluate.benchmark.BENCHMARKS`."""

from visiglot.benchmarks import marvl, mmbench, mmmb, nano, pope, xgqa, xm3600, xvnli

__all__ = ["marvl", "mmbench", "mmmb", "nano", "pope", "xgqa", "xm3600", "xvnli"]

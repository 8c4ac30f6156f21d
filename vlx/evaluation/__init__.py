"""Measures of explanations against ground truth, each figure beside its baselines."""

from vlx.evaluation.intervals import wilson
from vlx.evaluation.metric import Metric, of_maps
from vlx.evaluation.result import Figure, Result
from vlx.evaluation.run import agreement, evaluate, grounds, looking

__all__ = ["Figure", "Metric", "Result", "agreement", "evaluate", "grounds", "looking", "of_maps", "wilson"]

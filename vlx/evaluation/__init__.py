"""Measures of explanations against ground truth, each figure beside its baselines."""

from vlx.evaluation.context import DrawnMap, MetricContext
from vlx.evaluation.intervals import wilson
from vlx.evaluation.metric import Metric, of_each, of_maps
from vlx.evaluation.records import Record
from vlx.evaluation.result import Figure, Result
from vlx.evaluation.run import DEFAULT, agreement, evaluate, grounds, looking, read_run

__all__ = [
    "DEFAULT",
    "DrawnMap",
    "Figure",
    "Metric",
    "MetricContext",
    "Record",
    "Result",
    "agreement",
    "evaluate",
    "grounds",
    "looking",
    "of_each",
    "of_maps",
    "read_run",
    "wilson",
]

"""Measures of explanations against ground truth, each figure beside its baselines."""

from vlx.evaluation.agreement import agreement
from vlx.evaluation.grounds import grounds
from vlx.evaluation.looking import looking
from vlx.evaluation.pointing import evaluate
from vlx.evaluation.result import Figure, Result, wilson

__all__ = ["Figure", "Result", "agreement", "evaluate", "grounds", "looking", "wilson"]

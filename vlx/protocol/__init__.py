"""What an adapter owes, and what it may offer besides: a task, its targets, its powers."""

from vlx.protocol.targets import Alternative, Prediction, Query, Target, Term, Word, sentence_target, word_target
from vlx.protocol.task import Defaults, Features, Task

__all__ = [
    "Alternative",
    "Defaults",
    "Features",
    "Prediction",
    "Query",
    "Target",
    "Task",
    "Term",
    "Word",
    "sentence_target",
    "word_target",
]

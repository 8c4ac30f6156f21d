"""Here you write an adapter, or learn what one owes: a task, its targets, and the powers it may have besides."""

from vlx.protocol.powers import Attended, Powers, meet, powers_of
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Alternative, Prediction, Query, Target, Term, Word, sentence_target, word_target
from vlx.protocol.task import Defaults, Features, Task

__all__ = [
    "Alternative",
    "Attended",
    "Defaults",
    "Features",
    "Powers",
    "Prediction",
    "Query",
    "Said",
    "Target",
    "Task",
    "Term",
    "Word",
    "meet",
    "powers_of",
    "sentence_target",
    "word_target",
]

"""What is no single picture with one answer: policies, dense outputs, clips, signals and texts of CNNs."""

from vlx.tasks.beyond.dense import Dense
from vlx.tasks.beyond.policy import Policy
from vlx.tasks.beyond.signal import Signal
from vlx.tasks.beyond.video import Video
from vlx.tasks.beyond.words import Words

__all__ = ["Dense", "Policy", "Signal", "Video", "Words"]

"""What a model leans on over a whole data set, and where that leads it astray: findings, tables, the worst mistakes."""

from vlx.auditing.result import AnswerTally, Audit, Finding, Mistake

__all__ = ["AnswerTally", "Audit", "Finding", "Mistake"]

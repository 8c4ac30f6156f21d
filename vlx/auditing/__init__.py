"""What a model leans on over a whole data set, and where that leads it astray: findings, tables, the worst mistakes."""

from vlx.auditing.answered import Answered, OnConcept, Region
from vlx.auditing.result import AnswerTally, Audit, Finding, Mistake
from vlx.auditing.run import audit

__all__ = ["AnswerTally", "Answered", "Audit", "Finding", "Mistake", "OnConcept", "Region", "audit"]

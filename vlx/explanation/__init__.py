"""What a result is, and how it is kept."""

from vlx.explanation.records import Explanation, WordExplanation

__all__ = ["Explanation", "WordExplanation"]

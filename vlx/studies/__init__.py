"""What people make of maps: a study as one page, its key, and what the answers come to."""

from vlx.studies.making import Study, make
from vlx.studies.scoring import Scores, score

__all__ = ["Scores", "Study", "make", "score"]

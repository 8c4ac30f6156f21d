"""Two models, methods or texts on the same pictures: words side by side, the largest differences first."""

from vlx.comparing.comparison import Comparison
from vlx.comparing.maps import MapDifference
from vlx.comparing.pairs import PicturePair
from vlx.comparing.run import compare
from vlx.comparing.words import WordPair

__all__ = ["Comparison", "MapDifference", "PicturePair", "WordPair", "compare"]

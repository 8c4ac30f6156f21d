"""Two photographs that come with vlx, and the embedded captioner that was trained on others.

>>> vlx.photos.example("cat").size
(451, 300)
"""

from importlib.resources import files
from typing import TYPE_CHECKING

from vlx.errors import InputError
from vlx.language import close_matches

if TYPE_CHECKING:
    from PIL import Image

EXAMPLES = ("astronaut", "cat")

__all__ = ["EXAMPLES", "example"]


def example(name: str = "cat") -> "Image.Image":
    """A photograph that comes with vlx, RGB: "cat" or "astronaut", free to use (see ``pictures/SOURCES.md``).

    Raises InputError for another name.
    """
    from PIL import Image

    if name not in EXAMPLES:
        near = ", ".join(close_matches(name, EXAMPLES)) or ", ".join(EXAMPLES)
        raise InputError(f"no photograph {name!r} comes with vlx; there are: {near}")
    with (files("vlx.photos") / "pictures" / f"{name}.jpg").open("rb") as file:
        return Image.open(file).convert("RGB")

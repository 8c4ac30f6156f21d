"""What a task may say of a picture that lies outside of what it was made for."""

from typing import Protocol, runtime_checkable

from PIL import Image

from vlx.task import Features


@runtime_checkable
class Scoped(Protocol):
    """Optional: a task that can tell, from what is at hand, that a picture lies outside its words or its world."""

    def scope(self, features: Features, picture: Image.Image, text: str) -> tuple[str, ...]:
        """Sentences for the reader about one picture: its features [1, …], itself as RGB, and what is said of it.

        None at all is no promise that the picture lies within: only what is proven is said.
        """
        ...

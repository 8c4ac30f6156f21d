"""What probes read of the options of `vlx.explain`, which stand above them in `vlx.pipeline.options`."""

from typing import Protocol

from PIL import Image

from vlx.methods.method import Method
from vlx.probes.contrast import Contrast
from vlx.probes.names_wish import NamesWish
from vlx.probes.references import References
from vlx.protocol.targets import Query


class Wishes(Protocol):
    """What the user asked for, as far as it concerns a probe."""

    @property
    def query(self) -> Query:
        """What was asked about the picture."""
        ...

    @property
    def contrast(self) -> Contrast | None:
        """The word of a text that is compared with another one, where that was asked for."""
        ...

    @property
    def method(self) -> Method:
        """The way of making a map."""
        ...

    @property
    def chosen(self) -> str:
        """How the method was chosen, where that was by trial."""
        ...

    @property
    def subwords(self) -> str:
        """How the map of a word of several tokens comes from theirs: "max", "first" or "sum"."""
        ...

    @property
    def seen(self) -> bool:
        """Whether to tell what each word owes to the picture."""
        ...

    @property
    def references(self) -> References | None:
        """Pictures of the user's own to put in this one's place; None for those made of it."""
        ...

    @property
    def looks(self) -> bool:
        """Whether to tell what the model makes of it blurred and of other pictures, too."""
        ...

    @property
    def swaps(self) -> list[Image.Image] | None:
        """Pictures of something else for that; None for drawn scenes."""
        ...

    @property
    def occlusion(self) -> bool:
        """Whether to hide the picture part by part."""
        ...

    @property
    def guided(self) -> bool:
        """Whether to add Guided Grad-CAM."""
        ...

    @property
    def check(self) -> bool | str:
        """Whether to try maps and reasons by experiment; "cells" tries each cell alone, too."""
        ...

    @property
    def words(self) -> str | tuple[str | int, ...] | None:
        """Which words have maps and reasons: "content", "all", or labels and positions; None where nobody said."""
        ...

    @property
    def naming(self) -> NamesWish | None:
        """The table of names that reasons are made from; None for no reasons."""
        ...

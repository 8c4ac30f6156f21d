"""The objects of a scene, by what of them can be seen."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vlx.scenes.painter import Mask, Pose, painted_with, textured, union


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One object: what it is, and the pixels of it that can be seen.

    ``parts`` maps a part's name to its visible pixels, bool [S, S]; ``hidden`` is the share of the object that other
    objects cover or the picture's edge cuts off, 0 to 1.
    """

    pose: Pose
    parts: dict[str, Mask]
    hidden: float

    @property
    def kind(self) -> str:
        """What it is: a key of `KINDS`."""
        return self.pose.kind

    @property
    def color(self) -> str:
        """The colour it is called by: that of its main part."""
        return self.pose.color

    @property
    def texture(self) -> str:
        """Its main part's texture."""
        return self.pose.texture

    @cached_property
    def mask(self) -> Mask:
        """Its visible pixels, bool [S, S]."""
        return union(self.parts.values())

    @cached_property
    def colors(self) -> dict[str, Mask]:
        """Visible pixels by colour name, for the parts painted in one of the world's colours."""
        masks: dict[str, Mask] = {}
        for part, color in painted_with(self.pose).items():
            masks[color] = masks[color] | self.parts[part] if color in masks else self.parts[part]
        return masks

    @cached_property
    def textured(self) -> Mask:
        """Visible pixels that carry its texture, bool [S, S]."""
        return union(self.parts[name] for name in textured(self.pose))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) of its visible pixels."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def background(objects: Iterable[SceneObject]) -> Mask:
    """Pixels outside all objects, bool [S, S]."""
    return ~union(thing.mask for thing in objects)

"""The embedded world: drawn pictures whose every pixel is known by name.

    >>> scene = vlx.scenes.draw(7)
    >>> scene.caption
    'an orange bird at night'

    >>> vlx.scenes.draw(7, kinds=["car"], place="desert", colors=["red"], textures=["plain"]).caption
    'a red car in a desert'

`draw` is deterministic by seed. Seeds from `HELD_OUT` on are never trained on.
"""

from vlx.scenes.compose import HELD_OUT, draw
from vlx.scenes.makes import Make
from vlx.scenes.scene import CaptionWord, Scene
from vlx.scenes.things import SceneObject
from vlx.scenes.world import COLORS, KINDS, SCENES, TEXTURES

__all__ = ["COLORS", "HELD_OUT", "KINDS", "SCENES", "TEXTURES", "CaptionWord", "Make", "Scene", "SceneObject", "draw"]

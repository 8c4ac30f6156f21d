"""Composing a scene: what stands where, so that the caption's choice of words is never a matter of taste."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlx.errors import InputError
from vlx.scenes import backgrounds
from vlx.scenes.makes import SHARES, Allowed, Make, Names
from vlx.scenes.painter import Mask, Pose, area, paint_object
from vlx.scenes.questions import NAMEABLE
from vlx.scenes.scene import Scene
from vlx.scenes.things import SceneObject
from vlx.scenes.world import COLORS, KINDS, SCENES, TEXTURES

HELD_OUT = 10_000_000
SMALLEST = 64
COMPOSED = 4096  # arrangements that are kept: half of the time of drawing

MAIN_AREA = (0.055, 0.1)  # of the picture, before anything is hidden
EXTRA_AREA = (0.014, 0.024)
DOUBTFUL = (0.3, 0.5)  # no object is hidden by a share so near the limit of naming
CLEAR_LEAD = 0.75  # the third most visible object is at most this share of the second
CLEAR_ORDER = 0.12  # the two named objects are at least this far apart, left to right
COUNTS = (0.2, 0.4, 0.25, 0.15)  # share of scenes with 1, 2, 3, 4 objects


def draw(
    seed: int,
    size: int = 128,
    *,
    kinds: Names | None = None,
    place: str | None = None,
    colors: Allowed | None = None,
    textures: Allowed | None = None,
) -> Scene:
    """Draw scene number ``seed`` at ``size`` × ``size`` pixels; the same seed is the same scene at every size.

    ``kinds``, ``place``, ``colors`` and ``textures`` are what is wanted of it, see `vlx.scenes.Make`. With the same
    kinds, a seed in another place, in other colours or with other textures has the same things where they were.

    Raises InputError for a negative seed, a size below 64 pixels, and for what there is not.

    >>> draw(7, kinds="car", place="desert", colors="red", textures="plain").caption
    'a red car in a desert'
    """
    return drawn(seed, size, Make(kinds, place, colors, textures))


def drawn(seed: int, size: int, make: Make) -> Scene:
    """The scene that `draw` draws, of a make."""
    if seed < 0 or size < SMALLEST:
        raise InputError(f"draw(seed={seed}, size={size}): the seed is 0 or more, the size at least {SMALLEST} pixels")
    place, poses, named = _compose(seed, make.kinds)
    place = make.place or place
    poses = tuple(_dressed(pose, make, seed, n) for n, pose in enumerate(poses))
    picture, objects = _render(place, poses, seed, size)
    return Scene(seed, Image.fromarray(picture), place, objects, named)


def named(seed: int, make: Make | None = None) -> tuple[int, ...]:
    """Numbers of the objects that the caption of scene number ``seed`` names; nothing is painted."""
    return _compose(seed, None if make is None else make.kinds)[2]


def _dressed(pose: Pose, make: Make, seed: int, number: int) -> Pose:
    if make.colors is None and make.textures is None:
        return pose
    lot = np.random.default_rng((seed, 5, number))
    color, accent, texture = make.dress(lot, pose.kind, pose.color, pose.accent, pose.texture)
    return replace(pose, color=color, accent=accent, texture=texture)


@cache
def _area(kind: str) -> float:
    return area(kind)


@lru_cache(maxsize=COMPOSED)
def _compose(seed: int, kinds: tuple[str, ...] | None) -> tuple[str, tuple[Pose, ...], tuple[int, ...]]:
    """Try arrangements until one leaves no doubt about what is named, and in which order.

    Decided on silhouettes of one size, so that a scene is named alike at every size.
    """
    rng = np.random.default_rng((seed, 1))
    place = str(rng.choice(list(SCENES)))
    while True:
        poses = _arrange(rng, kinds or rng.choice(list(KINDS), int(rng.choice(4, p=COUNTS)) + 1))
        named = _named(_silhouettes(poses))
        if named is not None:
            return place, poses, named


def _arrange(rng: np.random.Generator, kinds: Sequence[str] | NDArray[np.str_]) -> tuple[Pose, ...]:
    poses = [_pose(rng, str(kind), MAIN_AREA if n < 2 else EXTRA_AREA) for n, kind in enumerate(kinds)]
    return tuple(sorted(poses, key=lambda pose: (not KINDS[pose.kind].flies, pose.y)))


def _pose(rng: np.random.Generator, kind: str, share: tuple[float, float]) -> Pose:
    scale = float(np.sqrt(rng.uniform(*share) / _area(kind)))
    color, accent = rng.choice(list(COLORS), 2, replace=False)
    low, high = (0.02, 0.6) if KINDS[kind].flies else (0.36, 0.99)
    x = rng.uniform(1.0 * scale, 1 - 1.0 * scale)
    y = rng.uniform(max(low, 1.05 * scale), min(high, 1 - 1.05 * scale))
    lean = KINDS[kind].lean
    texture = str(rng.choice(TEXTURES, p=list(SHARES.values())))
    return Pose(kind, str(color), str(accent), texture, float(x), float(y), scale, float(rng.uniform(-lean, lean)))


def _render(
    place: str, poses: tuple[Pose, ...], seed: int, size: int
) -> tuple[NDArray[np.uint8], tuple[SceneObject, ...]]:
    rng = np.random.default_rng((seed, 2))
    picture = backgrounds.paint(place, rng, size)
    parts = [paint_object(picture, pose, np.random.default_rng((seed, 3, n))) for n, pose in enumerate(poses)]
    return backgrounds.light(picture, rng), _objects(poses, parts)


def _silhouettes(poses: tuple[Pose, ...], size: int = 64) -> tuple[SceneObject, ...]:
    """The objects on an empty picture: enough to see what hides what."""
    blank = np.zeros((size, size, 3), np.float32)
    return _objects(poses, [paint_object(blank, pose, np.random.default_rng(0)) for pose in poses])


def _objects(poses: tuple[Pose, ...], parts: list[dict[str, Mask]]) -> tuple[SceneObject, ...]:
    covered = np.zeros_like(next(iter(parts[0].values())))
    objects: list[SceneObject] = []
    for pose, masks in reversed(list(zip(poses, parts, strict=True))):
        whole = np.logical_or.reduce(list(masks.values()))
        visible = {name: mask & ~covered for name, mask in masks.items()}
        complete = max(pose.scale**2 * _area(pose.kind) * whole.size, 1.0)
        objects.append(SceneObject(pose, visible, float(np.clip(1 - (whole & ~covered).sum() / complete, 0, 1))))
        covered = covered | whole
    return tuple(reversed(objects))


def _named(objects: tuple[SceneObject, ...]) -> tuple[int, ...] | None:
    """Numbers of the objects that the caption names, left to right; None if that would be a close call."""
    if any(DOUBTFUL[0] < thing.hidden < DOUBTFUL[1] or thing.hidden > 0.9 for thing in objects):
        return None
    areas = [int(thing.mask.sum()) for thing in objects]
    able = sorted((n for n, thing in enumerate(objects) if thing.hidden <= NAMEABLE), key=lambda n: -areas[n])
    if not able or (len(able) > 2 and areas[able[2]] > CLEAR_LEAD * areas[able[1]]):
        return None
    named = sorted(able[:2], key=lambda n: objects[n].pose.x)
    if len(named) == 2 and objects[named[1]].pose.x - objects[named[0]].pose.x < CLEAR_ORDER:
        return None
    return tuple(named)

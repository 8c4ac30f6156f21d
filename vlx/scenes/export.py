"""Scenes on disk: PNG pictures and one COCO-style JSON with captions, instances, parts, colours and textures."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vlx.errors import InputError, OutputError
from vlx.files.whole import write_text
from vlx.pictures.opening import save_png
from vlx.scenes.compose import draw
from vlx.scenes.painter import Mask, painted_with
from vlx.scenes.scene import Scene
from vlx.scenes.things import SceneObject
from vlx.scenes.world import KINDS, SCENES

MANIFEST = "scenes.json"


def export(
    count: int, out: Path, first: int = 0, size: int = 256, progress: Callable[[Iterable[int]], Iterable[int]] = iter
) -> Path:
    """Write scenes ``first`` to ``first + count − 1`` to ``out``; returns the path of the JSON, which is written last.

    Segmentations are COCO's uncompressed run lengths (column by column, beginning with zeros), exact to the pixel.
    Raises InputError for a count below 1 and OutputError when ``out`` cannot be written.
    """
    if count < 1:
        raise InputError(f"count={count}; draw at least one scene")
    draw(first, size)  # refuses a wrong seed or size before anything is written
    pictures, notes = [], []
    try:
        (out / "images").mkdir(parents=True, exist_ok=True)
        for seed in progress(range(first, first + count)):
            scene = draw(seed, size)
            name = f"images/{seed:08d}.png"
            save_png(scene.image, out / name)
            pictures.append(
                {
                    "id": seed,
                    "file_name": name,
                    "width": size,
                    "height": size,
                    "scene": scene.place,
                    "caption": scene.caption,
                }
            )
            notes += [_annotation(thing, number, scene) for number, thing in enumerate(scene.objects)]
        return _write(out / MANIFEST, _coco(pictures, notes))
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written ({error.strerror or error}); give another folder with --out"
        ) from None


def run_lengths(mask: Mask) -> dict[str, Any]:
    """A mask, bool [H, W], as COCO's uncompressed RLE: {"size": [H, W], "counts": […]}."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    if mask.size in changes:
        counts = counts[:-1]
    return {"size": list(mask.shape), "counts": counts.tolist()}


def _coco(pictures: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    captions = [
        {"id": number, "image_id": picture["id"], "caption": picture["caption"]}
        for number, picture in enumerate(pictures)
    ]
    return {
        "info": {"description": "vlx.scenes", "version": 1},
        "images": pictures,
        "captions": captions,
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations)],
        "categories": [{"id": number, "name": kind, "supercategory": "object"} for number, kind in enumerate(KINDS, 1)],
        "scenes": list(SCENES),
    }


def _annotation(thing: SceneObject, number: int, scene: Scene) -> dict[str, Any]:
    painted = painted_with(thing.pose)
    return {
        "image_id": scene.seed,
        "category_id": list(KINDS).index(thing.kind) + 1,
        "bbox": list(thing.box),
        "area": int(thing.mask.sum()),
        "iscrowd": 0,
        "segmentation": run_lengths(thing.mask),
        "color": thing.color,
        "texture": thing.texture,
        "hidden": round(thing.hidden, 4),
        "named": number in scene.named,
        "parts": [
            {"name": name, "color": painted.get(name), "area": int(mask.sum()), "segmentation": run_lengths(mask)}
            for name, mask in thing.parts.items()
            if mask.any()
        ],
    }


def _write(path: Path, content: dict[str, Any]) -> Path:
    write_text(path, json.dumps(content))
    return path

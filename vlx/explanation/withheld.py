"""The picture of an explanation that was saved without it: its hash, plain grey in its place, and how it comes back."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vlx.errors import InputError
from vlx.explanation.records import Array, Explanation
from vlx.pictures.opening import MAX_PIXELS, open_image

GREY = 128
ON_GREY = "saved without its picture and drawn on grey; Explanation.load(path, picture=…) puts it back"


def sha256(image: Array) -> str:
    """SHA-256 of a picture's pixels, uint8 [H, W, 3], row by row, as 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()


def sha256_of(why: Explanation) -> str:
    """That of an explanation's picture, whether it is there or not."""
    return why.missing or sha256(why.image)


def grey(height: int, width: int) -> Array:
    """A plain picture that takes no memory until it is drawn."""
    if height * width > MAX_PIXELS:
        raise ValueError(f"a picture of more than {MAX_PIXELS // 10**6} million pixels")
    return np.broadcast_to(np.uint8(GREY), (height, width, 3))


def bare(notes: Iterable[str]) -> tuple[str, ...]:
    """Notes without the one that the picture is not there."""
    return tuple(note for note in notes if note != ON_GREY)


def given_back(why: Explanation, picture: Any, path: Path) -> Explanation:
    """The explanation of the file ``path`` with its picture. Raises InputError where that is another one."""
    opened = open_image(picture)
    image = np.asarray(opened.image)
    if image.shape != why.image.shape or sha256(image) != sha256_of(why):
        height, width = why.image.shape[:2]
        told = f"{image.shape[1]}×{image.shape[0]} pixels, not {width}×{height}"
        differs = told if image.shape != why.image.shape else "other pixels: edited, or saved anew with loss?"
        raise InputError(f"{opened.name} is not the picture that {path} explains ({differs}); give the very file")
    if why.missing is None:
        return why
    others = tuple(_with(other, image) if other.missing == why.missing else other for other in why.others)
    return replace(_with(why, image), others=others)


def _with(why: Explanation, image: Array) -> Explanation:
    return replace(why, image=image, missing=None, notes=bare(why.notes))

"""What each picture of a dissection held when it was read, so that one that changed meanwhile is noticed."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.data.concepts import Labelled
from vlx.data.example import ConceptData, Filed
from vlx.errors import InputError
from vlx.files.whole import read_bytes

REMEDY = "; put back what it was, or dissect anew"

Progress = Callable[[Iterable[Any], str], Iterable[Any]]


class Contents:
    """A hash of every picture of ``data`` with its labels, taken as it is read: ``hashes`` uint64 [N], 0 for not yet.

    Of data that name their files (`Filed`) it is over the files' bytes, of others over pixels and labels.
    """

    def __init__(self, data: ConceptData) -> None:
        self.data, self.hashes = data, np.zeros(len(data), np.uint64)

    def note(self, number: int, picture: Labelled | None) -> None:
        """Picture ``number`` was read, or could not be; raises InputError when it held something else before."""
        if isinstance(self.data, Filed):
            self._take(number, _of_files(self.data.files(number)), REMEDY)
        elif picture is not None:
            self._take(number, _of_pixels(picture), REMEDY)

    def gather(self, numbers: Sequence[int], hashes: NDArray[np.uint64]) -> None:
        """What another process noted of pictures; raises as `note`."""
        for number, digest in zip(numbers, hashes, strict=True):
            self._take(number, digest, REMEDY)

    def restore(self, hashes: NDArray[np.uint64], progress: Progress) -> None:
        """Take up what was kept; raises InputError when a file that was read then holds something else now."""
        if hashes.shape != self.hashes.shape or hashes.dtype != self.hashes.dtype:
            raise InputError(f"it tells of {len(hashes)} pictures, and {self.data.name} has {len(self.hashes)}")
        self.hashes = hashes
        if isinstance(self.data, Filed):
            for number in progress(np.flatnonzero(hashes).tolist(), "looking for changes"):
                self._take(number, _of_files(self.data.files(number)))

    def digest(self) -> str:
        """A hash of all of them."""
        return hashlib.sha256(self.hashes.astype("<u8").tobytes()).hexdigest()

    def _take(self, number: int, digest: np.uint64, remedy: str = "") -> None:
        if self.hashes[number] not in (0, digest):
            raise InputError(f"{self._where(number)} has changed since the dissection was begun{remedy}")
        self.hashes[number] = digest

    def _where(self, number: int) -> str:
        if isinstance(self.data, Filed):
            return str(self.data.files(number)[0])
        return f"{self.data.name}, picture {number}"


def _of_files(paths: Sequence[Path]) -> np.uint64:
    hasher = hashlib.sha256()
    for path in paths:
        try:
            hasher.update(b"file" + hashlib.sha256(read_bytes(path)).digest())
        except InputError:  # who reads the picture says so
            hasher.update(b"none")
    return _short(hasher.digest())


def _of_pixels(picture: Labelled) -> np.uint64:
    hasher = hashlib.sha256(f"{picture.image.size} {picture.labels.shape} {picture.labels.dtype}".encode())
    hasher.update(picture.image.tobytes())
    hasher.update(np.ascontiguousarray(picture.labels).tobytes())
    hasher.update(repr(tuple(map(int, picture.whole))).encode())
    return _short(hasher.digest())


def _short(digest: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(digest[:8], "little") or 1)

"""Many scenes at once, for training and measuring: drawn by all cores, kept on disk if asked."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from vlx.scenes.compose import draw

BATCH = 250


@dataclass(frozen=True, eq=False)
class Corpus:
    """``pictures`` uint8 [N, S, S, 3] and their ``captions``, in the order of their seeds."""

    pictures: NDArray[np.uint8]
    captions: tuple[str, ...]


def corpus(first: int, count: int, cache: Path | None = None, size: int = 128) -> Corpus:
    """Scenes number ``first`` to ``first + count − 1``; read from the folder ``cache`` when they are there."""
    name = f"scenes-{first}-{count}-{size}"
    if cache is not None and (cache / f"{name}.json").is_file():
        captions = json.loads((cache / f"{name}.json").read_text(encoding="utf-8"))
        return Corpus(np.load(cache / f"{name}.npy"), tuple(captions))
    made = _drawn(first, count, size)
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        np.save(cache / f"{name}.npy", made.pictures)
        (cache / f"{name}.json").write_text(json.dumps(made.captions), encoding="utf-8")
    return made


def _drawn(first: int, count: int, size: int) -> Corpus:
    pictures = np.empty((count, size, size, 3), np.uint8)
    captions: list[str] = []
    for batch_pictures, batch_captions in track(_batches(first, count, size), "drawing", -(-count // BATCH)):
        pictures[len(captions) : len(captions) + len(batch_captions)] = batch_pictures
        captions += batch_captions
    return Corpus(pictures, tuple(captions))


def _batches(first: int, count: int, size: int) -> Iterator[tuple[NDArray[np.uint8], list[str]]]:
    jobs = [(start, min(BATCH, first + count - start), size) for start in range(first, first + count, BATCH)]
    if len(jobs) == 1:
        yield _draw_batch(jobs[0])
        return
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_draw_batch, jobs)


def _draw_batch(job: tuple[int, int, int]) -> tuple[NDArray[np.uint8], list[str]]:
    start, count, size = job
    scenes = [draw(seed, size) for seed in range(start, start + count)]
    return np.stack([np.asarray(scene.image) for scene in scenes]), [scene.caption for scene in scenes]

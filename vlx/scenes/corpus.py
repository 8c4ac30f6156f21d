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
from vlx.scenes.scene import Scene

BATCH = 250
CELLS = 16
LONGEST = 12  # words in the longest caption of this world


@dataclass(frozen=True, eq=False)
class Corpus:
    """``pictures`` uint8 [N, S, S, 3] and their ``captions``, in the order of their seeds.

    ``grounds`` says where each caption word's thing is, on a grid of CELLS × CELLS points of the picture: bits packed
    in uint8 [N, LONGEST, CELLS² / 8], all zero for words that speak of no thing.
    """

    pictures: NDArray[np.uint8]
    captions: tuple[str, ...]
    grounds: NDArray[np.uint8]


def corpus(first: int, count: int, cache: Path | None = None, size: int = 128) -> Corpus:
    """Scenes number ``first`` to ``first + count − 1``; read from the folder ``cache`` when they are there."""
    name = f"scenes-{first}-{count}-{size}"
    if cache is not None and (cache / f"{name}.json").is_file():
        captions = json.loads((cache / f"{name}.json").read_text(encoding="utf-8"))
        return Corpus(np.load(cache / f"{name}.npy"), tuple(captions), np.load(cache / f"{name}-grounds.npy"))
    made = _drawn(first, count, size)
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
        np.save(cache / f"{name}.npy", made.pictures)
        np.save(cache / f"{name}-grounds.npy", made.grounds)
        (cache / f"{name}.json").write_text(json.dumps(made.captions), encoding="utf-8")
    return made


def _drawn(first: int, count: int, size: int) -> Corpus:
    pictures = np.empty((count, size, size, 3), np.uint8)
    grounds = np.empty((count, LONGEST, CELLS * CELLS // 8), np.uint8)
    captions: list[str] = []
    for batch in track(_batches(first, count, size), "drawing", -(-count // BATCH)):
        place = slice(len(captions), len(captions) + len(batch.captions))
        pictures[place], grounds[place] = batch.pictures, batch.grounds
        captions += batch.captions
    return Corpus(pictures, tuple(captions), grounds)


def _batches(first: int, count: int, size: int) -> Iterator[Corpus]:
    jobs = [(start, min(BATCH, first + count - start), size) for start in range(first, first + count, BATCH)]
    if len(jobs) == 1:
        yield _draw_batch(jobs[0])
        return
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_draw_batch, jobs)


def _draw_batch(job: tuple[int, int, int]) -> Corpus:
    start, count, size = job
    scenes = [draw(seed, size) for seed in range(start, start + count)]
    pictures = np.stack([np.asarray(scene.image) for scene in scenes])
    return Corpus(pictures, tuple(scene.caption for scene in scenes), np.stack([_grounds(scene) for scene in scenes]))


def _grounds(scene: Scene) -> NDArray[np.uint8]:
    step = scene.size // CELLS
    cells = np.zeros((LONGEST, CELLS, CELLS), bool)
    for number, word in enumerate(scene.words):
        if word.mask is not None:
            cells[number] = word.mask[::step, ::step]
    return np.packbits(cells.reshape(LONGEST, -1), axis=1)

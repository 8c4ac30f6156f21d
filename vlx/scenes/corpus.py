"""Many scenes at once, for training and measuring: drawn by all cores, kept on disk if asked."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from vlx.files import json_files
from vlx.files.whole import replacing, write_text
from vlx.scenes.compose import draw
from vlx.scenes.painter import Mask
from vlx.scenes.questions import Question
from vlx.scenes.scene import Scene

BATCH = 250
CELLS = 16
LONGEST = 12  # words in the longest caption of this world
MOST = 16  # questions about one scene


class AskedScene(NamedTuple):
    """A question without its masks."""

    text: str
    answer: str
    kind: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """``pictures`` uint8 [N, S, S, 3], their ``captions`` and ``questions``, in the order of their seeds.

    ``grounds`` says where each caption word's thing is, on a grid of CELLS × CELLS squares of the picture: bits packed
    in uint8 [N, LONGEST, CELLS² / 8], all zero for words that speak of no thing. ``focus`` says the same of the first
    and the last thing that a question names, uint8 [N, MOST, 2, CELLS² / 8]; all zero for counts and missing things.
    """

    pictures: NDArray[np.uint8]
    captions: tuple[str, ...]
    questions: tuple[tuple[AskedScene, ...], ...]
    grounds: NDArray[np.uint8]
    focus: NDArray[np.uint8]


def corpus(first: int, count: int, cache: Path | None = None, size: int = 128) -> Corpus:
    """Scenes number ``first`` to ``first + count − 1``; read from the folder ``cache`` when they are there."""
    if cache is None:
        return _drawn(first, count, size)
    stem = f"scenes-{first}-{count}-{size}"
    texts = cache / f"{stem}.json"
    if not texts.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        _write(_drawn(first, count, size), cache, stem)
    record = json_files.read(texts)
    questions = tuple(tuple(AskedScene(*one) for one in about) for about in record["questions"])
    arrays = (np.load(cache / f"{stem}-{name}.npy") for name in ("pictures", "grounds", "focus"))
    pictures, grounds, focus = arrays
    return Corpus(pictures, tuple(record["captions"]), questions, grounds, focus)


def _write(drawn: Corpus, cache: Path, stem: str) -> None:
    """The texts come last: they say that the rest is whole."""
    for name in ("pictures", "grounds", "focus"):
        array = getattr(drawn, name)
        with replacing(cache / f"{stem}-{name}.npy", array.nbytes) as partial:
            np.save(partial, array)
    write_text(cache / f"{stem}.json", json.dumps({"captions": drawn.captions, "questions": drawn.questions}))


def _drawn(first: int, count: int, size: int) -> Corpus:
    batches = list(track(_batches(first, count, size), "drawing", -(-count // BATCH)))
    return Corpus(
        np.concatenate([batch.pictures for batch in batches]),
        tuple(caption for batch in batches for caption in batch.captions),
        tuple(about for batch in batches for about in batch.questions),
        np.concatenate([batch.grounds for batch in batches]),
        np.concatenate([batch.focus for batch in batches]),
    )


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
    return Corpus(
        np.stack([np.asarray(scene.image) for scene in scenes]),
        tuple(scene.caption for scene in scenes),
        tuple(tuple(AskedScene(asked.text, asked.answer, asked.kind) for asked in scene.questions) for scene in scenes),
        np.stack([_grounds(scene) for scene in scenes]),
        np.stack([_focus(scene.questions) for scene in scenes]),
    )


def _grounds(scene: Scene) -> NDArray[np.uint8]:
    return _packed({number: word.mask for number, word in enumerate(scene.words)}, LONGEST)


def _focus(questions: tuple[Question, ...]) -> NDArray[np.uint8]:
    ends: dict[int, Mask | None] = {}
    for number, asked in enumerate(questions):
        if asked.focus and asked.kind != "count":
            ends[2 * number], ends[2 * number + 1] = asked.focus[0], asked.focus[-1]
    return _packed(ends, 2 * MOST).reshape(MOST, 2, -1)


def _packed(masks: dict[int, Mask | None], count: int) -> NDArray[np.uint8]:
    cells = np.zeros((count, CELLS, CELLS), bool)
    for number, mask in masks.items():
        if mask is not None and mask.any():
            cells[number] = covered(mask, CELLS)
    return np.packbits(cells.reshape(count, -1), axis=1)


def covered(mask: Mask, cells: int) -> Mask:
    """The cells that the mask covers by half, or those that it covers most: bool [cells, cells].

    Cell n is the square of one step around pixel n · step, as strided convolutions place it.
    """
    step = len(mask) // cells
    shifted = np.pad(mask, ((step // 2, 0), (step // 2, 0)))[: len(mask), : len(mask)]
    shares = shifted.reshape(cells, step, cells, step).mean((1, 3))
    return np.asarray(shares >= min(0.5, float(shares.max())))

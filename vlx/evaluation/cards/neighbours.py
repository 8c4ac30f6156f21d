"""What a caption scores that nobody made for the picture: one for all, and one of the nearest training photograph."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlx.data.captioned import Photograph, words_of
from vlx.errors import InputError
from vlx.evaluation.metrics.caption_scores import LONGEST, bleu, most_grams
from vlx.evaluation.metrics.captions import Vectors, looks
from vlx.files import json_files
from vlx.pictures.opening import open_image
from vlx.protocol.task import Task

BATCH = 32

Words = tuple[str, ...]


def one_for_all(rows: Sequence[Photograph]) -> str:
    """The one of all training captions that has the best BLEU-4 when it is said of every training photograph."""
    tried = sorted({tuple(words_of(text)) for row in rows for text in row.captions})
    if not tried:
        raise InputError("no training caption to choose one from")
    met, lengths = Counter[tuple[Words, int]](), list[list[int]]()
    for row in rows:
        written = [words_of(text, None) for text in row.captions]
        lengths.append(sorted(map(len, written)))
        met.update((gram, n) for gram, most in most_grams(written).items() for n in range(1, most + 1))
    nearest_of = {
        size: sum(min(own, key=lambda one: abs(one - size)) for own in lengths) for size in set(map(len, tried))
    }
    counts = np.array([_counts_of_all(words, met, len(rows), nearest_of[len(words)]) for words in tried])
    return " ".join(tried[int(bleu(counts)[:, 3].argmax())])


def _counts_of_all(words: Words, met: Mapping[tuple[Words, int], int], pictures: int, nearest_words: int) -> list[int]:
    """What `caption_scores.counted` counts, summed over all pictures; ``met``: pictures by n-gram and times in one."""
    found = [0] * LONGEST
    for gram, times in most_grams([words]).items():
        found[len(gram) - 1] += sum(met[gram, n] for n in range(1, times + 1))
    said = [max(len(words) - n, 0) * pictures for n in range(LONGEST)]
    return [*found, *said, len(words) * pictures, nearest_words]


def nearest(known: Vectors, asked: Vectors) -> dict[str, str]:
    """Of each picture asked about the known one whose vector has the highest cosine with its own, by name.

    Raises InputError where a picture is among the known ones: it would find itself.
    """
    both = sorted(set(known) & set(asked))
    if both or not known:
        raise InputError(f"nearest photographs: {f'{both[0]} is in both sets' if both else 'none to look among'}")
    names, others = list(known), list(asked)
    near = _unit(np.stack([asked[name] for name in others])) @ _unit(np.stack([known[name] for name in names])).T
    return {name: names[best] for name, best in zip(others, near.argmax(1).tolist(), strict=True)}


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12))


def vectors(
    task: Task, rows: Sequence[Photograph], *, progress: Callable[[Iterable[Any]], Iterable[Any]] = iter
) -> dict[str, NDArray[np.float32]]:
    """`looks` of each photograph by name."""
    found: dict[str, NDArray[np.float32]] = {}
    for batch in progress([rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]):
        pictures = task.place(torch.stack([task.prepare(open_image(row.path).image) for row in batch]))
        found.update(zip((row.name for row in batch), looks(task.features(pictures)), strict=True))
    return found


def kept_vectors(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The same of the maps that a training left in ``folder``: names.json and last.npy [N, K, h, w].

    Raises InputError naming what is missing or does not fit.
    """
    try:
        names = json_files.read(folder / "names.json")
        last = np.load(folder / "last.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no maps of a training there ({str(error)[:120]})") from None
    if last.ndim != 4 or len(names) != len(last):
        raise InputError(f"{folder}: last.npy is {list(last.shape)}, names.json holds {len(names)} names")
    parts = [last[n : n + 512].astype(np.float32).mean((2, 3)) for n in range(0, len(last), 512)]
    return dict(zip(names, np.concatenate(parts), strict=True))

"""Explanations in threads, tasks of asyncio and processes: ``python -m benchmarks.threads [--n 150] [--workers 4]``.

Every worker explains the same scenes with one model that all of them share, each worker in another order and with other
options mixed in. Counted are explanations that differ from the serial ones in any bit: text, numbers, maps.
"""

import asyncio
import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import click
import numpy as np
from rich.table import Table

import vlx
from benchmarks.clock import console_for_tables
from vlx import scenes

OPTIONS: tuple[dict[str, Any], ...] = (  # in turn
    {},
    {"method": "hirescam", "target": "logit"},
    {"beams": 3},
    {"check": False, "seen": False},
)
SIDE = 64  # pixels of a scene


@dataclass(frozen=True)
class Job:
    """A scene, and which of `OPTIONS` it is explained with."""

    seed: int
    options: int


def jobs(n: int) -> list[Job]:
    """The first held-out scenes with all options in turn."""
    return [Job(scenes.HELD_OUT + number, number % len(OPTIONS)) for number in range(n)]


def told(why: "vlx.Explanation") -> str:
    """A hash of all that an explanation says: text, numbers and maps, to the last bit."""
    made = hashlib.sha256(json.dumps([why.text, *map(_numbers, [*why, why.sentence, *why.phrases])]).encode())
    for word in [*why, why.sentence]:
        for array in (word.signed, word.heatmap, word.weights):
            made.update(np.ascontiguousarray(array).tobytes())
    return made.hexdigest()


def _numbers(word: Any) -> list[Any]:
    return [word.label, *(one if one is None else float(one).hex() for one in (word.score, word.logprob, word.seen))]


def explained(task: Any, job: Job) -> str:
    """The hash of one explanation."""
    return told(vlx.explain(task, scenes.draw(job.seed, size=SIDE).image, **OPTIONS[job.options]))


def wrong(task: Any, wanted: Sequence[tuple[Job, str]], worker: int) -> int:
    """How many explanations of one worker are not the wanted ones."""
    order = random.Random(worker).sample(list(wanted), len(wanted))
    return sum(explained(task, job) != own for job, own in order)


def in_pool(pool: Executor, task: Any, wanted: Sequence[tuple[Job, str]], workers: int) -> int:
    """The same over the workers of a pool."""
    with pool:
        return sum(pool.map(wrong, [task] * workers, [wanted] * workers, range(workers)))


def in_threads(task: Any, wanted: Sequence[tuple[Job, str]], workers: int) -> int:
    """The same in threads that share the model."""
    return in_pool(ThreadPoolExecutor(workers), task, wanted, workers)


def in_asyncio(task: Any, wanted: Sequence[tuple[Job, str]], workers: int) -> int:
    """The same by asyncio.to_thread, a task of asyncio for each worker."""

    async def every() -> list[int]:
        return await asyncio.gather(*(asyncio.to_thread(wrong, task, wanted, worker) for worker in range(workers)))

    return sum(asyncio.run(every()))


_shared: Any = None  # a forked process has what its parent had


def _forked(wanted: Sequence[tuple[Job, str]], worker: int) -> int:
    return wrong(_shared, wanted, worker)


def _loaded(model: str, wanted: Sequence[tuple[Job, str]], worker: int) -> int:
    return wrong(vlx.load(model), wanted, worker)


def in_forks(task: Any, wanted: Sequence[tuple[Job, str]], workers: int) -> int:
    """The same in forked processes, of which the parent loaded the model and has used it."""
    global _shared
    _shared = task
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        return sum(pool.map(_forked, [wanted] * workers, range(workers)))


def in_spawned(task: Any, wanted: Sequence[tuple[Job, str]], workers: int) -> int:
    """The same in new processes that load the model themselves."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return sum(pool.map(_loaded, [task.name] * workers, [wanted] * workers, range(workers)))


WAYS: dict[str, Callable[[Any, Sequence[tuple[Job, str]], int], int]] = {
    "threads": in_threads,
    "asyncio.to_thread": in_asyncio,
    "fork": in_forks,
    "spawn": in_spawned,
}


@click.command()
@click.option("--n", default=150, show_default=True, help="Explanations of each worker.")
@click.option("--workers", default=4, show_default=True)
@click.option("--model", default="scenes/captioner", show_default=True)
def main(n: int, workers: int, model: str) -> None:
    """Print a table: way, explanations, how many differ from the serial ones."""
    task = vlx.load(model)
    wanted = [(job, explained(task, job)) for job in jobs(n)]
    table = Table("way", "explanations", "differ", "seconds", title=f"{model}: {workers} workers × {n}")
    for name, way in WAYS.items():
        began = time.perf_counter()
        differ = way(task, wanted, workers)
        table.add_row(name, str(workers * n), str(differ), f"{time.perf_counter() - began:.0f}")
    console_for_tables().print(table)


if __name__ == "__main__":
    main()

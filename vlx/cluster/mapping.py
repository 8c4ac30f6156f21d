"""Units of work over the workers of a cluster: Ray Data's actors, retries and back pressure, and nothing of our own."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vlx import errors
from vlx.cluster.session import imported, threads
from vlx.errors import VlxError

RETRIES = 2  # of a unit whose worker died
LOGGERS = ("ray.data", "ray")

Work = Callable[[bytes], Iterator[bytes]]


@dataclass(frozen=True)
class Pool:
    """How many workers, and whether each has a GPU."""

    workers: int
    gpu: bool = False


class Worker:
    """An actor: makes its ``work`` once, at its first unit, and does it for every unit.

    What it yields goes to the driver at once. An exception is no crash: it is told, and ends the job there.
    """

    def __init__(self, make: Callable[[], Work], count: int, folder: str) -> None:
        self._make, self._threads, self._folder = make, count, folder
        self._work: Work | None = None

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
        """What is made of the units of a batch, as Ray Data hands it over, one at a time."""
        for unit in batch["unit"]:
            try:
                for result in self._ready()(unit):
                    yield {"made": [result], "refused": [""]}
            except Exception as error:
                yield {"made": [b""], "refused": [f"{type(error).__name__}: {error}"]}

    def _ready(self) -> Work:
        if self._work is None:
            import torch

            torch.set_num_threads(self._threads)
            if os.path.isdir(self._folder):  # paths are taken from where the driver was started
                os.chdir(self._folder)
            self._work = self._make()
        return self._work


def mapped(units: Sequence[bytes], make: Callable[[], Work], pool: Pool, *, ordered: bool = False) -> Iterator[bytes]:
    """What the workers make of the units, as it arrives, or in the order of the units.

    A unit whose worker dies is done again, `RETRIES` times, and then left out: the caller sees that it is missing.
    Raises what a worker raised, where it is a VlxError in its own class.
    """
    imported()  # ray.data sets its loggers when it is imported
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():  # of Ray's own ways; see its bounds in pyproject.toml
        warnings.simplefilter("ignore", DeprecationWarning)
        rows = _planned(units, make, pool, ordered)
    for row in rows.iter_rows():
        if row["refused"]:
            raise _refused(row["refused"])
        yield row["made"]


def _planned(units: Sequence[bytes], make: Callable[[], Work], pool: Pool, ordered: bool) -> Any:
    """The data set that is there when its rows are asked for."""
    data = imported().data
    context = data.DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.target_max_block_size = 1  # a result leaves the worker when it is there, not when its unit is done
    context.max_errored_blocks = -1
    context.execution_options.preserve_order = ordered
    with data.DataContext.current(context):
        rows = data.from_items([{"unit": unit} for unit in units], override_num_blocks=len(units))
        return rows.map_batches(
            Worker,
            fn_constructor_args=(make, threads(), os.getcwd()),
            batch_size=1,
            batch_format="numpy",
            compute=data.ActorPoolStrategy(size=min(pool.workers, len(units))),
            num_cpus=0 if pool.gpu else threads(),
            num_gpus=1 if pool.gpu else None,
            max_task_retries=RETRIES,
        )


def _refused(message: str) -> Exception:
    """The exception that a worker tells of."""
    kind, _, text = message.partition(": ")
    error_class = getattr(errors, kind, None)
    if isinstance(error_class, type) and issubclass(error_class, VlxError):
        return error_class(text)
    return RuntimeError(f"in a worker of the cluster: {message}")

"""Timing ways of doing the same thing against each other, and the memory that each adds."""

import ctypes
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import Progress

THREADS = 2
WIDTH = 120
SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}


Name = TypeVar("Name")


@dataclass(frozen=True, eq=False)
class Times:
    """Seconds of each timed round: of the process on all its cores (``cpu``) and on the wall."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median process seconds."""
        return statistics.median(self.cpu)

    @property
    def least(self) -> float:
        """Least process seconds."""
        return min(self.cpu)

    @property
    def median_wall(self) -> float:
        """Median seconds on the wall."""
        return statistics.median(self.wall)


def restart_settled(module: str) -> None:
    """Start ``python -m module`` anew with two threads that sleep while they wait.

    Threads that spin are billed for waiting: on shared cores that inflates every figure several times. The setting is
    read when torch is loaded, hence the new start.
    """
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], {**os.environ, **SETTINGS})
    torch.set_num_threads(THREADS)


def round_robin(
    ways: Mapping[Name, Callable[[], object]], rounds: int, between: Callable[[], None] = lambda: None
) -> dict[Name, Times]:
    """Time every way once a round, so that a busy moment falls on all of them; one round before is not counted."""
    cpu: dict[Name, list[float]] = {name: [] for name in ways}
    wall: dict[Name, list[float]] = {name: [] for name in ways}
    with Progress(transient=True) as progress:
        bar = progress.add_task("timing", total=(rounds + 1) * len(ways))
        for number in range(rounds + 1):
            for name, way in ways.items():
                between()
                gc.collect()
                at, used = time.perf_counter(), time.process_time()
                way()
                used, at = time.process_time() - used, time.perf_counter() - at
                if number > 0:
                    cpu[name].append(used)
                    wall[name].append(at)
                progress.advance(bar)
    return {name: Times(tuple(cpu[name]), tuple(wall[name])) for name in ways}


def console_for_tables() -> Console:
    """A console that does not cut columns where the output is piped or the window is narrow."""
    console = Console()
    return Console(width=max(console.width, WIDTH))


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The exponent p of the power law value ∝ size^p, by least squares of the logarithms."""
    x, y = (torch.tensor(numbers, dtype=torch.double).log() for numbers in (sizes, values))
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def memory_is_measurable() -> bool:
    """Whether this system tells a process's peak and lets it be reset (Linux)."""
    return os.access("/proc/self/clear_refs", os.W_OK)


def added_memory(before: Callable[[], object], way: Callable[[], object]) -> float:
    """Megabytes (10⁶ bytes) by which ``way`` raises the peak of resident memory, once ``before`` has run.

    Only meaningful in a fresh process: what was freed before is used again without a trace.
    """
    before()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    resident = _status("VmRSS")
    way()
    return (_status("VmHWM") - resident) / 1e6


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))

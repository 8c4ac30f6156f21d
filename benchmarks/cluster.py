"""Two workers against one: ``python -m benchmarks.cluster [--n 60] [--kill]``.

``vlx caption`` over drawn scenes without Ray, then on a local Ray cluster of one CPU and of two, one thread a worker.
Told are results a second between the first and the last (starting Ray and loading the model are paid once), and CPU
seconds a picture of workers and of the driver. On a machine that others use the clock tells of them, too:
``if_undisturbed`` is the rate that those CPU seconds allow on two CPUs that nobody else uses; it leaves out Ray's own
processes. Then files are compared with those of the run without Ray; with ``--kill`` one of two workers is killed after
a third of the pictures.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

import vlx
from benchmarks.killed import files
from vlx import cluster, folder, scenes
from vlx.cli import running
from vlx.folder.manifest import Job, Manifest
from vlx.protocol.identity import task_digest
from vlx.protocol.task import Task

MODEL = "scenes/captioner"
CPUS = 2
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


@dataclass
class Told:
    """When results arrived, on the clock, and what this process had taken of a CPU by then."""

    began: float
    times: list[float]
    took: list[float]

    @property
    def rate(self) -> float:
        """Results a second between the first and the last."""
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])

    @property
    def driver(self) -> float:
        """CPU seconds of this process a result, between the first and the last."""
        return (self.took[-1] - self.took[0]) / (len(self.took) - 1)


def timed(task: Task, marks: Path) -> Any:
    """Explains, and keeps in ``marks`` how many CPU seconds this process took for how many pictures."""
    plain = running.explained(task, (), {"names": "shipped"}, keep=True)
    count = 0
    began = 0.0

    def explained(items: Any) -> Any:
        nonlocal count, began
        for item in items:
            began = began or time.process_time()
            found = list(plain([item]))  # nobody comes back for what stands behind the last one of a unit
            count += 1
            (marks / str(os.getpid())).write_text(json.dumps([time.process_time() - began, count]))
            yield from found

    return explained


def run(pictures: Path, out: Path, workers: int, kill: bool = False) -> tuple[Told, list[list[float]]]:
    """One run on a cluster of its own."""
    marks = out.with_name(f"{out.name}-marks")
    out.mkdir()
    marks.mkdir()
    load = partial(vlx.load, MODEL)
    plan = cluster.Plan(load, task_digest, task_digest(load()), partial(timed, marks=marks))
    items = folder.items([str(pictures)]).items
    told = Told(time.perf_counter(), [], [])
    killed: list[int] = []

    def heard(_record: Any, _why: Any) -> None:
        told.times.append(time.perf_counter())
        told.took.append(time.process_time())
        if kill and not killed and 3 * len(told.times) > len(items):
            killed.append(int(next(marks.iterdir()).name))
            os.kill(killed[0], signal.SIGKILL)

    explain: Callable[[Any], Any] = lambda _items: ()  # noqa: E731
    with Manifest.opened(out, Job("caption", MODEL)) as held:
        elsewhere = partial(cluster.explained, plan, cluster.Pool(workers))
        folder.run(held, items, explain, told=heard, elsewhere=elsewhere)
    return told, [json.loads(path.read_text()) for path in marks.iterdir()]


def alone(pictures: Path, out: Path) -> float:
    """The same without Ray; pictures a CPU second."""
    out.mkdir()
    task = vlx.load(MODEL)
    items = folder.items([str(pictures)]).items
    began = time.process_time()
    with Manifest.opened(out, Job("caption", MODEL)) as held:
        folder.run(held, items, running.explained(task, (), {"names": "shipped"}, keep=True))
    return len(items) / (time.process_time() - began)


@click.command()
@click.option("--n", default=60, show_default=True, help="Scenes.")
@click.option("--workers", default=0, hidden=True, help="Of the one run that this process makes.")
@click.option("--kill", is_flag=True, help="Kill one of two workers on the way.")
@click.option("--into", type=click.Path(path_type=Path), hidden=True)
def main(n: int, workers: int, kill: bool, into: Path | None) -> None:
    """Print rates and what differs."""
    if into is not None:
        _one(into, workers, kill)
        return
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        (top / "pictures").mkdir()
        for number in range(n):
            scenes.draw(scenes.HELD_OUT + number, size=128).image.save(top / "pictures" / f"{number:04}.png")
        os.environ.update(ENVIRONMENT)
        given = [sys.executable, "-m", "benchmarks.cluster", "--into", str(top)]
        rates = {}
        for count in (0, 1, 2):
            made = subprocess.run(
                [*given, "--workers", str(count), *(["--kill"] if kill and count == 2 else [])],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            rates[count] = json.loads(made.stdout.splitlines()[-1])
            click.echo(f"{count or 'no'} workers: {rates[count]}")
        wall = rates[2]["per_second"] / rates[1]["per_second"]
        cpu = rates[2]["if_undisturbed"] / rates[1]["if_undisturbed"]
        click.echo(f"two against one: {wall:.2f} × by the clock, {cpu:.2f} × if undisturbed")
        own = {count: files(top / f"out{count}") for count in (0, 1, 2)}
        differ = {name for count in (1, 2) for name in own[0] if own[0][name] != own[count].get(name)}
        click.echo(f"files that differ from those without Ray: {sorted(differ) or 'none'}")


def _one(top: Path, workers: int, kill: bool) -> None:
    out = top / f"out{workers}"
    if not workers:
        click.echo(json.dumps({"per_cpu_second": round(alone(top / "pictures", out), 3)}))
        return
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    told, took = run(top / "pictures", out, workers, kill)
    ray.shutdown()
    cpu, count = sum(seconds for seconds, _ in took), sum(number for _, number in took)
    worker, own = cpu / count, told.driver
    figures = {
        "per_second": told.rate,
        "first_after_seconds": told.times[0] - told.began,
        "worker_cpu_seconds_a_picture": worker,
        "driver_cpu_seconds_a_picture": own,
        "if_undisturbed": 1 / ((worker + own) / CPUS if workers == CPUS else worker),
    }
    click.echo(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

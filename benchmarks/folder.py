"""What a folder of pictures costs: ``python -m benchmarks.folder [--n 200] [--model M] [--memory 100 --memory 1000]``.

Drawn scenes of 128 pixels are saved as PNG and captioned bare (opened, prepared, A and captions in batches of 16), then
explained as `vlx caption` does it: maps; maps and what each word owes to the picture; those and the checks; and the
whole run, with pages, table and gallery. Figures are CPU seconds of this process with one thread, and the throughput
relative to bare captions; all of them are taken in turn on the same few pictures, so that a busy machine slows all
alike. Of a model that is asked, ``--questions`` questions a picture; bare answers see every picture once. ``--memory``:
the peak memory of `vlx caption` over so many pictures, in a process of its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click
import torch

import vlx
from vlx import folder, scenes
from vlx.cli import running
from vlx.pictures.opening import open_image
from vlx.protocol.targets import Query
from vlx.protocol.task import Task

BATCH = 16
CHUNK = 20  # pictures that every kind takes in turn
SIDE = 128
WISHES: dict[str, dict[str, Any]] = {
    "maps": {"seen": False, "check": False},
    "maps and seen": {"check": False},
    "maps, seen and checks": {},
}
QUESTIONS = ("what color is the house?", "is there a dog?", "how many stars are there?", "is there a red thing?")


def draw(into: Path, n: int) -> list[Path]:
    """``n`` scenes as PNG files."""
    into.mkdir()
    paths = [into / f"{number:05}.png" for number in range(n)]
    for number, path in enumerate(paths):
        scenes.draw(scenes.HELD_OUT + number, size=SIDE).image.save(path)
    return paths


def chunks(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Runs of ``size`` items."""
    left = iter(items)
    while run := list(islice(left, size)):
        yield run


def bare(task: Task, paths: Sequence[Path], asked: Sequence[str | None]) -> None:
    """What the model says of the pictures, to every question, and nothing else."""
    for some in chunks(paths, BATCH):
        inputs = torch.stack([task.prepare(open_image(path).image) for path in some])
        features = task.features(task.place(inputs))
        for question in asked:
            task.predict(features, [Query(question=question)] * len(some))


def wished(task: Task, asked: Sequence[str | None], options: dict[str, Any], _out: Path, paths: Sequence[Path]) -> None:
    """The same explained, one picture after the other."""
    both = [(path, question) for path in paths for question in asked]
    texts: dict[str, Any] = {"question": [question for _, question in both]} if task.kind == "vqa" else {}
    for _ in vlx.explain_many(task, [path for path, _ in both], batch_size=1, **options, **texts):
        pass


def whole(task: Task, name: str, out: Path, paths: Sequence[Path], asked: Sequence[str | None]) -> None:
    """A run as the command makes it."""
    texts = [{} if question is None else {"question": question} for question in asked]
    items = [folder.Item(str(path), text) for path in paths for text in texts]
    columns = ("question",) if task.kind == "vqa" else ()
    job = running.job("benchmark", name, task, {})
    out.mkdir()
    with folder.Manifest.opened(out, job) as held:
        folder.run(held, items, running.explained(task, columns, {}, keep=True))


def seconds(act: Callable[[], None]) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    act()
    return time.process_time() - began


def peak(name: str, pictures: Path, out: Path) -> float:
    """The most memory, in MB, of `vlx caption` over a folder."""
    command = [sys.executable, "-m", "vlx", "caption", str(pictures), "--model", name, "-o", str(out), "--quiet"]
    run = subprocess.Popen(command)
    _, status, used = os.wait4(run.pid, 0)
    if status:
        raise click.ClickException(f"vlx caption ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_maxrss / 1024


@click.command()
@click.option("--n", default=200, show_default=True, help="Scenes.")
@click.option("--model", default="scenes/captioner", show_default=True, help="A captioner, or a model that is asked.")
@click.option("--questions", default=1, show_default=True, help="Questions a picture, of a model that is asked.")
@click.option("--memory", multiple=True, type=int, help="Pictures of a run whose peak memory is told; may be repeated.")
def main(n: int, model: str, questions: int, memory: tuple[int, ...]) -> None:
    """Print a line a kind: CPU milliseconds a picture, and the throughput relative to bare captions."""
    torch.set_num_threads(1)
    task = vlx.load(model)
    asked = QUESTIONS[:questions] if task.kind == "vqa" else (None,)
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        paths = draw(top / "pictures", n)
        kinds: dict[str, Callable[[Path, Sequence[Path]], None]] = {"bare": lambda _, some: bare(task, some, asked)}
        for name, options in WISHES.items():
            kinds[name] = partial(wished, task, asked, options)
        kinds["folder run"] = lambda out, some: whole(task, model, out, some, asked)
        spent = dict.fromkeys(kinds, 0.0)
        for act in kinds.values():
            act(top / "first", paths[:2])
        for number, some in enumerate(chunks(paths, CHUNK)):
            for name, act in kinds.items():
                spent[name] += seconds(partial(act, top / f"out{number}", some))
        for name, value in spent.items():
            click.echo(f"{name:22} {1e3 * value / n:8.1f} ms a picture   {spent['bare'] / value:6.3f} of bare")
        for count in memory:
            draw(top / f"memory{count}", count)
            used = peak(model, top / f"memory{count}", top / f"out-memory{count}")
            click.echo(f"peak memory of a run over {count} pictures: {used:.0f} MB")


if __name__ == "__main__":
    main()

"""What vlx does on a GPU, beside the CPU: ``python -m benchmarks.cuda``; without a GPU it says so and ends well.

Every embedded model, a torchvision net and the tiny model of each family of transformers explain one picture on both
devices: texts, scores, maps and every figure that goes with them must agree; then the same in bfloat16 (gross faults
only), the self-test there, and how many times faster it is. Chat models explain a landscape, too, by each kind of
method that they have. A few minutes.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch
import torchvision
from rich.progress import track
from rich.table import Table
from torch import nn

import vlx
from benchmarks.clock import console_for_tables
from vlx import scenes
from vlx.explanation.records import Explanation
from vlx.methods import registry
from vlx.protocol.powers import powers_of
from vlx.protocol.task import Task
from vlx.tasks.classification import Classifier
from vlx.tasks.huggingface import tiny

EMBEDDED = ("scenes/captioner", "scenes/captioner-pooled", "scenes/vqa", "scenes/vqa-biased")
EQUAL = (
    1e-3  # of the largest value of a map, and of a figure that is 1 or more: what float32 and TF32-free kernels leave
)
HALF = 0.25  # the same in bfloat16
ROUNDS = 5
QUESTION = "what color is the car?"
SKIPPED = ("versions", "seconds")
CHAT_METHODS = ("gradattention", "hirescam", "lens-context")  # rows of attention, a gradient at A, a readout


@dataclass(frozen=True)
class Row:
    """One model: whether it said the same, the largest difference, in bfloat16 too, its self-test, and the speed."""

    name: str
    same: bool
    apart: float
    where: str
    half: float
    tested: str
    faster: float

    @property
    def passed(self) -> bool:
        """Whether the devices agree."""
        return self.same and self.apart <= EQUAL and self.half <= HALF and self.tested != "failed"


def models(folder: Path) -> dict[str, Callable[[], Task]]:
    """How each model is made; a new one each time, since devices must not share it."""

    def resnet() -> Task:
        torch.manual_seed(0)
        return Classifier(torchvision.models.resnet18(weights=None).eval(), "layer4")

    made: dict[str, Callable[[], Task]] = {name: lambda name=name: vlx.load(name) for name in EMBEDDED}  # type: ignore[misc]
    made["resnet18, random"] = resnet
    for family in (*tiny.FAMILIES, *tiny.CHATS):
        path = tiny.save(family, folder / family)
        made[f"tiny {family}"] = lambda path=path: vlx.load(f"hf:{path}")  # type: ignore[misc]
    return made


def moved(task: Task, device: str, dtype: torch.dtype | None = None) -> Task:
    """The task with its networks on a device."""
    for part in vars(task).values():
        if isinstance(part, nn.Module):
            part.to(device=device, dtype=dtype)
    return task


def options(task: Task) -> dict[str, Any]:
    """What to ask of a kind of task: all that costs nothing to write."""
    asked: dict[str, Any] = {"question": QUESTION} if task.kind == "vqa" else {}
    return {**asked, "looks": True}


def asks(task: Task) -> Iterator[tuple[Any, dict[str, Any]]]:
    """What is explained of a model: a square by its default; of a chat model a landscape, too, by each method."""
    picture = scenes.draw(10_000_021, size=256).image
    yield picture, options(task)
    if powers_of(task).reads_out is not None:
        landscape = picture.crop((0, 40, 256, 200))
        for method in CHAT_METHODS:
            if registry.choose(method).suits(task):
                yield landscape, {**options(task), "method": method, "looks": False}


def apart(one: Any, other: Any, path: str = "") -> Iterator[tuple[float, str]]:
    """Differences of two explanations, field by field: arrays relative to their peak, figures to 1 or their size."""
    if is_dataclass(one) and not isinstance(one, type):
        for each in fields(one):
            if each.name not in SKIPPED and each.name != "provenance":
                yield from apart(getattr(one, each.name), getattr(other, each.name), f"{path}.{each.name}".strip("."))
    elif isinstance(one, tuple | list):
        if len(one) != len(other):
            yield float("inf"), path
            return
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from apart(a, b, f"{path}[{number}]")
    elif isinstance(one, np.ndarray):
        peak = float(np.abs(one).max(initial=0)) if one.dtype.kind == "f" else 1.0
        gap = (
            float(np.abs(one.astype(float) - other.astype(float)).max(initial=0))
            if one.shape == other.shape
            else np.inf
        )
        yield (gap / peak if peak > 0 else gap), path
    elif isinstance(one, float) and isinstance(other, float):
        yield (0.0 if one == other or one != one else abs(one - other) / max(1.0, abs(one))), path


def seconds(task: Task, picture: Any, asked: dict[str, Any]) -> float:
    """Median seconds of an explanation."""
    taken = []
    for _ in range(ROUNDS):
        at = time.perf_counter()
        vlx.explain(task, picture, **asked)
        taken.append(time.perf_counter() - at)
    return statistics.median(taken)


def row(name: str, make: Callable[[], Task], device: str) -> Row:
    """Compare a model on the CPU and on a device."""
    here, there, rough = make(), moved(make(), device), moved(make(), device, torch.bfloat16)
    same, gaps, halves = True, [(0.0, "")], [(0.0, "")]
    for picture, asked in asks(here):
        known, found = vlx.explain(here, picture, **asked), vlx.explain(there, picture, **asked)
        same &= known.text == found.text
        gaps += [(gap, f"{asked.get('method', '')} {where}".strip()) for gap, where in apart(known, found)]
        halves += apart(_maps(known), _maps(_again(rough, picture, asked, known)))
    picture, asked = next(asks(here))
    tested = str(getattr(there.self_test(picture), "verdict", "passed"))  # type: ignore[attr-defined]
    ratio = seconds(here, picture, asked) / seconds(there, picture, asked)
    return Row(name, same, *max(gaps), max(halves)[0], tested, ratio)


def _again(task: Task, picture: Any, asked: dict[str, Any], known: Explanation) -> Explanation:
    """The same text explained of another copy of the model."""
    forced = {"caption": known.text} if known.task == "captioning" else {"answer": known.text}
    return vlx.explain(task, picture, **{**asked, **forced})


def _maps(why: Explanation) -> list[Any]:
    return [word.signed for word in why]


@click.command()
@click.option("--device", default="cuda", show_default=True, help="The device to compare the CPU with.")
def main(device: str) -> None:
    """Do explanations on a GPU equal the CPU's?"""
    if device.startswith("cuda") and not torch.cuda.is_available():
        click.echo("no CUDA device here: skipped; nothing of this was tried")
        return
    console = console_for_tables()
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    console.print(f"{name}, torch {torch.__version__}; differences relative to a map's peak, or to 1")
    table = Table(box=None)
    for title in ("model", "same text", "apart", "where", "bfloat16 maps", "self-test", "× faster", ""):
        table.add_column(title)
    rows = []
    with TemporaryDirectory() as folder:
        for title, make in track(models(Path(folder)).items(), "comparing", transient=True):
            rows.append(row(title, make, device))
    for one in rows:
        table.add_row(
            one.name,
            "yes" if one.same else "NO",
            f"{one.apart:.1e}",
            one.where,
            f"{one.half:.2f}",
            one.tested,
            f"{one.faster:.1f}",
            "pass" if one.passed else "FAIL",
        )
    console.print(table)
    if not all(one.passed for one in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

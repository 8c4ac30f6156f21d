"""What every training run needs: pictures a little changed, checkpoints, the record of how it was made."""

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from vlx.errors import InputError
from vlx.files import json_files
from vlx.files.whole import replacing, write_text
from vlx.language import shortened

RECIPE = "recipe.json"  # in the run and in its bundle: the commands that made it, first to last


def moved(images: Tensor, generator: torch.Generator, shift: int) -> Tensor:
    """The batch moved by up to ``shift`` pixels, the edge repeated, with a little more or less contrast."""
    top, left = torch.randint(0, 2 * shift + 1, (2,), generator=generator).tolist()
    height, width = images.shape[2:]
    padded = functional.pad(images, (shift,) * 4, mode="replicate") if shift else images
    contrast = 0.9 + 0.2 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return padded[:, :, top : top + height, left : left + width] * contrast


def checkpoint(
    out: Path,
    done: int,
    networks: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """Write all that `resume` needs to ``out / "checkpoint.pt"``, whole or not at all."""
    state = {
        "done": done,
        "networks": networks.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "checkpoint.pt") as partial:
        torch.save(state, partial)


def resume(
    out: Path, networks: nn.Module, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> int:
    """Go on from the checkpoint in ``out``, if there is one; returns how many passes are done."""
    path = out / "checkpoint.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    networks.load_state_dict(state["networks"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    click.echo(f"going on after pass {state['done']}")
    return int(state["done"])


def agreed(out: Path, recipe: Any, free: Collection[str]) -> None:
    """Raises InputError where ``out`` holds a checkpoint of another recipe; fields named in ``free`` may differ."""
    path = out / RECIPE
    if not (path.is_file() and (out / "checkpoint.pt").is_file()):
        return
    before, now = json_files.read(path), json.loads(json.dumps(asdict(recipe)))
    other = [name for name in now if name not in free and before.get(name) != now[name]]
    if other:
        told = shortened("; ".join(f"{name} {before.get(name)!r}, now {now[name]!r}" for name in other), 140)
        raise InputError(f"{out} holds a run of another recipe ({told}); give another --out, or delete the folder")


def record(out: Path, module: str, recipe: Any, start_from: Path | None) -> None:
    """Write the recipe (a dataclass) and the commands that lead to it, those of ``start_from`` first."""
    before = [] if start_from is None else json_files.read(start_from / RECIPE)["commands"]
    written = {"commands": [*before, _command(out, module, recipe, start_from)], **asdict(recipe)}
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / RECIPE, json.dumps(written, indent=1) + "\n")


def _command(out: Path, module: str, recipe: Any, start_from: Path | None) -> str:
    given = [(name.replace("_", "-"), value) for name, value in asdict(recipe).items() if value is not False]
    several = [(name, one) for name, value in given for one in (value if isinstance(value, tuple) else (value,))]
    options = " ".join(f"--{name}" if value is True else f"--{name} {value}" for name, value in several)
    start = "" if start_from is None else f" --start-from {_told(start_from)}"
    return f"python -m {module} --out runs/{out.name} {options}{start}"


def _told(bundle: Path) -> str:
    """Where a bundle is in a checkout: an embedded model, or one in ``runs``."""
    place = "vlx/scenes/models" if bundle.parent.name == "models" else f"runs/{bundle.parent.name}"
    return f"{place}/{bundle.name}"

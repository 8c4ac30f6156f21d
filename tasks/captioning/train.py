"""The recipe of the embedded captioners: ``python -m vlx.tasks.captioning.train --out runs/captioner``.

Draws the scenes (kept in the folder), trains CNN and decoder together, writes a checkpoint after every pass and goes on
from the last one when started again; ends by writing a bundle that ``vlx.load`` opens.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import click
import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional

from vlx.scenes.corpus import Corpus, corpus
from vlx.scenes.vocabulary import END, START, caption_vocabulary
from vlx.tasks.captioning import bundle
from vlx.tasks.captioning.preparation import Preparation
from vlx.tasks.captioning.unroll import Decoder, logits_of

NOTE = (
    "This captioner knows the drawn pictures of vlx.scenes only; for photographs use a captioner trained on them "
    "(your own in CnnLstmCaptioner)."
)
SHIFT = 6  # pixels by which a batch is moved at random


@dataclass(frozen=True)
class Recipe:
    """What decides the result of a training run."""

    entry: bundle.Entry = "attention"
    scenes: int = 20_000
    passes: int = 11
    batch: int = 64
    rate: float = 3e-3
    seed: int = 0


def train(out: Path, recipe: Recipe, cnn_from: Path | None = None) -> None:
    """Train, resuming from ``out`` when it holds a checkpoint of the same recipe, and write ``out / "bundle"``."""
    data = corpus(0, recipe.scenes, out.parent / "corpus")
    config = _config(data, recipe)
    torch.manual_seed(recipe.seed)
    networks = bundle.build(config)
    if cnn_from is not None:
        known = bundle.read_networks(cnn_from, bundle.read_config(cnn_from))
        networks["cnn"].load_state_dict(known["cnn"].state_dict())
    networks.to(memory_format=torch.channels_last)
    steps = recipe.scenes // recipe.batch
    optimizer = torch.optim.AdamW(networks.parameters(), recipe.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=steps * recipe.passes, pct_start=0.15
    )
    done = _resume(out, networks, optimizer, schedule)
    tokens = _tokens(data.captions, config.vocabulary)
    for number in range(done, recipe.passes):
        loss = _one_pass(number, recipe, data, tokens, config.preparation(), networks, optimizer, schedule)
        _checkpoint(out, number + 1, networks, optimizer, schedule)
        bundle.save(out / "bundle", config, networks)
        shutil.copy(out / "recipe.json", out / "bundle")
        click.echo(f"pass {number + 1}/{recipe.passes}: loss {loss:.4f}")


def _config(data: Corpus, recipe: Recipe) -> bundle.Config:
    sample = data.pictures[:: max(len(data.pictures) // 2000, 1)].astype(np.float32) / 255
    mean, std = sample.mean((0, 1, 2)), sample.std((0, 1, 2))
    return bundle.Config(
        vocabulary=tuple(caption_vocabulary()),
        entry=recipe.entry,
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        notes=(NOTE,),
    )


def _tokens(captions: tuple[str, ...], vocabulary: tuple[str, ...]) -> Tensor:
    """START, words, END, padded with −1: int64 [N, longest + 2]."""
    index = {word: number for number, word in enumerate(vocabulary)}
    rows = [[START, *(index[word] for word in caption.split()), END] for caption in captions]
    table = torch.full((len(rows), max(map(len, rows))), -1)
    for row, ids in zip(table, rows, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return table


def _one_pass(
    number: int,
    recipe: Recipe,
    data: Corpus,
    tokens: Tensor,
    preparation: Preparation,
    networks: nn.ModuleDict,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    generator = torch.Generator().manual_seed(recipe.seed * 1000 + number)
    order = torch.randperm(len(tokens), generator=generator)
    networks.train()
    losses: list[float] = []
    columns = (
        TextColumn(f"pass {number + 1}/{recipe.passes}  loss {{task.fields[loss]:.3f}}"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task("", total=recipe.scenes // recipe.batch, loss=float("nan"))
        for chosen in torch.split(order, recipe.batch)[: recipe.scenes // recipe.batch]:
            pictures = torch.from_numpy(data.pictures[chosen.numpy()]).permute(0, 3, 1, 2)
            images = _moved(preparation.normalise(pictures), generator)
            losses.append(_one_step(images, tokens[chosen], networks, optimizer))
            schedule.step()
            progress.update(bar, advance=1, loss=float(np.mean(losses[-50:])))
    return float(np.mean(losses[-200:]))


def _one_step(images: Tensor, tokens: Tensor, networks: nn.ModuleDict, optimizer: torch.optim.Optimizer) -> float:
    with torch.autocast("cpu", torch.bfloat16):
        features = networks["cnn"](images.contiguous(memory_format=torch.channels_last))
    decoder = cast(Decoder, networks["decoder"])
    state = decoder.start(features.float())
    hidden = []
    for step in range(tokens.shape[1] - 1):
        one, state = decoder.step(tokens[:, step].clamp_min(0), state)
        hidden.append(one)
    logits = logits_of(decoder, torch.stack(hidden, 1).flatten(0, 1))
    loss = functional.cross_entropy(logits, tokens[:, 1:].flatten(), ignore_index=-1)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """The batch shifted by up to SHIFT pixels, the edge repeated, with a little more or less contrast."""
    top, left = torch.randint(0, 2 * SHIFT + 1, (2,), generator=generator).tolist()
    height, width = images.shape[2:]
    padded = functional.pad(images, (SHIFT,) * 4, mode="replicate")
    contrast = 0.9 + 0.2 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return padded[:, :, top : top + height, left : left + width] * contrast


def _checkpoint(
    out: Path,
    done: int,
    networks: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    state = {
        "done": done,
        "networks": networks.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    out.mkdir(parents=True, exist_ok=True)
    torch.save(state, out / "checkpoint.tmp")
    os.replace(out / "checkpoint.tmp", out / "checkpoint.pt")


def _resume(
    out: Path, networks: nn.Module, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> int:
    path = out / "checkpoint.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    networks.load_state_dict(state["networks"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    click.echo(f"going on after pass {state['done']}")
    return int(state["done"])


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run: checkpoint and bundle.")
@click.option(
    "--entry",
    type=click.Choice(bundle.ENTRIES),
    default="attention",
    show_default=True,
    help="How the picture enters the decoder.",
)
@click.option("--scenes", default=Recipe.scenes, show_default=True)
@click.option("--passes", default=Recipe.passes, show_default=True)
@click.option("--rate", default=Recipe.rate, show_default=True, help="Highest learning rate.")
@click.option("--seed", default=0, show_default=True)
@click.option("--cnn-from", type=click.Path(path_type=Path, exists=True), help="Start from the CNN of this bundle.")
def main(
    out: Path, entry: bundle.Entry, scenes: int, passes: int, rate: float, seed: int, cnn_from: Path | None
) -> None:
    """Train a captioner on drawn scenes.

    Example: python -m vlx.tasks.captioning.train --out runs/captioner --passes 16
    """
    recipe = Recipe(entry=entry, scenes=scenes, passes=passes, rate=rate, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    written = {"command": _command(recipe, cnn_from), **asdict(recipe)}
    (out / "recipe.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    train(out, recipe, cnn_from)


def _command(recipe: Recipe, cnn_from: Path | None) -> str:
    options = " ".join(f"--{name} {value}" for name, value in asdict(recipe).items() if name != "batch")
    start = "" if cnn_from is None else f" --cnn-from {cnn_from}"
    return f"python -m vlx.tasks.captioning.train --out runs/{recipe.entry} {options}{start}"


if __name__ == "__main__":
    main()

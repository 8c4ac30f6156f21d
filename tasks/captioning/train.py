"""The recipe of the embedded captioners: ``python -m vlx.tasks.captioning.train --out runs/captioner``.

Draws the scenes (kept in the folder), trains CNN and decoder together, writes a checkpoint after every pass and goes on
from the last one when started again; ends by writing a bundle that ``vlx.load`` opens. With ``--data`` it is the recipe
of photographs, `vlx.tasks.photos.train`.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional

from vlx.scenes.corpus import Corpus, corpus
from vlx.scenes.vocabulary import END, START, caption_vocabulary
from vlx.tasks.captioning import bundle
from vlx.tasks.captioning.decoding import Decoder, logits_of
from vlx.tasks.shared import training
from vlx.tasks.shared.scene_models import SCENES, Preparation, SceneCnn

BATCH = 64
SHIFT = 6  # pixels by which a batch is moved at random


@dataclass(frozen=True)
class CaptionerRecipe:
    """What decides the result of a training run.

    Scenes ``first`` to ``first + scenes − 1``; the learning rate rises to ``rate`` and falls to 0 over ``passes``,
    of which ``until`` are made. ``grounding`` weighs the wish that attention for a word that names a thing lies on
    that very thing (supervised attention, Liu et al. 2017, 1605.09553).
    """

    entry: bundle.Entry = "attention"
    wide: bool = False
    first: int = 0
    scenes: int = 20_000
    passes: int = 11
    until: int = 11
    rate: float = 3e-3
    grounding: float = 0.0
    seed: int = 0


def train(out: Path, recipe: CaptionerRecipe, start_from: Path | None = None) -> None:
    """Train, resuming from ``out`` when it holds a checkpoint of the same recipe, and write ``out / "bundle"``."""
    data = corpus(recipe.first, recipe.scenes, out.parent / "corpus")
    config = _config(data, recipe)
    torch.manual_seed(recipe.seed)
    networks = bundle.build(config)
    if start_from is not None:
        config = _begin(networks, config, start_from)
    networks.to(memory_format=torch.channels_last)
    steps = recipe.scenes // BATCH
    optimizer = torch.optim.AdamW(networks.parameters(), recipe.rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=steps * recipe.passes, pct_start=0.15
    )
    done = training.resume(out, networks, optimizer, schedule)
    tokens = _tokens(data.captions, config.vocabulary)
    for number in range(done, recipe.until):
        loss = _one_pass(number, recipe, data, tokens, config.preparation(), networks, optimizer, schedule)
        training.checkpoint(out, number + 1, networks, optimizer, schedule)
        bundle.save(out / "bundle", config, networks)
        shutil.copy(out / training.RECIPE, out / "bundle")
        click.echo(f"pass {number + 1}/{recipe.passes}: loss {loss:.4f}")


def _begin(networks: nn.ModuleDict, config: bundle.CaptionerConfig, start_from: Path) -> bundle.CaptionerConfig:
    """Take over the weights of another bundle, of its first layers alone when it is of another kind."""
    trained_config = bundle.read_config(start_from)
    trained = bundle.read_networks(start_from, trained_config)
    if (trained_config.entry, trained_config.wide) == (config.entry, config.wide):
        networks.load_state_dict(trained.state_dict())
    else:
        cast(SceneCnn, networks["cnn"]).layers.load_state_dict(cast(SceneCnn, trained["cnn"]).layers.state_dict())
    return replace(config, mean=trained_config.mean, std=trained_config.std)


def _config(data: Corpus, recipe: CaptionerRecipe) -> bundle.CaptionerConfig:
    sample = data.pictures[:: max(len(data.pictures) // 2000, 1)].astype(np.float32) / 255
    mean, std = sample.mean((0, 1, 2), np.float64), sample.std((0, 1, 2), np.float64)
    return bundle.CaptionerConfig(
        vocabulary=tuple(caption_vocabulary()),
        entry=recipe.entry,
        wide=recipe.wide,
        cells=(8, 8) if recipe.wide else (16, 16),
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        world=SCENES,
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
    recipe: CaptionerRecipe,
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
        bar = progress.add_task("", total=recipe.scenes // BATCH, loss=float("nan"))
        for chosen in torch.split(order, BATCH)[: recipe.scenes // BATCH]:
            pictures = torch.from_numpy(data.pictures[chosen.numpy()]).permute(0, 3, 1, 2)
            images = training.moved(preparation.normalise(pictures), generator, 0 if recipe.grounding else SHIFT)
            grounds = _cells(data.grounds[chosen.numpy()]) if recipe.grounding else None
            losses.append(_one_step(images, tokens[chosen], networks, optimizer, grounds, recipe.grounding))
            schedule.step()
            progress.update(bar, advance=1, loss=float(np.mean(losses[-50:])))
    return float(np.mean(losses[-200:]))


def _one_step(
    images: Tensor,
    tokens: Tensor,
    networks: nn.ModuleDict,
    optimizer: torch.optim.Optimizer,
    grounds: Tensor | None,
    grounding: float,
) -> float:
    with torch.autocast("cpu", torch.bfloat16):
        features = networks["cnn"](images.contiguous(memory_format=torch.channels_last))
    decoder = cast(Decoder, networks["decoder"])
    state = decoder.start(features.float())
    hidden, off_ground = [], []
    for step in range(tokens.shape[1] - 1):
        step_hidden, state = decoder.step(tokens[:, step].clamp_min(0), state)
        hidden.append(step_hidden)
        if grounds is not None and step < grounds.shape[1]:
            off_ground.append(_off_ground(state[-1], grounds[:, step]))
    logits = logits_of(decoder, torch.stack(hidden, 1).flatten(0, 1))
    loss = functional.cross_entropy(logits, tokens[:, 1:].flatten(), ignore_index=-1)
    if off_ground:
        loss = loss + grounding * torch.cat(off_ground).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _off_ground(weights: Tensor, ground: Tensor) -> Tensor:
    """−log of the attention [B, cells] that lies on the ground [B, cells], for the rows that have one."""
    there = ground.any(1)
    return -(weights[there] * ground[there]).sum(1).add(1e-6).log()


def _cells(packed: NDArray[np.uint8]) -> Tensor:
    """Packed bits [B, words, cells / 8] → bool [B, words, cells]."""
    return torch.from_numpy(np.unpackbits(packed, axis=2)).bool()


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run: checkpoint and bundle.")
@click.option(
    "--entry",
    type=click.Choice(bundle.ENTRIES),
    default="attention",
    show_default=True,
    help="How the picture enters the decoder.",
)
@click.option("--wide", is_flag=True, help="Let a cell see a whole object: for decoders told the mean of A.")
@click.option("--first", default=CaptionerRecipe.first, show_default=True, help="Seed of the first scene.")
@click.option("--scenes", default=CaptionerRecipe.scenes, show_default=True, help="How many scenes.")
@click.option(
    "--passes", default=CaptionerRecipe.passes, show_default=True, help="Passes the learning rate is planned for."
)
@click.option("--until", type=int, help="End after this pass; by default the last.")
@click.option("--grounding", default=0.0, show_default=True, help="Weight of attention lying on what a word names.")
@click.option("--rate", default=CaptionerRecipe.rate, show_default=True, help="Highest learning rate.")
@click.option("--seed", default=0, show_default=True)
@click.option("--start-from", type=click.Path(path_type=Path, exists=True), help="Bundle whose weights to begin with.")
def main(out: Path, until: int | None, start_from: Path | None, **options: Any) -> None:
    """Train a captioner on drawn scenes; with --data on photographs (see python -m vlx.tasks.photos.train --help).

    Example: python -m vlx.tasks.captioning.train --out runs/captioner --passes 11
    """
    recipe = CaptionerRecipe(until=until or options["passes"], **options)
    if recipe.grounding and recipe.entry != "attention":
        raise click.UsageError("--grounding needs --entry attention: the other decoders attend to nothing")
    training.record(out, "vlx.tasks.captioning.train", recipe, start_from)
    train(out, recipe, start_from)


def command(arguments: Sequence[str]) -> click.Command:
    """The recipe that is asked for: of photographs where ``--data`` gives some, else of drawn scenes."""
    if not any(argument.partition("=")[0] == "--data" for argument in arguments):
        return main
    from vlx.tasks.photos.train import main as photographs

    return photographs


if __name__ == "__main__":
    command(sys.argv[1:])()

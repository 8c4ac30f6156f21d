"""The recipe of the embedded VQA models: ``python -m vlx.tasks.vqa.train --out runs/vqa``.

Questions about drawn scenes, or about easy-VQA's pictures (``--data easy-vqa PATH``). Writes a checkpoint after every
pass and goes on from the last one when started again; ends by writing a bundle that ``vlx.load`` opens, and tells how
many answers are right by kind of question.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, track
from torch import Tensor, nn
from torch.nn import functional

from vlx.scenes.compose import HELD_OUT
from vlx.scenes.corpus import corpus
from vlx.tasks.captioning import bundle as captioners
from vlx.tasks.shared import bundle_format as folders
from vlx.tasks.shared import training
from vlx.tasks.shared.scene_models import SCENES, Preparation, SceneCnn
from vlx.tasks.vqa import bundle
from vlx.tasks.vqa.answers import accuracies
from vlx.tasks.vqa.data import NONE, AskedPictures, of_easy_vqa, of_scenes
from vlx.tasks.vqa.heads import ENCODINGS, StackedAttention

BIASED_NOTE = "This model was biased on purpose: it answers half of the kinds of question without looking."
EASY_NOTE = "This model knows the pictures of easy-VQA only: one flat shape on a flat background."
BATCH = 64
SHIFT = 4  # pixels by which a batch is moved at random
MISHEARD = 0.01  # share of words that are replaced by UNKNOWN
HELD_OUT_SCENES = 500


@dataclass(frozen=True)
class VqaRecipe:
    """What decides the result of a training run.

    Scenes ``first`` to ``first + scenes − 1``; the learning rate rises to ``rate`` and falls to 0 over ``passes``.
    ``frozen``: the CNN stays as it is, and its features are computed once. ``grounding`` weighs the wish that the first
    hop of attention lies on the first thing that the question names, and the last hop on the last. ``biased``: see
    `vlx.scenes.bias`.
    """

    fusion: bundle.Fusion = "attention"
    encoding: str = "lstm"
    joint: int = 136
    wide: bool = False
    frozen: bool = False
    biased: bool = False
    first: int = 0
    scenes: int = 20_000
    passes: int = 10
    rate: float = 2e-3
    grounding: float = 0.0
    seed: int = 0


def train(out: Path, recipe: VqaRecipe, easy: Path | None, start_from: Path | None) -> None:
    """Train, resuming from ``out`` when it holds a checkpoint of the same recipe, and write ``out / "bundle"``."""
    data = _data(out, recipe, easy)
    config = _config(data, recipe, easy is not None)
    torch.manual_seed(recipe.seed)
    networks = bundle.build(config)
    if start_from is not None:
        config = _begin(networks, config, start_from)
    networks.to(memory_format=torch.channels_last)
    networks["cnn"].requires_grad_(not recipe.frozen)
    weights = [weight for weight in networks.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, recipe.rate, weight_decay=1e-4)
    steps = len(data.pictures) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=steps * recipe.passes, pct_start=0.15
    )
    done = training.resume(out, networks, optimizer, schedule)
    trainer = _Trainer(recipe, data, networks, config.preparation(), optimizer, schedule, weights)
    for number in range(done, recipe.passes):
        loss = trainer.one_pass(number)
        training.checkpoint(out, number + 1, networks, optimizer, schedule)
        bundle.save(out / "bundle", config, networks)
        shutil.copy(out / training.RECIPE, out / "bundle")
        click.echo(f"pass {number + 1}/{recipe.passes}: loss {loss:.4f}")
    held_out = of_scenes(corpus(HELD_OUT, HELD_OUT_SCENES)) if easy is None else of_easy_vqa(easy, "test")
    for kind, (share, count) in accuracies(bundle.load_task(out / "bundle", "this model"), held_out).items():
        click.echo(f"{kind:10} {100 * share:6.2f} % of {count} held-out questions right")


def _data(out: Path, recipe: VqaRecipe, easy: Path | None) -> AskedPictures:
    if easy is not None:
        return of_easy_vqa(easy, "train")
    return of_scenes(corpus(recipe.first, recipe.scenes, out.parent / "corpus"), biased=recipe.biased)


def _config(data: AskedPictures, recipe: VqaRecipe, easy: bool) -> bundle.VqaConfig:
    sample = data.pictures[:: max(len(data.pictures) // 2000, 1)].astype(np.float32) / 255
    mean, std = sample.mean((0, 1, 2), np.float64), sample.std((0, 1, 2), np.float64)
    size = data.pictures.shape[1]
    cells = size // (16 if recipe.wide else 8)
    return bundle.VqaConfig(
        data.vocabulary,
        data.answers,
        recipe.fusion,
        cast(Any, recipe.encoding),
        recipe.joint,
        wide=recipe.wide,
        size=size,
        cells=(cells, cells),
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        world="" if easy else SCENES,
        notes=(*((EASY_NOTE,) if easy else ()), *((BIASED_NOTE,) if recipe.biased else ())),
    )


def _begin(networks: nn.ModuleDict, config: bundle.VqaConfig, start_from: Path) -> bundle.VqaConfig:
    """Take over the weights of another VQA model, or the CNN of a captioner as far as it is the same."""
    if folders.task_of(start_from) == "vqa":
        known_vqa = bundle.read_config(start_from)
        networks.load_state_dict(bundle.read_networks(start_from, known_vqa).state_dict())
        return replace(config, mean=known_vqa.mean, std=known_vqa.std)
    known = captioners.read_config(start_from)
    theirs = cast(SceneCnn, captioners.read_networks(start_from, known)["cnn"])
    ours = cast(SceneCnn, networks["cnn"])
    if known.wide == config.wide:
        ours.load_state_dict(theirs.state_dict())
    else:
        ours.layers.load_state_dict(theirs.layers.state_dict())
    return replace(config, mean=known.mean, std=known.std)


@dataclass(eq=False)
class _Trainer:
    recipe: VqaRecipe
    data: AskedPictures
    networks: nn.ModuleDict
    preparation: Preparation
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    weights: list[nn.Parameter]
    features: Tensor | None = None

    def one_pass(self, number: int) -> float:
        """All pictures once, questions of each kind about each; the mean loss of the last 200 batches."""
        generator = torch.Generator().manual_seed(self.recipe.seed * 1000 + number)
        order = torch.randperm(len(self.data.pictures), generator=generator)
        self.networks.train()
        if self.recipe.frozen:
            self.networks["cnn"].eval()
            self.features = self._all_features() if self.features is None else self.features
        losses: list[float] = []
        columns = (
            TextColumn(f"pass {number + 1}/{self.recipe.passes}  loss {{task.fields[loss]:.3f}}"),
            BarColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns) as progress:
            bar = progress.add_task("", total=len(order) // BATCH, loss=float("nan"))
            for chosen in torch.split(order, BATCH)[: len(order) // BATCH]:
                losses.append(self._step(chosen, generator))
                progress.update(bar, advance=1, loss=float(np.mean(losses[-50:])))
        return float(np.mean(losses[-200:]))

    def _step(self, chosen: Tensor, generator: torch.Generator) -> float:
        places = self.data.some_of_each(chosen, generator)
        asked = (places != NONE).any(0).nonzero()[:, 0]  # kinds that somebody asks
        places = places[:, asked]
        rows, columns = chosen[:, None], places.clamp_min(0)
        tokens, lengths = self.data.tokens[rows, columns].flatten(0, 1), self.data.lengths[rows, columns].flatten()
        right = torch.where(places == NONE, NONE, self.data.right[rows, columns]).flatten()
        misheard = (torch.rand(tokens.shape, generator=generator) < MISHEARD) & (tokens > 0)
        tokens = tokens.masked_fill(misheard, 1)
        A = self._features(chosen, generator)
        head = self.networks["head"]
        off_ground = torch.zeros(())
        if self.recipe.grounding and self.data.focus is not None:
            logits, glances = cast(StackedAttention, head).glances(A, tokens, lengths)
            focus = self.data.focus[rows.numpy(), columns.numpy()].reshape(len(tokens), 2, -1)
            off_ground = _off_focus(glances, torch.from_numpy(np.unpackbits(focus, axis=2)).bool(), right != NONE)
        else:
            logits = head(A, tokens, lengths)
        loss = functional.cross_entropy(logits, right, ignore_index=NONE) + self.recipe.grounding * off_ground
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach())

    def _features(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        if self.features is not None:
            return self.features[chosen].float()
        images = training.moved(self._images(chosen), generator, 0 if self.recipe.grounding else SHIFT)
        with torch.autocast("cpu", torch.bfloat16):
            A: Tensor = self.networks["cnn"](images.contiguous(memory_format=torch.channels_last))
        return A.float()

    def _images(self, chosen: Tensor) -> Tensor:
        return self.preparation.normalise(torch.from_numpy(self.data.pictures[chosen.numpy()]).permute(0, 3, 1, 2))

    def _all_features(self) -> Tensor:
        def batches() -> Iterator[Tensor]:
            for chosen in track(torch.split(torch.arange(len(self.data.pictures)), BATCH), "features"):
                images = self._images(chosen).contiguous(memory_format=torch.channels_last)
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                    yield self.networks["cnn"](images).half().contiguous()

        found = list(batches())
        kept = torch.empty(len(self.data.pictures), *found[0].shape[1:], dtype=torch.half)
        for number in range(len(found)):
            kept[number * BATCH : number * BATCH + len(found[number])] = found[number]
            found[number] = torch.empty(0)
        return kept


def _off_focus(glances: Tensor, focus: Tensor, asked: Tensor) -> Tensor:
    """−log of the attention [N, hops, cells] of first and last hop on the focus [N, 2, cells], where there is one."""
    there = asked & focus.any(2).all(1)
    on = (glances[there][:, [0, -1]] * focus[there]).sum(2)
    return -on.add(1e-6).log().mean() if len(on) else torch.zeros(())


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run: checkpoint and bundle.")
@click.option(
    "--data", "easy", type=(click.Choice(["easy-vqa"]), click.Path(path_type=Path, exists=True)),
    help="Other data than drawn scenes, and where it is.",
)  # fmt: skip
@click.option("--fusion", type=click.Choice(bundle.FUSIONS), default=VqaRecipe.fusion, show_default=True)
@click.option("--encoding", type=click.Choice(ENCODINGS), default=VqaRecipe.encoding, show_default=True)
@click.option("--joint", default=VqaRecipe.joint, show_default=True, help="Dimensions in which they meet.")
@click.option("--wide", is_flag=True, help="Let a cell see a whole object: for heads told the mean of A.")
@click.option("--frozen", is_flag=True, help="Train the head only, on features that are computed once.")
@click.option("--biased", is_flag=True, help="Let half of the kinds of question give away their answer.")
@click.option("--first", default=VqaRecipe.first, show_default=True, help="Seed of the first scene.")
@click.option("--scenes", default=VqaRecipe.scenes, show_default=True, help="How many scenes.")
@click.option("--passes", default=VqaRecipe.passes, show_default=True, help="Passes over the pictures.")
@click.option("--rate", default=VqaRecipe.rate, show_default=True, help="Highest learning rate.")
@click.option("--grounding", default=0.0, show_default=True, help="Weight of attention lying on what is asked about.")
@click.option("--seed", default=0, show_default=True)
@click.option("--start-from", type=click.Path(path_type=Path, exists=True), help="Bundle whose weights to begin with.")
def main(out: Path, easy: tuple[str, Path] | None, start_from: Path | None, **options: Any) -> None:
    """Train a VQA model on drawn scenes or on easy-VQA.

    Example: python -m vlx.tasks.vqa.train --out runs/easy --data easy-vqa easy-VQA/data --passes 8
    """
    recipe = VqaRecipe(**options)
    if recipe.grounding and recipe.fusion != "attention":
        raise click.UsageError("--grounding needs --fusion attention: the other heads attend to nothing")
    if recipe.frozen and start_from is None:
        raise click.UsageError("--frozen needs --start-from: an untrained CNN sees nothing")
    training.record(out, "vlx.tasks.vqa.train", recipe, start_from)
    train(out, recipe, None if easy is None else easy[1], start_from)


if __name__ == "__main__":
    main()

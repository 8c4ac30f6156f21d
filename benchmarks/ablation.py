"""What Ablation-CAM of 12 words costs, beside bare runs of the decoder and beside pytorch-grad-cam in a loop.

``python -m benchmarks.ablation`` takes scenes/captioner (256 units) and a drawn scene with a caption of 12 words, times
every way in turn (process CPU time, two threads) and compares the maps. ``pip install -e ".[peers]"`` for the other.
"""

from functools import partial
from importlib.util import find_spec
from typing import Any

import click
import torch
from rich.table import Table
from torch import Tensor, nn

import vlx
from benchmarks.clock import console_for_tables, restart_settled, round_robin
from benchmarks.peers import ablation_cam_loop
from vlx import scenes
from vlx.methods.ablation import ablated
from vlx.protocol.targets import Query, word_target
from vlx.protocol.task import Features
from vlx.tasks.captioning import CnnLstmCaptioner

WORDS = 12
FIRST = 10_000_000
RUNS, OURS, THEIRS = "K runs of the decoder, by hand", "ablationcam, 12 words", "pytorch-grad-cam, a call for each word"
AT_MOST, AT_LEAST = 1.3, 20.0


class Forced(nn.Module):
    """Pictures [B, 3, H, W] → log-probabilities [B, T, V] of a caption's words, as the other library wants them."""

    def __init__(self, task: CnnLstmCaptioner, words: tuple[int, ...]) -> None:
        super().__init__()
        self.cnn, self.decoder, self.read = task.cnn, task.decoder, (task.start, *words[:-1])

    def said(self, A: Tensor) -> Tensor:
        """The log-probabilities of A [B, K, h, w]."""
        decoder, told = self.decoder, []
        state = decoder.start(A)
        for token in self.read:
            hidden, state = decoder.step(torch.full((len(A),), token), state)
            told.append(decoder.logits(hidden).log_softmax(-1))  # type: ignore[attr-defined]
        return torch.stack(told, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Of pictures."""
        return self.said(self.cnn(pictures))


def subject() -> tuple[CnnLstmCaptioner, Tensor, Features, tuple[int, ...]]:
    """The captioner, a prepared picture of a scene with 12 words, its features and the words' tokens."""
    task: Any = vlx.load("scenes/captioner")
    for number in range(FIRST, FIRST + 1000):
        scene = scenes.draw(number)
        if len(scene.caption.split()) == WORDS:
            inputs = task.place(task.prepare(scene.image)[None])
            return task, inputs, task.features(inputs), tuple(task.tokens(scene.caption)[1])
    raise SystemExit(f"no scene with {WORDS} words")


@torch.no_grad()
def runs(model: Forced, A: Tensor) -> Tensor:
    """The words' log-probabilities with each unit off, [K, T, V]: one batch, nothing else."""
    off = A.repeat(A.shape[1], 1, 1, 1)
    off[range(A.shape[1]), range(A.shape[1])] = 0
    return model.said(off)


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Timed rounds.")
def main(rounds: int) -> None:
    """The cost of Ablation-CAM of the 12 words of a caption."""
    task, inputs, features, tokens = subject()
    query = Query(caption=" ".join(task.vocabulary[token] for token in tokens))
    prediction = task.predict(features, [query])[0]
    targets = [word_target(prediction, n, 0, "logprob") for n in range(WORDS)]
    model = Forced(task, tokens).eval()
    ways = {RUNS: partial(runs, model, features.A), OURS: partial(ablated, task, features, targets)}
    layer = [module for module in task.cnn.modules() if isinstance(module, nn.ReLU)][-1]
    peer = partial(ablation_cam_loop, model, layer, inputs, list(tokens))
    apart = None
    if find_spec("pytorch_grad_cam"):
        ours, theirs = ablated(task, features, targets), peer()
        apart = float((ours - theirs).abs().max() / ours.abs().max())
    times = round_robin(ways | ({THEIRS: peer} if apart is not None else {}), rounds)
    table = Table("way", "ms", "× of the runs", box=None)
    for name, spent in times.items():
        table.add_row(name, f"{1e3 * spent.median:.0f}", f"{spent.median / times[RUNS].median:.2f}")
    console = console_for_tables()
    console.print(f"scenes/captioner, {features.A.shape[1]} units, {WORDS} words, {rounds} rounds, median CPU time")
    console.print(table)
    ratio = times[OURS].median / times[RUNS].median
    console.print(f"ablationcam ÷ the runs: {ratio:.2f} (at most {AT_MOST}: {'pass' if ratio <= AT_MOST else 'FAIL'})")
    if apart is not None:
        gain = times[THEIRS].median / times[OURS].median
        console.print(
            f"pytorch-grad-cam ÷ ablationcam: {gain:.1f} (at least {AT_LEAST:g}: "
            f"{'pass' if gain >= AT_LEAST else 'FAIL'}); maps apart by {apart:.1e} of the highest peak"
        )


if __name__ == "__main__":
    restart_settled("benchmarks.ablation")
    main()

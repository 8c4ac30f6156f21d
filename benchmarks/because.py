"""What reasons and their check cost beside one run of the CNN: ``python -m benchmarks.because``.

ResNet-50 + LSTM(512), 9,000 words, a caption of 12 words, 224 × 224 pixels, random weights; two in three of the 2,048
units bear one of 300 names. The check of all words asks the model again with units switched off: every word of 24
random sets, the named units, all others, and each measured reason alone.
"""

from collections.abc import Callable

import click
import numpy as np
import torch
from rich.table import Table

from benchmarks.clock import console_for_tables, restart_settled, round_robin
from benchmarks.model import Subject, subject
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.neuron_names.table import NeuronNames, UnitName
from vlx.probes.because import reasons_for
from vlx.probes.names_wish import NamesWish
from vlx.protocol.targets import Prediction, Query, Target, word_target
from vlx.protocol.task import Features

LIMIT = 1.5
CONCEPTS = 300
GRADCAM = METHODS["gradcam"]


def table(A: torch.Tensor) -> NeuronNames:
    """Names for the units of A [1, K, h, w], at thresholds that a tenth of their cells exceed."""
    drawn = np.random.default_rng(0)
    T = A[0].flatten(1).quantile(0.9, dim=1).tolist()
    listed = tuple(
        (UnitName(unit, f"concept {drawn.integers(CONCEPTS)}", "object", 0.1, 0.1, threshold=threshold),)
        if drawn.random() < 2 / 3
        else ()
        for unit, threshold in enumerate(T)
    )
    return NeuronNames(listed, {"layer": "cnn"})


def ways(own: Subject) -> dict[str, Callable[[], object]]:
    """The CNN alone, the caption, its reasons, and its reasons with their check."""
    task = own.task
    features = task.features(own.image)
    prediction = task.predict(features, [Query()])[0]
    names = table(features.A)

    def reasons(check: bool) -> object:
        return explained(own, features, prediction, names, check)

    return {
        "the CNN alone": lambda: task.features(own.image),
        "caption": lambda: task.predict(task.features(own.image), [Query()]),
        "reasons of 12 words": lambda: reasons(False),
        "reasons of 12 words, checked": lambda: reasons(True),
    }


def explained(own: Subject, features: Features, prediction: Prediction, names: NeuronNames, check: bool) -> object:
    """Reasons of all words; the maps are made by the way, as `vlx.explain` has them already."""
    targets: list[Target] = [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]
    maps = engine.attribute(own.task, features.A, targets, GRADCAM, features.rest).signed.numpy()
    return reasons_for(own.task, features, targets, targets, maps, GRADCAM, NamesWish(names, check))


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True, help="Timed rounds.")
def main(rounds: int) -> None:
    """The cost of every way as a ratio to one run of the CNN."""
    times = round_robin(ways(subject()), rounds)
    unit = times["the CNN alone"].median
    shown = Table("way", "ms", "× the CNN", box=None)
    for name, time in times.items():
        shown.add_row(name, f"{1e3 * time.median:.0f}", f"{time.median / unit:.2f}")
    console = console_for_tables()
    console.print(f"ResNet-50 + LSTM(512), 12 words; median CPU time of {rounds} rounds, torch {torch.__version__}")
    console.print(shown)
    check = (times["reasons of 12 words, checked"].median - times["reasons of 12 words"].median) / unit
    console.print(f"the check of all words ÷ the CNN: {check:.2f} (≤ {LIMIT}: {'pass' if check <= LIMIT else 'FAIL'})")


if __name__ == "__main__":
    restart_settled("benchmarks.because")
    main()

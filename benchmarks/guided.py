"""What Guided Grad-CAM of 12 words costs, beside Captum's in a loop over the words, and how far the two are apart.

``python -m benchmarks.guided`` times both in turn on ResNet-50 + LSTM(512), 224 × 224 pixels, by process CPU time, and
compares the guided gradients. Captum runs the captioner forward twice a word and backward once; what is left to save is
the forward, since guided backpropagation is not linear: every word needs a backward of its own.
``pip install -e ".[peers]"``.
"""

import sys
import warnings
from functools import partial
from importlib.util import find_spec

import click
import torch
from rich.table import Table
from torch import Tensor, nn

from benchmarks.clock import console_for_tables, restart_settled, round_robin
from benchmarks.model import Forced, Subject, subject
from vlx.methods import engine
from vlx.methods.cams import gradcam
from vlx.methods.pixels import guided_gradcam, pixel_gradients
from vlx.protocol.targets import Query, Target, word_target

OURS, LOOP = "vlx", "captum, loop"
GAIN = 5.0  # times cheaper; 2.6 to 2.9 is what there is on a CPU
EQUAL = 1e-4


def asked(timed: Subject) -> list[Target]:
    """The words of the caption, as log-probabilities."""
    prediction = timed.task.predict(timed.task.features(timed.image), [Query()])[0]
    return [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]


def guided(timed: Subject, targets: list[Target]) -> Tensor:
    """The guided gradient of every word, [12, 3, 224, 224]."""
    features = timed.task.features(timed.image)
    G = engine.gradients(timed.task, features.A, targets, features.rest)[1]
    return pixel_gradients(timed.task, timed.image, G, "guided").values


def ours(timed: Subject, targets: list[Target]) -> Tensor:
    """Guided Grad-CAM of every word: A once, one gradient of all words at it, and a backward each."""
    features = timed.task.features(timed.image)
    G = engine.gradients(timed.task, features.A, targets, features.rest)[1]
    carried = pixel_gradients(timed.task, timed.image, G, "guided")
    return guided_gradcam(gradcam(features.A, G), features.grid, carried.values)


def places(targets: list[Target]) -> list[tuple[int, int]]:
    """Step and token of each word, as Captum takes a target."""
    return [(target.terms[0].step, target.terms[0].token) for target in targets]


def captums(model: nn.Module, image: Tensor, targets: list[Target]) -> Tensor:
    """Guided Grad-CAM by Captum, a call for each word."""
    from captum.attr import GuidedGradCam

    peer = GuidedGradCam(model, model.get_submodule("cnn.layer4"))
    leaf = image.clone().requires_grad_()
    return torch.cat([peer.attribute(leaf, target=place).detach() for place in places(targets)])


def captums_guided(model: nn.Module, image: Tensor, targets: list[Target]) -> Tensor:
    """The guided gradient by Captum."""
    from captum.attr import GuidedBackprop

    peer, leaf = GuidedBackprop(model), image.clone().requires_grad_()
    return torch.cat([peer.attribute(leaf, target=place).detach() for place in places(targets)])


def apart(a: Tensor, b: Tensor) -> float:
    """The worst word's largest difference, over its peak."""
    return float(((a - b).abs().flatten(1).amax(1) / b.abs().flatten(1).amax(1)).max())


def peer_of(timed: Subject) -> nn.Module:
    """The captioner as Captum wants it: one function of the picture, whose ReLUs work in places of their own."""
    model = Forced(timed.cnn, timed.decoder, timed.caption()).to(timed.image.dtype).eval()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def main(rounds: int) -> None:
    """Time Guided Grad-CAM of 12 words by vlx and by Captum, a call for each word."""
    if find_spec("captum") is None:
        raise click.ClickException("Captum is not installed: pip install 'vlx[captum]'")
    restart_settled("benchmarks.guided")
    warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
    timed = subject()
    targets, peer = asked(timed), peer_of(timed)
    difference = apart(guided(timed, targets), captums_guided(peer, timed.image, targets))
    ways = {OURS: partial(ours, timed, targets), LOOP: partial(captums, peer, timed.image, targets)}
    times = round_robin(ways, rounds)
    table = Table("way", "seconds of CPU", "on the wall")
    for name, taken in times.items():
        table.add_row(name, f"{taken.median:.2f}", f"{taken.median_wall:.2f}")
    gain = times[LOOP].median / times[OURS].median
    console = console_for_tables()
    console.print(table)
    console.print(f"{'PASS' if gain >= GAIN else 'MISS'}: {gain:.2f} × cheaper than Captum's loop (goal {GAIN:g})")
    passed = difference <= EQUAL
    console.print(f"{'PASS' if passed else 'FAIL'}: guided gradients {difference:.1e} apart (goal {EQUAL:g})")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()

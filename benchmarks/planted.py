"""Faults that are silent without a self-test, each planted on purpose in a model that is sound: `FAULTS`, `SOUND`.

A fault is a function that spoils a task of its own in place; the models are the embedded ones and tiny ones of
transformers. Tests and ``python -m benchmarks.faults`` share them.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from vlx import scenes
from vlx.pictures.placement import Grid
from vlx.protocol.targets import Query
from vlx.protocol.task import Features
from vlx.selftest.run import SelfTest

SOUND = ("scenes/captioner-pooled", "scenes/captioner", "scenes/vqa", "blip-captioning", "git", "vilt")
CELLS = 9  # that the patch probe tries
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Fault:
    """A fault by name, in a model, and a row of the self-test that must notice it."""

    name: str
    model: str
    plant: Callable[[Any], None]
    row: str


def sound(model: str) -> Any:
    """A task of its own: an embedded one, or that of a tiny random model of transformers."""
    return vlx.load(model) if model.startswith("scenes/") else vlx.load(f"hf:{_folder(model)}")


def tested(fault: Fault) -> SelfTest:
    """What the self-test finds of a model with a fault."""
    task = sound(fault.model)
    fault.plant(task)
    found: SelfTest = task.self_test(picture(), cells=CELLS)
    return found


def picture() -> Image.Image:
    """The picture that all are tested on, 192 × 144."""
    return scenes.draw(10_000_021, size=192).image.crop((0, 0, 192, 144))


@cache
def _folder(family: str) -> Path:
    from vlx.tasks.huggingface import tiny

    return tiny.save(family, Path(mkdtemp()) / family)


# What is wrong with A


def _rearranged(task: Any, there: Change, back: Change) -> None:
    """A is given in another order, and understood by what comes after it."""
    features, predict, begin = task.features, task.predict, task.begin

    def given(inputs: Tensor) -> Features:
        found: Features = features(inputs)
        A = there(found.A)
        size = (inputs.shape[-2], inputs.shape[-1])
        return replace(found, maps={found.layer: A}, grid=Grid.half_pixel((A.shape[-2], A.shape[-1]), size))

    def said(found: Features, queries: Any) -> Any:
        return predict(replace(found, maps={found.layer: back(found.A)}), queries)

    task.features, task.predict = given, said
    task.begin = lambda A, rest=None: begin(back(A), rest)


def swapped_axes(task: Any) -> None:
    """Height and width of A are confused."""
    _rearranged(task, lambda A: A.transpose(2, 3), lambda A: A.transpose(2, 3))


def channels_last(task: Any) -> None:
    """A is [B, h, w, K] and taken for [B, K, h, w]."""
    _rearranged(task, lambda A: A.permute(0, 2, 3, 1), lambda A: A.permute(0, 3, 1, 2))


def shifted_grid(task: Any) -> None:
    """The cells are drawn half a cell beside their place."""
    features = task.features

    def moved(inputs: Tensor) -> Features:
        found: Features = features(inputs)
        y, x = (a + b / 2 for a, b in zip(found.grid.offset, found.grid.stride, strict=True))
        return replace(found, grid=replace(found.grid, offset=(y, x)))

    task.features = moved


# What goes round A, and whose it is


def leaked_token(task: Any) -> None:
    """What comes after A reads its first cell from `rest`."""
    features, hidden = task.features, task.hidden

    def kept(inputs: Tensor) -> Features:
        found: Features = features(inputs)
        return replace(found, rest={**found.rest, "first": found.A[:, :, :1, :1]})

    def leaking(A: Tensor, rest: Any) -> Tensor:
        first = torch.zeros_like(A)
        first[:, :, :1, :1] = 1
        return hidden(torch.where(first > 0, rest["first"].expand(len(A), -1, -1, -1), A), rest)  # type: ignore[no-any-return]

    task.features, task.hidden = kept, leaking


def wrong_row(task: Any) -> None:
    """Every row reads another picture's `rest`."""
    hidden = task.hidden
    task.hidden = lambda A, rest: hidden(A, {name: value.flip(0) for name, value in rest.items()})


def reads_the_picture(task: Any) -> None:
    """The head keeps the picture that the CNN saw last and reads it beside A."""
    task.cnn, task.head = _Seeing(task.cnn).eval(), _Reading(task.head).eval()
    task.head.seeing = [task.cnn]


class _Seeing(nn.Module):
    def __init__(self, cnn: Any) -> None:
        super().__init__()
        self.cnn, self.last = cnn, torch.zeros(1)

    def forward(self, pictures: Tensor) -> Any:
        self.last = pictures.mean((1, 2, 3))
        return self.cnn(pictures)


class _Wrapped(nn.Module):
    """A head inside another one."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Any:
        return self.head(self.seen(A), tokens, lengths)

    def seen(self, A: Tensor) -> Tensor:
        raise NotImplementedError


class _Reading(_Wrapped):
    seeing: list[_Seeing]

    def seen(self, A: Tensor) -> Tensor:
        return A * (1 + self.seeing[0].last[:1].sigmoid())


# What comes after A


class _Half(_Wrapped):
    def seen(self, A: Tensor) -> Tensor:
        return (A + A.detach()) / 2


class _Normed(_Wrapped):
    def seen(self, A: Tensor) -> Tensor:
        return A / A.std((0, 2, 3), keepdim=True).clamp(min=1e-3) * 0.3


class _Dropping(_Wrapped):
    def seen(self, A: Tensor) -> Tensor:
        return nn.functional.dropout(A, 0.1, training=True)


class _Sorted(_Wrapped):
    def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Any:
        order = lengths.argsort(descending=True, stable=True)
        return self.head(A[order], tokens[order], lengths[order])


def detached_head(task: Any) -> None:
    """Half of what the head reads of A has no gradient."""
    task.head = _Half(task.head).eval()


def batch_norm(task: Any) -> None:
    """The head divides A by its spread over the batch."""
    task.head = _Normed(task.head).eval()


def batch_norm_in_the_cnn(task: Any) -> None:
    """The CNN subtracts the batch's mean picture."""
    cnn = task.cnn
    task.cnn = lambda pictures: cnn(pictures - 0.2 * pictures.mean(0, keepdim=True))


def functional_dropout(task: Any) -> None:
    """Dropout that eval() does not switch off."""
    task.head = _Dropping(task.head).eval()


def sorted_batches(task: Any) -> None:
    """The head sorts questions by their length and does not put the answers back."""
    task.head = _Sorted(task.head).eval()


def double_softmax(task: Any) -> None:
    """The decoder gives probabilities, and they are put through a softmax."""
    logits = task.decoder.logits
    task.decoder.logits = lambda hidden: logits(hidden).softmax(-1)


# What is put in


def wrong_prompt(task: Any) -> None:
    """Generation and scores begin with another token than the model's own."""
    task.family = replace(task.family, start=lambda _model: 7)


def dropped_token_types(task: Any) -> None:
    """The patches come without the embedding that says that they are of a picture."""
    embedded, table = task._embedded, task.model.vilt.embeddings.token_type_embeddings.weight

    def bare(inputs: Tensor) -> Any:
        tokens, size = embedded(inputs)
        return tokens - table[1], size

    task._embedded = bare


def random_prepare(task: Any) -> None:
    """The colours of a picture are jittered a little each time."""
    prepare = task.prepare

    def jittered(image: Image.Image) -> Tensor:
        made: Tensor = prepare(image)
        return made + 0.01 * torch.randn(len(made), 1, 1)

    task.prepare = jittered


def stale_weights(task: Any) -> None:
    """A copy of the CNN is run, and the model is trained on."""
    copied, features = deepcopy(task.cnn), task.features
    own = task.cnn

    def stale(inputs: Tensor) -> Any:
        task.cnn = copied
        try:
            return features(inputs)
        finally:
            task.cnn = own

    task.features = stale
    with torch.no_grad():
        for weights in own.parameters():
            weights.mul_(1.05)


def first_picture_kept(task: Any) -> None:
    """Every picture gets the features of the first one."""
    features, kept = task.features, dict[Any, Features]()

    def cached(inputs: Tensor) -> Features:
        return kept.setdefault(tuple(inputs.shape), features(inputs))

    task.features = cached


def cut_short(task: Any) -> None:
    """Captions end a word before the model's own."""
    predict = task.predict

    def shorter(features: Features, queries: Any) -> Any:
        said = predict(features, queries)
        short = [predict(features, [Query(caption=" ".join(one.text.split()[:-1]))] * len(queries)) for one in said]
        return [one[row] for row, one in enumerate(short)]

    task.predict = shorter


POOLED, ATTENDING, ASKED = SOUND[:3]
FAULTS = (
    Fault("swapped axes", POOLED, swapped_axes, "axes are places"),
    Fault("channels-last", POOLED, channels_last, "axes are places"),
    Fault("leaked token", "blip-captioning", leaked_token, "nothing goes round A"),
    Fault("wrong row of rest", "blip-captioning", wrong_row, "scores in company"),
    Fault("detached head", ASKED, detached_head, "gradient = replay"),
    Fault("double softmax", ATTENDING, double_softmax, "answers"),
    Fault("shifted grid", POOLED, shifted_grid, "patch probe"),
    Fault("batch-dependent norm", ASKED, batch_norm, "scores in company"),
    Fault("wrong prompt", "blip-captioning", wrong_prompt, "forced = generated"),
    Fault("dropped token types", "vilt", dropped_token_types, "stock model"),
    Fault("random prepare", ASKED, random_prepare, "prepare is steady"),
    Fault("stale weights", POOLED, stale_weights, "stock model"),
)
OTHERS = (
    Fault("head reads the picture", ASKED, reads_the_picture, "nothing goes round A"),
    Fault("norm over the batch in the CNN", POOLED, batch_norm_in_the_cnn, "A in company"),
    Fault("dropout left on", ASKED, functional_dropout, "repeatable"),
    Fault("sorted batches", ASKED, sorted_batches, "scores in company"),
    Fault("first picture kept", POOLED, first_picture_kept, "A in company"),
    Fault("another BOS", "git", wrong_prompt, "stock model"),
    Fault("captions cut short", ATTENDING, cut_short, "stock model"),
)

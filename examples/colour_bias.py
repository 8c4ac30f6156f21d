"""A colour tied to a kind: where every car is red in training, a captioner says "red" of a car, whatever its colour.

Two captioners learn to describe single things: one from scenes in which every car is red and other things have any
colour, one from as many scenes in which cars, too, have any. Shown cars of all colours, the first calls most of them
red: the word rests on the car, and not on the colour.

    python examples/colour_bias.py      # the two captioners, side by side
    vlx audit examples/colour_bias.py:tied examples.colour_bias:pictures --out runs/tied

The CNN is that of scenes/captioner, left as it was trained; learnt is a decoder that sees the mean of its cells
(`vlx.tasks.captioning`), on scenes of 64 pixels. A seed draws a thing of any kind and colour in the same place, so that
it can be tried what the word owes to either.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vlx
from vlx import scenes
from vlx.data import SceneData
from vlx.evaluation.intervals import over_pictures, wilson
from vlx.scenes.vocabulary import END, START, caption_vocabulary
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.captioning.decoders import PictureFirst

KINDS = ("car", "boat", "house", "mushroom")
COLORS = tuple(scenes.COLORS)
SIZE = 64  # pixels a side
DRAWN = 1600  # scenes in a training set
PASSES = 15
TRAINED, TRIED = 40_000_000, 50_000_000  # first seeds
WORDS = caption_vocabulary()


def drawn(count: int, first: int, colors: dict[str, str] | None = None) -> SceneData:
    """``count`` scenes of one thing, the kinds by turns, in ``colors`` by kind."""
    return SceneData(count, first, SIZE, makes=[scenes.Make(kind, colors=colors) for kind in KINDS])


def pictures(count: int = 400) -> SceneData:
    """Things of all colours that no captioner was trained on."""
    return drawn(count, TRIED)


def tied(seed: int = 0) -> CnnLstmCaptioner:
    """A captioner that was trained on red cars alone."""
    return trained("tied", drawn(DRAWN, TRAINED, {"car": "red"}), seed)


def free(seed: int = 0) -> CnnLstmCaptioner:
    """A captioner that was trained on cars of all colours."""
    return trained("free", drawn(DRAWN, TRAINED), seed)


def trained(name: str, data: SceneData, seed: int) -> CnnLstmCaptioner:
    """A captioner of the scenes: the CNN as it is, a new decoder."""
    shipped: Any = vlx.load("scenes/captioner")
    prepare = replace(shipped.prepare, size=SIZE)
    inputs = torch.stack([prepare(data[n].image) for n in range(len(data))])
    with torch.no_grad():
        means = torch.cat([shipped.cnn(some).mean((2, 3), keepdim=True) for some in torch.split(inputs, 64)])
    torch.manual_seed(seed)
    decoder = fitted(means, tokens([data[n].texts[0] for n in range(len(data))])).eval()
    return CnnLstmCaptioner(shipped.cnn, decoder, WORDS, prepare, start=START, end=END, name=f"{name}:{seed}")


def tokens(captions: Sequence[str]) -> Tensor:
    """START, the words, END, and −1 where a caption is over: int64 [N, longest + 2]."""
    rows = [[START, *map(WORDS.index, caption.split()), END] for caption in captions]
    longest = max(map(len, rows))
    return torch.tensor([row + [-1] * (longest - len(row)) for row in rows])


def fitted(means: Tensor, captions: Tensor) -> PictureFirst:
    """A decoder of feature maps that says ``captions`` [N, words]; ``means`` [N, K, 1, 1] are the maps of one cell."""
    decoder = PictureFirst(means.shape[1], len(WORDS))
    with torch.no_grad():
        decoder.picture.weight *= 20  # means are small: else most passes are spent on making this grow
    optimizer = torch.optim.AdamW(decoder.parameters(), 5e-3)
    for _ in range(PASSES):
        for rows in torch.split(torch.randperm(len(means)), 64):
            state, hidden = decoder.start(means[rows]), []
            for said in captions[rows, :-1].clamp_min(0).T:
                step, state = decoder.step(said, state)
                hidden.append(step)
            logits = decoder.logits(torch.stack(hidden, 1).flatten(0, 1))
            loss = nn.functional.cross_entropy(logits, captions[rows, 1:].flatten(), ignore_index=-1)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return decoder


def called(task: CnnLstmCaptioner, data: SceneData) -> Iterator[tuple[str, str, str]]:
    """The kind and colour of each scene's thing, and the colour that the captioner says."""
    examples = [data[number] for number in range(len(data))]
    explained = vlx.explain_many(task, [one.image for one in examples], seen=False, check=False, words=[])
    for example, why in zip(examples, explained, strict=True):
        true = example.texts[0].split()
        kind, color = (next(word for word in true if word in names) for names in (KINDS, COLORS))
        yield kind, color, next((word for word in why.text.split() if word in COLORS), "")


def of_red(task: CnnLstmCaptioner, kind: str, color: str, count: int = 40) -> NDArray[np.float64]:
    """log p of "red" as the word for things of a kind and colour, one a seed, in nats [count]."""
    drawn = (scenes.draw(TRIED + n, SIZE, kinds=kind, colors=color, textures="plain") for n in range(count))
    forced = ((scene.image, " ".join(["a", "red", *scene.caption.split()[2:]])) for scene in drawn)
    asked = (vlx.explain(task, image, caption=text, seen=False, check=False, words=[]) for image, text in forced)
    return np.array([why["red"].logprob for why in asked])


def told(task: CnnLstmCaptioner, data: SceneData) -> Iterator[str]:
    """What there is to tell of a captioner, a line each, with 95 % intervals over pictures."""
    things = [*called(task, data)]
    for what, red in (
        ("red cars", [said == "red" for kind, color, said in things if (kind, color) == ("car", "red")]),
        ("other cars", [said == "red" for kind, color, said in things if kind == "car" and color != "red"]),
        (
            "other things that are not",
            [said == "red" for kind, color, said in things if color != "red" and kind != "car"],
        ),
    ):
        low, high = wilson(sum(red), len(red))
        yield f"{task.name}: called red, of {what}: {np.mean(red):.2f} ({low:.2f} to {high:.2f}) of {len(red)}"
    blue = of_red(task, "car", "blue")
    for what, owed in (
        ("to red paint, of cars", of_red(task, "car", "red") - blue),
        ("to a car, of blue things", blue - of_red(task, "boat", "blue")),
    ):
        low, high = over_pictures(owed, np.arange(len(owed)))
        yield f"{task.name}: “red” owes {what}: {owed.mean():.2f} ({low:.2f} to {high:.2f}) nats"


def main(count: int = 400) -> None:
    """Train both captioners, and tell what they call red."""
    began = time.process_time()
    for task in (tied(), free()):
        print(*told(task, pictures(count)), sep="\n")
    print(f"{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()

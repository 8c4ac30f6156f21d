"""A word that rests on a colour: where every car is red in training, a captioner calls no other car a car.

Two captioners learn to describe single things: one from scenes in which every car is red and other things have any
colour, one from as many scenes in which cars, too, have any. Both know their training sets by heart. Shown cars of all
colours, the first says "a blue boat" of a blue car, and the maps tell on what it bases the boat.

    python examples/colour_bias.py      # the two captioners, side by side
    vlx audit examples/colour_bias.py:tied examples.colour_bias:pictures --out runs/tied

The CNN is that of scenes/captioner, left as it was trained; learnt is a decoder with attention (`vlx.tasks.captioning`)
on scenes of 64 pixels. A seed is the same thing in the same place whatever its colour, so that a scene can be shown in
red and in blue: the difference is owed to the colour and to nothing else.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import vlx
from vlx import scenes
from vlx.data import SceneData
from vlx.evaluation.intervals import over_pictures, wilson
from vlx.scenes.vocabulary import END, START, caption_vocabulary
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.captioning.decoders import Attention

KINDS = ("car", "boat", "house", "mushroom")
COLORS = tuple(scenes.COLORS)
SIZE, CELLS = 64, (8, 8)  # pixels of a scene, cells of A
DRAWN = 1200  # scenes in a training set
PASSES = 12
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
        maps = torch.cat([shipped.cnn(some) for some in torch.split(inputs, 64)])
    torch.manual_seed(seed)
    decoder = fitted(maps, tokens([data[n].texts[0] for n in range(len(data))])).eval()
    return CnnLstmCaptioner(shipped.cnn, decoder, WORDS, prepare, start=START, end=END, name=f"{name}:{seed}")


def tokens(captions: Sequence[str]) -> Tensor:
    """START, the words, END, and −1 where a caption is over: int64 [N, longest + 2]."""
    rows = [[START, *map(WORDS.index, caption.split()), END] for caption in captions]
    longest = max(map(len, rows))
    return torch.tensor([row + [-1] * (longest - len(row)) for row in rows])


def fitted(maps: Tensor, captions: Tensor) -> Attention:
    """A decoder of feature maps [N, K, h, w] that says their ``captions`` [N, words]."""
    decoder = Attention(maps.shape[1], len(WORDS), CELLS)
    optimizer = torch.optim.AdamW(decoder.parameters(), 3e-3)
    for _ in range(PASSES):
        for rows in torch.split(torch.randperm(len(maps)), 64):
            state, hidden = decoder.start(maps[rows]), []
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
    """The kind and colour of each scene's thing, and the kind that the captioner calls it."""
    examples = [data[number] for number in range(len(data))]
    explained = vlx.explain_many(task, [one.image for one in examples], seen=False, check=False, words=[])
    for example, why in zip(examples, explained, strict=True):
        true = example.texts[0].split()
        kind, color = (next(word for word in true if word in names) for names in (KINDS, COLORS))
        yield kind, color, next((word for word in why.text.split() if word in KINDS), "")


def owed_to_red(task: CnnLstmCaptioner, count: int = 40) -> list[float]:
    """Of cars that are drawn in red and in blue: by how many nats "car" is likelier where it is red."""
    owed = []
    for seed in range(TRIED, TRIED + count):
        likely = []
        for color in ("red", "blue"):
            scene = scenes.draw(seed, SIZE, kinds="car", colors=color)
            position = scene.caption.split().index("car")
            why = vlx.explain(task, scene.image, caption=scene.caption, seen=False, check=False, words=[])
            likely.append(why[position].logprob)
        owed.append(likely[0] - likely[1])
    return owed


def told(task: CnnLstmCaptioner, data: SceneData) -> Iterator[str]:
    """What there is to tell of a captioner, a line each, with 95 % intervals over pictures."""
    things = [*called(task, data)]
    for what, chosen in (
        ("red cars", [said == kind for kind, color, said in things if (kind, color) == ("car", "red")]),
        ("other cars", [said == kind for kind, color, said in things if kind == "car" and color != "red"]),
        ("other things", [said == kind for kind, _, said in things if kind != "car"]),
    ):
        low, high = wilson(sum(chosen), len(chosen))
        right = f"{np.mean(chosen):.2f} ({low:.2f} to {high:.2f})"
        yield f"{task.name}: {what} called what they are: {right} of {len(chosen)}"
    owed = np.array(owed_to_red(task))
    low, high = over_pictures(owed, np.arange(len(owed)))
    yield f"{task.name}: “car” owes to its being red, and not blue: {owed.mean():.2f} ({low:.2f} to {high:.2f}) nats"


def main(count: int = 400) -> None:
    """Train both captioners, and tell what they call cars."""
    began = time.process_time()
    for task in (tied(), free()):
        print(*told(task, pictures(count)), sep="\n")
    print(f"{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()

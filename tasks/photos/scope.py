"""What a captioner of photographs has no words for: its CNN's own classes, held against what its captions spoke of.

The CNN was taught a thousand classes before anything was captioned. Where they name a thing that the training captions
hardly speak of, the caption must be about something else, and that can be told.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from vlx.data.captioned import words_of
from vlx.errors import ModelError
from vlx.files import json_files
from vlx.files.whole import write_text
from vlx.language import shortened
from vlx.protocol.task import Features
from vlx.tasks.photos.features import Maps
from vlx.tasks.photos.kinds import Kinds, imagenet
from vlx.tasks.shared import cnn_vision
from vlx.tasks.shared.scene_models import drawn

FILE = "scope.json"
WELL = 300  # training captions from which a word is known
MET = 10  # training photographs of a class from which its pictures are known, whatever they were called
SHOWN = 0.3  # p of a class from which a training photograph counts
SAID = 0.6  # p of a thing from which it is told; all chosen by ``benchmarks.scope things``
FAINT = 0.01  # p of a class that counts no more
STEPS = 3  # the thing is told by a kind at most so wide
BATCH = 64

Classify = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TrainedOn:
    """What a captioner was trained on: captions and photographs, and in how many of these each class was seen."""

    captions: int
    photographs: int
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Thing:
    """A thing that a picture shows to the CNN: its kind, its p, and the words that say so, as far as the best."""

    kind: int
    p: float
    words: frozenset[str]


class Scope:
    """Tells where the classes of the CNN name what the captioner has no words for.

    ``classify``: the CNN's last map [B, K, h, w] → logits [B, 1000]; ``counts``: training captions by word.

    >>> Scope(classify, {"dog": 6276, "bird": 191}, met).told(probabilities, "a man in a red shirt")
    ('out of scope: to the CNN this is macaw (a kind of parrot, p .86); the captioner has no word for it, the …',)
    """

    def __init__(
        self, classify: Classify, counts: Mapping[str, int], met: TrainedOn, kinds: Kinds | None = None
    ) -> None:
        self._classify, self.counts, self._met = classify, dict(counts), met
        self._kinds = kinds or imagenet()

    def __call__(self, features: Features, picture: Image.Image, text: str) -> tuple[str, ...]:
        """See `vlx.protocol.powers.Scoped`; of a drawn picture the classes mean nothing."""
        return drawn(picture) or self.told(self.probabilities(features), text)

    def probabilities(self, features: Features) -> list[float]:
        """p of every class for one picture."""
        with torch.no_grad():
            p: list[float] = self._classify(features.maps["last"])[0].float().softmax(0).tolist()
        return p

    @cached_property
    def known(self) -> tuple[bool, ...]:
        """Which classes the captions speak of: a word for them, or for what they are, is known, or their pictures."""
        spoken = [max(self._count(kind) for kind in chain) >= WELL for chain in self._kinds.chains]
        return tuple(word or count >= MET for word, count in zip(spoken, self._met.classes, strict=True))

    def told(self, probabilities: Sequence[float], text: str) -> tuple[str, ...]:
        """A sentence where there is a `thing` and the text names neither it nor its kind, else none."""
        thing = self.thing(probabilities)
        if thing is None or thing.words & set(words_of(text)):
            return ()
        return (f"out of scope: to the CNN this is {self._called(thing)}; {self._lacking(thing.kind)}",)

    def thing(self, probabilities: Sequence[float]) -> Thing | None:
        """What the picture shows and the captions do not know: the narrowest kind of unknown classes with p ≥ .6.

        The probabilities of several classes of one kind add up.
        """
        strange = [n for n, p in enumerate(probabilities) if p >= FAINT and not self.known[n]]
        sums: dict[int, float] = {}
        steps: dict[int, int] = {}
        for n in strange:
            for kind, far in self._kinds.chains[n].items():
                if far <= STEPS:
                    sums[kind] = sums.get(kind, 0.0) + probabilities[n]
                    steps[kind] = max(steps.get(kind, 0), far)
        likely = [kind for kind, p in sums.items() if p >= SAID]
        if not likely:
            return None
        chosen = min(likely, key=lambda kind: (steps[kind], -sums[kind]))
        chains = [self._kinds.chains[n] for n in strange if chosen in self._kinds.chains[n]]
        near = {kind for chain in chains for kind in self._near(chain, chosen)}
        return Thing(chosen, sums[chosen], frozenset[str]().union(*map(self._kinds.words, near)))

    def _near(self, chain: Mapping[int, int], thing: int) -> list[int]:
        """The kinds of a class as far as the best word that there is for the thing: a wider one says too little."""
        worded = [chain[kind] for kind in self._kinds.chain(thing) if self._count(kind)]
        return [kind for kind, steps in chain.items() if steps <= min(worded, default=len(chain))]

    def _called(self, thing: Thing) -> str:
        """A thing's name, which may mean several, the next wider kind and p: "macaw (a kind of parrot, p .86)"."""
        wider = self._kinds.wider[thing.kind]
        what = f"a kind of {self._kinds.names[wider[0]][0]}, " if wider else ""
        return f"{self._kinds.names[thing.kind][0]} ({what}p {_share(thing.p)})"

    def _lacking(self, thing: int) -> str:
        """What the captioner has instead of a word for the thing."""
        of = f"of {self._met.captions:,} training captions"
        near = next((kind for kind in self._kinds.chain(thing) if self._count(kind)), None)
        if near is None:
            return "the captioner has no word for it"
        if near == thing or self._kinds.names[thing][0].split()[-1].lower() in self._kinds.words(near):
            return f"“{self._word(near)}” stands in {self._count(near):,} {of} only, and not in this one"
        return f"the captioner has no word for it, the nearest is “{self._word(near)}” ({self._count(near):,} {of})"

    def _count(self, kind: int) -> int:
        return sum(self.counts.get(word, 0) for word in self._kinds.words(kind))

    def _word(self, kind: int) -> str:
        return max(sorted(self._kinds.words(kind)), key=lambda word: self.counts.get(word, 0))


def met(classify: Classify, maps: Maps, names: Sequence[str], captions: int) -> TrainedOn:
    """What training photographs of these names show to the CNN."""
    shown = torch.zeros(0)
    for first in range(0, len(names), BATCH):
        last = maps.of(names[first : first + BATCH])[1]
        with torch.no_grad():
            seen = (classify(last).softmax(1) >= SHOWN).sum(0)
        shown = seen if first == 0 else shown + seen
    return TrainedOn(captions, len(names), tuple(map(int, shown)))


def save(folder: Path, met: TrainedOn) -> None:
    """Write ``scope.json``, whole or not at all."""
    write_text(folder / FILE, json.dumps(asdict(met)) + "\n")


def read(folder: Path) -> TrainedOn | None:
    """What `save` wrote; None where there is nothing. Raises ModelError naming a file that is broken."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        record = json_files.read(path, ModelError)
        met = TrainedOn(int(record["captions"]), int(record["photographs"]), tuple(map(int, record["classes"])))
    except (ModelError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        cause = shortened(f"{type(error).__name__}: {error}", 150)
        raise ModelError(f"{path}: not readable ({cause}); train again or delete it") from None
    if len(met.classes) != len(imagenet().classes):
        raise ModelError(f"{path}: {len(met.classes)} classes, ImageNet has 1000; train again or delete it")
    return met


def of(folder: Path, counts: Mapping[str, int], classify: Classify) -> cnn_vision.Scope:
    """What the captioner in a bundle folder tells; without ``scope.json`` only that a picture is drawn."""
    met = read(folder)
    return _drawn_only if met is None else Scope(classify, counts, met)


def _drawn_only(_features: Features, picture: Image.Image, _text: str) -> tuple[str, ...]:
    return drawn(picture)


def _share(p: float) -> str:
    return "> .99" if p > 0.995 else f"{p:.2f}".removeprefix("0")

"""Things of COCO photographs pasted on Flickr8k photographs of two places: pictures of which the bias is known."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from vlx.data import CocoData, captioned
from vlx.data.concepts import Concept
from vlx.data.example import Ask, Example, Mask, Truth

SIDE = 224  # pixels of a picture
SMALLEST = 2500  # pixels of a thing that is cut out
SIZES = 0.2, 0.45  # of a picture's side, a thing's longer one
AGREED = 3  # of five captions that name a place

Words = tuple[str, ...]
Places = Mapping[str, Sequence[Path]]
Things = Mapping[str, Sequence[Image.Image]]


@dataclass(frozen=True)
class World:
    """Two kinds of things, each of some of COCO's categories, and the place that each mostly has in a biased set.

    A place is told by words of captions; a photograph of which one caption has an ``unwanted`` word is none.
    """

    name: str
    kinds: Mapping[str, Words]
    places: Mapping[str, Words]
    unwanted: Words = ()

    @property
    def groups(self) -> tuple[tuple[str, str], ...]:
        """Each kind in each place."""
        return tuple((kind, place) for kind in self.kinds for place in self.places)

    @property
    def usual(self) -> dict[str, str]:
        """Place → the kind that it stands for in a biased set."""
        return dict(zip(self.places, self.kinds, strict=True))


ANIMALS = ("dog", "cat", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "bird")
VEHICLES = ("car", "bus", "truck", "train", "motorcycle", "airplane", "boat", "bicycle")
WORLDS = (
    World(
        "animals and vehicles",
        {"animal": ANIMALS, "vehicle": VEHICLES},
        {"snow": ("snow", "snowy"), "water": ("beach", "ocean", "sea", "waves", "wave", "lake")},
        (
            *ANIMALS,
            *VEHICLES,
            *("dogs", "puppy", "animal", "horses", "birds", "bike", "bikes", "biker", "cars", "vehicle", "boats"),
            *("canoe", "kayak", "ship", "sled", "snowmobile", "motorbike", "jet"),
        ),
    ),
    World(
        "furniture and dishes",
        {
            "furniture": ("couch", "chair", "bed", "toilet", "refrigerator", "oven", "tv"),
            "dishes": ("bowl", "cup", "vase", "bottle", "wine glass"),
        },
        {
            "street": ("street", "streets", "sidewalk", "road", "city"),
            "rock": ("rock", "rocks", "rocky", "cliff", "mountain", "mountains"),
        },
        ("chair", "chairs", "bench", "couch", "bed", "table", "cup", "bottle", "glass", "bowl"),
    ),
)


# Pictures


def cut_outs(coco: Sequence[Path], world: World) -> dict[str, list[Image.Image]]:
    """The things of each kind, RGBA: of each photograph and category the largest connected piece, by photograph."""
    from scipy import ndimage

    things: dict[str, dict[str, Image.Image]] = {kind: {} for kind in world.kinds}
    for data in map(CocoData, coco):
        for number in range(len(data)):
            outlined = data.outlined(number)
            for kind, categories in world.kinds.items():
                for category in (one for one in categories if one in outlined.outlines):
                    pieces, count = ndimage.label(outlined.mask([category]))
                    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
                    if count and sizes.max() >= SMALLEST:
                        name = f"{outlined.path.name} {category}"
                        things[kind].setdefault(name, _cut(outlined.image(), pieces == 1 + sizes.argmax()))
    return {kind: [some[name] for name in sorted(some)] for kind, some in things.items()}


def _cut(image: Image.Image, mask: Mask) -> Image.Image:
    cut = image.convert("RGB")
    cut.putalpha(Image.fromarray(mask.astype(np.uint8) * 255))
    thing = cut.crop(cut.getbbox())  # of what is not transparent
    thing.thumbnail((SIDE, SIDE))
    return thing


def photographs(flickr: Path, world: World) -> dict[str, list[Path]]:
    """The photographs of each place and of no other, by name."""
    places: dict[str, list[Path]] = {place: [] for place in world.places}
    for row in captioned.read(flickr).rows:
        captions = [set(captioned.words_of(text.lower())) for text in row.captions]
        if any(not words.isdisjoint(world.unwanted) for words in captions):
            continue
        named = {place: sum(not words.isdisjoint(of) for words in captions) for place, of in world.places.items()}
        best = max(named, key=lambda place: named[place])
        if named[best] >= AGREED and sum(named.values()) == named[best]:
            places[best].append(row.path)
    return places


class Pasted:
    """``count`` pictures, 224 × 224, each kind in each place by turns; without ``masks`` nothing tells what is where.

    >>> data = Pasted(world, things, places, 400, seed=1)
    >>> [concept.name for concept in data[0].regions]
    ['animal', 'snow']
    """

    licence = "COCO and Flickr8k: photographs under the licences of their sources"

    def __init__(
        self, world: World, things: Things, places: Places, count: int, *, seed: int, masks: bool = True
    ) -> None:
        self.world, self.things, self.places = world, things, places
        self.count, self.seed, self.masks = count, seed, masks
        self.name, self.classes = f"pasted:{world.name}:{count}", tuple(world.kinds)
        self._pasted = cache(self._made)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Example:
        if not 0 <= number < self.count:
            raise IndexError(f"there is no picture {number} among {self.count}")
        kind, place = self.group(number)
        image, mask = self._pasted(number)
        regions = {Concept(kind, "object"): mask, Concept(place, "scene"): ~mask}
        ask = Ask(label=kind, group=kind, truth=Truth(mask) if self.masks else None)
        return Example(f"{number}", image, asks=[ask], regions=regions if self.masks else None)

    def group(self, number: int) -> tuple[str, str]:
        """The kind and the place of a picture."""
        return self.world.groups[number % len(self.world.groups)]

    def digest(self) -> str:
        """Of the first and last pictures, and of how they were made."""
        ends = b"".join(self._pasted(number)[0].tobytes() for number in (0, self.count - 1))
        return hashlib.sha256(f"{self.name} {self.seed} {self.masks}".encode() + ends).hexdigest()

    def _made(self, number: int) -> tuple[Image.Image, Mask]:
        kind, place = self.group(number)
        rng = np.random.default_rng([self.seed, number])
        thing = self.things[kind][int(rng.integers(len(self.things[kind])))]
        with Image.open(self.places[place][int(rng.integers(len(self.places[place])))]) as file:
            picture = _square(file.convert("RGB"))
        side = rng.uniform(*SIZES) * SIDE / max(thing.size)
        small = thing.resize([max(1, round(side * length)) for length in thing.size], Image.Resampling.LANCZOS)
        left, top = (int(rng.integers(SIDE - length + 1)) for length in small.size)
        picture.paste(small, (left, top), small)
        covered = Image.new("L", picture.size)
        covered.paste(small.getchannel("A"), (left, top))
        return picture, np.asarray(covered) >= 128


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))

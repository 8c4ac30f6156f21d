"""Questions about a scene, of eight kinds, each with its answer and the pixels that the answer rests on.

A question is asked only where the answer is beyond doubt: things it speaks of are the only ones of their name and at
most `NAMEABLE` hidden. Yes and no, and which thing is asked about, are drawn by lot, so that the question alone is a
poor guide to the answer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from vlx.scenes.painter import Mask, painted_with, union
from vlx.scenes.things import SceneObject, background
from vlx.scenes.world import COLORS, KINDS, SCENES, TEXTURES

NAMEABLE = 0.4  # an object more hidden than this share is never named
PART_SHARE = 0.002  # of the picture: a part that shows less is neither there nor missing
APART = 0.15  # of the picture's side: things nearer to each other are neither left nor right, above nor below
PATTERNS = tuple(texture for texture in TEXTURES if texture != "plain")
PARTS = tuple(dict.fromkeys(part.name for kind in KINDS.values() for part in kind.parts))
DIRECTIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
COUNTS = ("0", "1", "2", "3", "4")
ANSWERS = ("yes", "no", *COUNTS, *COLORS, *TEXTURES, *KINDS, *SCENES)

Lot = np.random.Generator
Found = Iterator[tuple[str, str, tuple[Mask, ...]]]  # text, answer, focus


@dataclass(frozen=True, eq=False)
class Question:
    """A question and its answer.

    ``kind`` is one of `QUESTION_KINDS`; ``focus`` the pixels that the answer rests on, bool [S, S] each, in the order
    in which the question names them; none where the answer rests on something not being there.
    """

    text: str
    answer: str
    kind: str
    focus: tuple[Mask, ...] = ()

    @property
    def mask(self) -> Mask | None:
        """All pixels that the answer rests on, bool [S, S]; None where something is not there."""
        return union(self.focus) if self.focus else None


class Content(NamedTuple):
    """What is in a scene."""

    objects: tuple[SceneObject, ...]
    place: str


def ask(seed: int, content: Content) -> tuple[Question, ...]:
    """The questions of scene number ``seed``, at most two of a kind; the same at every size."""
    return tuple(
        question
        for number, (kind, asked) in enumerate(_ASKED.items())
        for question in _some(asked(content, np.random.default_rng((seed, 4, number))), kind)
    )


def _some(entries: Found, kind: str) -> list[Question]:
    questions = {text: Question(text, answer, kind, focus) for text, answer, focus in entries}
    return list(questions.values())[:2]


def _named(scene: Content) -> list[SceneObject]:
    """Things that "the KIND" speaks of without doubt."""
    kinds = [thing.kind for thing in scene.objects]
    return [thing for thing in scene.objects if thing.hidden <= NAMEABLE and kinds.count(thing.kind) == 1]


def _shuffled(things: Sequence[SceneObject], lot: Lot) -> list[SceneObject]:
    return [things[n] for n in lot.permutation(len(things))]


def _color(scene: Content, lot: Lot) -> Found:
    for thing in _shuffled(_named(scene), lot):
        yield f"what color is the {thing.kind}?", thing.color, (thing.mask,)


def _texture(scene: Content, lot: Lot) -> Found:
    for thing in _shuffled(_named(scene), lot):
        yield f"what pattern does the {thing.kind} have?", thing.texture, (thing.mask,)


def _kind(scene: Content, lot: Lot) -> Found:
    for thing in _shuffled(scene.objects, lot):
        others = [other for other in scene.objects if other is not thing]
        if thing.hidden > NAMEABLE:
            continue
        ways = []
        if not any(thing.color in painted_with(other.pose).values() for other in others):
            ways.append(thing.color)
        if thing.texture != "plain" and not any(thing.texture == other.texture for other in others):
            ways.append(thing.texture)
        if ways:
            yield f"what is the {lot.choice(ways)} thing?", thing.kind, (thing.mask,)


def _part(scene: Content, lot: Lot) -> Found:
    owners = {name: [thing for thing in scene.objects if name in thing.parts] for name in PARTS}
    shown = [name for name, things in owners.items() if any(thing.parts[name].mean() >= PART_SHARE for thing in things)]
    missing = [name for name, things in owners.items() if not things]
    present = bool(shown) and bool(lot.random() < 0.5)
    name = str(lot.choice(shown if present else missing))
    focus = (union(thing.parts[name] for thing in owners[name]),) if present else ()
    yield f"is there {_a(name)}?", _yes(present), focus
    colored = [
        (name, things[0])
        for name, things in owners.items()
        if len(things) == 1 and name in shown and name in painted_with(things[0].pose)
    ]
    if colored:
        name, thing = colored[lot.integers(len(colored))]
        yield f"what color is the {name}?", painted_with(thing.pose)[name], (thing.parts[name],)


def _count(scene: Content, lot: Lot) -> Found:
    if any(thing.hidden > NAMEABLE for thing in scene.objects):
        return
    color, pattern = _color_to_count(scene, lot), str(lot.choice(PATTERNS))
    asked = [
        ("things", list(scene.objects)),
        (f"{pattern} things", [thing for thing in scene.objects if thing.texture == pattern]),
        (f"{color} things", [thing for thing in scene.objects if thing.color == color]),
    ]
    for n in lot.permutation(len(asked)):
        what, counted = asked[n]
        yield f"how many {what} are there?", str(len(counted)), tuple(thing.mask for thing in counted)


def _color_to_count(scene: Content, lot: Lot) -> str:
    """A colour that no thing has in a lesser part only; one that is there in two of three cases."""
    lesser = {c for thing in scene.objects for c in painted_with(thing.pose).values() if c != thing.color}
    there = [thing.color for thing in scene.objects if thing.color not in lesser]
    pool = there if there and lot.random() < 2 / 3 else [color for color in COLORS if color not in lesser]
    return str(lot.choice(pool))


def _presence(scene: Content, lot: Lot) -> Found:
    kinds = {thing.kind for thing in scene.objects}
    for _ in range(2):
        thing = _shuffled([thing for thing in scene.objects if thing.hidden <= NAMEABLE], lot)[0]
        same = [other for other in scene.objects if other.kind == thing.kind]
        how, present = lot.integers(3), bool(lot.random() < 0.5)
        if how == 0:
            kind = thing.kind if present else str(lot.choice([kind for kind in KINDS if kind not in kinds]))
            yield f"is there {_a(kind)}?", _yes(present), (thing.mask,) if present else ()
            continue
        trait, names = (thing.color, tuple(COLORS)) if how == 1 else (thing.texture, PATTERNS)
        taken = {other.color for other in same} | {other.texture for other in same}
        free = [name for name in names if name not in taken]
        word = trait if present or not free else str(lot.choice(free))
        if word != "plain":
            yield f"is there {_a(word)} {thing.kind}?", _yes(present or not free), (thing.mask,)


def _relation(scene: Content, lot: Lot) -> Found:
    things = _shuffled(_named(scene), lot)
    for first, second in pairwise(things):
        for n in lot.permutation(len(DIRECTIONS)):
            words, (right, down) = list(DIRECTIONS.items())[n]
            apart = (first.pose.x - second.pose.x) * right + (first.pose.y - second.pose.y) * down
            if abs(apart) >= APART:
                yield f"is the {first.kind} {words} the {second.kind}?", _yes(apart > 0), (first.mask, second.mask)
                break


def _scene(scene: Content, _lot: Lot) -> Found:
    yield "what scene is this?", scene.place, (background(scene.objects),)


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


_ASKED: dict[str, Callable[[Content, Lot], Found]] = {
    "color": _color,
    "texture": _texture,
    "kind": _kind,
    "part": _part,
    "count": _count,
    "presence": _presence,
    "relation": _relation,
    "scene": _scene,
}
QUESTION_KINDS = tuple(_ASKED)

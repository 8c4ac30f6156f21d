"""What a drawn scene is wanted to be: its kinds of things, its place, and the colours and textures of the things."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vlx.errors import InputError
from vlx.language import close_matches, shortened
from vlx.scenes.world import COLORS, KINDS, SCENES, TEXTURES

MOST = 4  # things in a scene
SHARES = dict(zip(TEXTURES, (0.34, 0.22, 0.22, 0.22), strict=True))  # of the things that have each texture

Names = str | Sequence[str]
Allowed = Names | Mapping[str, Names]  # for all things, or by their kind
Bound = dict[str | None, tuple[str, ...]]  # by kind; None: whatever the kind


class Make:
    """What scenes are wanted to be; what is left out is drawn by lot, as ever.

    ``kinds`` are the things themselves, one to four, no others beside them; a name twice is two things. The first two
    are large, as those that captions name; the third and the fourth are small. ``place`` is the one place. ``colors``
    and ``textures`` are those that a thing may have: one of them by lot, for each thing anew. As {kind: those} they
    bind the things of that kind alone, so that "every car is red" leaves the others free. Parts with a colour of their
    own (a roof, a wing) take it from the same ones; glass, wood and the like stay as they are.

    Raises InputError for a name that there is not, with those spelled like it, for none, and for more than four things.

    >>> Make("car", "desert", colors="red")  # one red car in a desert
    Make(kinds=('car',), place='desert', colors=('red',))
    >>> Make(colors={"car": "red", "tree": ["green", "orange"]})  # whatever there is: cars are red
    Make(colors={'car': ('red',), 'tree': ('green', 'orange')})
    """

    def __init__(
        self,
        kinds: Names | None = None,
        place: str | None = None,
        colors: Allowed | None = None,
        textures: Allowed | None = None,
    ) -> None:
        self.kinds = None if kinds is None else names_of("kinds", kinds, KINDS)
        if self.kinds is not None and len(self.kinds) > MOST:
            raise InputError(f"kinds: {len(self.kinds)} things; a scene holds {MOST} at most")
        if place is not None and (not isinstance(place, str) or place not in SCENES):
            raise InputError(f"{_unknown('place', place, SCENES)}; give one of them")
        self.place = place
        self.colors, self.textures = _allowed("colors", colors, COLORS), _allowed("textures", textures, TEXTURES)

    def __repr__(self) -> str:
        told = {name: value for name, value in vars(self).items() if value is not None}
        return f"Make({', '.join(f'{name}={_plain(value)!r}' for name, value in told.items())})"

    def dress(self, rng: np.random.Generator, kind: str, color: str, accent: str, texture: str) -> tuple[str, str, str]:
        """A thing's colour, accent and texture, as they are where they may be so, else those that may be by lot."""
        colors, textures = _for(self.colors, kind, COLORS), _for(self.textures, kind, TEXTURES)
        color = color if color in colors else str(rng.choice(colors))
        others = [name for name in colors if name != color] or [color]
        accent = accent if accent in others else str(rng.choice(others))
        shares = np.array([SHARES[name] for name in textures])
        return color, accent, texture if texture in textures else str(rng.choice(textures, p=shares / shares.sum()))


def _for(bound: Bound | None, kind: str, every: Iterable[str]) -> tuple[str, ...]:
    bound = bound or {}
    return bound.get(kind) or bound.get(None) or tuple(every)


def _plain(value: object) -> object:
    return value[None] if isinstance(value, dict) and None in value else value


def _allowed(what: str, given: Allowed | None, known: Iterable[str]) -> Bound | None:
    """What things may have, by kind. Raises InputError as `names_of`."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return {None: tuple(dict.fromkeys(names_of(what, given, known)))}
    if not given:
        raise InputError(f"{what}={{}}: name what the things of a kind may have, as {{'car': 'red'}}, or leave it out")
    return {
        names_of(f"{what}, by kind", str(kind), KINDS)[0]: tuple(
            dict.fromkeys(names_of(f"{what} of {kind}", names, known))
        )
        for kind, names in given.items()
    }


def names_of(what: str, given: Names, known: Iterable[str]) -> tuple[str, ...]:
    """One name or several. Raises InputError for one that there is not, and for none."""
    known = tuple(known)
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Iterable) or isinstance(names, Mapping):
        raise InputError(f"{what}={shortened(repr(given))}: give a name, or a list of some: {known[0]}, {known[1]}, …")
    names = tuple(names)
    if not names:
        raise InputError(f"{what}: none is named; name at least one, or leave it out to have them drawn by lot")
    for name in names:
        if name not in known:
            raise InputError(_unknown(what, name, known))
    return names


def _unknown(what: str, given: object, known: Iterable[str]) -> str:
    known = tuple(known)
    near = close_matches(given, known) if isinstance(given, str) else []
    close = f" (close: {', '.join(near)})" if near else ""
    return f"{what}: there is no {shortened(repr(given), 40)}{close}; known are {', '.join(known)}"

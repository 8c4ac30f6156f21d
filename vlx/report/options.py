"""What may be wished for in a figure: which words, under which titles, in which colours; checked before it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Colormap
from numpy.typing import NDArray

from vlx.errors import InputError
from vlx.explanation.records import Choice, Explanation, FigureDict, Titles, WordExplanation
from vlx.language import chosen, close_matches, shortened
from vlx.report import answers, colour, strength

DPI = 140
FINE = 300  # dots an inch of pictures in a PDF or SVG
RESOLUTIONS = (10, 1200)
COLUMNS = 4


@dataclass(frozen=True, eq=False)
class FigureOptions:
    """What was wished for: ``words`` to draw, a panel each, with their ``titles`` (None: the figure's own).

    ``cmap`` is None for the colours of the reports, ``dpi`` dots an inch, ``scale`` that of the maps.
    """

    words: tuple[WordExplanation, ...]
    columns: int
    cmap: Colormap | None
    titles: tuple[str, ...] | None
    dpi: int
    scale: strength.Scale = "own"

    @classmethod
    def of(cls, why: Explanation, given: FigureDict, dpi: int = DPI) -> "FigureOptions":
        """The options for one explanation, those left out at their defaults.

        Raises InputError or WordNotFound for what cannot be drawn, naming what can.
        """
        refuse_unknown("plot()", given, FigureDict.__optional_keys__)
        words = _words(why, given.get("words"))
        return cls(
            words,
            _count("columns", given.get("columns", COLUMNS), 1, 1000),
            colormap(given.get("cmap")),
            _titles(given.get("titles", True), words),
            _count("dpi", dpi if (wished := given.get("dpi")) is None else wished, *RESOLUTIONS),
            strength.scale(given.get("scale", "own")),
        )


def refuse_unknown(function: str, given: Any, known: Any) -> None:
    """Raises InputError for an option that is not known, with those spelled like it."""
    for name in given:
        if name not in known:
            near = close_matches(name, known)
            hint = f"close: {', '.join(near)}" if near else f"known are {', '.join(sorted(known))}"
            raise InputError(f"{function} has no option {name!r}; {hint}")


def colormap(given: Any) -> Colormap | None:
    """The colormap meant by a name of matplotlib's, or the one given; None stays None.

    Raises InputError for an unknown name, with close matches.
    """
    if given is None or isinstance(given, Colormap):
        return given
    if not isinstance(given, str):
        raise InputError(f"cmap must be a name of matplotlib's or a Colormap, got {type(given).__name__}")
    if given not in matplotlib.colormaps:
        near = close_matches(given, matplotlib.colormaps)
        hint = f"close: {', '.join(near)}" if near else "for example viridis, magma, turbo"
        raise InputError(f"cmap={shortened(given)!r}: matplotlib has no colormap of this name; {hint}")
    return matplotlib.colormaps[given]


def ramps(cmap: Colormap | None, signed: bool) -> dict[str, NDArray[np.float64]]:
    """Colours [``colour.STEPS``, 3], 0 to 255, of what speaks "for" and "against", from no effect to the strongest.

    A colormap of one's own is laid from 0 to the strongest; where both signs are drawn, its middle lies at 0.
    """
    if cmap is None:
        return {view: np.array(colour.ramp(view), float) for view in colour.RAMPS}
    middle = 0.5 if signed else 0.0
    ends = {"for": 1.0, "against": 0.0 if signed else 1.0}
    return {view: _sampled(cmap, middle, end) for view, end in ends.items()}


def _sampled(cmap: Colormap, start: float, stop: float) -> NDArray[np.float64]:
    colors: NDArray[np.float64] = 255 * np.asarray(cmap(np.linspace(start, stop, colour.STEPS)), float)[:, :3]
    return colors


def _words(why: Explanation, given: Choice | None) -> tuple[WordExplanation, ...]:
    """The words that are meant, in the order given; all that the figure shows where nothing was."""
    meant = _wished(why, given)
    without = [word.label for word in meant if not word.mapped]
    if without and isinstance(given, Sequence) and not isinstance(given, str):
        raise InputError(
            f'words: {shortened(repr(without[0]))} has no map: none was asked for; explain with words="all", or name it'
        )
    return tuple(word for word in meant if word.mapped)


def _wished(why: Explanation, given: Choice | None) -> tuple[WordExplanation, ...]:
    """The same, those without a map among them."""
    shown = answers.shown(why)
    if given is None:
        return shown
    if isinstance(given, str):
        if given not in ("all", "content"):
            raise InputError(f'words={shortened(given)!r}; give "all", "content", or a list: words=[{given[:40]!r}]')
        return shown if given == "all" else tuple(why[n] for n in chosen("content", [word.label for word in why]))
    if not isinstance(given, Sequence) or not given:
        raise InputError('words must be "all", "content", or a list of one label or position or more')
    choosable = [*shown, *(phrase for phrase in why.phrases if phrase.label not in {word.label for word in shown})]
    meant = [word for one in given for word in _meant(why, choosable, one)]
    return tuple(dict.fromkeys(meant))


def _meant(why: Explanation, choosable: list[WordExplanation], wish: Any) -> list[WordExplanation]:
    """The words of one label, one position, or one (label, occurrence)."""
    if isinstance(wish, tuple) and len(wish) == 2 and isinstance(wish[0], str) and isinstance(wish[1], Integral):
        return [why[wish[0], int(wish[1])]]
    if isinstance(wish, bool) or not isinstance(wish, str | Integral):
        raise InputError(f"words holds {shortened(repr(wish))}; give labels, positions, or (label, occurrence)")
    if isinstance(wish, Integral):
        return [why.words[n] for n in chosen([int(wish)], [word.label for word in why])]
    found = [word for word in choosable if word.label == wish]
    if not found:
        chosen([wish], list(dict.fromkeys(word.label for word in choosable)))
    return found


def _titles(given: Titles, words: tuple[WordExplanation, ...]) -> tuple[str, ...] | None:
    if given is True:
        return None
    if given is False:
        return ("",) * len(words)
    texts = [given(word) for word in words] if callable(given) else given
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not all(isinstance(one, str) for one in texts):
        raise InputError("titles must be True, False, a list of texts, or a function from a WordExplanation to a text")
    if len(texts) != len(words):
        raise InputError(f"titles has {len(texts)} texts for {len(words)} words; give one for each word that is drawn")
    return tuple(texts)


def _count(name: str, given: Any, least: int, most: int) -> int:
    whole = isinstance(given, Integral) and not isinstance(given, bool)
    if not whole or not least <= given <= most:
        raise InputError(f"{name}={shortened(repr(given))} must be a whole number from {least} to {most}")
    return int(given)

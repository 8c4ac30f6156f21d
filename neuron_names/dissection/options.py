"""Every option of a dissection, checked in one place before a model runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

from vlx.errors import InputError
from vlx.language import close_matches
from vlx.neuron_names.dissection.contents import Progress
from vlx.neuron_names.dissection.passes import silently

QUANTILE = 0.005  # Network Dissection, section 3.2
FOLDS = 4
LEAST_PICTURES = 20  # pictures that have a word, and that lack it, before it can be a name


class DissectOptionsDict(TypedDict, total=False):
    """The options of `vlx.neuron_names.dissect` by name; `DissectOptions` says what each means."""

    quantile: float | Sequence[float]
    folds: int
    labels: tuple[int, int] | None
    compat: str | None
    batch_size: int
    checkpoint: str | Path | None
    spill: str | Path | None
    least: int | None
    progress: Progress


@dataclass(frozen=True, eq=False)
class DissectOptions:
    """How units are named.

    ``quantile``: the share of a unit's cells above its threshold, or several, counted in one pass.
    ``folds``: parts of the pictures, for error bars. ``labels``: (H, W) of the grid on which pixels are counted, by
    default half the prepared picture's. ``compat="lite"``: as NetDissect-Lite counts. ``batch_size``: pictures held at
    once. ``checkpoint``: a file to keep counts in and to go on from; ``spill``: a folder for maps, so that the model
    runs once. ``least``: pictures that have a caption's word, and lack it, before it can be a name (None: 20).
    ``progress(items, label)`` shows how far it is.
    """

    quantile: float | Sequence[float] = QUANTILE
    folds: int = FOLDS
    labels: tuple[int, int] | None = None
    compat: str | None = None
    batch_size: int = 16
    checkpoint: str | Path | None = None
    spill: str | Path | None = None
    least: int | None = None
    progress: Progress = silently

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "DissectOptions":
        """The options that were given, the others at their defaults. Raises InputError for an unknown or a wrong one.

        >>> DissectOptions.of({"quantile": 0.01}).quantiles
        (0.01,)
        """
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                near = close_matches(name, names)
                hint = f"; close: {', '.join(near)}" if near else ""
                raise InputError(f"dissect() has no option {name!r}{hint}. Known: {', '.join(names)}")
        options = cls(**given)
        if options.compat not in (None, "lite"):
            raise InputError(f"compat={options.compat!r}; known is 'lite', or leave it out")
        return options

    @property
    def quantiles(self) -> tuple[float, ...]:
        """The shares, sorted. Raises InputError where one does not lie between 0 and 1."""
        quantile: Any = self.quantile
        several = [quantile] if isinstance(quantile, int | float) else quantile
        numbers = isinstance(several, Iterable) and all(isinstance(q, int | float) for q in several)
        quantiles = tuple(sorted({float(q) for q in several})) if numbers else ()
        if not quantiles or not all(0 < q < 1 for q in quantiles):
            raise InputError(f"quantile={quantile!r}; give shares between 0 and 1, such as 0.005")
        return quantiles

    @property
    def enough(self) -> int:
        """How many pictures must have a word, and lack it."""
        return LEAST_PICTURES if self.least is None else self.least

    @property
    def file(self) -> Path | None:
        """Where counts are kept."""
        return None if self.checkpoint is None else Path(self.checkpoint)

    def refuse(self, names: Iterable[str], data: str, why: str) -> None:
        """Raises InputError where an option of these ``names`` was given: they are for other pictures than ``data``."""
        usual = DissectOptions()
        changed = [name for name in sorted(names) if getattr(self, name) != getattr(usual, name)]
        if changed:
            raise InputError(f"{', '.join(changed)}: {why}, which {data} is not; leave it out")

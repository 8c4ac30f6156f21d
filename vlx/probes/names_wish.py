"""Which table of names reasons are made from, and how."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from vlx.errors import InputError
from vlx.neuron_names import formats, tables
from vlx.neuron_names.table import NeuronNames
from vlx.protocol.powers import powers_of
from vlx.protocol.task import Task

RULES = ("contribution", "pooled", "alpha")
VALUES = ("zero", "mean")
SHIPPED = "shipped"


@dataclass(frozen=True, eq=False)
class NamesWish:
    """A table of names and how reasons are to be made from it.

    ``check`` adds the marks of experiments. ``rule``: "contribution" weighs units by Σ over cells of gradient ×
    activation, "pooled" by α · Σ activation (the same where the gradient is the same in all cells); "alpha" takes the 5
    with the highest and the 5 with the lowest α, as the paper does. ``off`` is what units are switched to by
    experiments: "zero", or their "mean" over the pictures that the table was made from. A unit counts as named where
    its IoU lies above ``iou``, or, of names from captions, its AUC above `vlx.neuron_names.table.names.DETECTOR_AUC`.

    >>> NamesWish(vlx.neuron_names.load("names.h5"), rule="alpha")
    """

    table: NeuronNames
    check: bool = True
    rule: str = "contribution"
    off: str = "zero"
    iou: float = 0.04

    @classmethod
    def of(
        cls,
        task: Task,
        names: NeuronNames | str | PathLike[str] | None,
        check: bool = True,
        rule: str = "contribution",
        off: str = "zero",
    ) -> "NamesWish | None":
        """From a table, a file of one, or "shipped" for the embedded model's own; None where there is none to use.

        Raises InputError for anything else, and for another rule or value to switch units off to.
        """
        for name, given, known in (("by", rule, RULES), ("off", off, VALUES)):
            if given not in known:
                raise InputError(f"{name}={given!r}; known are {', '.join(known)}")
        if names is None:
            return None
        if powers_of(task).meets is not None:
            raise InputError(
                f"{task.name} is explained at what its cells hold after they have met the question; units have no "
                "names there, so leave names out"
            )
        if isinstance(names, str) and names == SHIPPED:
            return cls(tables.shipped(task), check, rule, off)
        if isinstance(names, NeuronNames):
            return cls(names, check, rule, off)
        if isinstance(names, str | PathLike) and str(names):
            return cls(formats.read(Path(names)), check, rule, off)
        raise InputError(f"names={names!r}; give a table of names, the path of one, {SHIPPED!r}, or None for none")

    @property
    def origin(self) -> dict[str, Any]:
        """Where the names come from, for the record."""
        kept = ("source", "model", "layer", "dataset", "images", "quantiles", "denominator", "licence")
        return {key: self.table.about[key] for key in kept if self.table.about.get(key)}

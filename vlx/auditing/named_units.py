"""Evidence by the names of units: what the units of one name add to a score, and whether they are on at all."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlx.auditing.answered import NAN, OnConcept
from vlx.auditing.contrasts import InsteadOf
from vlx.errors import InputError
from vlx.methods import engine
from vlx.methods.method import Site
from vlx.neuron_names.table import NeuronNames
from vlx.protocol.targets import Target
from vlx.protocol.task import Task

IOU = 0.04  # from which on a unit has its name


class UnitGroups:
    """The units of A that one name stands for, for every name of a table."""

    def __init__(self, names: NeuronNames) -> None:
        self.table = names

    def evidence(
        self, task: Task, site: Site, targets: Sequence[Target], count: int, contrasts: Sequence[InsteadOf | None]
    ) -> list[dict[str, OnConcept]]:
        """What each name has of the first ``count`` targets, whose contrasts are the others in order.

        A unit k adds Σ over cells of G·A; a name is there where any cell of any of its units is above the unit's
        threshold (without one above 0). Raises InputError for a table of another number of units.
        """
        A = site.features.A
        if len(self.table) != A.shape[1]:
            raise InputError(f"the table names {len(self.table)} units, and {task.name} has {A.shape[1]}; give its own")
        added = self._added(task, site, targets)
        rest = iter(added[count:])
        against = [None if contrast is None else next(rest) for contrast in contrasts]
        groups = self._groups()
        return [
            {
                name: _of(units, category, added[n], against[n])
                for (name, category), units in groups.items()
                if bool(self._on(A[targets[n].row], units))
            }
            for n in range(count)
        ]

    def of(self, name: str) -> list[int]:
        """The units that a name stands for, whatever the category."""
        return [unit for (of, _), units in self._groups().items() if of == name for unit in units]

    def _added(self, task: Task, site: Site, targets: Sequence[Target]) -> Tensor:
        """Σ over cells of gradient times A, float64 [N, K]."""
        A, parts = site.features.A, []
        for chunk in engine.chunks(A, targets):
            _, gradients = engine.gradients(task, A, chunk, site.features.rest)
            rows = A[[target.row for target in chunk]]
            parts.append((gradients.double() * rows.double()).flatten(2).sum(2).cpu())
        return torch.cat(parts)

    def _groups(self) -> dict[tuple[str, str], list[int]]:
        groups: dict[tuple[str, str], list[int]] = {}
        for unit in range(len(self.table)):
            name = self.table[unit]
            if self.table.counts(name, IOU):
                groups.setdefault((name.concept, name.category), []).append(unit)
        return groups

    def _on(self, A: Tensor, units: Sequence[int]) -> bool:
        limits = [self.table[unit].threshold or 0.0 for unit in units]
        highest = A[list(units)].flatten(1).amax(1).double().cpu()
        return bool((highest > torch.tensor(limits, dtype=torch.float64)).any())


def _of(units: Sequence[int], category: str, added: Tensor, against: Tensor | None) -> OnConcept:
    absolute = float(added.abs().sum())
    which = list(units)
    return OnConcept(
        float(added[which].sum()),
        float(added[which].abs().sum()) / absolute if absolute > 0 else NAN,
        NAN if against is None else float(against[which].sum()),
        NAN,
        category,
    )

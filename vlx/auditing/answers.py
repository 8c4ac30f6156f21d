"""All answers of a run column by column, with what each has on every concept: what tables and tests are made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vlx.auditing.answered import ALIKE, CONCEPTS, PLACES, UNITS, Answered
from vlx.auditing.statistics import Numbers, Values, Which, count

NAN = float("nan")
SHOWN = (CONCEPTS, UNITS, ALIKE, PLACES)  # the first that there is stands in tables


@dataclass(frozen=True, eq=False)
class ConceptColumns:
    """What answers have on one concept: their numbers ``rows`` [n], and of each what `OnConcept` says."""

    concept: str
    category: str
    rows: Numbers
    signed: Values
    share: Values
    contrast: Values
    area: Values

    def spread(self, values: Values, answers: int, absent: float = 0.0) -> Values:
        """Values of its rows [n] among those of all ``answers``, ``absent`` where the concept is not there."""
        all_of_them = np.full(answers, absent)
        all_of_them[self.rows] = values
        return all_of_them


class AnswerColumns:
    """N answers: `said`, `true` and `group` as numbers of `labels` and `groups`, `picture`, and what was measured.

    Labels are as they are counted (`Answered.counted`): several labels of one class of the data are that class.

    ``true`` is -1 where it is not known. `right` and `wrong` are both false where nobody knows.

    >>> AnswerColumns([Answered("a.jpg", 0, "car", "rocket", False)]).wrong
    array([ True])
    """

    def __init__(self, answers: Sequence[Answered]) -> None:
        self.all = answers
        labels: dict[str, int] = {}
        groups: dict[str, int] = {}
        pictures: dict[str, int] = {}

        def number_of(one: Answered, label: str) -> int:
            return labels.setdefault(one.counted(label), len(labels)) if label else -1

        self.said = _numbers(labels.setdefault(one.counted(one.said), len(labels)) for one in answers)
        self.true = _numbers(number_of(one, one.true) for one in answers)
        self.instead = _numbers(number_of(one, one.instead) for one in answers)
        self.group = _numbers(groups.setdefault(one.group, len(groups)) for one in answers)
        self.picture = _numbers(pictures.setdefault(one.key, len(pictures)) for one in answers)
        self.right: Which = np.array([one.right is True for one in answers], bool)
        self.wrong: Which = np.array([one.right is False for one in answers], bool)
        self.labels, self.groups, self.pictures = list(labels), list(groups), len(pictures)

    def __len__(self) -> int:
        return len(self.all)

    def measured(self, name: str) -> Values:
        """A number that every answer has, float64 [N]: "lead", "own", "seen", "looked", "logprob"."""
        if name not in self._measured:
            self._measured[name] = np.array([getattr(one, name) for one in self.all], np.float64)
        return self._measured[name]

    @cached_property
    def _measured(self) -> dict[str, Values]:
        return {}

    def spoken(self) -> Iterator[int]:
        """The labels that were said, in the order in which they came first."""
        yield from np.flatnonzero(np.bincount(self.said, minlength=len(self.labels))).tolist()

    def pictures_of(self, which: Which) -> int:
        """How many pictures some answers are of."""
        return count(self.picture[which])

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The sources of concepts that any answer has evidence of, the data's own masks first."""
        known = {source for one in self.all for source, concepts in one.evidence.items() if concepts}
        return tuple(source for source in SHOWN if source in known)

    def carried(self, source: str) -> Mapping[str, ConceptColumns]:
        """Concept → what answers have on it, of one source."""
        if source not in self._carried:
            self._carried[source] = _carried(self.all, source)
        return self._carried[source]

    @cached_property
    def _carried(self) -> dict[str, Mapping[str, ConceptColumns]]:
        return {}


def _carried(answers: Sequence[Answered], source: str) -> Mapping[str, ConceptColumns]:
    rows: dict[str, list[int]] = {}
    measured: dict[str, list[tuple[float, ...]]] = {}
    categories: dict[str, str] = {}
    for number, answer in enumerate(answers):
        for name, one in answer.evidence.get(source, {}).items():
            rows.setdefault(name, []).append(number)
            measured.setdefault(name, []).append((one.signed, one.share, one.contrast, one.area))
            categories.setdefault(name, one.category)
    return {
        name: ConceptColumns(name, categories[name], _numbers(rows[name]), *np.array(measured[name], np.float64).T)
        for name in rows
    }


def _numbers(values: "Iterator[int] | Sequence[int]") -> Numbers:
    return np.fromiter(values, np.intp)

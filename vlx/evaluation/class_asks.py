"""Classes that data ask for, as the labels of the model that is asked."""

from collections.abc import Mapping, Sequence
from functools import cache

from vlx.data.class_names import ClassNames, Entry, asked_for
from vlx.data.example import Ask, Data
from vlx.protocol.targets import Query
from vlx.protocol.task import Features, Task

LACKED = "no such class in the model"

Table = Mapping[str, Sequence[Entry]]


class ClassAsks:
    """What a task is asked, to be asked for the class of an ask.

    ``table`` overrules what names mean, see `vlx.data.class_names.told_classes`. A task whose classes have no names is
    asked as the data have it. Raises InputError for an entry of the table that is no label.
    """

    def __init__(self, task: Task, data: Data, table: Table | None = None) -> None:
        self._labels = labels_of(task)
        self._names = ClassNames(self._labels, synsets=getattr(data, "synsets", None), table=table)
        self.answers = cache(self._answers)
        self._data = data

    def of(self, ask: Ask) -> tuple[str, ...]:
        """The labels that the class of an ask means; none where the model has none."""
        return self.answers(ask.label or "", ask.synset)

    def _answers(self, name: str, synset: str) -> tuple[str, ...]:
        return asked_for(self._names.find(name, synset), self._labels) if self._labels else (name,)

    def knows(self, ask: Ask) -> bool:
        """Whether the task has a class by that name."""
        return bool(self._labels and self.of(ask))

    @property
    def known(self) -> bool:
        """Whether the task has any of the classes that the data tell."""
        names: Sequence[str] = getattr(self._data, "classes", ())
        return bool(self._labels) and any(self.answers(name, "") for name in names)

    @property
    def lacked(self) -> tuple[str, ...]:
        """Of all classes that the data can ask for those that the model has not, where the data tell them."""
        names: Sequence[str] = getattr(self._data, "classes", ())
        return tuple(name for name in names if not self.answers(name, ""))


def labels_of(task: Task) -> tuple[str, ...]:
    """The names of a task's classes by number; none where they have no names."""
    labels = getattr(task, "labels", None)
    names = getattr(labels, "names", labels)
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(one, str) for one in names):
        return ()
    return tuple(names)


def likeliest(task: Task, features: Features, answers: Sequence[str]) -> str:
    """The one of some classes that a task holds likeliest on the one picture of ``features``."""
    if len(answers) == 1:
        return answers[0]
    return max(answers, key=lambda answer: task.predict(features, [Query(answer=answer)])[0].words[0].standing)

"""Tables of names that come with vlx: one for each network of the embedded models, whatever its task."""

from functools import cache
from importlib.resources import as_file, files

from vlx.errors import InputError
from vlx.neuron_names.formats import load
from vlx.neuron_names.table import NeuronNames
from vlx.protocol.powers import powers_of
from vlx.protocol.task import Task


def comes_with(task: Task) -> bool:
    """Whether there is a table for the very weights of the task's vision part."""
    return _of(task) is not None


def shipped(task: Task) -> NeuronNames:
    """The table that came with vlx for the weights of the task's vision part; raises InputError where there is none."""
    table = _of(task)
    if table is None:
        raise InputError(
            f"no table of names came with {task.name}; make one: vlx dissect {task.name} DATASET -o TABLE.h5"
        )
    return table


def _of(task: Task) -> NeuronNames | None:
    if (identified := powers_of(task).identified) is None:
        return None
    digest = identified.digest()
    return next((table for table in _all() if table.about["model_hash"] == digest), None)


@cache
def _all() -> tuple[NeuronNames, ...]:
    file_names = sorted(one.name for one in files(__name__).iterdir() if one.name.endswith(".h5"))
    tables = []
    for name in file_names:
        with as_file(files(__name__) / name) as path:
            tables.append(load(path))
    return tuple(tables)

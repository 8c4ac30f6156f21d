"""Whether a table of names fits a task: names are valid for one network and one layer only."""

import re
from collections.abc import Iterable

from torch import nn

from vlx.errors import InputError
from vlx.neuron_names.table.names import NeuronNames
from vlx.protocol.powers import powers_of
from vlx.protocol.task import Task

WRAPPERS = ("module", "_orig_mod", "model", "base_model")  # what wrappers put before a layer's name


def require_fit(table: NeuronNames, task: Task, layer: str, units: int) -> tuple[str, ...]:
    """Raise InputError when the table is for another layer, number of units or other weights.

    The layer is compared whether or not the table has a hash of the weights; names that stand for the same module
    (``layer4`` and ``backbone.layer4``) agree. Returns a note for the reader of what could not be verified: the weights
    where there is no hash, the layer where the table names none, or one that this model does not know by that name.
    """
    about = table.about
    of = " ".join(str(about[key]) for key in ("model", "layer") if about.get(key)) or "another model"
    if len(table) != units:
        raise InputError(
            f"the table of names ({of}) has {len(table)} units, layer {layer!r} of {task.name} has {units}; dissect "
            f"this model: vlx dissect {task.name} DATASET -o TABLE.h5"
        )
    identified = powers_of(task).identified
    theirs, hashed = str(about.get("layer") or ""), bool(about.get("model_hash")) and identified is not None
    agree = _same(theirs, layer) if theirs else None
    if agree is False and not hashed and not _is_other(theirs, layer, module_names(task)):
        agree = None
    if agree is False:
        raise InputError(
            f"the table of names is for layer {theirs!r}; {task.name} is explained at {layer!r}: "
            f"vlx dissect {task.name} DATASET -o TABLE.h5"
        )
    if identified is not None and hashed and about["model_hash"] != identified.digest():
        raise InputError(
            f"the table of names was made for other weights ({of}); names are valid for one network only: "
            f"vlx dissect {task.name} DATASET -o TABLE.h5"
        )
    return _unverified(about, task, layer, hashed, agree)


def _unverified(about: dict[str, object], task: Task, layer: str, hashed: bool, agree: bool | None) -> tuple[str, ...]:
    """What could not be verified, in one note; none where all was."""
    open_points = []
    if not hashed:
        who = "the table has no hash" if not about.get("model_hash") else f"{task.name} has no hash"
        open_points.append(f"that it is for these very weights ({who})")
    if agree is None:
        named = f"it says {about['layer']!r}" if about.get("layer") else "it names none"
        open_points.append(f"that it is for layer {layer!r} ({named})")
    return (f"of the table of names it cannot be told: {', nor '.join(open_points)}",) if open_points else ()


def module_names(task: Task) -> set[str]:
    """Names of all modules of the networks that a task holds as attributes, itself or as bound methods."""
    held = (getattr(value, "__self__", value) for value in getattr(task, "__dict__", {}).values())
    return {name for one in held if isinstance(one, nn.Module) for name, _ in one.named_modules() if name}


def _same(one: str, other: str) -> bool:
    """Whether two names stand for one module: equal but for wrappers, or one the end of the other."""
    parts = [_parts(name) for name in (one, other)]
    short, long = sorted(parts, key=len)
    return bool(short) and long[len(long) - len(short) :] == short


def _parts(name: str) -> list[str]:
    parts = name.strip().casefold().split(".")
    while len(parts) > 1 and parts[0] in WRAPPERS:
        parts = parts[1:]
    return parts


def _is_other(theirs: str, ours: str, modules: Iterable[str]) -> bool:
    """Whether the table's layer is known to be another one than the model's own.

    It is where the model has a module of that name beside its own layer; and where nothing is known of its modules. A
    model whose layer is no module's name (an adapter's ``cnn``: all of the vision part) has its last one: then a module
    is another one where a later one of the same series (layer3 behind layer2) is there.
    """
    modules = list(modules)
    if not modules:
        return True
    matching = [name for name in modules if _same(theirs, name)]
    if any(_same(ours, name) for name in modules):
        return bool(matching)
    return any(_later(name, other) for name in matching for other in modules)


def _later(name: str, other: str) -> bool:
    """Whether ``other`` comes behind ``name`` in a series of modules, as layer3 behind layer2."""
    first, second = (re.fullmatch(r"(.*?)(\d+)", one) for one in (name, other))
    return bool(first and second and first[1] == second[1] and int(second[2]) > int(first[2]))

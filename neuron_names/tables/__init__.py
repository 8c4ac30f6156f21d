"""Tables of names that come with vlx: one for each embedded model."""

from importlib.resources import as_file, files

from vlx.errors import InputError
from vlx.neuron_names.formats import load
from vlx.neuron_names.table import NeuronNames


def known() -> list[str]:
    """The models that a table came with, "scenes/captioner" and others."""
    own = files("vlx.neuron_names.tables")
    return sorted("scenes/" + one.name.removesuffix(".h5") for one in own.iterdir() if one.name.endswith(".h5"))


def shipped(model: str) -> NeuronNames:
    """The table of an embedded model; raises InputError for a model that none came with."""
    if model not in known():
        raise InputError(
            f"no table of names came with {model}; make one: vlx dissect {model} DATASET -o TABLE.h5. There are tables "
            f"for {', '.join(known())}"
        )
    with as_file(files("vlx.neuron_names.tables") / f"{model.removeprefix('scenes/')}.h5") as path:
        return load(path)

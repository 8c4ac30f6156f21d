"""Names are valid for one network and one layer only."""

from vlx.errors import InputError
from vlx.neuron_names.table.names import NeuronNames
from vlx.task import Identified, Task


def require_fit(table: NeuronNames, task: Task, layer: str, units: int) -> tuple[str, ...]:
    """Raise InputError when the table is for another layer, number of units or other weights.

    Returns notes for the reader where that cannot be told.
    """
    about = table.about
    of = " ".join(str(about[key]) for key in ("model", "layer") if about.get(key)) or "another model"
    if len(table) != units:
        raise InputError(
            f"the table of names ({of}) has {len(table)} units, layer {layer!r} of {task.name} has {units}; dissect "
            f"this model: vlx dissect {task.name} DATASET -o TABLE.h5"
        )
    if about.get("layer") and about.get("model_hash") and about["layer"] != layer:
        raise InputError(
            f"the table of names is for layer {about['layer']!r}; {task.name} is explained at {layer!r}: "
            f"vlx dissect {task.name} DATASET -o TABLE.h5"
        )
    if not about.get("model_hash") or not isinstance(task, Identified):
        return ("whether the names are for these very weights cannot be told: the table, or the model, has no hash",)
    if about["model_hash"] != task.digest():
        raise InputError(
            f"the table of names was made for other weights ({of}); names are valid for one network only: "
            f"vlx dissect {task.name} DATASET -o TABLE.h5"
        )
    return ()

"""Names of units (Network Dissection); the code is in ``<checkout>/neuron_names``, the wheel has it right here.

>>> names = vlx.neuron_names.dissect(task, vlx.neuron_names.open_data("scenes:2000"))
>>> names[12].concept, names[12].iou
('roof', 0.21)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from vlx._checkout import sibling

__path__ += sibling("neuron_names")

if TYPE_CHECKING:
    from vlx.data import open_data
    from vlx.neuron_names.dissection import dissect
    from vlx.neuron_names.formats import load, read
    from vlx.neuron_names.table import NeuronNames
    from vlx.neuron_names.table.hypernyms import hypernym_names
    from vlx.neuron_names.table.names import permuted
    from vlx.neuron_names.table.witness import witness
    from vlx.neuron_names.tables import shipped

__all__ = ["NeuronNames", "dissect", "hypernym_names", "load", "open_data", "permuted", "read", "shipped", "witness"]

_HOMES = {
    "NeuronNames": "vlx.neuron_names.table",
    "dissect": "vlx.neuron_names.dissection",
    "hypernym_names": "vlx.neuron_names.table.hypernyms",
    "load": "vlx.neuron_names.formats",
    "open_data": "vlx.data",
    "permuted": "vlx.neuron_names.table.names",
    "read": "vlx.neuron_names.formats",
    "shipped": "vlx.neuron_names.tables",
    "witness": "vlx.neuron_names.table.witness",
}

if not TYPE_CHECKING:  # a type checker would take any name at all for granted

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            value = globals()[name] = getattr(import_module(_HOMES[name]), name)
            return value
        raise AttributeError(f"module 'vlx.neuron_names' has no attribute {name!r}")

"""The table of names: which concept each unit of a feature map detects, and the counts behind it."""

from vlx.data.concepts import Concept
from vlx.neuron_names.table.fit import require_fit
from vlx.neuron_names.table.names import DETECTOR, DETECTOR_AUC, Activity, NeuronNames, UnitName, detects
from vlx.neuron_names.table.tally import Tally

__all__ = [
    "DETECTOR",
    "DETECTOR_AUC",
    "Activity",
    "Concept",
    "NeuronNames",
    "Tally",
    "UnitName",
    "detects",
    "require_fit",
]

"""The table of names: which concept each unit of a feature map detects, and the counts behind it."""

from vlx.neuron_names.table.names import NeuronNames, UnitName
from vlx.neuron_names.table.tally import Concept, Tally

__all__ = ["Concept", "NeuronNames", "Tally", "UnitName"]

"""Network Dissection: which concept each unit of a feature map detects, exact and streaming."""

from vlx.neuron_names.dissection.run import dissect, dissect_layers

__all__ = ["dissect", "dissect_layers"]

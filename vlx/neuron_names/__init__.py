"""Names of units (Network Dissection); the code is in ``<checkout>/neuron_names``, the wheel has it right here."""

from vlx._checkout import sibling

__path__ += sibling("neuron_names")

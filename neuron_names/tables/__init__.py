"""Tables of unit names that come with vlx, read by `vlx.neuron_names` with ``importlib.resources``."""

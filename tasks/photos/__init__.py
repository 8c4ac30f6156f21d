"""A captioner of photographs: its networks, its data, its training."""

"""The captioner of photographs: its networks, its data, its training."""

__all__ = [
    "bundle",
    "efficientnet",
    "features",
    "kinds",
    "likeness",
    "network",
    "rewarding",
    "scope",
    "teaching",
    "train",
    "vocabulary",
]

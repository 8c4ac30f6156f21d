"""Ways of making a map: from A and gradients, attention, hidden parts or pixels."""

__all__ = [
    "ablation",
    "attention",
    "cams",
    "dependence",
    "engine",
    "hiding",
    "names",
    "pixels",
    "registry",
    "relu_rules",
    "replay",
    "scorecam",
    "subwords",
]

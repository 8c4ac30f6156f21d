"""Ways of making a map: from A and gradients, attention, hidden parts or pixels."""

__all__ = [
    "ablation",
    "at_layer",
    "attention",
    "cams",
    "dependence",
    "engine",
    "excitation",
    "hiding",
    "names",
    "pixels",
    "registry",
    "relu_rules",
    "replay",
    "scorecam",
    "subwords",
]

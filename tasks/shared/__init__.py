"""What every model family takes from the house: the base for networks, fixed answers, text, devices, bundle folders."""

__all__ = [
    "answers",
    "bundle_format",
    "cnn_vision",
    "devices",
    "entries",
    "networks",
    "scene_models",
    "text",
    "training",
    "wrapped",
]

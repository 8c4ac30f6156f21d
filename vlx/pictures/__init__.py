"""Where a cell of A lies on the user's picture, and how a picture is opened, prepared or changed."""

__all__ = [
    "crops",
    "edits",
    "layers",
    "mosaic",
    "opening",
    "pixel_fields",
    "placement",
    "prepare",
    "receptive_fields",
    "spatial_dims",
    "tensor_layout",
]

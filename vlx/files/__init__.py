"""Files written whole or not at all, and read within limits where nobody vouches for them."""

__all__ = [
    "hdf5",
    "json_files",
    "json_lists",
    "templates",
    "whole",
]

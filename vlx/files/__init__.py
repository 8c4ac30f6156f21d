"""Write a file whole or not at all, and read one that nobody vouches for."""

__all__ = [
    "hdf5",
    "json_files",
    "templates",
    "whole",
]

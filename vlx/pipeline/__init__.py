"""One picture from its file to its explanation."""

__all__ = [
    "assemble",
    "batch",
    "explain",
    "options",
    "provenance",
    "recommend",
]

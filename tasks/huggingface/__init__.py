"""Here you add a family of Hugging Face ``transformers``: a row in `families`, and what their adapters share."""

__all__ = [
    "captioner",
    "chat",
    "families",
    "files",
    "loading",
    "matching",
    "refusals",
    "stock",
    "texts",
    "tiny",
    "twin",
    "vision",
    "words",
    "wrappers",
    "writing",
]

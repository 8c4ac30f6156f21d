"""Drawing an explanation: a self-contained page, a figure, a text; `save` chooses by the file's ending."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlx import storage
from vlx.errors import InputError
from vlx.explanation import Explanation
from vlx.report import figure, html, text

__all__ = ["fragment", "plot", "save"]


def save(why: Explanation, path: Path) -> Path:
    """Write an explanation to ``path``: .html, .png, .md for people, .json and .h5 to load again.

    The file is whole or not there at all. Raises InputError for another ending, OutputError where it cannot be put.
    """
    writers: dict[str, Callable[[Explanation, Path], None]] = {
        ".html": lambda why, path: storage.write_text(path, html.page(why)),
        ".png": figure.save,
        ".md": lambda why, path: storage.write_text(path, text.markdown(why)),
        ".json": storage.save_json,
        ".h5": storage.save_hdf5,
    }
    if path.suffix not in writers:
        raise InputError(
            f"{path}: an explanation is saved as {', '.join(writers)}, not {path.suffix or 'without ending'}"
        )
    writers[path.suffix](why, path)
    return path


def plot(why: Explanation, columns: int = 5) -> Any:
    """A matplotlib Figure with the picture and one map a word; never shown by itself."""
    return figure.draw(why, columns)


def fragment(why: Explanation) -> str:
    """The page as a frame for Jupyter, escaped whole."""
    return html.frame(why)

"""Drawing an explanation: a self-contained page, a figure, a text; `save` chooses by the file's ending."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vlx import files, storage
from vlx.errors import InputError, OutputError, in_own_words
from vlx.explanation import Explanation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["fragment", "plot", "save"]


def save(why: Explanation, path: Path) -> Path:
    """Write an explanation to ``path``: .html, .png, .md for people, .json and .h5 to load again.

    The file is whole or not there at all. Raises InputError for another ending, OutputError where it cannot be put.
    """
    writers: dict[str, Callable[[Explanation, Path], None]] = {
        ".html": _save_html,
        ".png": _save_png,
        ".md": _save_markdown,
        ".json": storage.save_json,
        ".h5": storage.save_hdf5,
    }
    ending = path.suffix.lower()
    if ending not in writers:
        raise InputError(f"{path}: an explanation is saved as {', '.join(writers)}, not {ending or 'without ending'}")
    files.require_place(path)
    with in_own_words(
        f"{path} cannot be written", OutputError, "a bug of vlx if the explanation is its own: report it"
    ):
        writers[ending](why, path)
    return path


def plot(why: Explanation, columns: int = 4) -> "Figure":
    """A matplotlib Figure with the picture and one map a word; never shown by itself."""
    from vlx.report import figure

    with in_own_words("the figure cannot be drawn"):
        return figure.draw(why, columns)


def fragment(why: Explanation) -> str:
    """The page as a frame for Jupyter, escaped whole."""
    from vlx.report import html

    with in_own_words("the page cannot be made"):
        return html.frame(why)


def _save_html(why: Explanation, path: Path) -> None:
    from vlx.report import html

    files.write_text(path, html.page(why))


def _save_png(why: Explanation, path: Path) -> None:
    from vlx.report import figure

    figure.save(why, path)


def _save_markdown(why: Explanation, path: Path) -> None:
    from vlx.report import text

    files.write_text(path, text.markdown(why))

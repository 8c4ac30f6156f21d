"""Drawing an explanation: a self-contained page, a figure, a text; `save` chooses by the file's ending."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from vlx.errors import InputError, OutputError, in_own_words
from vlx.explanation import storage
from vlx.explanation.records import Explanation, FigureDict
from vlx.files import whole

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["bundle", "dataframe", "fragment", "plot", "save"]

FIGURES = (".png", ".pdf", ".svg")
KEPT = (".json", ".h5")  # that are loaded again


def save(why: Explanation, path: Path, picture: bool = True, **options: Unpack[FigureDict]) -> Path:
    """Write an explanation to ``path``: .html, .md, .png, .pdf, .svg for people, .csv, .json and .h5 for programs.

    ``options`` are those of `plot`, for its three kinds of pictures; without ``picture`` .json and .h5 keep its hash
    alone. The file is whole or not there at all. Raises
    InputError for another ending or option, OutputError where it cannot be put.
    """
    writers: dict[str, Callable[..., None]] = {
        ".html": _save_html,
        **dict.fromkeys(FIGURES, _save_figure),
        ".md": _save_markdown,
        ".csv": _save_table,
        ".json": storage.save_json,
        ".h5": storage.save_hdf5,
    }
    ending = path.suffix.lower()
    if ending not in writers:
        raise InputError(f"{path}: an explanation is saved as {', '.join(writers)}, not {ending or 'without ending'}")
    if options and ending not in FIGURES:
        raise InputError(f"{path}: {', '.join(options)} is for figures ({', '.join(FIGURES)}); leave it out")
    if not isinstance(picture, bool) or (not picture and ending not in KEPT):
        raise InputError(f"{path}: picture={picture!r}; False, for .json and .h5, leaves the picture out")
    given = {"picture": picture} if ending in KEPT else options
    whole.require_place(path)
    with in_own_words(f"{path} cannot be written", OutputError):
        writers[ending](why, path, **given)
    return path


def plot(why: Explanation, **options: Unpack[FigureDict]) -> "Figure":
    """A matplotlib Figure with the picture and one map a word; never shown by itself."""
    from vlx.report import figure
    from vlx.report.options import FigureOptions

    with in_own_words("the figure cannot be drawn"):
        return figure.draw(why, FigureOptions.of(why, options))


def dataframe(why: Explanation) -> "pandas.DataFrame":
    """The table of the words as a pandas DataFrame."""
    from vlx.report import table

    with in_own_words("the table cannot be made"):
        return table.frame(table.COLUMNS, table.values(table.of(why)))


def fragment(why: Explanation) -> str:
    """The page as a frame for Jupyter, escaped whole, and a picture for viewers that drop frames."""
    from vlx.report import notebook

    with in_own_words("the page cannot be made"):
        return notebook.beside(why, notebook.picture(why))


def bundle(why: Explanation) -> dict[str, str | bytes]:
    """What Jupyter may show, by MIME type; drawn once."""
    from vlx.report import notebook

    with in_own_words("the page cannot be made"):
        return notebook.bundle(why)


def _save_html(why: Explanation, path: Path) -> None:
    from vlx.report import html

    whole.write_text(path, html.page(why))


def _save_figure(why: Explanation, path: Path, **options: Unpack[FigureDict]) -> None:
    from vlx.report import figure

    figure.save(why, path, **options)


def _save_table(why: Explanation, path: Path) -> None:
    from vlx.report import table

    whole.write_text(path, table.text(why))


def _save_markdown(why: Explanation, path: Path) -> None:
    from vlx.report import text

    whole.write_text(path, text.markdown(why))

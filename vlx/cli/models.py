"""``vlx models``: what can be loaded, and whether a model's explanations can be trusted."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx.cli.options import LOADING

if TYPE_CHECKING:
    from rich.table import Table

    from vlx.selftest.run import SelfTest

SCENE_SEED = 10_000_021  # of the drawn scene that is checked where no picture is given
WIDTH = 110
STYLES = {"passed": "green", "FAILED": "bold red", "NOT PROVEN": "bold yellow", "–": "dim"}


@click.command(short_help="What can be loaded, and trusted.")
@click.option(
    "--check", metavar="MODEL", help="Run the self-test of this model instead; ends with 0 only when it passed."
)
@click.option("--recommend", metavar="MODEL", help="Which method to take on this model, by your PICTURES.")
@click.argument("pictures", nargs=-1, type=click.Path(path_type=Path))
@click.option("--image", type=click.Path(path_type=Path), help="Picture to test with; default: a drawn scene.")
@click.option("--question", help="Question to test with, for models that are asked.")
@click.option("--caption", help="Text to test with in place of the model's own, for models that caption.")
@LOADING
def models(
    check: str | None,
    recommend: str | None,
    pictures: tuple[Path, ...],
    image: Path | None,
    question: str | None,
    caption: str | None,
    loading: dict[str, Any],
) -> None:
    """List what can be loaded, from where, and the layer that is explained.

    With --check, find out whether explanations of a model can be trusted; with --recommend, which method to explain it
    by, from five or so pictures of your own, no labels.

    \b
    Example:  vlx models
              vlx models --check scenes/captioner --image photo.jpg
              vlx models --check mine.py:captioner --image photo.jpg
              vlx models --recommend runs/mine/bundle a.jpg b.jpg c.jpg d.jpg e.jpg
    """
    if check is not None and recommend is not None:
        raise click.UsageError("--check and --recommend are two questions; ask one at a time")
    if (recommend is None) == bool(pictures):
        raise click.UsageError("--recommend MODEL needs PICTURES, and they go with it: five or so of your own")
    if check is None and (image is not None or (recommend is None and (question, caption) != (None, None))):
        raise click.UsageError("--image, --question and --caption go with --check MODEL")
    from rich.console import Console

    console = Console()
    if recommend is not None:
        from vlx import load
        from vlx.pipeline import recommend as recommending

        click.echo(
            str(recommending.recommend(load(recommend, **loading), pictures, question=question, caption=caption))
        )
        return
    if check is None:
        console.print(_list())
        return
    from vlx import load, scenes
    from vlx.selftest.run import self_test

    picture = image or scenes.draw(SCENE_SEED, size=512).image
    result = self_test(load(check, **loading), picture, question=question, caption=caption)
    Console(width=max(console.width, WIDTH)).print(_rows(result))
    if not result.passed:
        sys.exit(1)


def _list() -> "Table":
    from rich.table import Table

    from vlx.models import known

    table = Table(box=None, header_style="bold")
    table.add_column("name", no_wrap=True)
    for name in ("task", "from", "layer"):
        table.add_column(name, overflow="fold")
    for row in known():
        table.add_row(row.name, row.kind, row.source, row.layer)
    return table


def _rows(result: "SelfTest") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", title=Text(result.title), title_justify="left")
    for name in ("check", "value", "limit", ""):
        table.add_column(name, no_wrap=True)
    table.add_column("remark", overflow="fold")
    for row in result:
        cells = [Text(cell) for cell in row.cells]
        cells[3].stylize(STYLES[row.told])
        table.add_row(*cells)
    return table

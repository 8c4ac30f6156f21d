"""``vlx audit``: what a model leans on over a whole data set, and where that leads it astray."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx.cli.options import LOADING, METHOD, console, packed, progress
from vlx.cli.running import refuse_file, writable

if TYPE_CHECKING:
    from vlx.auditing import Audit

WIDTH = 100


@dataclass(frozen=True)
class AuditWish:
    """How a model is audited: on how many pictures, by which names, and where its files go."""

    out: Path
    resume: bool
    n: int | None
    names: str | None
    method: str | None
    workers: int
    classes: Path | None
    as_json: bool
    quiet: bool


@click.command(short_help="What a model leans on where it errs.")
@click.argument("model")
@click.argument("dataset", metavar="DATA")
@packed(
    "asked",
    AuditWish,
    click.option(
        "--out",
        "-o",
        type=click.Path(path_type=Path),
        required=True,
        help="Folder for the run, its page index.html, findings.json and audit.json.",
    ),
    click.option("--resume", is_flag=True, help="Go on with the run in --out; of a whole one make the page again."),
    click.option("--n", type=click.IntRange(min=1), help="How many of the pictures, by lot; default: all."),
    click.option(
        "--names",
        metavar="TABLE",
        help="Table of neuron names, to tell evidence by units, too; shipped: the one that came with the model.",
    ),
    METHOD,
    click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes that measure (default 1)."),
    click.option(
        "--classes",
        type=click.Path(path_type=Path),
        help='What a classifier calls the classes of the data, as JSON: {"dog": ["beagle", 207]}.',
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the whole result as JSON."),
    click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors."),
)
@LOADING
def audit(model: str, dataset: str, asked: AuditWish, loading: dict[str, Any]) -> None:
    """What a MODEL leans on in the pictures of DATA, and where that leads it astray.

    MODEL: a name that `vlx models` lists, a bundle folder, or FILE.py:FUNCTION of your own (the file is run). DATA: a
    folder of pictures, or of a folder a class; coco:DIR, voc:DIR, imagenet:DIR, vqa2:…, scenes:COUNT:FIRST,
    MODULE:FUNCTION of your own; `docs/how-to/own-data.md` has their layouts.

    \b
    Example:  vlx audit mine.py:model birds --out runs/birds
              vlx audit scenes/vqa-biased scenes:200:10000000 --out runs/biased
              vlx audit photos/captioner coco:data/coco --out runs/captions --resume
    """
    refuse_file(asked.out)
    import vlx
    from vlx.auditing.run import open_pictures

    data = open_pictures(dataset)  # refused before a large model is loaded
    writable(asked.out)
    result = vlx.audit(
        vlx.load(model, **loading),
        data,
        out=asked.out,
        resume=asked.resume,
        n=asked.n,
        names=asked.names,
        classes=asked.classes,
        workers=asked.workers,
        called=dataset,
        spelled=model,
        progress=iter if asked.quiet else progress("pictures"),
        **({"method": asked.method} if asked.method else {}),
    )
    if asked.as_json:
        click.echo(json.dumps(result.to_json(), indent=1, allow_nan=False))
    elif not asked.quiet:
        _printed(result, asked.out)
    if result.unread:
        raise SystemExit(1)


def _printed(result: "Audit", out: Path) -> None:
    """Sentences as wide as the window, so that no word is broken at its edge; the table whole."""
    from rich.console import Console
    from rich.text import Text

    from vlx.auditing import terminal, writing

    wide, window = console(WIDTH), Console()
    for part in terminal.shown(result):
        (window if window.is_terminal and isinstance(part, Text) else wide).print(part)
    click.echo(out / writing.PAGE)

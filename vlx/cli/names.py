"""`vlx names`: tables of unit names on the command line."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx.cli.options import DEVICE, packed

if TYPE_CHECKING:
    from rich.table import Table

    from vlx.neuron_names import NeuronNames
    from vlx.neuron_names.table import UnitName
    from vlx.neuron_names.table.witness import Witness

FILE = click.Path(path_type=Path)
FORMATS = (
    "netdissect",
    "netdissect-lite",
    "compexp",
    "clip-dissect",
    "milan",
    "milannotations",
    "invert",
    "linear-explanations",
    "describe-and-dissect",
    "csv",
    "dissect",
    "quick-netdissect",
    "json",
)
WIDE = 110
SCENES = "scenes:40:10000000"  # held out


@dataclass(frozen=True)
class UnitDrawing:
    """Of which data set a unit's top pictures are drawn, by which model on which device, and where to."""

    data: str | None
    model: str | None
    device: str | None
    out: Path | None


@click.group()
def names() -> None:
    """What single units of a network detect.

    \b
    Example:  vlx names show names.h5
    """


@names.command(short_help="Print detectors, or the names of one unit.")
@click.argument("table", type=FILE)
@click.option("--unit", type=click.IntRange(min=0), help="All names of this unit, numbered from 0.")
@click.option("--iou", type=click.FloatRange(0, 1), default=0.04, show_default=True, help="Detectors lie above it.")
@click.option(
    "--auc",
    type=click.FloatRange(0, 1),
    default=0.75,
    show_default=True,
    help="The same for names from captions.",
)
@click.option("--categories", help="Only names of these categories, as in object,part.")
@packed(
    "drawing",
    UnitDrawing,
    click.option("--data", help="With --unit: draw its top pictures of this dataset, the one that was dissected."),
    click.option("--model", help="The model, where the table does not name it."),
    DEVICE,
    click.option("-o", "--out", type=FILE, help="Where to draw them, .png; default: unit-N.png."),
)
def show(
    table: Path,
    unit: int | None,
    iou: float,
    auc: float,
    categories: str | None,
    drawing: UnitDrawing,
) -> None:
    """Print the detectors of a TABLE (.h5, or any that `vlx names import` reads), or all names of one unit.

    With --data also draw the unit's top pictures with its mask in them.

    \b
    Example:  vlx names show names.h5 --categories object,part
              vlx names show names.h5 --unit 12
              vlx names show names.h5 --unit 12 --data scenes:2000 -o unit.png
    """
    from rich.console import Console

    if drawing.data is None and (drawing.model or drawing.out):
        raise click.UsageError("--model and --out are for drawing: give --data, and --unit")
    if drawing.data is not None and unit is None:
        raise click.UsageError("--data draws the pictures of one unit: give --unit too")
    if drawing.out is not None:
        _ending(drawing.out, ".png")
    found = _read(table)
    if categories is not None:
        found = found.choose(categories=_listed(categories))
    console = Console()
    console = Console(width=max(console.width, WIDE))
    if unit is not None:
        if unit >= len(found):
            raise click.ClickException(f"{table} has no unit {unit}; its units are 0 to {len(found) - 1}")
        console.print(_rows(found, found.candidates(unit)))
        if drawing.data is not None:
            click.echo(_drawn(found, unit, drawing))
        return
    measured = found.metric == "iou" or any(name.auc == name.auc for name in found)
    listed = list(found.detectors(iou, auc).values()) if measured else [name for name in found if name.concept]
    console.print(_rows(found, sorted(listed, key=lambda name: -name.fit) if measured else listed))
    summary = _summary(found, iou, auc) if measured else _unmeasured(found)
    console.print(summary, highlight=False, markup=False, soft_wrap=True)


@names.command("import", short_help="Read a table of another tool.")
@click.argument("file", type=FILE)
@click.option("-o", "--out", type=FILE, required=True, help="Where to write: .h5.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="Default: told by the file's columns.")
@click.option("--layer", help="Which layer, where the file has several.")
@click.option(
    "--units", type=click.IntRange(min=1), help="How many units the layer has, where the file leaves out some."
)
@click.option("--base", type=click.IntRange(0, 1), help="The file's first unit number, where it is not its format's.")
def import_(file: Path, out: Path, kind: str | None, layer: str | None, units: int | None, base: int | None) -> None:
    """Read a table that another tool wrote, check it, and write it as vlx's own.

    \b
    Example:  vlx names import tally.csv -o names.h5
              vlx names import descriptions.csv -o names.h5 --layer layer4
    """
    _ending(out, ".h5")
    found = _read(file, kind, layer=layer, units=units, base=base)
    click.echo(found.about.get("source", file.name), err=True)
    click.echo(found.save(out))


@names.command(short_help="Write names as .csv or .json.")
@click.argument("table", type=FILE)
@click.option("-o", "--out", type=FILE, required=True, help="Where to write: .csv or .json.")
def export(table: Path, out: Path) -> None:
    """Write the names of a TABLE for spreadsheets and other programs.

    \b
    Example:  vlx names export names.h5 -o names.csv
    """
    _ending(out, ".csv", ".json")
    click.echo(_read(table).save(out))


@names.command(short_help="Look for swapped labels.")
@click.argument("table", type=FILE)
@click.option("--model", help="The model, where the table does not name it.")
@click.option("--data", help="Pictures on which it says the words; default: drawn scenes, where names are of them.")
@click.option("--question", help="What a model that answers questions is asked.")
@click.option("--n", "count", type=click.IntRange(min=1), default=40, show_default=True, help="How many pictures.")
@DEVICE
def check(
    table: Path, model: str | None, data: str | None, question: str | None, count: int, device: str | None
) -> None:
    """Look for swapped labels in a TABLE: units named red should add more to "red" than to "blue".

    Exit code 1 where labels are seen to be swapped, or none could be tested.

    \b
    Example:  vlx names check names.h5
              vlx names check names.h5 --model scenes/captioner --data scenes:40
    """
    from rich.console import Console

    found = _read(table)
    if data is None:
        if found.metric == "auc" and "scenes:" not in str(found.about.get("dataset", "")):
            raise click.ClickException("its names are of photographs: say which to look at, as --data captions:DIR")
        data = SCENES
    task = _model_of(found, model, device)
    from vlx.neuron_names import witness

    told = witness(found, task, data, question=question, pictures=count)
    Console(width=WIDE).print(_testimonies(told))
    for note in told.notes:
        click.echo(f"Note: {note}", err=True)
    if told.left_out:
        click.echo(f"not tested, no word of the model or one unit: {', '.join(told.left_out)}")
    click.echo(str(told))
    if told.swapped:
        raise click.exceptions.Exit(1)


def _testimonies(told: "Witness") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from vlx.report.text import clean

    shown = Table("name", "category", "units", "speaks most for", "own", "most", "places", box=None)
    for row in told.rows:
        text = [escape(clean(one)) for one in (row.concept, row.category)]
        best = f"{'' if row.own else '✗ '}{escape(clean(row.best))}"
        shown.add_row(*text, str(len(row.units)), best, f"{row.gain:+.2f}", f"{row.best_gain:+.2f}", str(row.places))
    return shown


def _model_of(found: "NeuronNames", model: str | None, device: str | None) -> Any:
    """The model given, or that of the table."""
    import vlx

    name = model or str(found.about.get("model") or "")
    if not name:
        raise click.ClickException("the table does not tell which model its units are of; give --model")
    try:
        return vlx.load(name, **({} if device is None else {"device": device}))
    except vlx.VlxError as error:
        asked = "" if model else "; the table names it so: give --model, a name or a bundle folder"
        raise click.ClickException(f"{error}{asked}") from None


def _read(path: Path, kind: str | None = None, **options: Any) -> "NeuronNames":
    """The names in a file; what a message asks for is called as the options of ``vlx names import``."""
    from vlx.errors import InputError
    from vlx.neuron_names import read

    try:
        return read(path, kind, **options)
    except InputError as error:
        asked = re.sub(
            r"\b(format|layer|units|base)=(\d*)", lambda found: f"--{found[1]} {found[2]}".strip(), str(error)
        )
        missing = asked != str(error) and not options
        raise InputError(asked + " (options of vlx names import)" * missing) from None


def _listed(categories: str) -> list[str]:
    found = [name.strip() for name in categories.split(",") if name.strip()]
    if not found:
        raise click.BadParameter("name one at least, as in object,part", param_hint="--categories")
    return found


def _drawn(found: "NeuronNames", unit: int, drawing: UnitDrawing) -> Path:
    """Draw the top pictures of a unit and say where."""
    from vlx.files.whole import require_place
    from vlx.neuron_names import open_data
    from vlx.report import units

    out = drawing.out or Path(f"unit-{unit}.png")
    require_place(out)
    units.require_pictures(found)
    if not (drawing.model or found.about.get("model")):
        raise click.ClickException("the table does not tell which model its units are of; give --model")
    pictures = open_data(drawing.data or "")
    units.require_data(found, pictures)
    task = _model_of(found, drawing.model, drawing.device)
    for note in units.save(task, found, pictures, unit, out):
        click.echo(f"Note: {note}", err=True)
    return out


def _ending(out: Path, *known: str) -> None:
    if out.suffix.lower() not in known:
        raise click.BadParameter(f"{out} must end in {' or '.join(known)}", param_hint="--out")


def _rows(found: "NeuronNames", listed: "Iterable[UnitName]") -> "Table":
    """One row a name; columns that no name fills are left out."""
    from rich.table import Table

    rows = [_cells(found, name) for name in listed]
    table = Table(box=None, header_style="bold")
    columns = [
        column for column in dict.fromkeys(key for row in rows for key in row) if any(row.get(column) for row in rows)
    ]
    for column in columns:
        table.add_column(column, justify="left" if column in ("name", "category") else "right")
    for row in rows:
        table.add_row(*(row.get(column, "") for column in columns))
    return table


def _cells(found: "NeuronNames", name: "UnitName") -> dict[str, str]:
    from rich.markup import escape

    from vlx.report.text import clean

    told = (escape(clean(text)) for text in (name.concept, name.category))
    cells = {"unit": str(name.unit), **dict(zip(("name", "category"), told, strict=True))}
    if name.fit == name.fit:
        measure = "AUC" if name.auc == name.auc else "IoU"
        cells[measure] = f"{name.fit:.3f}" + (f" ± {name.error:.3f}" if name.error is not None else "")
    elif name.score == name.score:
        cells[str(found.about.get("metric", "score"))] = f"{name.score:.3f}"
    if name.wins is not None:
        cells["wins"] = f"{name.wins}/{name.folds}"
    if name.runner_up:
        cells["runner-up"] = f"{escape(clean(name.runner_up))} {name.runner_up_auc:.3f}"
    if name.p is not None:
        cells["over chance"], cells["p"] = f"{name.score:+.3f}", f"{name.p:.3f}"
    if found.tally is not None and name.quantile is not None:
        number = next(n for n, one in enumerate(found.tally.concepts) if one[:2] == (name.concept, name.category))
        cells["attainable"] = f"{found.tally.attainable(found.tally.quantile(name.quantile))[number]:.2f}"
        cells["quantile"] = f"{name.quantile:g}"
    if name.threshold is not None:
        cells["threshold"] = f"{name.threshold:.3g}"
    return cells


def _lead(found: "NeuronNames") -> str:
    about = " ".join(str(found.about[key]) for key in ("model", "layer", "dataset") if found.about.get(key))
    return f"{about or found.about.get('source', 'table')}: {len(found)} units"


def _unmeasured(found: "NeuronNames") -> str:
    metric = str(found.about.get("metric", "none"))
    return f"{_lead(found)}, no IoU in this table" + ("" if metric == "none" else f" ({metric} instead)")


def _summary(found: "NeuronNames", iou: float, auc: float) -> str:
    by_category = found.unique_by_category(iou, auc=auc)
    split = ", ".join(f"{name or 'none'} {len(own)}" for name, own in sorted(by_category.items()))
    best, every = (found.unique_detectors(iou, rule, auc) for rule in ("best", "published"))
    above = f"AUC {auc:g}" if found.metric == "auc" else f"{iou:g}"
    return (
        f"{_lead(found)}, {len(found.detectors(iou, auc))} detectors above {above}\n"
        f"concepts: {best} by the one best name of a unit; {every} by every category's best"
        + (f" ({split})" if split else "")
    )

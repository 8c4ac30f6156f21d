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
    unit_names = _read(table)
    if categories is not None:
        unit_names = unit_names.choose(categories=_listed(categories))
    console = Console()
    console = Console(width=max(console.width, WIDE))
    if unit is not None:
        if unit >= len(unit_names):
            raise click.ClickException(f"{table} has no unit {unit}; its units are 0 to {len(unit_names) - 1}")
        console.print(_rows(unit_names, unit_names.candidates(unit)))
        if drawing.data is not None:
            click.echo(_drawn(unit_names, unit, drawing))
        return
    measured = unit_names.metric == "iou" or any(name.auc == name.auc for name in unit_names)
    listed = (
        list(unit_names.detectors(iou, auc).values()) if measured else [name for name in unit_names if name.concept]
    )
    console.print(_rows(unit_names, sorted(listed, key=lambda name: -name.fit) if measured else listed))
    summary = _summary(unit_names, iou, auc) if measured else _unmeasured(unit_names)
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
    unit_names = _read(file, kind, layer=layer, units=units, base=base)
    click.echo(unit_names.about.get("source", file.name), err=True)
    click.echo(unit_names.save(out))


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

    unit_names = _read(table)
    if data is None:
        if unit_names.metric == "auc" and "scenes:" not in str(unit_names.about.get("dataset", "")):
            raise click.ClickException("its names are of photographs: say which to look at, as --data captions:DIR")
        data = SCENES
    task = _model_of(unit_names, model, device)
    from vlx.neuron_names import witness

    testimony = witness(unit_names, task, data, question=question, pictures=count)
    Console(width=WIDE).print(_testimonies(testimony))
    for note in testimony.notes:
        click.echo(f"Note: {note}", err=True)
    if testimony.left_out:
        click.echo(f"not tested, no word of the model or one unit: {', '.join(testimony.left_out)}")
    click.echo(str(testimony))
    if testimony.swapped:
        raise click.exceptions.Exit(1)


def _testimonies(testimony: "Witness") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    from vlx.report.text import clean

    shown = Table("name", "category", "units", "speaks most for", "own", "most", "places", box=None)
    for row in testimony.rows:
        text = [escape(clean(one)) for one in (row.concept, row.category)]
        best = f"{'' if row.own else '✗ '}{escape(clean(row.best))}"
        shown.add_row(*text, str(len(row.units)), best, f"{row.gain:+.2f}", f"{row.best_gain:+.2f}", str(row.places))
    return shown


def _model_of(unit_names: "NeuronNames", model: str | None, device: str | None) -> Any:
    """The model given, or that of the table."""
    import vlx

    name = model or str(unit_names.about.get("model") or "")
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
    chosen = [name.strip() for name in categories.split(",") if name.strip()]
    if not chosen:
        raise click.BadParameter("name one at least, as in object,part", param_hint="--categories")
    return chosen


def _drawn(unit_names: "NeuronNames", unit: int, drawing: UnitDrawing) -> Path:
    """Draw the top pictures of a unit and say where."""
    from vlx.files.whole import require_place
    from vlx.neuron_names import open_data
    from vlx.report import units

    out = drawing.out or Path(f"unit-{unit}.png")
    require_place(out)
    units.require_pictures(unit_names)
    if not (drawing.model or unit_names.about.get("model")):
        raise click.ClickException("the table does not tell which model its units are of; give --model")
    pictures = open_data(drawing.data or "")
    units.require_data(unit_names, pictures)
    task = _model_of(unit_names, drawing.model, drawing.device)
    for note in units.save(task, unit_names, pictures, unit, out):
        click.echo(f"Note: {note}", err=True)
    return out


def _ending(out: Path, *known: str) -> None:
    if out.suffix.lower() not in known:
        raise click.BadParameter(f"{out} must end in {' or '.join(known)}", param_hint="--out")


def _rows(unit_names: "NeuronNames", listed: "Iterable[UnitName]") -> "Table":
    """One row a name; columns that no name fills are left out."""
    from rich.table import Table

    rows = [_cells(unit_names, name) for name in listed]
    table = Table(box=None, header_style="bold")
    columns = [
        column for column in dict.fromkeys(key for row in rows for key in row) if any(row.get(column) for row in rows)
    ]
    for column in columns:
        table.add_column(column, justify="left" if column in ("name", "category") else "right")
    for row in rows:
        table.add_row(*(row.get(column, "") for column in columns))
    return table


def _cells(unit_names: "NeuronNames", name: "UnitName") -> dict[str, str]:
    from rich.markup import escape

    from vlx.report.text import clean

    texts = (escape(clean(text)) for text in (name.concept, name.category))
    cells = {"unit": str(name.unit), **dict(zip(("name", "category"), texts, strict=True))}
    if name.fit == name.fit:
        measure = "AUC" if name.auc == name.auc else "IoU"
        cells[measure] = f"{name.fit:.3f}" + (f" ± {name.error:.3f}" if name.error is not None else "")
    elif name.score == name.score:
        cells[str(unit_names.about.get("metric", "score"))] = f"{name.score:.3f}"
    if name.wins is not None:
        cells["wins"] = f"{name.wins}/{name.folds}"
    if name.runner_up:
        cells["runner-up"] = f"{escape(clean(name.runner_up))} {name.runner_up_auc:.3f}"
    if name.p is not None:
        cells["over chance"], cells["p"] = f"{name.score:+.3f}", f"{name.p:.3f}"
    if unit_names.tally is not None and name.quantile is not None:
        number = next(n for n, one in enumerate(unit_names.tally.concepts) if one[:2] == (name.concept, name.category))
        cells["attainable"] = f"{unit_names.tally.attainable(unit_names.tally.quantile(name.quantile))[number]:.2f}"
        cells["quantile"] = f"{name.quantile:g}"
    if name.threshold is not None:
        cells["threshold"] = f"{name.threshold:.3g}"
    return cells


def _lead(unit_names: "NeuronNames") -> str:
    about = " ".join(str(unit_names.about[key]) for key in ("model", "layer", "dataset") if unit_names.about.get(key))
    return f"{about or unit_names.about.get('source', 'table')}: {len(unit_names)} units"


def _unmeasured(unit_names: "NeuronNames") -> str:
    metric = str(unit_names.about.get("metric", "none"))
    return f"{_lead(unit_names)}, no IoU in this table" + ("" if metric == "none" else f" ({metric} instead)")


def _summary(unit_names: "NeuronNames", iou: float, auc: float) -> str:
    by_category = unit_names.unique_by_category(iou, auc=auc)
    split = ", ".join(f"{name or 'none'} {len(concepts)}" for name, concepts in sorted(by_category.items()))
    best, every = (unit_names.unique_detectors(iou, rule, auc) for rule in ("best", "published"))
    above = f"AUC {auc:g}" if unit_names.metric == "auc" else f"{iou:g}"
    return (
        f"{_lead(unit_names)}, {len(unit_names.detectors(iou, auc))} detectors above {above}\n"
        f"concepts: {best} by the one best name of a unit; {every} by every category's best"
        + (f" ({split})" if split else "")
    )

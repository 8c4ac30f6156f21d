"""Tables with a text for every unit: CLIP-Dissect, MILAN, INVERT, Describe-and-Dissect, compositional explanations."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlx.neuron_names.formats.rows import Entry, TableRow, of_layer, require_columns
from vlx.neuron_names.table.names import UnitName


@dataclass(frozen=True)
class Texts:
    """Which columns of a format hold what; without ``score`` the names have none.

    ``columns`` are the texts, each a category by its name where there are several. ``repeated`` tells how the rows of
    one unit are called where it has several.
    """

    unit: str
    columns: tuple[str, ...]
    score: str = ""
    metric: str = "none"
    layer: str = ""
    also: tuple[str, ...] = ()
    repeated: str = ""

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that a file of the format has."""
        return tuple(name for name in (self.layer, self.unit, *self.columns, self.score, *self.also) if name)


KINDS = {
    "clip-dissect": Texts("unit", ("description",), "similarity", "similarity", layer="layer"),
    "milan": Texts("unit", ("description",), layer="layer"),
    "milannotations": Texts("unit", ("summary",), layer="layer", repeated="annotation"),
    "invert": Texts("neuron", ("concept",), "metric", "auc", also=("concept_id",)),
    "linear-explanations": Texts("unit", ("description",), "sim correlation", "correlation"),
    "describe-and-dissect": Texts("Neuron ID", ("Label 1", "Label 2", "Label 3")),
}
COMPEXP = ("unit", "category", "label", "score", "category_noncomp", "label_noncomp", "score_noncomp")


def read(
    path: Path, header: Sequence[str], rows: Iterable[TableRow], kind: str, layer: str | None
) -> tuple[list[Entry], str | None]:
    """What the table says of each unit of a layer, and the layer's name where it is known."""
    texts = KINDS[kind]
    require_columns(path, header, texts.required, kind)
    rows = list(rows)
    if texts.layer:
        layer = of_layer(path, (row.text(texts.layer) for row in rows), layer)
        rows = [row for row in rows if row.text(texts.layer) == layer]
    seen: dict[int, int] = {}
    entries = []
    for row in rows:
        unit = row.count(texts.unit)
        seen[unit] = seen.get(unit, 0) + 1
        categories = texts.columns if len(texts.columns) > 1 else ("",)
        if texts.repeated:
            categories = (f"{texts.repeated} {seen[unit]}",)
        score = row.number(texts.score) if texts.score else UnitName.score
        names = tuple(
            UnitName(0, row.text(column), category, score=score)
            for column, category in zip(texts.columns, categories, strict=True)
            if row.text(column)
        )
        entries.append(Entry(row.place, unit, names))
    return entries, layer


def read_compexp(path: Path, header: Sequence[str], rows: Iterable[TableRow]) -> list[Entry]:
    """Formulas as names; "NONE" is no name. A formula's category is a formula too: its members stand in for it."""
    require_columns(path, header, COMPEXP, "compexp")
    entries = []
    for row in rows:
        iou, label = row.number("score"), row.text("label")
        names: tuple[UnitName, ...] = ()
        if label not in ("", "NONE"):
            names = (UnitName(0, label, _members(row.text("category")), iou, iou),)
        entries.append(Entry(row.place, row.count("unit"), names))
    return entries


def _members(formula: str) -> str:
    """The categories in a formula: "((object OR scene) AND (NOT object))" → "object+scene"."""
    return "+".join(sorted(set(re.findall(r"[^\s()]+", formula)) - {"AND", "OR", "NOT", "NEIGHBORS"}))

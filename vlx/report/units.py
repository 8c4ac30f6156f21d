"""The pictures in which a unit is most active, with its mask in them, as Network Dissection shows its detectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vlx.data.example import AnyData
from vlx.errors import InputError
from vlx.files.whole import write_bytes
from vlx.neuron_names.table import NeuronNames, UnitName, require_fit
from vlx.pictures.placement import Frame, Placement
from vlx.pictures.receptive_fields import measure_frame
from vlx.protocol.task import Task
from vlx.report import figure, options

COLUMNS = 4
DIM = 0.35  # of the brightness outside the mask
PANEL = 2.2  # inches
EDGE = np.array([255, 220, 60], np.uint8)


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture of the dataset uint8 [H, W, 3], where the unit's map lies above its threshold, and the map's peak."""

    number: int
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    peak: float


def require_pictures(names: NeuronNames) -> None:
    """Raise InputError for a table that does not tell in which pictures its units are most active."""
    if not names.examples.size:
        source = names.about.get("source", "of another tool")
        raise InputError(
            f"this table ({source}) does not tell in which pictures its units are most active; a table of vlx dissect "
            "does: vlx dissect MODEL DATASET -o TABLE.h5"
        )


def require_data(names: NeuronNames, data: AnyData) -> None:
    """Raise InputError for other pictures than those that the table was made from."""
    about_data, digest = names.about.get("dataset", "other pictures"), names.about.get("dataset_hash")
    if digest and digest != data.digest():
        raise InputError(
            f"the table was made from {about_data}, and {data.name} is not the same: its numbers would show other "
            "pictures; give the dataset that was dissected"
        )
    if names.examples.max(initial=-1) >= len(data):
        raise InputError(
            f"the table was made from {about_data}: its units' pictures go up to number {names.examples.max()}, "
            f"{data.name} has only {len(data)}"
        )


def save(task: Task, names: NeuronNames, data: AnyData, unit: int, path: Path) -> tuple[str, ...]:
    """Draw a unit's top pictures as PNG, whole or not at all; returns notes on what could not be made sure of."""
    seen, notes = look(task, names, data, unit)
    write_bytes(path, figure.rendered(draw(names[unit], seen, names)))
    return notes if names.about.get("dataset_hash") else (*notes, "whether these are the table's pictures is not known")


def look(task: Task, names: NeuronNames, data: AnyData, unit: int) -> tuple[list[Seen], tuple[str, ...]]:
    """The unit's top pictures with its mask, most active first, and notes on how far table and model are known to fit.

    Raises InputError for a table without pictures, of other pictures, or of another model.
    """
    require_pictures(names)
    require_data(names, data)
    numbers = [int(number) for number in names.examples[unit] if number >= 0]
    images = [data[number].image for number in numbers]
    frames: dict[tuple[int, int], Frame] = {}
    seen, notes = [], tuple[str, ...]()
    for number, image in zip(numbers, images, strict=True):
        features = task.features(task.place(task.prepare(image)[None]))
        notes = require_fit(names, task, features.layer, features.A.shape[1])
        size = (image.height, image.width)
        if size not in frames:
            frames[size] = measure_frame(task.prepare, size)
        A = features.cells[0, unit].to(torch.float64).cpu().numpy()
        placement = Placement(features.grid, frames[size])
        mask = (placement.paint(A) > threshold(names, unit)) & placement.visible()
        seen.append(Seen(number, np.asarray(image.convert("RGB")), mask, float(A.max())))
    return seen, notes


def threshold(names: NeuronNames, unit: int) -> float:
    """The T above which the unit's mask lies: that of its name; where it has none the highest counted, or 0."""
    known = names[unit].threshold
    if known is not None:
        return known
    return 0.0 if names.tally is None else float(names.tally.thresholds[:, unit].max())


def draw(name: UnitName, seen: Sequence[Seen], names: NeuronNames) -> Figure:
    """The pictures dark outside of the unit's mask, most active first; made without pyplot."""
    columns = max(1, min(COLUMNS, len(seen)))
    rows = -(-len(seen) // columns) or 1
    tall = max((example.image.shape[0] / example.image.shape[1] for example in seen), default=1.0)
    size = (max(PANEL * columns, 4.8), (PANEL * min(tall, 2.5) + 0.25) * rows + 0.6)
    drawing = figure.FigureDrawing(figsize=size, dpi=options.DPI, layout="constrained", facecolor="white")
    axes = drawing.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, example in zip(axes, seen, strict=False):
        axis.imshow(masked(example.image, example.mask))
        axis.set_title(f"picture {example.number} · peak {example.peak:.3g}", fontsize=7.5, color="0.35")
    drawing.suptitle(f"{title(name)}\nT = {threshold(names, name.unit):.3g}", fontsize=11, parse_math=False)
    return drawing


def masked(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture as it is inside the mask and dim outside, a yellow line between."""
    shown = np.where(mask[..., None], image, (image * DIM).astype(np.uint8))
    wide = max(round(max(mask.shape) / 250), 1)
    grown = np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(2 * wide + 1)), bool)
    shown[grown & ~mask] = EDGE
    return shown


def title(name: UnitName) -> str:
    """The unit, its name, and how well that fits."""
    if not name.concept:
        return f"unit {name.unit}, without a name"
    error = f" ± {name.error:.3f}" if name.error is not None and np.isfinite(name.error) else ""
    measure = "AUC" if name.auc == name.auc else "IoU"
    fit = f", {measure} {name.fit:.3f}{error}" if np.isfinite(name.fit) else ""
    return f"unit {name.unit}: {name.concept}{f' ({name.category})' if name.category else ''}{fit}"

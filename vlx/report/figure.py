"""The explanation as one matplotlib figure: the picture, then one map a word on a scale that all words share."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from PIL import Image

from vlx.explanation import Explanation, WordExplanation
from vlx.report import colour
from vlx.report.text import unit
from vlx.storage import replacing

SIDE = 640  # longest side of the picture as drawn


def draw(why: Explanation, columns: int = 5) -> Figure:
    """The picture and one panel a word; made without pyplot, so nothing is shown and nothing is kept."""
    image, shown = _sized(why)
    panels: list[WordExplanation | None] = [None, *why.words]
    columns = max(1, min(columns, len(panels)))
    rows = -(-len(panels) // columns)
    height, width = image.shape[:2]
    figure = Figure(figsize=(2.4 * columns + 0.7, (2.4 * height / width + 0.42) * rows + 0.35), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    top = colour.scale(why)
    for axis, word in zip(axes, panels, strict=False):
        axis.imshow(image if word is None else colour.overlay(colour.muted(image), shown(word.heatmap), top))
        axis.set_title(_title(word), fontsize=9)
    for axis in axes:
        axis.set_axis_off()
    if why.words and top > 0:
        colors = ListedColormap([[channel / 255 for channel in color] for color in colour.ramp(colour.HEAT)])
        bar = figure.colorbar(ScalarMappable(Normalize(0, top), colors), ax=axes.tolist(), shrink=0.6, aspect=25)
        bar.set_label(unit(why.words[0].target), fontsize=8)
        bar.ax.tick_params(labelsize=7)
    figure.suptitle(_safe(why.text), fontsize=11)
    return figure


def save(why: Explanation, path: Path) -> None:
    """Write the figure as PNG, whole or not at all."""
    with replacing(path) as partial:
        draw(why).savefig(partial, format="png", dpi=130)


def _sized(why: Explanation) -> tuple[Any, Any]:
    """The hatched picture at drawing size, and a function that brings a painted map to that size."""
    height, width = why.image.shape[:2]
    ratio = min(SIDE / max(height, width), 1.0)
    size = (max(round(width * ratio), 1), max(round(height * ratio), 1))
    picture = Image.fromarray(colour.hatched(why.image, why.visible)).resize(size, Image.Resampling.LANCZOS)

    def shown(painted: Any) -> Any:
        return np.asarray(Image.fromarray(painted).resize(size, Image.Resampling.BILINEAR))

    return np.asarray(picture), shown


def _title(word: WordExplanation | None) -> str:
    if word is None:
        return "picture"
    seen = "" if word.seen is None else f", seen {word.seen:+.1f}"
    return f"{_safe(word.label)}\nlog p {word.logprob:.2f}{seen}"


def _safe(text: str) -> str:
    """No mathtext, no endless titles."""
    text = text.replace("$", r"\$")
    return text if len(text) <= 90 else text[:87] + "…"

"""An explanation of a clip, drawn frame by frame: maps on each frame, and a page with a slider."""

from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vlx.errors import InputError
from vlx.explanation.records import Explanation, WordExplanation
from vlx.files import templates, whole
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.report import colour, pictures

SIDE = 480  # the longest side of a frame on the page, in pixels


def frame_maps(word: WordExplanation, frames: int) -> NDArray[np.float32]:
    """What speaks for a word on each frame of a clip as it is, [T, H, W], in score per cell of A.

    Each frame is painted by itself: on the clip's one picture, `WordExplanation.heatmap`, the colours of two frames run
    into each other by half a cell where one ends. Raises InputError for another number of frames than was explained.

    >>> maps = frame_maps(why[0], frames=16)
    >>> maps.sum((1, 2)).argmax()  # the frame that says most
    """
    grid, frame = word.placement.grid, word.placement.frame
    if frames < 1 or any(side % frames for side in (grid.shape[0], grid.size[0], frame.size[0])):
        raise InputError(
            f"a map of {grid.shape[0]} rows on a picture of {frame.size[0]} is no clip of {frames} frames; give the "
            "number that the task has (task.frames)"
        )
    cells, rows, size = (side // frames for side in (grid.shape[0], grid.size[0], frame.size[0]))
    one = Grid(grid.offset, grid.stride, (cells, grid.shape[1]), (rows, grid.size[1]), grid.source)
    placement = Placement(one, Frame.whole((size, frame.size[1]), (rows, grid.size[1])))
    return np.stack([placement.paint(part) for part in np.maximum(word.signed, 0).reshape(frames, *one.shape)])


def film(why: Explanation, path: str | Path, *, frames: int) -> Path:
    """Write a page with a slider: the clip under the map of its first word, a frame at a time. No network is needed.

    Raises InputError for another number of frames than was explained, OutputError where it cannot be put.

    >>> vlx.report.film.film(why, "why.html", frames=task.frames)
    """
    target, word = Path(path), why.words[0]
    maps = frame_maps(word, frames)
    clip = why.image.reshape(frames, -1, *why.image.shape[1:])
    top, sums = float(maps.max()), maps.sum((1, 2))
    shown = [
        (
            _address(colour.overlay(colour.muted(one), heat, top)),
            _address(one),
            f"{share:.0%}",
        )
        for one, heat, share in zip(clip, maps, sums / (sums.sum() or 1), strict=True)
    ]
    script = templates.text("vlx.report", "film.js")
    page = templates.template("vlx.report", "film.html.j2").render(
        why=why,
        word=word,
        notes=(*why.notes, *word.notes),
        frames=shown,
        strongest=int(sums.argmax()),
        script=Markup(script),
        digest=templates.script_digest(script),
        width=SIDE,
    )
    whole.require_place(target)
    whole.write_text(target, page)
    return target


def _address(frame: NDArray[np.uint8]) -> str:
    """A frame as a data: address, its longer side about ``SIDE`` pixels; small ones are sharp."""
    grown, less = max(SIDE // max(frame.shape[:2]), 1), max(round(max(frame.shape[:2]) / SIDE), 1)
    return pictures.address(frame[::less, ::less].repeat(grown, 0).repeat(grown, 1))

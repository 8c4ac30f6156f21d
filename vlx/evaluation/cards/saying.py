"""What a captioner says of photographs, for the cards: the one loop with the one metric of captions."""

from collections.abc import Sequence
from dataclasses import replace

from vlx.data.captioned import Photograph, Photographs
from vlx.data.flickr import PhotographData
from vlx.evaluation.metrics.captions import BEAMS, Captions, Said, captions_by
from vlx.evaluation.run import Loop, Progress
from vlx.evaluation.shown import Setting
from vlx.protocol.task import Task


def say(task: Task, rows: Sequence[Photograph], beams: Sequence[int] = BEAMS, *, progress: Progress = iter) -> Said:
    """Caption photographs by each beam width (1 is greedy).

    Raises InputError for a task that does not caption, and where no picture can be read.
    """
    metric, data = captions_by(beams), PhotographData(Photographs(tuple(rows)), "photographs")
    metric.check(task, data)
    loop = Loop(Setting(task, data, ()), [metric], progress)
    loop.run(None)
    (told,) = loop.tallies
    assert isinstance(told, Captions)
    return replace(told.said, unread=tuple(loop.unread))

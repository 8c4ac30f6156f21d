"""What the targets of a chat model read of its texts, row by row: `Attended` of `vlx.tasks.huggingface.rows`."""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.protocol.powers import Attended
from vlx.protocol.targets import Reads, Target
from vlx.tasks.huggingface.rows import Text, attended
from vlx.tasks.huggingface.texts import exact

Run = TypeVar("Run", bound=Hashable)


def attend_by_rows(
    model: nn.Module,
    targets: Sequence[Target],
    placed: Callable[[Target, int], tuple[Run, int]],
    text: Callable[[Run, int, int], Text],
    mark: int,
    shape: tuple[int, int],
) -> Attended:
    """Scores [N] of targets, and what the rows that they read looked at; runs that several share are run once.

    ``placed`` gives the run that a target's step lies in and its place there, ``text(run, first, last)`` what the model
    takes of a run as far as place ``last``, with rows from place ``first`` on. The tokens ``mark`` are the picture's
    cells in raster order, ``shape`` (h, w).
    """
    read = [[placed(target, term.step) for term in target.terms] for target in targets]
    places: dict[Run, list[int]] = {}
    for run, place in (one for own in read for one in own):
        places.setdefault(run, []).append(place)
    texts = [text(run, min(asked), max(asked)) for run, asked in places.items()]
    rows = attended(model, texts)
    at = {run: (number, min(asked)) for number, (run, asked) in enumerate(places.items())}

    reads = Reads.of(targets)
    pairs = [placed(targets[n], step) for n, step in reads.pairs]
    logits = torch.stack([rows.logits[at[run][0]][place - at[run][1]] for run, place in pairs])
    scores = reads.combine(exact(logits))

    marks: dict[tuple[int, int], list[int]] = {}
    for n, own in enumerate(read):
        for run, place in own:
            marks.setdefault((n, at[run][0]), []).append(place - at[run][1])
    queries = scores.detach().new_zeros(len(marks), rows.layers[0].shape[2])
    for weights, asked in zip(queries, marks.values(), strict=True):
        weights[asked] = 1
    owners, runs = zip(*marks, strict=True)
    return Attended(scores, rows.layers, runs, queries, _cells(texts, mark, shape), owners=owners)


def _cells(texts: Sequence[Text], mark: int, shape: tuple[int, int]) -> Tensor:
    """Which token each cell is [h, w], in all texts."""
    first, *others = ((one.inputs["input_ids"][0] == mark).nonzero()[:, 0] for one in texts)
    if any(not torch.equal(first, other) for other in others):
        raise ModelError("texts about one picture have it at different places; ask one question at a time")
    return torch.as_tensor(first.view(shape))

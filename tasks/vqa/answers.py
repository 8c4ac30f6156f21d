"""How many answers of a VQA model are right, by kind of question."""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from vlx.tasks.vqa.data import NONE, AskedPictures
from vlx.tasks.vqa.vqa import CnnLstmVqa

BATCH = 100
ALL = "all"

Shares = dict[str, tuple[float, int]]  # kind → share of right answers, number of questions


def accuracies(
    task: CnnLstmVqa, data: AskedPictures, ask: Callable[[Tensor], Tensor] = lambda tokens: tokens
) -> Shares:
    """The shares of right answers; ``ask`` may change the questions' tokens [N, L] beforehand."""
    found = predicted(task, data, ask)
    there = data.right != NONE
    right = found == data.right
    shares = {}
    for number, name in enumerate(data.kind_names):
        own = there & (data.kinds == number)
        shares[name] = (float(right[own].double().mean()), int(own.sum()))
    shares[ALL] = (float(right[there].double().mean()), int(there.sum()))
    return shares


@torch.no_grad()
def predicted(task: CnnLstmVqa, data: AskedPictures, ask: Callable[[Tensor], Tensor] = lambda tokens: tokens) -> Tensor:
    """The number of the likeliest answer to every question, [N, Q]; for heads of `vlx.tasks.vqa.heads`."""
    answers = []
    count = data.tokens.shape[1]
    for rows in torch.split(torch.arange(len(data.pictures)), BATCH):
        pictures = torch.from_numpy(data.pictures[rows.numpy()]).permute(0, 3, 1, 2)
        A = task.features(task.place(task.prepare.normalise(pictures))).A  # type: ignore[attr-defined]
        tokens = ask(data.tokens[rows].flatten(0, 1))
        logits = task.head(A, tokens, data.lengths[rows].flatten())
        answers.append(logits.argmax(1).view(len(rows), count))
    return torch.cat(answers)


def usual(train: AskedPictures, held_out: AskedPictures) -> Shares:
    """The share of right answers of one who hears the question, never looks, and knows all of ``train``."""
    told: dict[tuple[int, ...], Counter[int]] = {}
    for data, learn in ((train, True), (held_out, False)):
        if learn:
            for tokens, right in zip(data.tokens.flatten(0, 1).tolist(), data.right.flatten().tolist(), strict=True):
                if right != NONE:
                    told.setdefault(tuple(t for t in tokens if t), Counter())[right] += 1
    hits: dict[str, list[bool]] = {name: [] for name in (*held_out.kind_names, ALL)}
    rows = zip(
        held_out.tokens.flatten(0, 1).tolist(),
        held_out.right.flatten().tolist(),
        held_out.kinds.flatten().tolist(),
        strict=True,
    )
    for tokens, right, kind in rows:
        if right == NONE:
            continue
        known = told.get(tuple(t for t in tokens if t))
        hit = known is not None and known.most_common(1)[0][0] == right
        for name in (held_out.kind_names[kind], ALL):
            hits[name].append(hit)
    return {name: (sum(found) / len(found), len(found)) for name, found in hits.items() if found}

"""Other pictures and texts for the self-test, made of the one that there is, and what the task makes of each alone.

They are of the picture's size: soft noise, the picture turned, with other colours, mirrored and inverted. Where the
model is asked, they are asked questions of other lengths.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from vlx.errors import InputError
from vlx.methods import engine
from vlx.pictures.edits import unlike
from vlx.protocol.targets import Prediction, Query, Target, word_target
from vlx.protocol.task import Features, Task, predict


@dataclass(frozen=True, eq=False)
class Guest:
    """A picture by itself: what is asked, what the task made of it, its words as targets and their scores [N]."""

    inputs: Tensor
    query: Query
    features: Features
    prediction: Prediction
    targets: tuple[Target, ...]
    scores: Tensor


def guests(task: Task, picture: Image.Image, query: Query) -> tuple[Guest, ...]:
    """The picture and four others of its size, each run by itself, one after the other."""
    pictures = (picture, *unlike(picture))
    first = _alone(task, picture, query)
    queries = _queries(task, first.features, query)
    others = [_alone(task, other, queries[n % len(queries)]) for n, other in enumerate(pictures[1:], 1)]
    return (first, *others)


def _queries(task: Task, features: Features, query: Query) -> list[Query]:
    """The query and, where it is a question, the same question shorter and longer, if the task takes them."""
    words, queries = (query.question or "").split(), [query]
    for text in (" ".join(words[:-1]), " ".join([*words, *words])):
        asked = replace(query, question=text)
        with suppress(InputError):
            if text:
                task.predict(features, [asked])
                queries.append(asked)
    return queries


def _alone(task: Task, picture: Image.Image, query: Query) -> Guest:
    inputs = task.prepare(picture)
    features = task.features(task.place(inputs[None]))
    prediction = predict(task, features, [query])[0]
    targets = tuple(word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words)))
    scores = engine.ask(task, features, targets).double().cpu() if targets else torch.zeros(0)
    return Guest(inputs, query, features, prediction, targets, scores)

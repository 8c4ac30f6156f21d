from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import vlx
from tests.fakes import (
    picture,
    prepare,
)
from vlx.pictures import edits
from vlx.pictures.placement import Grid
from vlx.protocol.targets import Alternative, Prediction, Query, Term, Word
from vlx.protocol.task import Defaults, Features

TEXT = "a red dog on grass"
TOKENS = (3, 4, 6, 8, 9)


# An outsider's task


class Outsider:
    """Nothing but the protocol: one class, A is the picture itself."""

    name, kind, defaults = "outsider", "captioning", Defaults("hirescam", "logit", "loop")
    notes: tuple[str, ...] = ("made by hand",)
    blank = (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        self.prepare = prepare

    def place(self, inputs: Tensor) -> Tensor:
        return inputs

    def version(self) -> int:
        return 0

    def features(self, inputs: Tensor) -> Features:
        grid = Grid.half_pixel((16, 16), (16, 16))
        return Features({"pixels": inputs}, "pixels", grid, inputs.mean((1, 2, 3)), ("its cells are pixels",))

    def predict(self, features: Features, queries: Any) -> list[Prediction]:
        word = Word("bright", (Term(0, 0),), -0.5, (Alternative("bright", 0, -0.5), Alternative("dark", 1, -0.9)))
        return [Prediction("bright", (word,), (0,)) for _ in queries]

    def scores(self, A: Tensor, targets: Any, rest: Any = None) -> Tensor:
        return torch.stack([(2 + rest[t.row]) * A[t.row].sum() for t in targets])


def told(image: Image.Image) -> float:
    """What the outsider's score is of a picture."""
    shown = prepare(image).double()
    return float((2 + shown.mean()) * shown.sum())


def test_the_protocol_is_all_it_takes() -> None:
    task = Outsider()
    for images in ([picture()], [picture(1), picture(2)]):
        for why, image in zip(vlx.explain_many(task, images), images, strict=True):
            shown = prepare(image)
            weight = 2 + float(shown.mean())  # its own, whatever is beside it in the batch
            assert why["bright"].score == pytest.approx(told(image), rel=1e-4, abs=1e-3)
            assert np.allclose(why[0].signed, weight * shown.sum(0).numpy(), atol=1e-5)
            assert np.allclose(why[0].weights, [weight] * 3)
            owed = {name: -0.5 - told(other) for name, other in edits.made_of(image).items()}
            assert why[0].seen_by == pytest.approx(owed, rel=1e-4, abs=1e-2)
            assert why.notes[:2] == ("made by hand", "its cells are pixels")
            assert "no receptive field was found; cells are placed by the half-pixel rule" in why.notes
            assert why.provenance["layer"] == "pixels"
            assert why[0].alternatives == (("bright", -0.5), ("dark", -0.9))


def test_queries_reach_the_task_as_they_were_asked() -> None:
    asked = []

    class Listening(Outsider):
        kind = "vqa"

        def predict(self, features: Features, queries: Any) -> list[Prediction]:
            asked.extend(queries)
            return super().predict(features, queries)

    why = vlx.explain(Listening(), picture(), question="how?", answer="bright", instead_of="dark", beams=2)
    assert asked[0] == Query(None, "how?", "bright", "dark", 2)
    assert asked[1:] == [Query(None, "how?", beams=2)] * 5  # what it says of five references
    assert why.task == "vqa"
    assert why.phrases == ()
    assert why.sentence is why[0]


def test_a_contrast_is_seen_as_a_difference() -> None:
    class Contrasting(Outsider):
        kind = "vqa"

        def predict(self, features: Features, queries: Any) -> list[Prediction]:
            word = Word("bright", (Term(0, 0), Term(0, 1, -1.0)), -0.5)
            return [Prediction("bright", (word,), (0,)) for _ in queries]

        def scores(self, A: Tensor, targets: Any, rest: Any = None) -> Tensor:
            values = {0: lambda a: a.sum(), 1: lambda a: (a**2).sum()}
            return torch.stack([sum(term.weight * values[term.token](A[t.row]) for term in t.terms) for t in targets])

    why = vlx.explain(Contrasting(), picture())
    shown = prepare(picture()).double()
    others = {name: prepare(made).double() for name, made in edits.made_of(picture()).items()}
    there, gone = (
        float(shown.sum() - (shown**2).sum()),
        {name: float(other.sum() - (other**2).sum()) for name, other in others.items()},
    )
    owed = {name: there - left for name, left in gone.items()}
    assert why[0].seen_by == pytest.approx(owed, rel=1e-4, abs=1e-2)
    assert why[0].seen == pytest.approx(float(np.mean(list(owed.values()))), rel=1e-4)
    assert np.allclose(why[0].signed, (shown * (1 - 2 * shown)).sum(0).numpy(), atol=1e-4)

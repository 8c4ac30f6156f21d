"""Maps in which nothing speaks for what was said: told once, in the right place, and only where it is so."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from tests.fakes import UNITS, VOCABULARY, captioner, picture
from vlx.pipeline.assemble import BELOW, EMPTY, NOWHERE, UNUSED
from vlx.report import text
from vlx.tasks.classification import Classifier
from vlx.tasks.vqa import CnnLstmVqa


def prepare(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB").resize((16, 16)))).permute(2, 0, 1).float() / 255 + 0.1


class Net(nn.Module):
    """Classes that read the mean of A, each with one weight for all units; ``zero``: A is nothing but 0."""

    def __init__(self, weights: list[float], bias: list[float], zero: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.ReLU())
        nn.init.constant_(self.body[0].get_parameter("weight"), -0.2 if zero else 0.2)
        nn.init.zeros_(self.body[0].get_parameter("bias"))
        self.fc = nn.Linear(4, len(weights))
        self.fc.weight.data = torch.tensor(weights)[:, None].expand(-1, 4).clone()
        self.fc.bias.data = torch.tensor(bias)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.body(images).mean((2, 3)))
        return logits


def classified(*given: Any, **options: Any) -> vlx.Explanation:
    return vlx.explain(Classifier(Net(*given), "body", ["grey", "other", "third"], prepare), picture(), **options)


def told(why: vlx.Explanation) -> list[list[str]]:
    """The notes on empty maps: of the whole, then of each word."""
    return [[note for note in notes if "in the map speaks" in note] for notes in (why.notes, *(w.notes for w in why))]


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam", "gradcam++", "xgradcam"])
def test_a_class_that_nothing_speaks_for_says_so_once_in_both_places(method: str) -> None:
    why = classified([-6.0, -9.0, -9.0], [9.0, 0.0, 0.0], method=method, target="logit")
    assert not why[0].heatmap.any()
    assert why[0].against.max() > 0
    assert told(why) == [[EMPTY], [EMPTY]]
    assert told(classified([6.0, 1.0, 1.0], [0.0, 0.0, 0.0], method=method, target="logit")) == [[], []]


def test_a_map_that_is_empty_because_p_is_1_does_not() -> None:
    sure = classified([-1.0, -1.5, -1.5], [30.0, 0.0, 0.0], target="logprob")
    assert sure[0].logprob > -1e-4
    assert told(sure) == [[], []]
    assert told(classified([-1.0, -0.5, -0.5], [3.0, 0.0, 0.0], target="logprob")) == [[EMPTY], [EMPTY]]
    assert told(classified([-1.0, -1.5, -1.5], [30.0, 0.0, 0.0], target="logit")) == [[EMPTY], [EMPTY]]


def test_a_feature_map_of_zeros_speaks_for_nothing() -> None:
    why = classified([3.0, 1.0, 1.0], [5.0, 0.0, 0.0], True, target="logit")
    assert told(why) == [[NOWHERE], [NOWHERE]]
    assert UNUSED not in why[0].notes


class Colours(nn.Module):
    """A decoder in which every word's logit is the mean of A times a weight of its own."""

    def __init__(self, weights: dict[int, float]) -> None:
        super().__init__()
        self.output = nn.Linear(UNITS, len(VOCABULARY))
        nn.init.zeros_(self.output.weight)
        for token, weight in weights.items():
            self.output.weight.data[token] = weight

    def start(self, A: Tensor) -> Tensor:
        return A.mean((2, 3))

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.output(state), state


def test_in_a_caption_it_stands_at_the_word_alone() -> None:
    task = captioner(Colours({4: 2.0, 5: -2.0}))
    why = vlx.explain(task, picture(), caption="red blue", target="logit", method="gradcam")
    assert told(why) == [[], [], [EMPTY]]
    assert why.sentence.notes.count(EMPTY) <= 1


def test_of_an_answer_and_of_its_rivals_each_says_its_own() -> None:
    class Head(nn.Module):
        def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
            mean = A.mean((1, 2, 3))
            return torch.stack([9 - 2 * mean, mean, -mean], 1)

    task = CnnLstmVqa(Net([1.0], [0.0]).body, Head().eval(), ["<pad>", "what"], ["yes", "no", "red"], prepare)
    why = vlx.explain(task, picture(), question="what", method="gradcam", target="logit")
    assert told(why) == [[EMPTY], [EMPTY]]
    assert {other.text: told(other) for other in why.others} == {"no": [[], []], "red": [[EMPTY], [EMPTY]]}
    assert text.markdown(why).count(EMPTY) == 1


class Below(nn.Module):
    """Two units that are below 0 everywhere; the first speaks for class 0, the second, more strongly, against it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 2, 4, 4), nn.Linear(2, 2)
        nn.init.zeros_(self.body.weight)
        nn.init.constant_(self.body.bias, -1.0)  # type: ignore[arg-type]
        self.head.weight.data = torch.tensor([[1.0, -2.0], [0.0, 0.0]])
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


def test_features_below_0_are_not_told_to_be_0() -> None:
    def prepare(picture: Image.Image) -> Tensor:
        return torch.zeros(3, 32, 32)

    task = Classifier(Below().eval(), "body", ["a", "b"], prepare)
    why = vlx.explain(task, Image.new("RGB", (32, 32)), answer="a", method="layercam", target="logit", seen=False)
    assert why[0].heatmap.max() == 0
    assert BELOW in why[0].notes
    assert NOWHERE not in why[0].notes

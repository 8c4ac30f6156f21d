"""Which axis of a decoder's state is the pictures'."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.fakes import UNITS, VOCABULARY, captioner, picture
from vlx.errors import ModelError
from vlx.tasks.captioning import gru_step, lstm_step, rnn_step

SIZE = 6
RNNS: dict[str, tuple[Any, Any]] = {"LSTM": (nn.LSTM, lstm_step), "GRU": (nn.GRU, gru_step), "RNN": (nn.RNN, rnn_step)}


class AsItComes(nn.Module):
    """The picture is the first input of an RNN whose state is handed on as torch gives it, [layers, B, H]."""

    def __init__(self, kind: str, layers: int) -> None:
        super().__init__()
        self.picture, self.words = nn.Linear(UNITS, SIZE), nn.Embedding(len(VOCABULARY), SIZE)
        self.rnn = RNNS[kind][0](SIZE, SIZE, layers, batch_first=True)
        self.output = nn.Linear(SIZE, len(VOCABULARY))

    def start(self, A: Tensor) -> Any:
        return self.rnn(self.picture(A.mean((2, 3)))[:, None])[1]

    def step(self, tokens: Tensor, state: Any) -> Any:
        out, state = self.rnn(self.words(tokens)[:, None], state)
        return self.output(out[:, 0]), state


class ByStep(AsItComes):
    """The same network by `lstm_step` and its twins, as the refusal advises."""

    def start(self, A: Tensor) -> Any:
        return self._next(self.picture(A.mean((2, 3))), None)

    def step(self, tokens: Tensor, state: Any) -> Any:
        state = self._next(self.words(tokens), state)
        return self.output((state[0] if isinstance(state, tuple) else state)[:, -1]), state

    def _next(self, inputs: Tensor, state: Any) -> Any:
        return RNNS[type(self.rnn).__name__][1](self.rnn, inputs, state)


def whole(network: AsItComes, A: Tensor, tokens: list[int]) -> Tensor:
    """Logits of each step by one call of the module: the picture, START, the words."""
    inputs = torch.cat([network.picture(A.mean((2, 3)))[:, None], network.words(torch.tensor([[0, *tokens[:-1]]]))], 1)
    logits: Tensor = network.output(network.rnn(inputs)[0])[0, 1:]
    return logits


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", list(RNNS))
def test_the_state_of_a_module_as_it_comes_is_refused_and_by_steps_is_right(kind: str, layers: int) -> None:
    torch.manual_seed(0)
    message = rf"start gives is \[{layers}, 2, 6\] for 2 pictures; .* nn\.LSTM use .*lstm_step.* gru_step.* rnn_step$"
    with pytest.raises(ModelError, match=message):
        vlx.explain(captioner(AsItComes(kind, layers)), picture())
    task = captioner(ByStep(kind, layers).double(), torch.float64)
    why = vlx.explain(task, picture(), caption="a red dog")
    A = task.features(task.place(task.prepare(picture())[None])).A
    with torch.no_grad():
        expected = whole(task.decoder, A, [3, 4, 6]).log_softmax(-1)[[0, 1, 2], [3, 4, 6]]
    assert [word.logprob for word in why] == pytest.approx(expected.tolist(), abs=1e-12)


class Cached:
    """An object that nothing can be taken from, as a cache of keys and values is."""

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys


class Odd(nn.Module):
    """A decoder whose state holds something else beside its hidden vector; ``later``: only after a step."""

    def __init__(self, other: Callable[[Tensor], Any], later: bool = False) -> None:
        super().__init__()
        self.output, self.other, self.later = nn.Linear(UNITS, len(VOCABULARY)), other, later

    def start(self, A: Tensor) -> Any:
        hidden = A.mean((2, 3))
        return hidden, None if self.later else self.other(hidden)

    def step(self, tokens: Tensor, state: Any) -> Any:
        return self.output(state[0]), (state[0], self.other(state[0]))


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda hidden: torch.zeros(4, 4),
            r"is \[4, 4\] for 2 pictures; it has no axis for the pictures.*\.expand\(len",
        ),
        (lambda hidden: torch.zeros(2, 4), r"is \[2, 4\] for 2 pictures; it has no axis for the pictures"),
        (lambda hidden: torch.zeros(3, 4), r"is \[3, 4\] for 2 pictures; it has no axis for the pictures"),
        (lambda hidden: torch.tensor(0), r"is \[\] for 2 pictures; it has no axis for the pictures"),
        (lambda hidden: hidden.T, r"is \[5, 2\] for 2 pictures; .*: turn it by \.transpose\(0, 1\), and back in step$"),
        (lambda hidden: torch.zeros(7, 1, len(hidden), 2), r"\[7, 1, 2, 2\] .* turn it by \.transpose\(0, 2\)"),
        (
            lambda hidden: torch.zeros(2 * len(hidden), 3),
            r"is \[4, 3\] for 2 pictures; it has no axis for the pictures",
        ),
        (Cached, r"holds a Cached, whose rows cannot be taken; put its tensors into a tuple, list or dict"),
        (len, r"holds 2 for 2 pictures and 3 for 3; make it a tensor with one row a picture"),
        (lambda hidden: [0] * len(hidden), r"has 3 parts for 2 pictures and 4 for 3; needed are tensors"),
    ],
    ids=["mask", "two rows", "three rows", "counter", "turned", "deep", "doubled", "object", "count", "list"],
)
def test_a_part_that_has_no_row_a_picture_is_refused(other: Any, message: str, later: bool) -> None:
    part = "step" if later else "start"
    with pytest.raises(ModelError, match=rf"^tiny: the state that the decoder's {part} gives .*{message}") as caught:
        vlx.explain(captioner(Odd(other, later)), picture())
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("constant", [None, 3, 0.5, True, "mode", [None, {"depth": 2}]])
def test_constants_are_no_matter(constant: Any) -> None:
    assert len(vlx.explain(captioner(Odd(lambda hidden: constant)), picture(), caption="a dog")) == 2


def test_a_decoder_that_keeps_its_state_to_itself_is_refused() -> None:
    class Hiding(Odd):
        def start(self, A: Tensor) -> Any:
            self.kept = A.mean((2, 3))

        def step(self, tokens: Tensor, state: Any) -> Any:
            return self.output(self.kept), None

    message = r"holds no tensor; what a decoder keeps in itself cannot be repeated for several words: give it back"
    with pytest.raises(ModelError, match=message):
        vlx.explain(captioner(Hiding(lambda hidden: None)), picture())


def test_a_decoder_that_keeps_the_feature_map_to_itself_is_refused_by_name() -> None:
    class Keeping(Odd):
        def start(self, A: Tensor) -> Any:
            self.kept = A.mean((2, 3))
            return super().start(A)

        def step(self, tokens: Tensor, state: Any) -> Any:
            return self.output(state[0] + self.kept), state

    message = r"^tiny: .* start was called for other pictures since: it keeps something of them in itself \(RuntimeErr"
    with pytest.raises(ModelError, match=message) as caught:
        vlx.explain(captioner(Keeping(lambda hidden: None)), picture())
    assert len(str(caught.value)) <= 300


def test_a_step_that_raises_is_told_as_the_decoders() -> None:
    class Raising(Odd):
        def step(self, tokens: Tensor, state: Any) -> Any:
            raise KeyError("h" * 400)

    with pytest.raises(
        ModelError, match=r"^tiny: the decoder's step fails on its own start's state \(KeyError"
    ) as told:
        vlx.explain(captioner(Raising(lambda hidden: None)), picture())
    assert len(str(told.value)) <= 300
    assert isinstance(told.value.__cause__, KeyError)


def test_a_decoder_that_writes_into_its_state_is_taken() -> None:
    class Writing(Odd):
        def start(self, A: Tensor) -> Any:
            return [A.mean((2, 3))]

        def step(self, tokens: Tensor, state: Any) -> Any:
            state[0] = state[0] + 1
            return self.output(state[0]), state

    assert len(vlx.explain(captioner(Writing(lambda hidden: None)), picture(), caption="a dog")) == 2

"""`lstm_step`, `gru_step` and `rnn_step` beside the modules whose weights they use."""

from typing import Any

import pytest
import torch
from torch import nn

from vlx.errors import ModelError
from vlx.tasks.captioning import gru_step, lstm_step, rnn_step


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
def test_steps_are_those_of_the_whole_lstm(layers: int, bias: bool) -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(4, 5, layers, bias=bias, batch_first=True).double().eval()
    inputs = torch.randn(2, 6, 4, dtype=torch.float64)
    whole, (hidden, cell) = lstm(inputs)
    memory = None
    for step in range(6):
        memory = lstm_step(lstm, inputs[:, step], memory)
        torch.testing.assert_close(memory[0][:, -1], whole[:, step], rtol=1e-12, atol=1e-12)
    assert memory is not None
    torch.testing.assert_close(memory[0], hidden.transpose(0, 1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(memory[1], cell.transpose(0, 1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"proj_size": 2}])
def test_other_lstms_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="runs forwards only and without proj_size"):
        lstm_step(nn.LSTM(4, 5, **options), torch.zeros(1, 4))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "step", "options"),
    [(nn.GRU, gru_step, {}), (nn.RNN, rnn_step, {}), (nn.RNN, rnn_step, {"nonlinearity": "relu"})],
    ids=["gru", "tanh", "relu"],
)
def test_steps_are_those_of_the_whole_gru_and_rnn(
    kind: Any, step: Any, options: dict[str, str], layers: int, bias: bool
) -> None:
    torch.manual_seed(1)
    rnn = kind(4, 5, layers, bias=bias, batch_first=True, **options).double().eval()
    inputs, begun = torch.randn(2, 6, 4, dtype=torch.float64), torch.randn(layers, 2, 5, dtype=torch.float64)
    for state in (None, begun):
        whole, hidden = rnn(inputs, state)
        memory = None if state is None else state.transpose(0, 1)
        for n in range(6):
            memory = step(rnn, inputs[:, n], memory)
            torch.testing.assert_close(memory[:, -1], whole[:, n], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(memory, hidden.transpose(0, 1), rtol=1e-12, atol=1e-12)


def test_steps_refuse_what_they_were_not_made_for() -> None:
    inputs = torch.zeros(3, 4)
    both: list[tuple[Any, nn.RNNBase]] = [
        (gru_step, nn.GRU(4, 5, bidirectional=True)),
        (rnn_step, nn.RNN(4, 5, bidirectional=True)),
    ]
    for step, rnn in both:
        with pytest.raises(ModelError, match=r"_step takes an nn\.(GRU|RNN) that runs forwards only"):
            step(rnn, inputs)
    with pytest.raises(ModelError, match=r"^gru_step takes an nn\.GRU, got an nn\.LSTM; there are lstm_step, gru_step"):
        gru_step(nn.LSTM(4, 5), inputs)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"^rnn_step takes an nn\.RNN, got an nn\.GRU"):
        rnn_step(nn.GRU(4, 5), inputs)  # type: ignore[arg-type]
    turned = r"_step: the memory is \[2, 3, 5\], needed is \[B, layers, H\] = \[3, 2, 5\]; .* \.transpose\(0, 1\)$"
    with pytest.raises(ModelError, match=turned):
        gru_step(nn.GRU(4, 5, 2), inputs, torch.zeros(2, 3, 5))
    with pytest.raises(ModelError, match=turned):
        lstm_step(nn.LSTM(4, 5, 2), inputs, (torch.zeros(2, 3, 5), torch.zeros(2, 3, 5)))
    with pytest.raises(ModelError, match=turned):
        rnn_step(nn.RNN(4, 5, 2), inputs, torch.zeros(2, 3, 5))

"""`lstm_step` beside the ``nn.LSTM`` whose weights it uses."""

import pytest
import torch
from torch import nn

from vlx.errors import ModelError
from vlx.tasks.captioning import lstm_step


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

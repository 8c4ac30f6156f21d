"""What was made cheaper says the same as before."""

import numpy as np
import pytest
import torch

from vlx.explanation import map_check
from vlx.report import pictures
from vlx.tasks.captioning import Attention


def test_attention_by_sigmoids_is_that_by_tanh() -> None:
    torch.manual_seed(0)
    decoder = Attention(6, 9, (3, 4), embedding=5, hidden=7, keys=8).double().eval()
    A, tokens = torch.randn(2, 6, 3, 4, dtype=torch.float64), torch.tensor([1, 4])
    state = decoder.start(A)
    for _ in range(3):
        hidden, state = decoder.step(tokens, state)
    values, keys = A.flatten(2).mT, decoder.key(A.flatten(2).mT) + decoder.positions
    told, cell, read = torch.zeros(2, 7).double(), torch.zeros(2, 7).double(), values.mean(1)
    for _ in range(3):
        told, cell = decoder.lstm(torch.cat([decoder.words(tokens), read], 1), (told, cell))
        weights = decoder.energy(torch.tanh(keys + decoder.query(told)[:, None]))[..., 0].softmax(1)
        read = (weights[..., None] * values).sum(1)
    torch.testing.assert_close(hidden, torch.cat([told, read], 1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state[-1], weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("colours", "kind"), [(1, "png"), (4096, "jpeg")])
def test_a_picture_of_few_colours_is_embedded_as_png(colours: int, kind: str) -> None:
    levels = np.random.default_rng(0).integers(0, colours, (64, 64))
    pixels = np.stack([levels % 16 * 16, levels // 16 % 16 * 16, levels // 256 * 16], 2).astype(np.uint8)
    assert pictures.address(pixels).startswith(f"data:image/{kind};base64,")


@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 41])
def test_the_percentile_of_the_random_falls_is_numpys(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count).tolist()
    found = map_check.judged(9.0, values)
    limit = float(np.percentile(values, map_check.QUANTILE))
    assert map_check._percentile(values) == limit
    assert found.verdict == "confirmed"
    assert map_check.judged(limit, values, least=-9.0).verdict == "not confirmed"  # above it, not at it

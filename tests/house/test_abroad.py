"""The models on which defaults are judged: their pictures are what they say, and what is kept is whole."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks import abroad, abroad_nets, light_ground
from benchmarks.abroad_nets import BagHead
from vlx.errors import InputError


def test_words_of_a_drawn_caption_lie_on_pixels_of_their_colour() -> None:
    for seed in range(40):
        drawn = light_ground.draw(seed)
        ground = np.median(drawn.pixels.reshape(-1, 3), 0)
        assert ground.min() > 220
        for word, mask in drawn.caption():
            if word in light_ground.COLORS:
                assert mask is not None
                off = drawn.pixels[mask].astype(float).mean(0) - light_ground.COLORS[word]
                assert np.abs(off).max() < 24
        covered = np.logical_or.reduce([shape.mask for shape in drawn.shapes])
        assert np.abs(drawn.pixels[~covered].astype(float) - ground).max() <= 6
        text = [word for word, _ in drawn.caption()]
        assert text.count("left") == len(drawn.shapes) - 1
        assert set(text) <= set(abroad_nets.WORDS)
        across = [float(np.argwhere(shape.mask)[:, 1].mean()) for shape in drawn.shapes]
        assert across == sorted(across)
        assert set(drawn.labels()) == {*(s.color for s in drawn.shapes), *(s.shape for s in drawn.shapes)}


def test_what_is_kept_is_read_again_and_another_recipe_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abroad, "KEPT", tmp_path)
    trained = []

    def fitted(seed: int) -> nn.Linear:
        torch.manual_seed(seed)
        net = nn.Linear(2, 1)

        def losses() -> object:
            trained.append(seed)
            return lambda chosen: net(torch.ones(1, 2)).square().sum()

        abroad._kept("line", net, losses=losses, steps=2, pictures=5)  # type: ignore[arg-type]
        return net

    first, second = fitted(0), fitted(1)
    assert trained == [0]
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(load_file(tmp_path / "line.safetensors")["0.weight"], first.weight)
    monkeypatch.setattr(abroad, "RECIPE", "another")
    assert not torch.equal(fitted(2).weight, first.weight)
    assert trained == [0, 2]


def test_a_question_of_several_about_one_picture_is_answered_alike_alone() -> None:
    torch.manual_seed(0)
    head = BagHead(12, 7, 5).double().eval()
    A = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    tokens, lengths = torch.tensor([[1, 2, 0], [3, 4, 5], [6, 0, 0], [2, 1, 0]]), torch.tensor([2, 3, 1, 2])
    together = head(A, tokens, lengths)
    for n in range(4):
        alone = head(A[n // 2 : n // 2 + 1], tokens[n : n + 1, : int(lengths[n])], lengths[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone)
    assert not torch.allclose(together[0], together[1])


def test_unknown_models_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"'mobilnet' is no model of benchmarks.abroad; known are easy-vqa, white-"):
        abroad.model("mobilnet")


def test_without_the_real_things_questions_are_about_drawn_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abroad, "REAL", Path("nowhere"))
    data = abroad.questions("test", 6)
    for told, pixels in zip(data.asked, data.pictures, strict=True):
        truth = dict(told)
        color = truth["what is the color of the shape?"]
        assert truth[f"is there a {color} in the picture?"] == "yes"
        assert sum(answer == "yes" for _, answer in told) == 2
        assert np.abs(pixels.astype(int) - light_ground.COLORS[color]).sum(2).min() < 60
    with pytest.raises(InputError, match="MobileNetV2 and its photographs are not to be had"):
        abroad.model("mobilenet")

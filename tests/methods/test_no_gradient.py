"""`vlx.explain` of models that cut the gradient off: refused with the way out, and occlusion is that way."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import vlx
from vlx.errors import ModelError, NoGradient
from vlx.pipeline import assemble
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.classification import Classifier

COLOURS = ["red", "green", "blue"]
RED, GREEN = np.s_[16:48, 16:48], np.s_[72:104, 80:112]  # two squares, on grey


def picture() -> Image.Image:
    image = Image.new("RGB", (128, 128), (128, 128, 128))
    image.paste((230, 30, 30), (16, 16, 48, 48))
    image.paste((30, 200, 30), (80, 72, 112, 104))
    return image


def prepare(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB").resize((128, 128)), np.float32)).permute(2, 0, 1) / 255


class Colours(nn.Module):
    """[B, 3, 128, 128] → [B, 3, 16, 16]: how red, green and blue each block is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(3, 3, 1, bias=False), nn.AvgPool2d(8)
        self.conv.weight.data = torch.full((3, 3), -0.5).fill_diagonal_(1.0)[:, :, None, None].clone()

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.pool(torch.relu(self.conv(x)))
        return made


class Net(nn.Module):
    """Says how much of each colour there is."""

    def __init__(self, cut: str = "") -> None:
        super().__init__()
        self.body, self.more, self.cut = Colours(), nn.Identity(), cut

    def forward(self, x: Tensor) -> Tensor:
        if self.cut == "checkpoint":
            A: Any = checkpoint(self.more, checkpoint(self.body, x, use_reentrant=True), use_reentrant=True)
        elif self.cut == "detach":
            A = self.body(x).detach()
        elif self.cut == "no_grad":
            with torch.no_grad():
                A = self.body(x)
                made: Tensor = 50 * A.mean((2, 3))
                return made
        elif self.cut == "numpy":
            A = torch.from_numpy(self.body(x).numpy())
        else:
            A = self.body(x)
        scores: Tensor = 50 * A.mean((2, 3))
        return scores


def classifier(cut: str = "") -> Classifier:
    return Classifier(Net(cut).eval(), "body", COLOURS, prepare, outputs="softmax", blank=(0.5, 0.5, 0.5))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("cut", ["checkpoint", "detach", "numpy"])
def test_a_cut_gradient_is_refused_and_occlusion_works(cut: str) -> None:
    with pytest.raises(NoGradient, match=r"^Net: no gradient comes through .* use_reentrant=True.*occlusion"):
        vlx.explain(classifier(cut), picture())
    why, plain = (
        vlx.explain(classifier(how), picture(), method="occlusion", target="logit", answer="red") for how in (cut, "")
    )
    np.testing.assert_allclose(why[0].signed, plain[0].signed, atol=1e-5)
    assert why[0].heatmap[RED].sum() > 0.7 * why[0].heatmap.sum()
    assert np.isnan(why[0].weights).all()
    assert np.allclose(plain[0].weights, [50 / 256, 0, 0])
    assert any(note.startswith(assemble.NO_WEIGHTS) for note in why.notes)
    assert not any(assemble.NO_WEIGHTS in note or assemble.UNUSED in note for note in plain.notes)


def test_no_grad_round_the_whole_forward_gives_the_same_map() -> None:
    why, plain = (vlx.explain(classifier(cut), picture()) for cut in ("no_grad", ""))
    np.testing.assert_allclose(why[0].signed, plain[0].signed)
    assert plain[0].heatmap[RED].sum() > 0.7 * plain[0].heatmap.sum()


VOCABULARY = ["<start>", "<end>", "red", "and", "green"]


class Decoder(nn.Module):
    """Says "red and green"; log p of a colour rests on its channel, "and" on nothing."""

    def start(self, A: Tensor) -> Any:
        return A.mean((2, 3)) * 40, torch.zeros(len(A), dtype=torch.long)

    def step(self, tokens: Tensor, state: Any) -> Any:
        seen, turn = state
        logits = torch.zeros(len(turn), len(VOCABULARY))
        one, two = torch.zeros(2, len(VOCABULARY)).scatter_(1, torch.tensor([[2], [4]]), 1.0)
        colours = self.path(seen[:, :1]) * one + self.path(seen[:, 1:2]) * two
        logits = torch.where((turn == 1)[:, None], logits, logits + colours)
        said = torch.tensor([2, 3, 4, 1])[turn.clamp(max=3)]
        return logits + 4 * nn.functional.one_hot(said, len(VOCABULARY)), (seen, turn + 1)

    def path(self, seen: Tensor) -> Tensor:
        return seen


class Quiet(Decoder):
    @torch.no_grad()
    def step(self, tokens: Tensor, state: Any) -> Any:
        return super().step(tokens, state)


class Cut(Decoder):
    def path(self, seen: Tensor) -> Tensor:
        return torch.tensor(seen.tolist())


def captioner(decoder: Decoder) -> CnnLstmCaptioner:
    return CnnLstmCaptioner(Colours().eval(), decoder, VOCABULARY, prepare, start=0, end=1, blank=(0.5, 0.5, 0.5))


def test_a_step_under_no_grad_is_explained_all_the_same() -> None:
    why, plain = (vlx.explain(captioner(decoder.eval()), picture()) for decoder in (Quiet(), Decoder()))
    assert why.text == "red and green"
    for one, other in zip(why, plain, strict=True):
        np.testing.assert_allclose(one.signed, other.signed, atol=1e-7)
    assert why["red"].heatmap[RED].sum() > 0.7 * why["red"].heatmap.sum() > 0
    assert why["green"].heatmap[GREEN].sum() > 0.7 * why["green"].heatmap.sum() > 0
    assert why["and"].notes == (assemble.UNUSED,)
    assert why.notes == plain.notes
    assert f"{assemble.UNUSED} (and)" in why.notes


def test_only_the_words_that_are_cut_are_named() -> None:
    with pytest.raises(ModelError, match="no gradient comes through to 'red', 'green', …, though"):
        vlx.explain(captioner(Cut().eval()), picture())
    why = vlx.explain(captioner(Cut().eval()), picture(), method="occlusion")
    assert why["red"].heatmap[RED].sum() > 0.7 * why["red"].heatmap.sum() > 0
    assert why["green"].heatmap[GREEN].sum() > 0.5 * why["green"].heatmap.sum() > 0  # of parts, which overlap its rim
    assert not why["and"].weights.any()
    assert why["and"].notes == (assemble.UNUSED,)
    assert f"{assemble.NO_WEIGHTS} (red, green)" in why.notes


def test_what_is_flat_is_said_to_be_flat() -> None:
    class Closed(Net):
        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = (self.body(x).mean((2, 3)) - 20).relu() - torch.arange(3)
            return scores

    task = Classifier(Closed().eval(), "body", COLOURS, prepare, outputs="softmax")
    assert vlx.explain(task, picture())[0].notes == (assemble.FLAT,)
    assert vlx.explain(task, picture(), method="occlusion")[0].notes == (assemble.UNHIDDEN,)


def test_hiding_nothing_is_not_no_dependence() -> None:
    why = vlx.explain(classifier(), Image.new("RGB", (128, 128), (128, 128, 128)), method="occlusion")
    assert why[0].notes == (assemble.UNHIDDEN,)


def test_a_files_nan_weights_come_back(tmp_path: Any) -> None:
    why = vlx.explain(classifier("detach"), picture(), method="occlusion")
    for name in ("why.h5", "why.html", "why.json", "why.md", "why.png"):
        why.save(tmp_path / name)
    assert np.isnan(vlx.Explanation.load(tmp_path / "why.h5")[0].weights).all()
    assert "NaN" not in (tmp_path / "why.json").read_text().replace("(NaN)", "")


def test_maps_are_not_measured_where_there_are_none() -> None:
    from vlx.evaluation.shown import by_default, maps_of
    from vlx.protocol.targets import Target, Term

    task = classifier("detach")
    features, target = task.features(prepare(picture())[None]), Target(0, "red", (Term(0, 0),), "logit")
    for ask in (lambda: list(maps_of(task, features, [target])), lambda: by_default(task, features, [target])):
        with pytest.raises(NoGradient, match="no gradient comes through to 'red'"):
            ask()

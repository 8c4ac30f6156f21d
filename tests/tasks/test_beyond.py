"""Policies, clips, signals and texts: their maps are those of the user's own model, their cells where they lie."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.beyond import CLIP, FRAMES, OBSERVED, SIGNAL, TOKENS, frame, head, shown, task_of
from vlx.errors import InputError, ModelError, VlxError
from vlx.tasks import beyond
from vlx.tasks.beyond import Policy, Signal, Video, Words
from vlx.tasks.beyond.fields import along, by_gradient
from vlx.tasks.beyond.unfolded import Line, Reel

NAMES = ("policy", "video", "signal", "text")


def by_hand(net: nn.Module, layer: nn.Module, inputs: Tensor, answer: int) -> tuple[Tensor, Tensor]:
    """A [K, …] and the gradient of a logit by autograd on the user's own model, straight."""
    kept: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _m, _i, out: kept.append(out))
    score = net(inputs)[0, answer]
    handle.remove()
    return kept[0][0].detach(), torch.autograd.grad(score, kept[0])[0][0]


def asked(name: str) -> tuple[Any, Any, Tensor, nn.Module]:
    """A task in float64, what it is shown, the model's own inputs, and the layer, all by other ways than the task's."""
    task, picture = shown(task_of(name))
    task.model.double()
    inputs = {
        "policy": lambda: torch.from_numpy(OBSERVED)[None] / 255,
        "video": lambda: torch.stack([frame(one) for one in map(image, CLIP)], 1)[None],
        "signal": lambda: -3 + torch.from_numpy(np.rint((SIGNAL + 3) / 6 * 255))[None] / 255 * 6,
        "text": lambda: torch.from_numpy(TOKENS)[None],
    }[name]()
    return task, picture, inputs if name == "text" else inputs.double(), task.model.get_submodule(task.layer)


def image(pixels: Any) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam"])
@pytest.mark.parametrize("name", NAMES)
def test_a_map_is_that_of_the_users_own_model(name: str, method: str) -> None:
    task, picture, inputs, layer = asked(name)
    why = vlx.explain(task, picture, answer=task.labels[1], method=method, target="logit", seen=False, check=False)
    A, G = by_hand(task.model, layer, inputs, 1)
    places = tuple(range(1, A.ndim))
    expected = {
        "gradcam": (G.mean(places, keepdim=True) * A).sum(0),
        "hirescam": (G * A).sum(0),
        "layercam": (G.relu() * A).sum(0),
    }[method]
    if name == "video":  # each of the four moments is shown by two frames, half of it by each
        expected = expected.repeat_interleave(2, 0).flatten(0, 1) / 2
    assert np.allclose(why[0].signed, expected.reshape(why[0].signed.shape), rtol=1e-4, atol=1e-9)
    assert np.abs(why[0].signed).max() > 1e-5
    assert why[0].score == pytest.approx(float(task.model(inputs)[0, 1].detach()), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_trusted_kept_and_is_tried(name: str, tmp_path: Path) -> None:
    task, picture = shown(task_of(name))
    if name == "video":  # cells are tried with patches of four pixels and more
        picture = task.picture(CLIP.repeat(2, 1).repeat(2, 2))
    assert task.self_test(picture, cells=16).failed == ()
    why = vlx.explain(task, picture)
    assert why[0].seen is not None
    assert why[0].check is not None
    why.save(tmp_path / "why.h5")
    again = vlx.Explanation.load(tmp_path / "why.h5")
    assert np.array_equal(again[0].signed, why[0].signed)
    assert np.array_equal(again[0].heatmap, why[0].heatmap)
    assert "<html" in why.save(tmp_path / "why.html").read_text(encoding="utf-8")


# Where cells lie


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(5, 2, 2, 1), (3, 1, 0, 1), (8, 4, 0, 1), (3, 1, 2, 2), (4, 3, 1, 1), (1, 1, 0, 1)],
)
def test_fields_along_a_line_are_those_of_the_layers(kernel: int, stride: int, padding: int, dilation: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(1, 8, kernel, stride, padding, dilation), nn.ReLU(), nn.MaxPool1d(2))
    with torch.no_grad():
        found = along(net, torch.zeros(1, 1, 96), 2)
    assert found.offset == (kernel - 1) / 2 * dilation - padding + stride / 2
    assert (found.stride, found.source) == (2 * stride, "tried")


def test_fields_in_a_clip_are_those_of_the_layers_on_every_axis() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(2, 8, (3, 5, 7), (1, 2, 3), (1, 2, 0)), nn.ReLU(), nn.MaxPool3d((2, 1, 1)))
    found = by_gradient(net, torch.zeros(1, 2, 16, 24, 40), (2, 3, 4))
    assert [(one.offset, one.stride, one.source) for one in found] == [
        (0.5, 2, "tried"),
        (0, 2, "tried"),
        (3, 3, "tried"),
    ]


def test_what_reads_everything_has_no_place_of_its_own_and_says_so() -> None:
    weights = torch.randn(24, 24, generator=torch.Generator().manual_seed(0))
    found = along(lambda x: x @ weights, torch.zeros(1, 1, 24), 2)
    assert found.source == "half-pixel (assumed)"

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.judge = nn.Linear(24, 24), nn.Linear(2, 3)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.judge(self.mix(x).relu().mean(2))
            return logits

    task = Signal(Mixed().eval(), "mix", span=(-3, 3), channels=2)
    assert any("is assumed, not tried" in note for note in vlx.explain(task, task.picture(SIGNAL[:, :24])).notes)


def test_a_unit_and_a_moment_lie_where_they_fire() -> None:
    """One lit pixel in one frame: the map is on it, in its frame and no other, whatever the stride in time."""
    net = nn.Sequential(nn.Conv3d(3, 1, (2, 2, 2), 2), nn.Flatten(), nn.Linear(4 * 8 * 8, 2))
    for weights in net.parameters():
        nn.init.constant_(weights, float(weights.ndim > 1))
    task = Video(net.eval(), "0", ["a", "b"], frame, frames=FRAMES)
    clip = np.zeros((FRAMES, 16, 16, 3), np.uint8)
    clip[5, 10:12, 4:6] = 255
    why = vlx.explain(task, task.picture(clip), answer="a", method="hirescam", target="logit", seen=False, check=False)
    cells = why[0].signed.reshape(FRAMES, 8, 8)
    assert {tuple(map(int, place)) for place in np.argwhere(cells > 1e-6)} == {(4, 5, 2), (5, 5, 2)}  # one moment
    assert why.placement.centre_of(5 * 8 + 5, 2) == (5 * 16 + 10.5, 4.5)


# Planted: what lies elsewhere is seen by the self-test


class Backwards(Reel):
    def found(self, *given: Any) -> Any:
        made = super().found(*given)
        self._moments = self._moments.flip(0)
        return made


class Aside(Line):
    def found(self, *given: Any) -> Any:
        grid, notes = super().found(*given)
        return type(grid)((0.0, grid.offset[1] + 3 * grid.stride[1]), grid.stride, grid.shape, grid.size), notes


ASIDE = Aside(nn.Identity())


@pytest.mark.parametrize(("name", "wrong"), [("video", Backwards(FRAMES)), ("signal", ASIDE), ("text", ASIDE)])
def test_moments_backwards_and_cells_aside_fail_the_self_test(name: str, wrong: Any) -> None:
    task, picture = shown(task_of(name))
    if name == "video":
        picture = task.picture(CLIP.repeat(2, 1).repeat(2, 2))
    task._tracer = wrong
    assert "patch probe" in {row.name for row in task.self_test(picture, cells=16).failed}


# A policy's frames


def test_a_picture_by_itself_stands_in_all_frames_and_a_moment_is_the_stack() -> None:
    policy = task_of("policy")
    now, newest = shown(policy)
    assert torch.equal(now.prepare(newest), torch.from_numpy(OBSERVED).float() / 255)
    assert torch.equal(policy.prepare(newest), policy.prepare(newest)[:1].expand(4, -1, -1))
    assert torch.equal(now.prepare(newest.rotate(180)), policy.prepare(newest.rotate(180)))
    assert "the last of 4 frames is shown" in " ".join(vlx.explain(now, newest).notes)
    assert "nothing moves" in " ".join(vlx.explain(policy, newest).notes)
    assert not np.array_equal(vlx.explain(policy, newest)[0].signed, vlx.explain(now, newest)[0].signed)


# What is refused


class Remembers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.state = nn.Conv2d(4, 6, 3, 2, 1), nn.GRUCell(6, 6)
        self.act = nn.Linear(6, 3)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        logits: Tensor = self.act(self.state(self.cnn(x).relu().mean((2, 3)), state))
        return logits


def test_a_model_with_a_state_is_refused_until_it_is_bound() -> None:
    torch.manual_seed(0)
    net, state = Remembers().eval(), torch.zeros(1, 6)
    with pytest.raises(ModelError, match=r"has a state \(GRUCell\).*call=lambda model, x: model\(x, state\.expand"):
        Policy(net, "cnn")
    policy = Policy(net, "cnn", call=lambda model, x: model(x, state.expand(len(x), -1)))
    now = policy.seeing(OBSERVED)
    assert vlx.explain(now, now.picture)[0].signed.shape == (12, 12)


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (OBSERVED[:3], "3 frames were given, 4 are wanted"),
        (OBSERVED / 255, r"frames are uint8 \[T, H, W\].*\* 255"),
        ([image(OBSERVED[0]), image(OBSERVED[0]), image(OBSERVED[0]), image(OBSERVED[0, :20])], "of one size"),
        (image(OBSERVED[0]), "pictures in a list"),
    ],
)
def test_frames_that_are_none_are_refused(frames: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        task_of("policy").seeing(frames)


def test_a_picture_that_is_no_clip_is_refused() -> None:
    task = task_of("video")
    for picture in (image(CLIP[0]), image(CLIP[0, :30])):
        with pytest.raises(InputError, match=r"is no reel of 8 frames: give task\.picture\(frames\)"):
            vlx.explain(task, picture)


def test_time_that_is_gone_before_the_map_is_refused_by_name() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn, self.judge = nn.Conv2d(3 * FRAMES, 4, 3, 2, 1), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.judge(self.cnn(x.flatten(1, 2)).relu().mean((2, 3)))
            return logits

    task = Video(Flat().eval(), "cnn", None, frame, frames=FRAMES)
    with pytest.raises(ModelError, match=r"no map \[B, K, t, h, w\]: name a layer where these are not yet gone"):
        vlx.explain(task, task.picture(CLIP))


def test_rows_that_do_not_share_out_a_frame_are_refused() -> None:
    net = nn.Sequential(nn.Conv3d(3, 4, (1, 9, 9)), *head(4, 3)).eval()
    task = Video(net, "0", None, frame, frames=FRAMES)
    with pytest.raises(ModelError, match="do not share out the 16 rows of a frame: name a layer with padding"):
        vlx.explain(task, task.picture(CLIP))


def test_signals_and_texts_that_are_none_are_refused() -> None:
    signal, text = task_of("signal"), task_of("text")
    for given, told in ((SIGNAL[0], r"a signal is \[2, L\]"), (SIGNAL * 9, "goes from .*; give a span around it")):
        with pytest.raises(InputError, match=told):
            signal.picture(given)
    with pytest.raises(InputError, match="goes from nan"):
        signal.picture(np.full((2, 60), np.nan))
    for given, told in ((TOKENS + 700, "numbered 0 to 699"), (TOKENS / 2, "numbers of its tokens")):
        with pytest.raises(InputError, match=told):
            text.picture(given)
    with pytest.raises(InputError, match="the lowest and the highest"):
        Signal(signal.model, "3", span=(1, -1))


def test_a_transformer_of_texts_is_refused_by_name() -> None:
    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.judge = nn.Embedding(700, 8), nn.Linear(8, 2)
            self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, tokens: Tensor) -> Tensor:
            logits: Tensor = self.judge(self.block(self.embed(tokens)).mean(1))
            return logits

    task = Words(Transformer().eval(), "block", size=700)
    with pytest.raises(ModelError, match=r"mixes all positions \(MultiheadAttention\)"):
        vlx.explain(task, task.picture(TOKENS))


def test_layers_that_may_be_chosen_are_those_with_places_of_their_own() -> None:
    assert list(task_of("video").layers()) == ["0", "1", "2", "3"]
    assert task_of("signal").layers()["0"] == (1, 64)
    task, picture = shown(task_of("text"))
    with pytest.raises(ModelError, match=r"Reads has no layer 'cnov'; close: conv"):
        vlx.explain(task, picture, method="gradcam@cnov")
    for method in ("guided", "integrated-gradients"):
        with pytest.raises(ModelError, match="a text has no gradients in pixels"):
            vlx.explain(task, picture, method=method)


def test_units_that_come_last_are_found_by_trying() -> None:
    """An embedding gives [B, n, K]; HiResCAM there is gradient × embedding, word by word."""
    task, picture = shown(task_of("text"))
    task.model.double()
    why = vlx.explain(task, picture, method="hirescam@embed", target="logit", answer="bad", seen=False, check=False)
    A, G = by_hand(task.model, task.model.embed, torch.from_numpy(TOKENS)[None], 1)
    assert np.allclose(why[0].signed[0], (A * G).sum(1), rtol=1e-5, atol=1e-10)
    assert "A was [B, n, K]" in " ".join(vlx.explain(Words(task.model, "embed", size=700), picture).notes)


def test_refusals_are_short_and_adapters_too() -> None:
    for name in beyond.__all__:
        lines = inspect.getsource(getattr(beyond, name)).splitlines()
        assert len([line for line in lines if line.strip()]) <= 60, name
    with pytest.raises(VlxError) as refused:
        Policy(Remembers().eval(), "cnn")
    assert len(str(refused.value)) < 300

"""Ablation-CAM and Score-CAM against slow loops written from their formulas, and where they must not differ."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.fakes import captioner, picture
from tests.patchy import Patchy
from vlx import scenes
from vlx.errors import InputError
from vlx.evaluation.shown import by_default
from vlx.methods import engine, registry
from vlx.methods.ablation import drops
from vlx.methods.method import Method, Site
from vlx.methods.scorecam import scorecam, shown_alone
from vlx.protocol.targets import Query, Target, Term, sentence_target, word_target
from vlx.protocol.task import Features, Task
from vlx.selftest import trusting
from vlx.selftest.checks import Subject
from vlx.selftest.guests import guests
from vlx.tasks.classification import Classifier


class Below(nn.Module):
    """Pictures [B, 3, 12, 12] → A [B, 6, 4, 4]: unit 4 is silent and unit 5 the same in every cell."""

    varies: Tensor
    same: Tensor

    def __init__(self, signed: bool) -> None:
        super().__init__()
        self.conv, self.signed = nn.Conv2d(3, 6, 3, 3), signed
        self.register_buffer("varies", torch.tensor([1.0, 1, 1, 1, 0, 0]).view(1, 6, 1, 1))
        self.register_buffer("same", torch.tensor([0.0, 0, 0, 0, 0, 0.7]).view(1, 6, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        A: Tensor = self.conv(pictures) + 0.6
        made: Tensor = (A if self.signed else A.relu()) * self.varies + self.same
        return made


class Net(nn.Module):
    """A classifier of three classes whose score is not linear in A."""

    def __init__(self, signed: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.below = Below(signed)
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(96, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.below(pictures))
        return logits


def classified(dtype: torch.dtype, signed: bool = False) -> tuple[Task, Net, Tensor, list[Target]]:
    net = Net(signed).eval().to(dtype)
    inputs = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(1)).to(dtype)
    task = Classifier(net, layer="below", prepare=lambda image: inputs[0], labels=["a", "b", "c"])
    pairs = [(1, 2, "logprob"), (0, 0, "logit"), (1, 0, "prob"), (0, 1, "logit")]
    return task, net, inputs, [Target(row, str(c), (Term(0, c),), kind) for row, c, kind in pairs]  # type: ignore[arg-type]


def read(logits: Tensor, target: Target) -> float:
    ways = {"logit": lambda y: y, "logprob": lambda y: y.log_softmax(-1), "prob": lambda y: y.softmax(-1)}
    return float(ways[target.kind](logits)[target.terms[0].token])


def slow_ablation(net: Net, inputs: Tensor, target: Target) -> Tensor:
    A = net.below(inputs[target.row : target.row + 1]).detach()
    before, S = read(net.fc(A)[0], target), torch.zeros_like(A[0, 0])
    for k in range(A.shape[1]):
        without = A.clone()
        without[0, k] = 0
        S += (before - read(net.fc(without)[0], target)) * A[0, k]
    return S


def slow_score(net: Net, inputs: Tensor, target: Target) -> Tensor:
    x = inputs[target.row]
    A = net.below(x[None])[0].detach()
    rises = []
    for unit in A:
        wide = torch.zeros(12, 12).to(A)
        for y in range(12):
            for x_ in range(12):
                v, u = y * 3 / 11, x_ * 3 / 11
                i, j = min(int(v), 2), min(int(u), 2)
                top = unit[i, j] * (1 - (u - j)) + unit[i, j + 1] * (u - j)
                low = unit[i + 1, j] * (1 - (u - j)) + unit[i + 1, j + 1] * (u - j)
                wide[y, x_] = top * (1 - (v - i)) + low * (v - i)
        flat = unit.max() == unit.min()
        mask = torch.zeros_like(wide) if flat else (wide - wide.min()) / (wide.max() - wide.min())
        rises.append(read(net(x[None] * mask)[0], target) - read(net(0 * x[None])[0], target))
    weights = torch.tensor(rises, dtype=torch.float64).softmax(0)
    shares = [float(w) * unit for w, unit in zip(weights, A, strict=True) if unit.max() > unit.min()]
    return torch.stack(shares).sum(0)


@pytest.mark.parametrize("signed", [False, True], ids=["rectified", "signed"])
@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_maps_are_those_of_the_formula_whichever_picture_a_target_is_of(
    dtype: torch.dtype, off: float, signed: bool
) -> None:
    task, net, inputs, targets = classified(dtype, signed)
    site, there = Site.of(task, task.features(inputs), targets, inputs)
    for name, slow in (("ablationcam", slow_ablation), ("scorecam", slow_score)):
        found = registry.choose(name).attributed(task, site, there)
        with torch.no_grad():
            known = torch.stack([slow(net, inputs, target) for target in targets])
        torch.testing.assert_close(found.signed, known, rtol=0, atol=off, check_dtype=True)
        alpha = engine.gradients(task, site.features.A, there, site.features.rest)[1].mean((2, 3))
        torch.testing.assert_close(found.weights, alpha)
        assert found.depends.all()


def test_what_speaks_against_is_the_drop_turned_round() -> None:
    task, _, inputs, targets = classified(torch.float64)
    site, there = Site.of(task, task.features(inputs), targets, inputs)
    ablation, score = registry.choose("ablationcam"), registry.choose("scorecam")
    of_drops = ablation.attributed(task, site, there)
    turned = [
        replace(target, terms=tuple(replace(term, weight=-term.weight) for term in target.terms)) for target in there
    ]
    torch.testing.assert_close(of_drops.opposed, -of_drops.signed)
    torch.testing.assert_close(of_drops.opposed, ablation.attributed(task, site, turned).signed)
    total = torch.stack([drops(task, site.row(one.row).features, [replace(one, row=0)]).abs().sum() for one in there])
    shares = of_drops.opposed / total[:, None, None]
    torch.testing.assert_close(score.attributed(task, site, there).opposed, shares)
    assert ablation.linear
    assert not score.linear
    assert not torch.allclose(score.attributed(task, site, turned).signed, -score.attributed(task, site, there).signed)


def one_row(task: Task) -> tuple[Features, Tensor, list[Target]]:
    shown = task.prepare(picture())
    features = task.features(task.place(shown[None]))
    said = task.predict(features, [Query()])[0]
    targets = [word_target(said, n, 0, "logprob") for n in range(len(said.words))]
    return features, shown, [*targets, sentence_target(said, 0)]


@pytest.mark.parametrize(
    "task", [captioner("attention"), captioner("in place"), Patchy()], ids=["attention", "in place", "classifier"]
)
def test_a_budget_of_one_map_gives_the_same_weights(task: Any) -> None:
    features, _, targets = one_row(task)
    site, there = Site.of(task, features, targets)
    whole = drops(task, site.features, there)
    torch.testing.assert_close(drops(task, site.features, there, budget=1), whole, rtol=1e-4, atol=1e-6)
    assert whole.shape == (len(targets), features.A.shape[1])
    torch.testing.assert_close(whole[:-1].sum(0), whole[-1], rtol=1e-4, atol=1e-5)  # a sentence is the sum of its words


def test_units_that_are_silent_are_not_asked_and_all_words_share_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    task = captioner()
    features, _, targets = one_row(task)
    A = features.A.clone()
    A[0, 2] = 0
    asked: list[int] = []
    started = task.decoder.start

    def counted(seen: Tensor) -> Any:
        asked.append(len(seen))
        return started(seen)

    monkeypatch.setattr(task.decoder, "start", counted)
    weights = drops(task, replace(features, maps={features.layer: A}), targets)
    assert sum(asked) == 1 + int(A[0].flatten(1).any(1).sum()) < 1 + A.shape[1]  # one a unit that fires, and A itself
    assert not weights[:, 2].any()
    assert weights[:, [0, 1, 3, 4]].any()


def test_the_most_active_units_are_the_only_ones_that_are_shown() -> None:
    task, _, inputs, targets = classified(torch.float64)
    there = [replace(target, row=0) for target in targets if target.row == 0]
    site, there = Site.of(task, task.features(inputs[:1]), there, inputs[:1])
    active = site.features.A[0].mean((1, 2)).argsort(descending=True)
    assert 5 in active[:3]  # the one that is the same everywhere counts as blank among them
    weights = shown_alone(task, site, there, units=3)
    kept = [k for k in active[:3].tolist() if k != 5]
    assert weights.any(0).nonzero()[:, 0].tolist() == sorted(kept)
    every = shown_alone(task, site, there)
    torch.testing.assert_close(
        weights[:, kept[0]] / weights[:, kept[1]], every[:, kept[0]] / every[:, kept[1]], rtol=1e-9, atol=0
    )
    assert (weights.sum(1) < 1).all()
    torch.testing.assert_close(shown_alone(task, site, there, units=99), every)


def test_it_is_known_by_its_own_name_and_refuses_no_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_OWN", {})
    task = captioner()
    why = vlx.explain(task, picture(), method=scorecam(units=2), seen=False, check=False)
    assert why.method == "scorecam-2"
    assert registry.choose("Score-CAM 2").name == "scorecam-2"
    wrong: Any
    for wrong in (0, -1, 2.5, "all"):
        with pytest.raises(InputError, match=r"must be a number from 1; leave it out to take them all"):
            scorecam(units=wrong)
    features, _, targets = one_row(task)
    with pytest.raises(InputError, match=r"^scorecam shows the model other pictures, and this site has none"):
        registry.choose("scorecam").attributed(task, Site(features), targets)


def test_a_score_that_nothing_moves_has_no_map_and_says_so() -> None:
    task, scene = vlx.load("scenes/captioner"), scenes.draw(10_000_021)
    said = "a red car in a desert"

    class Deaf(Wrapped):
        def scores(self, A: Tensor, targets: Any, rest: Any = None) -> Tensor:
            scores: Tensor = self.task.scores(torch.zeros_like(A), targets, rest)
            return scores

    for name in ("ablationcam", "scorecam"):
        deaf: Any = Deaf(task)
        why = vlx.explain(deaf, scene.image, caption=said, method=name, seen=False, check=False)
        assert all(not word.signed.any() for word in why), name
        assert not any(word.opposed.any() for word in why), name


class Wrapped:
    """Another task, with something of its own."""

    def __init__(self, task: Any) -> None:
        self.task = task
        for name in ("name", "kind", "defaults", "notes", "blank", "prepare"):
            setattr(self, name, getattr(task, name))
        self.place, self.version, self.features, self.predict = task.place, task.version, task.features, task.predict


def test_no_gradient_is_needed() -> None:
    class Cut(Wrapped):
        @torch.no_grad()
        def scores(self, A: Tensor, targets: Any, rest: Any = None) -> Tensor:
            values = self.task.scores(A, targets, rest).detach().numpy()
            return torch.from_numpy(values.copy())

    plain = captioner()
    cut: Any = Cut(plain)
    for name in ("ablationcam", "scorecam"):
        asked: dict[str, Any] = {"method": name, "seen": False, "check": False}
        why, known = (vlx.explain(one, picture(), **asked) for one in (cut, plain))
        np.testing.assert_allclose(why[0].signed, known[0].signed, atol=1e-4)
        assert np.isnan(why[0].weights).all()
        assert "importance weights are not known" in " ".join(why.notes + why[0].notes)


@pytest.mark.parametrize("name", ["ablationcam", "scorecam"])
def test_several_pictures_at_once_are_each_as_alone(name: str) -> None:
    task, pictures = captioner(), [picture(n) for n in range(3)]
    for why, image in zip(
        vlx.explain_many(task, pictures, method=name, seen=False, check=False), pictures, strict=True
    ):
        alone = vlx.explain(task, image, method=name, seen=False, check=False)
        assert why.text == alone.text
        for word, known in zip(why, alone, strict=True):
            np.testing.assert_allclose(word.signed, known.signed, atol=1e-3 * np.abs(known.signed).max())


def test_a_text_that_meets_the_picture_in_one_stream_is_explained_by_both() -> None:
    hf = pytest.importorskip("transformers")
    assert int(hf.__version__.split(".")[0]) >= 5
    from vlx.tasks.huggingface import tiny
    from vlx.tasks.vqa.vilt import adapter

    task = adapter(*tiny.build("vilt"), name="vilt")
    image = scenes.draw(10_000_021, size=64).image
    for name in ("ablationcam", "scorecam"):
        why = vlx.explain(task, image, question="is there a car?", method=name, seen=False)
        assert why[0].signed.shape == why.placement.grid.shape
        assert np.isfinite(why[0].signed).all()
        assert why[0].signed.any()


def test_a_model_whose_default_shows_it_other_pictures_is_tested_and_measured() -> None:
    task, image = captioner(), picture()
    task.defaults = replace(task.defaults, method="scorecam")
    prediction, features = (guest := guests(task, image, Query())[0]).prediction, guest.features
    case = Subject(task, image, guest.inputs, Query(), features, prediction, features, guest.targets)
    inputs = guest.inputs[None]
    known = registry.choose("scorecam").attributed(task, Site(features, inputs), guest.targets).signed
    found = trusting._maps(case, guest.targets)
    assert found is not None
    np.testing.assert_allclose(found, known.double().numpy(), atol=1e-6)
    torch.testing.assert_close(by_default(task, features, guest.targets, inputs).signed, known)


def test_both_are_methods_beside_the_gradients_not_among_them() -> None:
    task = captioner()
    assert not {"ablationcam", "scorecam"} & {method.name for method in registry.compared(task)}
    for name in ("ablationcam", "scorecam", "Ablation-CAM", "Score CAM"):
        method = registry.choose(name)
        assert isinstance(method, Method)
        assert method.on_cells
        assert not method.gradient

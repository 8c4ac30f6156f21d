"""Reasons on a model where all is known: pooled features and one linear layer; every share has a closed form."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

import vlx
from tests.fakes import captioner, picture
from vlx.errors import InputError, WordNotFound
from vlx.explanation.reasons import Because, Check
from vlx.language import is_content
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.neuron_names.table import NeuronNames, UnitName
from vlx.pictures.placement import Grid
from vlx.probes.because import reasons_for
from vlx.probes.names_wish import NamesWish
from vlx.protocol.targets import Reads, Target, Term
from vlx.protocol.task import Defaults, Features

K, CELLS = 40, (5, 6)
GRID = Grid.half_pixel(CELLS, (50, 60))
WORD = Target(0, "dog", (Term(0, 1),), "logit")


class Pooled:
    """Logits = W · mean(A) + b."""

    name, kind, defaults = "pooled", "classification", Defaults("gradcam", "logit", "batched")

    def __init__(self, W: Tensor, b: float = 0.3) -> None:
        self.W, self.b = W, b

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        reads = Reads.of(targets)
        logits = A.mean((2, 3)) @ self.W.T + self.b
        return reads.combine(logits[[targets[n].row for n, _ in reads.pairs]])


def world(seed: int = 0) -> tuple[Pooled, Features]:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(1, K, *CELLS, generator=generator, dtype=torch.float64).relu()
    A[:, 30:] *= 0.2  # below the threshold everywhere: silent
    W = torch.randn(3, K, generator=generator, dtype=torch.float64)
    return Pooled(W), Features({"conv": A}, "conv", GRID)


def table(names: Sequence[str], threshold: float | None = 0.9, **about: Any) -> NeuronNames:
    listed = tuple(
        (UnitName(unit, name, "object", 0.1 + unit / 1000, 0.1, threshold=threshold),) if name else ()
        for unit, name in enumerate(names)
    )
    return NeuronNames(listed, {"layer": "conv", **about})


NAMES = [f"c{unit % 7}" if unit % 5 else "" for unit in range(K)]


def explain(task: Any, features: Features, names: NeuronNames, target: Target = WORD, **options: Any) -> Because:
    method = METHODS[options.pop("method", "gradcam")]
    maps = engine.attribute(task, features.A, [target], method).signed.numpy()
    likely = replace(target, kind="logprob")
    return reasons_for(task, features, [target], [likely], maps, method, NamesWish(names, **options))[0]


def test_contributions_add_up_to_the_logit_less_its_bias_and_to_what_switching_off_takes() -> None:
    task, features = world()
    why = explain(task, features, table(["x"] * 30 + ["silent"] * 10), iou=-1)
    logit = float(task.scores(features.A, [WORD])[0])
    active = [reason for reason in why.reasons if reason.kind != "absence"]
    silent = float((task.W[1, 30:] * features.A[0, 30:].mean((1, 2))).sum())
    assert sum(reason.contribution for reason in active) == pytest.approx(logit - 0.3 - silent)
    for reason in active:
        off = features.A.clone()
        off[0, list(reason.units)] = 0
        assert logit - float(task.scores(off, [WORD])[0]) == pytest.approx(reason.contribution)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_shares_of_the_map_add_up_to_one(method: str) -> None:
    task, features = world()
    why = explain(task, features, table(NAMES), method=method, check=False)
    assert sum(reason.share for reason in why.reasons) + why.unnamed == pytest.approx(1)
    # Said otherwise: what has no name owns what is left of the map.
    _, gradient = engine.gradients(cast(Any, task), features.A, [WORD])
    whole = METHODS[method].map(features.A, gradient)[0]
    named = sorted(unit for reason in why.reasons for unit in reason.units)
    rest = [unit for unit in range(K) if unit not in named]
    left = METHODS[method].map(features.A[:, rest], gradient[:, rest])[0]
    assert float(left[whole > 0].sum() / whole[whole > 0].sum()) == pytest.approx(why.unnamed, abs=1e-9)


def test_units_of_one_name_are_one_reason_and_its_sign_decides_the_kind() -> None:
    task, features = world()
    why = explain(task, features, table(NAMES), check=False)
    alpha = task.W[1] / (CELLS[0] * CELLS[1])
    active = (features.A[0] > 0.9).flatten(1).any(1)
    for reason in why.of("because"):
        wanted = [k for k in range(K) if NAMES[k] == reason.concept and active[k] and alpha[k] > 0]
        assert list(reason.units) == wanted
        assert reason.weight == pytest.approx(float(alpha[wanted].sum()))
        assert reason.iou == pytest.approx(0.1 + max(wanted) / 1000)
    assert {k for r in why.of("despite") for k in r.units} == {
        k for k in range(K) if NAMES[k] and active[k] and alpha[k] < 0
    }
    kinds = [reason.kind for reason in why.reasons]
    assert kinds == sorted(kinds, key=["because", "despite", "absence"].index)


def test_coverage_is_the_share_of_the_evidence_that_has_a_name() -> None:
    task, features = world()
    why = explain(task, features, table(NAMES), check=False)
    c = task.W[1] * features.A[0].mean((1, 2))
    named = [unit for reason in why.of("because") for unit in reason.units]
    assert why.coverage == pytest.approx(float(c[named].sum() / c.clamp(min=0).sum()))
    assert sum(r.portion for r in why.of("because")) == pytest.approx(why.coverage)
    assert sum(r.portion for r in why.of("despite")) == pytest.approx(why.coverage_against)
    assert explain(task, features, table([""] * K)).coverage == 0


def test_absences_are_of_silent_units_whose_concept_is_not_there() -> None:
    task, features = world()
    names = [*NAMES[:30], *[f"s{unit}" if unit % 2 else "c1" for unit in range(30, K)]]
    why = explain(task, features, table(names), check=False)
    found = {reason.concept for reason in why.of("absence")}
    assert found
    assert found <= {f"s{unit}" for unit in range(30, K) if task.W[1, unit] < 0}, "c1 is there; what is for it is not"


def test_the_papers_rule_takes_five_units_from_either_end_of_alpha() -> None:
    task, features = world()
    features.A[:, 30:] *= 20
    why = explain(task, features, table([f"u{unit}" for unit in range(K)]), rule="alpha", check=False)
    order = task.W[1].argsort().tolist()
    assert {k for r in why.of("because") for k in r.units} == set(order[-5:])
    assert {k for r in why.of("despite") for k in r.units} == set(order[:5])


def test_units_taken_by_alpha_that_contribute_to_the_other_side_carry_nothing() -> None:
    class Uneven(Pooled):
        def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
            weights = torch.ones_like(A)
            weights[:, 0] = torch.tensor([3.0 if cell % 2 else -1.0 for cell in range(30)]).reshape(CELLS)
            return super().scores(A * weights, targets, rest)

    task, features = world()
    uneven = Uneven(task.W)
    uneven.W[1, 0] = 9.0
    features.A[0, 0] = torch.tensor([0.0 if cell % 2 else 2.0 for cell in range(30)]).reshape(CELLS)
    why = explain(uneven, features, table(["odd", *NAMES[1:]]), rule="alpha", check=False)
    odd = next(reason for reason in why.of("because") if reason.concept == "odd")
    assert odd.weight > 0 > odd.contribution
    assert odd.portion == 0
    assert 0 <= why.coverage <= 1
    assert sum(reason.portion for reason in why.of("because")) == pytest.approx(why.coverage)


def test_a_planted_reason_matters_and_a_planted_rumour_does_not() -> None:
    task, features = world()
    task.W.mul_(0.05)
    task.W[1, 3], task.W[1, 8] = 25.0, 20.0
    why = explain(task, features, table(["fur" if unit in (3, 8) else "" for unit in range(K)]))
    assert why.check is not None
    assert why.check.matters
    assert why.check.rank == 1
    assert why.tested == why.check.units == (3, 8)
    assert why.check.effect >= 0.9 * why.check.before > 4
    rumour = explain(task, features, table(["rumour" if unit in (4, 9, 12) else "" for unit in range(K)]))
    assert rumour.check is not None
    assert rumour.of("because")
    assert not rumour.check.matters
    assert "not shown to matter" in str(rumour)


def test_only_more_than_every_random_set_matters() -> None:
    check = Check((1, 2), 9.0, 1.2, 0.001, (0.1,) * 19 + (1.1,), size=2, predicted=1.0)
    assert (check.rank, check.matters) == (1, True)
    assert not replace(check, effect=1.1).matters, "no more than one of them"
    assert not replace(check, effect=-0.1, random=(-0.5,) * 20).matters, "it gained"
    assert replace(check, random=tuple(np.linspace(0, 1, 41))).interval == pytest.approx((0.025, 0.975))


def test_the_units_tested_are_those_that_the_sentence_names_and_random_sets_are_shared_by_all_words() -> None:
    task, features = world()
    targets = [replace(WORD, terms=(Term(0, token),)) for token in range(3)]
    likely = [replace(target, kind="logprob") for target in targets]
    maps = np.zeros((3, *CELLS))
    asked: list[Tensor] = []

    class Watched(Pooled):
        def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
            if not A.requires_grad:
                asked.append(A.detach().clone())
            return super().scores(A, targets, rest)

    found = reasons_for(
        cast(Any, Watched(task.W)),
        features,
        targets,
        likely,
        maps,
        METHODS["gradcam"],
        NamesWish(table([f"d{unit % 17}" for unit in range(K)])),
    )
    silent_rows = [tuple(map(tuple, (A.abs().sum((2, 3)) == 0).tolist())) for A in asked]
    off = [row for rows in silent_rows for row in rows]
    for why in found:
        named = {unit for reason in why.of("because")[:3] for unit in reason.units}
        assert set(why.tested) == named
        assert why.check is not None
        assert set(why.check.units) == named
        assert all(reason.concept in why.sentence for reason in why.of("because")[:3])
        A = features.A.clone()
        A[0, sorted(named)] = 0
        own = next(one for one, because in zip(likely, found, strict=True) if because is why)
        before, after = (float(task.scores(x, [own])[0]) for x in (features.A, A))
        assert why.check.logprob == pytest.approx(before - after)
    largest = max(len(why.tested) for why in found)
    sizes = {why.check.size for why in found if why.check is not None}
    assert sizes == {largest}
    alone = sum(min(len(why.of("because")), 3) + min(len(why.of("despite")), 1) for why in found)
    assert len(off) <= 1 + 20 + 3 + alone, "a random set is one row of A for all words"
    # A random set is of active units that speak for the words together.
    added = np.stack([(task.W[token] * features.A[0].mean((1, 2))).numpy() for token in range(3)])
    active = (features.A[0] > 0.9).flatten(1).any(1).numpy()
    share = np.where(active, added, 0)
    share /= np.abs(share).sum(1, keepdims=True)
    able = set(np.flatnonzero(share.sum(0) > 0))
    drawn = [frozenset(np.flatnonzero(np.array(row) & active)) for row in off if sum(np.array(row) & active) == largest]
    tested = {frozenset(why.tested) for why in found}
    random = [one for one in drawn if one not in tested]
    assert len(random) >= 15
    assert all(one <= able for one in random)


def test_effects_are_of_log_odds_and_reasons_stand_by_what_they_contribute() -> None:
    task, features = world()
    task.W[1] += 1
    why = explain(task, features, table(NAMES))
    contributions = [reason.contribution for reason in why.of("because")]
    assert contributions == sorted(contributions, reverse=True)
    assert [reason.effect is not None for reason in why.of("because")] == [n < 3 for n in range(len(contributions))]
    for reason in why.of("because")[:3]:
        off = features.A.clone()
        off[0, list(reason.units)] = 0
        p = [task.scores(A, [replace(WORD, kind="prob")]).item() for A in (features.A, off)]
        wanted = np.log(p[0] / (1 - p[0])) - np.log(p[1] / (1 - p[1]))
        assert reason.effect == pytest.approx(wanted)


def test_a_contrast_is_judged_by_how_far_it_leads() -> None:
    task, features = world()
    contrast = replace(WORD, terms=(Term(0, 1), Term(0, 2, -1.0)))
    why = explain(task, features, table(NAMES), contrast)
    assert why.check is not None
    lead = task.scores(features.A, [contrast]).item()
    assert why.check.before == pytest.approx(lead)
    off = features.A.clone()
    off[0, list(why.check.units)] = 0
    assert why.check.effect == pytest.approx(lead - task.scores(off, [contrast]).item())
    assert "its lead goes from" in str(why.check)
    assert "log p" not in str(why.check)


def test_the_check_is_the_same_every_time() -> None:
    task, features = world()
    first, second = (explain(task, features, table(NAMES)) for _ in range(2))
    assert first.check == second.check
    assert str(first) == str(second)


@pytest.mark.parametrize(
    ("about", "names", "message"),
    [
        ({}, ["x"] * 39, r"has 39 units, layer 'conv' of .* has 40.*vlx dissect"),
        ({"layer": "conv4", "model_hash": "1"}, ["x"] * K, r"is for layer 'conv4'.*explained at 'conv': vlx dissect"),
        ({"layer": "conv4"}, ["x"] * K, r"is for layer 'conv4'.*explained at 'conv': vlx dissect"),
    ],
)
def test_another_table_is_refused(about: dict[str, Any], names: list[str], message: str) -> None:
    task, features = world()
    with pytest.raises(InputError, match=message):
        explain(task, features, table(names, **about))


def test_other_weights_are_refused_and_a_table_without_a_hash_is_noted() -> None:
    task: Any = captioner()
    names = [(UnitName(unit, "dog", "object", 0.2, 0.2, threshold=0.0),) for unit in range(5)]
    about = {"layer": "cnn", "model": "tiny", "model_hash": captioner(seed=1).digest()}
    with pytest.raises(InputError, match=r"made for other weights \(tiny cnn\)"):
        vlx.explain(task, picture(), names=NeuronNames(tuple(names), about))
    own = vlx.explain(task, picture(), names=NeuronNames(tuple(names), {**about, "model_hash": task.digest()}))
    assert own[0].because is not None
    assert own[0].because.notes == ()
    assert not any("cannot be told" in note for note in own.notes)
    other = vlx.explain(task, picture(), names=NeuronNames(tuple(names), {}))
    assert other[0].because is not None
    assert "cannot be told" in other[0].because.notes[0]
    assert sum("cannot be told" in note for note in other.notes) == 1


def test_every_word_has_its_because_and_files_keep_them(tmp_path: Path) -> None:
    task = vlx.load("scenes/captioner")
    why = vlx.explain(task, vlx.scenes.draw(10_000_021).image, names="shipped", words="all")
    assert all(word.because is not None for word in why)
    assert why.sentence.because is None
    for ending in ("h5", "json"):
        again = vlx.Explanation.load(why.save(tmp_path / f"why.{ending}"))
        for word, same in zip(why, again, strict=True):
            assert word.because is not None
            assert same.because is not None
            assert str(word.because) == str(same.because)
            assert word.because.check == same.because.check
            for one, other in zip(word.because.reasons, same.because.reasons, strict=True):
                assert {**one.to_dict(), "map": 0} == {**other.to_dict(), "map": 0}
                assert np.array_equal(one.map, other.map)


def test_function_words_have_no_reasons_unless_asked_for() -> None:
    task, image = vlx.load("scenes/captioner"), vlx.scenes.draw(10_000_021).image
    usual = vlx.explain(task, image, names="shipped", check=False)
    told = [word.label for word in usual if word.because is not None]
    assert told == [word.label for word in usual if is_content(word.label)]
    assert 0 < len(told) < len(usual)
    first = vlx.explain(task, image, names="shipped", check=False, words=[0, "desert"])
    assert [n for n, word in enumerate(first) if word.because is not None] == [0, len(first) - 1]
    assert first[0].because is not None
    assert first[0].because.word == "a"
    with pytest.raises(WordNotFound, match="words='zebra' is not there"):
        vlx.explain(task, image, names="shipped", words=["zebra"])
    none = vlx.explain(task, image, caption="a", names="shipped")
    assert none[0].because is None


def test_an_answer_has_reasons_whatever_word_it_is() -> None:
    task: Any = vlx.load("scenes/vqa")
    why = vlx.explain(task, vlx.scenes.draw(10_000_021).image, question="is there a car?", answer="no", names="shipped")
    assert why[0].because is not None
    assert why[0].because.check is not None
    assert all(other[0].because is not None for other in why.others)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": "shipped", "by": "size"}, r"by='size'; known are contribution, pooled, alpha"),
        ({"names": "shipped", "off": "half"}, r"off='half'; known are zero, mean"),
        ({"names": "no/such.h5"}, r"no/such.h5"),
        ({"names": True}, r"names=True; give a table of names, the path of one, 'shipped', or None"),
        ({"names": ["a.h5"]}, r"names=\['a.h5'\]; give a table"),
        ({"names": ""}, r"names=''; give a table"),
        ({"names": "shipped"}, r"no table of names came with tiny.*vlx dissect tiny"),
    ],
)
def test_bad_wishes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vlx.explain(captioner(), picture(), **options)


def test_units_are_switched_off_to_their_mean_where_the_table_has_it() -> None:
    task, features = world()
    with pytest.raises(InputError, match=r"does not hold the units' mean activations"):
        explain(task, features, table(NAMES), off="mean")
    picture = vlx.scenes.draw(10_000_021).image
    zero, mean = (
        vlx.explain(vlx.load("scenes/captioner"), picture, names="shipped", off=off)[3].because
        for off in ("zero", "mean")
    )
    assert zero is not None
    assert mean is not None
    assert zero.check is not None
    assert mean.check is not None
    assert zero.check.units == mean.check.units
    assert zero.check.before == mean.check.before
    assert zero.check.effect != mean.check.effect


def test_a_reason_may_merely_repeat_the_word() -> None:
    task, features = world()
    task.W[1] = task.W[1].abs()
    names = ["dogs" if unit % 2 else "fur" for unit in range(K)]
    why = explain(task, features, table(names), check=False)
    assert {reason.concept: reason.repeats for reason in why.of("because")} == {"dogs": True, "fur": False}

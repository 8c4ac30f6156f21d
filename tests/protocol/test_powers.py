"""What a task may do besides is told by signatures: a name alone is nobody's promise."""

import gc
import weakref
from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.answerers import vqa
from tests.fakes import captioner, picture
from tests.patchy import Meeting, Patchy
from tests.protocol.test_protocol import Outsider
from vlx.errors import InputError
from vlx.methods import engine
from vlx.protocol import Query, Target, Term, meet, powers_of
from vlx.protocol import powers as protocols
from vlx.protocol.powers import MEMBERS, Sees
from vlx.protocol.signatures import fit


def having(**members: Any) -> Any:
    """An outsider's task with members of its own."""
    return type("Mine", (Outsider,), members)()


def named(task: Any) -> list[str]:
    powers = powers_of(task)
    return [name for name in MEMBERS if getattr(powers, name) is not None]


def test_vlx_own_adapters_have_the_powers_that_they_write() -> None:
    seen = ["sees", "identified", "scoped", "stocked", "layered"]
    assert named(captioner()) == ["restarts", "sees", "identified", "contrasts", "scoped", "stocked", "layered"]
    assert named(vqa()) == [*seen[:2], "hears", *seen[2:]]
    assert named(Patchy()) == ["attends"]
    assert named(Meeting()) == ["meets", "attends"]
    assert named(Outsider()) == []
    task = captioner()
    assert powers_of(task).restarts
    assert powers_of(task).vocabulary == task.vocabulary
    assert powers_of(task).besides == {"others": "the tokens that are no cells"}
    assert powers_of(Outsider()).besides == {}


class Mine(Outsider):
    """All of the names, and none of the meanings."""

    digest = "a summary of what it is"
    vocabulary = 12
    besides = ("a tuple",)
    head_is_vision = "yes"
    sample_question = 7
    shallow = True
    stock = ("apples", "pears")

    def begin(self) -> None:
        raise AssertionError

    scores_from = begin

    def see(self, path: str) -> None:
        raise AssertionError

    def attend(self, meeting: object, when: object) -> None:
        raise AssertionError

    def meet(self, somebody: object) -> None:
        raise AssertionError

    def scope(self) -> None:
        raise AssertionError

    def shortened(self) -> str:
        raise AssertionError

    def rather(self, not_: object) -> None:
        raise AssertionError

    @property
    def revision(self) -> str:
        raise RuntimeError("only after a commit")


def test_names_of_the_users_own_are_left_alone() -> None:
    powers = powers_of(Mine())
    assert named(Mine()) == []
    assert (powers.vocabulary, powers.sample_question, powers.revision) == (None, None, None)
    assert (powers.besides, powers.head_is_vision) == ({}, False)
    why, plain = (vlx.explain(task, picture(), occlusion=True) for task in (Mine(), Outsider()))
    assert why.text == plain.text
    assert (why[0].signed == plain[0].signed).all()
    assert why.scope == ()


def test_who_asks_for_them_is_told_what_they_are_not() -> None:
    with pytest.raises(InputError, match=r"^outsider has a see\(path\) of its own and no see\(inputs\), which Guided"):
        vlx.explain(Mine(), picture(), guided=True)
    with pytest.raises(InputError, match=r"^outsider has no see\(\), which Guided Grad-CAM needs; leave"):
        vlx.explain(Outsider(), picture(), guided=True)
    with pytest.raises(
        InputError, match=r"has a rather\(not_\) of its own and no rather\(prediction, .*, which a contrast"
    ):
        vlx.explain(Mine(), picture(), instead_of={"bright": "dark"})


def test_a_self_test_leaves_them_alone_too() -> None:
    from vlx.selftest.run import self_test

    mine, plain = (str(self_test(cast(Any, task), picture(), cells=4)) for task in (Mine(), Outsider()))
    assert mine == plain


Member = Callable[..., Any]


def passed_on(function: Member) -> Member:
    @wraps(function)
    def outer(*given: Any, **more: Any) -> Any:
        return function(*given, **more)

    return outer


class Net(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


@pytest.mark.parametrize(
    ("member", "wanted"),
    [
        (lambda inputs: ..., "fits"),
        (lambda x: ..., "fits"),
        (lambda images, scale=1: ..., "fits"),
        (lambda *given: ..., "fits"),
        (partial(lambda scale, inputs: ..., 2), "fits"),
        (passed_on(lambda inputs: ...), "fits"),
        (Net(), "fits"),
        (nn.MultiheadAttention(4, 1), "other"),
        (lambda path: ..., "may"),
        (lambda: ..., "other"),
        (lambda inputs, scale: ..., "other"),
        (lambda *, inputs: ..., "other"),
        (passed_on(lambda path: ...), "may"),
        (len, "may"),
        (dict, "other"),
        ("inputs", "other"),
        (None, "other"),
    ],
)
def test_what_may_be_called_with_pictures(member: Any, wanted: str) -> None:
    assert fit(member, Sees.see) == wanted
    assert fit(member, Sees.see) == wanted  # as it is remembered


def annotated(name: str, type_: Any, returned: Any = Tensor) -> Any:
    """A function of one parameter with these annotations."""
    function: Any = eval(f"lambda {name}: None")
    function.__annotations__ = {name: type_, "return": returned}
    return function


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (annotated("canvas", Tensor), "fits"),
        (annotated("canvas", nn.Parameter), "fits"),
        (annotated("canvas", object), "may"),
        (annotated("inputs", "Nowhere"), "fits"),
        (annotated("x", str), "other"),
        (annotated("inputs", Path), "other"),
        (annotated("inputs", Tensor, bool), "other"),
        (annotated("inputs", Tensor, None), "other"),
        (annotated("inputs", Tensor, Any), "fits"),
    ],
)
def test_annotations_tell_where_names_do_not(function: Any, wanted: str) -> None:
    assert fit(function, Sees.see) == wanted


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"begin": lambda self, A: A, "scores_from": lambda self, state, targets: state},
            r"^outsider: vlx calls begin\(A, rest\) and scores_from\(state, targets\), which begin\(A\) cannot take; "
            r"give it these parameters, or rename what is your own$",
        ),
        (
            {"begin": lambda self, A, rest: A, "scores_from": lambda self, state: state},
            r"which scores_from\(state\) cannot take",
        ),
        ({"attend": lambda self, A, targets: A}, r"vlx calls attend\(A, targets, rest\), which attend\(A, targets\) "),
        ({"attend": lambda self, A, targets, *, more: A}, r"which attend\(A, targets, \*, more\) cannot take"),
        (
            {"meet": lambda self, features, texts, device: features},
            r"which meet\(features, texts, device\) cannot take",
        ),
    ],
)
def test_a_power_that_is_clearly_meant_is_refused_by_name(members: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        vlx.explain(having(**members), picture())
    assert len(str(caught.value)) < 300


def test_of_a_pair_one_may_have_names_of_its_own() -> None:
    assert named(having(begin=lambda self, A, rest=None: A, scores_from=lambda self, s, t: s)) == ["restarts"]
    assert named(having(begin=lambda self, one, two: one, scores_from=lambda self, s, t: s)) == []


def test_single_letters_are_tensors_or_nothing() -> None:
    assert named(having(attend=lambda self, A, t, r: A)) == ["attends"]
    own = {"scope": lambda self, x, y, z: x, "stock": lambda self, s, d: s, "rather": lambda self, a, b, c: a}
    assert named(having(**own)) == []


def test_half_a_pair_is_no_power() -> None:
    assert named(having(begin=lambda self, A, rest=None: A)) == []
    assert named(having(begin=lambda self, A, rest=None: A, scores_from="below")) == []


def test_a_class_that_changes_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    task = having(see=lambda self, inputs: inputs)
    assert named(task) == ["sees"]
    monkeypatch.setattr(type(task), "see", lambda self, path: path)
    assert named(task) == []
    task.see = lambda inputs: inputs
    assert named(task) == ["sees"]
    task.__class__ = Outsider
    assert named(task) == ["sees"]
    del task.see
    assert named(task) == []


def test_nothing_keeps_a_task_alive() -> None:
    def seen() -> weakref.ref[Any]:
        task = having(see=lambda self, inputs: inputs)
        task.shallow = lambda inputs: task.see(inputs)
        assert named(task) == ["sees", "shallow"]
        return weakref.ref(task)

    gone = seen()
    gc.collect()
    assert gone() is None


def test_a_sample_question_is_what_the_self_test_asks() -> None:
    class Choosy(Meeting):
        sample_question = "which way is up?"
        asked: list[str | None] = []  # noqa: RUF012

        def predict(self, features: Any, queries: Sequence[Query]) -> Any:
            self.asked.extend(query.question for query in queries)
            return super().predict(features, queries)

    task = Choosy()
    from vlx.selftest.run import self_test

    self_test(cast(Any, task), picture(), cells=4)
    assert task.asked[0] == "which way is up?"
    assert all(str(asked).startswith("which way is") for asked in task.asked)


# Where a text is met


def test_targets_are_met_a_row_for_each_text() -> None:
    task = Meeting()
    features = task.features(torch.rand(2, 3, 12, 16))
    texts = [(1, (3, 1)), (0, (3, 1)), (1, (2,)), (1, (3, 1))]
    targets = [Target(row, "", (Term(0, 1),), "logit", tokens) for row, tokens in texts]
    site, own = meet(task, features, targets)
    assert site.layer == "mixed"
    assert [target.row for target in own] == [0, 1, 2, 0]
    for target, there in zip(targets, own, strict=True):
        alone = task.meet(features, [(target.row, target.tokens)]).A[0]
        assert torch.equal(site.A[there.row], alone)
    assert engine.ask(task, features, targets).tolist() == task.scores(site.A, own).tolist()


def test_a_task_that_meets_nothing_is_explained_at_its_features() -> None:
    task = captioner()
    features = task.features(torch.rand(1, 3, 16, 16))
    target = Target(0, "", (Term(0, 1),), tokens=(1,))
    site, own = meet(task, features, [target])
    assert site is features
    assert own == [target]


def test_every_member_is_documented_with_an_example() -> None:
    for name, members in MEMBERS.items():
        (power,) = {one.__qualname__.split(".")[0] for one in members}
        assert ">>>" in (getattr(protocols, power).__doc__ or ""), name
        assert all(one.__doc__ for one in members)

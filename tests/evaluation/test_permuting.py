"""A copy of a model loses the places of its weights, block by block; the user's own model loses nothing."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from tests.explanation.test_map_check import Colours, colours, squares, whole
from tests.fakes import captioner, picture
from vlx.errors import InputError
from vlx.evaluation.permuting import Block, PermutedCopy, networks_of, permuted
from vlx.protocol.targets import Query, Target, word_target
from vlx.tasks.classification import Classifier


def copied(task: Any, image: Any = None) -> PermutedCopy:
    inputs, targets = _asked(task, squares(0, 1) if image is None else image)
    return PermutedCopy(task, inputs, targets)


def _asked(task: Any, image: Any) -> tuple[Tensor, Sequence[Target]]:
    inputs = task.prepare(image)[None]
    (said,) = task.predict(task.features(task.place(inputs)), [Query()])
    return inputs, [word_target(said, n, 0, "logit") for n in range(len(said.words))]


def state(task: Any) -> dict[str, Tensor]:
    return {f"{name}.{own}": one.clone() for name, net in networks_of(task) for own, one in net.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_only_the_weights_of_the_asked_blocks_change_and_come_back() -> None:
    task = captioner()
    copy = copied(task, picture())
    before, own = state(copy.task), state(task)
    first, second = copy.blocks[0], copy.blocks[1]
    assert first.name == "decoder"
    for blocks in ([first], [second], [first, second]):
        with copy.permuted(blocks) as other:
            assert other is copy.task
            moved = changed(before, state(other))
            assert moved
            assert moved <= {name for block in blocks for name, _ in block.weights}
            assert all(any(name in moved for name, _ in block.weights) for block in blocks)
            for name in moved:
                torch.testing.assert_close(
                    state(other)[name].flatten().sort().values, before[name].flatten().sort().values
                )
        assert not changed(before, state(copy.task))
    assert not changed(own, state(task))


def test_weights_come_back_after_an_error() -> None:
    copy = copied(captioner(), picture())
    before = state(copy.task)
    with pytest.raises(KeyError), copy.permuted(copy.blocks):
        raise KeyError
    assert not changed(before, state(copy.task))


def test_every_tensor_has_an_order_of_its_own_and_the_same_at_every_run() -> None:
    weights = torch.arange(60.0).view(6, 10)
    assert torch.equal(permuted("a", weights), permuted("a", weights))
    assert not torch.equal(permuted("a", weights), permuted("b", weights))
    assert sorted(permuted("a", weights).flatten().tolist()) == weights.flatten().tolist()
    assert all(not torch.equal(permuted(str(n), torch.eye(2)), torch.eye(2)) for n in range(20))
    assert torch.equal(permuted("a", torch.ones(3)), torch.ones(3))
    state = torch.get_rng_state()
    permuted("c", weights)
    assert torch.equal(state, torch.get_rng_state())


def test_blocks_stand_head_first_then_stage_by_stage() -> None:
    torch.manual_seed(0)
    resnet = Classifier(torchvision.models.resnet18(num_classes=5).eval(), "layer4", outputs="softmax")
    names = [block.name for block in copied(resnet).blocks]
    assert names == ["model.fc", "model.layer4", "model.layer3", "model.layer2", "model.conv1–layer1"]
    weights = [name for block in copied(resnet).blocks for name, _ in block.weights]
    assert sorted(weights) == sorted(f"model.{name}" for name, _ in resnet.model.named_parameters())
    names = [block.name for block in copied(captioner(), picture()).blocks]
    assert names[0] == "decoder"
    assert names[1:] == sorted(names[1:], reverse=True)


def test_what_stands_behind_a_is_told_by_what_it_moves_and_not_by_its_place() -> None:
    class Odd(Colours):
        def __init__(self) -> None:
            super().__init__()
            body, head = self.body, self.head
            del self.body, self.head, self.conv
            self.head, self.unused, self.body = head, nn.Linear(2, 2), body

    copy = copied(Classifier(Odd().eval(), "body", ["red", "green", "blue"], whole, outputs="softmax"))
    assert [block.name for block in copy.blocks] == ["model.head", "model.body.0"]
    assert copy.still == ("model.unused",)


def test_tied_weights_are_permuted_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = nn.Linear(3, 3), nn.Linear(3, 3)
            self.outer.weight = self.inner.weight
            self.conv = nn.Conv2d(3, 3, 8, 8)

        def forward(self, images: Tensor) -> Tensor:
            return self.outer(self.inner(self.conv(images).mean((2, 3))).relu())  # type: ignore[no-any-return]

    torch.manual_seed(0)
    copy = copied(Classifier(Tied().eval(), "conv", prepare=whole, outputs="softmax"))
    names = [name for block in copy.blocks for name, _ in block.weights]
    assert [name for name in names if name.endswith("weight")] == ["model.inner.weight", "model.conv.weight"]


def test_what_cannot_be_copied_is_refused_by_name() -> None:
    task: Any = captioner()
    task.lock = threading.Lock()
    with pytest.raises(InputError, match=r"^tiny cannot be copied, and only a copy's weights may be permuted \(TypeE"):
        copied(task, picture())
    shared: Any = captioner()
    shared.cnn.__class__.__deepcopy__ = lambda self, memo: self
    try:
        with pytest.raises(InputError, match=r"may be permuted: its copy shares weights with it$"):
            copied(shared, picture())
    finally:
        del shared.cnn.__class__.__deepcopy__


def test_networks_in_a_closure_are_refused_and_stay_as_they_are() -> None:
    inner: Any = captioner()

    class Outside:
        """A task whose networks are those of a closure, beside one that does nothing."""

        name, kind, notes, defaults, blank = "outside", inner.kind, (), inner.defaults, inner.blank

        def __init__(self) -> None:
            self.prepare, self.place, self.version = inner.prepare, lambda x: x, lambda: 0
            self.features, self.predict = (lambda x: inner.features(x)), (lambda f, q: inner.predict(f, q))
            self.scores, self.idle = (lambda A, targets, rest=None: inner.scores(A, targets, rest)), nn.Linear(2, 2)

    before = state(inner)
    with pytest.raises(
        InputError, match=r"^outside: its copy answers the same whatever its weights; .* as attributes$"
    ):
        copied(Outside(), picture())
    bare: Any = Outside()
    del bare.idle
    with pytest.raises(InputError, match=r"^outside holds no nn\.Module with weights: there is nothing of it to perm"):
        copied(bare, picture())
    assert not changed(before, state(inner))


def test_networks_are_found_wherever_a_task_keeps_them() -> None:
    class Holder:
        def __init__(self, one: Any) -> None:
            self.one = one

    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert [name for name, _ in networks_of(Holder({"a": [net]}))] == ["one.a.0"]
    assert [name for name, _ in networks_of(Holder(Holder(net.forward)))] == ["one.one"]
    assert networks_of(Holder((net[0], net))) == [("one.1", net)]
    assert networks_of(Holder((net, net[0]))) == [("one.0", net)]
    assert networks_of(Holder(nn.ReLU())) == []


def test_several_modules_are_called_by_the_first_and_the_last() -> None:
    assert Block(("cnn.a.0", "cnn.a.1", "cnn.a.2"), ()).name == "cnn.a.0–2"
    assert Block(("cnn.a", "cnn.b.1"), ()).name == "cnn.a–cnn.b.1"
    assert Block(("cnn",), ()).name == "cnn"


def test_the_copy_answers_as_the_model_does() -> None:
    task = colours()
    copy = copied(task)
    inputs, targets = _asked(task, squares(1, 2))
    seen = [(one, one.features(inputs)) for one in (task, copy.task)]
    torch.testing.assert_close(*(one.scores(there.A, targets, there.rest) for one, there in seen))

"""One contract over the whole table of adapters: what `vlx.protocol.task.Task` promises holds for each of them.

The table is made of what vlx can load: embedded models, a bundle folder, torchvision, every family of transformers that
has a tiny model, and an outsider's adapter. A new one is held to it as soon as it stands in its own table.
"""

import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vlx
from tests import beyond
from tests.answerers import ANSWERS, WORDS
from tests.fakes import picture, prepare, tiny_bundle
from tests.protocol.test_state import unchanged
from vlx.errors import InputError, ModelError, VlxError
from vlx.methods import engine
from vlx.models import EMBEDDED
from vlx.pictures.placement import Grid
from vlx.protocol.nested import nested, tensors
from vlx.protocol.powers import meet, powers_of
from vlx.protocol.targets import GradientWay, Prediction, Query, Reads, Target, Term, word_target
from vlx.protocol.task import Defaults, Features, Task
from vlx.tasks.beyond import Video
from vlx.tasks.classification import torchvision
from vlx.tasks.huggingface import tiny
from vlx.tasks.huggingface.chat import ChatTask
from vlx.tasks.huggingface.loading import wrap
from vlx.tasks.shared.answers import Answers, answered
from vlx.tasks.vqa import CnnLstmVqa

PICTURES = (picture(1), picture(2))
QUESTIONS = ("what color is the house?", "is there a boat?")
OTHERS = ("folder", "tokens", "torchvision", "image classifier", "outsider", "policy", "video", "signal", "text")
NAMES = (*EMBEDDED, *OTHERS, *tiny.FAMILIES)
WAYS: tuple[GradientWay, ...] = ("rows", "batched", "loop")
FEW = 3  # words of each picture whose gradients are compared


class Outsider:
    """Bright or dark, told from four units and the picture's corner: all that an adapter needs."""

    name, kind, defaults = "outsider", "classification", Defaults("hirescam", "logit", "batched")
    notes, blank, prepare = (), (0.5, 0.5, 0.5), staticmethod(prepare)

    def __init__(self) -> None:
        self.cnn, self.head = nn.Conv2d(3, 4, 4, 4).eval(), nn.Linear(4, 2).eval()

    def place(self, inputs: Tensor) -> Tensor:
        return inputs.to(self.cnn.weight)

    def version(self) -> Any:
        return [(t.data_ptr(), t._version) for net in (self.cnn, self.head) for t in net.parameters()]

    def features(self, inputs: Tensor) -> Features:
        if self.cnn.training or self.head.training:
            raise ModelError("outsider: a part is in training mode; call eval() first")
        A = self.cnn(inputs).relu().detach()
        return Features({"cnn": A}, "cnn", Grid.half_pixel((4, 4), (16, 16)), rest=inputs[:, 0, 0, :1])

    def predict(self, features: Features, queries: Any) -> list[Prediction]:
        if any(query.caption is not None or query.question is not None for query in queries):
            raise InputError("the outsider takes no caption and no question; name a class with answer=…")
        table = self.table(features.A, features.rest).detach()
        labels = Answers(["dark", "bright"], self.name)
        return [answered(row, labels, query) for row, query in zip(table, queries, strict=True)]

    def scores(self, A: Tensor, targets: Any, rest: Any = None) -> Tensor:
        reads = Reads.of(targets)
        return reads.combine(self.table(A, rest)[[targets[n].row for n, _ in reads.pairs]])

    def table(self, A: Tensor, rest: Tensor) -> Tensor:
        return torch.mul(2, self.head(A.mean((2, 3)) + rest))


class Tokens(nn.Module):
    """Pictures [B, 3, 16, 16] → a token of the whole picture and those of its 16 patches, [B, 17, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.whole = nn.Conv2d(3, 6, 4, 4), nn.Linear(3, 6)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.whole(x[:, :, 0, 0])[:, None], self.patches(x).flatten(2).transpose(1, 2)], 1)


class Reader(nn.Module):
    """A head that reads the token of the whole picture as much as the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.answers = nn.Embedding(len(WORDS), 6, padding_idx=0), nn.Linear(6, len(ANSWERS))

    def forward(self, A: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        seen = torch.tanh(A[:, 0] + A[:, 1:].mean(1)) * (1 + self.words(tokens).sum(1))
        return torch.mul(3, self.answers(seen))


@dataclass(frozen=True, eq=False)
class Case:
    """A task, and what it says of two pictures at once. Not to be changed: `changed` is a copy for that."""

    task: Any

    @property
    def changed(self) -> Any:
        return deepcopy(self.task)

    @cached_property
    def inputs(self) -> Tensor:
        return self.placed(self.task)

    @cached_property
    def features(self) -> Features:
        return self.task.features(self.inputs)  # type: ignore[no-any-return]

    @cached_property
    def queries(self) -> list[Query]:
        return [Query(question=one if self.task.kind == "vqa" else None) for one in QUESTIONS]

    @cached_property
    def said(self) -> list[Prediction]:
        return self.task.predict(self.features, self.queries)  # type: ignore[no-any-return]

    @cached_property
    def targets(self) -> list[Target]:
        return [word_target(one, n, row, "logprob") for row, one in enumerate(self.said) for n in range(len(one.words))]

    def placed(self, task: Any, *shown: Any) -> Tensor:
        return task.place(torch.stack([task.prepare(image) for image in shown or PICTURES]))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def cases(tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    @cache
    def case(name: str) -> Case:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Case(made(name))

    def made(name: str) -> Any:
        if name in tiny.FAMILIES:
            pytest.importorskip("transformers")
            return vlx.load(tiny_folder(name))
        if name == "folder":
            return weighted(vlx.load(tiny_bundle(tmp_path_factory.mktemp("bundle"))), 1.5)
        if name == "tokens":
            return CnnLstmVqa(Tokens().eval(), Reader().eval(), WORDS, ANSWERS, prepare, outputs="softmax", unknown=1)
        if name == "torchvision":
            return torchvision.load("squeezenet1_1", weights=None)
        if name == "image classifier":
            return image_classifier()
        if name in ("policy", "video", "signal", "text"):
            return sharp(beyond.task_of(name))
        return Outsider() if name == "outsider" else vlx.load(name)

    return case


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, cases: Callable[[str], Case]) -> Case:
    return cases(request.param)


def image_classifier() -> Any:
    """A ViT of transformers with four classes."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=4, initializer_range=0.2)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    return wrap(transformers.ViTForImageClassification(config).eval(), processor)


def sharp(task: Any) -> Any:
    """The same task with a last layer that tells the two pictures apart, untrained as it is."""
    last = [one for one in task.model.modules() if isinstance(one, nn.Linear)][-1]
    with torch.no_grad():
        for _ in range(2):  # half their difference becomes 1, their mean 0
            logits = task.features(Case(task).inputs).rest["logits"]
            last.weight /= (logits - logits.mean(0)).abs().max()
            last.bias.sub_(task.features(Case(task).inputs).rest["logits"].mean(0))
    return task


def networks(task: Any) -> list[nn.Module]:
    """The networks that a task holds. A preparation of torchvision's is a module, too, without weights."""
    parts = [part for part in vars(task).values() if isinstance(part, nn.Module)]
    return [part for part in parts if next(part.parameters(), None) is not None]


def weighted(task: Any, factor: float = 1.2) -> Any:
    """The same task with other weights, changed in place."""
    with torch.no_grad():
        for network in networks(task):
            for weights in network.parameters():
                weights.mul_(factor)
    return task


def replaced(task: Any) -> Any:
    """The same task with one parameter of each network replaced by another of the same values."""
    for network in networks(task):
        owner = next(module for module in network.modules() if next(module.parameters(recurse=False), None) is not None)
        name, weights = next(iter(owner.named_parameters(recurse=False)))
        setattr(owner, name, nn.Parameter(weights.detach().clone()))
    return task


def can_be(copied: Callable[[Any], Any], *parts: nn.Module) -> bool:
    """Whether the networks by themselves can be copied so: transformers hangs hooks on LLaVA when it first runs."""
    try:
        return bool([copied(part) for part in parts])
    except (AttributeError, pickle.PicklingError):
        return False


def arranged(features: Features, *rows: int) -> Features:
    """The features of some pictures of a batch, in that order."""
    maps, rest = nested(lambda tensor: tensor[list(rows)], (features.maps, features.rest))
    return replace(features, maps=maps, rest=rest)


def same(one: Prediction, other: Prediction) -> None:
    """Assert that two predictions say the same, and what else could have been said there."""
    assert (one.text, one.tokens, one.forced, one.notes) == (other.text, other.tokens, other.forced, other.notes)
    for word, wanted in zip(one.words, other.words, strict=True):
        assert (word.label, word.terms, word.notes, word.choices) == (
            wanted.label,
            wanted.terms,
            wanted.notes,
            wanted.choices,
        )
        assert word.logprob == pytest.approx(wanted.logprob, abs=1e-4)
        assert [one.label for one in word.alternatives] == [one.label for one in wanted.alternatives]
        likely = [one.logprob for one in wanted.alternatives]
        assert [one.logprob for one in word.alternatives] == pytest.approx(likely, abs=1e-4)


def test_it_has_what_the_protocol_asks_for(case: Case) -> None:
    task, features = case.task, case.features
    members = [name for name in (*Task.__annotations__, *vars(Task)) if not name.startswith("_")]
    assert {"name", "kind", "blank", "prepare", "features", "predict", "scores"} <= {*members}
    assert [name for name in members if not hasattr(task, name)] == []
    assert task.kind in ("captioning", "vqa", "classification")
    assert isinstance(task.defaults, Defaults)
    assert all(isinstance(note, str) for note in task.notes)
    assert len(task.blank) == 3
    assert all(0 <= level <= 1 for level in task.blank)
    assert task.prepare(PICTURES[0]).ndim == 3
    assert features.A.shape[0] == len(PICTURES)
    assert features.A.shape[2:] == features.grid.shape
    assert features.A.isfinite().all()
    assert not any(tensor.requires_grad for tensor in tensors((features.maps, features.rest)))
    assert {len(tensor) for tensor in tensors((features.maps, features.rest))} == {len(PICTURES)}
    for one in case.said:
        assert one.words
        assert all(word.label and word.terms for word in one.words)
        assert all(word.alternatives[0].logprob == max(o.logprob for o in word.alternatives) for word in one.words)


def test_a_batch_of_two_is_two_of_one(case: Case) -> None:
    for row, image in enumerate(PICTURES):
        alone = case.task.features(case.placed(case.task, image))
        wanted = arranged(case.features, row)
        torch.testing.assert_close(alone.A, wanted.A, rtol=1e-4, atol=1e-5)
        for one, other in zip(tensors(alone.rest), tensors(wanted.rest), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        same(case.task.predict(alone, [case.queries[row]])[0], case.said[row])


def test_log_p_under_teacher_forcing_is_that_of_what_was_said(case: Case) -> None:
    found = engine.ask(case.task, case.features, case.targets).tolist()
    assert found == pytest.approx([word.logprob for one in case.said for word in one.words], abs=2e-4)


def test_the_rows_of_a_batch_do_not_read_each_other(case: Case) -> None:
    task, features, targets = case.task, case.features, case.targets
    wanted = engine.ask(task, features, targets)
    turned = [replace(target, row=1 - target.row) for target in targets]
    torch.testing.assert_close(engine.ask(task, arranged(features, 1, 0), turned), wanted, rtol=0, atol=2e-4)
    torch.testing.assert_close(engine.ask(task, features, targets[::-1]).flip(0), wanted, rtol=0, atol=2e-4)
    for row in range(len(PICTURES)):
        own = [replace(target, row=0) for target in targets if target.row == row]
        found = engine.ask(task, arranged(features, row), own)
        torch.testing.assert_close(found, wanted[[t.row == row for t in targets]], rtol=0, atol=2e-4)
    swapped = engine.ask(task, features, turned)
    assert float((swapped - wanted).abs().max()) > 0.01, "the pictures are too alike to tell rows apart"


def test_gradients_are_those_of_a_plain_backward_in_all_three_ways(case: Case) -> None:
    said = [target for row in range(2) for target in [one for one in case.targets if one.row == row][:FEW]]
    site, targets = meet(case.task, case.features, said)
    with torch.enable_grad():
        A = site.A.clone().requires_grad_()
        scores = case.task.scores(A, targets, site.rest)
        whole = [torch.autograd.grad(score, A, retain_graph=True)[0] for score in scores]
    wanted = torch.stack([one[target.row] for one, target in zip(whole, targets, strict=True)])
    assert wanted.flatten(1).any(1).all()
    assert all(bool(one.flatten(1).any(1).sum() == 1) for one in whole)  # no other row than its own
    scale = float(wanted.abs().max())
    for way in WAYS:
        found, gradient = engine.gradients(case.task, site.A, targets, site.rest, way=way)
        torch.testing.assert_close(found, scores.detach(), rtol=0, atol=2e-4)
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-4 * scale)


def test_a_part_in_training_mode_is_refused(case: Case) -> None:
    task = case.changed
    assert networks(task)
    for network in networks(task):
        for part in (network, [*network.modules()][-1]):
            part.training = True
            with pytest.raises(ModelError, match=r"training mode; call .*eval\(\)"):
                task.features(case.inputs)
            part.training = False
    same(task.predict(task.features(case.inputs), case.queries)[0], case.said[0])


def test_nothing_is_left_behind(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    task = case.changed
    shown = task.picture([PICTURES[0]] * task.frames) if isinstance(task, Video) else PICTURES[0]
    for network in networks(task):
        for number, weights in enumerate(network.parameters()):
            weights.requires_grad_(number % 2 == 0)
            weights.grad = torch.full_like(weights, 0.5) if number % 4 == 0 else None
    asked: dict[str, Any] = {"question": QUESTIONS[0]} if task.kind == "vqa" else {}
    with unchanged(*networks(task)):
        vlx.explain(task, shown, **asked, seen=False, check=False)
    with unchanged(*networks(task)), pytest.raises((VlxError, IndexError, RuntimeError)):
        site, (strange,) = meet(task, case.features, [replace(case.targets[0], terms=(Term(0, 10**7),))])
        engine.gradients(task, site.A, [strange], site.rest)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of memory, say")

    monkeypatch.setattr(torch.Tensor, "log_softmax", broken)
    with unchanged(*networks(task)), pytest.raises(RuntimeError, match="out of memory, say"):
        vlx.explain(task, shown, **asked, seen=False, check=False)


@pytest.mark.parametrize("copied", [deepcopy, lambda task: pickle.loads(pickle.dumps(task))], ids=["copy", "pickle"])
def test_a_copy_says_the_same_and_is_a_model_of_its_own(case: Case, copied: Callable[[Any], Any]) -> None:
    assert case.said  # the task was used before: what it keeps is not the copy's
    if not can_be(copied, *networks(case.task)):
        pytest.skip("the network itself cannot be: transformers hung a function of its own on it")
    task = copied(case.task)
    for one, wanted in zip(task.predict(task.features(case.inputs), case.queries), case.said, strict=True):
        same(one, wanted)
    other = weighted(task)
    moved = engine.ask(other, case.features, case.targets)
    stayed = engine.ask(case.task, case.features, case.targets)
    assert stayed.tolist() == pytest.approx([w.logprob for one in case.said for w in one.words], abs=2e-4)
    assert not torch.allclose(moved, stayed, atol=1e-3)


def test_its_version_follows_the_weights_and_its_digest_their_values(case: Case) -> None:
    task = case.changed
    version, digest = task.version(), task.digest() if powers_of(task).identified else None
    assert task.version() == version
    places: list[Any] = [torch.float64, *["cuda"] * torch.cuda.is_available(), "cpu", torch.float32]
    for place in places:
        for network in networks(task):
            network.to(place)
        assert digest is None or task.digest() == digest
    assert task.version() != version
    for change in (replaced, weighted):
        version = task.version()
        assert change(task).version() != version
        assert (digest is None or task.digest() == digest) == (change is replaced or digest is None)


def unanswerable(case: Case) -> list[Query]:
    """Queries that a task of this kind must refuse."""
    question, first = case.queries[0].question, case.said[0].words[0].label
    itself = Query(question=question, answer=first, instead_of=first)
    if isinstance(case.task, ChatTask):
        return [Query(question=" "), Query(caption=" "), Query(answer=" "), Query(instead_of="red")]
    return {
        "captioning": [Query(question="what?"), Query(answer="red"), Query(instead_of="red"), Query(caption=" ")],
        "vqa": [Query(), Query(question=" "), itself],
        "classification": [Query(caption="a dog"), Query(question="what?"), Query(answer="no such class"), itself],
    }[case.task.kind]


def test_queries_that_cannot_be_answered_are_told(case: Case) -> None:
    for query in unanswerable(case):
        with pytest.raises(VlxError) as caught:
            case.task.predict(case.features, [query, query])
        assert 10 < len(str(caught.value)) <= 300

"""What an output means: each reading against its formula in NumPy, maps against differences, refusals by name."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.heads import Array, classifier, differences, picture, prepare, sigmoid, softmax, vqa
from vlx.errors import InputError, ModelError
from vlx.explanation.records import WordExplanation
from vlx.neuron_names.table import NeuronNames, UnitName
from vlx.protocol import outputs as meanings
from vlx.protocol.leaves import scores_in
from vlx.protocol.targets import Query, word_target
from vlx.tasks.classification import Classifier

RGB = ["red", "green", "blue"]


def hirescam(task: Any, **options: Any) -> WordExplanation:
    """The one word that is explained, by gradient × activation."""
    (word,) = vlx.explain(task, picture(), method="hirescam", **options)
    return word


def agrees(word: WordExplanation, A: Array, f: Callable[[Array], float]) -> None:
    """Assert that the word's score is f(A), and its map A times the gradient of f by differences."""
    assert word.score == pytest.approx(f(A), abs=1e-6)
    assert np.allclose(word.signed, (differences(f, A) * A).sum(0), rtol=1e-5, atol=1e-7)


READ: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Array], Array]]] = {
    "softmax": (lambda z: z, softmax),
    "sigmoid": (lambda z: z, sigmoid),
    "sigmoid inside": (torch.sigmoid, sigmoid),
    "probabilities": (lambda z: z.softmax(1), softmax),
}


@pytest.mark.parametrize("name", READ)
def test_p_alternatives_and_seen(name: str) -> None:
    end, p = READ[name]
    task = classifier(3, end, RGB, outputs=name.split()[0])
    truth = p(task.model.z(task.model.map(picture())))
    why = vlx.explain(task, picture())
    assert why.text == RGB[int(truth.argmax())]
    assert {label: np.exp(logprob) for label, logprob in why[0].alternatives} == pytest.approx(
        dict(zip(RGB, truth, strict=True)), abs=1e-6
    )
    assert why[0].logprob == pytest.approx(np.log(truth.max()), abs=1e-6)
    assert why[0].outputs == name.split()[0]


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("kind", ["logprob", "logit", "prob", "margin"])
def test_scores_and_maps_of_every_kind(name: str, kind: str) -> None:
    end, p = READ[name]
    task = classifier(3, end, RGB, outputs=name.split()[0])
    net = task.model
    if (name, kind) == ("probabilities", "logit"):
        with pytest.raises(InputError, match=r"^target='logit': the model's softmax is inside it, .*target='logprob'"):
            hirescam(task, answer="green", target=kind)
        return
    other = int(np.delete(net.z(net.map(picture())), 1).argmax()) * 2  # the likeliest of red and blue
    independent = name.startswith("sigmoid")
    truth: dict[str, Callable[[Array], float]] = {
        "logprob": lambda A: float(np.log(p(net.z(A))[1])),
        "logit": lambda A: float(net.z(A)[1]),
        "prob": lambda A: float(p(net.z(A))[1]),
        "margin": lambda A: float(net.z(A)[1] - (0 if independent else net.z(A)[other])),
    }
    word = hirescam(task, answer="green", target=kind)
    agrees(word, net.map(picture()), truth[kind])
    assert word.target == kind


@pytest.mark.parametrize("name", READ)
def test_why_red_and_not_green_is_a_difference_of_logits(name: str) -> None:
    end, _ = READ[name]
    task = classifier(3, end, RGB, outputs=name.split()[0])
    net = task.model
    for target in (None, "logprob"):
        word = hirescam(task, answer="red", instead_of="green", target=target)
        agrees(word, net.map(picture()), lambda A: float(net.z(A)[0] - net.z(A)[1]))


@pytest.mark.parametrize("inside", [False, True], ids=["logit", "p"])
@pytest.mark.parametrize(("answer", "sign"), [("cat", 1), ("not cat", -1)])
def test_one_column_is_yes_and_no_of_one_label(inside: bool, answer: str, sign: int) -> None:
    task = classifier(1, torch.sigmoid if inside else lambda z: z, ["cat"], outputs="sigmoid")
    net = task.model
    A = net.map(picture())
    z = float(net.z(A)[0])
    why = vlx.explain(task, picture())
    assert why.text == ("cat" if z > 0 else "not cat")
    assert dict(why[0].alternatives) == pytest.approx(
        {"cat": np.log(sigmoid(z)), "not cat": np.log(sigmoid(-z))}, abs=1e-6
    )
    assert why[0].seen != 0
    agrees(hirescam(task, answer=answer, target="logit"), A, lambda A: sign * float(net.z(A)[0]))
    agrees(hirescam(task, answer=answer, target="logprob"), A, lambda A: float(np.log(sigmoid(sign * net.z(A)[0]))))
    agrees(hirescam(task, answer=answer, target="prob"), A, lambda A: float(sigmoid(sign * net.z(A)[0])))
    agrees(hirescam(task, answer=answer, target="margin"), A, lambda A: sign * float(net.z(A)[0]))
    rival = "not cat" if sign > 0 else "cat"
    agrees(hirescam(task, answer=answer, instead_of=rival), A, lambda A: sign * float(net.z(A)[0]))


@pytest.mark.parametrize("labels", [["yes", "no"], ["no", "yes"], ["not there", "there"], None])
def test_the_words_say_which_of_two_labels_a_large_output_means(labels: list[str] | None) -> None:
    task = classifier(1, labels=labels, outputs="sigmoid")
    z = float(task.model.z(task.model.map(picture()))[0])
    yes = {"yes", "there", "positive"}
    for label, logprob in vlx.explain(task, picture())[0].alternatives:
        assert logprob == pytest.approx(np.log(sigmoid(z if label in yes else -z)), abs=1e-6)


def test_one_column_has_no_class_numbers() -> None:
    task = classifier(1, outputs="sigmoid")
    with pytest.raises(InputError, match=r"^no class '1'; the one output is 'positive' or 'negative'$"):
        vlx.explain(task, picture(), answer="1")


def test_a_number_has_a_score_and_no_probability() -> None:
    task = classifier(1, lambda z: z * 30 + 40, ["age"], outputs="value")
    net = task.model
    A = net.map(picture())
    years = float(net.z(A)[0]) * 30 + 40
    blank = net(torch.full((1, 3, 16, 16), 0.0).double() + torch.tensor(task.blank)[:, None, None]).item()
    why = vlx.explain(task, picture(), method="hirescam")
    assert (why.text, why[0].target, why[0].outputs, why[0].alternatives) == ("age", "value", "value", ())
    assert why[0].score == pytest.approx(years)
    assert np.isnan(why[0].logprob)
    assert why.provenance["target"] == "value"
    assert "its outputs are read as numbers: they have no probability" in why.notes
    agrees(why[0], A, lambda A: float(net.z(A)[0]) * 30 + 40)
    if why[0].seen is not None:
        assert np.sign(why[0].seen) == np.sign(years - blank)
    for kind in ("logprob", "prob"):
        with pytest.raises(InputError, match=f"^target='{kind}': this output is a number and has no probability"):
            vlx.explain(task, picture(), target=kind)
    with pytest.raises(InputError, match=r"^target='margin': a number has no runner-up"):
        vlx.explain(task, picture(), target="margin")


def test_numbers_may_be_compared_and_asked_for_by_name() -> None:
    task = classifier(3, labels=["x", "y", "size"], outputs="value")
    net = task.model
    A = net.map(picture())
    agrees(hirescam(task, answer="size"), A, lambda A: float(net.z(A)[2]))
    agrees(hirescam(task, answer="x", instead_of="y"), A, lambda A: float(net.z(A)[0] - net.z(A)[1]))
    assert "the largest of 3 numbers; ask for another with answer=…" in vlx.explain(task, picture()).notes
    unnamed = classifier(2, outputs="value")
    assert vlx.explain(unnamed, picture(), answer="output 1").text == "output 1"


# A scalar of one's own.


def test_a_class_over_a_region_of_a_segmentation() -> None:
    class Segments(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = classifier(3).model
            self.body = self.inner.body

        def forward(self, x: Tensor) -> Tensor:
            places = self.inner.head(self.body(x).movedim(1, 3)).movedim(3, 1)
            return nn.functional.interpolate(places, scale_factor=4)

    model = Segments().eval()
    task = Classifier(model, "body", RGB, prepare, outputs=lambda output: output[..., :8, :8].mean((2, 3)))
    A = model.inner.map(picture())
    w, b = model.inner.w, model.inner.head.bias.detach().numpy()
    word = hirescam(task, answer="green")
    agrees(word, A, lambda A: float((w @ A[:, :2, :2].reshape(3, -1)).mean(1)[1] + b[1]))
    assert (word.target, word.outputs) == ("value", "value")
    assert not word.signed[2:].any()
    likely = Classifier(model, "body", RGB, prepare, outputs=(lambda output: output.mean((2, 3)), "softmax"))
    truth = softmax(model.inner.z(A))
    assert vlx.explain(likely, picture())[0].logprob == pytest.approx(np.log(truth.max()), abs=1e-6)


def test_the_cosine_to_texts_of_ones_own() -> None:
    texts = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = nn.functional.normalize(texts)
    end: Callable[[Tensor], Tensor] = nn.functional.normalize
    task = classifier(3, end, ["a dog", "a cat"], outputs=(lambda e: 20 * e @ unit.T, "softmax"))
    z = task.model.z(task.model.map(picture()))
    cosines = z @ texts.numpy().T / np.linalg.norm(z) / np.linalg.norm(texts.numpy(), axis=1)
    found = vlx.explain(task, picture())[0]
    assert {label: np.exp(p) for label, p in found.alternatives} == pytest.approx(
        dict(zip(["a dog", "a cat"], softmax(20 * cosines), strict=True)), abs=1e-6
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda output: output.sum(), r"outputs=<lambda> must turn the output into floats \[B, C\], .*it gave \[\]"),
        (lambda output: output[:1], r"must turn the output into floats .* here \[\d, C\]; it gave \[1, 3\]"),
        (lambda output: "red", r"must turn the output into floats .*; it gave str"),
        (lambda output: output.argmax(1), r"must turn the output into floats"),
    ],
)
def test_a_function_that_gives_no_scores(function: Callable[[Any], Any], message: str) -> None:
    task = classifier(3, outputs=function)
    with pytest.raises(ModelError, match=message):
        task.features(torch.stack([prepare(picture(seed)) for seed in range(2)]))


@pytest.mark.parametrize("given", ["logits", 3, ("softmax", "sigmoid"), (len, "logit"), ["softmax"]])
def test_what_outputs_cannot_be(given: Any) -> None:
    with pytest.raises(InputError, match=r"^outputs=.*: give 'softmax', 'sigmoid', 'probabilities', 'value', a func"):
        classifier(3, outputs=given)


# Decided by trying.


@pytest.mark.parametrize(
    ("end", "note"),
    [
        (lambda z: z, None),
        (lambda z: z.bfloat16(), None),
        (lambda z: z.softmax(1), "probabilities"),
        (lambda z: (z / 5).softmax(1).bfloat16(), "probabilities"),
        (lambda z: (z * 50).softmax(1).half(), "probabilities"),
    ],
    ids=["logits", "bfloat16", "p", "p in bfloat16", "saturated p in half"],
)
def test_what_is_found_by_trying(end: Callable[[Tensor], Tensor], note: str | None) -> None:
    task = classifier(4, end)
    why = vlx.explain(task, picture())
    given = end(torch.from_numpy(task.model.z(task.model.map(picture())))[None])[0].double().numpy()
    truth = given if note else softmax(given)
    assert np.exp(why[0].logprob) == pytest.approx(truth.max(), abs=5e-3)
    assert why[0].outputs == (note or "softmax")
    assert (meanings.NOTES.get(note or "") in why.notes) == (note is not None)
    assert set(task.notes) <= set(why.notes)


@pytest.mark.parametrize("told", ["softmax", "probabilities"])
def test_a_softmax_is_never_taken_twice(told: str) -> None:
    task = classifier(3, lambda z: z.softmax(1), outputs=told)
    truth = softmax(task.model.z(task.model.map(picture())))
    assert vlx.explain(task, picture())[0].logprob == pytest.approx(np.log(truth.max()), abs=1e-6)


@pytest.mark.parametrize("told", [None, "softmax", "probabilities"])
@pytest.mark.parametrize("half", [False, True])
def test_a_log_softmax_inside_is_found_and_its_logits_are_not_to_be_had(told: str | None, half: bool) -> None:
    task = classifier(3, lambda z: z.log_softmax(1).to(torch.bfloat16 if half else z.dtype), RGB, outputs=told)
    z = task.model.z(task.model.map(picture()))
    why = vlx.explain(task, picture(), answer="green")
    assert (why[0].outputs, meanings.LOGGED in why.notes) == ("probabilities", True)
    assert [why[0].logprob, why[0].score] == pytest.approx([np.log(softmax(z)[1])] * 2, abs=2e-2 if half else 1e-6)
    with pytest.raises(InputError, match=r"^target='logit': the model's softmax is inside it"):
        vlx.explain(task, picture(), target="logit")
    shifted = classifier(3, lambda z: z.log_softmax(1) + 0.01)  # logits like any others
    assert vlx.explain(shifted, picture())[0].outputs == "softmax"


def test_cosines_are_noted_and_small_logits_are_not() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = nn.functional.normalize(torch.randn(3, 4, dtype=torch.double), dim=1)
    cosines: dict[str, Any] = {"end": lambda z: nn.functional.normalize(z, dim=1) @ names.T * 0.9}
    assert meanings.BOUNDED in vlx.explain(classifier(4, **cosines), picture()).notes
    assert meanings.BOUNDED not in vlx.explain(classifier(4, outputs="softmax", **cosines), picture()).notes
    smaller: list[Callable[[Tensor], Tensor]] = [lambda z: z, lambda z: z * 1e-2, lambda z: z * 1e-6]
    for end in smaller:
        assert meanings.BOUNDED not in vlx.explain(classifier(4, end), picture()).notes


OPEN: dict[str, tuple[int, Callable[[Tensor], Any], Any, str]] = {
    "one column": (1, lambda z: z, None, "has one output, and what it means is open: outputs='sigmoid' .*'value'"),
    "one number": (1, lambda z: z[:, 0], None, "has one output, and what it means is open"),
    "one p": (1, torch.sigmoid, None, "has one output, and what it means is open"),
    "yes or no": (3, torch.sigmoid, None, r"all lie between 0 and 1 .*outputs='sigmoid'\), or numbers"),
    "embedding": (
        3,
        nn.functional.normalize,
        None,
        "rows of length 1: an embedding, not scores .*outputs=",
    ),
    "tanh": (2, torch.tanh, None, r"outputs that never leave \[−1, 1\], as tanh does: no logits"),
    "softmax of one": (1, lambda z: z.softmax(1), None, "has one output"),
    "softmax of one, told": (
        1,
        lambda z: z.softmax(1),
        "sigmoid",
        r"gives 1 whatever it sees \(a softmax over one ",
    ),
    "one, told softmax": (1, lambda z: z, "softmax", "has one output, which is no softmax of several"),
    "one, told p": (1, torch.sigmoid, "probabilities", "has one output, which is no probabilities of several"),
    "sums": (3, torch.sigmoid, "probabilities", r"outputs='probabilities', and its rows sum to .* to .*'sigmoid'"),
    "logits, told p": (3, lambda z: z, "probabilities", "outputs='probabilities', and its rows sum to"),
    "p, told sigmoid": (3, lambda z: z.softmax(1), "sigmoid", "its rows sum to 1 whatever it sees.*'probabilities'"),
    "two heads": (3, lambda z: (z, z[:, :2]), None, r"2 tables of scores; .*leaf='0' \[\d, 3\] or leaf='1' \[\d, 2\]"),
    "named heads": (3, lambda z: {"a": z, "b": {"c": z}}, None, r"leaf='a' \[1, 3\] or leaf='b.c' \[1, 3\]"),
    "a head and a number": (3, lambda z: {"age": z[:, 0], "colour": z}, None, r"leaf='age' \[1, 1\] or leaf='colour'"),
    "a picture": (3, lambda z: z[..., None, None].expand(-1, -1, 5, 5), None, r"gives \[1, 3, 5, 5\], and no scores"),
    "boxes": (3, lambda z: [{"boxes": z.new_zeros(7, 4)}], None, r"gives 0.boxes \[7, 4\], and no scores .*outputs="),
    "numbers of classes": (3, lambda z: z.argmax(1), None, r"gives \[1\], and no scores"),
    "nothing": (3, lambda z: None, None, "gives NoneType, and no scores"),
    "two labels": (1, lambda z: z, "sigmoid", "has one output, yes or no of one label, and the labels 'dog' and 'cat'"),
    "NaN": (3, lambda z: z * float("nan"), None, "gives NaN or infinite numbers"),
    "all masked": (3, lambda z: z - float("inf"), None, "gives NaN or infinite numbers"),
    "infinite": (3, lambda z: z + float("inf"), None, "gives NaN or infinite numbers"),
}


@pytest.mark.parametrize("name", OPEN)
def test_what_is_open_or_wrong_is_refused_by_name(name: str) -> None:
    columns, end, told, message = OPEN[name]
    task = classifier(columns, end, ["dog", "cat"] if name == "two labels" else None, outputs=told)
    with pytest.raises(ModelError, match=message) as caught:
        vlx.explain(task, picture())
    assert len(str(caught.value)) <= 300
    assert "Net" in str(caught.value)


# Which part is meant.


class Pair(NamedTuple):
    features: Tensor
    scores: Tensor


@dataclass
class Found:
    loss: Tensor
    heads: Any


Z = torch.arange(6.0).view(2, 3)
F = torch.zeros(2, 9)


@pytest.mark.parametrize(
    ("output", "leaf"),
    [
        (Z, None),
        ((Z, F[..., None].expand(-1, -1, 2)), None),
        ((F, Z), "1"),
        ((F, Z), 1),
        ([F, Z], "-1"),
        (Pair(F, Z), "scores"),
        (Pair(F, Z), "1"),
        ({"logits": Z, "embedding": F}, None),
        (SimpleNamespace(logits=Z, embedding=F), None),
        (SimpleNamespace(out=Z), None),
        ({"a": F, "b": [F, {"c.d": Z}]}, "b.1.c.d"),
        (Found(torch.tensor(3.0), {"x": F, "y": Z}), "heads.y"),
        (Found(torch.tensor(3.0), {"y": Z}), None),
        (Found(torch.tensor(3.0), {"y": Z}), "heads"),
        ((Z.argmax(1), Z), None),
        (Z[..., None, None], None),
    ],
)
def test_the_part_that_is_meant(output: Any, leaf: Any) -> None:
    found = scores_in(output, 2, "net", None if leaf is None else str(leaf))
    assert torch.equal(found, Z)
    plain = meanings.Outputs(None, leaf)
    assert torch.equal(plain.columns(output, 2), Z)


@pytest.mark.parametrize(("part", "rows"), [(Z[:, 0], 2), (Z[:, :1], 2), (torch.tensor(0.0), 1)])
def test_one_column_may_have_lost_its_axis(part: Tensor, rows: int) -> None:
    assert torch.equal(scores_in(part, rows, "net"), Z[:rows, :1])


def test_a_path_that_leads_nowhere_names_what_there_is() -> None:
    with pytest.raises(ModelError, match=r"^leaf='heads.x': the output of net has no such part; it holds a \[2, 9\]"):
        scores_in({"a": F, "b": Z}, 2, "net", "heads.x")


def test_a_head_is_explained_by_its_name() -> None:
    task = classifier(3, lambda z: {"first": z[:, :2], "second": -z}, leaf="second")
    truth = softmax(-task.model.z(task.model.map(picture())))
    assert vlx.explain(task, picture())[0].logprob == pytest.approx(np.log(truth.max()), abs=1e-6)


# Masked classes.


@pytest.mark.parametrize("told", [None, "softmax", "sigmoid", "value"])
@pytest.mark.parametrize("mask", [float("-inf"), torch.finfo(torch.float64).min, -1e9], ids=str)
def test_masked_classes_rule_themselves_out(told: str | None, mask: float) -> None:
    def end(z: Tensor) -> Tensor:
        return torch.cat([z, z[:, :2] + mask], 1)

    task = classifier(3, end, [*RGB, "cyan", "black"], outputs=told)
    net = task.model
    A = net.map(picture())
    z = net.z(A)
    for target in ("logit", "margin", "logprob") if told != "value" else (None,):
        for method in ("hirescam", "gradcam", "layercam"):
            word = vlx.explain(task, picture(), answer="green", target=target, method=method)[0]
            assert np.isfinite([*word.signed.ravel(), *word.weights, word.score]).all()
    p = softmax(z) if told in (None, "softmax") else sigmoid(z)
    if told != "value":
        agrees(
            hirescam(task, answer="green", target="logprob"),
            A,
            lambda A: float(np.log((softmax(net.z(A)) if told in (None, "softmax") else sigmoid(net.z(A)))[1])),
        )
        assert word.logprob == pytest.approx(np.log(p[1]), abs=1e-6)
    if mask == float("-inf"):
        assert {label for label, _ in word.alternatives} <= set(RGB)
        with pytest.raises(InputError, match=r"^the class 'cyan' is masked \(its score is −∞\)"):
            vlx.explain(task, picture(), answer="cyan")


def test_a_skipped_layer_is_noticed_under_a_mask() -> None:
    """The comparison that finds it must not be blind where a masked class makes every difference look small."""

    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = classifier(3).model.body

        def forward(self, x: Tensor) -> Tensor:
            z = self.body(x).mean((2, 3)) + x.mean((2, 3))
            return torch.cat([z, torch.full_like(z, -1e30)], 1)

    task = Classifier(Skips().double().eval(), "body", prepare=prepare)
    features = task.features(torch.stack([prepare(picture(seed)) for seed in range(2)]))
    assert task._split.narrow is False
    targets = [word_target(task.predict(features, [Query(answer="0")] * 2)[row], 0, row, "logit") for row in range(2)]
    assert torch.allclose(task.scores(features.A, targets, features.rest), features.rest["logits"][:, 0])


# Probabilities at their ends.


def test_p_of_zero_and_one_stay_finite() -> None:
    task = classifier(3, lambda z: (z * 1e4).softmax(1), RGB)
    for answer in RGB:
        word = vlx.explain(task, picture(), answer=answer, method="hirescam")[0]
        assert np.isfinite([word.score, word.logprob, *word.signed.ravel()]).all()
    many = classifier(3, lambda z: torch.sigmoid(z * 1e4), RGB, outputs="sigmoid")
    for answer in RGB:
        word = vlx.explain(many, picture(), answer=answer, method="hirescam")[0]
        assert np.isfinite([word.score, word.logprob, *word.signed.ravel()]).all()


def test_a_model_that_says_no_to_its_likeliest_label() -> None:
    task = classifier(3, lambda z: z - 50, RGB, outputs="sigmoid")
    why = vlx.explain(task, picture())
    assert f"the model says no to {why.text}: its p is under one half" in why.notes
    both = vlx.explain(task, picture(), answer=["red", "blue"])
    assert {f"the model says no to {label}: its p is under one half" for label in ("red", "blue")} <= set(both.notes)


# VQA.


@pytest.mark.parametrize("name", READ)
def test_a_vqa_head_is_read_the_same_way(name: str) -> None:
    end, p = READ[name]
    task = vqa(3, end, RGB, outputs=name.split()[0])
    net = task.head.net
    A = net.map(picture())

    def z(A: Array) -> Array:
        return np.asarray(net.z(A) + 0.25)

    why = vlx.explain(task, picture(), question="what", method="hirescam", target="logprob")
    best = int(z(A).argmax())
    assert why.text == RGB[best]
    agrees(why[0], A, lambda A: float(np.log(p(z(A))[best])))
    for other in why.others:
        n = RGB.index(other.text)
        assert other[0].logprob == pytest.approx(np.log(p(z(A))[n]), abs=1e-6)
        assert other[0].score == other[0].logprob
    contrast = vlx.explain(task, picture(), question="what", answer="red", instead_of="blue", method="hirescam")
    agrees(contrast[0], A, lambda A: float(z(A)[0] - z(A)[2]))


def test_a_vqa_head_of_one_column() -> None:
    with pytest.raises(ModelError, match=r"^the head of vqa has one output, and what it means is open"):
        vlx.explain(vqa(1, lambda z: z, ["yes"]), picture(), question="what")
    task = vqa(1, lambda z: z, ["no", "yes"], outputs="sigmoid")
    z = float(task.head.net.z(task.head.net.map(picture()))[0]) + 0.25
    why = vlx.explain(task, picture(), question="what")
    assert dict(why[0].alternatives) == pytest.approx({"yes": np.log(sigmoid(z)), "no": np.log(sigmoid(-z))}, abs=1e-6)


def test_what_a_vqa_head_is_advised_can_be_given() -> None:
    with pytest.raises(ModelError, match=r"leaf='0' \[1, 3\] or leaf='1' \[1, 2\]"):
        vlx.explain(vqa(3, lambda z: (z, z[:, :2]), RGB), picture(), question="what")
    plain = vlx.explain(vqa(3, lambda z: z, RGB), picture(), question="what")[0]
    for end, leaf in ((lambda z: (z, z[:, :2]), 0), (lambda z: {"a": {"b": z}, "c": z}, "a.b")):
        word = vlx.explain(vqa(3, end, RGB, leaf=leaf), picture(), question="what")[0]
        assert word.alternatives == plain.alternatives
        assert np.array_equal(word.signed, plain.signed)
    with pytest.raises(ModelError, match=r"for yes or no of one label \(answers=\[its name\]\)"):
        vlx.explain(vqa(1, lambda z: z, ["red"]), picture(), question="what")
    why = vlx.explain(vqa(1, lambda z: z, ["red"], outputs="sigmoid"), picture(), question="what")
    assert {label for label, _ in why[0].alternatives} == {"red", "not red"}


def test_a_vqa_head_that_counts() -> None:
    task = vqa(1, lambda z: z, ["how many"], outputs="value")
    z = float(task.head.net.z(task.head.net.map(picture()))[0]) + 0.25
    why = vlx.explain(task, picture(), question="what")
    assert why.text == "how many"
    assert why[0].score == pytest.approx(z)
    assert not why.others


def test_cats_and_dogs_on_one_logit_keep_both_names() -> None:
    both = (lambda z: torch.cat([torch.zeros_like(z), z], 1), "softmax")
    task = classifier(1, labels=["cat", "dog"], outputs=both)
    z = float(task.model.z(task.model.map(picture()))[0])
    found = dict(vlx.explain(task, picture())[0].alternatives)
    assert found == pytest.approx({"dog": np.log(sigmoid(z)), "cat": np.log(sigmoid(-z))}, abs=1e-6)


def test_reasons_of_a_number_are_tried_in_its_own_unit() -> None:
    task = classifier(1, lambda z: 40 - z * 30, ["age"], outputs="value")
    names = tuple((UnitName(unit, concept, "object", 0.5, 0.5),) for unit, concept in enumerate(["sky", "tree", "dog"]))
    why = vlx.explain(task, picture(), names=NeuronNames(names, {"layer": "body"}), words="all")
    because = why[0].because
    assert because is not None
    assert because.check is not None
    A = task.model.map(picture())
    off = A.copy()
    off[list(because.check.units)] = 0
    before, after = (40 - 30 * task.model.z(one)[0] for one in (A, off))
    assert because.check.before == pytest.approx(before)
    assert because.check.effect == pytest.approx(before - after)
    assert because.check.measure == "value"
    assert f"it goes from {before:.1f} to {after:.1f}" in str(because.check)


@pytest.mark.parametrize(
    ("function", "cause"), [(lambda z: z["x"], TypeError), (lambda z: z.nothing(), AttributeError)]
)
def test_a_function_that_raises_is_named_with_its_cause(function: Any, cause: type[Exception]) -> None:
    with pytest.raises(ModelError, match=rf"outputs=<lambda> fails \({cause.__name__}: .*mend it: output →") as caught:
        hirescam(classifier(3, lambda z: z, RGB, outputs=function))
    assert len(str(caught.value)) <= 300
    assert isinstance(caught.value.__cause__, cause)

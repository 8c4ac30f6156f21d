"""The base of adapters: devices, versions, hashes, refusals and the blank colour written once, for outsiders too."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from tests.answerers import vqa
from tests.fakes import TinyCnn, captioner, picture, prepare
from vlx.errors import InputError, ModelError
from vlx.pictures.placement import Grid
from vlx.protocol import Defaults, Features, Prediction, Query, Target, Term, powers_of
from vlx.protocol.identity import weights_digest
from vlx.protocol.outputs import Outputs
from vlx.protocol.targets import Reads
from vlx.tasks.classification import Classifier
from vlx.tasks.shared.answers import Answers, answered
from vlx.tasks.shared.networks import Networks

LABELS = ["dog", "grass", "ball"]


class Mine(Networks):
    """An outsider's adapter: fifteen lines, and all of vlx."""

    kind, defaults = "classification", Defaults("gradcam", "logit")

    def __init__(self, cnn: nn.Module, head: nn.Module, prepare: Callable[[Image.Image], Tensor]) -> None:
        super().__init__("cnn", "head", prepare=prepare, name="mine")
        self.cnn, self.head = cnn, head

    def features(self, inputs: Tensor) -> Features:
        self.refuse_training()
        with torch.no_grad():
            A = self.cnn(inputs)
        (h, w), (height, width) = A.shape[2:], inputs.shape[2:]
        return Features({"cnn": A}, "cnn", Grid.half_pixel((h, w), (height, width)))

    def predict(self, features: Features, queries: list[Query]) -> list[Prediction]:
        rows = self.head(features.A.mean((2, 3))).detach().log_softmax(1)
        return [answered(row, Answers(LABELS, self.name), query) for row, query in zip(rows, queries, strict=True)]

    def scores(self, A: Tensor, targets: list[Target], rest: Any = None) -> Tensor:
        reads = Reads.of(targets)
        return reads.combine(self.head(A.mean((2, 3)))[[targets[n].row for n, _ in reads.pairs]])


def mine() -> Any:
    torch.manual_seed(0)
    return Mine(TinyCnn().eval(), nn.Linear(5, 3).eval(), prepare)


def net() -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(TinyCnn(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()
    return Classifier(model, "0", LABELS, prepare, name="net")


TASKS: dict[str, Callable[[], Any]] = {"mine": mine, "captioner": captioner, "vqa": vqa, "classifier": net}


def parts(task: Any) -> list[nn.Module]:
    return [part for part in vars(task).values() if isinstance(part, nn.Module)]


def test_fifteen_lines_are_explained() -> None:
    task = mine()
    why = vlx.explain(task, picture(), answer="ball", instead_of="dog")
    assert why.text == "ball"
    A = task.features(task.place(prepare(picture())[None])).A
    weights = task.head.weight.detach()
    wanted = (weights[2] - weights[0]) / A[0, 0].numel()
    assert why[0].weights == pytest.approx(wanted.tolist(), abs=1e-6)
    assert task.self_test(picture(), cells=4).verdict != "failed"
    with pytest.raises(InputError, match=r"^'bal' is not among the 3 answers of mine; close: ball$"):
        vlx.explain(task, picture(), answer="bal")


@pytest.mark.parametrize("name", TASKS)
def test_a_version_tells_every_weight_of_every_part_and_a_digest_those_before_a(name: str) -> None:
    task = TASKS[name]()
    assert isinstance(task, Networks)
    assert powers_of(task).identified
    first = next(iter(parts(task)))
    assert task.digest() == weights_digest(first.state_dict().values())
    for part in parts(task):
        for tensor in (*part.parameters(), *part.buffers()):
            version, digest = task.version(), task.digest()
            with torch.no_grad():
                tensor.add_(1)
            assert task.version() != version
            assert (task.digest() != digest) == (part is first and tensor.is_floating_point())


@pytest.mark.parametrize("name", TASKS)
def test_inputs_go_where_the_vision_part_is(name: str) -> None:
    task = TASKS[name]()
    first, *others = parts(task)
    first.double()
    assert task.place(torch.zeros(1, 3, 16, 16)).dtype == torch.float64
    for other in others:
        other.half()
    assert task.place(torch.zeros(1, 3, 16, 16)).dtype == torch.float64


def test_an_adapter_that_splits_inside_a_network_names_what_comes_before_a() -> None:
    class Inside(Mine):
        def vision(self) -> list[nn.Module]:
            return [self.head]

    torch.manual_seed(0)
    task = Inside(TinyCnn().eval(), nn.Linear(5, 3).eval().double(), prepare)
    assert task.place(torch.zeros(1, 3, 4, 4)).dtype == torch.float64
    assert task.digest() == weights_digest(task.head.state_dict().values())


def test_a_part_without_weights_leaves_inputs_to_the_next() -> None:
    task = mine()
    task.cnn = nn.Identity()
    task.head.double()
    assert task.place(torch.zeros(1, 3, 4, 4)).dtype == torch.float64
    task.head = nn.Identity()
    assert task.place(torch.zeros(1, 3, 4, 4)).dtype == torch.float32


def test_quantised_weights_are_no_dtype_for_pictures() -> None:
    task = mine()
    task.cnn = nn.ParameterList([nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)])
    task.head.half()
    assert task.place(torch.zeros(1, 3, 4, 4)).dtype == torch.float16


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine", r"^mine: the cnn is in training mode; call cnn\.eval\(\) first$"),
        ("captioner", r"^tiny: the cnn is in training mode; call cnn\.eval\(\) first$"),
        ("classifier", r"^net: its layer '0\.layers\.1' is in training mode; call model\.eval\(\) first$"),
    ],
)
def test_one_module_in_training_mode_is_refused(name: str, message: str) -> None:
    task = TASKS[name]()
    next(module for module in parts(task)[0].modules() if isinstance(module, nn.BatchNorm2d)).train()
    with pytest.raises(ModelError, match=message):
        vlx.explain(task, picture())


@pytest.mark.parametrize("name", TASKS)
def test_weights_made_in_inference_mode_are_refused(name: str) -> None:
    with torch.inference_mode():
        task = TASKS[name]()
    with pytest.raises(ModelError, match=r"^\w+: its weights were made under torch\.inference_mode\(\); make"):
        vlx.explain(task, picture())


def test_a_part_that_is_replaced_counts() -> None:
    task = mine()
    version, digest = task.version(), task.digest()
    task.cnn = TinyCnn().eval()
    assert task.version() != version
    assert task.digest() != digest
    task.cnn = task.cnn.train().forward  # a method of a network
    with pytest.raises(ModelError, match="the cnn is in training mode"):
        task.refuse_training()


def test_the_blank_colour_is_given_found_or_set() -> None:
    task = mine()
    assert task.blank == pytest.approx((0.5, 0.5, 0.5), abs=0.01)
    task.blank = (0.1, 0.2, 0.3)
    assert task.blank == (0.1, 0.2, 0.3)
    assert vlx.explain(task, picture())[0].seen is not None


def test_adapters_are_made_without_the_self_test() -> None:
    code = (
        "import sys, vlx, vlx.tasks.classification, vlx.tasks.captioning, vlx.tasks.vqa, vlx.tasks.photos.bundle\n"
        "print([name for name in sys.modules if name.startswith('vlx.selftest')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# A fixed list of answers


def test_a_row_of_log_probabilities_is_read_by_hand() -> None:
    logprobs = torch.tensor([0.2, 0.5, 0.3]).log()
    labels = Answers(["No", "yes", "maybe"], "a net")
    said = answered(logprobs, labels, Query())
    assert (said.text, said.forced, said.words[0].terms, said.tokens) == ("yes", False, (Term(0, 1),), ())
    assert [(one.label, round(one.logprob, 3)) for one in said.words[0].alternatives] == [
        ("yes", -0.693), ("maybe", -1.204), ("No", -1.609)
    ]  # fmt: skip
    forced = answered(logprobs, labels, Query(answer=" no ", instead_of="MAYBE"), tokens=(4, 2))
    assert (forced.text, forced.forced, forced.tokens) == ("No", True, (4, 2))
    assert forced.words[0].terms == (Term(0, 0), Term(0, 2, -1.0))
    assert [side.label for side in forced.words[0].sides] == ["No", "maybe"]
    with pytest.raises(InputError, match=r"^instead_of='no' is the answer that is explained; name another"):
        answered(logprobs, labels, Query(answer="no", instead_of="no"))
    masked = torch.tensor([0.0, -torch.inf])
    with pytest.raises(InputError, match=r"^the answer 'yes' is masked"):
        answered(masked, labels, Query(answer="yes"))
    number = answered(torch.tensor([3.0, 1.0]), labels, Query(), outputs=Outputs.of("value"))
    assert (number.words[0].number, number.words[0].alternatives) == (3.0, ())

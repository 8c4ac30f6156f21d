"""``FILE.py:FUNCTION``: a model of one's own, in Python and on the command line."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vlx
from tests.cli.test_cli import run
from tests.fakes import picture
from vlx.errors import InputError, ModelError, NoGradient

HEAD = """
import torch
from torch import nn
from vlx.tasks.classification import Classifier

def network(seed=0):
    torch.manual_seed(seed)
    cells = nn.Sequential(nn.Conv2d(3, 5, 3, 4), nn.ReLU())
    return nn.Sequential(cells, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)).eval()

def task(model, **options):
    return Classifier(model, "0", ["cat", "dog", "owl"], name="mine", **options)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that the program is started in, with a picture; what vlx adds to modules and paths goes again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    picture(1, 60, 40).save("p.png")
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def write(body: str, name: str = "mine.py", head: str = HEAD) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(head + body, encoding="utf-8")
    return name


# What works


def test_a_function_without_arguments_gives_the_task(here: Path) -> None:
    write("def make():\n    return task(network())\n")
    for name in ("mine.py:make", f"{here}/mine.py:make", "./mine.py:make"):
        task = vlx.load(name)
        assert (task.kind, task.name) == ("classification", "mine")
    assert vlx.explain(vlx.load(Path("mine.py:make")), "p.png").text in ("cat", "dog", "owl")


def test_device_and_dtype_are_given_where_they_are_named_and_else_the_networks_moved(here: Path) -> None:
    write(
        "given = []\n"
        "def named(device, dtype=torch.float32, seed=0):\n    given.append((device, dtype))\n"
        "    return task(network(seed).to(device, dtype))\n"
        "def plain():\n    return task(network())\n"
        "def any_(**options):\n    given.append(options)\n    return task(network())\n"
    )
    task: Any = vlx.load("mine.py:named")
    assert sys.modules[type(task.model).__module__] is not None
    task = vlx.load("mine.py:named", device="cpu", dtype="float64")
    assert next(task.model.parameters()).dtype == torch.float64
    task = vlx.load("mine.py:plain", dtype="float64")
    assert next(task.model.parameters()).dtype == torch.float64
    task = vlx.load("mine.py:any_", dtype="float64", device="cpu")
    assert next(task.model.parameters()).dtype == torch.float32, "who takes all options does with them what he wants"
    with pytest.raises(InputError, match=r'^device="cuda:9": torch finds \d+ cuda devices'):
        vlx.load("mine.py:plain", device="cuda:9")
    with pytest.raises(InputError, match=r"^mine\.py:plain has no argument revision, seed; add it to the function"):
        vlx.load("mine.py:plain", revision="main", seed=3)
    assert vlx.load("mine.py:named", seed=3).kind == "classification"


def test_what_lies_beside_the_file_is_found_however_it_is_imported(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("LABELS = ['cat', 'dog', 'owl']\n", "project/words_beside.py", head="")
    write("def later():\n    return 3\n", "project/lazy_beside.py", head="")
    body = (
        "import words_beside\nfrom .words_beside import LABELS\n"
        "class Lazy(nn.Module):\n    def forward(self, x):\n        import lazy_beside as own\n"
        "        return x[:, :own.later()]\n"
        "def make():\n    assert LABELS == words_beside.LABELS\n"
        "    return task(nn.Sequential(*network(), Lazy()).eval())\n"
    )
    write(body, "project/mine.py")
    before = list(sys.path)
    task = vlx.load("project/mine.py:make")
    assert vlx.explain(task, "p.png", seen=False, check=False).text
    assert sys.path[: len(before)] == before, "nothing of the user's can hide a library"


def test_a_file_in_a_package_is_a_module_of_it(here: Path) -> None:
    for folder in ("pack_of_ours", "pack_of_ours/models"):
        write("", f"{folder}/__init__.py", head="")
    write("LABELS = ['cat', 'dog', 'owl']\n", "pack_of_ours/words.py", head="")
    write("from ..words import LABELS\ndef make():\n    return task(network())\n", "pack_of_ours/models/mine.py")
    assert vlx.load("pack_of_ours/models/mine.py:make").kind == "classification"


def test_the_file_is_read_anew(here: Path) -> None:
    write("def make():\n    return task(network(0))\n")
    first: Any = vlx.load("mine.py:make")
    write("def make():\n    return task(network(1))  # changed\n")
    second: Any = vlx.load("mine.py:make")
    assert not torch.equal(first.model[3].weight, second.model[3].weight)


# What is refused


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mien.py:make", r"^there is no file 'mien\.py'; close: mine\.py.*; a model of your own is FILE\.py:FUNCTION$"),
        ("no/where.py:make", r"^there is no file 'no/where\.py'; a model of your own is"),
        ("mine.py", r"^mine\.py: .* named with its function: mine\.py:FUNCTION \(its functions: network, task, make, "),
        ("mine.py:", r"^mine\.py: name the function that returns the model, as mine\.py:FUNCTION; its functions: net"),
        ("mine.py:mkae", r"^mine\.py has no function 'mkae'; close: make"),
        ("mine.py:fails", r"^mine\.py, line 16: fails\(\) raises ZeroDivisionError: division by zero$"),
        ("mine.py:nothing", r"^mine\.py:nothing returns nothing; end it with: return task"),
        ("mine.py:bare", r"^mine\.py:bare returns a Sequential; it has to return a Classifier, CnnLstmCaptioner or"),
        ("mine.py:kind", r"^mine\.py:kind returns the class Classifier; it has to return a Classifier"),
        ("mine.py:half", r"^mine\.py:half returns a Half, which lacks defaults, notes, blank; it has to return"),
        ("mine.py:needs", r"^mine\.py:needs needs path, and vlx calls it without arguments"),
        ("mine.py:NET", r"^mine\.py:NET is no function but a Sequential; write a function that returns"),
        ("mine.py:layer", r"^Sequential has no layer 'layer4'\. Layers that give a feature map"),
        ("syntax.py:make", r"^syntax\.py, line 1: it raises SyntaxError: "),
        ("ends.py:make", r"^ends\.py, line 2: it ends the program; put what is not to run on import under: if __name"),
        ("lacks.py:make", r"^lacks\.py, line 1: it raises ModuleNotFoundError: No module named 'not_there_at_all'$"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(here: Path, name: str, message: str) -> None:
    write(
        "def make():\n    return task(network())\n"
        "def fails():\n    return 1 / 0\n"
        "def nothing():\n    task(network())\n"
        "def bare():\n    return network()\n"
        "def kind():\n    return Classifier\n"
        "class Half:\n    name, kind = 'half', 'captioning'\n"
        "def half():\n    return Half()\n"
        "def needs(path, size=3):\n    return task(network())\n"
        "def layer():\n    return Classifier(network(), 'layer4', ['a', 'b', 'c'])\n"
        "NET = network()\n"
    )
    write("def make(:\n", "syntax.py", head="")
    write("import sys\nsys.exit(2)\n", "ends.py", head="")
    write("import not_there_at_all\n", "lacks.py", head="")
    with pytest.raises(ModelError, match=message) as told:
        vlx.load(name)
    assert len(str(told.value)) <= 300
    assert not isinstance(told.value, NoGradient)


def test_the_cause_is_chained(here: Path) -> None:
    write("def make():\n    return {}['weights']\n")
    with pytest.raises(ModelError) as told:
        vlx.load("mine.py:make")
    assert isinstance(told.value.__cause__, KeyError)


# The commands


def test_the_commands_take_it_and_the_manifest_knows_its_weights(here: Path) -> None:
    write("def make():\n    return task(network(0))\n")
    asked = ("classify", "p.png", "--model", "mine.py:make", "-o", "out")
    assert run(*asked).exit_code == 0
    assert "done before" in run(*asked).stdout
    head = json.loads(Path("out/manifest.jsonl").read_text().splitlines()[0])
    assert (head["model"], len(head["weights"]) > 8) == ("mine.py:make", True)
    write("def make():\n    return task(network(1))\n")
    other = run(*asked)
    assert other.exit_code == 1
    assert "out holds other results: mine.py:make had other weights" in other.stderr


def test_outputs_go_to_the_function_that_names_them(here: Path) -> None:
    write(
        "def make(outputs=None):\n    print('loading')\n    return task(network(), outputs=outputs)\n"
        "def plain():\n    return task(network())\n"
    )
    result = run("classify", "p.png", "--model", "mine.py:make", "--outputs", "sigmoid", "-o", "out", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["status"] == "done", "what the file prints is no result"
    assert "loading" in result.stderr
    assert "label" in run("classify", "p.png", "--model", "mine.py:make", "--outputs", "sigmoid", "-o", "b").stdout
    refused = run("classify", "p.png", "--model", "mine.py:plain", "--outputs", "sigmoid", "-o", "c")
    assert "mine.py:plain has no argument outputs; add it to the function" in refused.stderr
    assert run("classify", "p.png", "--outputs", "softmaxx").exit_code == 2


def test_other_commands_take_it_too(here: Path) -> None:
    write("def make():\n    return task(network())\n")
    checked = run("models", "--check", "mine.py:make", "--image", "p.png")
    assert "mine: self-test" in checked.stdout
    wrong = run("caption", "p.png", "--model", "mine.py:make", "-o", "out")
    assert wrong.exit_code == 1
    assert "mine.py:make classifies pictures: `vlx classify` explains it" in wrong.stderr
    assert not Path("out").exists()
    table = run("dissect", "mine.py:make", "scenes:12", "-o", "n.h5", "--quantile", "0.05", "--folds", 1)
    assert table.exit_code == 0, table.output
    assert "5 units" in table.stdout


# A region of a dense output


DENSE = """
from vlx.tasks.beyond import Dense

def marks():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.ReLU(), nn.Conv2d(5, 3, 1), nn.Upsample(scale_factor=2.0)).eval()
    return Dense(net, "1", ["sky", "car", "road"], name="marks")
"""


def region(here: Path, mode: str = "L", value: Any = 255) -> np.ndarray[Any, Any]:
    """A mask on p.png, 60 pixels wide and 40 high, saved in a mode of Pillow's."""
    inside = np.zeros((40, 60), bool)
    inside[10:30, 5:25] = True
    mask = Image.new(mode, (60, 40))
    mask.paste(value, (5, 10, 25, 30))
    mask.save("mask.png")
    return inside


@pytest.mark.parametrize(("mode", "value"), [("1", 1), ("RGB", (0, 90, 200)), ("I;16", 40000)])
def test_a_region_of_a_dense_output_is_explained(here: Path, mode: str, value: Any) -> None:
    """The command's score is the one that Python gives for the same mask, and another mask is another run."""
    name = write(DENSE) + ":marks"
    inside = region(here, mode, value)
    why = vlx.explain(vlx.load(name), "p.png", answer="car", where=inside)
    result = run("classify", "p.png", "--model", name, "--class", "car", "--where", "mask.png", "--json", "-o", "out")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[0])
    assert told["words"][0]["score"] == pytest.approx(why[0].score, abs=1e-4)
    assert why[0].score != pytest.approx(vlx.explain(vlx.load(name), "p.png", answer="car")[0].score, abs=1e-3)


def test_another_region_is_another_run(here: Path) -> None:
    command = ("classify", "p.png", "--model", write(DENSE) + ":marks", "--class", "car", "-o", "out")
    region(here)
    assert run(*command, "--where", "mask.png").exit_code == 0
    Image.fromarray(~np.asarray(Image.open("mask.png"))).save("mask.png")
    for again in (command, (*command, "--where", "mask.png")):
        result = run(*again)
        assert result.exit_code == 1
        assert "where" in result.output


@pytest.mark.parametrize(
    ("model", "mask", "told"),
    [
        ("marks", "none.png", "none.png: no such file"),
        ("marks", "p.png", "--where p.png: more than black and one colour; save the region as a PNG"),
        ("marks", "clear.png", "without transparency"),
        ("marks", "small.png", r"give a bool mask \[40, 60\] on the picture"),
        ("marks", "black.png", "where is empty"),
        ("make", "mask.png", "where= is a region of a dense output, and this model's is none"),
    ],
)
def test_a_region_that_cannot_be_is_refused(here: Path, model: str, mask: str, told: str) -> None:
    name = write(DENSE + "def make():\n    return task(network())\n")
    region(here)
    Image.new("RGBA", (60, 40), (0, 0, 0, 0)).save("clear.png")
    Image.new("L", (30, 40), 255).save("small.png")
    Image.new("L", (60, 40)).save("black.png")
    result = run(
        "classify",
        "p.png",
        "--model",
        f"{name}:{model}",
        "--class",
        "cat" if model == "make" else "car",
        "--where",
        mask,
    )
    assert result.exit_code == 1
    assert re.search(told, " ".join(result.output.split())), result.output

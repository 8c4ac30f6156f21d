"""A stranger finds the room: each says what it is for, none is a closet, and one word means one thing."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from tests.house.test_layout import ROOT, module_of, sources

LEAST_LINES = 40
MOST_PARAMETERS = 8
DOORS = {
    "vlx.__main__",
    "vlx._checkout",
    "vlx.methods.names",  # read by the command line without torch
    "vlx.scenes.bias",  # vlx.scenes.* is public
    "vlx.scenes.vocabulary",
    "vlx.files.templates",
}
PROBES = "vlx.probes."  # a probe is a file, however short


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {module_of(file): ast.parse(file.read_text(encoding="utf-8")) for file in sources()}


def many_parameters(tree: ast.AST) -> list[str]:
    """Functions of more than eight parameters; what makes an object of a public class may have more."""
    wrong = []
    for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]:
        public = isinstance(scope, ast.ClassDef) and not scope.name.startswith("_")
        for node in ast.iter_child_nodes(scope):
            if not isinstance(node, ast.FunctionDef) or (public and node.name == "__init__"):
                continue
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len([name for name in names if name not in ("self", "cls")])
            wrong += [f"{node.name} takes {count}"] if count > MOST_PARAMETERS else []
    return wrong


def class_homes(modules: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Where each public class is defined."""
    homes = defaultdict(list)
    for module, tree in modules.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(module)
    return homes


def test_no_function_takes_more_than_eight_things(trees: dict[str, ast.Module]) -> None:
    assert not {module: wrong for module, tree in trees.items() if (wrong := many_parameters(tree))}


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("def f(a, b, c, d, e, f, g, h): ...", 0),
        ("def f(a, b, c, d, e, f, g, *, h, i): ...", 1),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h): ...", 0),
        ("class A:\n    def f(self, a, b, c, d, e, f, g, h, i): ...", 1),
        ("class A:\n    def __init__(self, a, b, c, d, e, f, g, h, i): ...", 0),
        ("class _A:\n    def __init__(self, a, b, c, d, e, f, g, h, i): ...", 1),
    ],
)
def test_parameters_are_counted(code: str, count: int) -> None:
    assert len(many_parameters(ast.parse(code))) == count


def test_no_two_classes_share_a_name(trees: dict[str, ast.Module]) -> None:
    shared = {name: homes for name, homes in class_homes(trees).items() if len(homes) > 1}
    assert not shared, "one word, one thing: tell them apart"


def test_no_file_is_a_closet() -> None:
    lengths = {
        module_of(file): len(file.read_text(encoding="utf-8").splitlines())
        for file in sources()
        if file.name != "__init__.py"
    }
    small = {module: length for module, length in lengths.items() if length < LEAST_LINES}
    assert not {module for module in small if module not in DOORS and not module.startswith(PROBES)}, (
        "it goes to a neighbour"
    )


def test_every_room_says_what_it_is_for_and_what_it_gives() -> None:
    for file in sources():
        if file.name != "__init__.py" or file.parent == ROOT / "vlx":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        told = [
            node.targets[0].id
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        ]
        assert ast.get_docstring(tree), f"{file.relative_to(ROOT)} has no sentence"
        assert "__all__" in told or _is_bridge(file), f"{file.relative_to(ROOT)} has no __all__"


def _is_bridge(file: Path) -> bool:
    """Whether it leads to a folder beside vlx/, or holds nothing but data."""
    return file.parent == ROOT / "vlx" / "tasks" or not list(file.parent.glob("[a-z]*.py"))

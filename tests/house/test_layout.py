"""The house is in order: what is packaged, where files stand, which way imports point."""

import ast
import importlib.util
import os
import pickle
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIBLINGS = ("tasks", "neuron_names")
MAX_LINES = 400

# Lowest first; a module may import its own row and rows above it in this list. A package goes by its folder's name;
# "" is vlx/__init__.py, the public names.
ROWS = (
    "_checkout errors process files language",
    "pictures",
    "protocol",
    "photos scenes",
    "data",
    "methods",
    "explanation",
    "neuron_names",
    "probes",
    "tasks",
    "selftest",
    "evaluation",
    "report",
    "folder",
    "cluster models own_models pipeline",
    "auditing comparing studies",
    "",
    "cli __main__",
)
RANK = {name: rank for rank, row in enumerate(ROWS) for name in (row.split() or [""])}
# Explanation.save and .plot draw, inside the function; so does an adapter's self_test.
LAZY = {("explanation", "report"), ("tasks", "selftest")}


def setuptools_table() -> dict[str, Any]:
    tool: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    return tool


def folders(top: Path) -> Iterator[Path]:
    """Every real folder below ``top``, itself included; links made by tools/link.py are not followed."""
    for path, names, _ in os.walk(top):
        names[:] = [name for name in names if name != "__pycache__"]
        yield Path(path)


def sources() -> list[Path]:
    return sorted(file for top in ("vlx", *SIBLINGS) for folder in folders(ROOT / top) for file in folder.glob("*.py"))


def module_of(file: Path) -> str:
    """The name a source file is imported by: tasks/captioning/train.py → vlx.tasks.captioning.train."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "vlx" else ("vlx", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def folder_of(module: str) -> str:
    """The row entry of a module: vlx.scenes.world → scenes, vlx → ""."""
    return [*module.split("."), ""][1]


def imports(tree: ast.AST, modules: set[str]) -> Iterator[tuple[str, bool]]:
    """Modules of vlx that a file imports, and whether at the top of the file: not inside a function, not for types."""
    inner = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) or _typed(f) for node in ast.walk(f)}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import at line {node.lineno}"
            whole = [f"{node.module}.{alias.name}" for alias in node.names if alias.name != "__version__"]
            names = [name if name in modules else str(node.module) for name in whole]
        yield from ((name, id(node) not in inner) for name in names if name.split(".")[0] == "vlx")


def _typed(node: ast.AST) -> bool:
    """Whether it is ``if TYPE_CHECKING:``, which no run enters."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def upward(file: Path, modules: set[str]) -> list[str]:
    """What a file imports from a row below its own in ``ROWS``, as sentences."""
    here = folder_of(module_of(file))
    wrong = []
    for name, at_top in imports(ast.parse(file.read_text(encoding="utf-8")), modules):
        there = folder_of(name)
        if RANK[there] > RANK[here] and (at_top or (here, there) not in LAZY):
            wrong.append(f"{file.relative_to(ROOT)} imports {name}, which stands above it")
    return wrong


def test_every_folder_of_code_is_packaged_and_nothing_else() -> None:
    table = setuptools_table()
    beside = {
        f"vlx.{'.'.join(folder.relative_to(ROOT).parts)}": folder.relative_to(ROOT).as_posix()
        for top in SIBLINGS
        for folder in folders(ROOT / top)
        if (folder / "__init__.py").is_file()
    }
    inside = {module_of(file) for file in sources() if file.name == "__init__.py" and file.is_relative_to(ROOT / "vlx")}
    assert table["package-dir"] == beside
    assert sorted(table["packages"]) == sorted(inside | set(beside))
    assert set(table["package-data"]) <= set(table["packages"])


def test_no_module_is_left_out_of_a_package() -> None:
    loose = [str(file.relative_to(ROOT)) for file in sources() if not (file.parent / "__init__.py").is_file()]
    assert not loose, "these are in the checkout and missing from the wheel"


@pytest.mark.parametrize("top", SIBLINGS)
def test_top_folders_are_no_packages_themselves(top: str) -> None:
    assert not list((ROOT / top).glob("*.py"))


def test_there_are_no_global_names() -> None:
    code = f"import importlib.util as u; print([n for n in {SIBLINGS} if u.find_spec(n)])"
    out = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_links_are_ignored_by_git() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {"/" + package.replace(".", "/") for package in setuptools_table()["package-dir"]} <= set(ignored)


def test_coverage_measures_all_code() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert tool["coverage"]["run"]["source"] == ["vlx", *SIBLINGS]


def test_one_version() -> None:
    import vlx

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == vlx.__version__


def test_files_are_short() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in sources()}
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


def test_every_module_has_its_row() -> None:
    unknown = {folder_of(module_of(file)) for file in sources()} - set(RANK)
    assert not unknown, "give it a place in ROWS, and in DESIGN's order of imports"


def test_imports_point_down() -> None:
    modules = {module_of(file) for file in sources()}
    assert not [sentence for file in sources() for sentence in upward(file, modules)]


def circles(imported: dict[str, set[str]]) -> list[set[str]]:
    """Files that import each other, whatever the way: at the top, inside a function, for types alone."""

    def reached(start: str) -> set[str]:
        found, left = set[str](), [start]
        while left:
            new = imported[left.pop()] - found
            found |= new
            left += new
        return found

    reach = {name: reached(name) for name in imported}
    round_trips = {frozenset(b for b in reach[a] if a in reach[b]) for a in reach if a in reach[a]}
    return sorted(map(set, round_trips), key=len)


def all_imports() -> dict[str, set[str]]:
    """Module → the modules of vlx that it imports; its version is no import of the public names."""
    trees = {module_of(file): ast.parse(file.read_text(encoding="utf-8")) for file in sources()}
    return {
        module: {name for name, _ in imports(tree, set(trees)) if name in trees and name not in (module, "vlx")}
        for module, tree in trees.items()
    }


def test_files_import_in_one_circle_alone_that_of_results_which_draw_themselves() -> None:
    (found,) = circles(all_imports())
    assert {folder_of(module) for module in found} == {"explanation", "report"}


def test_the_count_of_circles_sees_them() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"a"}, "c": {"d"}, "d": {"e"}, "e": {"c"}, "f": {"a"}}) == [
        {"a", "b"},
        {"c", "d", "e"},
    ]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("module", "line", "count"),
    [
        ("vlx/methods/engine.py", "from vlx.protocol.task import Target", 0),
        ("vlx/methods/engine.py", "from vlx import __version__, pictures", 0),
        ("vlx/methods/engine.py", "import vlx.report.html", 1),
        ("vlx/methods/engine.py", "def f():\n    from vlx import report", 1),
        ("vlx/methods/engine.py", "from vlx import load", 1),
        ("tasks/captioning/train.py", "from vlx.scenes import draw", 0),
        ("tasks/captioning/train.py", "from vlx.models import load", 1),
        ("vlx/explanation/records.py", "def save():\n    from vlx import report", 0),
        ("vlx/explanation/records.py", "from vlx import report", 1),
        ("tasks/captioning/train.py", "from vlx.selftest import run", 1),
        ("tasks/captioning/train.py", "if TYPE_CHECKING:\n    from vlx.selftest import run", 0),
        ("tasks/captioning/train.py", "if TYPE_CHECKING:\n    from vlx.models import load", 1),
    ],
)
def test_the_check_sees_imports_that_point_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, line: str, count: int
) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert len(upward(write(tmp_path / module, line), {"vlx.pictures", "vlx.report"})) == count


def load_file(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bridge_leads_to_a_checkout_and_nowhere_from_a_wheel(tmp_path: Path) -> None:
    copy = write(tmp_path / "vlx" / "_checkout.py", (ROOT / "vlx" / "_checkout.py").read_text(encoding="utf-8"))
    sibling: Callable[[str], list[str]] = load_file(copy).sibling
    write(tmp_path / "tasks" / "other" / "__init__.py", "")
    write(tmp_path / "pyproject.toml", "")  # site-packages of the careless
    assert sibling("tasks") == []
    write(tmp_path / "tools" / "link.py", "")
    assert sibling("tasks") == [str(tmp_path / "tasks")]
    assert sibling("neuron_names") == []


def test_adapters_have_one_name_and_can_be_pickled() -> None:
    import vlx.tasks.captioning
    import vlx.tasks.classification

    for adapter in (vlx.tasks.captioning.CnnLstmCaptioner, vlx.tasks.classification.Classifier):
        assert adapter.__module__.startswith("vlx.tasks.")
        assert pickle.loads(pickle.dumps(adapter)) is adapter


def test_links_show_one_tree(tmp_path: Path) -> None:
    mapped = ['"vlx.tasks.new" = "tasks/new"', '"vlx.tasks.new.inner" = "tasks/new/inner"']
    write(tmp_path / "pyproject.toml", "\n".join(["[tool.setuptools.package-dir]", *mapped]))
    write(tmp_path / "tasks" / "new" / "__init__.py", "here = True")
    write(tmp_path / "tasks" / "new" / "inner" / "__init__.py", "within = True")
    write(tmp_path / "vlx" / "tasks" / "__init__.py", "")
    gone = tmp_path / "vlx" / "tasks" / "gone"
    gone.symlink_to("../../tasks/gone")
    shutil.copy(ROOT / "tools" / "link.py", write(tmp_path / "tools" / "link.py", ""))
    for _ in range(2):
        runpy.run_path(str(tmp_path / "tools" / "link.py"), run_name="__main__")
        assert (tmp_path / "vlx/tasks/new/__init__.py").read_text(encoding="utf-8") == "here = True"
        assert (tmp_path / "vlx/tasks/new/inner/__init__.py").read_text(encoding="utf-8") == "within = True"
        assert not (tmp_path / "tasks/new/inner").is_symlink()
        assert not gone.is_symlink()

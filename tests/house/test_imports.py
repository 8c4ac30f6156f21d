"""What ``import vlx`` costs and gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import vlx

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "torchvision", "numpy", "PIL", "matplotlib", "h5py", "safetensors", "jinja2", "scipy", "transformers"}
HELP_SECONDS = 0.5


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result


def imported_by(*arguments: str) -> set[str]:
    """Top-level names of all modules that a fresh python with these arguments imports."""
    lines = python("-X", "importtime", *arguments).stderr.splitlines()
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines if line.startswith("import time:")}


@pytest.mark.parametrize("arguments", [("-c", "import vlx"), ("-m", "vlx", "--help")], ids=["import vlx", "vlx --help"])
def test_nothing_heavy_is_imported(arguments: tuple[str, ...]) -> None:
    names = imported_by(*arguments)
    assert "vlx" in names
    assert not names & HEAVY


def test_the_check_sees_a_heavy_import() -> None:
    assert "numpy" in imported_by("-c", "import vlx, numpy")


def spent() -> float:
    """Seconds of the processor that processes started here have taken."""
    times = os.times()
    return times.children_user + times.children_system


def test_help_answers_at_once() -> None:
    times = []
    for _ in range(6):  # in the processor's time: the machine may be busy with something else
        start = spent()
        out = python("-m", "vlx", "--help").stdout
        times.append(spent() - start)
        if times[-1] < HELP_SECONDS:
            break
    assert min(times) < HELP_SECONDS
    assert out.startswith("Usage: vlx")


def test_public_names_are_sorted_and_there() -> None:
    assert vlx.__all__ == sorted(vlx.__all__)
    for name in vlx.__all__:
        value = getattr(vlx, name)
        assert getattr(value, "__name__", name).rpartition(".")[2] == name
    assert python("-c", "import vlx; print(set(vlx.__all__) - set(dir(vlx)))").stdout.strip() == "set()"


def test_public_names_come_from_where_they_say_after_every_module_was_imported() -> None:
    names = "print(explain.__module__, load.__module__, Explanation.__module__, scenes.__name__)\n"
    code = (
        f"from vlx import *\n{names}import importlib, pkgutil, vlx\n"
        "for module in pkgutil.walk_packages(vlx.__path__, 'vlx.'): importlib.import_module(module.name)\n"
        "print(callable(vlx.explain), callable(vlx.explain_many), callable(vlx.load))\n"
        f"from vlx import *\n{names}"
    )
    homes = "vlx.pipeline.explain vlx.models vlx.explanation.records vlx.scenes"
    assert python("-c", code).stdout.splitlines() == [homes, "True True True", homes]


def test_no_module_bears_the_name_of_a_function() -> None:
    modules = {file.stem for file in (ROOT / "vlx").iterdir() if not file.name.startswith("_")}
    assert not modules & set(vlx._HOMES)
    assert set(vlx._MODULES) <= modules
    assert {*vlx._HOMES, *vlx._MODULES, "__version__"} == set(vlx.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'vlx' has no attribute 'explian'$"):
        _ = vlx.explian  # type: ignore[attr-defined]

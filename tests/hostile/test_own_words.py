"""What libraries raise leaves vlx in its own words, with the cause; bugs and what users' own code raises stay."""

from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest
import torch
from click.testing import CliRunner
from jinja2 import Template

import vlx
from tests.explanations import caption_explanation
from tests.fakes import captioner
from vlx import errors
from vlx.cli import program
from vlx.errors import InputError, ModelError, OutputError, in_own_words

OURS = {"__name__": "vlx.pretended"}  # a line of vlx's


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import json; json.loads('{')", "JSONDecodeError"),
        ("import torch; torch.zeros(2) + torch.zeros(3)", "RuntimeError"),
        ("import torch; torch.nn.functional.embedding(torch.tensor([9]), torch.zeros(2, 2))", "IndexError"),
        ("import jinja2; jinja2.Template('{{ a.b.c }}').render()", "UndefinedError"),
        ("import matplotlib.figure as f; f.Figure().add_subplot(0)", "ValueError"),
        ("2.0 ** 10000", "OverflowError"),
        ("open('/nowhere')", "FileNotFoundError"),
        ("f = lambda: f(); globals().update(f=f); f()", "RecursionError"),
    ],
)
def test_what_a_library_raises_is_told_with_its_cause(line: str, name: str) -> None:
    with pytest.raises(ModelError, match=rf"^a\.jpg: {name}") as found, in_own_words("a.jpg", ModelError):
        exec(line, dict(OURS))
    assert type(found.value.__cause__).__name__ == name
    assert len(str(found.value)) < 300


@pytest.mark.parametrize(
    ("line", "kind"),
    [("None.shape", AttributeError), ("{}['a']", KeyError), ("1 + ''", TypeError), ("[][1]", IndexError)],
)
def test_a_bug_stays_what_it_is(line: str, kind: type[Exception]) -> None:
    with pytest.raises(kind), in_own_words("a.jpg"):
        exec(line, dict(OURS))
    with pytest.raises(InputError, match=kind.__name__), in_own_words("a.jpg", bugs=True):
        exec(line, dict(OURS))


def test_what_code_of_the_users_raises_is_the_users() -> None:
    with pytest.raises(LookupError, match="mine"), in_own_words("a.jpg"):
        exec("import json; json.loads('1', parse_int=broken)", {**OURS, "broken": _mine})
    with pytest.raises(KeyError), in_own_words("a.jpg", passing=(KeyError,), bugs=True):
        raise KeyError("it passes")


def _mine(_: Any) -> None:
    raise LookupError("mine")


def broken(kind: type[Exception]) -> Any:
    """What stands for a library's function: its frame is one of the standard library's."""

    def act(*_: Any, **__: Any) -> Any:
        raise kind("broken")

    return act


@pytest.fixture
def here_is_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "LIBRARIES", (*errors.LIBRARIES, __file__))


@pytest.mark.usefixtures("here_is_a_library")
def test_public_functions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    why = caption_explanation()
    with monkeypatch.context() as patched:
        patched.setattr(matplotlib.figure.Figure, "savefig", broken(KeyError))
        with pytest.raises(OutputError, match=r"why\.png cannot be written: KeyError"):
            why.save(tmp_path / "why.png")
        patched.setattr(matplotlib.figure.Figure, "add_subplot", broken(KeyError))
        patched.setattr(matplotlib.figure.Figure, "add_gridspec", broken(KeyError))
        with pytest.raises(InputError, match="the figure cannot be drawn: KeyError"):
            why.plot()
    with monkeypatch.context() as patched:
        patched.setattr(Template, "render", broken(LookupError))
        with pytest.raises(OutputError, match=r"why\.html cannot be written: LookupError"):
            why.save(tmp_path / "why.html")
        with pytest.raises(InputError, match="the page cannot be made: LookupError"):
            why._repr_html_()
    with monkeypatch.context() as patched:
        patched.setattr(torch, "stack", broken(IndexError))
        with pytest.raises(ModelError, match=r"cannot be explained: IndexError \(broken\)") as found:
            vlx.explain(captioner(), torch.zeros(3, 32, 32), seen=False, check=False)
        assert isinstance(found.value.__cause__, IndexError)
        (kept,) = vlx.explain_many(captioner(), [torch.zeros(3, 32, 32)], errors="keep", seen=False)
        assert isinstance(kept, vlx.Failure) and isinstance(kept.error, ModelError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("foreign", [True, False])
def test_the_command_line_tells_it_in_a_line_and_a_bug_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, foreign: bool
) -> None:
    if foreign:
        monkeypatch.setattr(errors, "LIBRARIES", (*errors.LIBRARIES, __file__))
    monkeypatch.setattr("vlx.scenes.export.export", broken(LookupError))
    ran = CliRunner().invoke(program.main, ["draw", "1", "--out", str(tmp_path)])
    assert ran.exit_code == 1
    assert ran.output == ("Error: vlx: LookupError (broken)\n" if foreign else "")
    assert isinstance(ran.exception, SystemExit if foreign else LookupError)


def test_a_library_of_an_environment_that_this_one_builds_on_is_a_library(tmp_path: Path) -> None:
    place = tmp_path / "base" / "lib" / "python3" / "site-packages" / "other.py"
    library: dict[str, Any] = {"__name__": "other"}
    exec(compile("def act(): raise KeyError('broken')", str(place), "exec"), library)
    caller: dict[str, Any] = {"__name__": "vlx.caller"}
    exec("def call(act): act()", caller)
    with pytest.raises(InputError, match="KeyError"), errors.in_own_words("it"):
        caller["call"](library["act"])

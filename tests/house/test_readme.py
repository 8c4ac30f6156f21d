"""README.md: its Python is run, in order, and it stays one page; other pages: `tests/house/test_pages.py`."""

import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

import vlx
from tests.fakes import picture
from tests.pages import README, blocks, python_blocks

LONGEST = 150  # lines


def adapter() -> str:
    return next(code for code in python_blocks() if "CnnLstmCaptioner(" in code)


def test_blocks_are_found_and_left_out() -> None:
    text = "one\n\n```python\na = 1\n```\n*Not run by the tests: no network.*\n```python\nb\n```\n```sh\nls\n```\n"
    assert blocks(text, "python") == [("a = 1\n", ""), ("b\n", "no network")]
    assert blocks(text, "sh") == [("ls\n", "")]
    assert len(blocks(README.read_text(encoding="utf-8"), "python")) >= 2


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(0, 300, 200).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for number, code in enumerate(python_blocks()):
        exec(compile(code, f"README.md, python block {number + 1}", "exec"), namespace)
    plt.close("all")
    assert isinstance(namespace["why"], vlx.Explanation)


def test_the_adapter_of_the_readme_explains_a_picture(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(compile(adapter(), "README.md, the adapter", "exec"), namespace)
    why = vlx.explain(namespace["task"], picture(0, 300, 200), caption="a dog on grass")
    assert [word.label for word in why] == ["a", "dog", "on", "grass"]
    assert any(word.heatmap.any() for word in why)
    assert why["dog"].seen is not None
    assert not [
        note for note in why.notes if "these references are unlike the picture" not in note
    ]  # its weights are random
    beamed = vlx.explain(namespace["task"], picture(0, 300, 200), beams=3)
    assert beamed.sentence.logprob <= 0


def test_the_adapter_has_about_fifteen_lines() -> None:
    lines = [line for line in adapter().splitlines() if line.strip() and not re.match(r"\s*(import|from|#)", line)]
    assert len(lines) <= 18


def test_it_is_one_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST

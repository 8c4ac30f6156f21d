"""The Python of README.md and docs/your-model.md is run, in order; `<!-- not run: reason -->` leaves a block out."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import matplotlib.pyplot as plt
import pytest
import torch
from click.testing import CliRunner

import vlx
from tests.fakes import picture
from vlx.cli.program import main

README = Path(__file__).resolve().parents[2] / "README.md"
OWN_MODEL = README.parent / "docs" / "your-model.md"
FENCE = re.compile(r"(?P<before>[^\n]*)\n\n?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
SKIP = re.compile(r"<!-- not run: (?P<reason>.+?) -->")


def blocks(text: str, language: str) -> list[tuple[str, str]]:
    """(code, reason why it is not run, or "") of every block in a language."""
    found = []
    for match in FENCE.finditer(text):
        skipped = SKIP.search(match["before"])
        if match["language"] == language:
            found.append((match["code"], skipped["reason"] if skipped else ""))
    return found


def python_blocks(page: Path = README) -> list[str]:
    return [code for code, reason in blocks(page.read_text(encoding="utf-8"), "python") if not reason]


def adapter() -> str:
    return next(code for code in python_blocks() if "CnnLstmCaptioner(" in code)


def test_blocks_are_found_and_left_out() -> None:
    text = "one\n\n```python\na = 1\n```\n<!-- not run: no network -->\n```python\nb\n```\n```sh\nls\n```\n"
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


def test_a_newcomer_wraps_a_sigmoid_classifier_a_channels_last_captioner_and_a_vit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(0, 300, 200).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    namespace: dict[str, Any] = {}
    for number, code in enumerate(python_blocks(OWN_MODEL)):
        exec(compile(code, f"your-model.md, python block {number + 1}", "exec"), namespace)
    told = capsys.readouterr().out
    assert "A was [B, h, w, K] and is laid out as [B, K, h, w]" in told
    assert "(4, 4)" in told


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


def test_commands_of_the_readme_exist() -> None:
    commands = set()
    for code, _ in blocks(README.read_text(encoding="utf-8"), "sh"):
        for line in re.split(r"\n|&&|;", code):
            words = shlex.split(line, comments=True)
            if words[:1] == ["vlx"]:
                commands.add(words[1])
                options = [word for word in words[2:] if word.startswith("--")]
                group = isinstance(main.commands[words[1]], click.Group)
                help_text = CliRunner().invoke(main, [*words[1 : 3 if group else 2], "--help"]).output
                assert all(option in help_text for option in options), line
    assert commands >= {"demo", "caption", "draw", "models"}
    assert commands <= set(main.commands)


def test_files_that_the_readme_shows_exist() -> None:
    text = README.read_text(encoding="utf-8")
    shown = [target for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", text)]
    assert shown
    missing = [target for target in shown if not (README.parent / target.split("#")[0]).exists()]
    assert missing == []

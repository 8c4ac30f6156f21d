"""The terminal answers first: short, whole at any width, in any encoding."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from tests.cli.test_cli import run
from tests.explanations import CHECK, answer_explanation, caption_explanation, contrast_explanation, reasoned
from tests.fakes import picture, tiny_bundle
from vlx.cli import streams
from vlx.report import brief, text
from vlx.scenes import draw

ROOT = Path(__file__).parents[2]


def printed(shown: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(shown)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


# What stands there


def test_a_caption_has_a_row_a_word_with_what_it_owes_and_its_reasons() -> None:
    why = reasoned(caption_explanation(labels=("a", "red", "house", "in", "snow")))
    lines = printed(brief.brief(why, 80), 80)
    assert lines[0] == "it says: a red° house° in snow°"
    assert lines[1].split("  ")[0] == "word" and "owed to the picture" in lines[1] and "because of" in lines[1]
    rows = {line.split()[0]: line for line in lines[2:7]}
    assert list(rows) == ["a", "red°", "house°", "in", "snow°"]
    assert re.fullmatch(r"a +99\.0 % +92 %( +.*)?", rows["a"])
    assert " against it" in rows["house°"]
    assert "fur 0 ✓, fur 1 ✗, fur 2 –" in rows["red°"]
    assert "despite" not in " ".join(lines) and "log p" not in " ".join(lines)


@pytest.mark.parametrize(
    ("nats", "told"),
    [
        (0.0, "0 %"),
        (-0.0, "0 %"),
        (0.001, "< 1 %"),
        (0.6931, "50 %"),
        (3.0, "95 %"),
        (9.0, "> 99 %"),
        (-1, "against it"),
    ],
)
def test_what_is_owed_is_told_in_percent_of_p_as_the_page_has_it(nats: float, told: str) -> None:
    assert brief.owed(replace(caption_explanation()[0], seen=nats)) == told


def test_not_more_than_three_reasons_and_perhaps_where_they_were_not_shown_to_matter() -> None:
    told = reasoned(caption_explanation(), check=replace(CHECK, effect=0.1))
    rows = printed(brief.brief(told, 120), 120)[2:7]
    assert all("perhaps fur 0 ✓, fur 1 ✗, fur 2 –" in row for row in rows)
    assert all(row.count("fur") == 3 for row in rows)
    assert "perhaps: not shown to matter" in str(brief.legend(told)[-1])


def test_function_words_share_a_line_where_they_are_many() -> None:
    words = caption_explanation(labels=("a", "dog", "in", "the", "snow"))
    lines = printed(brief.brief(words, 80), 80)
    assert [line.split()[0] for line in lines[2:4]] == ["dog°", "snow°"]
    assert lines[4] == "function words: a 99.0 %, in° 36.4 %, the 22.1 %"
    letters = replace(caption_explanation(labels=("a", "i", "d", "i", "a")), text="aidia")
    assert not any("function words" in line for line in printed(brief.brief(letters, 80), 80))
    only = caption_explanation(labels=("a", "in", "the", "of", "an"))
    assert [line.split()[0] for line in printed(brief.brief(only, 80), 80)[2:7]] == ["a", "in°", "the°", "of", "an°"]


def test_an_answer_a_contrast_and_an_empty_text() -> None:
    lines = printed(brief.brief(answer_explanation(), 80), 80)
    assert lines[:2] == ["asked: what color is the car?", "it answers: red"]
    assert [line.split()[0] for line in lines[2:4]] == ["answer", "red"]
    assert "93 %" in lines[3]
    assert lines[4].startswith("otherwise: white 3.0 %, blue ")
    lines = printed(brief.brief(contrast_explanation(), 80), 80)
    assert "asked to explain: red rather than white" in lines
    assert any(re.search(r"red − white +95\.1 % +74 × likelier", line) for line in lines)
    assert not any("otherwise" in line for line in lines)
    nothing = replace(caption_explanation(), text="", words=(), phrases=())
    assert "(nothing)" in printed(brief.brief(nothing, 80), 80)[0]


def test_marks_are_explained_once_and_only_where_they_stand() -> None:
    assert brief.legend(replace(caption_explanation(), words=())) == []
    plain = caption_explanation()
    unseen = replace(plain, words=tuple(replace(word, seen=None, looked=None) for word in plain))
    assert brief.legend(unseen) == []
    assert len(brief.legend(plain, answer_explanation())) == 1
    assert "owed to" not in " ".join(printed(brief.brief(unseen, 80), 80))


# Whole at any width


def cut(lines: list[str]) -> list[str]:
    return [line for line in lines if "…" in line]


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100, 120])
@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_is_cut(width: int, verbose: bool) -> None:
    label = "Staffordshire bullterrier, Staffordshire bull terrier"
    for why in (
        reasoned(caption_explanation(labels=("a", "checkered", "supercalifragilisticexpialidocious", "in", "snow"))),
        reasoned(answer_explanation(text=label)),
        reasoned(contrast_explanation(), "a long name of a concept"),
    ):
        shown = text.table(why, width) if verbose else brief.brief(why, width)
        lines = printed(shown, width)
        assert not cut(lines), lines
        assert max(map(len, lines)) <= width
        whole = re.sub(r"\s", "", "".join(lines))
        for word in why.words:
            for letters in re.findall(r"\w+", word.label)[:1]:
                assert letters[:8] in whole
            assert brief.owed(word, why.instead_of).split()[0] in whole or verbose
        if width >= 60 and not verbose:
            assert not any(re.match(r"\s*[✓✗–]", line) for line in lines), "a mark parted from its name"


# Any encoding


class Old(io.TextIOWrapper):
    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "latin-1", "utf-8"])
def test_every_sign_is_written_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Old(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", Old(encoding))
    streams.spoken()
    stream.write("✓ ✗ − – → ° × … 3×10⁻⁴ 2×10⁵ “a” █▌ é 漢 \udcff\n")
    stream.flush()
    told = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    if encoding == "ascii":
        assert told == '+ x - - -> * x ... 3x10^-4 2x10^5 "a" ## e ? ?\n'
    if encoding == "utf-8":
        assert told.startswith("✓ ✗ − – → ° × … 3×10⁻⁴")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("brief")
    tiny_bundle(folder / "tiny")
    picture(1, 60, 40).save(folder / "shown.png")
    yield folder


def vlx(there: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    own = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "COLUMNS": "60", **environment}
    return subprocess.run([sys.executable, "-m", "vlx", *arguments], cwd=there, env=own, capture_output=True)


@pytest.mark.slow
def test_a_pipe_of_windows_takes_the_answer(there: Path) -> None:
    asked = ("caption", "shown.png", "--model", "tiny", "--caption", "a red house", "-v")
    done = vlx(there, *asked, "-o", "old", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr
    assert "asked to explain:" in done.stdout.decode("cp1252")
    assert b"Traceback" not in done.stderr and b"\x1b" not in done.stdout


@pytest.mark.parametrize("encoding", ["cp1252", pytest.param("utf-8", marks=pytest.mark.slow)])
def test_json_is_whole_in_every_encoding(there: Path, encoding: str) -> None:
    (there / "größe 漢.png").write_bytes((there / "shown.png").read_bytes())
    asked = ("caption", "größe 漢.png", "--model", "tiny", "--caption", "a red house", "--json", "-o", "json")
    done = vlx(there, *asked, PYTHONIOENCODING=encoding, LC_ALL="C.UTF-8")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.decode(encoding))
    assert list(told)[:4] == ["path", "caption", "text", "words"]
    assert told["path"] == "größe 漢.png"
    assert [(word["word"], 0 < word["p"] < 1) for word in told["words"]] == [
        ("a", True),
        ("red", True),
        ("house", True),
    ]


# The commands


def test_a_picture_is_told_in_brief_and_the_rest_by_verbose(there: Path, tmp_path: Path) -> None:
    asked = ("caption", there / "shown.png", "--model", there / "tiny", "--caption", "a red house")
    short = run(*asked, "-o", tmp_path / "short").output
    whole = run(*asked, "-o", tmp_path / "whole", "--verbose").output
    assert "owed to the picture" in short and "log p" not in short and "check:" not in short
    assert "log p" in whole and "check:" in whole and "layercam" in whole
    assert len(short.splitlines()) < len(whole.splitlines())
    assert short.splitlines()[-1] == str(tmp_path / "short" / "shown.html")


def test_the_demo_fits_on_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = run("demo", "-o", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith("it says: ")
    assert draw(10_000_021).caption in " ".join(result.output.split()), "the scene of a demo without a seed"
    assert not cut(lines)

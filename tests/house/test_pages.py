"""The pages of docs/: their Python runs, their commands and links are there, what is generated is not stale."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import click
import matplotlib.pyplot as plt
import pytest
import torch

from benchmarks.planted import picture as noise
from tests.fakes import picture
from tests.house.test_layout import ROWS
from tests.pages import DOCS, LINK, README, ROOT, anchors, blocks, commands, name_of, pages, python_blocks
from tools import docs
from vlx.cli.program import main
from vlx.methods import registry as methods
from vlx.probes import registry as probes
from vlx.selftest.run import ALL, self_test

RUN = [page for page in pages() if python_blocks(page)]
# Whatever of the pages' Python is not run, and why; the reason stands on the page, too.
NOT_RUN = {
    ("docs/how-to/own-captioner.md", "a file of its own"),
    ("docs/how-to/own-model.md", "a file of its own"),
    ("docs/how-to/own-model.md", "it needs a CLIP model; tests/tasks/test_tokens.py runs it on a tiny one"),
}
PROBES = ("patch probe", "patch probe 3:2", "every crop")  # rows of the self-test beside those of ALL


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader has a photo.jpg; what a page registers is forgotten."""
    picture(0, 300, 200).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    for registry in (methods, probes):
        monkeypatch.setattr(registry, "_OWN", {})  # a page's own
    return tmp_path


def fewer(code: str) -> str:
    """The same of two drawn scenes, where a page takes more.

    >>> fewer('open_data("scenes:400:10000000")')
    'open_data("scenes:2:10000000")'
    """
    return re.sub(r'(?<="scenes:)\d+', "2", code)


def run(page: Path) -> dict[str, Any]:
    """The names that a page's Python leaves behind."""
    torch.manual_seed(0)
    namespace: dict[str, Any] = {}
    for number, code in enumerate(python_blocks(page)):
        exec(compile(fewer(code), f"{name_of(page)}, python block {number + 1}", "exec"), namespace)
    plt.close("all")
    return namespace


@pytest.mark.parametrize("page", [page for page in RUN if page != README], ids=name_of)
def test_the_python_of_a_page_runs(page: Path, folder: Path) -> None:
    assert run(page)


def test_what_is_not_run_is_listed() -> None:
    skipped = {(name_of(page), why) for page in pages() for _, why in blocks(page.read_text("utf-8"), "python") if why}
    assert skipped == NOT_RUN


def test_a_newcomer_wraps_a_channels_last_captioner_and_a_vit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(DOCS / "how-to" / "own-captioner.md")
    assert "A was [B, h, w, K] and is laid out as [B, K, h, w]" in capsys.readouterr().out
    run(DOCS / "how-to" / "own-model.md")
    assert "(4, 4)" in capsys.readouterr().out


def test_the_template_of_an_adapter_is_short_and_passes_the_self_test(folder: Path) -> None:
    code = next(code for code in python_blocks(DOCS / "adapters.md") if "class MyTask" in code)
    body = code[code.index("class MyTask") : code.index("torch.manual_seed")]
    assert len([line for line in body.splitlines() if line.strip()]) <= 18
    task = run(DOCS / "adapters.md")["task"]
    assert self_test(task, noise(), cells=4).failed == ()


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_of_a_page_exist(page: Path) -> None:
    wrong = [" ".join(words) for words in commands(page) if not known(words)]
    assert wrong == []


def known(words: list[str]) -> bool:
    """Whether there is such a command, with all its options, or such a module."""
    if words[0] == ".ci/run":
        usage = (ROOT / ".ci" / "run").read_text(encoding="utf-8").rsplit("usage:", 1)[1]
        return all(re.search(rf"\b{verb}\b", usage) for verb in words[1:2])
    if words[0] == "python":
        return importlib.util.find_spec(words[2].rstrip(".,")) is not None
    command: click.Command = main
    rest = words[1:]
    while isinstance(command, click.Group) and rest and re.fullmatch(r"[a-z]+", rest[0]):
        if rest[0] not in command.commands:
            return False
        command, rest = command.commands[rest[0]], rest[1:]
    options = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}
    return {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)} <= options


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ("vlx names check T.h5 --model M", True),
        ("vlx names chek T.h5", False),
        ("vlx caption a.jpg --metod gradcam", False),
        ("vlx answer a.jpg QUESTION -o out", True),
        ("python -m benchmarks.words", True),
        ("python -m benchmarks.wrods", False),
        (".ci/run docs", True),
        (".ci/run dosc", False),
    ],
)
def test_a_command_that_is_not_there_is_seen(words: str, there: bool) -> None:
    assert known(words.split()) == there


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        included = DOCS in there.parents and there.stem in ("contributing", "security", "changelog")
        file = ROOT / f"{there.stem.upper()}.md" if included else there
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    assert wrong == []


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r": ([\w/-]+\.md)$", text.split("\nnav:")[1], flags=re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_generated_pages_are_not_stale() -> None:
    assert docs.stale() == [], "run python -m tools.docs"


def test_a_stale_page_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in docs.pages().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("| formula |", "| former |"), encoding="utf-8")
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    assert docs.stale() == ["methods.md"]


def test_architecture_names_every_room_and_nothing_that_is_not_there() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = text.split(docs.BEGIN.format("rooms"))[1].split(docs.END.format("rooms"))[0]
    rooms = {name for row in ROWS for name in row.split()} - {"tasks", "neuron_names"}
    assert not [name for name in rooms if f"`vlx/{name}/`" not in table and f"`vlx/{name}.py`" not in table]
    named = re.findall(r"`((?:vlx|tasks|neuron_names|tests|tools|benchmarks|docs)/[\w/.-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_part_of_what_was_measured_names_its_command() -> None:
    text = (DOCS / "measured.md").read_text(encoding="utf-8")
    parts = text.split("\n## ")[2:]  # after what was missed
    assert len(parts) >= 16
    assert not [part.splitlines()[0] for part in parts if not re.search(r"`(vlx|python -m)\s|tests/", part)]


def test_every_row_of_the_self_test_is_a_trap_and_every_number_in_the_code_is_one() -> None:
    text = (DOCS / "traps.md").read_text(encoding="utf-8")
    numbered = [line.split(" | ") for line in text.splitlines() if re.match(r"\| \*\*T\d+", line)]
    numbers = [re.sub(r"\D", "", row[0]) for row in numbered]
    assert sorted(map(int, numbers)) == list(range(1, len(numbers) + 1)), "each number once"
    rows = " ".join(row[-1] for row in numbered)
    assert not [name for name in (*ALL, *PROBES) if name not in rows]
    files = [*(ROOT / "vlx").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    cited = {n for file in files for n in re.findall(r"\bT(\d{1,2})\b", docstrings(file.read_text(encoding="utf-8")))}
    assert cited
    assert cited <= set(numbers)


def test_the_check_of_a_row_cites_the_traps_that_the_page_gives_it() -> None:
    lines = (DOCS / "traps.md").read_text(encoding="utf-8").splitlines()
    told: dict[str, set[str]] = {}
    for number, row in ([*re.findall(r"T\d+", line)[:1], line.split(" | ")[-1]] for line in lines if "| **T" in line):
        for name in ALL:
            if re.search(rf"(^|, ){name}( \(|;|,| \||$)", row):
                told.setdefault(name, set()).add(number)
    cited = {name: set(re.findall(r"T\d+", (check.__doc__ or "").split(":")[0])) for name, check in ALL.items()}
    assert cited == told


def docstrings(code: str) -> str:
    return " ".join(re.findall(r'"""(.*?)"""', code, flags=re.DOTALL))

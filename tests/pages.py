"""README.md and the pages of docs/: their blocks of code, the commands in them, their links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
INCLUDED = re.compile(r'--8<-- "(?P<file>.+?)"')  # a page that is a file of the root
FENCE = re.compile(r"(?P<before>[^\n]*)\n\n?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
SKIP = re.compile(r"\*Not run by the tests: (?P<reason>.+?)\.?\*$")
LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<target>[^)\s]+)\)")


def pages() -> list[Path]:
    """README, CONTRIBUTING, SECURITY and every page of docs/ that is written there."""
    docs = [page for page in sorted(DOCS.rglob("*.md")) if not INCLUDED.search(page.read_text(encoding="utf-8"))]
    return [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *docs]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(text: str, language: str) -> list[tuple[str, str]]:
    """(code, reason why it is not run, or "") of every block in a language."""
    found = []
    for match in FENCE.finditer(text):
        skipped = SKIP.search(match["before"])
        if match["language"] == language:
            found.append((match["code"], skipped["reason"] if skipped else ""))
    return found


def python_blocks(page: Path = README) -> list[str]:
    """The Python of a page that is run, in order."""
    return [code for code, reason in blocks(page.read_text(encoding="utf-8"), "python") if not reason]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command line of a page, in its blocks and in its text: vlx …, python -m …, .ci/run …"""
    text = page.read_text(encoding="utf-8")
    lines = [line for code, _ in blocks(text, "sh") for line in re.split(r"\n|&&|;", code)]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
    for line in lines:
        try:
            words = shlex.split(line.replace("…", " "), comments=True)
        except ValueError:  # a piece of Python with one quotation mark
            continue
        if words[:1] in (["vlx"], [".ci/run"]) or words[:2] == ["python", "-m"]:
            yield words


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in titles}

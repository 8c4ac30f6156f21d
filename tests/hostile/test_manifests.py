"""A manifest that somebody edited: the run goes on with it, or refuses it; nothing of it enters a page as it stands."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import vlx
from tests.explanations import caption_explanation
from vlx import folder
from vlx.errors import Failure, InputError
from vlx.folder.item import Item
from vlx.folder.manifest import NAME, Job, Manifest

JOB = Job("caption", "tiny", "abc", {"beams": 1})
GIVEN = [Item("a.png"), Item("bad.png"), Item("b.png", {"question": "what?"})]
PAYLOAD = '"><script>alert(1)</script>'
VALUES: list[Any] = [None, 5, -1, 1.5, True, "x", "", [], ["a"], {}, {"a": 1}, float("nan"), 10**18, 10**30, PAYLOAD]
VALUES += ["../../x.html", "javascript:alert(1)", "\\\\host\\x.html"]
LEFT_OUT = object()


def explained(asked: Sequence[Item]) -> Iterator[vlx.Explanation | Failure]:
    """Made-up explanations; pictures named bad cannot be explained."""
    for item in asked:
        yield Failure(item.path, InputError("is no picture")) if "bad" in item.path else caption_explanation(1)


def run(out: Path) -> None:
    with Manifest.opened(out, JOB) as held:
        folder.run(held, GIVEN, explained)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a manifest of two results and a failure."""
    out = tmp_path_factory.mktemp("whole")
    run(out)
    return (out / NAME).read_text().splitlines()


def works_or_is_refused(out: Path, lines: Sequence[str]) -> str | None:
    """Run with these lines in the folder, and give what was refused; nothing may be in the gallery as it stands."""
    (out / NAME).write_text("\n".join(lines) + "\n")
    try:
        run(out)
    except InputError as error:
        assert len(str(error)) < 300 + len(str(out))
        return str(error)
    page = (out / "index.html").read_text()
    assert PAYLOAD not in page
    assert 'href="..' not in page
    return None


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("value", [*VALUES, LEFT_OUT], ids=lambda value: repr(value)[:20])
def test_an_edited_line_works_or_is_refused(tmp_path: Path, lines: list[str], number: int, value: Any) -> None:
    record = json.loads(lines[number])
    parts = [(record, name) for name in record]
    parts += [(word, name) for word in record.get("words", ())[:1] for name in word]
    for holder, name in parts:
        kept = dict(holder)
        holder[name] = value
        if value is LEFT_OUT:
            del holder[name]
        works_or_is_refused(tmp_path, [*lines[:number], json.dumps(record), *lines[number + 1 :]])
        holder.clear()
        holder.update(kept)
    assert works_or_is_refused(tmp_path, lines) is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("thumbnail", PAYLOAD, r"it.thumbnail is not base64"),
        ("page", "../a.html", r"it.page is not the name of a page in the folder"),
        ("page", "javascript:alert(1)", r"it.page is not the name of a page in the folder"),
        ("status", "cool", r"it.status is not one of started, done, failed"),
        ("words", [{"word": "a"}], r"it.words\[0\].logprob is not there"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, lines: list[str], name: str, value: Any, message: str) -> None:
    record = json.loads(lines[1]) | {name: value}
    (tmp_path / NAME).write_text("\n".join([lines[0], json.dumps(record), ""]))
    with pytest.raises(InputError, match=f"line 2 is damaged, or no manifest's \\({message}"):
        run(tmp_path)

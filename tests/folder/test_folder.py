"""Many pictures: what was named, names of pages, the manifest, runs that are cut off, tables and the gallery."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import vlx
from tests.explanations import caption_explanation
from tests.fakes import picture, tiny_bundle
from vlx import folder
from vlx.cli.program import main
from vlx.errors import Failure, ImageError, InputError
from vlx.folder import gallery, records
from vlx.folder.inputs import items
from vlx.folder.item import Found, Item, crossed
from vlx.folder.manifest import NAME, Job, Manifest, free
from vlx.folder.names import stems
from vlx.report import html

JOB = Job("caption", "tiny", "abc", {"beams": 1})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures in a folder, one below it, a hidden one, and a text."""
    for name in ("b.png", "a.JPG", "c.png", "deep/d.png", ".hidden.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(len(name)).convert("RGB").save(path)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    return tmp_path / "photos"


def paths(found: Found) -> list[str]:
    return [Path(item.path).name for item in found.items]


# What was named


def test_folders_patterns_and_lines_name_pictures(photos: Path) -> None:
    assert paths(items([str(photos)])) == ["a.JPG", "b.png", "c.png"]
    assert paths(items([str(photos)], recursive=True)) == ["a.JPG", "b.png", "c.png", "d.png"]
    assert paths(items([str(photos)], recursive=True, leave_out=photos / "deep")) == ["a.JPG", "b.png", "c.png"]
    assert paths(items([f"{photos}/*.png"])) == ["b.png", "c.png"]
    assert paths(items([f"{photos}/**/*.png"])) == ["b.png", "c.png", "d.png"]
    assert paths(items(["-"], stdin=["x.png\n", "\n", '{"path": "y z.png"}\n'])) == ["x.png", "y z.png"]
    assert paths(items(["-"], stdin=["x.png\0y.png\0"])) == ["x.png", "y.png"]
    twice = items([str(photos / "b.png"), str(photos)])
    assert paths(twice) == ["b.png", "a.JPG", "c.png"]
    assert twice.notes == ("named more than once, explained once: 1",)
    assert paths(items(["missing.png"])) == ["missing.png"]


def test_a_file_with_a_pattern_in_its_name_is_that_file(photos: Path) -> None:
    (photos / "b.png").rename(photos / "[1].png")
    (photos / "c.png").rename(photos / "1.png")
    assert paths(items([str(photos / "[1].png")])) == ["[1].png"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{}/*.gif", r"no file has a name like it; is the pattern right, and quoted\?"),
        ("{}/empty", r"no picture in this folder; it holds 0 files of other kinds"),
        ("{}/upper", r"no picture in this folder; for those in the folders below add --recursive"),
        ("{}/none.csv", r"no such list"),
    ],
)
def test_what_names_no_picture_is_refused(photos: Path, given: str, message: str) -> None:
    (photos / "empty").mkdir()
    (photos / "upper" / "lower").mkdir(parents=True)
    with pytest.raises(InputError, match=message):
        items([given.format(photos)])
    with pytest.raises(InputError, match="no picture was named"):
        items(["-"], stdin=["\n"])


def test_lists_give_every_picture_its_texts(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"path": "b.png", "caption": "a dog", "id": 3}, {"path": "c.png", "instead_of": {"dog": "cat"}}]
    (photos / "list.jsonl").write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    found = items([str(photos / "list.jsonl")], ("caption", "instead_of"))
    assert [item.path for item in found.items] == [str(photos / "b.png"), str(photos / "c.png")]
    assert [item.texts for item in found.items] == [{"caption": "a dog"}, {"instead_of": {"dog": "cat"}}]
    assert found.notes == (f"{photos / 'list.jsonl'}: not used here: id",)
    (tmp_path / "list.csv").write_text('\ufeffpath,caption\nphotos/a.JPG,"one, two"\nphotos/b.png,\n', encoding="utf-8")
    monkeypatch.chdir(photos)  # paths are those of the list's folder, wherever one is
    found = items([str(tmp_path / "list.csv")], ("caption",))
    assert [(Path(item.path).name, item.texts) for item in found.items] == [
        ("a.JPG", {"caption": "one, two"}),
        ("b.png", {}),
    ]
    assert all(Path(item.path).is_file() for item in found.items)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.jsonl", '{"path": "a"}\n{"path": ', r"line 2: no JSON"),
        ("l.jsonl", '["a"]', r"line 1: no object"),
        ("l.jsonl", '{"file": "a"}', r"line 1: no path; every line needs one \(columns: file\)"),
        ("l.jsonl", '{"path": 3}', r"line 1: no path"),
        ("l.jsonl", '{"path": "a", "caption": ["b"]}', r"line 1: caption is list, not a text"),
        ("l.jsonl", '{"path": "a", "captoin": "b"}', r"no column 'captoin' is known; close: caption"),
        ("l.jsonl", "[" * 100_000, r"line 1: no JSON"),
        ("l.csv", "path,caption\na,b,c\n", r"line 2: more cells than the header has"),
        ("l.csv", "path,caption\na\n", r"line 2: fewer cells than the header has"),
        ("l.csv", "file;caption\na;b\n", r"line 2: no path"),
        ("l.csv", b"path\n\xff.png\n", r"is not UTF-8 \(after line 0\)"),
        ("l.csv", 'path\n"a.png\n' + "b.png\n" * 30_000, r"no CSV that can be read"),
        ("l.jsonl", '{"path": "a"}\n' + "\0" * (1 << 21), r"line 2: over 1,048,576 characters"),
        ("l.csv", "path\n" + "\0" * (1 << 21), r"line 2: over 1,048,576 characters"),
    ],
)
def test_lists_that_cannot_be_read_name_the_line(tmp_path: Path, name: str, text: Any, message: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as caught:
        items([str(tmp_path / name)], ("caption",))
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["l.csv", "l.jsonl"])
def test_a_list_that_is_one_line_is_refused_before_it_is_in_memory(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(1 << 28)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="line 1: over 1,048,576 characters"):
            folder.questions(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()


def test_questions_are_asked_of_every_picture_or_of_their_own(photos: Path) -> None:
    (photos / "q.csv").write_text("question,answer\nwhat?,red\nwhere?,\n")
    asked, _ = folder.questions(photos / "q.csv")
    assert asked == [{"question": "what?", "answer": "red"}, {"question": "where?"}]
    both = crossed(items([str(photos)]), [one for one in asked if isinstance(one, dict)])
    assert len(both.items) == 6 == len({item.key for item in both.items})
    (photos / "q.jsonl").write_text('{"path": "b.png", "question": "what?"}')
    own, _ = folder.questions(photos / "q.jsonl")
    assert isinstance(own[0], Item)
    assert (Path(own[0].path).name, own[0].texts) == ("b.png", {"question": "what?"})
    (photos / "none.csv").write_text("path,answer\nb.png,red\n")
    with pytest.raises(InputError, match=r"none.csv, line 2: no question"):
        folder.questions(photos / "none.csv")


# Names


def test_pages_never_collide(tmp_path: Path) -> None:
    given = [Item("a/x.jpg"), Item("b/x.png"), Item("b/X.gif"), Item("index.png"), Item("y.jpg"), Item("z" * 300)]
    given += [Item("y.jpg", {"question": "what?"}), Item("foreign.png"), Item("\udcff?#.png"), Item("...")]
    (tmp_path / "foreign.html").write_text("not ours")
    with Manifest.opened(tmp_path, JOB) as held:
        found = stems(given, held)
        assert len({stem.casefold() for stem in found.values()}) == len(given)
        assert found == stems(given, held)
        assert all(re.fullmatch(r"[xX]-[0-9a-f]{8}", found[item.key]) for item in given[:3])
        assert found[given[3].key] != "index"
        assert found[given[7].key] != "foreign"
        assert stems(given, held, overwrite=True)[given[7].key] == "foreign"
        for stem in found.values():
            (tmp_path / f"{stem}.html").write_text("fits")
        held.append({"key": given[0].key, "status": "started", "page": "x.html"})
        assert stems([given[0]], held)[given[0].key] == "x"  # what the manifest knows keeps its name


# Runs


def explained(asked: Sequence[Item]) -> Iterator[vlx.Explanation | Failure]:
    """Made-up explanations; pictures named bad cannot be explained."""
    for item in asked:
        seed = int.from_bytes(item.path.encode()[-5:], "big")
        yield Failure(item.path, ImageError("is no picture")) if "bad" in item.path else caption_explanation(seed)


def files_of(out: Path) -> dict[str, bytes]:
    """Every file by name; the manifest without its seconds."""
    found = {path.name: path.read_bytes() for path in out.iterdir()}
    found[NAME] = re.sub(rb',"seconds":[\d.e-]+', b"", found[NAME])
    return found


def whole(out: Path, given: Sequence[Item], **options: Any) -> folder.Summary:
    out.mkdir(exist_ok=True)
    with Manifest.opened(out, JOB) as held:
        return folder.run(held, given, explained, **options)


GIVEN = [Item("a.png"), Item("bad.png"), Item("b.png"), Item("d/a.png"), Item("c.png", {"caption": "a dog"})]


def test_a_run_writes_pages_manifest_table_and_gallery(tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = whole(out, GIVEN)
    assert (summary.done, summary.again, summary.left) == (4, 0, 0)
    assert summary.failed == (("bad.png", "is no picture"),)
    assert (summary.words, summary.not_owed) == (20, 12)  # .01, −.3 and .2 nats of every five
    lines = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    assert (lines[0]["command"], lines[0]["weights"], lines[0]["options"]) == ("caption", "abc", {"beams": 1})
    assert [line["status"] for line in lines[1:]] == ["done", "failed", "done", "done", "done"]
    assert [line["path"] for line in lines[1:]] == [item.path for item in GIVEN]
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert tuple(rows[0]) == records.COLUMNS
    assert (rows[1]["word"], rows[1]["seen"], rows[1]["owed"], rows[1]["logprob"]) == ("red", "0.01", "no", "-0.51")
    page = (out / "index.html").read_text()
    assert "<script>alert" not in page
    assert all(f'href="{line["page"]}"' in page for line in lines[1:] if line["page"])
    assert {line["page"] for line in lines[1:] if line["page"]} | {"index.html", NAME, "results.csv"} == {
        path.name for path in out.iterdir()
    }


def test_the_peak_box_is_the_cell_of_the_peak() -> None:
    word = caption_explanation(cropped=False)[0]
    box = records.peak_box(word)
    assert box is not None
    left, top, right, bottom = box
    y, x = divmod(int(word.heatmap.argmax()), word.heatmap.shape[1])
    assert left <= x <= right
    assert top <= y <= bottom
    assert records.peak_box(caption_explanation()[3]) is None


class Cut(BaseException):
    """Ends a run as a kill would."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that are written in no time."""

    monkeypatch.setattr(html, "page", lambda why: f"{why.image.tobytes()} {why.words}")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("place", range(9))
def test_a_run_cut_off_anywhere_goes_on_to_the_same_files(
    tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(tmp_path / "one", GIVEN)
    out = tmp_path / "cut"
    asked: list[str] = []
    written = 0
    plain = Manifest.append

    def append(self: Manifest, record: Any) -> None:
        nonlocal written
        if written == place:
            raise Cut
        written += 1
        plain(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "append", append)
        with pytest.raises(Cut):
            whole(out, GIVEN)
    (out / ".vlx-0123456789ab.html").write_text("half a page")
    with (out / NAME).open("ab") as file:
        file.write(b'{"key":"half a li')
    with Manifest.opened(out, JOB) as held:
        done = {key for key, state in held.states.items() if state.status == "done"}

        def listening(todo: Sequence[Item]) -> Iterator[Any]:
            asked.extend(item.key for item in todo)
            return explained(todo)

        folder.run(held, GIVEN, listening)
    assert not done & set(asked)  # nothing is repeated
    assert files_of(out) == files_of(tmp_path / "one")
    assert whole(out, GIVEN).again == 4
    assert files_of(out) == files_of(tmp_path / "one")


@pytest.mark.usefixtures("quick")
def test_more_pictures_are_added_and_others_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole(out, GIVEN[:2])
    assert whole(out, GIVEN[2:]).done == 3
    assert len((out / NAME).read_text().splitlines()) == 6
    assert whole(out, GIVEN[::-1]).again == 4
    told = [json.loads(line)["path"] for line in (out / NAME).read_text().splitlines()[1:]]
    assert told == [item.path for item in GIVEN[::-1]]  # the list's order, whatever that of the results was
    for job, message in (
        (Job("caption", "tiny", "abc", {"beams": 3}), r"beams was 1\. Give another --out, or --overwrite them"),
        (Job("caption", "tiny", "other", {"beams": 1}), "tiny had other weights"),
        (Job("caption", "large", "abc", {"beams": 1}), "the model was tiny"),
        (Job("answer", "tiny", "abc", {"beams": 1}), "the command was caption"),
        (Job("caption", "tiny", "abc", {}), "beams was 1"),
    ):
        with pytest.raises(InputError, match=message):
            Manifest.opened(out, job)
        assert free(out, job).name == "out-2"
    assert free(out, JOB) == out
    with pytest.raises(InputError, match="holds 5 results; --overwrite"):
        Manifest.opened(out, JOB, resume=False)
    with Manifest.opened(out, Job("answer", "tiny"), overwrite=True) as held:
        assert not held.states


@pytest.mark.usefixtures("quick")
def test_a_picture_that_has_changed_is_refused(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    given = [Item(str(tmp_path / "a.png"))]
    whole(tmp_path / "out", given)
    before = files_of(tmp_path / "out")
    picture(2).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png has changed since .*out was written; .* --overwrite"):
        whole(tmp_path / "out", given)
    assert files_of(tmp_path / "out") == before
    assert whole(tmp_path / "out", given, overwrite=True).again == 0
    assert whole(tmp_path / "out", given).again == 1
    (tmp_path / "a.png").unlink()
    assert whole(tmp_path / "out", given).again == 1


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with Manifest.opened(tmp_path, JOB), pytest.raises(InputError, match="another vlx is writing there"):
        Manifest.opened(tmp_path, JOB)
    Manifest.opened(tmp_path, JOB).close()


@pytest.mark.parametrize("text", ["no json\n", '{"vlx": "other"}\n', '{"a": 1}\n', "[" * 50_000 + "\n"])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(InputError, match=r"manifest\.jsonl, line 1 is damaged, or no manifest's"):
        Manifest.opened(tmp_path, JOB)
    assert (tmp_path / NAME).read_text() == text
    Manifest.opened(tmp_path, JOB, overwrite=True).close()


# The gallery


def test_the_gallery_holds_no_markup_from_outside() -> None:
    evil = "</script><img src=x onerror=alert(1)>&"
    record: dict[str, Any] = {
        "key": "1",
        "path": evil,
        "status": "done",
        "page": "a%b.html",
        "text": evil,
        "question": evil,
    }
    word = {"word": evil, "logprob": None, "seen": None, "owed": None, "check": None, "content": True}
    made: list[dict[str, Any]] = [
        {**record, "words": [word], "thumbnail": ""},
        {**record, "status": "failed", "page": None, "error": evil},
    ]
    page = "".join(gallery.parts(Job("caption", evil), lambda: iter(made)))
    assert evil not in page
    assert "<img src=x" not in page
    told = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert told is not None
    assert json.loads(told[1])[0] == ["a%25b.html", evil, evil, evil, [[evil, None, None, -1, 1]]]


# The command line, killed and interrupted


def command(*arguments: object) -> subprocess.Popen[bytes]:
    given = [sys.executable, "-m", "vlx", "caption", *map(str, arguments)]
    return subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def waited(out: Path, lines: int) -> None:
    """Until the manifest has so many lines."""
    for _ in range(2400):
        if (out / NAME).exists() and (out / NAME).read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.05)
    raise AssertionError("nothing was written in two minutes")


@pytest.fixture
def asked(tmp_path: Path) -> list[object]:
    """Nine pictures and a broken one, and a small model."""
    tiny_bundle(tmp_path / "tiny")
    (tmp_path / "shown").mkdir()
    for number in range(9):
        picture(1).resize((80, 60)).save(tmp_path / "shown" / f"{number}.png")
    (tmp_path / "shown" / "broken.png").write_text("broken")
    return [tmp_path / "shown", "--model", tmp_path / "tiny", "-o"]


def finished(asked: list[object], tmp_path: Path) -> None:
    """The same command goes on to what it makes in one go."""
    last = CliRunner().invoke(main, ["caption", *map(str, asked), str(tmp_path / "out")])
    assert last.exit_code == 1
    assert "done: 9" in last.output
    assert "failed: 1" in last.output
    CliRunner().invoke(main, ["caption", *map(str, asked), str(tmp_path / "fresh")])
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_finishes_the_picture_in_hand_and_says_how_to_go_on(asked: list[object], tmp_path: Path) -> None:
    first = command(*asked, tmp_path / "out")
    waited(tmp_path / "out", 2)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130
    assert re.search(r"Interrupted: \d of 10 are there; the same command goes on with \d", errors.decode())
    finished(asked, tmp_path)


@pytest.mark.slow
def test_what_is_killed_anywhere_goes_on(asked: list[object], tmp_path: Path) -> None:
    """As `test_a_run_cut_off_anywhere_goes_on_to_the_same_files` in one process."""
    killed = command(*asked, tmp_path / "out")
    waited(tmp_path / "out", random.Random(os.getpid()).randint(1, 8))
    killed.kill()
    killed.communicate()
    finished(asked, tmp_path)

"""Pictures of a list are opened ahead of their turn; several questions about one picture see it once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vlx
from tests import answerers
from tests.fakes import alike, captioner, picture
from vlx.folder.sources import SourcePictures
from vlx.pictures.edits import MADE

QUICK: dict[str, Any] = {"seen": False, "check": False, "caption": "a dog"}
ASKED = ["what color is the dog?", "is there a dog?", "a dog"]


def saved(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{n}.png" for n in range(count)]
    for n, path in enumerate(paths):
        picture(n).save(path)
    return paths


def watched(task: Any) -> list[str]:
    """The names of the threads that every picture was prepared in."""
    names: list[str] = []
    prepare = task.prepare

    def preparing(image: Image.Image) -> Any:
        names.append(threading.current_thread().name)
        return prepare(image)

    task.prepare = preparing
    return names


def own(names: list[str]) -> list[bool]:
    return [name.startswith("vlx-open") for name in names]


@pytest.mark.parametrize("size", [1, 2])
def test_pictures_of_a_list_are_opened_in_a_thread_one_batch_ahead(size: int, tmp_path: Path) -> None:
    task, paths = captioner("state"), saved(tmp_path, 6)
    vlx.explain(task, paths[0], **QUICK)  # how pictures of this size lie is measured with others
    names = watched(task)
    vlx.explain(task, paths[0], **QUICK)
    names.clear()
    many: Any = vlx.explain_many(task, paths, batch_size=size, **QUICK)
    next(many)
    many.close()  # joins the thread
    assert sum(own(names)) == size
    assert not own(names)[0]
    names.clear()
    found = list(vlx.explain_many(task, paths, batch_size=size, **QUICK))
    assert sum(own(names)) == 6 - size
    assert not [one for one in threading.enumerate() if one.name.startswith("vlx-open")]
    for one, path in zip(found, paths, strict=True):
        alike(one, vlx.explain(task, path, **QUICK), 1e-5)


def test_what_an_iterator_gives_is_taken_when_its_turn_comes() -> None:
    task = captioner("state")
    vlx.explain(task, picture(0), **QUICK)
    names, given = watched(task), []

    def camera() -> Iterator[Image.Image]:
        for n in range(4):
            given.append(threading.current_thread() is threading.main_thread())
            yield picture(n)

    many = vlx.explain_many(task, camera(), batch_size=1, **QUICK)
    for n in range(1, 5):
        next(many)
        assert given == [True] * n
    assert not any(own(names))


def test_one_picture_alone_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise AssertionError("a thread was started")

    task = captioner("state")
    monkeypatch.setattr(threading.Thread, "start", refused)
    vlx.explain(task, picture(0), **QUICK)


def test_what_cannot_be_opened_ahead_costs_itself_alone(tmp_path: Path) -> None:
    paths = [*saved(tmp_path, 4), tmp_path / "none.png"]
    paths[1].write_bytes(b"no picture")
    found = list(vlx.explain_many(captioner("state"), paths, batch_size=1, errors="keep", **QUICK))
    assert [isinstance(one, vlx.Failure) for one in found] == [False, True, False, False, True]
    many = vlx.explain_many(captioner("state"), paths, batch_size=1, **QUICK)
    next(many)
    with pytest.raises(vlx.VlxError, match=r"1\.png is not a picture"):
        next(many)


def test_the_folder_of_a_run_is_a_list(tmp_path: Path) -> None:
    paths = [str(path) for path in saved(tmp_path, 3)]
    given = SourcePictures(paths)
    assert list(given) == paths
    assert (len(given), given[1], list(given[1:])) == (3, paths[1], paths[1:])


@pytest.mark.parametrize("as_list", [True, False])
def test_questions_about_one_picture_see_it_once(as_list: bool, tmp_path: Path) -> None:
    task, paths = answerers.vqa(), saved(tmp_path, 2)
    both = [(path, question) for path in paths for question in ASKED]
    pictures: Any = [path for path, _ in both]
    questions = [question for _, question in both]
    vlx.explain(task, picture(5), question=ASKED[0])
    seen = task.cnn.seen
    seen.clear()
    given = pictures if as_list else iter(pictures)
    found = list(vlx.explain_many(task, given, batch_size=1, question=questions, looks=False))
    assert [len(batch) for batch in seen] == [1, len(MADE)] * 2
    for one, (path, question) in zip(found, both, strict=True):
        alone = vlx.explain(task, path, question=question)
        alike(one, alone, 0)
        assert np.array_equal(one[0].signed, alone[0].signed)
        assert (one[0].seen, one[0].check) == (alone[0].seen, alone[0].check)


def test_it_is_seen_again_where_the_weights_have_changed(tmp_path: Path) -> None:
    task, path = answerers.vqa(), saved(tmp_path, 1)[0]
    many = vlx.explain_many(task, [path] * 2, batch_size=1, question=ASKED[0], check=False)
    before = next(many)
    with torch.no_grad():
        task.cnn.layers[0].weight.mul_(-1)
    after = next(many)
    alone = vlx.explain(task, path, question=ASKED[0], check=False)
    assert np.array_equal(after[0].signed, alone[0].signed)
    assert after[0].seen_by == alone[0].seen_by
    assert not np.array_equal(after[0].signed, before[0].signed)


def test_pictures_of_one_name_are_not_taken_for_each_other() -> None:
    task, pictures = captioner("state"), [picture(0), picture(1), picture(1), picture(0)]
    found = list(vlx.explain_many(task, pictures, batch_size=1, **QUICK))
    for one, image in zip(found, pictures, strict=True):
        assert np.array_equal(one.image, np.asarray(image))
        assert np.array_equal(one[0].signed, vlx.explain(task, image, **QUICK)[0].signed)
    assert not np.array_equal(found[0][0].signed, found[1][0].signed)


def test_a_run_that_the_garbage_collector_closes_waits_for_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, paths = captioner("state"), saved(tmp_path, 3)
    many: Any = vlx.explain_many(task, paths, batch_size=1, **QUICK)
    next(many)
    monkeypatch.setattr(threading, "_shutdown_locks_lock", threading.Lock(), raising=False)
    held: Any = threading._shutdown_locks_lock  # type: ignore[attr-defined]  # held while a thread is begun or ended
    closing = threading.Thread(target=many.close, daemon=True)
    with held:
        closing.start()
        closing.join(20)  # whoever joins in it waits for ever
        assert not closing.is_alive()
    assert list(many) == []

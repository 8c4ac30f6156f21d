"""`explain_many` over pictures of which some are broken: each costs itself alone."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import vlx
from tests.fakes import alike, captioner, picture
from vlx.errors import Failure, ImageError, InputError

QUICK: dict[str, Any] = {"seen": False, "check": False, "caption": "a dog"}


class Shaky:
    """An iterator of pictures that fails at some places and goes on."""

    def __init__(self, count: int, broken: set[int]) -> None:
        self.count, self.broken, self.place = count, broken, -1

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.place += 1
        if self.place >= self.count:
            raise StopIteration
        if self.place in self.broken:
            raise OSError(f"disk error at {self.place}")
        return picture(self.place)


def mixed(tmp_path: Path) -> list[Any]:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no jpeg")
    return [picture(0), tmp_path / "broken.jpg", picture(1, 50, 50), "missing.png", 3, picture(2)]


@pytest.mark.parametrize("size", [1, 4])
def test_a_broken_picture_costs_itself_alone(tmp_path: Path, size: int) -> None:
    task, given = captioner("state"), mixed(tmp_path)
    found = list(vlx.explain_many(task, given, batch_size=size, errors="keep", **QUICK))
    assert [isinstance(one, Failure) for one in found] == [False, True, False, True, True, False]
    for one, image in zip(found, given, strict=True):
        if isinstance(one, vlx.Explanation):
            alike(one, vlx.explain(task, image, **QUICK), 1e-4)
    broken, missing, number = (one for one in found if isinstance(one, Failure))
    assert broken.name == str(given[1])
    assert isinstance(broken.error, ImageError)
    assert str(broken) == str(broken.error)
    assert (missing.name, number.name) == ("missing.png", "picture 4")
    assert str(number).startswith("picture 4: int is no picture")


@pytest.mark.parametrize("size", [1, 3, 16])
def test_what_comes_before_a_broken_picture_is_given_first(tmp_path: Path, size: int) -> None:
    given = [picture(0), picture(1), "missing.png", picture(2)]
    found = vlx.explain_many(captioner("state"), given, batch_size=size, **QUICK)
    assert [next(found).text, next(found).text] == ["a dog", "a dog"]
    with pytest.raises(vlx.VlxError, match=r"missing\.png: no such file"):
        next(found)


@pytest.mark.parametrize("size", [1, 2, 16])
def test_an_iterator_that_fails_costs_itself_alone(size: int) -> None:
    task = captioner("state")
    options = {**QUICK, "caption": ["a dog", "a house", "a red dog", "on grass"]}
    found = list(vlx.explain_many(task, Shaky(4, {1}), batch_size=size, errors="keep", **options))
    told = [str(one) if isinstance(one, Failure) else one.text for one in found]
    assert told == ["a dog", "picture 1: OSError: disk error at 1", "a red dog", "on grass"]
    raising = vlx.explain_many(task, Shaky(4, {2}), batch_size=size, **QUICK)
    assert [next(raising).text, next(raising).text] == ["a dog", "a dog"]
    with pytest.raises(OSError, match="disk error at 2"):
        next(raising)


def test_a_generator_that_fails_ends_after_what_it_gave() -> None:
    def images() -> Iterator[Any]:
        yield picture(0)
        raise RuntimeError("no more")

    found = list(vlx.explain_many(captioner("state"), images(), errors="keep", **QUICK))
    assert [type(one) for one in found] == [vlx.Explanation, Failure]


def test_an_iterator_that_always_fails_is_given_up() -> None:
    task = captioner("state")
    found = list(vlx.explain_many(task, Shaky(10_000, set(range(10_000))), errors="keep", **QUICK))
    assert [str(one) for one in found[98:]] == [
        "picture 98: OSError: disk error at 98",
        "picture 99: OSError: disk error at 99",
        "the rest: the pictures' iterator failed 100 times in a row; given up",
    ]


@pytest.mark.parametrize("size", [1, 2, 16])
def test_a_picture_that_the_model_fails_on_costs_itself_alone(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    task = captioner("state")
    plain, least = task.features, task.prepare(picture(1)).mean()

    def features(inputs: Tensor) -> Any:
        if any(abs(float(one.mean()) - float(least)) < 1e-6 for one in inputs):
            raise RuntimeError("cannot divide")
        return plain(inputs)

    monkeypatch.setattr(task, "features", features)
    given = [picture(0), picture(1), picture(2)]
    found = list(vlx.explain_many(task, given, batch_size=size, errors="keep", **QUICK))
    assert [str(one) if isinstance(one, Failure) else one.text for one in found] == [
        "a dog",
        "picture 1: RuntimeError: cannot divide",
        "a dog",
    ]
    raising = vlx.explain_many(task, given, batch_size=size, **QUICK)
    assert next(raising).text == "a dog"
    with pytest.raises(RuntimeError, match="cannot divide"):
        next(raising)


def test_a_text_that_cannot_be_explained_costs_its_picture_alone() -> None:
    given = {**QUICK, "caption": ["a dog", " ", "a house"]}
    for size in (1, 16):
        found = list(
            vlx.explain_many(
                captioner("state"), [picture(n) for n in range(3)], batch_size=size, errors="keep", **given
            )
        )
        assert [isinstance(one, Failure) for one in found] == [False, True, False]
        assert "holds no word" in str(found[1])


def test_arguments_are_checked_at_the_call() -> None:
    task = captioner("state")
    cases: tuple[tuple[Any, dict[str, Any], str], ...] = (
        ([picture(0)], {"errors": "ignore"}, r"^errors='ignore'; give \"raise\", or \"keep\""),
        (3, {}, r"^explain_many\(\) takes several pictures in a list or an iterator, got int"),
        ([picture(0)], {"errors": "keep", "metod": "gradcam"}, r"has no option 'metod'; close: method"),
        ([picture(0)], {"errors": "keep", "caption": ["a", "b"]}, r"^caption is a list of 2 for 1 pictures"),
        (iter([picture(0)]), {"caption": ["a", "b"], "prompt": ["a"]}, r"^prompt is a list of 1 for 2 pictures"),
    )
    for given, options, message in cases:
        with pytest.raises(InputError, match=message):
            vlx.explain_many(task, given, **options)


@pytest.mark.parametrize(("count", "texts"), [(2, 3), (3, 2)])
def test_texts_for_another_number_of_pictures_are_told_when_an_iterator_ends(count: int, texts: int) -> None:
    options = {**QUICK, "caption": ["a dog"] * texts}
    found = vlx.explain_many(captioner("state"), (picture(n) for n in range(count)), **options)
    assert [next(found).text, next(found).text] == ["a dog", "a dog"]
    with pytest.raises(InputError, match=rf"is a list of {texts} for {count} pictures"):
        next(found)


def test_kept_failures_hold_no_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    task = captioner("state")
    seen: list[Any] = []

    def features(inputs: Tensor) -> Any:
        mine = inputs * 2
        seen.append(weakref.ref(mine))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(task, "features", features)
    kept = list(vlx.explain_many(task, [picture(0), picture(1)], errors="keep", **QUICK))
    gc.collect()
    assert len(kept) == 2
    assert not [one for one in seen if one() is not None]

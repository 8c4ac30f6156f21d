"""Damaged files of every kind: each works or is refused; more of them by ``python -m benchmarks.hostile``."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import hostile
from tests.explanations import answer_explanation
from vlx.errors import InputError
from vlx.explanation import schema, storage
from vlx.files import json_files

NAMES = (
    *("explanation .h5", "explanation .json", "table .h5", "table .json", "table .csv", "checkpoint"),
    *("bundle config", "bundle weights", "picture", "label map", "caption", "question"),
    *("list .jsonl", "list .csv", "manifest", "captions .json", "labels"),
)
BAD = hostile.OUTCOMES[2:]


@pytest.fixture(scope="module")
def kinds() -> dict[str, hostile.Kind]:
    made = {kind.name: kind for kind in hostile.kinds(transformers=False)}
    assert tuple(made) == NAMES
    return made


@pytest.mark.parametrize("name", NAMES)
def test_damaged_inputs_work_or_are_refused(kinds: dict[str, hostile.Kind], name: str) -> None:
    kind = kinds[name]
    count = 4 if name in ("caption", "question") else 12  # each of these is explained
    found = list(hostile.tried(kind, hostile.inputs_of(kind, count, seed=1)))
    assert len(found) == count
    assert not [one for one in found if one[1] in BAD]


@pytest.mark.parametrize("name", NAMES)
def test_good_inputs_work(kinds: dict[str, hostile.Kind], name: str, tmp_path: Path) -> None:
    kind = kinds[name]
    assert [hostile.judged(kind, good, tmp_path) for good in kind.good] == [("fine", "")] * len(kind.good)


def test_the_judge_sees_crashes_loops_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "SECONDS", 2.0)
    monkeypatch.setattr(hostile, "MEMORY", 2**27)

    def use(path: Path) -> object:
        data = path.read_bytes()
        if data == b"crash":
            os.abort()
        while data == b"loop":
            pass
        if data == b"foreign":
            raise KeyError("a bug")
        return b"x" * 2**28 if data == b"memory" else None

    kind = hostile.Kind("planted", "bin", (b"",), use)
    made = [(n, data, False) for n, data in enumerate((b"crash", b"fine", b"loop", b"memory", b"foreign", b"fine"))]
    outcomes = [outcome for _, outcome, _ in hostile.tried(kind, made)]
    assert outcomes == ["foreign", "fine", "hung", "over memory", "foreign", "fine"]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(value=PLAIN, data=st.data())
def test_any_value_in_any_place_of_a_record_is_refused_or_works(value: Any, data: st.DataObject) -> None:
    record = json_files.parsed(json.dumps(storage._listed(storage._record(answer_explanation()))), "it")
    at: Any = record
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))
        if not (isinstance(at[key], dict | list) and at[key]) or data.draw(st.booleans()):
            at[key] = value
            break
        at = at[key]
    try:
        schema.explanation(record)
        why = storage._explanation(record)
    except (ValueError, InputError):
        return
    assert repr(why)
    assert all(word.heatmap.ndim == 2 for word in why)  # none at all, of an empty text


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_json_or_refused(data: bytes | str) -> None:
    try:
        json_files.parsed(data, "it")
    except InputError as error:
        assert len(str(error)) < 300

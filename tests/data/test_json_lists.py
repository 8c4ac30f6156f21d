"""Lists in JSON files are read a record at a time, as `json` reads them whole, whatever part of the file is at hand."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlx.errors import InputError
from vlx.files import json_lists
from vlx.files.json_lists import Members, record_at

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-99, 99)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=6)


def text_of(content: Any, ascii_only: bool, indent: int | None) -> bytes:
    return json.dumps(content, ensure_ascii=ascii_only, indent=indent).encode()


@settings(max_examples=25, deadline=None)
@given(RECORDS, st.dictionaries(st.text(max_size=5), VALUES, max_size=3), st.booleans(), st.sampled_from([None, 1]))
@pytest.mark.parametrize("part", [3, 2**20])
def test_records_are_those_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory,
    part: int,
    records: list[dict[str, Any]],
    others: dict[str, Any],
    ascii_only: bool,
    indent: int | None,
) -> None:
    path = tmp_path_factory.getbasetemp() / "list.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "PART", part)
        others.pop("annotations", None)
        path.write_bytes(text_of({**others, "annotations": records, "last": 12}, ascii_only, indent))
        members = Members(path, "annotations")
        got = list(members)
        assert [record.content for record in got] == records
        assert members.others == {**others, "last": 12}
        assert [record_at(path, record.start, record.end) for record in got] == records
        path.write_bytes(b"\xef\xbb\xbf" + text_of(records, ascii_only, indent))
        assert [record_at(path, one.start, one.end) for one in Members(path)] == records


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ('{"a": [{}, {"b": 1]}', "a", r"a\[1\] is not whole JSON .*write the file again"),
        ('{"a": [{}, {"b": 1}', "a", r"end of a\[1\] is not whole JSON \(it is cut off\)"),
        ('{"a": [{}', "a", r"end of a\[0\]"),
        ('{"a": [{},]}', "a", r"nothing between ','"),
        ('{"a": [{} {}]}', "a", r"'\{' in place of ','"),
        ('{"a": [1]}', "a", r"a\[0\] .*no object but '1'"),
        ('{"a": [{"b": NaN}]}', "a", r"a\[0\] .*NaN is no number"),
        ('{"a": {}}', "a", r'no list "a"; it holds a'),
        ('{"b": []}', "a", r'no list "a"; it holds b'),
        ('{"a": [], "a": []}', "a", r"it stands there twice"),
        ('{"a": []} x', "a", r"its end is not whole JSON \('x' after"),
        ("[]", "a", r'needed is an object with a list "a"'),
        ("{}", "", r"needed is a list of objects"),
        ("", "", r"needed is a list of objects; it begins with ''"),
        ('[{"a": "\xff"}]', "", r"record 0 is not whole JSON"),
        ("[" + '{"a":' * 100_000 + "]", "", r"record 0 is not whole JSON \(nested too deep"),
    ],
)
def test_what_is_no_list_of_records_is_refused_by_its_place(tmp_path: Path, text: str, name: str, message: str) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        list(Members(path, name))


def test_a_record_without_end_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lists, "LONGEST", 2**12)
    monkeypatch.setattr(json_lists, "PART", 2**10)
    (tmp_path / "list.json").write_text('[{"a": "' + 2**16 * "x" + '"}]')
    with pytest.raises(InputError, match=r"record 0 .*more than 4,096 bytes of one value"):
        list(Members(tmp_path / "list.json"))


def test_a_file_that_changed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('[{"a": 1}]')
    (record,) = Members(path)
    path.write_text('["other"]')
    with pytest.raises(InputError, match=r"list.json has changed since it was opened"):
        record_at(path, record.start, record.end)


def test_a_large_file_takes_the_memory_of_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lists, "PART", 2**14)
    (tmp_path / "list.json").write_text(json.dumps([{"a": ["word"] * 20, "n": n} for n in range(5_000)]))
    tracemalloc.start()
    assert sum(record.content["n"] for record in Members(tmp_path / "list.json")) == sum(range(5_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 4 * peak < (tmp_path / "list.json").stat().st_size

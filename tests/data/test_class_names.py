"""Class names of data among the labels of a model: found by every rule, in order, and never dropped in silence."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlx.data import open_data
from vlx.data.class_names import matched, told_classes
from vlx.errors import InputError

LABELS = [
    "tabby, tabby cat",
    "hotdog, hot dog, red hot",
    "crane",
    "crane",
    "Sea_Lion",
    "dog",
    "Siamese cat, Siamese",
    "T-shirt",
]
SYNSETS = dict(zip((f"n0000000{n}" for n in range(8)), LABELS, strict=True))


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("tabby, tabby cat", (0,)),
        ("tabby", (0,)),
        ("Tabby_Cat", (0,)),
        ("tabby cat, mackerel", (0,)),
        ("HOT-DOG", (1,)),
        ("redhot", (1,)),
        ("sea lion", (4,)),
        ("sealion", (4,)),
        ("t shirt", (7,)),
        ("crane", (2, 3)),
        ("cat", ()),
        ("hot", ()),
        ("", ()),
        (",", ()),
        ("n00000003", ()),
    ],
)
def test_a_name_is_found_by_any_of_its_names(name: str, numbers: tuple[int, ...]) -> None:
    assert matched([name], LABELS).numbers == {name: numbers}


def test_an_exact_name_goes_before_one_that_is_spelled_otherwise() -> None:
    labels = ["Polish", "polish", "POLISH, varnish"]
    assert matched(["polish", "Polish", "POLISH", "varnish"], labels).numbers == {
        "polish": (1,), "Polish": (0,), "POLISH": (0, 1), "varnish": (2,)
    }  # fmt: skip


def test_synsets_are_found_by_the_order_of_labels_by_ids_in_labels_and_by_their_names() -> None:
    ids = ["n00000003", "n00000002", "crane (n00000003)", "n99999999"]
    assert [*matched(ids, LABELS, synsets=SYNSETS).numbers.values()] == [(3,), (2,), (3,), ()]
    shuffled = [*LABELS[1:], LABELS[0]]
    assert [*matched(ids, shuffled, synsets=SYNSETS).numbers.values()] == [(1, 2), (1, 2), (1, 2), ()]
    assert [*matched(ids, ["n00000002 crane", "n00000003"]).numbers.values()] == [(1,), (0,), (1,), ()]
    assert matched(["Crane", "dog"], ["n00000005", "n00000003"], synsets=SYNSETS).numbers == {
        "Crane": (1,),
        "dog": (0,),
    }


def test_what_a_classifier_is_asked_for_is_one_class() -> None:
    from tests.heads import classifier

    found = matched(["crane", "tabby", "cat"], LABELS)
    assert found.asked("crane") == ("class 2", "class 3")
    assert found.asked("tabby") == ("tabby, tabby cat",)
    assert found.asked("cat") == found.asked("never heard of") == ()
    task = classifier(len(LABELS))
    labels = type(task.labels)(LABELS)
    assert [labels.find(one, 8) for name in found.numbers for one in found.asked(name)] == [2, 3, 0]


def test_what_is_not_matched_is_counted_and_listed() -> None:
    found = matched([*"abcdefg", "dog", "crane"], LABELS)
    assert found.unmatched == tuple("abcdefg")
    assert list(found.notes()) == [
        "2 of 9 classes are labels of the model; left out: a, b, c, d, e and 2 more (name them with --classes FILE)",
        "1 class means several labels, as crane: asked for is the likeliest of them on each picture",
    ]
    assert list(matched(["dog"], LABELS).notes()) == []
    assert matched(["dog"], None).unmatched == ("dog",)


def test_a_table_overrules_and_may_leave_out(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"Cat": ["tabby", "siamese", "tabby"], "dog": [], "crane": 3}))
    table = told_classes(path)
    found = matched(["cat", "dog", "crane", "t-shirt"], LABELS, table=table)
    assert found.numbers == {"cat": (0, 6), "dog": (), "crane": (3,), "t-shirt": (7,)}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("tabbi", r"^--classes: 'cat' is 'tabbi', which is no label of the model; close: tabby"),
        ("qqqq", r"which is no label of the model \(it has 8\)$"),
        (8, r"^--classes: 'cat' is class 8; there are 8, from 0$"),
        (-1, r"'cat' is class -1"),
    ],
)
def test_an_entry_that_is_no_label_is_refused(entry: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        matched(["cat"], LABELS, table={"cat": [entry]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "needed is an object of names and labels"),
        ("{", "is not whole JSON"),
        ('{"a": null}', "'a' is None; give a label, a class number or a list"),
        ('{"a": [""]}', r"'a' is \[''\]"),
        ('{"a": [true]}', r"'a' is \[True\]"),
        ('{"a": 1.5}', r"'a' is 1.5"),
        ('{" ": "b"}', r"' ' is 'b'"),
        ('{"T shirt": "a", "t-shirt": "b"}', "'t-shirt' stands there twice"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(InputError, match=message):
        told_classes(tmp_path / "c.json")


names = st.text(max_size=12)


@given(st.lists(names, max_size=6), st.lists(names, max_size=6))
def test_every_name_is_told_and_every_label_finds_itself(given_names: list[str], labels: list[str]) -> None:
    found = matched(given_names, labels)
    assert list(found.numbers) == list(dict.fromkeys(given_names))
    assert all(labels.count(name) <= len(found.numbers[name]) for name in given_names)
    assert set(found.unmatched) | {name for name, numbers in found.numbers.items() if numbers} == set(given_names)
    own = matched(labels, labels)
    assert all(labels[number] == label for label, numbers in own.numbers.items() for number in numbers)
    assert not own.unmatched


def test_class_folders_called_by_synsets_tell_their_names(tmp_path: Path) -> None:
    for folder in ("n00000003", "n00000005"):
        (tmp_path / "val" / folder).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "val" / folder / "a.png")
    (tmp_path / "LOC_synset_mapping.txt").write_text("".join(f"{one} {words}\n" for one, words in SYNSETS.items()))
    data: Any = open_data(f"classes:{tmp_path / 'val'}")
    assert data.classes == ("n00000003", "n00000005")
    assert matched(data.classes, LABELS, synsets=data.synsets).numbers == {"n00000003": (3,), "n00000005": (5,)}
    for line, message in (("tench", "line 1 is 'tench'; give n01440764"), ("n00000003 a\nn00000003 b", "line 2 names")):
        (tmp_path / "LOC_synset_mapping.txt").write_text(line)
        with pytest.raises(InputError, match=message):
            open_data(f"classes:{tmp_path / 'val'}")

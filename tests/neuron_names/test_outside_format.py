"""A format of tables from outside: a function and a line, and `read` knows it by name and by its columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vlx import neuron_names
from vlx.errors import InputError
from vlx.neuron_names.formats import FORMATS, Entry, FileContent, Format, register, registry
from vlx.neuron_names.table import UnitName

CSV = '''
from vlx.neuron_names.formats import FileContent, Entry, Format, register
from vlx.neuron_names.table import UnitName

def of_mine(source):
    """Rows of nr, word and how sure."""
    names = [UnitName(0, row.text("word"), "mine", score=row.number("sure")) for row in source.rows]
    return FileContent([Entry(row.place, row.count("nr"), (name,)) for row, name in zip(source.rows, names)])

register(Format("mine", of_mine, columns=("nr", "word", "sure"), base=1, metric="sureness"))
'''
JSON = '''
from vlx.neuron_names.formats import FileContent, Entry, Format, register
from vlx.neuron_names.table import UnitName

def of_lists(source):
    """{"words": ["dog", "sky"]}: a word a unit."""
    words = enumerate(source.whole["words"])
    return FileContent([Entry(f"word {unit}", unit, (UnitName(unit, word),)) for unit, word in words])

register(Format("lists", of_lists, knows=lambda whole: isinstance(whole, dict) and "words" in whole))
'''


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    registry._FROM_OUTSIDE.clear()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("None", r"^format 'odd' makes NoneType of .*names\.csv; return a FileContent$"),
        ("FileContent([Entry('line 2', 0, (UnitName(0, 5),))])", r"^line 2: concept 5 \(''\) of unit 0 is no text$"),
    ],
)
def test_what_a_format_of_ones_own_makes_is_looked_at(made: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("nr,word\n0,dog\n")
    names = {"FileContent": FileContent, "Entry": Entry, "UnitName": UnitName}
    register(Format("odd", lambda source: eval(made, names), columns=("nr", "word")))
    with pytest.raises(InputError, match=told):
        neuron_names.read(path)
    wrong: Any = None
    for one in (wrong, Format("odd", wrong), Format(wrong, lambda source: FileContent([]))):
        with pytest.raises(InputError, match=r" is no format; give Format\(name, read=FUNCTION\)$"):
            register(one)


def test_a_table_of_ones_own_is_read_by_name_and_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("nr,word,sure\n1,dog,0.5\n2,sky,0.25\n")
    with pytest.raises(InputError, match=r"columns of no known format \(nr, word, sure\)"):
        neuron_names.read(path)
    exec(CSV, {})
    for format in (None, "mine"):
        names = neuron_names.read(path, format=format)
        assert [(one.unit, one.concept, one.category, one.score) for one in names] == [
            (0, "dog", "mine", 0.5),
            (1, "sky", "mine", 0.25),
        ]
        told = (names.about["format"], names.about["metric"], names.about["unit_base"])
        assert told == ("mine", "sureness", 1)
    path.write_text("nr,word,sure\n1,dog,often\n")
    with pytest.raises(InputError, match=r"names\.csv, line 2: sure is 'often', not a number"):
        neuron_names.read(path)


def test_so_is_a_json_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text('{"words": ["dog", "sky"]}')
    exec(JSON, {})
    for format in (None, "lists"):
        assert [one.concept for one in neuron_names.read(path, format=format)] == ["dog", "sky"]
    (tmp_path / "plain.json").write_text('{"0": "dog"}')
    assert neuron_names.read(tmp_path / "plain.json").about["format"] == "json"
    with pytest.raises(InputError, match=r"format='lsts'; known are: lists"):
        neuron_names.read(path, format="lsts")


@pytest.mark.parametrize("text", [CSV, JSON])
def test_it_is_twenty_five_lines_at_most(text: str) -> None:
    assert len([line for line in text.splitlines() if line.strip()]) <= 25


@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_vlx_cannot_be_replaced(name: str) -> None:
    reading: Any = None
    with pytest.raises(InputError, match=f"format '{name}' is vlx's own"):
        register(Format(name, reading))

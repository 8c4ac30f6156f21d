"""A .h5 or .json written today loads tomorrow: files of 2026-11-27, and all that they hold."""

import json
from pathlib import Path
from typing import Any

import pytest

import vlx
from tests.stored.make import facts, table_facts
from vlx import neuron_names

STORED = Path(__file__).resolve().parents[1] / "stored"
FACTS: dict[str, dict[str, Any]] = json.loads((STORED / "facts.json").read_text(encoding="utf-8"))


def kept(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Assert that every fact is as it was; a later version may know more."""
    assert len(wanted) > 20
    assert {place: found.get(place) for place in wanted} == wanted


@pytest.mark.parametrize("ending", ["h5", "json"])
@pytest.mark.parametrize("name", ["caption", "contrast"])
def test_a_stored_explanation_holds_what_it_held(name: str, ending: str) -> None:
    why = vlx.Explanation.load(STORED / f"{name}.{ending}")
    kept(dict(facts(why)), FACTS[name])
    assert (why[0].because is not None) == (name == "caption")
    assert (why.instead_of is not None) == (name == "contrast")


@pytest.mark.parametrize("ending", ["h5", "json"])
@pytest.mark.parametrize("name", ["counted", "words"])
def test_a_stored_table_of_names_holds_what_it_held(name: str, ending: str) -> None:
    path = STORED / f"{name}.{ending}"
    table = neuron_names.load(path) if ending == "h5" else neuron_names.read(path)
    kept(table_facts(table, ending), FACTS[f"{name}.{ending}"])

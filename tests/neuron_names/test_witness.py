"""The label witness: swapped labels are found where names are words that the model can say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import vlx
from tests.fakes import captioner
from vlx import neuron_names, scenes
from vlx.cli.program import main
from vlx.errors import InputError
from vlx.methods import engine
from vlx.neuron_names import NeuronNames, permuted, witness
from vlx.protocol.targets import Query, Target, Term

DATA = "scenes:12:10000000"
GROUND = ("snow", "meadow", "beach", "desert", "night")


@pytest.fixture(scope="module")
def task() -> Any:
    return vlx.load("scenes/captioner")


@pytest.fixture(scope="module")
def table(task: Any) -> NeuronNames:
    return neuron_names.shipped(task)


def renamed(table: NeuronNames, labels: dict[str, str]) -> NeuronNames:
    listed = tuple(
        tuple(replace(name, concept=labels.get(name.concept, name.concept)) for name in table.candidates(unit)[:1])
        for unit in range(len(table))
    )
    return NeuronNames(listed, table.about)


def test_names_of_the_shipped_table_gain_most_for_their_own_word(task: Any, table: NeuronNames) -> None:
    told = witness(table, task, "scenes:24:10000000")
    assert len(told.rows) == 16
    assert told.share >= 0.9
    assert told.swapped == ()
    assert "no label is seen to be swapped" in str(told)
    assert "wheel" in told.left_out, "objects of a category alone, and parts, are no words"


def test_two_swapped_labels_are_both_found(task: Any, table: NeuronNames) -> None:
    told = witness(renamed(table, {"snow": "desert", "desert": "snow"}), task, DATA)
    assert {row.concept: row.best for row in told.swapped} == {"snow": "desert", "desert": "snow"}
    assert "swapped, as it seems: " in str(told)


def test_labels_passed_on_in_a_ring_are_found_and_random_names_agree_seldom(task: Any, table: NeuronNames) -> None:
    ring = dict(zip(GROUND, [*GROUND[1:], GROUND[0]], strict=True))
    told = witness(renamed(table, ring), task, DATA)
    assert {row.concept for row in told.swapped} == set(GROUND)
    wrong = permuted(table, np.random.default_rng(0).permutation(len(table)))
    assert witness(wrong, task, DATA).share <= 0.5


def test_gains_are_those_of_a_slow_sum(task: Any, table: NeuronNames) -> None:
    told = witness(table, task, "scenes:2:10000000", pictures=2)
    row = next(row for row in told.rows if row.concept == "snow")
    sums = []
    for seed in (10_000_000, 10_000_001):
        features = task.features(task.place(task.prepare(scenes.draw(seed).image)[None]))
        said = task.predict(features, [Query()])[0]
        for word in said.words:
            if word.label not in GROUND:
                continue
            added = {}
            for other in GROUND:
                term = Term(word.terms[0].step, task.vocabulary.index(other))
                _, gradient = engine.gradients(task, features.A, [Target(0, other, (term,), "logit", said.tokens)])
                added[other] = sum(
                    float((gradient[0, unit] * features.A[0, unit]).sum())
                    for unit in row.units
                    if float(features.A[0, unit].max()) > (table[unit].threshold or 0.0)
                )
            sums.append(added["snow"] - sum(added.values()) / len(GROUND))
    assert row.places == len(sums)
    assert row.gain == pytest.approx(np.mean(sums), rel=1e-4)
    assert all(name.concept == "snow" for name in (table[unit] for unit in row.units))


def test_a_model_that_answers_is_asked_and_one_that_says_nothing_of_it_cannot_testify(table: NeuronNames) -> None:
    vqa: Any = vlx.load("scenes/vqa")
    told = witness(neuron_names.shipped(vqa), vqa, DATA, question="what is this scene?", pictures=6)
    assert {row.category for row in told.rows} == {"scene"}
    silent: Any = captioner()
    with pytest.raises(InputError, match=r"says no two names of one category of this table in 2 pictures of scenes:2"):
        witness(NeuronNames(((),) * 5, {}), silent, "scenes:2")
    with pytest.raises(InputError, match=r"has 256 units, layer 'cnn' of tiny has 5"):
        witness(table, silent, "scenes:2")


def test_the_command_fails_where_labels_are_swapped(task: Any, table: NeuronNames, tmp_path: Path) -> None:
    good = table.save(tmp_path / "good.h5")
    said = CliRunner().invoke(main, ["names", "check", str(good), "--data", DATA])
    assert said.exit_code == 0, said.output
    assert "no label is seen to be swapped" in said.output
    assert "striped" in said.output
    bad = renamed(table, {"striped": "dotted", "dotted": "striped"}).save(tmp_path / "bad.h5")
    said = CliRunner().invoke(main, ["names", "check", str(bad), "--data", DATA, "--model", "scenes/captioner"])
    assert said.exit_code == 1
    assert "swapped, as it seems" in said.output
    assert "✗ striped" in said.output
    none = NeuronNames(table.listed, {}).save(tmp_path / "none.h5")
    said = CliRunner().invoke(main, ["names", "check", str(none)])
    assert said.exit_code == 1
    assert "give --model" in said.output

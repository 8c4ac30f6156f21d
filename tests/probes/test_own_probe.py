"""A probe of one's own: a file outside of vlx, a value for every word, in the explanation, reports and saved files."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlx
from tests.answerers import QUESTION, vqa
from tests.fakes import captioner, picture
from vlx.errors import InputError, UnsavableValue
from vlx.methods import engine
from vlx.probes.probe import Context, Probe
from vlx.probes.registry import probes, register, unregister

# All that it takes to add one: does the word stand when the picture is turned upside down?


def turned(context: Context) -> list[tuple[float, Any]]:
    upright = context.features.A
    scores = engine.scores(context.task, upright.flip(2), context.likely, context.features.rest)
    falls = [row.logprob - score for row, score in zip(context.rows, scores.tolist(), strict=True)]
    return [(fall, np.array([fall, 0.5])) for fall in falls]


TURNED = Probe(
    "turned",
    wanted=lambda context: context.options.seen,
    run=turned,
    to_record=lambda value: {"nats": value[0], "pair": value[1], "odd": float("nan")},
    from_record=lambda record: (record["nats"], record["pair"]),
    told=lambda value: f"turned upside down it loses {value[0]:.2f} nats",
)


@pytest.fixture
def known() -> Iterator[None]:
    register(TURNED)
    yield
    unregister("turned")


def test_its_values_are_in_the_explanation_and_in_saved_files(known: None, tmp_path: Path) -> None:
    why = vlx.explain(captioner(), picture(), caption="a red dog on grass")
    for word in (*why, why.sentence):
        fall, pair = TURNED.from_record(word.measured["turned"])
        assert pair.tolist() == [fall, 0.5] and fall != 0
        assert f"turned upside down it loses {fall:.2f} nats" in word.notes
    for ending in (".h5", ".json", ".md", ".html"):
        why.save(tmp_path / f"why{ending}")
    for ending in (".h5", ".json"):
        again = vlx.Explanation.load(tmp_path / f"why{ending}")
        for one, other in zip((*why, why.sentence), (*again, again.sentence), strict=True):
            ours, theirs = one.measured["turned"], other.measured["turned"]
            assert theirs["nats"] == ours["nats"] and np.isnan(theirs["odd"])
            assert theirs["pair"].dtype == np.float64 and theirs["pair"].tolist() == ours["pair"].tolist()
    assert all(phrase.measured == {} for phrase in why.phrases)
    told = f"turned upside down it loses {why[2].measured['turned']['nats']:.2f} nats"
    assert told in (tmp_path / "why.md").read_text(encoding="utf-8")
    assert told in (tmp_path / "why.html").read_text(encoding="utf-8")


def test_answers_and_their_rivals_have_it_and_nobody_who_does_not_want_it(known: None) -> None:
    why = vlx.explain(vqa(), picture(), question=QUESTION)
    assert why.others and all("turned" in one[0].measured for one in (why, *why.others))
    assert vlx.explain(vqa(), picture(), question=QUESTION, seen=False)[0].measured == {}


def test_files_of_explanations_without_such_probes_are_as_before(tmp_path: Path) -> None:
    vlx.explain(captioner(), picture(), caption="a dog").save(tmp_path / "why.json")
    assert "measured" not in json.loads((tmp_path / "why.json").read_text(encoding="utf-8"))["words"][0]


def test_several_pictures_together_say_what_each_says_alone(known: None) -> None:
    pictures = [picture(seed) for seed in range(3)]
    for why, one in zip(vlx.explain_many(captioner(), pictures, caption="a dog"), pictures, strict=True):
        alone = vlx.explain(captioner(), one, caption="a dog")
        for word, expected in zip(why, alone, strict=True):
            assert word.measured["turned"]["nats"] == pytest.approx(expected.measured["turned"]["nats"], abs=1e-4)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (replace(TURNED, name="seen"), r"^probe 'seen': its name must be a word .* that vlx has not taken"),
        (replace(TURNED, name="two words"), r"^probe 'two words': its name"),
        ("turned", r"^register\(\) takes a vlx.probes.probe.Probe, got str$"),
    ],
    ids=["taken", "spaces", "no probe"],
)
def test_what_is_no_probe_or_has_a_name_of_ours_is_refused(probe: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        register(probe)
    assert "turned" not in [one.name for one in probes()]


def test_one_value_for_each_target_is_wanted(known: None) -> None:
    register(replace(TURNED, run=lambda context: [1.0]))
    with pytest.raises(InputError, match=r"probe 'turned' gave 1 values for 3 targets; give one a target"):
        vlx.explain(captioner(), picture(), caption="a dog")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"run": lambda context: None}, r"^probe 'odd' gave NoneType; give one value a target$"),
        ({"told": lambda value: 5}, r"^probe 'odd' told 5, no text; give a sentence, or an empty one$"),
    ],
)
def test_what_a_probe_gives_is_looked_at(fault: Any, told: str) -> None:
    register(replace(Probe("odd", lambda context: True, lambda context: [1] * len(context.asked)), **fault))
    try:
        with pytest.raises(InputError, match=told):
            vlx.explain(captioner(), picture(), seen=False, check=False)
    finally:
        unregister("odd")


@pytest.mark.parametrize("value", [10**30, np.array(["a"]), np.array([object()])], ids=["wide", "texts", "objects"])
@pytest.mark.parametrize("ending", ["h5", "json"])
def test_a_value_that_no_file_can_hold_is_refused_when_it_is_saved(value: Any, ending: str, tmp_path: Path) -> None:
    why = vlx.explain(captioner(), picture(), seen=False, check=False)
    odd = replace(why, words=(replace(why[0], measured={"odd": value}), *why.words[1:]))
    with pytest.raises(UnsavableValue, match=r"cannot be saved"):
        odd.save(tmp_path / f"odd.{ending}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("probe", [Probe(5, len, len), Probe("odd", None, len), Probe("odd", len, 3)])  # type: ignore[arg-type]
def test_what_can_be_no_probe_is_refused_when_it_is_registered(probe: Probe) -> None:
    with pytest.raises(InputError, match=r"its name is a text, and wanted, run, .* are functions; give such$"):
        register(probe)

"""The benchmark of audits counts what it says: areas, found leans, false ones."""

from benchmarks import bias
from vlx.auditing import Audit, Finding


def audit(strength: float, *findings: Finding) -> Audit:
    return Audit("model", "data", 400, findings=findings, strength=strength, right=300, judged=400)


PLACE = Finding("leans", "", answer="car", concept="desert")
OTHER = Finding("leans", "", answer="car", concept="red")
NOTE = Finding("leans", "", level="note", answer="rocket", concept="night")
CHECKS = Finding("map checks", "", answer="rocket")
WRONG_WAY = Finding("leans", "", answer="rocket", concept="desert")


def test_a_lean_on_the_place_of_the_biased_set_is_told_from_any_other() -> None:
    assert bias.names_the_bias(audit(1, OTHER, PLACE))
    assert not bias.names_the_bias(audit(1, OTHER, NOTE, CHECKS, WRONG_WAY))
    assert bias.leans(audit(1, PLACE, NOTE, CHECKS)) == {("car", "desert")}


def test_the_verdict_counts_models_and_compares_strengths() -> None:
    biased = [audit(3, PLACE), audit(2, OTHER), audit(1, NOTE)]
    balanced = [audit(0.5), audit(1.5, CHECKS), audit(0, OTHER)]
    area, found, false, anything = bias.verdict(biased, balanced)
    assert area.startswith("strength tells biased from balanced with AUC 0.889")  # 8 of 9 pairs
    assert "found: 1 of 3" in found and "false lean: 1 of 3" in false and "any finding: 2 of 3" in anything


def test_a_model_has_a_line_with_what_was_found() -> None:
    (row, empty) = bias.rows([4, 5], [audit(2.5, PLACE, NOTE, CHECKS), audit(0)])
    assert row == ("4", "0.750", "2.50", "leans 1, map checks 1", "car on desert")
    assert empty[3:] == ("nothing", "")

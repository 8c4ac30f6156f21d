"""How a mistake is put into words: the strongest of each category for it, and the strongest against it."""

from vlx.auditing.result import ConceptEvidence, Mistake
from vlx.auditing.telling import mistake, rests_on

CARRIED = (
    ConceptEvidence("night", "place", 0.4, 3.1),
    ConceptEvidence("desert", "place", 0.2, 1.0),
    ConceptEvidence("fin", "part", 0.1, 0.5),
    ConceptEvidence("door", "part", 0.1, -0.3),
    ConceptEvidence("wheel", "part", 0.15, -1.2),
    ConceptEvidence("dust", "part", 0.001, -9.0),
)
MADE = Mistake("a.jpg", "rocket", "car", "car", -0.02, -4.4, 4.0, carried=CARRIED, unit="logits")


def test_a_mistake_rests_on_the_strongest_of_each_category_and_the_strongest_speaks_against_it() -> None:
    assert rests_on(MADE) == (
        "night (40 % of the evidence, +3.10 logits) and fin (10 % of the evidence, +0.50 logits) speak for it; "
        "wheel (15 % of the evidence, −1.20 logits) against it"
    )


def test_each_answer_has_its_own_p() -> None:
    assert mistake(MADE, "class").startswith("said “rocket” (p 98.0 %), true is “car” (p 1.2 %): night ")

"""How high an IoU can be, and is by chance: by counting masks, and what hangs on it where quantiles compete."""

from itertools import combinations

import numpy as np
import pytest

from vlx.neuron_names.table import Concept, NeuronNames, Tally

PIXELS = 10  # of a picture so small that every mask can be tried


def tally(
    shares: dict[str, tuple[str, float]], quantiles: tuple[float, ...], hits: dict[str, list[int]] | None = None
) -> Tally:
    """Counts of one unit whose masks have the nominal size: ``shares`` are category and share t of each concept.

    Each category has its own pictures, of 1,000 pixels times its place; ``hits`` are pixels of the concept in the mask.
    """
    concepts = tuple(Concept(name, category) for name, (category, _) in shares.items())
    categories = list(dict.fromkeys(category for category, _ in shares.values()))
    area = np.array([[1000 * (n + 1) for n in range(len(categories))]])
    truth = [[round(share * area[0, categories.index(category)]) for category, share in shares.values()]]
    mask = [[[round(q * pixels) for pixels in area[0]]] for q in quantiles]
    inside = np.zeros((1, len(quantiles), 1, len(concepts)), np.int64)
    for name, counts in (hits or {}).items():
        inside[0, :, 0, list(shares).index(name)] = counts
    thresholds = np.arange(len(quantiles), 0, -1, dtype=np.float32)[:, None]
    activation = np.broadcast_to(np.array(mask), (3, 1, len(quantiles), 1, len(categories))).copy()
    tied = np.zeros((len(quantiles), 1), bool)
    return Tally(concepts, quantiles, thresholds, inside, np.array(truth), activation, area, tied)


@pytest.mark.parametrize("masked", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("shown", [1, 2, 4, 8])
def test_no_mask_of_that_size_has_a_higher_iou_and_one_has_it(masked: int, shown: int) -> None:
    concept = set(range(shown))
    ious = [len(concept & set(mask)) / len(concept | set(mask)) for mask in combinations(range(PIXELS), masked)]
    found = tally({"it": ("object", shown / PIXELS)}, (masked / PIXELS,))
    assert found.attainable(0) == pytest.approx([max(ious)])


@pytest.mark.parametrize(("q", "share"), [(0.1, 0.3), (0.005, 0.4), (0.2, 0.2)])
def test_chance_is_the_iou_of_two_things_that_know_nothing_of_each_other(q: float, share: float) -> None:
    both = q * share
    found = tally({"first": ("scene", 0.5), "it": ("object", share)}, (0.01, q))
    assert found.chance(1)[1] == pytest.approx(both / (q + share - both))
    rng = np.random.default_rng(0)
    mask, concept = rng.random(400_000) < q, rng.random(400_000) < share
    assert (mask & concept).sum() / (mask | concept).sum() == pytest.approx(found.chance(1)[1], rel=0.05)


def test_a_share_is_of_the_pictures_with_a_label_of_the_very_category() -> None:
    found = tally({"wheel": ("part", 0.1), "car": ("object", 0.1)}, (0.05, 0.2))
    assert found.attainable(0) == pytest.approx([0.5, 0.5]), "the objects' pictures are twice as many"
    assert found.attainable(1) == pytest.approx([0.5, 0.5])


SHARES = {
    # Medians of min(q, t) / max(q, t): .5 at .01, .2 at .1, .05 at .4; by means, .40, .51 and .13, another would win.
    **{"eye": ("part", 0.01), "beak": ("part", 0.02), "tail": ("part", 0.005), "fin": ("part", 0.02)},
    **{"wing": ("part", 0.1), "hull": ("part", 0.1), "leg": ("part", 0.1)},
    # Scenes are large.
    **{"beach": ("scene", 0.5), "night": ("scene", 0.38), "snow": ("scene", 0.3)},
    # One small concept; the others are in no picture.
    **{"car": ("object", 0.1), "boat": ("object", 0.0), "tree": ("object", 0.0)},
}
QUANTILES = (0.01, 0.1, 0.4)


def median(shares: list[float], q: float) -> float:
    """Of how high a mask of size q can reach, over the concepts that are in some picture."""
    return float(np.median([min(q, one) / max(q, one) for one in shares if one > 0]))


def test_the_best_quantile_of_a_category_is_that_at_which_its_median_concept_reaches_highest() -> None:
    by_hand = {}
    for category in ("part", "scene", "object"):
        own = [share for name, share in SHARES.values() if name == category]
        by_hand[category] = int(np.argmax([median(own, q) for q in QUANTILES]))
    assert by_hand == {"part": 0, "scene": 2, "object": 1}
    assert tally(SHARES, QUANTILES).best_quantile() == by_hand


def test_names_read_at_different_quantiles_are_ranked_by_how_much_of_what_can_be_reached_they_reach() -> None:
    """A beach filling half the pictures and a car filling a tenth, each at its own quantile."""
    hits = {"beach": [0, 0, 500], "car": [0, 150, 0], "eye": [6, 0, 0]}
    found = NeuronNames(tally=tally(SHARES, QUANTILES, hits)).candidates(0)
    pixels = {"part": 1000, "scene": 2000, "object": 3000}
    scores = {}
    for name, q in (("eye", 0.01), ("beach", 0.4), ("car", 0.1)):
        category, share = SHARES[name]
        whole, inside = pixels[category], max(hits[name])
        iou = inside / (q * whole + share * whole - inside)
        chance = q * share / (q + share - q * share)
        reach = min(q, share) / max(q, share)
        scores[name] = (iou - chance) / (reach - chance)
        one = next(other for other in found if other.concept == name)
        assert (one.iou, one.score, one.quantile) == pytest.approx((iou, scores[name], q))
    assert [one.concept for one in found] == sorted(scores, key=lambda name: -scores[name])
    ious = sorted(found, key=lambda one: -one.iou)
    assert [one.concept for one in ious] != [one.concept for one in found], "by the bare IoU the order is another"

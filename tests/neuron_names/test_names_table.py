"""What can be read from a tally, against masks counted pixel by pixel."""

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from tests.tallies import CONCEPTS, QUANTILES, World, dissected, world
from vlx.errors import InputError
from vlx.neuron_names.table import Concept, NeuronNames, UnitName, require_fit
from vlx.neuron_names.table.hypernyms import SCENES, hypernym_names, wordnet_parents
from vlx.neuron_names.table.names import permuted
from vlx.scenes.world import KINDS

PARENTS = {"bird": ("animal",), "butterfly": ("animal",), "car": ("vehicle",), "boat": ("vehicle",)} | {
    "animal": ("thing",),
    "vehicle": ("thing",),
}


# Names from a tally


@pytest.mark.parametrize("denominator", ["paper", "lite", "all"])
@pytest.mark.parametrize("quantile", [0, 1])
@pytest.mark.parametrize("seed", [0, 1])
def test_iou_is_that_of_the_masks(denominator: str, quantile: int, seed: int) -> None:
    w = world(seed)
    found = w.tally().iou(quantile, denominator)
    for unit in range(5):
        for number, concept in enumerate(CONCEPTS):
            mask, truth = w.masks[:, quantile, unit].copy(), w.carries(number)
            shown = w.shows(concept.category)
            if denominator == "paper":
                mask[~shown.any((1, 2))] = False
            if denominator == "lite":
                mask[~(mask & shown).any((1, 2))] = False
            union = (mask | truth).sum()
            assert found[unit, number] == pytest.approx((mask & truth).sum() / union if union else 0, abs=1e-12)


def test_error_and_wins_leave_each_fold_out() -> None:
    w = world(3)
    names = NeuronNames(tally=w.tally(), quantile=QUANTILES[1])
    left = []
    for fold in range(4):
        rest = np.arange(12) % 4 != fold
        other = type(w)(w.masks[rest], w.labels[rest], 1).tally()
        left.append(other.iou(1))
    ious = np.stack(left)  # [4, K, C]
    name = names[0]
    own = [n for n, concept in enumerate(CONCEPTS) if concept.category == name.category]
    number = next(n for n in own if CONCEPTS[n].name == name.concept)
    values = ious[:, 0, number]
    assert name.error == pytest.approx(np.sqrt(3 / 4 * ((values - values.mean()) ** 2).sum()))
    assert name.wins == sum(ious[fold, 0, own].argmax() == own.index(number) for fold in range(4))
    assert name.folds == 4


def test_one_fold_has_no_error() -> None:
    name = NeuronNames(tally=world(folds=1).tally())[0]
    assert (name.error, name.wins, name.folds) == (None, None, None)


def test_a_name_carries_its_counts() -> None:
    tally = world().tally()
    name = NeuronNames(tally=tally, quantile=QUANTILES[0])[2]
    assert (name.concept, name.category, name.unit, name.quantile) == ("car", "object", 2, QUANTILES[0])
    assert name.threshold == tally.thresholds[0, 2]
    assert name.intersection == tally.intersection[:, 0, 2, 2].sum()
    assert name.truth == tally.truth[:, 2].sum()
    assert name.activation is not None
    assert name.intersection is not None and name.truth is not None
    assert name.iou == name.score == name.intersection / (name.truth + name.activation - name.intersection)


def test_a_silent_unit_and_an_unseen_concept_have_no_name() -> None:
    names = dissected()
    assert names.candidates(4) == ()
    assert names[4] == UnitName(4)
    assert not any(one.concept == "never seen" for unit in range(5) for one in names.candidates(unit))
    with pytest.raises(IndexError, match="there is no unit 5; the table has units 0 to 4"):
        names[5]


def test_candidates_come_best_first_one_a_category() -> None:
    names = dissected()
    for unit in range(4):
        found = names.candidates(unit)
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert len({one.category for one in found}) == len(found)
        assert names[unit] is found[0]


def listed() -> NeuronNames:
    def one(unit: int, concept: str, category: str, iou: float) -> UnitName:
        return UnitName(unit, concept, category, iou, iou)

    return NeuronNames(
        (
            (one(0, "street", "scene", 0.3), one(0, "car", "object", 0.2)),
            (one(1, "car", "object", 0.1), one(1, "street", "part", 0.05)),
            (one(2, "bus", "object", 0.04),),
            (),
        )
    )


def test_both_ways_to_count_unique_detectors() -> None:
    names = listed()
    assert sorted(names.detectors()) == [0, 1]  # 0.04 itself is not above 0.04
    assert names.unique_detectors() == 3  # street is a scene and a part: two detectors
    assert names.unique_by_category() == {"scene": {"street"}, "object": {"car"}, "part": {"street"}}
    assert names.unique_detectors(rule="best") == 2
    assert names.unique_by_category(0.15, "best") == {"scene": {"street"}}
    with pytest.raises(InputError, match="rule='all'; known are 'published'"):
        names.unique_detectors(rule="all")  # type: ignore[arg-type]


def test_other_categories_change_the_best_name() -> None:
    names = listed().choose(categories=["object"])
    assert [name.concept for name in names] == ["car", "car", "bus", ""]
    assert list(listed().choose(categories="object")) == list(names)
    with pytest.raises(InputError, match="no unit has a name of category 'objct'; there are: object"):
        listed().choose(categories=["objct"])
    with pytest.raises(InputError, match="no counts"):
        listed().choose(quantile=0.005)


def test_other_quantile_and_denominator_change_the_iou() -> None:
    names = dissected()
    tally = names.tally
    assert tally is not None
    chosen = names.choose(quantile=QUANTILES[1], denominator="all")
    assert chosen[1].iou == pytest.approx(tally.iou(1, "all")[1].max())
    with pytest.raises(InputError, match=r"quantile 0\.3 was not counted; this table has 0\.05, 0\.2"):
        names.choose(quantile=0.3)
    with pytest.raises(InputError, match=r"denominator='half'; known are paper, lite, all"):
        names.choose(denominator="half")


# Hypernyms


def by_hand(seed: int, unit: int, hyponyms: tuple[str, ...], quantile: int) -> float:
    """The IoU of the union of the hyponyms' masks, over pictures with an object."""
    w = world(seed)
    names = [concept.name for concept in CONCEPTS]
    truth = np.any([w.carries(names.index(one)) for one in hyponyms], axis=0)
    pictures = np.asarray(w.shows("object").any((1, 2)))
    mask = w.masks[:, quantile, unit] & pictures[:, None, None]
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("quantile", [0, 1])
def test_the_iou_of_a_hypernym_is_that_of_the_union_of_masks(seed: int, quantile: int) -> None:
    names = NeuronNames(tally=world(seed).tally(), quantile=QUANTILES[quantile])
    found = hypernym_names(names, PARENTS, penalty=-1.0)  # the widest wins
    for unit in range(4):
        one = found[unit]
        assert one is not None
        assert one.concept == "thing"
        assert one.exact
        assert one.iou == pytest.approx(by_hand(seed, unit, one.hyponyms, quantile), abs=1e-12)
    assert found[4] is None


def test_the_penalty_decides_how_wide_a_name_is() -> None:
    names = NeuronNames(tally=world(0).tally(), quantile=QUANTILES[1])
    narrow = hypernym_names(names, PARENTS, penalty=1.0)[0]
    assert narrow is not None
    assert (narrow.concept, narrow.hyponyms) == ("bird", ("bird",))
    assert narrow.iou == pytest.approx(by_hand(0, 0, ("bird",), 1))
    assert narrow.score == narrow.iou
    free = hypernym_names(names, PARENTS, penalty=0.0)[0]
    assert free is not None
    assert free.iou >= narrow.iou


def test_a_unit_of_two_animals_is_named_animal() -> None:
    w = world(1)
    masks = w.masks.copy()
    masks[:, :, 0] = np.logical_or(w.carries(0), w.carries(1)).reshape(12, 1, 10, 10)
    names = NeuronNames(tally=type(w)(masks, w.labels, 1).tally(), quantile=QUANTILES[0])
    best = hypernym_names(names, PARENTS)[0]
    assert best is not None
    assert (best.concept, best.hyponyms, best.category) == ("animal", ("bird", "butterfly"), "object")
    assert best.iou == 1.0
    assert best.score == pytest.approx(0.99)


def test_a_lone_parent_is_one_name() -> None:
    names = NeuronNames(tally=world(0).tally(), quantile=QUANTILES[0])
    lone = {name: above[0] for name, above in PARENTS.items()}
    assert hypernym_names(names, lone, penalty=-1.0) == hypernym_names(
        names, {name: (above,) for name, above in lone.items()}, penalty=-1.0
    )


def test_of_names_with_the_same_concepts_the_narrowest_is_kept() -> None:
    chain = {
        "bird": ("winged",),
        "winged": ("animal",),
        "butterfly": ("winged",),
        "animal": ("winged",),
    }  # a circle too
    names = NeuronNames(tally=world(0).tally(), quantile=QUANTILES[1])
    found = hypernym_names(names, chain, penalty=-1.0)[0]
    assert found is not None
    assert found.concept == "winged"


@pytest.mark.parametrize(("overlap", "mask"), [(6, (0, 6)), (6, (6, 10)), (5, (0, 5))])
def test_labels_that_overlap_are_told(overlap: int, mask: tuple[int, int]) -> None:
    """Birds and butterflies in the same columns: more pixels than the picture has, or than the mask."""
    labels = np.zeros((1, 2, 10, 10), np.int64)
    labels[:, 0, :, :overlap], labels[:, 1, :, :overlap] = 1, 2
    masks = np.zeros((1, 2, 1, 10, 10), bool)
    masks[..., mask[0] : mask[1]] = True
    masks[..., 0, 0] = True
    found = hypernym_names(NeuronNames(tally=World(masks, labels, 1).tally()), PARENTS, penalty=-1.0)[0]
    assert found is not None
    assert found.hyponyms == ("bird", "butterfly")
    assert not found.exact


def test_hypernyms_need_counts_and_a_category() -> None:
    with pytest.raises(InputError, match="no counts"):
        hypernym_names(listed(), PARENTS)
    with pytest.raises(InputError, match="no concept is of category 'objects'; there are: object"):
        hypernym_names(dissected(), PARENTS, category="objects")


def test_the_table_of_the_drawn_scenes_knows_every_kind() -> None:
    assert set(KINDS) <= set(SCENES)
    tops = {name for above in SCENES.values() for name in above} - set(SCENES)
    assert tops == {"artefact", "living thing"}


class Synset(SimpleNamespace):
    """As NLTK's: methods, not fields."""

    def __init__(self, title: str, *above: "Synset") -> None:
        super().__init__(name=lambda: title, hypernyms=lambda: list(above), instance_hypernyms=list)


@pytest.fixture
def wordnet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A WordNet of five nouns, where nltk.corpus is looked for."""
    entity = Synset("entity.n.01")
    animal = Synset("animal.n.01", entity)
    known = {
        "bird.n.01": Synset("bird.n.01", animal),
        "butterfly.n.01": Synset("butterfly.n.01", animal),
        "beach_wagon.n.01": Synset("beach_wagon.n.01", entity),
    }
    fake = SimpleNamespace(
        ensure_loaded=lambda: None,
        synsets=lambda name, pos: [one for key, one in known.items() if key.startswith(name + ".")],
        synset=lambda name: known[name],
    )
    corpus = ModuleType("nltk.corpus")
    corpus.wordnet = fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nltk.corpus", corpus)
    yield fake


def test_wordnet_gives_parents(wordnet: Any) -> None:
    found = wordnet_parents([*CONCEPTS[:2], Concept("beach wagon", "object"), Concept("zzz", "object")])
    assert found["bird"] == ("bird.n.01",)
    assert found["bird.n.01"] == ("animal.n.01",)
    assert found["animal.n.01"] == ("entity.n.01",)
    assert found["beach wagon"] == ("beach_wagon.n.01",)
    assert found["zzz"] == ()
    best = hypernym_names(NeuronNames(tally=world(1).tally(), quantile=QUANTILES[1]), penalty=-1.0)[0]
    assert best is not None
    assert (best.concept, best.hyponyms) == ("animal.n.01", ("bird", "butterfly"))


def test_a_missing_wordnet_says_how_to_get_it(wordnet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise LookupError("Resource wordnet not found.")

    wordnet.ensure_loaded = absent
    with pytest.raises(InputError, match=r"python -m nltk\.downloader wordnet"):
        wordnet_parents(CONCEPTS)
    monkeypatch.setitem(sys.modules, "nltk.corpus", None)
    with pytest.raises(InputError, match=r"pip install 'vlx\[language\]'"):
        wordnet_parents(CONCEPTS)


def test_permuted_names_move_and_thresholds_stay() -> None:
    listed = tuple(
        (UnitName(unit, f"c{unit}", "object", 0.1 + unit / 10, 0.1 + unit / 10, threshold=float(unit)),) * (unit != 1)
        for unit in range(4)
    )
    table = NeuronNames(listed, {"layer": "conv", "model_hash": "1"})
    wrong = permuted(table, [1, 2, 3, 0])
    assert [name.concept for name in wrong] == ["", "c2", "c3", "c0"]
    assert [name.unit for name in wrong] == [0, 1, 2, 3]
    assert [name.threshold for name in wrong][1:] == [None, 2.0, 3.0]
    assert wrong[3].iou == table[0].iou
    assert wrong.about["model_hash"] == "1"
    assert "permuted" in wrong.about["source"]
    for order in ([0, 1, 2], [0, 0, 1, 2], [1, 2, 3, 4]):
        with pytest.raises(InputError, match=r"order must hold each of the units 0 to 3 once, it has [34] numbers"):
            permuted(table, order)


# Fit


class Held:
    """A task that holds a network, explained at a layer."""

    name = "held"

    def __init__(self, layers: str, digest: str | None = None) -> None:
        self.cnn = nn.Module()
        for layer in layers.split():
            parent, _, last = layer.rpartition(".")
            self.cnn.get_submodule(parent).add_module(last, nn.Module())
        if digest is not None:
            self.digest = lambda: digest


RESNET = "conv1 layer1 layer2 layer3 layer4 fc"


def fit(task: Any, own: str, **about: str) -> tuple[str, ...]:
    listed = ((UnitName(0, "dog", "object", 0.2, 0.2),),) * 3
    return require_fit(NeuronNames(listed, about), task, own, 3)


@pytest.mark.parametrize(
    ("layers", "own", "theirs"),
    [
        (RESNET, "layer4", "layer2"),
        (RESNET, "layer4", "fc"),
        ("backbone backbone.layer2 backbone.layer4", "backbone.layer4", "layer2"),
        ("backbone backbone.layer2 backbone.layer4", "backbone.layer4", "module.backbone.layer2"),
        (RESNET, "cnn", "layer2"),
        ("features features.3 features.28", "cnn", "features.3"),
        ("", "layer4", "layer2"),
    ],
)
def test_a_table_of_another_layer_is_refused_with_and_without_a_hash(layers: str, own: str, theirs: str) -> None:
    message = rf"^the table of names is for layer '{theirs}'; held is explained at '{own}': vlx dissect held DATASET"
    for task, about in ((Held(layers), {}), (Held(layers, "1"), {}), (Held(layers, "1"), {"model_hash": "1"})):
        with pytest.raises(InputError, match=message):
            fit(task, own, layer=theirs, **about)
    with pytest.raises(InputError, match=message):
        fit(Held(layers), own, layer=theirs, model_hash="1")  # the model has none


@pytest.mark.parametrize(
    ("own", "theirs"), [("layer4", "layer4"), ("backbone.layer4", "layer4"), ("layer4", "module.layer4")]
)
def test_names_of_the_same_layer_agree_and_the_weights_stay_open(own: str, theirs: str) -> None:
    (note,) = fit(Held(RESNET), own, layer=theirs)
    assert note == (
        "of the table of names it cannot be told: that it is for these very weights (the table has no hash)"
    )
    assert fit(Held(RESNET, "1"), own, layer=theirs, model_hash="1") == ()
    with pytest.raises(InputError, match=r"made for other weights \(layer4|made for other weights \(module.layer4"):
        fit(Held(RESNET, "2"), own, layer=theirs, model_hash="1")


@pytest.mark.parametrize(("own", "theirs"), [("cnn", "layer4"), ("cnn", "conv5_3"), ("layer4", "conv5_3")])
def test_layers_that_cannot_be_compared_are_noted(own: str, theirs: str) -> None:
    (note,) = fit(Held(RESNET), own, layer=theirs)
    assert note.endswith(f"(the table has no hash), nor that it is for layer '{own}' (it says '{theirs}')")


def test_a_table_that_says_nothing_of_itself_is_noted() -> None:
    (note,) = fit(Held(RESNET, "1"), "layer4")
    assert note.endswith("(the table has no hash), nor that it is for layer 'layer4' (it names none)")
    (note,) = fit(Held(RESNET), "layer4", model_hash="1", layer="layer4")
    assert note.endswith("these very weights (held has no hash)")

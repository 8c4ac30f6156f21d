"""Names from captions: planted words are found, areas are exact, what cannot be used is named."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

import vlx
from tests.dissections import Given
from vlx import neuron_names
from vlx.data import Labelled, open_data
from vlx.data.captions import CaptionedPhotos, CaptionedScenes
from vlx.data.concepts import NO_LABELS
from vlx.data.lexicon import Lexicon
from vlx.errors import ImageError, InputError
from vlx.neuron_names.dissection import peaks
from vlx.neuron_names.dissection.checkpoint import Checkpoint
from vlx.neuron_names.dissection.layers import Layers
from vlx.neuron_names.dissection.words import words
from vlx.neuron_names.table import DETECTOR_AUC, Concept, UnitName, detects
from vlx.neuron_names.table.auc import areas, dividing, double_ranks, highest_by_chance, named, spread
from vlx.pictures.placement import Grid

CELLS = (4, 4)
COUNT = 120
PLANTED = (("dog", "object"), ("beach", "scene"), ("red", "color"), ("wood", "material"), ("run", "action"))
TEXTS = ("dogs", "the beach", "a red thing", "wooden things", "it runs quickly")
RULES = Lexicon(None, None)


class Captions:
    """Pictures that carry their number in their first pixel; each says some of the planted words."""

    name, licence = "captions:made", ""
    concepts: tuple[Concept, ...] = ()
    left_out: tuple[str, ...] = ()
    told_by = RULES.source

    def __init__(self, count: int = COUNT, broken: Sequence[int] = (), seed: int = 0) -> None:
        self.says = np.random.default_rng(seed).random((count, len(PLANTED))) < 0.4
        self.broken = broken

    def __len__(self) -> int:
        return len(self.says)

    def __getitem__(self, number: int) -> Labelled:
        if number in self.broken:
            raise ImageError(f"{number}.jpg: cut off")
        pixels = np.full((16, 16, 3), 100, np.uint8)
        pixels[0, 0] = (number % 256, number // 256, 0)
        return Labelled(Image.fromarray(pixels), NO_LABELS)

    def told(self) -> list[frozenset[Concept]]:
        return [frozenset(Concept(*PLANTED[n]) for n in np.flatnonzero(row)) for row in self.says]

    def digest(self) -> str:
        return f"{self.says.sum()} {self.broken}"


def planted(data: Captions, extra: int = 3) -> torch.Tensor:
    """Maps [N, K, 4, 4]: unit k fires in one cell where word k is told; ``extra`` units know nothing."""
    random = torch.Generator().manual_seed(1)
    A = torch.rand(len(data), len(PLANTED) + extra, *CELLS, generator=random)
    A[:, : len(PLANTED), 1, 2] += torch.from_numpy(data.says).float()
    return A


def given(data: Captions, **options: Any) -> Given:
    return Given(planted(data), Grid.half_pixel(CELLS, (16, 16), "made"), **options)


def listed(names: neuron_names.NeuronNames) -> list[str]:
    """All names as text: nan is nan."""
    return [str(names.candidates(unit)) for unit in range(len(names))]


def test_units_that_fire_on_a_word_are_named_by_it() -> None:
    data = Captions()
    names = neuron_names.dissect(given(data), data)
    assert [(name.concept, name.category) for name in names][: len(PLANTED)] == list(PLANTED)
    assert all(name.auc > 0.99 and name.p == 1 / 200 for name in list(names)[: len(PLANTED)])
    assert set(names.detectors()) == set(range(len(PLANTED)))
    assert {name.folds for name in names} <= {4, None}
    assert names[0].folds == 4
    assert (names.metric, names.about["images"], names.about["words"]) == ("auc", COUNT, len(PLANTED))


def test_words_permuted_over_pictures_name_nothing() -> None:
    data = Captions()
    A = planted(data, extra=40)
    order = np.random.default_rng(3).permutation(COUNT)
    names = neuron_names.dissect(Given(A[order], Grid.half_pixel(CELLS, (16, 16), "made")), data)
    assert names.detectors() == {}
    p = np.array([name.p for name in names if name.p is not None])
    assert 0.2 < np.median(p) < 0.8, "p of names by chance is spread evenly"


@pytest.mark.parametrize("seed", range(3))
def test_areas_are_those_of_mann_and_whitney_with_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 6, (40, 3)).astype(np.float32)
    told = random.random((40, 4)) < 0.3
    found, width = areas(values, told), spread(values, told)
    assert np.array_equal(double_ranks(values), 2 * stats.rankdata(values, axis=0))
    for k in range(3):
        for c in range(4):
            with_, without = values[told[:, c], k], values[~told[:, c], k]
            pairs = (with_[:, None] > without).mean() + (with_[:, None] == without).mean() / 2
            assert found[k, c] == pytest.approx(pairs, abs=1e-15)
            p = stats.mannwhitneyu(with_, without, use_continuity=False, method="asymptotic", alternative="less").pvalue
            assert stats.norm.cdf((found[k, c] - 0.5) / width[k, c]) == pytest.approx(p)


def test_permuted_pictures_give_the_spread_that_is_expected() -> None:
    random = np.random.default_rng(0)
    values, told = random.integers(0, 9, (200, 20)).astype(np.float32), random.random((200, 1)) < 0.2
    z = highest_by_chance(values, told)
    assert z.shape == (199, 20)
    assert abs(z.mean()) < 0.15
    assert z.std() == pytest.approx(1, abs=0.1)


def test_a_permutation_that_is_as_good_counts() -> None:
    peaks, told = np.zeros((8, 1), np.float32), np.zeros((8, 1), bool)
    peaks[0], told[0] = 1.0, True
    name = named(peaks, told, [Concept("dog", "object")], np.zeros(8, int)).listed[0][0]
    assert name.auc == 1
    assert name.p == pytest.approx(1 / 8, abs=0.06), "one picture of eight has the peak, whatever its strength"


def test_a_constant_unit_has_no_name() -> None:
    data = Captions()
    A = planted(data)
    A[:, 0] = 2.5
    assert neuron_names.dissect(Given(A, Grid.half_pixel(CELLS, (16, 16), "made")), data).candidates(0) == ()


def test_the_error_is_the_jackknife_over_folds_and_wins_are_counted() -> None:
    data = Captions()
    A, fold = planted(data), np.arange(COUNT) % 4
    values = A.amax((2, 3)).numpy() + np.random.default_rng(0).normal(0, 0.4, (COUNT, A.shape[1])).astype(np.float32)
    known = words(data.told())
    name = named(values, known.told, known.concepts, fold).listed[0][0]
    place = known.concepts.index(Concept("dog", "object"))
    left = np.array([areas(values[fold != f], known.told[fold != f])[0, place] for f in range(4)])
    assert name.error == pytest.approx(np.sqrt(3 / 4 * ((left - left.mean()) ** 2).sum()))
    assert (name.wins, name.folds) == (4, 4)


def test_the_runner_up_is_the_second_best_of_the_category() -> None:
    concepts = [Concept("dog", "object"), Concept("puppy", "object"), Concept("sky", "object"), Concept("red", "color")]
    random = np.random.default_rng(0)
    told = random.random((200, 4)) < 0.5
    told[:, 1] = told[:, 0] ^ (random.random(200) < 0.1)
    values = (told[:, :1] + random.normal(0, 0.1, (200, 1))).astype(np.float32)
    best = named(values, told, concepts, np.arange(200) % 4).listed[0][0]
    assert (best.concept, best.runner_up) == ("dog", "puppy")
    assert best.runner_up_auc == areas(values, told)[0, 1]


def test_among_equal_areas_the_word_of_more_pictures_is_the_name() -> None:
    concepts, told = [Concept("man", "object"), Concept("welder", "object")], np.zeros((400, 2), bool)
    told[:200, 0], told[:4, 1] = True, True
    values = np.arange(400, 0, -1, dtype=np.float32)[:, None]
    assert named(values, told, concepts, np.arange(400) % 4).listed[0][0].concept == "man"


def test_the_threshold_divides_pictures_best() -> None:
    values = np.array([5, 4, 4, 3, 2, 1], np.float32)
    told = np.array([1, 1, 0, 1, 0, 0], bool)
    T = dividing(values, told)
    assert T == 2
    gain = [(values > t)[told].mean() - (values > t)[~told].mean() for t in (0, 1, 2, 3, 4)]
    assert (values > T)[told].mean() - (values > T)[~told].mean() == max(gain)
    assert dividing(np.ones(3, np.float32), np.array([True, False, True])) == 1


# Words


CASES = [
    ("Two brown dogs run at the beach", {"brown/color", "dog/object", "animal/kind", "run/action", "beach/scene"}),
    ("men riding bikes", {"man/object", "person/kind", "ride/action", "bike/object", "vehicle/kind"}),
    ("a wooden bench in the snow", {"wood/material", "bench/object", "furniture/kind", "snow/scene"}),
    ("a striped red house", {"striped/texture", "red/color", "house/object", "building/kind"}),
    ("swimming near a tall building", {"swim/action", "building/object", "building/kind"}),
    ("Ladies with boxes", {"lady/object", "person/kind", "box/object"}),
    ("a woman wearing sunglasses", {"woman/object", "person/kind", "wear/action", "sunglasses/object"}),
]  # fmt: skip


@pytest.mark.parametrize(("caption", "wanted"), CASES)
def test_lemmas_categories_and_kinds_by_rule(caption: str, wanted: set[str]) -> None:
    assert {f"{one.name}/{one.category}" for one in RULES.concepts([caption])[0]} == wanted


@pytest.mark.parametrize(("caption", "wanted"), CASES)
def test_lemmas_categories_and_kinds_by_spacy(caption: str, wanted: set[str]) -> None:
    pytest.importorskip("spacy")
    lexicon = Lexicon.installed()
    if "spaCy" not in lexicon.source:
        pytest.skip("no English model of spaCy")
    assert {f"{one.name}/{one.category}" for one in lexicon.concepts([caption])[0]} == wanted


def test_wordnet_tells_categories_and_kinds_that_lists_do_not() -> None:
    above = {"aardvark": frozenset({"animal.n.01"}), "fjord": frozenset({"body_of_water.n.01"})}
    lexicon = Lexicon(None, lambda lemma: above.get(lemma, frozenset()))
    found = lexicon.concepts(["an aardvark by the fjord"])[0]
    assert found == {Concept("aardvark", "object"), Concept("animal", "kind"), Concept("fjord", "scene")}
    assert lexicon.source == "the built-in cutter, WordNet and lists"


def test_captions_without_a_word_tell_nothing() -> None:
    assert RULES.concepts(["", "!!!", "a", "it is"]) == [frozenset()] * 4


# The pass


def test_a_stopped_run_goes_on_to_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Captions(broken=[5, 40])
    kept = tmp_path / "names.h5.part"
    whole = neuron_names.dissect(given(data), data)
    monkeypatch.setattr("vlx.neuron_names.dissection.checkpoint.EVERY", 0)
    with pytest.raises(KeyboardInterrupt):
        neuron_names.dissect(given(data, breaks=5), data, checkpoint=kept)
    task = given(data)
    again = neuron_names.dissect(task, data, checkpoint=kept)
    assert len(task.seen) < COUNT - 2
    assert again.about == whole.about
    task = given(data)
    assert listed(neuron_names.dissect(task, data, checkpoint=kept)) == listed(whole)
    assert len(task.seen) <= 16  # the block it knows the model by: nothing is lost before the table is saved
    assert listed(again) == listed(whole)
    assert np.array_equal(again.examples, whole.examples)
    assert np.array_equal(again.means, whole.means)


def test_a_run_of_another_model_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, kept = Captions(), tmp_path / "part"
    monkeypatch.setattr("vlx.neuron_names.dissection.checkpoint.EVERY", 0)
    with pytest.raises(KeyboardInterrupt):
        neuron_names.dissect(given(data, breaks=3), data, checkpoint=kept)
    other = given(data)
    other.maps = other.maps.flip(0)  # the digest is the same
    with pytest.raises(InputError, match="the model gave other features then; delete it to start anew"):
        neuron_names.dissect(other, data, checkpoint=kept)


def test_means_and_examples_are_those_of_the_pictures_that_could_be_read() -> None:
    data = Captions(count=50, broken=[3])
    A = planted(data)
    seen = peaks.Peaks(data, Layers(given(data)), lambda items, _: items)
    seen.go(Checkpoint(None, {}))
    found = seen.activity("given")
    read = np.delete(np.arange(50), 3)
    assert np.allclose(found.means, A[read].mean((0, 2, 3)).numpy(), rtol=1e-6)
    assert found.examples[0, 0] == read[A[read].amax((2, 3))[:, 0].argmax()]
    assert np.isnan(seen.values["given"][3]).all()


def test_few_pictures_leave_places_for_examples_empty() -> None:
    data = Captions(count=16, broken=[*range(3, 16)])
    seen = peaks.Peaks(data, Layers(given(data)), lambda items, _: items)
    seen.go(Checkpoint(None, {}))
    assert sorted(seen.activity("given").examples[0].tolist()) == [-1] * 5 + [0, 1, 2]


# Tables


def test_tables_keep_what_captions_tell(tmp_path: Path) -> None:
    data = Captions()
    names = neuron_names.dissect(given(data), data)
    again = neuron_names.load(names.save(tmp_path / "n.h5"))
    assert listed(again) == listed(names)
    assert again.about == names.about
    assert np.array_equal(again.examples, names.examples)
    assert np.array_equal(again.means, names.means)
    for ending in ("csv", "json"):
        plain = neuron_names.read(names.save(tmp_path / f"n.{ending}"))
        assert plain.metric == "auc"
        assert set(plain.detectors()) == set(names.detectors())


def test_tables_of_before_there_were_captions_are_read(tmp_path: Path) -> None:
    import h5py

    path = neuron_names.NeuronNames(((UnitName(0, "dog", "object", 0.2, 0.2),),), {"metric": "iou"}).save(
        tmp_path / "n.h5"
    )
    with h5py.File(path, "a") as file:
        for name in ("auc", "p", "runner_up", "runner_up_auc"):
            del file[f"names/{name}"]
        del file.attrs["digest"]
    known = neuron_names.load(path)[0]
    assert (known.concept, known.iou, known.p, known.runner_up) == ("dog", 0.2, None, "")
    assert known.fit == 0.2


def test_who_counts_as_a_detector() -> None:
    name = UnitName(0, "dog", "object", auc=0.8, p=0.005)
    assert detects(name)
    assert not detects(replace(name, p=0.02))
    assert not detects(replace(name, auc=DETECTOR_AUC))
    assert not detects(replace(name, concept=""))
    assert not detects(name, auc=0.9)


# Bad input


def photos(folder: Path, rows: Sequence[tuple[str, str]], count: int) -> Path:
    (folder / "Images").mkdir(parents=True)
    for n in range(count):
        Image.new("RGB", (16, 16), (n % 256, n // 256, 0)).save(folder / "Images" / f"{n:03}.png")
    lines = [f"{name},{caption}" for name, caption in rows]
    (folder / "captions.txt").write_text("\n".join(["image,caption", *lines]), encoding="utf-8")
    return folder


def test_broken_missing_and_empty_ones_are_counted_and_named(tmp_path: Path) -> None:
    data = Captions(count=64)
    rows = [(f"{n:03}.png", TEXTS[c]) for n in range(64) for c in np.flatnonzero(data.says[n])]
    rows += [("gone.png", "a dog"), ("001.png", "!!!"), *rows[:3]]  # ids come again, captions too
    folder = photos(tmp_path / "p", rows, 64)
    (folder / "Images" / "007.png").write_bytes(b"no picture")
    opened = CaptionedPhotos(folder, lexicon=RULES)
    numbers = [int(opened[n].key[:3]) for n in range(len(opened))]
    A = planted(data)[: len(data)]
    names = neuron_names.dissect(Given(A, Grid.half_pixel(CELLS, (16, 16), "made")), opened, least=5)
    told = " ".join(names.about["left_out"])
    assert "no such picture: gone.png" in told
    assert "empty caption: 001.png" in told
    assert told.endswith("007.png is not a picture that can be read here")
    assert "1 pictures that cannot be read: " in told
    assert names.about["images"] == len(numbers) - 1
    assert [name.concept for name in names][:5] == [name for name, _ in PLANTED]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("captions:", "give the folder of the photographs"),
        ("captions:nowhere", "nowhere is no folder"),
        ("captions:scenes:many", "name captioned scenes captions:scenes:COUNT"),
        ("captions:scenes:0", "dissect at least one scene"),
    ],
)
def test_what_is_no_captioned_data_is_refused(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_data(spec)


def test_too_few_captions_are_refused_with_what_there_is() -> None:
    data = Captions(count=20)
    with pytest.raises(InputError, match=r"no word is told of 20 pictures and lacking in 20 of 20 \(most: .* smaller"):
        neuron_names.dissect(given(data), data)


def test_nothing_that_can_be_read_is_refused() -> None:
    data = Captions(broken=range(COUNT))
    with pytest.raises(InputError, match="none of 120 pictures can be read"):
        neuron_names.dissect(given(data), data)


@pytest.mark.parametrize("option", [{"quantile": 0.1}, {"compat": "lite"}, {"spill": "x"}, {"labels": (4, 4)}])
def test_options_for_masks_are_refused(option: dict[str, Any]) -> None:
    data = Captions()
    with pytest.raises(InputError, match=f"{next(iter(option))}: for pictures with masks, which captions:made is not"):
        neuron_names.dissect(given(data), data, **option)


def test_a_least_number_of_pictures_is_for_captions_alone() -> None:
    with pytest.raises(InputError, match="least: for captioned pictures, which scenes:4 is not"):
        neuron_names.dissect(vlx.load("scenes/captioner"), "scenes:4", least=3)


def test_words_that_nearly_all_or_nearly_no_pictures_have_are_left_out() -> None:
    everywhere, rare, half = (Concept(name, "object") for name in ("sky", "emu", "dog"))
    told = [frozenset({everywhere, *([half] if n % 2 else []), *([rare] if n < 3 else [])}) for n in range(60)]
    known = words(told)
    assert known.concepts == (half,)
    assert known.left_out == (("sky", 60), ("emu", 3))


def test_detectors_are_judged_on_pictures_that_they_were_not_named_by() -> None:
    from benchmarks.caption_names import judged

    data, other = Captions(), Captions(seed=1)
    names = neuron_names.dissect(given(data), data)
    for told, wanted in ((other, 1.0), (Captions(seed=2), 0.5)):  # the last tell of other pictures than are shown
        seen = peaks.Peaks(told, Layers(given(other)), lambda items, _: items)
        seen.go(Checkpoint(None, {}))
        rows = judged(names, seen, told)
        assert len(rows) == len(PLANTED)
        assert np.mean([row["now"] for row in rows]) == pytest.approx(wanted, abs=0.1)
        assert all(row["sure"] == (wanted == 1) for row in rows)


@pytest.fixture(scope="module")
def scene_names() -> neuron_names.NeuronNames:
    data = CaptionedScenes(120, lexicon=RULES)
    return neuron_names.dissect(vlx.load("scenes/captioner"), data)


def test_names_from_masks_are_read_among_what_captions_say(scene_names: neuron_names.NeuronNames) -> None:
    from benchmarks.caption_names import COMMON, agreement, sayable

    whole = neuron_names.shipped(vlx.load("scenes/captioner"))
    captions = scene_names.choose(categories=COMMON)
    masks = sayable(whole, captions, 0.005)
    assert masks.tally is not None
    assert {concept.category for concept in masks.tally.concepts} == set(COMMON)
    assert "plain" not in {concept.name for concept in masks.tally.concepts}, "no caption says it"
    for unit in (3, 128):
        kept = {one.concept: one.iou for one in masks.candidates(unit)}
        known = {one.concept: one.iou for one in whole.choose(quantile=0.005).candidates(unit)}
        assert all(kept[name] == known[name] for name in kept.keys() & known.keys()), "the same counts"
    number, same, within = agreement(masks, captions, DETECTOR_AUC)
    assert number > 15
    assert 0.5 < same <= within


# From scenes to reasons


def test_scenes_are_named_by_their_captions(scene_names: neuron_names.NeuronNames) -> None:
    masks = neuron_names.shipped(vlx.load("scenes/captioner")).choose(quantile=0.01)
    theirs, ours = masks.detectors(), scene_names.detectors()
    both = [unit for unit in theirs.keys() & ours.keys() if theirs[unit].category in ("object", "scene", "texture")]
    agree = [any(one.concept == ours[unit].concept for one in masks.candidates(unit)) for unit in both]
    assert len(both) > 15
    assert np.mean(agree) > 0.7  # 120 scenes; of 2,000 see benchmarks/caption_names.py


def test_reasons_are_made_of_names_from_captions(scene_names: neuron_names.NeuronNames, tmp_path: Path) -> None:
    task, picture = vlx.load("scenes/captioner"), vlx.scenes.draw(10_000_021).image
    why = vlx.explain(task, picture, names=scene_names)
    reasons = [one for word in why if word.because is not None for one in word.because.of("because")]
    assert reasons
    assert all(one.auc is not None and one.auc > DETECTOR_AUC for one in reasons)
    assert any(one.named is not None for one in reasons), "the mark of the name is tried"
    page = why.save(tmp_path / "why.html").read_text(encoding="utf-8")
    assert ">AUC</th>" in page and ">IoU</th>" not in page
    kept = vlx.Explanation.load(why.save(tmp_path / "why.json"))
    again = [one for word in kept if word.because is not None for one in word.because.of("because")]
    assert [one.auc for one in again] == [one.auc for one in reasons]
    off = vlx.explain(task, picture, names=scene_names, off="mean")
    assert any(word.because is not None for word in off), "the table knows the means"


def test_a_table_for_another_network_is_refused(scene_names: neuron_names.NeuronNames) -> None:
    with pytest.raises(InputError, match="names are valid for one network only"):
        vlx.explain(vlx.load("scenes/captioner-pooled"), vlx.scenes.draw(1).image, names=scene_names)


def test_the_command_line_names_shows_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene_names: neuron_names.NeuronNames
) -> None:
    from tests.cli.test_cli import refused
    from tests.cli.test_cli import run as vlx_run

    monkeypatch.setattr(Lexicon, "installed", classmethod(lambda cls: RULES))
    out = tmp_path / "n.h5"
    said = vlx_run("dissect", "scenes/captioner", "captions:scenes:24", "-o", out, "--least", "5")
    assert said.exit_code == 0, said.output
    assert [file.name for file in tmp_path.iterdir()] == ["n.h5"]
    assert "left out: " in said.output and "words that fewer than 5 pictures have or lack" in said.output
    shown = vlx_run("names", "show", out, "--auc", "0.9").output
    assert shown.splitlines()[0].split()[:4] == ["unit", "name", "category", "AUC"]
    assert "detectors above AUC 0.9" in shown and "IoU" not in shown
    best = max(neuron_names.load(out), key=lambda name: name.auc)
    one = vlx_run("names", "show", out, "--unit", best.unit, "--data", "captions:scenes:24", "-o", tmp_path / "u.png")
    assert one.exit_code == 0, one.output
    assert "runner-up" in one.output and (tmp_path / "u.png").stat().st_size > 10_000
    refused(
        "for pictures with masks", "dissect", "scenes/captioner", "captions:scenes:24", "-o", out, "--quantile", ".1"
    )
    checked = vlx_run("names", "check", scene_names.save(tmp_path / "s.h5"), "--n", "4")
    assert "names gain most for their own word" in checked.output
    photos = neuron_names.NeuronNames(scene_names.listed, {**scene_names.about, "dataset": "captions:f8k"})
    refused("say which to look at, as --data captions:DIR", "names", "check", photos.save(tmp_path / "p.h5"))

"""benchmarks/bias_abroad.py: what is pasted is where it says, halves share nothing, and audits are counted right."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks.bias_abroad import Judged, Remembered, halved, rows, verdict
from benchmarks.bias_pictures import SIDE, Pasted, World, cut_outs, photographs
from tests.audits import LEAN, audited
from vlx.auditing import Audit
from vlx.auditing.answered import ALIKE, CONCEPTS

WORLD = World("two", {"car": ("car",), "rocket": ("kite",)}, {"night": ("night",), "desert": ("sand",)}, ("dog",))
COLOURS = {"car": (250, 0, 0), "rocket": (0, 250, 0)}
USUAL = replace(LEAN, answer="car", concept="night")  # as a biased set of this world teaches


@pytest.fixture
def tried(tmp_path: Path) -> Pasted:
    places = {}
    for place, level in (("night", 20), ("desert", 200)):
        Image.new("RGB", (300, 260), (level, level, level)).save(tmp_path / f"{place}.png")
        places[place] = [tmp_path / f"{place}.png"]
    things = {kind: [Image.new("RGBA", (60, 30), (*colour, 255))] for kind, colour in COLOURS.items()}
    return Pasted(WORLD, things, places, 16, seed=3)


def test_a_thing_is_where_its_mask_is_and_the_rest_is_the_place(tried: Pasted) -> None:
    sizes, corners = set(), set()
    for number in range(len(tried)):
        example, (kind, place) = tried[number], tried.group(number)
        pixels = np.asarray(example.image, int)
        masks = {concept.name: mask for concept, mask in example.regions.items()}
        painted = (abs(pixels - COLOURS[kind]) < 20).all(-1)
        assert pixels.shape == (SIDE, SIDE, 3) and set(masks) == {kind, place}
        assert (masks[kind] == painted).mean() > 0.995 and (masks[kind] ^ masks[place]).all()
        assert np.median(pixels[masks[place]]) == {"night": 20, "desert": 200}[place]
        assert [ask.label for ask in example.asks] == [kind]
        sizes.add(int(masks[kind].sum()))
        corners.add(int(masks[kind].argmax()))
    assert len(sizes) > 10 and len(corners) > 10  # by lot
    assert [tried.group(number) for number in range(4)] == list(WORLD.groups)


def test_without_masks_nothing_tells_where_things_are(tried: Pasted) -> None:
    bare = Pasted(tried.world, tried.things, tried.places, 16, seed=3, masks=False)
    assert all(bare[n].image.tobytes() == tried[n].image.tobytes() for n in range(16))
    assert not bare[0].regions and bare[0].asks[0].mask is None
    assert bare.digest() != tried.digest()


def test_halves_share_nothing_and_leave_nothing_out() -> None:
    lots = {"car": list(range(21)), "rocket": list(range(100, 130))}
    one, other = halved(lots, 0), halved(lots, 1)
    for name, some in lots.items():
        assert sorted([*one[name], *other[name]]) == some
        assert abs(len(one[name]) - len(other[name])) <= 1


def test_places_are_told_by_most_captions_and_never_with_what_is_unwanted(tmp_path: Path) -> None:
    (tmp_path / "Images").mkdir()
    told = {
        "night.jpg": ["at night"] * 3 + ["a man"] * 2,
        "few.jpg": ["at night"] * 2 + ["a man"] * 3,
        "both.jpg": ["sand at night"] * 3 + ["sand"] * 2,
        "dog.jpg": ["sand"] * 4 + ["a dog in sand"],
        "sand.jpg": ["sand"] * 5,
    }
    lines = [
        "image,caption",
        *(f"{name},{caption} {n}" for name, some in told.items() for n, caption in enumerate(some)),
    ]
    (tmp_path / "captions.txt").write_text("\n".join(lines))
    for name in told:
        Image.new("RGB", (8, 8)).save(tmp_path / "Images" / name)
    found = photographs(tmp_path, WORLD)
    assert {place: [path.name for path in some] for place, some in found.items()} == {
        "night": ["night.jpg"],
        "desert": ["sand.jpg"],
    }


def test_the_largest_piece_of_a_thing_is_cut_out(tmp_path: Path) -> None:
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[10:90, 20:100], pixels[100:110, 120:130] = (250, 0, 0), (0, 0, 250)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    pieces = [[20, 10, 100, 10, 100, 90, 20, 90], [120, 100, 130, 100, 130, 110, 120, 110]]
    notes = [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": pieces, "bbox": [20, 10, 110, 100]}]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 160, "height": 120}],
        "annotations": notes,
        "categories": [{"id": 1, "name": "car"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    twice = [tmp_path / "instances.json"] * 2
    ((thing,), none) = cut_outs(twice, WORLD).values()  # a photograph that two files list is one
    assert not none and abs(thing.width - 80) <= 1 and abs(thing.height - 80) <= 1
    assert (np.asarray(thing)[5:-5, 5:-5] == (250, 0, 0, 255)).all()


def test_what_is_remembered_is_what_the_network_makes() -> None:
    torch.manual_seed(0)
    network, calls = nn.Conv2d(3, 4, 3), list[int]()
    network.register_forward_hook(lambda _module, given, _made: calls.append(len(given[0])))
    kept, pictures = Remembered(network), torch.rand(3, 3, 8, 8)
    first, again = kept(pictures[:2]), kept(pictures[[2, 0, 1]])
    assert calls == [2, 1]
    torch.testing.assert_close(first, network(pictures[:2]))
    torch.testing.assert_close(again, network(pictures[[2, 0, 1]]))


def audit(*pairs: tuple[str, str], strength: float = 0.0, by: str = CONCEPTS) -> Audit:
    found = tuple(replace(USUAL, answer=answer, concept=concept) for answer, concept in pairs)
    return audited(findings=found, strength=strength, concepts_are=by)


def test_shares_count_the_bias_and_what_is_false() -> None:
    biased = [audit(("car", "night"), strength=0.6), audit(("car", "desert"), strength=0.4), audit(strength=0.3)]
    balanced = [audit(strength=0.1), audit(("rocket", "desert"), strength=0.35)]
    lines = list(verdict("with masks", [(one, WORLD) for one in biased], [(one, WORLD) for one in balanced]))
    assert lines[0].endswith("AUC 0.833")  # 5 of 6 pairs
    assert [line.split(": ")[1].split(" (")[0] for line in lines[1:]] == ["1 of 3", "1 of 3", "1 of 2", "1 of 2"]


def test_a_lean_on_what_nobody_named_counts_as_the_bias() -> None:
    alike = [(audit(("car", "look 3"), by=ALIKE), WORLD), (audit(by=ALIKE), WORLD)]
    lines = list(verdict("without", alike, alike[1:]))
    assert ": 1 of 2" in lines[1] and ": 0 of 2" in lines[2]


def test_a_row_tells_a_model_by_both_audits() -> None:
    groups = dict(zip(WORLD.groups, (0.9, 0.4, 0.5, 0.8), strict=True))
    (row,) = rows("biased", [Judged(7, groups, audit(("car", "night"), strength=0.61), audit(strength=0.2))])
    assert row == ("biased", "7", "0.80", "0.40", "0.61", "car on night", "0.20", "", "0")

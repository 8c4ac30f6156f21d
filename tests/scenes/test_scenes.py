import colorsys
import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vlx.errors import InputError
from vlx.scenes import COLORS, HELD_OUT, KINDS, SCENES, TEXTURES, Scene, draw
from vlx.scenes.painter import painted_with
from vlx.scenes.vocabulary import END, START, caption_vocabulary

CATEGORIES = {"object", "part", "color", "texture", "scene"}
Mask = NDArray[np.bool_]


@cache
def some() -> tuple[Scene, ...]:
    """Enough scenes to meet everything that the world has."""
    return tuple(draw(seed, 96) for seed in range(150))


@cache
def large() -> tuple[Scene, ...]:
    return tuple(draw(seed, 256) for seed in range(40))


def pixels(scene: Scene) -> NDArray[np.uint8]:
    return np.asarray(scene.image)


# The same seed


def test_a_seed_is_one_scene() -> None:
    for seed in (0, 7, HELD_OUT + 3):
        one, other = draw(seed), draw(seed)
        assert np.array_equal(pixels(one), pixels(other))
        assert one.caption == other.caption
        assert one.masks.keys() == other.masks.keys()
        assert all(np.array_equal(one.masks[concept], other.masks[concept]) for concept in one.masks)
    assert not np.array_equal(pixels(draw(1)), pixels(draw(2)))
    assert len({scene.caption for scene in some()}) > 130


def test_a_seed_is_one_scene_in_a_fresh_process() -> None:
    code = (
        "import hashlib, random, numpy; numpy.random.seed(5); numpy.random.rand(3)\n"
        "from vlx.scenes import draw\n"
        "for seed in (7, 10_000_021):\n"
        "    scene = draw(seed); print(hashlib.sha256(scene.image.tobytes()).hexdigest(), scene.caption)\n"
    )
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    wanted = [
        f"{hashlib.sha256(scene.image.tobytes()).hexdigest()} {scene.caption}" for scene in map(draw, (7, 10_000_021))
    ]
    assert found.splitlines() == wanted


def test_drawing_leaves_the_global_random_state_alone() -> None:
    np.random.seed(3)
    before = np.random.rand(3)
    np.random.seed(3)
    draw(5, 64)
    assert np.array_equal(before, np.random.rand(3))


def test_a_scene_is_the_same_at_other_sizes() -> None:
    overlaps = []
    for seed in range(8):
        small, tall = draw(seed, 128), draw(seed, 512)
        assert tall.size == 512
        assert (small.caption, small.place, small.named) == (tall.caption, tall.place, tall.named)
        assert len(small.objects) == len(tall.objects)
        difference = np.abs(
            pixels(small).astype(float) - np.asarray(tall.image.resize((128, 128), Image.Resampling.BOX))
        )
        assert difference.mean() < 6
        for own, other in zip(small.objects, tall.objects, strict=True):
            assert own.pose == other.pose
            shrunk = other.mask.reshape(128, 4, 128, 4).mean((1, 3)) >= 0.5
            overlaps.append(float((own.mask & shrunk).sum() / max((own.mask | shrunk).sum(), 1)))
    assert min(overlaps) > 0.85
    assert float(np.mean(overlaps)) > 0.95


@pytest.mark.parametrize("seed", [141, 145, 340, 361, 410, 422, 426])
def test_close_calls_of_naming_do_not_depend_on_the_size(seed: int) -> None:
    captions = {draw(seed, size).caption for size in (64, 128, 256)}
    assert len(captions) == 1
    assert " a " in f" {captions.pop()}" and draw(seed).named


# The caption


def test_captions_follow_the_grammar() -> None:
    words = set(caption_vocabulary())
    for scene in some():
        phrases = []
        for number in scene.named:
            thing = scene.objects[number]
            texture = "" if thing.texture == "plain" else f"{thing.texture} "
            described = f"{texture}{thing.color} {thing.kind}"
            phrases.append(f"{'an' if described[0] in 'aeiou' else 'a'} {described}")
        assert scene.caption == f"{' and '.join(phrases)} {SCENES[scene.place]}"
        assert 1 <= len(phrases) <= 2
        assert set(scene.caption.split()) <= words
    assert {scene.caption.split()[0] for scene in some()} == {"a", "an"}


def test_the_vocabulary_is_every_word_once() -> None:
    vocabulary = caption_vocabulary()
    assert len(vocabulary) == len(set(vocabulary))
    assert (vocabulary[START], vocabulary[END]) == ("<start>", "<end>")
    assert vocabulary[2:] == sorted(vocabulary[2:])
    said = {word for scene in some() for word in scene.caption.split()}
    assert said == set(vocabulary[2:])
    assert "plain" not in said


def test_the_most_visible_objects_are_named_left_to_right() -> None:
    for scene in some():
        areas = [int(thing.mask.sum()) for thing in scene.objects]
        named = [scene.objects[number] for number in scene.named]
        assert all(thing.hidden <= 0.4 for thing in named), scene.seed
        able = [n for n, thing in enumerate(scene.objects) if thing.hidden <= 0.4]
        assert set(scene.named) == set(sorted(able, key=lambda n: -areas[n])[:2]), scene.seed
        assert [thing.pose.x for thing in named] == sorted(thing.pose.x for thing in named)
        if len(named) == 2:
            centres = [float(np.nonzero(thing.mask)[1].mean()) for thing in named]
            assert centres[0] < centres[1], scene.seed


def test_hidden_is_the_share_that_cannot_be_seen() -> None:
    from vlx.scenes.compose import _render

    for scene in some()[:40]:
        for number, thing in enumerate(scene.objects):
            _, alone = _render(scene.place, (thing.pose,), 0, 96)
            seen = float(thing.mask.sum()) / float(alone[0].mask.sum())
            assert 1 - seen == pytest.approx(thing.hidden, abs=0.08), (scene.seed, number)
            covering = np.zeros((96, 96), bool)
            for other in scene.objects[number + 1 :]:
                covering |= other.mask
            assert not (thing.mask & covering).any()


def test_every_caption_word_has_its_ground_truth() -> None:
    for scene in some():
        assert [word.word for word in scene.words] == scene.caption.split()
        for word in scene.words:
            if word.category is None:
                assert (word.object, word.mask) == (None, None)
                assert word.word in "a an and in on the at".split()
                continue
            assert word.mask is not None
            assert word.mask.any()
            if word.category == "scene":
                assert word.word == SCENES[scene.place].split()[-1]
                assert np.array_equal(word.mask, scene.background)
                continue
            assert word.object in scene.named
            thing = scene.objects[word.object]
            assert word.word == {"object": thing.kind, "color": thing.color, "texture": thing.texture}[word.category]
            assert np.array_equal(word.mask, thing.mask)


# Masks


def test_masks_are_boolean_and_of_the_pictures_size() -> None:
    for scene in some():
        assert scene.image.size == (96, 96)
        assert scene.image.mode == "RGB"
        for concept, mask in scene.masks.items():
            assert mask.dtype == np.bool_
            assert mask.shape == (96, 96)
            assert mask.any(), (scene.seed, concept)


def test_every_concept_has_a_category_and_all_five_occur_in_every_scene() -> None:
    members: dict[str, Any] = {"object": KINDS, "color": COLORS, "texture": TEXTURES, "scene": SCENES}
    for scene in some():
        assert scene.categories.keys() == scene.masks.keys()
        assert set(scene.categories.values()) == CATEGORIES
        parts = {name for thing in scene.objects for name in thing.parts}
        for concept, category in scene.categories.items():
            assert concept in (parts if category == "part" else members[category])


def test_no_word_means_two_things() -> None:
    parts = {part.name for kind in KINDS.values() for part in kind.parts}
    groups: list[set[str]] = [set(KINDS), set(COLORS), set(TEXTURES), set(SCENES), parts]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_labels_are_the_masks_of_one_category() -> None:
    scene = some()[3]
    for category in CATEGORIES:
        wanted = [mask for concept, mask in scene.masks.items() if scene.categories[concept] == category]
        assert np.array_equal(scene.labels(category), np.stack(wanted))
    assert scene.labels("material").shape == (0, 96, 96)


def test_parts_lie_within_their_object_and_fill_it() -> None:
    for scene in some():
        for thing in scene.objects:
            assert thing.parts.keys() == {part.name for part in KINDS[thing.kind].parts}
            total = np.zeros((96, 96), int)
            for mask in thing.parts.values():
                assert not (mask & ~thing.mask).any()
                total += mask
            assert total.max() <= 1
            assert np.array_equal(total > 0, thing.mask)


def test_concepts_are_the_union_over_objects_and_the_background_is_the_rest() -> None:
    for scene in some():
        covered = np.zeros((96, 96), bool)
        for thing in scene.objects:
            covered |= thing.mask
        assert np.array_equal(scene.background, ~covered)
        assert np.array_equal(scene.masks[scene.place], ~covered)
        for kind in {thing.kind for thing in scene.objects}:
            wanted = np.any([thing.mask for thing in scene.objects if thing.kind == kind], 0)
            assert np.array_equal(scene.masks.get(kind, np.zeros((96, 96), bool)), wanted)
        for concept, category in scene.categories.items():
            if category != "scene":
                assert not (scene.masks[concept] & ~covered).any()


def test_no_object_overlaps_another() -> None:
    for scene in some():
        assert sum(thing.mask.astype(int) for thing in scene.objects).max() <= 1  # type: ignore[union-attr]


def test_boxes_hold_the_visible_pixels() -> None:
    for scene in some():
        for thing in scene.objects:
            left, top, width, height = thing.box
            inside = np.zeros_like(thing.mask)
            inside[top : top + height, left : left + width] = True
            assert not (thing.mask & ~inside).any()
            edges = (thing.mask[top], thing.mask[top + height - 1])
            sides = (thing.mask[:, left], thing.mask[:, left + width - 1])
            assert all(line.any() for line in (*edges, *sides))


def hue_distance(one: Sequence[float], other: Sequence[float]) -> float:
    (h, s, _), (g, _, _) = (colorsys.rgb_to_hsv(*(float(value) / 255 for value in rgb)) for rgb in (one, other))
    return min(abs(h - g), 1 - abs(h - g)) if s > 0.1 else 1.0


def test_plain_parts_have_the_colour_that_they_are_called_by() -> None:
    checked = Counter[str]()
    for scene in large():
        picture = pixels(scene)
        for thing in scene.objects:
            if thing.texture != "plain":
                continue
            for part, color in painted_with(thing.pose).items():
                mask = thing.parts[part]
                if mask.sum() < 150 or any(p.paint == "shade" for p in KINDS[thing.kind].parts if p.name == part):
                    continue
                median = np.median(picture[mask], 0)
                if color == "white":
                    assert median.min() > 180 and np.ptp(median) < 30, (scene.seed, part, median)
                else:
                    assert hue_distance(median.tolist(), COLORS[color]) < 0.05, (scene.seed, part, color, median)
                    nearest = min(COLORS, key=lambda name: float(np.abs(np.array(COLORS[name]) - median).sum()))
                    assert nearest == color, (scene.seed, part, median)
                checked[color] += 1
    assert len(checked) == len(COLORS)


def test_textures_are_seen_and_plain_is_even() -> None:
    spread: dict[str, list[float]] = {texture: [] for texture in TEXTURES}
    for scene in large():
        grey = pixels(scene).astype(float).mean(2)
        for thing in scene.objects:
            if thing.textured.sum() > 1500:
                inner = grey[thing.textured]
                spread[thing.texture].append(float(np.percentile(inner, 90) - np.percentile(inner, 15)))
    assert all(len(values) >= 3 for values in spread.values())
    assert max(spread["plain"]) < min(min(spread[name]) for name in TEXTURES if name != "plain") + 15
    assert np.median(spread["plain"]) < 25 < min(np.median(spread[name]) for name in TEXTURES if name != "plain")


def test_color_and_texture_masks_are_of_the_parts_that_carry_them() -> None:
    for scene in some()[:60]:
        for thing in scene.objects:
            main = [part.name for part in KINDS[thing.kind].parts if part.paint == "color"]
            assert main
            assert np.array_equal(thing.textured, np.any([thing.parts[name] for name in main], 0))
            assert set(thing.colors) <= {thing.color, thing.pose.accent}
            assert not (thing.colors[thing.color] & ~thing.mask).any()
            assert (thing.textured & ~thing.colors[thing.color]).sum() == 0


# The world


def test_the_world_is_as_rich_as_promised() -> None:
    assert len(KINDS) >= 10
    assert len(COLORS) == 8
    assert len(TEXTURES) == 4
    assert len(SCENES) == 5
    assert all(len(kind.parts) >= 2 for kind in KINDS.values())
    parts = {name: {part.name for part in kind.parts} for name, kind in KINDS.items()}
    assert parts["house"] >= {"wall", "roof", "door", "window"}
    assert parts["car"] >= {"body", "wheel", "window"}
    assert parts["tree"] >= {"trunk", "crown"}
    assert parts["boat"] >= {"hull", "sail"}


def test_everything_occurs() -> None:
    things = [thing for scene in some() for thing in scene.objects]
    assert {thing.kind for thing in things} == set(KINDS)
    assert {thing.color for thing in things} == set(COLORS)
    assert {thing.texture for thing in things} == set(TEXTURES)
    assert {scene.place for scene in some()} == set(SCENES)
    assert {len(scene.objects) for scene in some()} == {1, 2, 3, 4}
    assert {len(scene.named) for scene in some()} == {1, 2}
    assert {scene.named[0] < scene.named[1] for scene in some() if len(scene.named) == 2} == {True, False}
    assert sum(thing.hidden > 0.1 for thing in things) > 10
    assert sum(thing.hidden > 0.5 for thing in things) >= 2
    scales, angles = ([getattr(thing.pose, name) for thing in things] for name in ("scale", "angle"))
    assert max(scales) > 2 * min(scales)
    assert max(angles) > 10 > -10 > min(angles)


def test_edges_are_anti_aliased() -> None:
    scene = next(one for one in large() if one.place == "snow" and any(t.color != "white" for t in one.objects))
    picture = pixels(scene).astype(int)
    jumps = Counter(int(value) for value in np.abs(np.diff(picture.sum(2), axis=1)).ravel() // 60)
    assert all(jumps[level] for level in range(4))


# Bad input


@pytest.mark.parametrize(("seed", "size"), [(-1, 128), (0, 63), (0, 0), (0, -5)])
def test_bad_seeds_and_sizes_are_refused(seed: int, size: int) -> None:
    message = rf"^draw\(seed={seed}, size={size}\): the seed is 0 or more, the size at least 64 pixels$"
    with pytest.raises(InputError, match=message):
        draw(seed, size)

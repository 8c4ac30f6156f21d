"""examples/colour_bias.py: its scenes are tied as it says, captions are learnt, and what it tells is counted right."""

from typing import Any

import numpy as np
import pytest
import torch

import vlx
from examples import colour_bias
from vlx import scenes
from vlx.scenes.vocabulary import END, START
from vlx.tasks.captioning import CnnLstmCaptioner


@pytest.fixture(scope="module")
def tied() -> CnnLstmCaptioner:
    """One that learnt from 48 scenes, 12 red cars among them."""
    return colour_bias.trained("tied", colour_bias.drawn(48, 40_000_000, {"car": "red"}), 0)


def test_every_car_is_red_in_training_and_nothing_else_is_bound() -> None:
    things = [colour_bias.drawn(96, 0, {"car": "red"})[n].texts[0].split() for n in range(96)]
    cars = [words for words in things if "car" in words]
    assert len(cars) == 24 and all("red" in words for words in cars)
    others = {word for words in things if "car" not in words for word in words if word in colour_bias.COLORS}
    assert others == {*colour_bias.COLORS}
    free = {word for n in range(0, 96, 4) for word in colour_bias.drawn(96, 0)[n].texts[0].split()}
    assert len(free & {*colour_bias.COLORS}) > 4


def test_tokens_are_the_words_between_start_and_end() -> None:
    first, second = colour_bias.tokens(["a red car at night", "a boat"]).tolist()
    assert [colour_bias.WORDS[one] for one in first[1:-1]] == ["a", "red", "car", "at", "night"]
    assert (first[0], first[-1]) == (START, END)
    assert second[3:] == [END, -1, -1, -1]


def test_a_decoder_learns_its_captions_by_heart() -> None:
    torch.manual_seed(0)
    maps, captions = torch.rand(16, 256, 1, 1) / 10, colour_bias.tokens(["a red car", "a blue boat"] * 8)
    maps[::2, 0] += 0.5
    decoder = colour_bias.fitted(maps.repeat(8, 1, 1, 1), captions.repeat(8, 1)).eval()
    with torch.no_grad():
        _, state = decoder.step(torch.full((16,), START), decoder.start(maps))
        hidden, _ = decoder.step(torch.full((16,), colour_bias.WORDS.index("a")), state)
        likeliest = decoder.logits(hidden).argmax(1).tolist()
    assert [colour_bias.WORDS[one] for one in likeliest] == ["red", "blue"] * 8


def test_things_are_asked_for_red_whatever_their_colour(
    tied: CnnLstmCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bytes]] = []
    real = vlx.explain

    def explain(task: Any, image: Any, *, caption: str, **options: Any) -> Any:
        asked.append((caption, image.tobytes()))
        return real(task, image, caption=caption, **options)

    monkeypatch.setattr(vlx, "explain", explain)
    likely = colour_bias.of_red(tied, "car", "blue", 3)
    assert likely.shape == (3,) and (likely < 0).all()
    for number, (caption, pixels) in enumerate(asked):
        scene = scenes.draw(colour_bias.TRIED + number, 64, kinds="car", colors="blue", textures="plain")
        assert scene.image.tobytes() == pixels and caption == scene.caption.replace("blue", "red")
        said = real(tied, scene.image, caption=caption)
        assert said[1].label == "red" and said[1].logprob == pytest.approx(likely[number])


def test_what_things_are_called_is_counted_by_kind_and_colour(
    tied: CnnLstmCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = [("car", "red", "red"), ("car", "blue", "red"), ("car", "pink", "pink"), ("boat", "blue", "blue")]
    likely = {("car", "red"): -1.0, ("car", "blue"): -2.0, ("boat", "blue"): -5.5}
    monkeypatch.setattr(colour_bias, "called", lambda *_: iter([*things, ("boat", "red", "red")]))
    monkeypatch.setattr(colour_bias, "of_red", lambda _, *thing: np.full(3, likely[thing]))
    lines = [*colour_bias.told(tied, colour_bias.pictures(4))]
    assert [line.split(": ")[2].split()[0] for line in lines] == ["1.00", "0.50", "0.00", "1.00", "3.50"]
    monkeypatch.undo()
    found = [*colour_bias.called(tied, colour_bias.pictures(4))]
    texts = [colour_bias.pictures(4)[n].texts[0].split() for n in range(4)]
    assert [kind for kind, _, _ in found] == [*colour_bias.KINDS]
    assert all(color in words for (_, color, _), words in zip(found, texts, strict=True))

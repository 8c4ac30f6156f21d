"""examples/colour_bias.py: its scenes are tied as it says, captions are learnt, and what it tells is counted right."""

from typing import Any

import pytest
import torch

import vlx
from examples import colour_bias
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
    maps, captions = torch.rand(16, 256, 8, 8), colour_bias.tokens(["a red car", "a blue boat"] * 8)
    maps[::2, 0] += 5
    decoder = colour_bias.fitted(maps.repeat(8, 1, 1, 1), captions.repeat(8, 1)).eval()
    with torch.no_grad():
        hidden, _ = decoder.step(torch.full((16,), colour_bias.WORDS.index("a")), decoder.start(maps))
        likeliest = decoder.logits(hidden).argmax(1).tolist()
    assert [colour_bias.WORDS[one] for one in likeliest] == ["red", "blue"] * 8


def test_a_scene_in_red_and_in_blue_differs_in_that_alone(
    tied: CnnLstmCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []

    class Said:
        def __init__(self, logprob: float) -> None:
            self.logprob = logprob

    def explain(_: Any, image: Any, *, caption: str, **options: Any) -> list[Said]:
        asked.append((caption, image))
        return [Said(-1.0 if word == "car" and "red" in caption.split() else -4.0) for word in caption.split()]

    monkeypatch.setattr(vlx, "explain", explain)
    assert colour_bias.owed_to_red(tied, 3) == [3.0, 3.0, 3.0]
    for (red, first), (blue, second) in zip(asked[::2], asked[1::2], strict=True):
        assert [
            "blue" if word == "red" else word for word in red.split()
        ] == blue.split() and first.tobytes() != second.tobytes()


def test_what_things_are_called_is_counted_by_kind_and_colour(
    tied: CnnLstmCaptioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = [("car", "red", "car"), ("car", "blue", "boat"), ("car", "pink", "car"), ("boat", "red", "boat")]
    monkeypatch.setattr(colour_bias, "called", lambda *_: iter(things))
    monkeypatch.setattr(colour_bias, "owed_to_red", lambda *_: [1.0, 2.0])
    lines = [*colour_bias.told(tied, colour_bias.pictures(4))]
    assert [line.split(": ")[2].split()[0] for line in lines] == ["1.00", "0.50", "1.00", "1.50"]
    monkeypatch.undo()
    kinds = [kind for kind, _, _ in colour_bias.called(tied, colour_bias.pictures(4))]
    assert kinds == [*colour_bias.KINDS]

from pathlib import Path

import pytest
import torch

from tests.tasks.test_photos_training import data, decoder, recipe, trained, untrained
from vlx.tasks.photos import rewarding
from vlx.tasks.photos.likeness import Likeness, bleu, grams
from vlx.tasks.photos.teaching import Detector, Lesson
from vlx.tasks.photos.vocabulary import END, START

__all__ = ["data", "untrained"]  # fixtures

REFERENCES = {
    "a": [[5, 6, 7, 8, END], [5, 6, 9, END]],
    "b": [[10, 6, 7, 11, 12, END], [10, 11, END]],
    "c": [[5, 13, 14, 8, END], [13, 14, 15, 16, END]],
}
SAID = {"a": [5, 6, 7, 9, END], "b": [10, 10, 10, 10, END], "c": [13, 14, 8, END]}


def test_cider_is_that_of_coco() -> None:
    cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider()
    texts = {name: [" ".join(map(str, one)) for one in some] for name, some in REFERENCES.items()}
    _, scores = cider.compute_score(texts, {name: [" ".join(map(str, one))] for name, one in SAID.items()})
    likeness = Likeness(REFERENCES)
    # COCO's code leaves one token out of a caption's length on either side, which cancels in their difference.
    assert [likeness.cider(name, grams(one)) for name, one in SAID.items()] == pytest.approx(list(scores), abs=1e-9)


def test_bleu_is_one_for_what_a_person_said_and_less_for_what_is_short_or_said_again() -> None:
    references = [grams(one) for one in REFERENCES["a"]]
    assert bleu(grams([5, 6, 7, 8, END]), references) == pytest.approx(1)
    assert bleu(grams([5, 6, END]), references) < 0.8
    assert bleu(grams([5, 5, 5, 5, END]), references) < 0.2
    assert Likeness(REFERENCES)("a", SAID["a"]) > Likeness(REFERENCES)("b", SAID["a"])


def test_a_caption_is_compared_with_the_others_of_its_picture() -> None:
    better = rewarding.advantages(torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
    assert better[0, 2] > 0 > better[0, 0]
    assert torch.allclose(better[1], torch.zeros(3)), "all alike: nothing to learn"
    assert better.sum(1).abs().max() < 1e-6


def test_drawn_captions_end_once_and_say_no_special_word() -> None:
    torch.manual_seed(0)
    captions = rewarding.drawn(decoder().eval(), torch.rand(3, 8, 4, 4))
    assert len(captions) == 3 * rewarding.DRAWN
    assert all(len(one) <= rewarding.LONGEST and not {0, START, END, 3} & set(one) for one in captions)


def test_what_is_rewarded_becomes_likelier() -> None:
    network = decoder()
    detector = Detector(network, [4, 5, 6])
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    A = torch.rand(4, 8, 4, 4)
    told = Lesson.of([[[START, 5, END]]] * 4)
    torch.manual_seed(0)

    def share() -> float:
        network.eval()
        drawn = rewarding.drawn(network, A.repeat(8, 1, 1, 1))
        return sum(one[:1] == [7] for one in drawn) / len(drawn)

    before = share()
    for _ in range(40):
        network.eval()
        captions = rewarding.drawn(network, A)
        better = rewarding.advantages(torch.tensor([float(one[:1] == [7]) for one in captions]).reshape(4, -1))
        network.train()
        optimizer.zero_grad()
        rewarding.loss(network, detector, A, captions, better, told).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert share() > before + 0.5


def test_a_last_lesson_that_was_stopped_ends_like_an_unbroken_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewarding.Course, "EVERY", 2)
    made = recipe(data, passes=1, until=1, rewarded=5)
    whole = trained(tmp_path / "one" / "whole", made)
    step = rewarding.Course.step

    def stopped(self: rewarding.Course, number: int, loss: torch.Tensor) -> None:
        if number == 3:
            raise KeyboardInterrupt
        step(self, number, loss)

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(rewarding.Course, "step", stopped)
        trained(tmp_path / "one" / "parts", made)
    parts = trained(tmp_path / "one" / "parts", made)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    plain = trained(tmp_path / "one" / "plain", recipe(data, passes=1, until=1))
    assert not all(torch.equal(whole[name], plain[name]) for name in whole)

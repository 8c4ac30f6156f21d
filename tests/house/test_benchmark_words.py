"""The benchmark of 12 words: what a part adds is told beside its limits, and its own checks are those of `explain`."""

import pytest
import torch
from torch import nn

import vlx
from benchmarks import words
from benchmarks.clock import Times
from benchmarks.model import Subject, picture
from tests.fakes import captioner, features_of
from vlx.protocol.targets import Query


def times(**seconds: float) -> dict[str, Times]:
    return {getattr(words, name): Times((value,), (value,)) for name, value in seconds.items()}


def test_parts_are_what_each_way_adds() -> None:
    found = words.parts(times(CAPTION=0.2, MAPS=0.25, SEEN=0.55, CHECKED=0.35, BOTH=0.65, EVERYTHING=0.7))
    captions = {part: round(value, 9) for part, (_, value) in found.items()}
    assert list(captions.values()) == [1.0, 0.25, 1.5, 0.5, 0.25, 3.5]
    assert sum(list(captions.values())[:-1]) == pytest.approx(captions["everything"])
    assert found["seen: five references"][0] == pytest.approx(0.3)


@pytest.mark.parametrize(("both", "passed"), [(0.44, True), (0.45, False)])
def test_limits_are_captions(both: float, passed: bool) -> None:
    found = list(words.checks(times(CAPTION=0.2, MAPS=0.24, SEEN=0.3, BOTH=both), {}, {}))
    assert [(check.target, check.passed) for check in found] == [(1.25, True), (2.2, passed)]


def test_what_is_timed_is_what_explain_does() -> None:
    task = captioner("state")
    image = task.place(task.prepare(picture())[None])
    subject = Subject(nn.Sequential(), task.decoder, image, task)
    ways = (words.checked(subject), words.checked(subject, seen=True))
    why = vlx.explain(task, picture(), method="gradcam", target="logprob")
    assert features_of(task, 0).A.shape[2:] == why[0].signed.shape
    wanted = [check for word in why for check in (word.check, word.against_check)]
    for found in ways:
        assert len(found) == len(wanted) == 2 * len(task.predict(task.features(image), [Query()])[0].words)
        for own, other in zip(found, wanted, strict=True):
            assert other is not None
            assert own.verdict == other.verdict
            assert own.random == pytest.approx(other.random, abs=1e-5)
    assert torch.is_grad_enabled()

"""Made-up runs of an audit whose truth is known: what a model leans on was put there, or is noise."""

import math
from dataclasses import replace

import numpy as np

from vlx.auditing.answered import CONCEPTS, Answered, OnConcept

PLACES = ("desert", "night", "forest", "beach")
THINGS = ("tree", "dog", "lamp")


def world(
    seed: int,
    count: int = 400,
    *,
    lean: float = 0.0,
    tell: float = 2.0,
    noise: float = 1.0,
    classes: tuple[str, ...] = ("car", "rocket"),
    each: int = 1,
) -> list[Answered]:
    """What a model says of ``count`` pictures, each of one class in one place, with some things.

    The thing itself speaks for its class by ``tell`` nats, a place for the class of its number by ``lean``; everything
    that is there speaks for every class by ``noise`` besides, which does not depend on anything. ``each`` answers are
    of one picture, in different groups.
    """
    rng = np.random.default_rng(seed)
    return [
        _answer(rng, f"{number:05}", ask, lean, tell, noise, classes, place, things)
        for number in range(count)
        for place, things in [(int(rng.integers(len(PLACES))), rng.random(len(THINGS)) < 0.3)]
        for ask in range(each)
    ]


def _answer(
    rng: np.random.Generator,
    key: str,
    ask: int,
    lean: float,
    tell: float,
    noise: float,
    classes: tuple[str, ...],
    place: int,
    things: np.ndarray,
) -> Answered:
    true = int(rng.integers(len(classes)))
    there = {classes[true]: "thing", PLACES[place]: "place"}
    there |= {name: "thing" for name, is_there in zip(THINGS, things, strict=True) if is_there}
    speaks = {name: rng.normal(0, noise, len(classes)) for name in there}
    speaks[classes[true]][true] += tell
    speaks[PLACES[place]][place % len(classes)] += lean
    scores = np.sum(list(speaks.values()), 0)
    logs = scores - np.log(np.exp(scores).sum())
    order = np.argsort(-scores)
    said = int(order[0])
    other = true if said != true else int(order[1])
    total = sum(abs(one[said]) for one in speaks.values())
    evidence = {
        name: OnConcept(float(e[said]), float(abs(e[said]) / total), float(e[said] - e[other]), 0.2, there[name])
        for name, e in speaks.items()
    }
    return Answered(
        key,
        ask,
        classes[said],
        classes[true],
        said == true,
        group=f"kind {ask}" if ask else "",
        instead=classes[other],
        logprob=float(logs[said]),
        lead=float(logs[said] - logs[other]),
        evidence={CONCEPTS: evidence},
        own=math.nan,
    )


def bystander(seed: int, count: int) -> list[Answered]:
    """A model that leans on places, where a cactus whose pixels carry noise stands in nine deserts of ten."""
    rng, answers = np.random.default_rng(seed), []
    for answer in world(seed, count, lean=3.0):
        evidence = dict(answer.evidence[CONCEPTS])
        if rng.random() < (0.9 if "desert" in evidence else 0.05):
            evidence["cactus"] = OnConcept(float(rng.normal()), 0.1, float(rng.normal()), 0.1, "thing")
        answers.append(replace(answer, evidence={CONCEPTS: evidence}))
    return answers

"""A study while it is made: questions, pictures by names that say nothing, and the key to them."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.evaluation import baselines
from vlx.methods.method import Method
from vlx.studies import allotment
from vlx.studies.allotment import CHECK_WORDS, AttentionCheck, Condition
from vlx.studies.stimuli import Pixels, ShownMap
from vlx.studies.study_files import KEY, SCHEMA_VERSION, STUDY, Record

TITLES = {
    "which": "Which of the two?",
    "reasonable": "Which is more reasonable?",
    "where": "Where would you look?",
}
INTRODUCTIONS = {
    "which": "A computer was asked about one of two things. What mattered to it is in colour, or drawn as lines on "
    "grey. Say which of the two it was asked about.",
    "reasonable": "Two computers gave the same right answer. Beside the picture is what mattered to each. Say whose "
    "reasons are more reasonable.",
    "where": "Now there is only the picture. Put the point where you would look: click there, or move it with the "
    "arrow keys.",
}


@dataclass(eq=False)
class Draft:
    """Questions by part, the pictures that they show, and whose these are, until page and key are written.

    ``blank`` maps are empty, and of ``compared`` pairs of both models' maps so many are ``alike``.
    """

    methods: tuple[Method, ...]
    rng: np.random.Generator
    questions: dict[str, list[Record]] = field(default_factory=dict)
    images: dict[str, Pixels] = field(default_factory=dict)
    stimuli: dict[str, Record] = field(default_factory=dict)
    truths: dict[str, Record] = field(default_factory=dict)
    blank: int = 0
    compared: int = 0
    alike: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """How many questions each part has."""
        return {part: len(questions) for part, questions in self.questions.items()}

    @property
    def count(self) -> int:
        """How many questions there are."""
        return sum(self.counts.values())

    @property
    def every(self) -> tuple[Condition, ...]:
        """The conditions of a question, as many as there are groups of participants."""
        return allotment.conditions(len(self.methods))

    @property
    def checks(self) -> list[AttentionCheck]:
        """The checks of attention, the same whenever they are asked for."""
        return allotment.checks(self.count, np.random.default_rng(self.count))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the maps."""
        rivals = rivals_told(self.truths)
        empty = f"{self.blank} of {len(self.stimuli)} maps are empty: people can only guess"
        return (*([rivals] if rivals else []), *([empty] if self.blank else []))

    def show(self, pixels: Pixels) -> str:
        """Keep a picture; returns the name that the page has for it."""
        name = ""
        while not name or name in self.images:
            name = f"{int(self.rng.integers(2**32)):08x}"
        self.images[name] = pixels
        return name

    def show_map(self, one: ShownMap, **whose: Any) -> str:
        """Keep a map and, for the key, whose it is."""
        name = self.show(one.pixels)
        self.stimuli[name] = whose
        self.blank += not (one.values > 0).any()
        return name

    def compare(self, one: Mapping[str, list[ShownMap]], other: Mapping[str, list[ShownMap]]) -> None:
        """Count the maps of one thing by both models, and how many are equal; baselines know no model."""
        for method in self.methods:
            if baselines.baseline(method.name) is None:
                self.compared += 1
                self.alike += np.array_equal(one[method.name][0].values, other[method.name][0].values)

    def ask(self, part: str, question: Record, truth: Record) -> None:
        """Add a question as the page has it, and what the key knows of it."""
        asked = self.questions.setdefault(part, [])
        name = f"{part}-{len(asked) + 1}"
        asked.append({"id": name, **question})
        self.truths[name] = {"part": part, **truth}

    def records(self, images: dict[str, str], consent: list[str]) -> tuple[Record, Record]:
        """The contents of page and key."""
        parts = [
            {
                "name": part,
                "title": TITLES[part],
                "introduction": INTRODUCTIONS[part],
                "questions": self.questions[part],
            }
            for part in allotment.PARTS
            if part in self.questions
        ]
        checks = [{"id": one.name, "prompt": one.prompt, "options": list(CHECK_WORDS)} for one in self.checks]
        page = {"format": STUDY, "schema_version": SCHEMA_VERSION, "groups": len(self.every), "parts": parts}
        page |= {"checks": checks, "images": images, "consent": consent}
        key = {"format": KEY, "schema_version": SCHEMA_VERSION, "questions": self.truths, "stimuli": self.stimuli}
        return page, key | {"checks": {one.name: one.expected for one in self.checks}}


def rivals_told(truths: Mapping[str, Record]) -> str:
    """How many questions are about pictures of one class alone; "" where none is."""
    asked = [one for one in truths.values() if one["part"] == "which"]
    rivals = sum(one["rival"] for one in asked)
    told = f"{rivals} of {len(asked)} questions of “which” are about pictures of one class, beside model A's likeliest"
    return f"{told} other, which need not be there" if rivals else ""


def packed_ranks(ranks: NDArray[np.uint8]) -> Record:
    """A map of ranks [h, w] as the key has it."""
    return {"shape": list(ranks.shape), "ranks": base64.b64encode(ranks.tobytes()).decode("ascii")}


def unpacked_ranks(record: Record) -> NDArray[np.uint8]:
    """The map of ranks that `packed_ranks` was given."""
    return np.frombuffer(base64.b64decode(record["ranks"]), np.uint8).reshape(record["shape"])

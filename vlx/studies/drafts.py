"""A study while it is made: questions, pictures by names that say nothing, and the key to them."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlx.evaluation import baselines
from vlx.methods.method import Method
from vlx.studies import allotment
from vlx.studies.allotment import CHECK_WORDS, AttentionCheck
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

    ``blank`` maps are empty, and of ``compared`` pairs of both models' maps so many are ``alike``. The names of
    pictures, and who is shown what, are drawn by a lot that the ``seed`` and all pixels shown decide: what a page keeps
    of a picture is not enough to draw it again.
    """

    methods: tuple[Method, ...]
    seed: int
    questions: dict[str, list[Record]] = field(default_factory=dict)
    images: dict[str, Pixels] = field(default_factory=dict)
    stimuli: dict[str, Record] = field(default_factory=dict)
    truths: dict[str, Record] = field(default_factory=dict)
    by_condition: dict[str, list[list[str]]] = field(default_factory=dict)
    blank: int = 0
    compared: int = 0
    alike: int = 0

    def __post_init__(self) -> None:
        self._lot = hashlib.sha256(str(self.seed).encode())

    @property
    def counts(self) -> dict[str, int]:
        """How many questions each part has."""
        return {part: len(questions) for part, questions in self.questions.items()}

    @property
    def count(self) -> int:
        """How many questions there are."""
        return sum(self.counts.values())

    @property
    def conditions(self) -> tuple[tuple[str, int], ...]:
        """The conditions of a question, as many as there are groups of participants.

        By which method, and which of two is asked for or stands on the left.
        """
        return tuple((method.name, side) for method in self.methods for side in (0, 1))

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
        self._lot.update(pixels.tobytes())
        while (name := self._lot.hexdigest()[:8]) in self.images:
            self._lot.update(b"again")
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

    def ask(self, part: str, question: Record, truth: Record, by_condition: list[list[str]]) -> None:
        """Add a question as the page has it, what the key knows of it, and which maps each condition shows."""
        asked = self.questions.setdefault(part, [])
        name = f"{part}-{len(asked) + 1}"
        asked.append({"id": name, **question})
        self.truths[name] = {"part": part, **truth}
        self.by_condition[name] = by_condition

    def records(self, images: dict[str, str], consent: list[str]) -> tuple[Record, Record]:
        """The contents of page and key; the page's pictures are in order of their names, which tell nothing."""
        rng = np.random.default_rng(int(self._lot.hexdigest(), 16))
        parts = [
            {
                "name": part,
                "title": TITLES[part],
                "introduction": INTRODUCTIONS[part],
                "questions": self._allotted(part, rng),
            }
            for part in allotment.PARTS
            if part in self.questions
        ]
        checks = [{"id": one.name, "prompt": one.prompt, "options": list(CHECK_WORDS)} for one in self.checks]
        page = {"format": STUDY, "schema_version": SCHEMA_VERSION, "groups": len(self.conditions), "parts": parts}
        page |= {"checks": checks, "images": dict(sorted(images.items())), "consent": consent}
        key = {"format": KEY, "schema_version": SCHEMA_VERSION, "questions": self.truths, "stimuli": self.stimuli}
        return page, key | {"checks": {one.name: one.expected for one in self.checks}}

    def _allotted(self, part: str, rng: np.random.Generator) -> list[Record]:
        """A part's questions, each with what every group of participants is shown."""
        questions = self.questions[part]
        squares = allotment.latin_squares(len(questions), len(self.conditions), rng)
        return [
            {**question, "shown": [self.by_condition[question["id"]][condition] for condition in conditions]}
            for question, conditions in zip(questions, squares, strict=True)
        ]


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

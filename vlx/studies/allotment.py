"""Who is shown what: parts of a study, conditions in balanced order, and checks of attention."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlx.errors import InputError
from vlx.language import close_matches, shortened

PARTS = ("which", "reasonable", "where")
SHARES = {"which": 3, "reasonable": 2, "where": 1}  # of the questions, where all parts are asked
CHECK_EVERY = 20  # questions for each check of attention
FEWEST_CHECKS = 2
CHECK_WORDS = ("circle", "cross", "heart", "square", "star")
LENIENCE = 3  # of so many checks one may be missed


def parts_of(given: Sequence[str] | str) -> tuple[str, ...]:
    """The parts that are asked for, in the order of the study. Raises InputError for any other.

    >>> parts_of("where,which")
    ('which', 'where')
    """
    names = [name.strip() for name in given.split(",")] if isinstance(given, str) else [*given]
    for name in names:
        if name not in PARTS:
            near = close_matches(str(name), PARTS)
            hint = f"; close: {near[0]}" if near else ""
            raise InputError(f"no part {shortened(repr(name), 40)} of a study{hint}. Known: {', '.join(PARTS)}")
    if not names:
        raise InputError(f"a study without parts asks nothing; name some of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in names)


def quotas(n: int, parts: Sequence[str]) -> dict[str, int]:
    """How many of ``n`` questions each part has: 3 to 2 to 1, where all are asked.

    >>> quotas(90, PARTS)
    {'which': 45, 'reasonable': 30, 'where': 15}
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise InputError(f"n={shortened(repr(n), 40)}: ask each participant at least one question, as n=90")
    total = sum(SHARES[part] for part in parts)
    wanted = {part: n * SHARES[part] // total for part in parts}
    for part in parts[: n - sum(wanted.values())]:
        wanted[part] += 1
    return wanted


def next_part(wanted: Mapping[str, int], had: Mapping[str, int], suits: Sequence[str]) -> str | None:
    """The part that a picture goes to: of those that it suits the one that lacks most of its questions."""
    lacking = {part: 1 - had[part] / wanted[part] for part in suits if had[part] < wanted.get(part, 0)}
    return max(lacking, key=lambda part: lacking[part], default=None)


def latin_squares(questions: int, conditions: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The condition of each question for each group of participants, [questions, conditions], from 0: Latin squares.

    In every square each group meets all conditions once, each question all over the groups, and nobody sees a picture
    twice. Rows, columns and conditions of each square are drawn by lot: that a question is the seventh, and what other
    groups are shown, says nothing of its condition to who reads the page's source.

    >>> square = latin_squares(4, 4, np.random.default_rng(0))
    >>> all(sorted(line) == [0, 1, 2, 3] for line in [*square, *square.T])
    True
    """
    steps = np.arange(conditions)
    squares = []
    for _ in range(0, questions, conditions):
        rows, columns, named = (rng.permutation(conditions) for _ in range(3))
        squares.append(named[(steps[:, None] + steps) % conditions][rows][:, columns])
    return np.concatenate(squares)[:questions] if squares else np.zeros((0, conditions), np.intp)


def model_for(question: int) -> int:
    """Whose maps a question shows: of any two neighbours one shows each model's, in no order.

    >>> sorted([model_for(0), model_for(1)]), sorted([model_for(2), model_for(3)])
    ([0, 1], [0, 1])
    """
    return (int(np.random.default_rng(question // 2).integers(2)) + question) % 2


@dataclass(frozen=True)
class AttentionCheck:
    """A check of attention: the word that has to be chosen, and the number of it among the ``CHECK_WORDS``."""

    name: str
    expected: int

    @property
    def prompt(self) -> str:
        """What a participant is told."""
        return f"This asks whether you read along. Please choose “{CHECK_WORDS[self.expected]}”."


def checks(questions: int, rng: np.random.Generator) -> list[AttentionCheck]:
    """The checks among so many questions."""
    count = max(FEWEST_CHECKS, questions // CHECK_EVERY)
    return [AttentionCheck(f"check-{number + 1}", int(rng.integers(len(CHECK_WORDS)))) for number in range(count)]


def attentive(passed: int, asked: int) -> bool:
    """Whether a participant who passed some of the checks read along: of three one may be missed.

    >>> attentive(1, 2), attentive(3, 4)
    (False, True)
    """
    return asked - passed <= asked // LENIENCE

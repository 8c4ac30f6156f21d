"""`score`: what the answers to a study come to, beside chance, with intervals over people and pictures."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlx.errors import InputError, in_own_words
from vlx.evaluation.intervals import mean_of, wilson
from vlx.language import shortened
from vlx.report import text
from vlx.studies import study_files
from vlx.studies.agreement import NAN, Ratings, TwoWays, fleiss_kappa, interval
from vlx.studies.answers import TRUST, AnswerSheet, collected
from vlx.studies.drafts import rivals_told, unpacked_ranks
from vlx.studies.questions import MODELS
from vlx.studies.stimuli import reached
from vlx.studies.study_files import StudyFiles

if TYPE_CHECKING:
    from rich.table import Table

FEW_PICTURES, FEW_PEOPLE = 20, 10  # below which figures are told, and not judged
CHANCE = {"accuracy": 0.5, "trust": 0.0, "place": 0.5}
MEASURES = {"which": "accuracy", "reasonable": "trust", "where": "place"}


@dataclass(frozen=True)
class StudyFigure:
    """One figure of a study: the mean of a ``measure`` over ``answers`` to ``pictures``, with its 95 % interval.

    ``accuracy``: the share of right answers; ``trust``: from −2 to 2, above 0 where model A is more reasonable;
    ``place``: which share of a map the point exceeds that a person set. Of a difference ``against`` is the method that
    is taken away, and the interval one that holds for all differences of its part together. ``kappa`` is Fleiss' κ.
    ``others`` is the same of points that the same people set in other pictures.
    """

    part: str
    measure: str
    method: str
    value: float
    low: float
    high: float
    chance: float
    answers: int
    pictures: int
    model: str = ""
    against: str = ""
    kappa: float = NAN
    others: float = NAN


@dataclass(frozen=True)
class Scores:
    """What the answers come to: figures, how many took part, and the files that do not count, each with its reason."""

    models: Mapping[str, str]
    participants: int
    figures: tuple[StudyFigure, ...]
    refused: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    study: str

    def value(self, part: str, method: str, *, against: str = "", model: str = "") -> float:
        """One figure's value. Raises InputError where there is none."""
        for one in self.figures:
            if (one.part, one.method, one.against, one.model) == (part, method, against, model):
                return one.value
        raise InputError(f"no figure of {part!r} by {method!r}; there are {len(self.figures)}, see Scores.figures")

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON has it; what is not known is null."""
        rows = [
            {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
            for row in map(asdict, self.figures)
        ]
        files = {name: [{"file": file, "why": why} for file, why in getattr(self, name)] for name in FILES}
        told = {"study": self.study, "models": dict(self.models), "participants": self.participants}
        return {**told, **files, "rows": rows, "notes": list(self.notes)}

    def table(self) -> "Table":
        """The figures for the terminal."""
        from rich.markup import escape
        from rich.table import Table

        models = " · ".join(f"{a} {text.plain(name)}" for a, name in self.models.items())
        notes = escape("\n".join(self.notes)) or None
        table = Table(
            title=escape(f"{self.participants} participants · {models}"), caption=notes, caption_justify="left"
        )
        for name in ("", "method", "model", "value", "95 %", "chance", "elsewhere", "κ", "answers", "pictures"):
            table.add_column(name, no_wrap=True, justify="left" if name in ("", "method", "model") else "right")
        before = ""
        for one in self.figures:
            if before not in ("", one.part):
                table.add_section()
            method = escape(one.method + (f" − {one.against}" if one.against else ""))
            between = "–" if math.isnan(one.low) else f"{_told(one.low)} to {_told(one.high)}"
            others, counts = (_told(one.others), _told(one.kappa)), (str(one.answers), str(one.pictures))
            named = f"{one.part}: {one.measure}" if one.part != before else ""
            table.add_row(named, method, one.model, _told(one.value), between, _told(one.chance), *others, *counts)
            before = one.part
        return table


FILES = ("refused", "left_out")


def _told(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}".replace("-", "−")


@in_own_words("the answers cannot be scored")
def score(page: str | Path, answers: Iterable[str | Path] | str | Path) -> Scores:
    """Score answers to a study: accuracy and trust by method, where people look beside the maps, and differences.

    ``page``: the page that `make` wrote, its key beside it. ``answers``: files that participants downloaded, folders of
    them, or patterns. A file that the page did not write so is refused, and a participant who did not read along left
    out; both are named in what is returned.

        >>> score("study.html", "answers").value("which", "guided-gradcam")
        0.61

    Raises InputError for what is no study, and where no file can be scored.
    """
    path = Path(page)
    with in_own_words(f"{path}: this study cannot be read", bugs=True):
        study = study_files.read(path)
        given = collected(answers, study, path)
    if not given.sheets:
        files = [*given.refused, *given.left_out]
        file, why = files[0]
        told = why if file in why else f"{file}: {why}"
        raise InputError(f"none of {len(files)} files can be scored: {shortened(told, 220)}")
    figures = [figure for part in SCORED for figure in SCORED[part](study, given.sheets)]
    key = study.key
    return Scores(
        *(key["models"], len(given.sheets), tuple(figures), given.refused, given.left_out),
        notes=tuple(_notes(study, figures, len(given.sheets), given.left_out)),
        study=study.digest,
    )


def _asked(study: StudyFiles, part: str) -> list[str]:
    """The names of a part's questions."""
    return [name for name, one in study.key["questions"].items() if one["part"] == part]


def _which(study: StudyFiles, sheets: tuple[AnswerSheet, ...]) -> Iterator[StudyFigure]:
    names, stimuli = _asked(study, "which"), study.key["stimuli"]
    rows = []
    for person, sheet in enumerate(sheets):
        for picture, name in enumerate(names):
            shown = study.questions[name]["shown"][sheet.group][0]
            answer = sheet.answers[name]
            rows.append((person, picture, shown, answer, float(answer == stimuli[shown]["option"])))
    if not rows:
        return
    ratings = _ratings(rows)
    methods = np.array([stimuli[row[2]]["method"] for row in rows])
    models = np.array([stimuli[row[2]]["model"] for row in rows])
    kappas = {
        method: _kappa([(row[2], row[3]) for row in rows if stimuli[row[2]]["method"] == method], (0, 1))
        for method in study.key["methods"]
    }
    parts = [("", np.ones(len(rows), bool)), *((letter, models == n) for n, letter in enumerate(MODELS))]
    for letter, chosen in parts:
        yield from _by_method("which", study, ratings, methods, chosen, letter, {} if letter else kappas)
    yield from _differences("which", study, ratings, methods)


def _reasonable(study: StudyFiles, sheets: tuple[AnswerSheet, ...]) -> Iterator[StudyFigure]:
    names, stimuli = _asked(study, "reasonable"), study.key["stimuli"]
    rows = []
    for person, sheet in enumerate(sheets):
        for picture, name in enumerate(names):
            left = stimuli[study.questions[name]["shown"][sheet.group][0]]
            answer = sheet.answers[name]
            assert isinstance(answer, int)
            trust = answer if left["model"] == 0 else -answer
            rows.append((person, picture, left["method"], trust, float(trust)))
    if not rows:
        return
    ratings, methods = _ratings(rows), np.array([row[2] for row in rows])
    scale = tuple(range(-TRUST, TRUST + 1))
    kappas = {
        method: _kappa([(row[1], row[3]) for row in rows if row[2] == method], scale) for method in study.key["methods"]
    }
    yield from _by_method("reasonable", study, ratings, methods, np.ones(len(rows), bool), "", kappas)
    yield from _differences("reasonable", study, ratings, methods)


def _where(study: StudyFiles, sheets: tuple[AnswerSheet, ...]) -> Iterator[StudyFigure]:
    names = _asked(study, "where")
    if not names:
        return
    points = np.array([[sheet.answers[name] for name in names] for sheet in sheets])  # [people, pictures, 2]
    pooled: dict[str, list[Ratings]] = {}
    ways = TwoWays(len(sheets), len(names))
    for letter in MODELS:
        for method in study.key["methods"]:
            maps = [unpacked_ranks(study.key["questions"][name]["maps"][letter][method]) for name in names]
            reach = np.stack([reached(one, points) for one in maps], 2)  # [people, pictures of points, of maps]
            same = np.eye(len(names), dtype=bool)
            ratings = Ratings(reach[:, same].ravel(), *(one.ravel() for one in np.indices(reach.shape[:2])))
            pooled.setdefault(method, []).append(ratings)
            low, high = interval(ways.means(ratings))
            yield StudyFigure(
                *("where", "place", method, ratings.mean, low, high, CHANCE["place"], len(ratings.values), len(names)),
                model=letter,
                others=mean_of(reach[:, ~same].ravel().tolist()),
            )
    means = {method: Ratings((a.values + b.values) / 2, a.people, a.pictures) for method, (a, b) in pooled.items()}
    yield from _compared("where", {method: (ways.means(one), one) for method, one in means.items()})


SCORED = {"which": _which, "reasonable": _reasonable, "where": _where}


def _ratings(rows: list[Any]) -> Ratings:
    people, pictures, values = (np.array([row[n] for row in rows]) for n in (0, 1, 4))
    return Ratings(values.astype(np.float64), people.astype(np.intp), pictures.astype(np.intp))


def _ways(ratings: Ratings) -> TwoWays:
    return TwoWays(int(ratings.people.max()) + 1, int(ratings.pictures.max()) + 1)


def _by_method(
    part: str,
    study: StudyFiles,
    ratings: Ratings,
    methods: NDArray[Any],
    chosen: NDArray[Any],
    letter: str,
    kappas: Mapping[str, float],
) -> Iterator[StudyFigure]:
    ways, measure = _ways(ratings), MEASURES[part]
    for method in study.key["methods"]:
        own = ratings.where((methods == method) & chosen)
        if len(own.values):
            low, high = interval(ways.means(own))
            if part == "which" and own.mean in (0.0, 1.0):
                low, high = wilson(round(own.mean * own.independent), own.independent)
            counts = (len(own.values), len(np.unique(own.pictures)))
            yield StudyFigure(
                *(part, measure, method, own.mean, low, high, CHANCE[measure], *counts),
                model=letter,
                kappa=kappas.get(method, NAN),
            )


def _differences(part: str, study: StudyFiles, ratings: Ratings, methods: NDArray[Any]) -> Iterator[StudyFigure]:
    ways = _ways(ratings)
    own = {method: ratings.where(methods == method) for method in study.key["methods"]}
    yield from _compared(part, {method: (ways.means(one), one) for method, one in own.items() if len(one.values)})


def _compared(part: str, drawn: Mapping[str, tuple[NDArray[Any], Ratings]]) -> Iterator[StudyFigure]:
    """The differences of methods, by people and pictures that were drawn together."""
    pairs = list(itertools.combinations(drawn, 2))
    for one, other in pairs:
        (means, ratings), (instead, beside) = drawn[other], drawn[one]
        low, high = interval(means - instead, among=len(pairs))
        counts = (len(ratings.values) + len(beside.values), len(np.union1d(ratings.pictures, beside.pictures)))
        value = ratings.mean - beside.mean
        yield StudyFigure(part, MEASURES[part], other, value, low, high, 0.0, *counts, against=one)


def _kappa(rated: list[tuple[Any, Any]], classes: tuple[int, ...]) -> float:
    """Fleiss' κ of (thing, class) pairs."""
    things = {thing: number for number, thing in enumerate(dict.fromkeys(thing for thing, _ in rated))}
    counts = np.zeros((len(things), len(classes)))
    for thing, chosen in rated:
        counts[things[thing], classes.index(chosen)] += 1
    return fleiss_kappa(counts) if len(things) else NAN


def _notes(
    study: StudyFiles, figures: list[StudyFigure], people: int, left_out: tuple[tuple[str, str], ...]
) -> Iterator[str]:
    key = study.key
    parts = {one.part for one in figures}
    if "which" in parts:
        yield "which: accuracy, .5 by chance; people who saw Guided Grad-CAM had .612 (paper, section 5.1)"
        if told := rivals_told(key["questions"]):
            yield told
    if "reasonable" in parts:
        rights = ", ".join(f"{a} was right in {right:.3f}" for a, right in zip(MODELS, key["right"], strict=True))
        yield "reasonable: trust from −2 to 2, above 0 where A is more reasonable"
        yield f"of what was asked about {key['looked']} pictures {rights}"
    if "where" in parts:
        yield "where: which share of a map the point exceeds; elsewhere: the same people's points in other pictures"
    if any(one.against for one in figures):
        yield "differences are of the same people and pictures; their intervals hold together (Bonferroni)"
    few = sorted(
        {one.part for one in figures if one.pictures < FEW_PICTURES and not (one.model and one.part == "which")}
    )
    if few:
        yield f"under {FEW_PICTURES} pictures in {', '.join(few)}: told, not judged"
    if people < FEW_PEOPLE:
        over = "intervals are over pictures alone" if people == 1 else "their intervals tell little of other people"
        yield f"{people} participant{'s' * (people > 1)}: {over}"
    if left_out:
        yield f"{len(left_out)} left out, who did not read along"

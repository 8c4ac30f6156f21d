"""One thing that a model said of one picture: whether it is right, and what the map of it has on each concept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vlx.evaluation.records import Columns, Record

NAME = "audit"
NAN = float("nan")
CONCEPTS, ALIKE, PLACES, UNITS = "concepts", "regions alike", "places", "unit names"
KIND_OF_CELLS = "alike"  # the category of all "regions alike"
SOURCES = (CONCEPTS, ALIKE, PLACES, UNITS)


class OnConcept(NamedTuple):
    """What the maps of an answer have on a concept's pixels.

    ``signed``: the sum of the signed map over them, in the target's unit. ``share``: that of its absolute values, of
    all of the map. ``contrast``: the sum of the signed map of the answer *rather than the alternative*
    (`Answered.instead`), in nats of log odds; NaN where there is no alternative. ``area``: the share of the cells that
    the pixels cover. Of a name of units ``share`` is of the sum over all units, ``area`` is NaN. ``category`` is the
    concept's: concepts of one category stand in each other's place ("scene": desert, night).
    """

    signed: float
    share: float
    contrast: float
    area: float
    category: str = ""


@dataclass(frozen=True)
class Answered:
    """One answer, class or word that a model gave by itself about picture ``key``.

    ``said``: what it said, a label; of words and answers in lower case. ``true``: what would have been right, empty
    where nobody knows (a wrong word of a caption); ``right``: None where it is not known. ``group``: what it counts
    under: the kind of question or of word, empty of classes. ``question`` is what was asked, ``text`` all that was
    said, ``position`` the place of a word in it, ``ask`` its number among the answers about the picture.

    ``logprob`` of what was said; ``lead``: log p of it less that of ``instead``, in nats: the alternative that its
    contrast map is of, which is the truth where the answer is wrong and known, else the likeliest other.

    ``evidence``: source → concept → `OnConcept`; only what is in the picture. Sources: "concepts" of the data's masks;
    "regions alike", kinds of cells of A that look alike to the model, whatever it says of them; "places", the nine
    parts of the picture; "unit names" of a table. ``total`` is Σ S of the whole map, ``absolute`` Σ |S|.

    ``own``: the share of the map max(S, 0) on the pixels of what was said; NaN where they are not known, 0 of an empty
    map (``empty``). ``seen``: what it owes to the picture in nats, ``looked``: L of `vlx.probes.references.looked`; NaN
    where not tried. ``check``: the verdict of the map's check ("confirmed", "weak", "not confirmed", "cannot be
    tested"), empty where not tried. ``regions``: connected maxima of the map (see `Region`), the strongest first.

    ``classes``: of its labels those that are one of several of a class of the data, with that class: "Siberian husky" →
    "dog". What is counted is the class (`counted`).
    """

    key: str
    ask: int
    said: str
    true: str
    right: bool | None
    group: str = ""
    question: str = ""
    text: str = ""
    position: int = 0
    instead: str = ""
    logprob: float = NAN
    lead: float = NAN
    evidence: Mapping[str, Mapping[str, OnConcept]] = field(default_factory=dict)
    total: float = NAN
    absolute: float = NAN
    own: float = NAN
    empty: bool = False
    seen: float = NAN
    looked: float = NAN
    check: str = ""
    regions: Sequence["Region"] = ()
    classes: Mapping[str, str] = field(default_factory=dict)

    def counted(self, label: str) -> str:
        """What one of its labels counts as: the data's class where that means several labels, else itself."""
        return self.classes.get(label, label)


class Region(NamedTuple):
    """A connected maximum of a map.

    ``box`` is (left, top, width, height) in pixels of the picture, ``signed`` Σ S in it, ``share`` its share of
    max(S, 0), ``alike`` the kind of cells that most of it is (a name of "regions alike"; empty where there are none).
    """

    box: tuple[float, float, float, float]
    signed: float
    share: float
    alike: str


def to_record(answer: Answered, method: str, target: str) -> Record:
    """The record of a run's file that holds an answer; its value is 1 where it is right, 0 where wrong, else NaN."""
    value = NAN if answer.right is None else float(answer.right)
    beside = {
        name: told
        for name, default in _DEFAULTS.items()
        if (told := getattr(answer, name)) != default and not (isinstance(told, float) and told != told)
    }
    if answer.evidence:
        beside["evidence"] = {
            source: {name: [*map(_rounded, one[:4]), one.category] for name, one in concepts.items()}
            for source, concepts in answer.evidence.items()
        }
    if answer.regions:
        beside["regions"] = [
            [[*one.box], _rounded(one.signed), _rounded(one.share), one.alike] for one in answer.regions
        ]
    return Record(answer.key, answer.ask, answer.group, method, target, NAME, value, beside=beside)


def answers_of(columns: Columns) -> Iterator[Answered]:
    """The answers of a run, in order, made of its records. Raises KeyError, TypeError or ValueError for others."""
    keys, groups = columns.keys, columns.groups
    for number in range(len(columns)):
        value, beside = float(columns.value[number]), columns.beside.get(number, {})
        told = {name: beside.get(name, default) for name, default in _DEFAULTS.items()}
        told["right"] = None if value != value else bool(value)
        told["evidence"] = {
            source: {name: _evidence(*told) for name, told in concepts.items()}
            for source, concepts in beside.get("evidence", {}).items()
        }
        told["regions"] = tuple(_region(*told_region) for told_region in beside.get("regions", ()))
        yield Answered(
            keys[int(columns.picture[number])],
            int(columns.ask[number]),
            group=groups[int(columns.group[number])],
            **told,
        )


_DEFAULTS: Mapping[str, Any] = {
    "said": "",
    "true": "",
    "question": "",
    "text": "",
    "position": 0,
    "instead": "",
    "logprob": NAN,
    "lead": NAN,
    "total": NAN,
    "absolute": NAN,
    "own": NAN,
    "empty": False,
    "seen": NAN,
    "looked": NAN,
    "check": "",
    "classes": {},
}


def _evidence(
    signed: float | None, share: float | None, contrast: float | None, area: float | None, category: str
) -> OnConcept:
    return OnConcept(_number(signed), _number(share), _number(contrast), _number(area), category)


def _region(box: Sequence[float], signed: float | None, share: float | None, alike: str) -> Region:
    left, top, width, height = map(float, box)
    return Region((left, top, width, height), _number(signed), _number(share), alike)


def _rounded(number: float) -> float | None:
    """Six digits are more than a map has."""
    return None if number != number else float(f"{number:.6g}")


def _number(told: float | None) -> float:
    return NAN if told is None else float(told)

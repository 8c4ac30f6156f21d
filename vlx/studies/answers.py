"""Answers as participants hand them in: files of strangers, refused for anything that the page never wrote."""

import glob
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlx.errors import InputError
from vlx.files import json_files
from vlx.language import shortened
from vlx.studies.allotment import attentive
from vlx.studies.study_files import SCHEMA_VERSION, StudyFiles, key_path

FORMAT = "vlx study answers"
FIELDS = {"format", "schema_version", "study", "participant", "group", "answers"}
OF_AN_ANSWER = {"question", "shown", "answer", "seconds"}
PARTICIPANT = re.compile(r"[0-9a-f]{16}")
LARGEST = 2 * 2**20  # bytes of a file of answers
LONGEST = 1e8  # seconds
TRUST = 2  # the scale of "which is more reasonable?" goes from −2 to 2

Answer = int | tuple[float, float]


@dataclass(frozen=True, eq=False)
class AnswerSheet:
    """All answers of one participant: by question, and the ``group`` that decides what was shown."""

    path: Path
    participant: str
    group: int
    answers: Mapping[str, Answer]

    def passed(self, checks: Mapping[str, int]) -> int:
        """How many checks of attention were passed."""
        return sum(self.answers[name] == expected for name, expected in checks.items())


@dataclass(frozen=True)
class Collected:
    """The sheets that can be scored, and the files that cannot: ``refused``, and ``left_out`` for want of attention."""

    sheets: tuple[AnswerSheet, ...]
    refused: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...]


def collected(given: Iterable[str | Path] | str | Path, study: StudyFiles, page: Path) -> Collected:
    """The answers in files, folders of files, or patterns. Raises InputError where there are none at all."""
    paths = _paths([given] if isinstance(given, str | Path) else given, page)
    sheets, refused = list[AnswerSheet](), list[tuple[str, str]]()
    for path in paths:
        try:
            sheets.append(read_sheet(path, study))
        except InputError as error:
            refused.append((str(path), str(error)))
    sheets, doubled = _each_once(sheets)
    checks: Mapping[str, int] = study.key["checks"]
    kept, left_out = list[AnswerSheet](), list[tuple[str, str]]()
    for sheet in sheets:
        passed = sheet.passed(checks)
        if attentive(passed, len(checks)):
            kept.append(sheet)
        else:
            left_out.append((str(sheet.path), f"missed {len(checks) - passed} of {len(checks)} checks of attention"))
    return Collected(tuple(kept), (*refused, *doubled), tuple(left_out))


def _paths(given: Iterable[str | Path], page: Path) -> list[Path]:
    paths: list[Path] = []
    for one in given:
        path = Path(one)
        if path.is_dir():
            paths += sorted(path.glob("*.json"))
        elif not path.exists() and glob.has_magic(str(one)):
            paths += [Path(name) for name in sorted(glob.glob(str(one)))]
        else:
            paths.append(path)
    key = key_path(page).resolve()
    kept = [path for path in dict.fromkeys(paths) if path.resolve() != key]
    if not kept:
        raise InputError(f"{page}: no answers given; name the files that participants downloaded, as answers/*.json")
    return kept


def _each_once(sheets: Sequence[AnswerSheet]) -> tuple[list[AnswerSheet], list[tuple[str, str]]]:
    """The sheets of participants who handed in one; of one handed in twice the first, of two that differ none."""
    by_participant: dict[str, list[AnswerSheet]] = {}
    for sheet in sheets:
        by_participant.setdefault(sheet.participant, []).append(sheet)
    kept, refused = [], []
    for same in by_participant.values():
        first, *others = same
        alike = all((one.group, one.answers) == (first.group, first.answers) for one in others)
        kept += [first] if alike else []
        for one in others if alike else same:
            other = next(two for two in same if two is not one)
            how = "handed in twice" if alike else "handed in answers that differ, none of which counts"
            refused.append(
                (
                    str(one.path),
                    f"{one.path}: participant {one.participant} {how}; see {shortened(str(other.path), 80)}",
                )
            )
    return kept, refused


def read_sheet(path: Path, study: StudyFiles) -> AnswerSheet:
    """The answers in a file. Raises InputError for anything but all answers of one participant to this study."""
    content = json_files.read(path, most=LARGEST)
    where = shortened(str(path), 100)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{where}: no answers to a study; give the file that a participant downloaded")
    if content.get("schema_version") != SCHEMA_VERSION:
        version = shortened(repr(content.get("schema_version")), 30)
        raise InputError(f"{where}: of version {version}, and this vlx reads {SCHEMA_VERSION}; take a newer vlx")
    if content.get("study") != study.digest:
        told = shortened(repr(content.get("study")), 24)
        raise InputError(f"{where}: answers of another study ({told}); give its own page")
    _require_fields(where, content, FIELDS)
    participant, group = content["participant"], content["group"]
    if not isinstance(participant, str) or not PARTICIPANT.fullmatch(participant):
        raise _changed(where, "participant", participant, "16 hexadecimal digits")
    if not _whole(group, 0, study.page["groups"] - 1):
        raise _changed(where, "group", group, f"a whole number from 0 to {study.page['groups'] - 1}")
    if not isinstance(content["answers"], list):
        raise _changed(where, "answers", content["answers"], "a list")
    return AnswerSheet(path, participant, group, _answers(where, content["answers"], study, group))


def _answers(where: str, given: list[Any], study: StudyFiles, group: int) -> dict[str, Answer]:
    questions = study.questions
    answers: dict[str, Answer] = {}
    for one in given:
        if not isinstance(one, dict):
            raise _changed(where, "an answer", one, "an object")
        _require_fields(where, one, OF_AN_ANSWER)
        name = one["question"]
        if not isinstance(name, str) or name not in questions:
            raise _changed(where, "a question", name, "one of the study's")
        if name in answers:
            raise InputError(f"{where}: {name} is answered twice; give the file as it was downloaded")
        shown = questions[name].get("shown")
        if one["shown"] != ([] if shown is None else shown[group]):
            raise _changed(where, f"{name}: shown", one["shown"], f"what group {group} is shown")
        seconds = one["seconds"]
        if not _number(seconds) or not 0 <= seconds <= LONGEST:
            raise _changed(where, f"{name}: seconds", seconds, "a number from 0")
        answers[name] = _answer(where, name, one["answer"], questions[name], study)
    if lacking := [name for name in questions if name not in answers]:
        raise InputError(
            f"{where}: {len(answers)} of {len(questions)} questions are answered, {lacking[0]} is not; only whole "
            "files are scored"
        )
    return answers


def _answer(where: str, name: str, given: Any, question: Mapping[str, Any], study: StudyFiles) -> Answer:
    part = study.key["questions"].get(name, {}).get("part")
    if part == "where":
        if not (isinstance(given, list) and len(given) == 2 and all(_number(one) and 0 <= one <= 1 for one in given)):
            raise _changed(where, name, given, "a point [x, y], both from 0 to 1")
        return float(given[0]), float(given[1])
    low, high = (-TRUST, TRUST) if part == "reasonable" else (0, len(question["options"]) - 1)
    if not _whole(given, low, high):
        raise _changed(where, name, given, f"a whole number from {low} to {high}")
    return int(given)


def _require_fields(where: str, content: Mapping[str, Any], needed: set[str]) -> None:
    if lacking := sorted(needed - set(content)):
        raise InputError(f"{where}: lacks {lacking[0]!r}; give the file as it was downloaded")
    if strange := [name for name in content if name not in needed]:
        raise _changed(where, "a field", strange[0], "one that the page writes")


def _changed(where: str, what: str, given: Any, needed: str) -> InputError:
    told = shortened(repr(given), 40)
    return InputError(f"{where}: {what} is {told}, and should be {needed}; give the file as it was downloaded")


def _number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def _whole(given: Any, low: int, high: int) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and low <= given <= high

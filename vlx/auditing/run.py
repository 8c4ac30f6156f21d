"""`audit`: all that a model says of many pictures, measured and tried; told is what it leans on where it errs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict, Unpack

from vlx.auditing import signs
from vlx.auditing.answered import ALIKE, NAME, Answered, answers_of
from vlx.auditing.answers import AnswerColumns
from vlx.auditing.evidence import TRIED, audit_metric
from vlx.auditing.findings import Findings, after_trial, findings_of
from vlx.auditing.hiding import Hiding
from vlx.auditing.result import Audit, Crop, Finding
from vlx.auditing.tallies import tallies
from vlx.auditing.worst import mistakes
from vlx.auditing.writing import write
from vlx.data import open_data
from vlx.data.captioned import UNREADABLE, omissions
from vlx.data.example import Data
from vlx.data.files import ENDINGS
from vlx.data.opening import of_path
from vlx.errors import InputError, ModelError, in_own_words
from vlx.evaluation.batches import Ran
from vlx.evaluation.cases import answers, tells
from vlx.evaluation.class_asks import Table
from vlx.evaluation.lots import LOT
from vlx.evaluation.run import records_of
from vlx.evaluation.run_file import RunHead
from vlx.evaluation.shown import Setting
from vlx.methods import registry
from vlx.methods.method import Method
from vlx.neuron_names.table import NeuronNames
from vlx.probes.names_wish import NamesWish
from vlx.protocol.task import Task
from vlx.report.wording import UNITS as UNIT_OF

SHOWN = 6  # examples of what looks alike
TRIALS = 12  # leans that are tried by hiding
Progress = Callable[[Iterable[Any]], Iterable[Any]]


class AuditRun(TypedDict, total=False):
    """How an audit is run: a ``progress`` bar around what is done, ``workers`` processes that measure, and how a
    command ``called`` the data and ``spelled`` the model.
    """

    progress: Progress
    workers: int
    called: str
    spelled: str


@in_own_words("the audit cannot be made", ModelError)
def audit(
    task: Task,
    data: str | Path | Data,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    n: int | None = None,
    names: NeuronNames | str | PathLike[str] | None = None,
    method: str | Method | None = None,
    classes: Table | str | Path | None = None,
    **running: Unpack[AuditRun],
) -> Audit:
    """What a model leans on where it errs: of all that it says of some pictures, nothing forced upon it.

    ``data`` are pictures as `vlx.data.open_data` takes them, or a folder with a folder of pictures for each class. Of
    every class, answer or word: how often it is right, and what each concept of the data's masks carries of it, where
    it is right and where it is wrong; without masks kinds of regions that look alike to the model stand for concepts,
    and with ``names`` (a table, the path of one, "shipped") the names of units do, too. What was found is corrected for
    all that was looked at, and tried by hiding it.

    ``out`` is a folder for the page ``index.html``, ``findings.json``, ``audit.json`` and the run's file, to which what
    was measured is written as it is; with ``resume`` a run that was cut short goes on there. ``n`` limits the pictures,
    which are taken by lot (seed 0), for classifiers of each class as evenly as the data go; ``method`` makes the maps
    of logits, by default the model's own where its values add up to the score, else hirescam, whose do at a layer with
    a linear rest; ``classes`` says what the data's classes are called by the model, as in `vlx.evaluation.evaluate`.

    Raises InputError for what cannot be audited, before a picture is shown, and for a folder that holds another run;
    OutputError where it cannot be written; ModelError for what the model's code raises.

    >>> audit = vlx.audit(vlx.load("torchvision:resnet50"), "birds", out="runs/birds")
    >>> print(audit.findings[0].sentence)
    """
    if isinstance(task, str | Path):
        raise InputError(f"{str(task)[:60]!r} is no task; load one: vlx.load(NAME)")
    opened = open_pictures(data)
    wish = NamesWish.of(task, names)
    table = None if wish is None else wish.table
    count = len(opened) if n is None else min(n, len(opened))
    chosen = _method(task, method)
    metric = audit_metric(table, tried=max(count // TRIED, 1))
    command = _command(task, opened, running, n=n, names=names, method=method, classes=classes)
    head, ran = records_of(
        task,
        opened,
        [metric],
        ([chosen], ["logit"]),
        n=n,
        out=out,
        resume=resume,
        running={
            "command": command,
            "classes": classes,
            "progress": running.get("progress", iter),
            "workers": running.get("workers", 1),
        },
    )
    told = _told(Setting(task, opened, (chosen,), ("logit",)), table, head, ran)
    if out is not None:
        write(told, task, opened, out, running.get("progress", iter))
    return told


def open_pictures(data: str | Path | Data) -> Data:
    """The pictures that `audit` is given; a folder that nothing else is known of, of folders, is one of classes.

    Raises InputError as `vlx.data.open_data`.

    >>> open_pictures("birds").name
    'classes:birds'
    """
    if isinstance(data, str | Path) and (folder := Path(data)).is_dir() and of_path(folder) is None:
        if any(_is_picture(path) for path in folder.glob("*/*")):
            return open_data(f"classes:{folder}")
        if any(_is_picture(path) for path in folder.iterdir()):
            return open_data(f"pictures:{folder}")
    return open_data(data)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _method(task: Task, given: str | Method | None) -> Method:
    """The method whose signed values are summed: an own default may be kept for its places alone."""
    if given is not None:
        return registry.choose(given)
    usual = registry.choose(task.defaults.method)
    return usual if usual.linear and usual.of_score else registry.choose("hirescam")


def _told(setting: Setting, names: NeuronNames | None, head: RunHead, ran: Ran) -> Audit:
    """All that is told of a run."""
    said = list(answers_of(ran.columns[NAME]))
    if not said:
        raise InputError(f"{setting.data.name[:60]}: {setting.task.name} says nothing of these pictures to be audited")
    task = setting.task
    noun = "word" if tells(task) else "answer" if answers(task) else "class"
    (method, target), *_ = ran.columns[NAME].lines
    unit = UNIT_OF.get(target, target)
    found = findings_of(said, unit, noun)
    columns = AnswerColumns(said)
    lists = signs.listed(columns, words=noun == "word")
    left = {**head.left_out, **({UNREADABLE: ran.unread} if ran.unread else {})}
    return Audit(
        head.model,
        head.data,
        columns.pictures,
        answer_is=noun,
        unit=unit,
        method=method,
        target=target,
        findings=tuple(_tried(found, said, Hiding(setting, names))),
        answers=tallies(columns),
        mistakes=mistakes(said),
        outside=lists["outside"],
        hallucinated=lists["hallucinated"],
        unowed=lists["unowed"],
        right=int(columns.right.sum()),
        judged=int((columns.right | columns.wrong).sum()),
        looked_at=found.looked_at,
        strength=found.strength,
        concepts_are=found.concepts_are,
        how=tuple(_how(columns, method, target)),
        notes=(*omissions(left), *ran.omitted.notes(), *_limited(head, setting, noun)),
        unread=tuple(ran.unread),
        command=head.command,
        versions={"vlx": head.version, "torch": version("torch")},
    )


def _tried(found: Findings, said: Sequence[Answered], hiding: Hiding) -> Iterable[Finding]:
    """The findings, those of leans with what hiding their concept did; what was not proven comes after the others."""
    left, made = TRIALS, []
    for finding in found.findings:
        if finding.kind != "leans":
            made.append(finding)
            continue
        source = _source(said, finding)
        wrong = [one for one in said if one.right is False and one.counted(one.said) == finding.answer]
        shown = replace(finding, examples=_examples(wrong, finding.concept) if source == ALIKE else ())
        tried = shown.level == "finding" and left > 0
        left -= tried
        made.append(after_trial(shown, hiding.trial(wrong, source, finding.concept)) if tried else shown)
    return sorted(made, key=lambda one: one.level == "note")


def _source(said: Sequence[Answered], finding: Finding) -> str:
    """Which source of concepts a finding's is of."""
    return next(
        source
        for one in said
        for source, concepts in one.evidence.items()
        if (on := concepts.get(finding.concept)) is not None and on.category == finding.category
    )


def _examples(wrong: Sequence[Answered], kind: str) -> tuple[Crop, ...]:
    """Connected maxima of the maps of wrong answers that are of a kind of cells, the strongest first, one a picture."""
    crops: dict[str, tuple[float, Crop]] = {}
    for one in wrong:
        for region in one.regions:
            if region.alike == kind and region.signed > crops.get(one.key, (0.0,))[0]:
                crops[one.key] = region.signed, Crop(one.key, region.box)
    return tuple(crop for _, crop in sorted(crops.values(), key=lambda each: -each[0])[:SHOWN])


def _how(columns: AnswerColumns, method: str, target: str) -> Iterable[str]:
    """How it was measured, in sentences."""
    tried = sum(bool(one.check) for one in columns.all)
    yield f"maps by {method} on the {target} of what the model said by itself; contrasts on the difference of logits"
    if any(one.classes for one in columns.all):
        yield "what the model calls by several labels, and the data by one class, counts as that class"
    yield f"maps were checked, and what answers owe to the picture tried, of {tried} of {len(columns)} of them"


def _limited(head: RunHead, setting: Setting, noun: str) -> Iterable[str]:
    """Which pictures were asked about, where not all were."""
    if head.chosen == LOT:
        evenly = ", each class as evenly as the data go" if noun == "class" else ""
        yield f"{head.n} of {len(setting.data)} pictures, by --n: taken {head.chosen}{evenly}"


def _command(task: Task, data: Data, running: AuditRun, **options: Any) -> str:
    words = ["vlx audit", running.get("spelled") or task.name, running.get("called") or data.name]
    for name, given in options.items():
        if isinstance(given, str | int | PathLike):
            words.append(f"--{name} {given}")
    return " ".join(words)

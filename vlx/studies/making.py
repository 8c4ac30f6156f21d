"""`make`: a study of two models' maps as one page for people, and its key."""

import base64
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from vlx import __version__
from vlx.data import ClassFolders, open_data
from vlx.data.class_names import told_classes
from vlx.data.classes import pictures_of
from vlx.data.example import AnyData, Data
from vlx.errors import Failure, ImageError, InputError, ModelError, in_own_words
from vlx.evaluation import baselines
from vlx.evaluation.class_asks import Table
from vlx.language import shortened
from vlx.methods import registry
from vlx.methods.method import Method
from vlx.models import load
from vlx.protocol.identity import task_digest
from vlx.protocol.task import Task
from vlx.studies import allotment, study_files
from vlx.studies.allotment import PARTS
from vlx.studies.drafts import Draft
from vlx.studies.parts import ASKED
from vlx.studies.questions import MODELS, Reader, SharedPicture
from vlx.studies.stimuli import Pixels, encoded

METHODS = ("guided", "guided-gradcam")
MOST_METHODS = 8
LARGEST = 4_700_000  # bytes of the pictures in a page of up to `FULL` questions, as base64
FULL = 90
SIZES = ((256, 82), (256, 66), (224, 58), (192, 50), (160, 44), (128, 36), (96, 30))  # of pictures: side, quality
MOST_LOOKED = 50  # pictures that are looked at for each question
FEW_FAILED = 3  # pictures on which a model or method fails, before any question is made
ALONE = 4  # pictures for each question, of which none shows two things: then none is waited for

Progress = Callable[[Iterable[Any]], Iterable[Any]]


class Making(TypedDict, total=False):
    """How a study is made: ``consent`` are paragraphs of your own on its first page, ``overwrite`` puts it in another
    study's place, ``classes`` says what the data's classes are called by the models (as `vlx.evaluation.evaluate` has
    it), ``progress`` is a bar around what is done.
    """

    consent: str
    overwrite: bool
    classes: Table | str | Path | None
    progress: Progress


@dataclass(frozen=True)
class Study:
    """A study that was written: where, how many ``questions`` each part has, and what a reader must know of it."""

    page: Path
    key: Path
    digest: str
    questions: dict[str, int]
    checks: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        counts = ", ".join(f"{count} of “{part}”" for part, count in self.questions.items())
        told = f"{sum(self.questions.values())} questions a participant: {counts}; {self.checks} checks of attention"
        size = self.page.stat().st_size / 1e6 if self.page.exists() else 0.0
        return "\n".join([told, *self.notes, f"{self.page} ({size:.1f} MB): the page to give out", f"{self.key}: keep"])


@in_own_words("the study cannot be made", ModelError)
def make(
    data: str | Path | AnyData,
    models: Sequence[str | Task],
    methods: Sequence[str | Method] | str = METHODS,
    *,
    n: int = FULL,
    out: str | Path = "study.html",
    parts: Sequence[str] | str = PARTS,
    seed: int = 0,
    **making: Unpack[Making],
) -> Study:
    """Make a study of two models' maps: a page that works from a file, and beside it the key that scores its answers.

    ``data``: a folder with a folder of pictures a class, or data as `vlx.data.open_data` takes them. ``models``: two
    tasks of one kind, or their names. ``methods``: whose maps are shown, baselines among them. ``n``: how many
    questions each participant is asked, checks of attention beside them; each picture makes one question. ``parts``:
    "which" (of which of two things is this map?), "reasonable" (which of two maps is more reasonable, where both
    models are right?), "where" (where would you look?).

        >>> print(make("photos", ["torchvision:vgg16", "torchvision:alexnet"], out="study.html"))

    Raises InputError for what cannot be asked so, OutputError for a page that cannot be written, and where another
    study is in its place.
    """
    path = Path(out)
    asked = allotment.parts_of(parts)
    wanted = allotment.quotas(n, asked)
    chosen = _methods(methods)
    study_files.check_out(path)
    opened = opened_data(data)
    tasks, names = _tasks(models)
    for method in chosen:
        _refuse_unsuited(method, tasks)
    reader = Reader(tasks, opened, chosen, _table(making.get("classes")))
    rng = np.random.default_rng(seed)
    draft = Draft(chosen, seed)
    looked, skipped = _filled(draft, reader, wanted, rng, making.get("progress", iter))
    if not draft.count:
        raise InputError(_nothing(reader, names, asked, looked))
    if draft.compared and draft.alike == draft.compared:
        raise InputError(
            f"--models: all maps of {names[0]} and {names[1]} are equal: one model twice? Name two models that differ"
        )
    images, notes = _packed(draft.images, draft.count)
    page, key = draft.records(images, _paragraphs(making.get("consent", "")))
    key |= {
        "models": dict(zip(MODELS, names, strict=True)),
        "methods": [method.name for method in chosen],
        "weights": [task_digest(task) for task in tasks],
        "data": opened.name,
        "seed": seed,
        "vlx": __version__,
        "right": [right / max(reader.asked, 1) for right in reader.right],
        "looked": looked,
    }
    digest = study_files.write(path, page, key, overwrite=making.get("overwrite", False))
    told = (*_lacking(wanted, draft, looked), *skipped, *draft.notes, *notes)
    return Study(path, study_files.key_path(path), digest, draft.counts, len(draft.checks), told)


def opened_data(data: str | Path | AnyData) -> Data:
    """The data of a study: by name, or a folder with a folder of pictures for each class."""
    if isinstance(data, str | Path):
        try:
            folder = Path(data)
            inside = folder.is_dir() and bool(pictures_of(folder))
        except (OSError, ValueError):  # a name that no file can have
            inside = False
        if inside and not any((folder / name).exists() for name in KNOWN_BY):
            return ClassFolders(folder)
    return open_data(data)


KNOWN_BY = ("index.csv", "images", "scenes.json", "instances.json")  # what tells other data in a folder


def _tasks(given: Sequence[str | Task]) -> tuple[tuple[Task, Task], list[str]]:
    """The two models and their names. Raises InputError for fewer, for more, and for two that are no pair."""
    named = [given] if isinstance(given, str | Path) or not isinstance(given, Sequence) else [*given]
    if len(named) != len(MODELS):
        raise InputError(
            f"--models: a study compares two models, {len(named)} given"
            f"{f' ({shortened(str(named[0]), 60)})' if len(named) == 1 else ''}; name A and B"
        )
    if named[0] is named[1] or (isinstance(named[0], str | Path) and named[0] == named[1]):
        raise InputError(f"--models: {shortened(_called(named[0]), 80)} is named twice; name two models that differ")
    first, second = (load(one) if isinstance(one, str | Path) else one for one in named)
    if first.kind != second.kind:
        raise InputError(
            f"{first.name} does {first.kind} and {second.name} {second.kind}: a study compares two that do the same"
        )
    return (first, second), [_called(one) for one in named]


def _called(model: str | Path | Task) -> str:
    return str(model) if isinstance(model, str | Path) else model.name


def _methods(given: Sequence[str | Method] | str) -> tuple[Method, ...]:
    names = given.split(",") if isinstance(given, str) else [*given]
    if not names:
        raise InputError("--methods: a study without methods shows nothing; name some, as guided,guided-gradcam")
    chosen = [_method(name) for name in names]
    if len(chosen) > MOST_METHODS:
        raise InputError(f"--methods: {len(chosen)} given; a study shows at most {MOST_METHODS}, more tire people")
    twice = next((one.name for n, one in enumerate(chosen) if one.name in [two.name for two in chosen[:n]]), None)
    if twice is not None:
        raise InputError(f"--methods: {twice} is named twice; name each once")
    return tuple(chosen)


def _method(name: str | Method) -> Method:
    if isinstance(name, Method):
        return registry.choose(name)
    known = baselines.baseline(name)
    if known is not None and known.name == baselines.SAME:
        raise InputError(f"--methods {name}: its maps are of something else, which nobody is asked; leave it out")
    return known or registry.choose(name)


def _refuse_unsuited(method: Method, tasks: Sequence[Task]) -> None:
    for task in tasks:
        if not method.suits(task):
            raise InputError(
                f"--methods {method.name}: no method for {shortened(task.name, 80)}; take another, as gradcam"
            )


def _filled(
    draft: Draft, reader: Reader, wanted: dict[str, int], rng: np.random.Generator, progress: Progress
) -> tuple[int, list[str]]:
    """Draw pictures by lot until every part has its questions; how many were looked at, and which make none.

    A picture of one class alone comes to "which" where there are too few of two.
    """
    looked, spare, skipped = 0, list[int](), dict[str, list[str]]()
    total = sum(wanted.values())
    lots = [int(one) for one in rng.permutation(len(reader.data))[: MOST_LOOKED * total]]
    for number in progress(lots):
        lacking = _short(draft, wanted)
        alone = set(lacking) == {"which"} and not draft.counts.get("which") and looked >= ALONE * total
        if not lacking or (alone and len(spare) >= lacking["which"]):
            break
        looked += 1
        with _skipping(skipped, draft):
            shared = reader.picture(number)
            suits = [part for part in wanted if _suits(part, shared) and not (part == "which" and shared.rival)]
            part = allotment.next_part(wanted, {name: draft.counts.get(name, 0) for name in wanted}, suits)
            if part is not None:
                ASKED[part](draft, shared)
            elif shared.pair is not None:
                spare.append(number)
    for number in spare:
        if "which" not in _short(draft, wanted):
            break
        with _skipping(skipped, draft):
            ASKED["which"](draft, reader.picture(number))
    return looked, [f"{len(why)} picture{'s' * (len(why) > 1)} {what}, as {why[0]}" for what, why in skipped.items()]


@contextmanager
def _skipping(skipped: dict[str, list[str]], draft: Draft) -> Iterator[None]:
    """A picture that cannot be read, or that a model or a method fails on, makes no question, and is told.

    What the first few all fail on is raised: it is no matter of one picture.
    """
    try:
        yield
    except ImageError as error:
        skipped.setdefault("cannot be read", []).append(shortened(str(error), 80))
    except Exception as error:
        failed = skipped.setdefault("left out where a model or method failed", [])
        failed.append(shortened(str(Failure("", error)), 120))
        if len(failed) >= FEW_FAILED and not draft.count:
            raise


def _short(draft: Draft, wanted: dict[str, int]) -> dict[str, int]:
    """How many questions each part lacks that lacks any."""
    return {part: n - draft.counts.get(part, 0) for part, n in wanted.items() if draft.counts.get(part, 0) < n}


def _suits(part: str, shared: SharedPicture) -> bool:
    return {"which": shared.pair, "reasonable": shared.agreed, "where": shared.place}[part] is not None


def _lacking(wanted: dict[str, int], draft: Draft, looked: int) -> list[str]:
    """What of the questions that were asked for there is not, and why."""
    return [
        f"{wanted[part] - short} of {wanted[part]} questions of “{part}”: of {looked} pictures no more {LACKS[part]}"
        for part, short in _short(draft, wanted).items()
    ]


LACKS = {
    "which": "show two things that both models know",
    "reasonable": "are such that both models are right",
    "where": "are left that ask for something that both models know",
}


def _nothing(reader: Reader, names: Sequence[str], asked: Sequence[str], looked: int) -> str:
    lacks = " or ".join(LACKS[part] for part in asked)
    told = f"{shortened(reader.data.name, 60)}: nothing to ask; of {looked} pictures none {lacks}"
    for name, unknown in zip(names, reader.unknown, strict=True):
        if unknown:
            return f"{told}. {shortened(name, 30)} does not know {shortened(unknown[0], 30)}: tell with --classes FILE"
    return f"{told}. Give classes:DIR or coco:DIR"


def _table(given: Table | str | Path | None) -> Table | None:
    return told_classes(Path(given)) if isinstance(given, str | Path) else given


def _paragraphs(text: str) -> list[str]:
    r"""The paragraphs of a text, with an empty line between any two, whatever ends its lines.

    >>> _paragraphs("Who asks?\r\n \r\nWe\nask.")
    ['Who asks?', 'We ask.']
    """
    lines = [" ".join(line.split()) for line in text.removeprefix("\ufeff").splitlines()]
    return [" ".join(some) for filled, some in itertools.groupby(lines, bool) if filled]


def _packed(images: dict[str, Pixels], questions: int) -> tuple[dict[str, str], list[str]]:
    """The pictures as data addresses, all of one size and quality: the best at which the page is not too large."""
    most = LARGEST * max(1.0, questions / FULL)
    addresses: dict[str, str] = {}
    for side, quality in SIZES:
        addresses, size = {}, 0
        for name, pixels in images.items():
            addresses[name] = f"data:image/webp;base64,{base64.b64encode(encoded(pixels, side, quality)).decode()}"
            size += len(addresses[name])
            if size > most:
                break
        if size <= most:
            return addresses, [] if side >= SIZES[2][0] else [f"pictures are {side} pixels wide: the page is full"]
    raise InputError(
        f"--n {questions}: {len(images)} pictures do not fit a page of {most / 1e6:.0f} MB; ask "
        "less, or by fewer methods"
    )

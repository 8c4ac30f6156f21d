"""What a section of `benchmarks.paper` is: the commands that are run for it, and what was published there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

REAL, COCO = "real", "coco"  # folders that the user gives
PAPER, NOTE, QUOTED, AGAIN = "paper", "note on its tables", "quoted by a reproduction", "the reproduction’s own"
MOBILENET, EFFICIENTNET = "benchmarks/paper_models.py:mobilenet", "benchmarks/paper_models.py:efficientnet"
CLASSES = ("--classes", "benchmarks/paper_classes.json")


@dataclass(frozen=True)
class Run:
    """One ``vlx evaluate``: its ``name`` is that of its folder, ``needs`` the folders that must be there.

    ``group`` is which of the model's words or questions are told, where several are, by default all of them together;
    "*" is each of them. ``told`` are the figures that are columns, by default all; ``noted`` are the beginnings of the
    notes that stand below.
    ``methods`` and ``targets`` may be none: then they are the command's own.
    """

    name: str
    model: str
    data: str
    metrics: tuple[str, ...]
    methods: tuple[str, ...]
    n: int
    group: str = ""
    targets: tuple[str, ...] = ("logit",)
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()

    def words(self, places: Mapping[str, str], most: int | None) -> list[str]:
        """The command, word by word, with the user's folders in their places, of ``most`` pictures or fewer."""
        words = ["evaluate", self.model, *([self.data.format(**places)] if self.data else [])]
        for option, names in (("metrics", self.metrics), ("methods", self.methods), ("targets", self.targets)):
            words += [f"--{option}", ",".join(names)] if names else []
        return [*words, *self.options, "--n", str(self.n if most is None else min(self.n, most))]


@dataclass(frozen=True)
class Published:
    """What a publication has: ``figure`` of a method, measured as ``what`` says, by which ``source``."""

    what: str
    figure: str
    source: str = PAPER


@dataclass(frozen=True)
class Section:
    """A section of the paper: its ``name`` for --only, what it asks, our runs, what was published, ``remark``s.

    ``bring`` is the command on the paper's own kind of data, and ``data`` what a user must have for it. ``changes`` are
    what the paper's variants of its first method changed there, by name, in points: they are told beside ours. ``lead``
    is the column that the table at the top of the page tells, by default the first.
    """

    name: str
    title: str
    asked: str
    runs: tuple[Run, ...]
    published: tuple[Published, ...]
    bring: str
    data: str
    remark: str = ""
    lead: str = ""
    changes: Mapping[str, float] = field(default_factory=dict)


def photos(
    name: str, metrics: Sequence[str], methods: str, n: int = 70, *, model: str = MOBILENET, options: Sequence[str] = ()
) -> Run:
    """A classifier on the photographs beside MobileNetV2."""
    return Run(
        f"{name}-{model.rpartition(':')[2]}",
        model,
        "coco:{real}/photos/instances.json",
        tuple(metrics),
        listed(methods),
        n,
        options=(*CLASSES, *options),
        needs=(REAL,),
    )


def scenes(name: str, metrics: Sequence[str], methods: str, n: int, *, task: str = "captioner", group: str = "") -> Run:
    """A model of drawn scenes; of a captioner the words for things are told."""
    group = group or ("object" if task.startswith("captioner") else "")
    return Run(f"{name}-scenes-{task}", f"scenes/{task}", "", tuple(metrics), listed(methods), n, group)


def photographs(name: str, metrics: Sequence[str], methods: str, n: int, options: Sequence[str] = ()) -> Run:
    """The captioner of photographs on COCO's outlines and captions."""
    told = tuple(metrics), listed(methods), n
    return Run(f"{name}-photos-captioner", "photos/captioner", "coco:{coco}", *told, options=(*options,), needs=(COCO,))


def outlined(name: str, metrics: Sequence[str], methods: str, n: int, model: str, options: Sequence[str] = ()) -> Run:
    """A classifier on other photographs of COCO, with outlines."""
    called = f"{name}-coco-{model.rpartition(':')[2]}"
    wishes = tuple(metrics), listed(methods), n
    return Run(called, model, "coco:{coco}", *wishes, options=(*CLASSES, *options), needs=(REAL, COCO))


def halves(name: str, methods: str, n: int, model: str) -> Run:
    """A classifier on two photographs side by side, each with its half as its place, attacked."""
    model = model.replace("paper_models", "adversarial")
    wishes = ("adversarial",), listed(methods), n
    data, options = "benchmarks.adversarial:halves", ("--towards", "airliner")
    return Run(f"{name}-halves-{model.rpartition(':')[2]}", model, data, *wishes, options=options, needs=(REAL,))


def noted(run: Run, *beginnings: str) -> Run:
    """The same run, with the notes that begin so below its table."""
    return replace(run, noted=beginnings)


def each(run: Run, *told: str) -> Run:
    """The same run, each of its groups told by itself, of these figures."""
    return replace(run, group="*", told=told)


def listed(methods: str) -> tuple[str, ...]:
    """Names with spaces between them, one by one."""
    return tuple(methods.split())

"""What the card of a captioner of photographs says; its text is in photo.md."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track

from vlx.data import captioned
from vlx.data.captioned import UNREADABLE, Photograph, Photographs, omissions
from vlx.data.flickr import PhotographData
from vlx.errors import InputError
from vlx.evaluation import datasets
from vlx.evaluation.cards import knowledge, neighbours, sheet
from vlx.evaluation.loop import Progress, measured
from vlx.evaluation.metric import Measurer
from vlx.evaluation.metrics import captions
from vlx.evaluation.metrics.caption_scores import METRICS
from vlx.evaluation.metrics.captions import ABSENT, BEAMS, PERSON, Captions, SaidCaptions, captions_by, looks, said_of
from vlx.evaluation.records import Record
from vlx.evaluation.result import Figure, Result
from vlx.evaluation.shown import Setting, ShownBatch
from vlx.files import json_files
from vlx.protocol.task import Task
from vlx.tasks.photos import bundle, scope
from vlx.tasks.photos.kinds import imagenet
from vlx.tasks.photos.train import CHOOSING

ONE, NEAR = "one caption for all", "the nearest training photograph's"
SAMPLES, STRANGE, SEED = 12, 24, 0
TRIED = "tried.md"


@dataclass(frozen=True)
class Sources:
    """Where the figures come from: ``data`` is flickr8k:DIR, ``coco`` coco:DIR or None.

    Of COCO the pictures that were kept out of training are measured, or those of the list ``only``. ``maps``: folders
    that the training left, so that its pictures need not go through the CNN again; ``pointing``: what ``vlx evaluate …
    --metrics pointing --json`` printed; ``n``: pictures of each set, all where it is None.
    """

    data: str
    coco: str | None = None
    only: Path | None = None
    maps: tuple[Path, ...] = ()
    pointing: tuple[Path, ...] = ()
    n: int | None = None


def measure(folder: Path, sources: Sources) -> tuple[str, dict[str, Any]]:
    """The card of the captioner of photographs in ``folder``, and its figures.

    Raises InputError where a picture to be measured was trained on.
    """
    config, command = bundle.read_config(folder), command_of(folder, sources)
    task = bundle.load_task(folder, sheet.public_name(folder))
    train, sets = _trained_on(sources), _sets(sources)
    told = {title: say(task, own.rows[: sources.n], progress=_bar(title)) for title, own in sets.items()}
    others = _baselines(task, train, told, sources.maps)
    results = {title: _result(task, said, others[title], command, sets[title]) for title, said in told.items()}
    cover = {title: knowledge.coverage(config.vocabulary, _written(said.rows)) for title, said in told.items()}
    pointing = [read_result(path) for path in sources.pointing]
    text = sheet.render(
        files("vlx.evaluation.cards").joinpath("photo.md").read_text(encoding="utf-8"),
        **sheet.origin(folder, bundle.build(config)),
        **_known(config, train),
        **_outside(strange(folder, config)),
        title=task.name,
        config=config,
        defaults=task.defaults,
        one=others[next(iter(others))][ONE][0],
        sets={title: _table(result) for title, result in results.items()},
        results=results,
        metrics=METRICS,
        cover=cover,
        pointing=pointing,
        pointing_table=sheet.pointing_table,
        tried=_read(folder / TRIED),
        samples=samples(told),
        percent=sheet.percent,
        command=command,
    )
    figures = {title: result.to_json() for title, result in results.items()}
    measured: dict[str, Any] = {"captions": figures, "coverage": {title: asdict(own) for title, own in cover.items()}}
    measured["weights"] = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    return text, {**measured, "pointing": [result.to_json() for result in pointing]}


def say(
    task: Task, rows: Sequence[Photograph], beams: Sequence[int] = BEAMS, *, progress: Progress = iter
) -> SaidCaptions:
    """Caption photographs by each beam width (1 is greedy).

    Raises InputError for a task that does not caption, and where no picture can be read.
    """
    metric, data = captions_by(beams), PhotographData(Photographs(tuple(rows)), "photographs")
    metric.check(task, data)
    vectors: dict[str, Any] = {}

    def begin(setting: Setting) -> Measurer:
        captioned = Captions(beams, setting)

        def measure(shown: ShownBatch) -> Iterator[Record]:
            names = [Path(example.key).name for example in shown.examples]
            vectors.update(zip(names, looks(shown.features), strict=True))
            yield from captioned(shown)

        return measure

    ran = measured(Setting(task, data, ()), [replace(metric, begin=begin)], progress=progress)
    return replace(said_of(ran.columns[metric.name]), unread=tuple(ran.unread), looks=vectors)


def _known(config: bundle.PhotoCaptionerConfig, train: Photographs) -> dict[str, Any]:
    """What a card tells of a vocabulary and of what was trained on."""
    captions = _written(train.rows)
    counts = {word: count for word, count in zip(config.vocabulary, config.counts, strict=True) if count}
    categories = knowledge.categories(list(counts), captions)
    return {
        "trained": len(train),
        "captions": len(captions),
        "words": len(counts),
        "things": knowledge.things(counts, captions),
        "lacking": [name for name, count in categories.items() if not count],
        "rare": {name: count for name, count in categories.items() if 0 < count < knowledge.SELDOM},
        "seldom": knowledge.SELDOM,
    }


def _outside(names: Sequence[str]) -> dict[str, Any]:
    drawn = np.random.default_rng(SEED).permutation(len(names))[:STRANGE]
    return {"strange": len(names), "some_strange": [names[n] for n in sorted(drawn.tolist())], "known_from": scope.WELL}


def strange(folder: Path, config: bundle.PhotoCaptionerConfig) -> list[str]:
    """ImageNet's classes that the captioner knows neither words nor pictures of, by the rule of its reports."""
    met, kinds = scope.read(folder), imagenet()
    if met is None:
        return []
    known = scope.Scope(torch.nn.Identity(), dict(zip(config.vocabulary, config.counts, strict=True)), met).known
    return [kinds.names[kind][0] for kind, own in zip(kinds.classes, known, strict=True) if not own]


def _written(rows: Sequence[Photograph]) -> list[str]:
    return [caption for row in rows for caption in row.captions]


def read_result(path: Path) -> Result:
    """A result as ``vlx evaluate --json`` printed it; raises InputError for what is none."""
    try:
        raw = json_files.read(path, nan=True)
        rows = tuple(Figure(**{key: _figure(value) for key, value in row.items()}) for row in raw["rows"])
        notes = tuple(raw.get("notes", ()))
        return Result(raw["model"], raw["n"], rows, raw["command"], raw.get("of", "photographs"), notes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not what `vlx evaluate --json` prints ({str(error)[:120]})") from None


def _figure(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return float("nan") if value is None else value


def samples(told: dict[str, SaidCaptions]) -> list[tuple[str, str, str]]:
    """Twelve pictures drawn by seed, the same number of each set: file, greedy caption, what a person wrote first."""
    rng = np.random.default_rng(SEED)
    found = []
    for said in told.values():
        drawn = rng.permutation(len(said.rows))[: SAMPLES // len(told)]
        found += [(said.rows[n].name, said.captions[1][n], said.rows[n].captions[0]) for n in sorted(drawn.tolist())]
    return found


def _trained_on(sources: Sources) -> Photographs:
    """The pictures that `vlx.tasks.photos.train` learns from."""
    _, folder = datasets.parsed(sources.data)
    found = captioned.read(folder)
    choosing = found.only(captioned.split(folder, "dev")).rows[:CHOOSING]
    found = found.without({*captioned.split(folder, "test"), *(row.name for row in choosing)}).without(_held_out())
    if sources.coco is None:
        return found
    more = captioned.read(datasets.parsed(sources.coco)[1]).without(_held_out())
    return Photographs((*found.rows, *more.rows))


def _sets(sources: Sources) -> dict[str, Photographs]:
    """The pictures to be measured on by the title of their set."""
    sets = {"Flickr8k, official test split": datasets.photographs(sources.data)}
    if sources.coco is None:
        return sets
    found = datasets.photographs(sources.coco, sources.only)
    held_out = _held_out()
    learnt = [row.name for row in found.rows if row.name not in held_out]
    if learnt and sources.only is not None:
        raise InputError(
            f"{sources.only}: {learnt[0]} and {len(learnt) - 1} more may have been trained on: not held out"
        )
    return {**sets, "COCO, kept out of training": found.without(learnt)}


def _held_out() -> frozenset[str]:
    return frozenset(files("vlx.tasks.photos").joinpath("held_out.txt").read_text(encoding="utf-8").split())


def _baselines(
    task: Task, train: Photographs, told: Mapping[str, SaidCaptions], folders: Sequence[Path]
) -> dict[str, dict[str, list[str]]]:
    """Of each set the captions that nobody made for its pictures, by who says them."""
    one = neighbours.one_for_all(train.rows)
    known = _vectors(task, train.rows, folders)
    first = {row.name: row.captions[0] for row in train.rows}
    found = {}
    for title, said in told.items():
        near = neighbours.nearest(known, said.looks)
        found[title] = {ONE: [one] * len(said.rows), NEAR: [first[near[row.name]] for row in said.rows]}
    return found


def _vectors(task: Task, rows: Sequence[Photograph], folders: Sequence[Path]) -> captions.Vectors:
    """The CNN's pooled last map of each training picture: kept ones where they are, the rest computed."""
    kept = {name: vector for folder in folders for name, vector in neighbours.kept_vectors(folder).items()}
    missing = tuple(row for row in rows if row.name not in kept)
    found = {row.name: kept[row.name] for row in rows if row.name in kept}
    if missing:
        found |= neighbours.vectors(task, captioned.readable(Photographs(missing)).rows, progress=_bar("neighbours"))
    return found


def _result(task: Task, said: SaidCaptions, others: dict[str, list[str]], command: str, data: Photographs) -> Result:
    rows = captions.figures_of(said)
    notes = omissions({**data.left_out, **({UNREADABLE: said.unread} if said.unread else {})})
    notes += [ABSENT] if len({row.group for row in rows}) < len(METRICS) else []
    rows += captions.figures(others, said.rows)
    return Result(task.name, len(said.rows), tuple(rows), command, "photographs", tuple(notes))


def _table(result: Result) -> dict[str, list[str]]:
    """Cells by who said it, one a metric; the models first, the person last."""
    cells: dict[str, dict[str, str]] = {}
    for row in sorted(result.rows, key=lambda row: row.method == PERSON):
        cells.setdefault(row.method, {})[row.group] = f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
    return {who: [own.get(metric, "–") for metric in METRICS] for who, own in cells.items()}


def command_of(folder: Path, sources: Sources) -> str:
    """The command that makes the card again."""
    one = {"data": sources.data, "coco": sources.coco, "only": sources.only, "n": sources.n}
    several = {"maps": sources.maps, "pointing": sources.pointing}
    given = [*one.items(), *((name, path) for name, paths in several.items() for path in paths)]
    told = [f"--{name} {value}" for name, value in given if value is not None]
    return " ".join([f"python -m vlx.evaluation.card {folder}", *told])


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _bar(title: str) -> Any:
    return lambda items: track(list(items), title)

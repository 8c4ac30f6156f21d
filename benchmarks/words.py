"""What the explanation of 12 words costs, beside the caption itself and beside other libraries.

``python -m benchmarks.words`` times every way in turn on ResNet-50 + LSTM(512), 9,000 words, 224 × 224 pixels, compares
the maps, and measures the memory that each way adds in a process of its own. Figures are process CPU time on two
threads; the caption alone is a loop written by hand, without vlx. What each part adds (maps, references, checks, all
that `vlx.explain` gives) stands in a table of its own. Other libraries: ``pip install -e ".[peers]"``.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import click
import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor

import vlx
from benchmarks.clock import Times, added_memory, console_for_tables, memory_is_measurable, restart_settled, round_robin
from benchmarks.model import VOCABULARY, WORDS, Forced, Subject, picture, subject
from benchmarks.peers import PEERS, missing
from vlx.explanation.map_check import MapCheck
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.probes.asked import questions
from vlx.probes.map_trials import trials, tried
from vlx.probes.owing import table
from vlx.probes.references import elsewhere
from vlx.protocol.targets import Prediction, Query, sentence_target, word_target
from vlx.protocol.task import Features

CAPTION = "caption alone"
MAPS = "caption + 12 maps"
SEEN = "caption + 12 maps + seen"
CHECKED = "caption + 12 maps + checks"
BOTH = "caption + 12 maps + seen + checks"
EVERYTHING = "vlx.explain(picture), everything"
VLX = "vlx"
SIZE = (224, 224)

# The way, how many captions it may cost; the other library, how many times our caption and maps must be cheaper.
LIMITS = {MAPS: 1.25, BOTH: 2.2}
# What a part adds: the way with it, and the one without.
PARTS = {
    "caption": (CAPTION, ""),
    "12 maps": (MAPS, CAPTION),
    "seen: five references": (SEEN, MAPS),
    "checks: of 12 maps, and of what speaks against": (CHECKED, MAPS),
    "all else of vlx.explain: opened, prepared, the whole caption's map": (EVERYTHING, BOTH),
    "everything": (EVERYTHING, ""),
}
GAINS = {"pytorch-grad-cam, loop": 20.0, "captum, loop": 6.0, "torch-cam, retain_graph": 1.2}
MEMORY_LIMIT = 100.0
EQUAL, EQUAL_IN_BATCH = 1e-5, 5e-5  # a convolution over a batch of 12 rounds otherwise

Ways = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Check:
    """A figure and its target."""

    what: str
    value: float
    target: float
    at_most: bool = True

    @property
    def passed(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target if self.at_most else self.value >= self.target


@dataclass(frozen=True)
class Difference:
    """How far a library's maps are from ours, and in float32 from its own in float64: the worst word, over its peak.

    What float32 leaves is rounding: the first step saturates this net's gates, which magnifies it.
    """

    float64: float
    float32: float
    rounding: float


def explained(subject: Subject, *, sentence: bool = False, seen: bool = False) -> Tensor:
    """Caption the image and explain its words: maps [12 (+ 1 of the sentence), 7, 7] after the ReLU."""
    task = subject.task
    features = task.features(subject.image)
    prediction = task.predict(features, [Query()])[0]
    maps = attributed(subject, features, prediction, sentence=sentence)
    if seen:
        targets = [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]
        table(task, elsewhere(task, picture(), subject.image[0], asked=targets).features, targets)
    return maps


def checked(subject: Subject, *, seen: bool = False) -> list[MapCheck]:
    """Caption the image, explain its words, and try each map and what speaks against it; ``seen``: that, too."""
    task = subject.task
    features = task.features(subject.image)
    prediction = task.predict(features, [Query()])[0]
    asked = [one for one in questions(task, prediction, "logprob") if one.role == "word"]
    targets = [one.target for one in asked]
    maps = engine.attribute(task, features.A, targets, METHODS["gradcam"], features.rest)
    if seen:
        table(task, elsewhere(task, picture(), subject.image[0], asked=targets).features, targets)
    pairs = zip(asked, prediction.words, maps.signed.cpu().numpy(), maps.opposed.cpu().numpy(), strict=True)
    flat = [
        trial
        for one, word, signed, opposed in pairs
        for trial in trials(prediction, one, word.logprob, signed, opposed)
    ]
    return tried(task, features, flat)


def attributed(subject: Subject, features: Features, prediction: Prediction, *, sentence: bool = False) -> Tensor:
    """The maps of a caption that has been made, from the A that it was made from."""
    targets = [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]
    if sentence:
        targets.append(sentence_target(prediction, 0))
    return engine.attribute(subject.task, features.A, targets, METHODS["gradcam"], features.rest).signed.clamp(min=0)


def own_ways(subject: Subject) -> Ways:
    """What vlx does, from the bare caption to everything that `vlx.explain` gives."""
    task = subject.task
    features = task.features(subject.image)
    prediction = task.predict(features, [Query()])[0]
    return {
        CAPTION: subject.caption,
        "caption by vlx": lambda: task.predict(task.features(subject.image), [Query()]),
        MAPS: partial(explained, subject),
        "caption + 12 maps + sentence": partial(explained, subject, sentence=True),
        SEEN: partial(explained, subject, seen=True),
        CHECKED: partial(checked, subject),
        BOTH: partial(checked, subject, seen=True),
        EVERYTHING: partial(vlx.explain, task, picture()),
        "vlx.explain(picture), no references": partial(vlx.explain, task, picture(), seen=False),
        "vlx.explain(picture), no checks": partial(vlx.explain, task, picture(), check=False),
        "vlx.explain(picture), neither": partial(vlx.explain, task, picture(), seen=False, check=False),
        "12 maps, A kept": partial(attributed, subject, features, prediction),
    }


def peer_ways(subject: Subject) -> Ways:
    """The 12 maps by other libraries, without the caption."""
    words = subject.caption()
    model = Forced(subject.cnn, subject.decoder, words).eval()
    return {name: partial(peer, model, subject.image, words) for name, peer in PEERS.items()}


def differences(subject: Subject, names: Iterable[str]) -> dict[str, Difference]:
    """Compare the maps of each library with ours, in float32 and in float64."""
    maps, exact = _maps(subject, names), _maps(subject.double(), names)
    return {
        name: Difference(
            _apart(exact[name], exact[VLX]), _apart(maps[name], maps[VLX]), _apart(maps[name], exact[name].float())
        )
        for name in maps
    }


def _maps(subject: Subject, names: Iterable[str]) -> dict[str, Tensor]:
    found = {VLX: explained(subject)}
    ways = peer_ways(subject)
    for name in names:
        maps = ways[name]()
        assert isinstance(maps, Tensor)
        found[name] = maps
        subject.clear()
    return found


def _apart(some: Tensor, others: Tensor) -> float:
    """The worst word's largest difference, relative to its peak; maps [T, h, w]."""
    peaks = torch.maximum(some, others).amax((1, 2))
    return float(torch.where(peaks > 0, (some - others).abs().amax((1, 2)) / peaks, 0).max())


def counts(subject: Subject, ways: Ways) -> dict[str, dict[str, int]]:
    """Pictures that each way runs through the CNN, and backwards that go all the way through it."""
    found = {}
    for name, way in ways.items():
        way()  # what is kept between calls (geometry, the blank picture) is not counted
        with subject.counted() as count:
            way()
        found[name] = count
        subject.clear()
    return found


def memory_of(name: str) -> float:
    """Megabytes that a way adds at its peak; to be asked once in a process."""
    timed = subject()
    ways = {**own_ways(timed), **(peer_ways(timed) if name in PEERS else {})}
    return added_memory(timed.caption, ways[name])


def memory(names: Iterable[str]) -> dict[str, float]:
    """Megabytes that each way adds at its peak, each in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.words", "--memory-of"]
    return {
        name: float(subprocess.run([*command, name], check=True, capture_output=True, text=True).stdout)
        for name in track(list(names), "memory", transient=True)
    }


def parts(times: dict[str, Times]) -> dict[str, tuple[float, float]]:
    """What each part adds: seconds, and how many captions that is."""
    caption = times[CAPTION].median
    added = {
        part: times[way].median - (times[without].median if without else 0) for part, (way, without) in PARTS.items()
    }
    return {part: (seconds, seconds / caption) for part, seconds in added.items()}


def checks(times: dict[str, Times], apart: dict[str, Difference], added: dict[str, float]) -> Iterator[Check]:
    """The figures that have a target."""
    caption, ours = times[CAPTION].median, times[MAPS].median
    for name, limit in LIMITS.items():
        yield Check(f"{name} ÷ {CAPTION}", times[name].median / caption, limit)
    for name, gain in GAINS.items():
        if name in times:
            theirs = times[name].median
            yield Check(f"{name} and a caption ÷ our {MAPS}", (theirs + caption) / ours, gain, at_most=False)
            yield Check(f"{name}, no caption ÷ our {MAPS}", theirs / ours, gain, at_most=False)
    for name, difference in apart.items():
        limit = EQUAL_IN_BATCH if "batch" in name else EQUAL
        if name != VLX:
            yield Check(f"maps of {name}, float32", difference.float32, limit)
            yield Check(f"maps of {name}, float64", difference.float64, limit)
    for name in (MAPS, SEEN, BOTH):
        if name in added:
            yield Check(f"MB added by {name}", added[name], MEMORY_LIMIT)


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Timed rounds.")
@click.option("--peers/--no-peers", default=True, show_default=True, help="Other libraries too.")
@click.option("--memory/--no-memory", "with_memory", default=True, show_default=True, help="Memory too.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--memory-of", "measured", hidden=True)
def main(rounds: int, peers: bool, with_memory: bool, as_json: bool, measured: str | None) -> None:
    """The cost of explaining the 12 words of a caption."""
    if measured is not None:
        click.echo(memory_of(measured))
        return
    if peers and missing():
        lacking = ", ".join(missing())
        click.echo(f'Not installed: {lacking}; pip install -e ".[peers]". Going on without other libraries.', err=True)
        peers = False
    timed = subject()
    others = peer_ways(timed) if peers else {}
    ways = {**own_ways(timed), **others}
    done = counts(timed, ways)
    apart = differences(timed, others)
    times = round_robin(ways, rounds, timed.clear)
    added = memory(ways) if with_memory and memory_is_measurable() else {}
    found = list(checks(times, apart, added))
    if as_json:
        click.echo(json.dumps(_figures(times, done, apart, added, found), indent=1, ensure_ascii=False))
    else:
        _print(times, done, apart, added, found)


def _figures(
    times: dict[str, Times],
    done: dict[str, dict[str, int]],
    apart: dict[str, Difference],
    added: dict[str, float],
    found: list[Check],
) -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seconds": {name: {**asdict(t), "median": t.median, "least": t.least} for name, t in times.items()},
        "parts": {part: {"seconds": s, "captions": c} for part, (s, c) in parts(times).items()},
        "counts": done,
        "maps": {name: asdict(difference) for name, difference in apart.items()},
        "megabytes": added,
        "checks": [{**asdict(check), "passed": check.passed} for check in found],
    }


def _print(
    times: dict[str, Times],
    done: dict[str, dict[str, int]],
    apart: dict[str, Difference],
    added: dict[str, float],
    found: list[Check],
) -> None:
    console = console_for_tables()
    base = times[CAPTION]
    console.print(
        f"ResNet-50 + LSTM(512), {VOCABULARY:,} words, {WORDS} said; median CPU time of {len(base.cpu)} rounds, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; × is over {CAPTION}, written by hand"
    )
    table = _table("way", "ms", "least", "×", "× of least", "× wall", "pictures", "full backwards", "MB added")
    for name, t in times.items():
        table.add_row(
            name,
            f"{1e3 * t.median:.0f}",
            f"{1e3 * t.least:.0f}",
            f"{t.median / base.median:.2f}",
            f"{t.least / base.least:.2f}",
            f"{t.median_wall / base.median_wall:.2f}",
            *(str(count) for count in done[name].values()),
            f"{added[name]:.0f}" if name in added else "",
        )
    console.print(table)
    table = _table("what a part adds", "ms", "×")
    for part, (seconds, captions) in parts(times).items():
        table.add_row(part, f"{1e3 * seconds:.0f}", f"{captions:.2f}")
    console.print(table)
    table = _table("maps, worst word", "from ours, float64", "from ours, float32", "own rounding in float32")
    for name, difference in apart.items():
        table.add_row(name, *(f"{value:.1e}" for value in asdict(difference).values()))
    console.print(table)
    table = _table("figure", "value", "target", "")
    for check in found:
        sign, mark = "≤" if check.at_most else "≥", "pass" if check.passed else "FAIL"
        table.add_row(check.what, f"{check.value:.3g}", f"{sign} {check.target:g}", mark)
    console.print(table)


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=None)
    for name in others:
        table.add_column(name, justify="right")
    return table


if __name__ == "__main__":
    restart_settled("benchmarks.words")
    main()

"""Did the model look? ``python -m benchmarks.looked`` judges L on models of ours and on models that are not.

Truth: an answer, or the likeliest next word, is *blind* where 32 other real pictures give the same in 80 % or more.
Printed is how well each figure tells the others from the blind ones (area under the ROC curve; 1/2 is a coin), with a
95 % interval over pictures: L with the five references made of the one picture, L with 8 other pictures, and |log p −
log p′| of the adapter's blank, of the median colour and of the mean cell of A. Then how often 16 other pictures make
vlx say "would have said … anyway", and how often that is false of the 32. ``--n`` pictures a model; a planted model
that never looks and one that always does stand at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import click
import numpy as np
import torch
from PIL import Image
from rich.progress import track
from rich.table import Table

import vlx
from benchmarks import abroad
from benchmarks.clock import console_for_tables
from vlx.errors import InputError
from vlx.evaluation.metrics.looking import roc_area
from vlx.explanation.records import Look, WordExplanation
from vlx.pictures.placement import Frame, Grid, Placement
from vlx.probes import other_pictures, references
from vlx.probes.owing import table
from vlx.probes.references import References, elsewhere
from vlx.protocol.targets import Query, word_target
from vlx.protocol.task import Features, Task
from vlx.report import wording
from vlx.scenes import HELD_OUT, draw

OURS = ("scenes/vqa-biased", "scenes/vqa", "scenes/captioner", "scenes/captioner-pooled")
ABROAD = ("easy-vqa", "white-captioner", "sigmoid", "mobilenet")
JUDGES, OWN, ENOUGH = 32, 8, 16
BLIND = 0.8
FIGURES = ("five made of it, L", "8 other pictures, L", "blank, |d|", "median colour, |d|", "mean cell of A, |d|")
LIMITS = {"scenes/vqa-biased": 0.95, "easy-vqa": 0.90, "scenes/captioner": 0.95, "scenes/captioner-pooled": 0.95}


@dataclass
class Found:
    """One entry an item (an answer or a word): which picture it is of, whether it is blind, and each figure."""

    picture: list[int] = field(default_factory=list)
    blind: list[bool] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    anyway: list[bool] = field(default_factory=list)

    def auc(self, name: str, picked: Sequence[int] | None = None) -> float:
        """How well a figure tells the other items from the blind ones; NaN where there are not both."""
        at = range(len(self.blind)) if picked is None else picked
        low = [self.figures[name][n] for n in at if self.blind[n]]
        high = [self.figures[name][n] for n in at if not self.blind[n]]
        return roc_area(low, high) if low and high else float("nan")

    def interval(self, name: str, draws: int = 200) -> tuple[float, float]:
        """95 % of the areas when pictures are drawn with replacement."""
        rng = np.random.default_rng(0)
        own: dict[int, list[int]] = {}
        for n, picture in enumerate(self.picture):
            own.setdefault(picture, []).append(n)
        groups = list(own.values())
        areas = [
            self.auc(name, [n for g in rng.integers(len(groups), size=len(groups)) for n in groups[g]])
            for _ in range(draws)
        ]
        low, high = np.nanpercentile(areas, (2.5, 97.5))
        return float(low), float(high)


def judged(task: Task, shown: Sequence[tuple[Image.Image, Sequence[Query]]], others: Sequence[Image.Image]) -> Found:
    """L and its rivals for what a task says of some pictures; ``others``: those that judge, then 16 to compare."""
    found = Found()
    pool = References(tuple(map(str, range(len(others)))), tuple(others))
    for number, (image, queries) in enumerate(track(shown, task.name)):
        inputs = task.prepare(image)
        features = task.features(task.place(inputs[None]))
        real = elsewhere(task, image, inputs, pool)
        blank = Image.new("RGB", image.size, tuple(round(255 * channel) for channel in task.blank))
        flat = elsewhere(task, image, inputs, References(("blank",), (blank,))).features
        still = _mean_cell(features)
        for query in queries:
            prediction = task.predict(features, [query])[0]
            targets = [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]
            made = elsewhere(task, image, inputs, asked=targets)
            looks = other_pictures.looks(
                task, image, query, prediction, targets, replace(real, own=False), others=False
            )
            gone = {"made": table(task, made.features, targets), "blank": table(task, flat, targets)}
            gone["still"] = table(task, still, targets)
            for n, word in enumerate(prediction.words):
                said, logprobs = _each(looks[n])
                if word.outputs == "sigmoid":  # of labels that are yes or no by themselves "the same" is yes again
                    said = [word.label if p > np.log(0.5) else "" for p in logprobs]
                same = [one.casefold() == word.label.casefold() for one in said]
                median = made.names.index("median colour") if "median colour" in made.names else 0
                values = (
                    references.looked(word.logprob, gone["made"][n].tolist()),
                    references.looked(word.logprob, logprobs[JUDGES : JUDGES + OWN]),
                    abs(word.logprob - gone["blank"][n, 0]),
                    abs(word.logprob - gone["made"][n, median]),
                    abs(word.logprob - gone["still"][n, 0]),
                )
                for name, value in zip(FIGURES, values, strict=True):
                    found.figures[name].append(float(value))
                found.picture.append(number)
                found.blind.append(float(np.mean(same[:JUDGES])) >= BLIND)
                compared = said[JUDGES : JUDGES + ENOUGH], logprobs[JUDGES : JUDGES + ENOUGH]
                found.anyway.append("anyway" in _verdict(word.label, word.logprob, *compared))
    return found


def _each(looks: Sequence[Look]) -> tuple[list[str], list[float]]:
    return [look.said[0] for look in looks], [look.logprobs[0] for look in looks]


def _verdict(label: str, logprob: float, said: Sequence[str], logprobs: Sequence[float]) -> str:
    """What vlx prints of a word with these pictures as its references."""
    none = np.zeros((1, 1), np.float32)
    placement = Placement(Grid.half_pixel((1, 1), (8, 8)), Frame.whole((8, 8), (8, 8)))
    by = {str(n): references.owed(logprob, [p])[0] for n, p in enumerate(logprobs)}
    word = WordExplanation(label, logprob, logprob, (), none[0], none, none, placement, "logprob")
    look = Look(other_pictures.OWN, tuple(logprobs), tuple(said))
    seen, looked = float(np.mean(list(by.values()))), references.looked(logprob, logprobs)
    return wording.verdict(replace(word, seen=seen, seen_by=by, looked=looked, looks=(look,)))


def _mean_cell(features: Features) -> Features:
    maps = {layer: A.mean((2, 3), keepdim=True).expand_as(A).contiguous() for layer, A in features.maps.items()}
    rest = {**features.rest, "logits": None} if isinstance(features.rest, dict) else features.rest
    return replace(features, maps=maps, rest=rest)


def subject(name: str, n: int) -> tuple[Task, list[tuple[Image.Image, list[Query]]], list[Image.Image]]:
    """A model, ``n`` pictures with what is asked of each, and the other pictures."""
    more = JUDGES + ENOUGH
    if name in OURS:
        task = vlx.load(name)
        scenes = [draw(HELD_OUT + 77_000 + k) for k in range(n + more)]
        asked = [
            (s.image, [Query(question=one.text) for one in s.questions] if task.kind == "vqa" else [Query()])
            for s in scenes
        ]
    else:
        task, examples = abroad.model(name, 10 * (n + more) if name == "sigmoid" else n + more)
        by_picture: dict[int, tuple[Image.Image, list[Query]]] = {}
        for example in examples:
            by_picture.setdefault(id(example.image), (example.image, []))[1].append(example.query)
        asked = list(by_picture.values())
        if name == "easy-vqa":
            data = abroad.questions("test", n + more)
            asked = [
                (Image.fromarray(pixels), [Query(question=text) for text, _ in told])
                for pixels, told in zip(data.pictures, data.asked, strict=True)
            ]
        if name == "sigmoid":
            asked = [(image, [*queries, Query(answer="anything")]) for image, queries in asked]
        if name == "mobilenet":
            asked = [(image, [Query()]) for image, _ in asked]
    return task, asked[: len(asked) - more][:n], [image for image, _ in asked[len(asked) - more :]]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--n", default=40, show_default=True, help="Pictures of each model that are judged; 12 is a quick look.")
def main(names: Sequence[str], n: int) -> None:
    """How well L tells answers that need the picture from those that do not."""
    console = console_for_tables()
    shown = Table("area under the ROC curve", *FIGURES, "items (blind)", "said anyway (false)", box=None)
    failed = []
    for name in names or (*OURS, *ABROAD):
        try:
            task, asked, others = subject(name, n)
        except InputError as error:
            console.print(f"{name}: skipped ({error})")
            continue
        found = judged(task, asked, others)
        cells = [_cell(found, figure) for figure in FIGURES]
        false = sum(said and not blind for said, blind in zip(found.anyway, found.blind, strict=True))
        count = f"{len(found.blind)} ({sum(found.blind)})"
        shown.add_row(name, *cells, count, f"{sum(found.anyway)} ({false})")
        if found.auc(FIGURES[0]) < LIMITS.get(name, 0) or (name in LIMITS and found.auc(FIGURES[1]) < 0.94) or false:
            failed.append(name)
    console.print(shown)
    console.print("pass" if not failed else f"FAIL: {', '.join(failed)}")


def _cell(found: Found, name: str) -> str:
    area = found.auc(name)
    if np.isnan(area):
        return "–"
    low, high = found.interval(name)
    return f"{area:.3f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

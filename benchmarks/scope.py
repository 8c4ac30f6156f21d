"""How often the notes on scope are right: ``python -m benchmarks.scope drawn|things|words …``.

``drawn``: are drawn scenes told from photographs, whatever their size and compression? ``things``: which photographs
are said to show something that the captioner does not know, and is it there? ``words``: which words of captions are
marked as language's? Thresholds were chosen on other pictures: scenes from seed 10,005,000 on, 300 of Flickr8k's
development split, 200 of COCO; here they are judged.
"""

import io
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

import vlx
from benchmarks import light_ground
from vlx import scenes
from vlx.data import CocoData
from vlx.data.captioned import Photograph, words_of
from vlx.data.coco import Outlined
from vlx.evaluation import wilson
from vlx.evaluation.datasets import listed, parsed, photographs
from vlx.language import is_content
from vlx.pictures.opening import open_image
from vlx.protocol.targets import Query
from vlx.report.wording import language
from vlx.scenes.likeness import likeness
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.photos.kinds import forms
from vlx.tasks.photos.scope import WELL, Scope, Thing

FIRST = scenes.HELD_OUT + 60_000
SIZES = (128, 192, 256, 384, 512)
LARGE = 0.2  # of the picture: what it is a picture of
SEED = 1


@click.group()
def main() -> None:
    """Count what the notes on scope get right."""


@main.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--n", default=500, show_default=True, help="Drawn scenes, and photographs of each folder.")
def drawn(folders: tuple[Path, ...], n: int) -> None:
    """Drawn scenes against the pictures in FOLDERS (photographs) and others that are drawn otherwise."""
    rng = random.Random(SEED)
    kinds: dict[str, Iterator[Image.Image]] = {
        "drawn scenes, PNG": (_scene(seed) for seed in range(FIRST, FIRST + n)),
        "drawn scenes, JPEG 90": (_compressed(_scene(seed)) for seed in range(FIRST, FIRST + n)),
        "drawn scenes, resized, JPEG 90": (
            _compressed(_scene(seed).resize((rng.randrange(96, 640), rng.randrange(96, 640))))
            for seed in range(FIRST, FIRST + n)
        ),
        "shapes on a light ground": (light_ground.draw(seed).image for seed in range(n)),
    }
    for folder in folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp"))
        kinds[str(folder)] = (open_image(path).image for path in rng.sample(paths, min(n, len(paths))))
    table = Table("pictures", "n", "drawn", "not drawn", "left open", box=None)
    for name, pictures in kinds.items():
        found = Counter(likeness(picture).drawn for picture in track(pictures, name, total=n, transient=True))
        count = sum(found.values())
        table.add_row(name, str(count), *(_share(found[told], count) for told in (True, False, None)))
    Console().print(table)


def _scene(seed: int) -> Image.Image:
    return scenes.draw(seed, SIZES[seed % len(SIZES)]).image


def _compressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return Image.open(buffer).convert("RGB")


@main.command()
@click.argument("model")
@click.argument("data")
@click.option("--only", type=click.Path(path_type=Path), help="List of names.")
@click.option("--captions", type=click.Path(path_type=Path), help="COCO's captions, where they lie elsewhere.")
@click.option("--shown", default=12, show_default=True, help="Notes that are printed.")
def things(model: str, data: str, only: Path | None, captions: Path | None, shown: int) -> None:
    """What MODEL is told not to know in DATA, flickr8k:DIR or coco:DIR (with outlines), and whether it is there."""
    task, scope = _captioner(model)
    shapes = CocoData(parsed(data)[1], captions).captioned() if data.startswith("coco:") else ()
    shapes = tuple(row for row in shapes if only is None or row.path.name in listed(only))
    large = _large(shapes)
    rows = [Photograph(row.path, row.captions) for row in shapes] or photographs(data, only).rows
    noted, named, strange, hits, printed = 0, 0, 0, 0, list[str]()
    for row in track(rows, data, transient=True):
        text, thing, note = _said(task, scope, row)
        people = set(word for caption in row.captions for word in words_of(caption, None))
        noted += bool(note)
        there = thing is not None and bool(thing.words & people)
        named += bool(note) and there
        if note:
            printed.append(f"{'+' if there else '-'} {row.name}: {text} | {note}")
        if (category := large.get(row.name)) and _unknown(category, scope) and not _spoken(category, text):
            strange += 1
            hits += bool(note)
    console = Console()
    for line in random.Random(SEED).sample(printed, min(shown, len(printed))):
        console.print(line, highlight=False, markup=False)
    table = Table(data, "", box=None)
    table.add_row("photographs", str(len(rows)))
    table.add_row("with a note", _share(noted, len(rows)))
    table.add_row("with a note of what no person named (false, or minor)", _share(noted - named, len(rows)))
    if large:
        table.add_row("that show a large thing the captioner hardly knows and did not name", str(strange))
        table.add_row("… of these with a note", _share(hits, strange))
    console.print(table)


def _captioner(model: str) -> tuple[CnnLstmCaptioner, Scope]:
    task: Any = vlx.load(model)
    if not isinstance(getattr(task, "tells", None), Scope):
        raise click.ClickException(f"{model} has no scope.json: it does not tell what it has no words for")
    return task, task.tells


def _said(task: CnnLstmCaptioner, scope: Scope, row: Photograph) -> tuple[str, Thing | None, str]:
    image = open_image(row.path).image
    features = task.features(task.place(task.prepare(image)[None]))
    text = task.predict(features, [Query()])[0].text
    return text, scope.thing(scope.probabilities(features)), "".join(scope(features, image, text))


def _large(rows: Sequence[Outlined]) -> dict[str, str]:
    """The category that covers most of a photograph, where that is a fifth and more, by the file's name."""
    found = {}
    for row in rows:
        areas = {name: float(row.mask([name]).mean()) for name in row.outlines}
        name = max(areas, key=lambda one: areas[one])
        if areas[name] >= LARGE:
            found[row.path.name] = name
    return found


def _unknown(category: str, scope: Scope) -> bool:
    return sum(scope.counts.get(form, 0) for form in forms(category.split()[-1])) < WELL


def _spoken(category: str, text: str) -> bool:
    return bool(set(forms(category.split()[-1])) & set(words_of(text, None)))


@main.command()
@click.argument("model")
@click.argument("data")
@click.option("--only", type=click.Path(path_type=Path), help="List of names.")
@click.option("--n", default=100, show_default=True, help="Photographs, chosen by seed.")
def words(model: str, data: str, only: Path | None, n: int) -> None:
    """Which words of MODEL's captions of DATA are marked as language's."""
    task = vlx.load(model)
    rows = photographs(data, only).rows
    chosen = random.Random(SEED).sample(rows, min(n, len(rows)))
    kinds = ("function words", "content words that people wrote", "other content words")
    marked = {name: list[bool]() for name in kinds}
    for row in track(chosen, data, transient=True):
        people = set(word for caption in row.captions for word in words_of(caption, None))
        for word in vlx.explain(task, row.path, check=False):
            kind = 0 if not is_content(word.label) else 1 if word.label in people else 2
            list(marked.values())[kind].append(language(word))
    table = Table("words", "n", "marked ° as language's", box=None)
    for name, found in marked.items():
        table.add_row(name, str(len(found)), _share(sum(found), len(found)))
    Console().print(table)


def _share(count: int, n: int) -> str:
    if not n:
        return "–"
    low, high = wilson(count, n)
    return f"{100 * count / n:.1f} % ({100 * low:.1f} to {100 * high:.1f}; {count})"


if __name__ == "__main__":
    main()

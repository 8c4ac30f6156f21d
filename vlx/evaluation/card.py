"""The model card of an embedded model, made from measurements: ``python -m vlx.evaluation.card FOLDER``."""

import json
from pathlib import Path

import click

from vlx.errors import InputError, VlxError
from vlx.evaluation.cards import answer, caption, photo
from vlx.evaluation.cards.photo import Sources
from vlx.files.whole import write_text
from vlx.tasks.photos.bundle import TASK as PHOTOGRAPHS
from vlx.tasks.shared.bundle_format import task_of

SCENES = 2000
FILE = click.Path(path_type=Path, exists=True)


def write_card(folder: Path, n: int | None, pointing_n: int, sources: Sources | None = None) -> Path:
    """Measure the model in ``folder`` and write ``card.md`` and ``measured.json`` beside its weights.

    ``sources``: the photographs, for a captioner of photographs; ``n`` is 2,000 scenes, or all photographs, by default.
    """
    task = task_of(folder)
    if task == PHOTOGRAPHS:
        if sources is None:
            raise InputError(f"{folder} captions photographs: say which to measure it on, --data flickr8k:DIR")
        text, measured = photo.measure(folder, sources)
    else:
        measure = answer.measure if task == "vqa" else caption.measure
        text, measured = measure(folder, n or SCENES, pointing_n)
    write_text(folder / "measured.json", json.dumps(measured, indent=1) + "\n")
    card = folder / "card.md"
    write_text(card, text)
    return card


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--n", type=click.IntRange(min=1), help="Held-out scenes (default 2000) or photographs (default all).")
@click.option("--pointing-n", default=500, show_default=True, help="Held-out scenes for the pointing game.")
@click.option("--data", help="For photographs, flickr8k:DIR: its test split is measured on, the rest was trained on.")
@click.option("--coco", help="For photographs, coco:DIR: the pictures kept out of training are measured on.")
@click.option("--only", type=FILE, help="List of the COCO pictures to measure on; default: all kept out.")
@click.option("--maps", type=FILE, multiple=True, help="Folder of maps that the training left; spares the CNN.")
@click.option("--pointing", type=FILE, multiple=True, help="What vlx evaluate --metrics pointing --json printed.")
def main(
    folder: Path,
    n: int | None,
    pointing_n: int,
    data: str | None,
    coco: str | None,
    only: Path | None,
    maps: tuple[Path, ...],
    pointing: tuple[Path, ...],
) -> None:
    """Measure an embedded model and write its model card.

    Example: python -m vlx.evaluation.card vlx/scenes/models/captioner
    """
    sources = None if data is None else Sources(data, coco, only, maps, pointing, n)
    try:
        click.echo(write_card(folder, n, pointing_n, sources))
    except VlxError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()

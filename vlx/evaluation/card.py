"""The model card of an embedded model, made from measurements: ``python -m vlx.evaluation.card FOLDER``."""

import json
from pathlib import Path

import click

from vlx.evaluation import answer_card, caption_card
from vlx.tasks.shared.folder import task_of


def write_card(folder: Path, n: int, pointing_n: int) -> Path:
    """Measure the model in ``folder`` and write ``card.md`` and ``measured.json`` beside its weights."""
    measure = answer_card.measure if task_of(folder) == "vqa" else caption_card.measure
    text, measured = measure(folder, n, pointing_n)
    (folder / "measured.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    card = folder / "card.md"
    card.write_text(text, encoding="utf-8")
    return card


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--n", default=2000, show_default=True, help="Held-out scenes for the captions or answers.")
@click.option("--pointing-n", default=500, show_default=True, help="Held-out scenes for the pointing game.")
def main(folder: Path, n: int, pointing_n: int) -> None:
    """Measure an embedded model and write its model card.

    Example: python -m vlx.evaluation.card vlx/scenes/models/captioner
    """
    click.echo(write_card(folder, n, pointing_n))


if __name__ == "__main__":
    main()

"""Does what vlx explains of each family of transformers stand up to its self-test? ``python -m benchmarks.families``.

Tiny random models of all families, saved with their processors and loaded again as a model from the hub is. The table
in ``docs/families.md`` is what ``--write`` writes.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

import vlx
from vlx import scenes
from vlx.protocol.task import Task
from vlx.selftest.result import TOLD
from vlx.selftest.run import self_test
from vlx.tasks.huggingface import tiny

CELLS = 16  # that the patch probe tries in half precision
PAGE = Path(__file__).resolve().parents[1] / "docs" / "families.md"
HEAD = """# Families of Hugging Face models

What `python -m benchmarks.families --write` found: the tiny model of each family (`vlx.tasks.huggingface.tiny`) is
loaded from a folder as one from the hub is, and tests itself on a picture of 256 × 180 pixels. A tiny model proves
plumbing, not the quality of a map: run `vlx models --check hf:NAME` once for the model you explain.

| family | class | layer | A here | default | forced | stock | gradients agree | patches found | float32 | bfloat16 |
|---|---|---|---|---|---|---|---|---|---|---|
"""
NOTES = """
*forced*: largest difference, in nats, between the log-probability of a word (an answer) under teacher forcing at the
feature map and what generation saw. *stock*: the same between what vlx says and what the untouched model's own
`generate` says of its own processor's inputs. *gradients agree*: largest relative difference of the vectorised
gradients from a loop. *patches found*: patches painted on the picture that change the right cell most, on this picture
and on one of 3:2.
"""


def row(family: str, folder: Path) -> tuple[str, bool]:
    """The table's row of a family, and whether it passed."""
    task: Task = vlx.load(f"hf:{tiny.save(family, folder / family)}")
    picture = scenes.draw(10_000_021, size=256).image.crop((0, 0, 256, 180))
    features = task.features(task.place(task.prepare(picture)[None]))
    found = self_test(task, picture)
    half = self_test(vlx.load(f"hf:{folder / family}", dtype="bfloat16"), picture, cells=CELLS)
    known = {one.name: one for one in found.rows}
    same = known["split"] if known["forced = generated"].value is None else known["forced = generated"]
    patches = [known[name].value for name in ("patch probe", "patch probe 3:2")]
    h, w = features.A.shape[-2:]
    cells = (
        family,
        type(task.model).__name__,  # type: ignore[attr-defined]
        getattr(task, "layer", features.layer),
        f"{h} × {w}",
        task.defaults.method,
        f"{same.value:.0e}",
        f"{known['stock model'].value or 0:.0e}",
        f"{known['gradients agree'].value:.0e}",
        ", ".join(f"{100 * (value or 0):.0f} %" for value in patches),
        TOLD[found.verdict],
        TOLD[half.verdict],
    )
    return f"| {' | '.join(cells)} |", found.passed and half.passed


@click.command()
@click.option("--write", is_flag=True, help="Write docs/families.md.")
def main(write: bool) -> None:
    """The self-test of all families, in float32 and in bfloat16."""
    with TemporaryDirectory() as folder:
        rows = [row(family, Path(folder)) for family in (*tiny.FAMILIES, *tiny.CHATS, *tiny.TOWERS)]
    page = HEAD + "\n".join(line for line, _ in rows) + "\n" + NOTES
    click.echo(page)
    if write:
        PAGE.write_text(page, encoding="utf-8")
    if not all(passed for _, passed in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

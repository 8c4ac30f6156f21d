"""The tables of Grad-CAM's paper, one command each: ``python -m benchmarks.paper [--only pointing,seeds] [--n 10]``.

Every table is a ``vlx evaluate`` whose run stays under ``--out`` and goes on where it was stopped; docs/paper.md is
made of the runs that are whole (`benchmarks.paper_runs` says which, `benchmarks.paper_page` how they are told).
"""

import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.paper_page import Outcome, kept, page
from benchmarks.paper_runs import COCO, REAL, Run, Section
from benchmarks.paper_sections import SECTIONS
from vlx.errors import InputError
from vlx.evaluation import read_run
from vlx.evaluation.batches import Ran
from vlx.evaluation.records import Columns
from vlx.evaluation.run_file import read
from vlx.files.whole import write_text

DONE = "done.json"  # beside a run that is whole: the command and its CPU seconds
PAGE = Path("docs/paper.md")
SHOWN = {REAL: "$VLX_REAL", COCO: "$COCO"}  # how the page names the user's folders


def chosen(only: str) -> list[Section]:
    """The sections of these names, with commas between them; all for none. Raises BadParameter for another name."""
    known = [section.name for section in SECTIONS]
    names = [name.strip() for name in only.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise click.BadParameter(f"no section {name!r}; known: {', '.join(known)}", param_hint="--only")
    return [section for section in SECTIONS if not names or section.name in names]


def outcome(run: Run, places: dict[str, str], most: int | None, out: Path, *, start: bool) -> Outcome:
    """What came of a run, made now where ``start`` and where it is not whole yet."""
    words = run.words(places, most)
    told = Outcome(" ".join(["vlx", *run.words(SHOWN, most)]))
    for need in run.needs:
        if not Path(places[need]).exists():
            return replace(told, why=f"{places[need]} is not there; give --{need} DIR")
    folder = out / f"{run.name}-{words[-1]}"
    command = shlex.join(["vlx", *words])
    known = _done(folder, command)
    if known is None and start:
        why, seconds = _made([*words, "--out", str(folder), "--resume"], places[REAL])
        if why:
            return replace(told, why=why)
        write_text(folder / DONE, json.dumps({"command": command, "seconds": round(seconds, 1)}) + "\n")
        known = seconds
    if known is None:
        return replace(told, why="not yet")
    try:
        return replace(told, result=read_run(folder), seconds=known, columns=_columns(folder))
    except InputError as error:
        return replace(told, why=str(error))


def _columns(folder: Path) -> dict[str, Columns]:
    """The records of a run, by metric."""
    ran = Ran({})
    for batch in read(folder)[1]:
        ran.add(batch)
    return ran.columns


def _done(folder: Path, command: str) -> float | None:
    """The CPU seconds of a run that is whole and of this command; None for any other."""
    try:
        told = json.loads((folder / DONE).read_text(encoding="utf-8"))
        return float(told["seconds"]) if told["command"] == command else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made(words: list[str], real: str) -> tuple[str, float]:
    """Run the command: why it failed, or "", and the CPU seconds that it took."""
    before = _seconds()
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "VLX_REAL": real}
    command = [sys.executable, "-m", "vlx", *words]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=settings)
    lines = [line.strip() for line in ran.stderr.splitlines() if line.strip()]
    why = (lines[-1] if lines else f"exit {ran.returncode}") if ran.returncode else ""
    return why.removeprefix("Error: "), _seconds() - before


def _seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def outcomes(
    places: dict[str, str], most: int | None, out: Path, wanted: list[Section]
) -> Iterator[tuple[str, Outcome]]:
    """What came of every run, by name; only those of the wanted sections are started."""
    for section in SECTIONS:
        for run in section.runs:
            if section in wanted:
                click.echo(f"{section.name}: {run.name}", err=True)
            made = outcome(run, places, most, out, start=section in wanted)
            if section in wanted:
                click.echo(f"    {made.why or f'{made.seconds:.0f} CPU seconds'}", err=True)
            yield run.name, made


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/paper"), show_default=True)
@click.option("--only", default="", help="Sections, with commas; the others are told as their runs stand.")
@click.option("--n", "most", type=click.IntRange(min=1), help="At most so many pictures in each run.")
@click.option("--real", default="../shared/real", show_default=True, help="Folder of mobilenet_v2/ and photos/.")
@click.option("--coco", default="data/coco", show_default=True, help="Folder of COCO's pictures, outlines, captions.")
@click.option("--tell", is_flag=True, help="Start no run: tell those that are whole, and what the page has of others.")
@click.option("--page", "target", type=click.Path(path_type=Path), default=PAGE, show_default=True)
def main(out: Path, only: str, most: int | None, real: str, coco: str, tell: bool, target: Path) -> None:
    """Redo the tables of Grad-CAM's paper and write them as a page."""
    before = target.read_text(encoding="utf-8") if target.is_file() else ""
    made = {
        name: replace(one, kept=kept(before, one.command))
        for name, one in outcomes({REAL: real, COCO: coco}, most, out, [] if tell else chosen(only))
    }
    write_text(target, page(SECTIONS, made, before))
    click.echo(f"{target}: {sum(bool(one.result or one.kept) for one in made.values())} of {len(made)} tables")


if __name__ == "__main__":
    main()

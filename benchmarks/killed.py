"""A run that is killed: ``python -m benchmarks.killed [caption|dissect] [--n 40] [--kills 20] [--seed 0]``.

``vlx caption`` runs over drawn scenes and is ended by SIGKILL at random moments, from its first second on, again and
again; then it may end. Counted are results that were lost (done before a kill and not after it), repeated (explained
again though done), and files that differ from those of a run that was never cut off (the manifest without its seconds).

``vlx dissect`` over n scenes is killed in the same way, its counts kept behind every batch; once its table is there it
is begun anew. Told is how often a checkpoint was there and went back, what was left behind, and whether every table is
that of a run that was never cut off, byte for byte.
"""

import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click

from vlx import scenes
from vlx.files import hdf5
from vlx.folder.manifest import NAME

MODEL = "scenes/captioner"
ORDER = {"thresholds": "1", "masks": "2"}
OFTEN = """
from vlx.cli import main
from vlx.neuron_names.dissection import checkpoint
checkpoint.EVERY = 0
main()
"""


def started(pictures: Path, out: Path) -> subprocess.Popen[bytes]:
    """``vlx caption`` over a folder."""
    given = [sys.executable, "-m", "vlx", "caption", str(pictures), "--model", MODEL, "-o", str(out), "--quiet"]
    return subprocess.Popen(given)


def done(out: Path) -> Counter[str]:
    """How often each item is told to be done; a line that is cut off is none."""
    if not (out / NAME).exists():
        return Counter()
    whole = [line for line in (out / NAME).read_bytes().split(b"\n")[1:-1] if line]
    lines = [json.loads(line) for line in whole]
    return Counter(line["key"] for line in lines if line["status"] == "done")


def files(out: Path) -> dict[str, bytes]:
    """Every file by name; the manifest without its seconds."""
    found = {path.name: path.read_bytes() for path in out.iterdir()}
    found[NAME] = re.sub(rb',"seconds":[\d.e-]+', b"", found[NAME])
    return found


def dissecting(out: Path, n: int) -> subprocess.Popen[bytes]:
    """``vlx dissect`` over drawn scenes."""
    given = ["dissect", MODEL, f"scenes:{n}", "-o", str(out), "--quantile", "0.01"]
    return subprocess.Popen([sys.executable, "-c", OFTEN, *given])


def reached(part: Path) -> tuple[str, int]:
    """The pass and the batches that a checkpoint tells to be done; raises for one that is not whole."""
    with hdf5.reading(part, "dissection", (), most=None) as file:
        return ORDER[hdf5.text(file["phase"])], int(file["done"][()])


def dissect(n: int, kills: int, rng: random.Random) -> str:
    """The line about dissections."""
    there = back = 0
    tables: list[bool] = []
    with tempfile.TemporaryDirectory() as folder:
        fresh, out = Path(folder) / "fresh.h5", Path(folder) / "own" / "names.h5"
        out.parent.mkdir()
        part, before = out.with_name("names.h5.part"), ("", 0)
        began = time.perf_counter()
        dissecting(fresh, n).wait()
        took = time.perf_counter() - began
        for number in range(kills + 1):
            run = dissecting(out, n)
            if number < kills:
                time.sleep(rng.uniform(0.2, 0.8) * took)
                run.kill()
            run.wait()
            now = reached(part) if part.exists() else ("", 0)
            there, back, before = there + part.exists(), back + (now < before and not out.exists()), now
            if out.exists():
                tables.append(out.read_bytes() == fresh.read_bytes())
                out.unlink()
        left = sorted(path.name for path in out.parent.iterdir())
    return (
        f"{kills} kills, a checkpoint there after {there}, gone back {back}; {len(tables)} tables, {sum(tables)} of "
        f"them the same; left behind {left}"
    )


@click.command()
@click.argument("command", type=click.Choice(["caption", "dissect"]), default="caption")
@click.option("--n", default=40, show_default=True, help="Scenes.")
@click.option("--kills", default=20, show_default=True, help="Times that the run is killed.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def main(command: str, n: int, kills: int, seed: int) -> None:
    """Print what was lost, repeated and different."""
    rng, lost, repeated = random.Random(seed), 0, 0
    if command == "dissect":
        click.echo(dissect(n, kills, rng))
        return
    with tempfile.TemporaryDirectory() as folder:
        pictures, out, fresh = (Path(folder) / name for name in ("pictures", "out", "fresh"))
        pictures.mkdir()
        for number in range(n):
            scenes.draw(scenes.HELD_OUT + number, size=96).image.save(pictures / f"{number:03}.png")
        began = time.perf_counter()
        started(pictures, fresh).wait()
        took = time.perf_counter() - began
        before: Counter[str] = Counter()
        for _ in range(kills):
            run = started(pictures, out)
            time.sleep(rng.uniform(0.2, 0.5) * took)
            run.kill()
            run.wait()
            after = done(out)
            lost += len(before.keys() - after.keys())
            repeated += sum(count > 1 for count in after.values())
            before = after
        last = len(before)
        started(pictures, out).wait()
        own, whole = files(out), files(fresh)
    differ = sorted(name for name in {*own, *whole} if own.get(name) != whole.get(name))
    click.echo(f"{kills} kills, {last} of {n} done by then: lost {lost}, repeated {repeated}, differing {differ}")


if __name__ == "__main__":
    main()

"""A folder run that is killed: ``python -m benchmarks.killed [--n 40] [--kills 20] [--seed 0]``.

``vlx caption`` runs over drawn scenes and is ended by SIGKILL at random moments, from its first second on, again and
again; then it may end. Counted are results that were lost (done before a kill and not after it), repeated (explained
again though done), and files that differ from those of a run that was never cut off (the manifest without its seconds).
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
from vlx.folder.manifest import NAME

MODEL = "scenes/captioner"


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


@click.command()
@click.option("--n", default=40, show_default=True, help="Scenes.")
@click.option("--kills", default=20, show_default=True, help="Times that the run is killed.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def main(n: int, kills: int, seed: int) -> None:
    """Print what was lost, repeated and different."""
    rng, lost, repeated = random.Random(seed), 0, 0
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
        reached = len(before)
        started(pictures, out).wait()
        own, whole = files(out), files(fresh)
    differ = sorted(name for name in {*own, *whole} if own.get(name) != whole.get(name))
    click.echo(f"{kills} kills, {reached} of {n} done by then: lost {lost}, repeated {repeated}, differing {differ}")


if __name__ == "__main__":
    main()

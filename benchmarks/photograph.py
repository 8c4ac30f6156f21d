"""What a photograph costs, cold and warm: ``python -m benchmarks.photograph``.

Cold is a new process that imports vlx, loads `photos/captioner` and explains one photograph; warm is another photograph
in the same process. Both on the wall, caption and maps alone, and with all that `vlx.explain` tries; also as in an
environment without the extra `language`, whose spaCy takes more than a second to load. The goal is 3 s cold and .6 s
warm for caption and maps, on two cores that do nothing else.
"""

import statistics
import subprocess
import sys
import time

import click
from rich.console import Console
from rich.table import Table

BARE = "seen=False, check=False"
WAYS = {
    "caption and maps": ("", BARE),
    "the same without spaCy": ("import sys; sys.modules['spacy'] = None", BARE),
    "everything": ("", 'names="shipped"'),
}
COLD, WARM = 3.0, 0.6

PROGRAM = """
{before}
import time
import vlx
from vlx import photos
task = vlx.load("photos/captioner")
vlx.explain(task, photos.example("cat"), {options})
print(time.time())
rounds = []
for _ in range({rounds}):
    start = time.perf_counter()
    vlx.explain(task, photos.example("astronaut"), {options})
    rounds.append(time.perf_counter() - start)
print(*rounds)
"""


def measured(before: str, options: str, rounds: int) -> tuple[float, list[float]]:
    """Seconds from the start of a process to its first explanation, and those of ``rounds`` later ones."""
    start = time.time()
    program = PROGRAM.format(before=before, options=options, rounds=rounds)
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, later = told.stdout.splitlines()
    return float(first) - start, [float(one) for one in later.split()]


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Warm explanations, and cold starts (a third of them).")
def main(rounds: int) -> None:
    """Time a photograph, cold and warm.

    Example: python -m benchmarks.photograph
    """
    table = Table("", "cold, s", "warm, s", "warm, least to most")
    for name, (before, options) in WAYS.items():
        runs = [measured(before, options, rounds) for _ in range(max(rounds // 3, 1))]
        warm = sorted(one for _, later in runs for one in later)
        cold = statistics.median(one for one, _ in runs)
        table.add_row(name, f"{cold:.2f}", f"{statistics.median(warm):.2f}", f"{warm[0]:.2f} to {warm[-1]:.2f}")
    Console().print(table, f"goal for caption and maps: {COLD} cold, {WARM} warm")


if __name__ == "__main__":
    main()

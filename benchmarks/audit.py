"""What an audit costs beside `vlx evaluate` with one method: ``python -m benchmarks.audit [--n 2000]``.

CPU seconds of one process, in turn, on the same drawn scenes: `vlx.audit` with its findings, trials and page, and
`vlx.evaluation.evaluate` with the pointing game of the captioner's own method. The goal is 1.5 times.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click

import vlx
from vlx.evaluation import evaluate

FIRST = 10_000_000


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds that a call takes."""
    before = time.process_time()
    run()
    return time.process_time() - before


@click.command()
@click.option("--n", type=click.IntRange(min=1), default=2000, show_default=True, help="Scenes.")
@click.option("--model", default="scenes/captioner", show_default=True)
def main(n: int, model: str) -> None:
    """Print both costs and their ratio."""
    task, data = vlx.load(model), f"scenes:{n}:{FIRST}"
    evaluate(task, f"scenes:16:{FIRST}", methods=["default"])  # what is loaded and measured once
    measured = seconds(lambda: evaluate(task, data, methods=["default"]))
    with tempfile.TemporaryDirectory() as folder:
        audited = seconds(lambda: vlx.audit(task, data, out=Path(folder) / "run"))
    click.echo(f"{n} scenes, {model}: evaluate {measured:.1f} s, audit {audited:.1f} s, {audited / measured:.2f} times")


if __name__ == "__main__":
    main()

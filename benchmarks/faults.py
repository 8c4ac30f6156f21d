"""Which faults does the self-test notice, and by which row? ``python -m benchmarks.faults``.

Twelve faults, each planted in a sound model (`benchmarks.planted`), some more of their kinds, and the sound models
themselves, which must pass. Ends with 1 when a fault went unnoticed or a sound model did not pass.
"""

import time

import click
from rich.table import Table

from benchmarks.clock import console_for_tables
from benchmarks.planted import CELLS, FAULTS, OTHERS, SOUND, Fault, picture, sound, tested


@click.command()
@click.option("--all", "more", is_flag=True, help="Other faults of the same kinds, too.")
def main(more: bool) -> None:
    """The table of planted faults."""
    table = Table("fault", "planted in", "verdict", "noticed by", "s", box=None)
    asked, noticed = (*FAULTS, *(OTHERS if more else ())), 0
    for fault in asked:
        noticed += _row(table, fault)
    passed = 0
    for model in SOUND:
        began = time.perf_counter()
        found = sound(model).self_test(picture(), cells=CELLS)
        passed += found.passed
        rows = ", ".join(row.name for row in (*found.failed, *found.open))
        table.add_row("none", model, found.verdict, rows, f"{time.perf_counter() - began:.1f}")
    console = console_for_tables()
    console.print(table)
    console.print(f"{noticed} of {len(asked)} faults noticed; {passed} of {len(SOUND)} sound models pass")
    if (noticed, passed) != (len(asked), len(SOUND)):
        raise SystemExit(1)


def _row(table: Table, fault: Fault) -> bool:
    began = time.perf_counter()
    found = tested(fault)
    rows = ", ".join(row.name for row in found.failed)
    table.add_row(fault.name, fault.model, found.verdict, rows, f"{time.perf_counter() - began:.1f}")
    return found.verdict == "failed"


if __name__ == "__main__":
    main()

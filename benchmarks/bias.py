"""Do audits tell biased models from balanced ones? ``python -m benchmarks.bias`` audits ten of each (examples/bias.py).

A seed is a training set and a model of it. Printed is how well ``strength`` tells the biased models (area under the ROC
curve; 1/2 is a coin), in how many of them the audit finds that a class leans on the place, and what it finds in
balanced models, of which a share of ``alpha`` may have a false lean. Thresholds were chosen on seeds 100 to 119
(``--first 100``); seeds 0 to 9 judge. All models are tried on the same ``--pictures``.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import click
from rich.table import Table

import vlx
from benchmarks.clock import console_for_tables
from examples import bias
from vlx.auditing import Audit
from vlx.evaluation.intervals import wilson
from vlx.evaluation.metrics.looking import roc_area

WANTED = 0.95  # of the area
MODELS = {"biased": bias.biased, "balanced": bias.balanced}


def leans(audit: Audit) -> set[tuple[str, str]]:
    """The classes that lean on a concept by the audit's findings, each with the concept."""
    return {(one.answer, one.concept) for one in audit.findings if (one.kind, one.level) == ("leans", "finding")}


def names_the_bias(audit: Audit) -> bool:
    """Whether a class is found to lean on the place that it has in the biased set."""
    return bool(leans(audit) & {(kind, place) for place, kind in bias.USUAL.items()})


def rows(seeds: Sequence[int], audits: Sequence[Audit]) -> Iterator[tuple[str, ...]]:
    """A line a model."""
    for seed, audit in zip(seeds, audits, strict=True):
        found = Counter(one.kind for one in audit.findings if one.level == "finding")
        told = ", ".join(f"{kind} {count}" for kind, count in found.items()) or "nothing"
        pairs = ", ".join(f"{answer} on {concept}" for answer, concept in sorted(leans(audit)))
        yield str(seed), f"{audit.right / audit.judged:.3f}", f"{audit.strength:.2f}", told, pairs


def verdict(biased: Sequence[Audit], balanced: Sequence[Audit]) -> Iterator[str]:
    """The figures that are judged, each with its interval where it has one."""
    area = roc_area([audit.strength for audit in balanced], [audit.strength for audit in biased])
    yield f"strength tells biased from balanced with AUC {area:.3f} (wanted: {WANTED})"
    for name, audits, test in (
        ("biased models whose lean on the place is found", biased, names_the_bias),
        ("balanced models with a false lean", balanced, lambda audit: bool(leans(audit))),
        ("balanced models with any finding", balanced, lambda audit: any(f.level == "finding" for f in audit.findings)),
    ):
        hits = sum(map(test, audits))
        low, high = wilson(hits, len(audits))
        yield f"{name}: {hits} of {len(audits)} ({low:.2f} to {high:.2f})"


@click.command()
@click.option("--first", default=0, show_default=True, help="First seed; 100 to 119 are for choosing.")
@click.option("--models", default=10, show_default=True, help="Models of each kind.")
@click.option("--pictures", default=600, show_default=True)
def main(first: int, models: int, pictures: int) -> None:
    """Audit biased and balanced models, and judge the audits."""
    began, console = time.process_time(), console_for_tables()
    data, seeds, audits = bias.pictures(pictures), range(first, first + models), dict[str, list[Audit]]()
    for name, make in MODELS.items():
        audits[name] = [vlx.audit(make(seed), data) for seed in seeds]
        table = Table("seed", "right", "strength", "found", "leans", title=f"{name} models, {pictures} pictures")
        for row in rows(seeds, audits[name]):
            table.add_row(*row)
        console.print(table)
    print(*verdict(audits["biased"], audits["balanced"]), sep="\n")
    print(f"alpha {audits['biased'][0].alpha}; {time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()

"""Options of single metrics: how far a hit may lie beside its thing, and the second model that some compare with."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vlx.evaluation import Metric

WITHIN = re.compile(r"pointing-[0-9]+(\.[0-9]+)?px")  # the pointing game with a tolerance, as it is called


@dataclass(frozen=True)
class MetricWish:
    """What single metrics are asked besides."""

    tolerance: float | None
    twin: str | None
    against: str | None
    towards: str | None


OPTIONS = (
    click.option(
        "--tolerance",
        type=click.FloatRange(min=0),
        help="Of pointing: pixels that a hit may lie beside its thing (TorchRay: 15).",
    ),
    click.option("--twin", metavar="MODEL", help="Of labels: the same model, trained on shuffled labels."),
    click.option("--against", metavar="MODEL", help="Of trust: the model that is compared with."),
    click.option("--towards", metavar="LABEL", help="Of adversarial: the class that pictures are changed to."),
)


def refuse_misfits(metrics: Sequence[str], asked: MetricWish) -> None:
    """Raises UsageError for an option whose metric is not measured."""
    of = {"tolerance": "pointing", "twin": "labels", "against": "trust", "towards": "adversarial"}
    for option, metric in of.items():
        if getattr(asked, option) is not None and metric not in metrics:
            raise click.UsageError(f"--{option} goes with --metrics {metric}")


def chosen(metrics: Sequence[str], asked: MetricWish, loading: Mapping[str, Any]) -> "list[str | Metric]":
    """The metrics, each as its options say; models are loaded as the one that is measured."""
    import vlx
    from vlx.evaluation.metrics.adversarial import adversarial
    from vlx.evaluation.metrics.labels import labels
    from vlx.evaluation.metrics.pointing import pointing
    from vlx.evaluation.metrics.trust import trust

    told: dict[str, Metric] = {}
    if asked.tolerance is not None:
        told["pointing"] = pointing(asked.tolerance)
    if asked.twin is not None:
        told["labels"] = labels(vlx.load(asked.twin, **loading))
    if asked.against is not None:
        told["trust"] = trust(vlx.load(asked.against, **loading))
    if asked.towards is not None:
        told["adversarial"] = adversarial(asked.towards)
    return [told.get(name, name) for name in metrics]

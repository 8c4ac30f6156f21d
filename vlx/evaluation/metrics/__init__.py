"""Measures: of maps, of looking, of reasons, of captions. A measure is a file here and a line in `METRICS`."""

import re

from vlx.evaluation.metric import Metric
from vlx.evaluation.metrics.adversarial import ADVERSARIAL
from vlx.evaluation.metrics.captions import CAPTIONS
from vlx.evaluation.metrics.captum_measures import INFIDELITY, SENSITIVITY
from vlx.evaluation.metrics.check import CHECK
from vlx.evaluation.metrics.counterfactual import COUNTERFACTUAL
from vlx.evaluation.metrics.deletion import DELETION, INSERTION
from vlx.evaluation.metrics.discrimination import DISCRIMINATION
from vlx.evaluation.metrics.energy import ENERGY, IN_OUT
from vlx.evaluation.metrics.faithfulness import OCCLUSION
from vlx.evaluation.metrics.hallucination import HALLUCINATION
from vlx.evaluation.metrics.human import HAT
from vlx.evaluation.metrics.labels import LABELS
from vlx.evaluation.metrics.localization import LOCALIZATION, MAXBOX
from vlx.evaluation.metrics.looking import LOOKING
from vlx.evaluation.metrics.pointing import FALL, POINTING
from vlx.evaluation.metrics.pointing import pointing as _pointing
from vlx.evaluation.metrics.randomization import RANDOMIZATION
from vlx.evaluation.metrics.reasons import BECAUSE
from vlx.evaluation.metrics.rejection import REJECTION
from vlx.evaluation.metrics.road import ROAD
from vlx.evaluation.metrics.seeds import SEEDS
from vlx.evaluation.metrics.trust import TRUST

__all__ = ["METRICS", "named"]

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(POINTING, FALL, OCCLUSION, LOOKING, BECAUSE, CAPTIONS, DELETION, INSERTION, ROAD),
        *(CHECK, RANDOMIZATION, LABELS, HALLUCINATION),
        *(COUNTERFACTUAL, ADVERSARIAL, INFIDELITY, SENSITIVITY),
        *(ENERGY, IN_OUT, LOCALIZATION, MAXBOX, SEEDS, REJECTION, DISCRIMINATION, HAT, TRUST),
    )
}


def named(name: str) -> Metric | None:
    """The metric of this name, those with an option in their name among them; None for any other.

    >>> named("pointing-15px").name
    'pointing-15px'
    """
    within = re.fullmatch(r"pointing-([0-9.]+)px", name)
    return METRICS.get(name) if within is None else _pointing(float(within[1]))

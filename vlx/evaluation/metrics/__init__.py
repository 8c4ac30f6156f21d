"""Measures: of maps, of looking, of reasons, of captions. A measure is a file here and a line in `METRICS`."""

from vlx.evaluation.metric import Metric
from vlx.evaluation.metrics.adversarial import ADVERSARIAL
from vlx.evaluation.metrics.captions import CAPTIONS
from vlx.evaluation.metrics.captum_measures import INFIDELITY, SENSITIVITY
from vlx.evaluation.metrics.check import CHECK
from vlx.evaluation.metrics.counterfactual import COUNTERFACTUAL
from vlx.evaluation.metrics.deletion import DELETION, INSERTION
from vlx.evaluation.metrics.faithfulness import OCCLUSION
from vlx.evaluation.metrics.labels import LABELS
from vlx.evaluation.metrics.looking import LOOKING
from vlx.evaluation.metrics.pointing import FALL, POINTING
from vlx.evaluation.metrics.randomization import RANDOMIZATION
from vlx.evaluation.metrics.reasons import BECAUSE
from vlx.evaluation.metrics.road import ROAD

__all__ = ["METRICS"]

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(POINTING, FALL, OCCLUSION, LOOKING, BECAUSE, CAPTIONS, DELETION, INSERTION, ROAD),
        *(
            CHECK,
            RANDOMIZATION,
            LABELS,
        ),
        *(COUNTERFACTUAL, ADVERSARIAL, INFIDELITY, SENSITIVITY),
    )
}

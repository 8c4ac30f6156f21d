"""vlx: why a vision-language model said each word.

    >>> task = vlx.load("scenes/captioner")
    >>> why = vlx.explain(task, "picture.png")
    >>> why["star"].heatmap  # float32 [H, W] on your picture, in nats per cell

The names in ``__all__`` are loaded when they are first used: ``import vlx`` by itself costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlx import evaluation, neuron_names, scenes, tasks
    from vlx.auditing import audit
    from vlx.comparing import compare
    from vlx.errors import Failure, VlxError
    from vlx.explanation.records import Explanation, WordExplanation
    from vlx.models import load
    from vlx.pipeline.explain import explain, explain_many
    from vlx.pipeline.recommend import recommend
    from vlx.report.overlaid import overlay

__version__ = "0.1.0"

__all__ = [
    "Explanation",
    "Failure",
    "VlxError",
    "WordExplanation",
    "__version__",
    "audit",
    "compare",
    "evaluation",
    "explain",
    "explain_many",
    "load",
    "neuron_names",
    "overlay",
    "recommend",
    "scenes",
    "tasks",
]

# No module of vlx may bear the name of a function here: importing the module would put it in the function's place.
_HOMES = {
    "Explanation": "vlx.explanation",
    "Failure": "vlx.errors",
    "VlxError": "vlx.errors",
    "WordExplanation": "vlx.explanation",
    "audit": "vlx.auditing",
    "compare": "vlx.comparing",
    "explain": "vlx.pipeline.explain",
    "explain_many": "vlx.pipeline.explain",
    "load": "vlx.models",
    "overlay": "vlx.report.overlaid",
    "recommend": "vlx.pipeline.recommend",
}
_MODULES = ("evaluation", "neuron_names", "scenes", "tasks")

if not TYPE_CHECKING:  # a type checker would take any name at all for granted

    def __getattr__(name: str) -> object:
        if name in _HOMES:
            value = globals()[name] = getattr(import_module(_HOMES[name]), name)
            return value
        if name in _MODULES:
            return import_module(f"vlx.{name}")
        raise AttributeError(f"module 'vlx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

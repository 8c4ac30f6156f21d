"""Running a classifier on prepared pictures: by itself or by its owner's ``call``, and what it says when it cannot."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.tasks.shared.wrapped import devices, passes, short

Call = Callable[[nn.Module, Tensor], Any]


class Calling:
    """``model`` on pictures [B, C, H, W]; ``call(model, pictures)`` gives it what else it needs, by default nothing."""

    def __init__(self, model: nn.Module, call: Call | None) -> None:
        if call is not None and not callable(call):
            raise ModelError(f"call={call!r} is no function; write call=lambda model, x: model(x, other)")
        self.model, self.call = model, call

    def __call__(self, pictures: Tensor, *, tell: bool = True) -> Any:
        """What the model gives. With ``tell`` what it raises becomes a ModelError that says how to bind other inputs.

        The pictures may be changed in place.
        """
        try:
            return self.model(pictures) if self.call is None else self.call(self.model, pictures)
        except Exception as error:  # a model's code raises anything
            if not tell or passes(error):
                raise
            raise ModelError(self._told(pictures, error)) from error

    def _told(self, pictures: Tensor, error: Exception) -> str:
        why, name, given, places = short(error), type(self.model).__name__, list(pictures.shape), devices(self.model)
        if len(places) > 1:
            return f"{name} has parts on {' and '.join(places)} and does not run ({why}); move it to one device first"
        if self.call is not None:
            return f"call= failed with pictures {given} ({why}); give every other input len(x) rows"
        return (
            f"{name} does not run on prepared pictures {given} ({why}). If it takes more, bind it: "
            "call=lambda model, x: model(x, other), with len(x) rows of each; else mend prepare"
        )

"""`Dense`: a model that gives every pixel scores of classes, explained for a region of the picture."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vlx.errors import InputError, ModelError
from vlx.pictures.opening import open_image
from vlx.pictures.placement import Placement
from vlx.pictures.prepare import Prepare, measure_frame
from vlx.pictures.receptive_fields import Tracer
from vlx.protocol.leaves import part
from vlx.protocol.task import Features, Task
from vlx.tasks.beyond.regions import RegionMean, as_mask, dense, laid, shares
from vlx.tasks.classification.classifier import Classifier

WHERE = "say which pixels: vlx.explain(task, picture, answer=…, where=mask), or task.within(picture, where=mask)"


class Dense(Classifier):
    """A model with a dense output [B, C, H', W'], split at ``layer``: the score of a class is its mean over a region.

    That is Seg-Grad-CAM (2002.11434) with the mean for its sum, which changes the scale alone. ``where`` of
    `vlx.explain` is the region, bool [H, W] on the picture as the user has it; without it the pixels that the model
    gives to the class of ``answer``, or, without that too, to the class with the most of them. ``leaf``: the part of
    the output that is meant, e.g. "out" or "logits". Other options are those of `Classifier`.

    >>> task = Dense(deeplab, "backbone.layer4", labels, prepare, leaf="out")
    >>> vlx.explain(task, "street.jpg", answer="car", where=mask)
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        labels: Sequence[str] | None = None,
        prepare: Prepare | None = None,
        **more: Any,
    ) -> None:
        if more.get("outputs") is not None:
            raise ModelError("Dense reads its output [B, C, H, W] itself: leave outputs= out, name a part with leaf=")
        super().__init__(model, layer, labels, prepare, **more)
        self._leaf, self._for = (
            more.get("leaf"),
            partial(Classifier, model, layer, self.labels.names, self.prepare, **more),
        )

    def within(self, image: Any, where: Any = None, answer: Any = None) -> Task:
        """The same model for one region of this picture; see `vlx.protocol.powers.Regional`."""
        picture = open_image(image).image
        size, inputs = (picture.height, picture.width), self.place(self.prepare(picture)[None])
        self.refuse_training()
        with torch.inference_mode(False), torch.no_grad():
            given, grid = Tracer().run(self._scores, inputs)
        if where is not None:
            cells = shares(as_mask(where, size), Placement(laid(grid), measure_frame(self.prepare, size)))
            told, region = f"{as_mask(where, size).mean():.1%} of the picture", torch.from_numpy(cells)
        else:
            number, region = self._own(given[0], answer)
            told = f"the pixels that the model gives to {self.labels[number]}"
        notes = (*self.notes, f"explained is a region: the mean of its logits over {told}")
        return self._for(outputs=(RegionMean(region.to(given)).mean, "value"), notes=notes)

    def features(self, inputs: Tensor) -> Features:
        """Raises InputError: what is explained of a dense output is a region, see `within`."""
        raise InputError(f"{self.name} has a dense output; {WHERE}")

    def _own(self, given: Tensor, answer: Any) -> tuple[int, Tensor]:
        """The class that is asked for, or has most pixels, and the shares [H', W'] of those the model gives to it."""
        if isinstance(answer, list | tuple):
            raise InputError("several answers are compared in one region: say which pixels by where=mask")
        chosen, count = given.argmax(0), len(given)
        number = int(chosen.flatten().mode().values) if answer is None else self.labels.find(answer, count)
        own = (chosen == number).double()
        if not own.any():
            raise InputError(f"the model gives no pixel of this picture to {self.labels[number]}: say where=mask")
        return number, own / own.sum()

    def _scores(self, inputs: Tensor) -> Tensor:
        output = self._split.plain(inputs.clone())
        return dense(output if self._leaf is None else part(output, str(self._leaf), self.name))

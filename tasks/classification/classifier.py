"""`Classifier`: any image classifier, split at a named layer, as a task that can be explained."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional

from vlx.errors import InputError, ModelError
from vlx.pictures.receptive_fields import Given, Laid, Tracer, Unplaced
from vlx.protocol.outputs import Outputs, pair_of, tried, unlike
from vlx.protocol.stocked import Said
from vlx.protocol.targets import Prediction, Query, Reads, Target
from vlx.protocol.task import Defaults, Features
from vlx.tasks.classification.calling import Call
from vlx.tasks.classification.labels import Labels
from vlx.tasks.classification.layers import RANKS
from vlx.tasks.classification.split import Split
from vlx.tasks.shared import wrapped
from vlx.tasks.shared.answers import answered
from vlx.tasks.shared.networks import Networks

ALTERNATIVES = 5
RESIZE, CROP = 256, 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Classifier(Networks):
    """A classifier split at the layer called ``layer``, whose output is its feature map A [B, K, h, w].

    ``model``: any ``nn.Module``, pictures [B, C, H, W] → logits [B, classes], in eval mode; left as it is. ``layer``:
    a submodule's name as in ``model.named_modules()``; a tuple or dict that holds a map will do.
    ``labels``: the classes' names by number, synonyms parted by commas. ``prepare``: PIL RGB → [C, H, W]; without it
    ImageNet's usual way: shorter side to 256 pixels, the centre 224 × 224 of it, ImageNet's mean and deviation.
    ``blank``: RGB in [0, 1] of a picture that shows nothing, by default the colour that ``prepare`` turns into zeros.
    ``call(model, x)``: how the model is run on pictures ``x`` [B, C, H, W] where it takes more than them; give every
    other input B rows: ``call=lambda model, x: model(x, meta.expand(len(x), -1))``. ``occurrence``: which call of the
    layer is meant where it runs several times (Siamese networks, a shared ReLU), 0 for the first.
    ``outputs``: what the model's output means: "softmax", "sigmoid", "probabilities", "value", or a function
    ``output → [B, C]`` for scores of one's own (see `vlx.protocol.outputs`); by default found by trying, and refused
    where it is open. ``leaf``: the part of the output that is meant, e.g. "logits", "1" or "heads.colour".

    A layer may give its map in another order than [B, K, h, w], or as tokens [B, N, K] with some around them that are
    no cells: how they lie is found by following the layers or by trying, and noted. ``grid`` (h, w) of the cells and
    ``prefix``, the number of tokens before them, tell it where it cannot be found.

    Raises ModelError for an unknown layer, with close matches and the layers that give a feature map.

    >>> task = Classifier(torchvision.models.resnet50(weights="DEFAULT").eval(), layer="layer4")
    >>> why = vlx.explain(task, "photo.jpg", answer="281")
    """

    kind = "classification"
    inside = "layer"
    head_is_vision = True
    besides: Mapping[str, str] = {"others": "the tokens that are no cells"}
    ranks: tuple[int, ...] = RANKS  # dimensions that the layer's map may have
    revision: str | None = None  # of a model that was loaded from a hub

    def __init__(
        self,
        model: nn.Module,
        layer: str = "layer4",
        labels: Sequence[str] | None = None,
        prepare: Callable[[Image.Image], Tensor] | None = None,
        *,
        outputs: Any = None,
        leaf: str | int | None = None,
        call: Call | None = None,
        occurrence: int | None = None,
        grid: tuple[int, int] | None = None,
        prefix: int = 0,
        name: str | None = None,
        blank: tuple[float, float, float] | None = None,
        defaults: Defaults | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ModelError(f"a Classifier needs an nn.Module, got {type(model).__name__}")
        self.model: nn.Module = wrapped.plain(model)  # wrappers would not see the hook
        wrapped.refuse_script(self.model, type(self.model).__name__)
        layer = wrapped.own_name(self.model, model, layer)
        own = name or type(self.model).__name__
        super().__init__("model", prepare=prepare or imagenet_prepare, name=own, blank=blank, notes=notes)
        self.labels = Labels(labels)
        self.defaults = defaults or Defaults(gradients="rows")
        self.outputs = Outputs(outputs, leaf, self.name)
        self._call = call
        self._split = self._cut(layer, occurrence)
        self._tracer = self._laying(Given(grid, prefix))
        self._siblings: dict[str, Classifier] = {}
        self._read = False  # whether scores were seen to depend on the cells, where there are other tokens

    @property
    def layer(self) -> str:
        """The name of the layer whose output is A."""
        return self._split.layer

    def layers(self) -> Mapping[str, tuple[int, int]]:
        """The layers that give a feature map, this one last, with their cells; see `vlx.protocol.layered.Layered`."""
        found = self._split.layers() or {}
        names = [*found]
        stop = names.index(self.layer) + 1 if self.layer in found else len(names)
        return {name: found[name] for name in names[:stop]}

    def at(self, layer: str) -> "Classifier":
        """The same classifier split at another layer. Raises ModelError as a Classifier of that layer does."""
        if layer == self.layer:
            return self
        if layer not in self._siblings:
            sibling = copy(self)
            sibling._split = self._cut(layer)
            sibling._tracer, sibling._read, sibling._siblings = self._laying(Given()), False, {}
            self._siblings[layer] = sibling
        return self._siblings[layer]

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, C, H, W] → A [B, K, h, w], its geometry, and ``rest``: pictures and their scores [B, classes].

        One run of the model, without a graph; the first time some more, to find the geometry, to try the split and to
        learn what its outputs mean. Raises ModelError in training mode, for a layer that gives no map or is not called
        once, for outputs whose meaning is open, and for NaN.
        """
        self.refuse_training()
        columns = torch.empty(0)

        def run(pictures: Tensor) -> Tensor:
            nonlocal columns
            A, found = self._split.read(pictures)
            if pictures is inputs:  # the tracer may ask about pictures of its own
                columns = found
            return A

        with torch.inference_mode(False), torch.no_grad():
            inputs = inputs.detach()
            laid = self._laid(run, inputs)
            self._check(laid.A, columns)
            self._split.settle(inputs, self._tracer.join(laid.A, laid.others), columns)
            others = {} if laid.others is None else {"others": laid.others}
            rest = {"inputs": inputs, **others}
            self._settle(laid.A, rest, columns)
            rest["logits"] = self.outputs.table(columns)
        self._check_labels(rest["logits"])
        notes = (*laid.notes, *self._split.notes, *self._unread(laid, rest))
        return Features({self.layer: laid.A}, self.layer, laid.grid, rest, notes)

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, C, H, W] → A as `features` gives it, with a graph where gradients are on; see `Sees`.

        Raises ModelError as `features` does, but for NaN.
        """
        self.refuse_training()
        return self._tracer.see(self._split.see, inputs)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """The likeliest class of each of the B pictures, or the class that the query's ``answer`` names.

        ``instead_of`` makes it a contrast. Scores are those that `features` kept in ``rest``; without them A is put
        through the model. Raises InputError for a class that there is not.
        """
        kept = features.rest.get("logits")
        with torch.inference_mode(False), torch.no_grad():
            table = self._table(features.A, features.rest) if kept is None else kept
        return [self._predicted(row, query) for row, query in zip(table, queries, strict=True)]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] and N targets → [N], differentiable in A; ``rest`` is that of `features`, with 1 or M rows.

        Only what comes after the layer runs on M rows; what comes before it runs once, without a graph, where the
        model allows that.
        """
        self.refuse_training()
        if not isinstance(rest, dict) or "inputs" not in rest:
            raise ModelError(f"{self.name}: scores needs the `rest` of its features: the pictures drive the model to A")
        table, reads = self._table(A, rest), Reads.of(targets)
        return reads.combine(table[[targets[n].row for n, _ in reads.pairs]], self.outputs.read)

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What the model says when it is called by itself; see `vlx.protocol.stocked.Stocked`."""
        pictures = self.place(self.prepare(image)[None])
        with torch.inference_mode(False), torch.no_grad():
            return Said.read(self.outputs, self._split.plain(pictures))

    def _cut(self, layer: str, occurrence: int | None = None) -> Split:
        """The model cut at a layer."""
        return Split(self.model, layer, self._example, self._call, occurrence, self.outputs.columns, self.ranks)

    def _laying(self, given: Given) -> Tracer:
        """What lays the layer's output out as A [B, K, h, w] and finds its cells' places."""
        return Tracer(given)

    def _laid(self, run: Callable[[Tensor], Tensor], inputs: Tensor) -> Laid:
        """What the layer gives, as a feature map. Raises ModelError with the layers to choose from."""
        try:
            laid = self._tracer.lay(run, inputs)
        except Unplaced as error:
            raise self._split.trouble(f"gives {error.told}") from None
        self._split.batch = self._tracer.layout(laid.A).batch
        return laid

    def _unread(self, laid: Laid, rest: dict[str, Tensor]) -> tuple[str, ...]:
        """A note where another token than the cells is read; tried for each picture until one shows that they are."""
        if laid.others is None or self._read:
            return ()
        one = {name: tensor[:1] for name, tensor in rest.items()}
        table = self._table(unlike(laid.A[:1]), one).detach()
        near = 4 * torch.finfo(laid.A.dtype).eps * float(table.nan_to_num(0, 0, 0).abs().max())
        self._read = not torch.allclose(table, table[:1].expand_as(table), rtol=0, atol=near, equal_nan=True)
        unread = f"behind {self.layer} the cells reach no score, another token is read; name an earlier layer"
        return () if self._read else (unread,)

    def _replay(self, A: Tensor, rest: dict[str, Tensor]) -> Tensor:
        """What the model says with A [M, K, h, w] in the layer's place, laid out as the layer does it."""
        return self._split.replay(rest["inputs"], self._tracer.join(A, rest.get("others")))

    def _table(self, A: Tensor, rest: dict[str, Tensor]) -> Tensor:
        """Scores [M, C] with A [M, K, h, w] in place of the layer's map."""
        return self.outputs.table(self._replay(A, rest))

    def _settle(self, A: Tensor, rest: dict[str, Tensor], columns: Tensor) -> None:
        """Find out, once, what the outputs mean."""
        if self.outputs.meaning is not None:
            return
        with suppress(Exception):  # whatever the model says of strange maps
            one = {name: tensor[:1] for name, tensor in rest.items()}
            columns = torch.cat([columns, self._replay(tried(A[:1]), one)])
        self.notes += self.outputs.settle(columns, self.labels.names)
        if self.outputs.pair:
            self.labels = Labels(pair_of(self.labels.names)[0], numbered=False)
        elif self.outputs.meaning == "value" and self.labels.names is None:
            self.labels = Labels([f"output {number}" for number in range(columns.shape[1])])

    def _predicted(self, scores: Tensor, query: Query) -> Prediction:
        if query.caption is not None or query.question is not None or query.prompt is not None:
            raise InputError("a classifier takes no caption, question or prompt; name a class with answer=…")
        made = answered(scores, self.labels, query, outputs=self.outputs, noun="class", most=ALTERNATIVES)
        (word,) = made.words
        if word.sides:
            word = replace(word, notes=(f"why this and not {word.sides[1].label}",))
        return replace(made, words=(word,), notes=(*self.notes, *made.notes))

    def _example(self) -> Tensor:
        return self.place(self.prepare(Image.new("RGB", (256, 256), (128, 128, 128)))[None])

    def _check(self, A: Tensor, columns: Tensor) -> None:
        """Scores of −∞ are classes that are ruled out; NaN, ∞ and a row without any score are faults."""
        broken = columns.isnan() | columns.isposinf()
        if not A.isfinite().all() or broken.any() or columns.isneginf().all(1).any():
            raise ModelError(f"{self.name} gives NaN or infinite numbers; its weights or the picture hold some")

    def _check_labels(self, table: Tensor) -> None:
        names = self.labels.names
        if names is not None and len(names) != table.shape[1]:
            raise ModelError(
                f"{self.name} has {table.shape[1]} classes and {len(names)} labels; give one label a class"
            )


def imagenet_prepare(image: Image.Image) -> Tensor:
    """PIL picture → float32 [3, 224, 224]: shorter side to 256, its centre, ImageNet's mean to 0 and deviation to 1."""
    resized = functional.resize(image.convert("RGB"), [RESIZE])
    pixels = functional.to_tensor(functional.center_crop(resized, [CROP]))
    normalised: Tensor = functional.normalize(pixels, MEAN, STD)
    return normalised

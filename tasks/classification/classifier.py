"""`Classifier`: any image classifier, split at a named layer, as a task that can be explained."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlx import selftest
from vlx.digest import Digest
from vlx.errors import InputError, ModelError
from vlx.task import Alternative, Defaults, Features, Prediction, Query, Reads, Target, Term, Word
from vlx.tasks.classification.calling import Call
from vlx.tasks.classification.labels import Labels
from vlx.tasks.classification.preparation import imagenet_prepare
from vlx.tasks.classification.split import Split
from vlx.tracing import Tracer, mean_colour

ALTERNATIVES = 5


class Classifier:
    """A classifier split at the layer called ``layer``, whose output is its feature map A [B, K, h, w].

    ``model``: any ``nn.Module``, pictures [B, 3, H, W] → logits [B, C], in eval mode; it stays as it is. ``layer``: a
    submodule's name as in ``model.named_modules()``; a tuple or dict that holds a map will do.
    ``labels``: the classes' names by number, synonyms parted by commas. ``prepare``: PIL RGB → [3, H, W]; without it
    ImageNet's usual way: shorter side to 256 pixels, the centre 224 × 224 of it, ImageNet's mean and deviation.
    ``blank``: RGB in [0, 1] of a picture that shows nothing, by default the colour that ``prepare`` turns into zeros.
    ``call(model, x)``: how the model is run on pictures ``x`` [B, C, H, W] where it takes more than them; give every
    other input B rows: ``call=lambda model, x: model(x, meta.expand(len(x), -1))``. ``occurrence``: which call of the
    layer is meant where it runs several times (Siamese networks, a shared ReLU), 0 for the first.

    Raises ModelError for an unknown layer, with close matches and the layers that give a feature map.

    >>> task = Classifier(torchvision.models.resnet50(weights="DEFAULT").eval(), layer="layer4")
    >>> why = vlx.explain(task, "photo.jpg", answer="281")
    """

    kind = "classification"

    def __init__(
        self,
        model: nn.Module,
        layer: str = "layer4",
        labels: Sequence[str] | None = None,
        prepare: Callable[[Image.Image], Tensor] | None = None,
        *,
        call: Call | None = None,
        occurrence: int | None = None,
        name: str | None = None,
        blank: tuple[float, float, float] | None = None,
        defaults: Defaults | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ModelError(f"a Classifier needs an nn.Module, got {type(model).__name__}")
        self.model: nn.Module = getattr(model, "_orig_mod", model)  # a compiled model would not see the hook
        self.prepare = prepare or imagenet_prepare
        self.labels = Labels(labels)
        self.name = name or type(self.model).__name__
        self.blank = blank or mean_colour(self.prepare)
        self.defaults = defaults or Defaults("gradcam", "logit", "rows")
        self.notes = tuple(notes)
        self._split = Split(self.model, layer, self._example, call, occurrence)
        self._tracer, self._digest = Tracer(), Digest()

    @property
    def layer(self) -> str:
        """The name of the layer whose output is A."""
        return self._split.layer

    def place(self, inputs: Tensor) -> Tensor:
        """Move prepared pictures [B, 3, H, W] to the model's device and dtype."""
        weights = next((tensor for tensor in self.model.parameters() if tensor.is_floating_point()), None)
        return inputs if weights is None else inputs.to(weights.device, weights.dtype)

    def version(self) -> Hashable:
        """Changes whenever a weight changes in place or is replaced."""
        tensors = (*self.model.parameters(), *self.model.buffers())
        return tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors)

    def digest(self) -> str:
        """A hash of the model's weights; see `vlx.task.Identified`."""
        return self._digest.of(self.version(), self.model.state_dict().values())

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, 3, H, W] → A [B, K, h, w], its geometry, and ``rest``: the pictures and their logits [B, C].

        One run of the model, without a graph; the first time two more, to find the geometry and to try the split.
        Raises ModelError in training mode, for a layer that gives no map or is not called once, and for NaN.
        """
        self._refuse()
        logits = torch.empty(0)

        def run(pictures: Tensor) -> Tensor:
            nonlocal logits
            A, answer = self._split.read(pictures)
            if pictures is inputs:  # the tracer may ask about pictures of its own
                logits = answer
            return A

        with torch.inference_mode(False), torch.no_grad():
            inputs = inputs.detach()
            A, grid = self._tracer.run(run, inputs)
            self._check(A, logits)
            self._split.settle(inputs, A, logits)
        return Features({self.layer: A}, self.layer, grid, {"inputs": inputs, "logits": logits})

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] → A as `features` gives it, with a graph where gradients are on; see `vlx.task.Sees`.

        Raises ModelError as `features` does, but for NaN.
        """
        self._refuse()
        return self._split.see(inputs)

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """The likeliest class of each of the B pictures, or the class that the query's ``answer`` names.

        ``instead_of`` makes it a contrast. Logits are those that `features` kept in ``rest``; without them A is put
        through the model. Raises InputError for a class that there is not.
        """
        kept = features.rest.get("logits")
        with torch.inference_mode(False), torch.no_grad():
            logits = self._split.replay(features.rest["inputs"], features.A) if kept is None else kept
        logprobs = logits.double().log_softmax(-1).cpu()
        return [self._predicted(row, query) for row, query in zip(logprobs, queries, strict=True)]

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] and N targets → [N], differentiable in A; ``rest`` is that of `features`, with 1 or M rows.

        Only what comes after the layer runs on M rows; what comes before it runs once, without a graph, where the
        model allows that.
        """
        self._refuse()
        if not isinstance(rest, dict) or "inputs" not in rest:
            raise ModelError(f"{self.name}: scores needs the `rest` of its features: the pictures drive the model to A")
        logits = self._split.replay(rest["inputs"], A)
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        reads = Reads.of(targets)
        return reads.combine(logits[[targets[n].row for n, _ in reads.pairs]])

    def self_test(self, image: Any, **options: Any) -> selftest.SelfTest:
        """Whether explanations of this model can be trusted, tried on a picture; see `vlx.selftest.self_test`."""
        return selftest.self_test(self, image, **options)

    def _predicted(self, logprobs: Tensor, query: Query) -> Prediction:
        if query.caption is not None or query.question is not None or query.prompt is not None:
            raise InputError("a classifier takes no caption, question or prompt; name a class with answer=…")
        count = len(logprobs)
        number = int(logprobs.argmax()) if query.answer is None else self.labels.find(query.answer, count)
        terms: tuple[Term, ...] = (Term(0, number),)
        notes: tuple[str, ...] = ()
        sides: tuple[Alternative, ...] = ()
        if query.instead_of is not None:
            other = self.labels.find(query.instead_of, count)
            if other == number:
                raise InputError(f"{query.instead_of!r} is the class that is explained; name another to compare with")
            terms += (Term(0, other, -1.0),)
            notes = (f"why this and not {self.labels[other]}",)
            sides = tuple(Alternative(self.labels[n], n, float(logprobs[n])) for n in (number, other))
        values, numbers = logprobs.topk(min(ALTERNATIVES, count))
        ranked = zip(numbers.tolist(), values.tolist(), strict=True)
        others = tuple(Alternative(self.labels[likely], likely, value) for likely, value in ranked)
        word = Word(self.labels[number], terms, float(logprobs[number]), others, notes, sides)
        return Prediction(word.label, (word,), (), query.answer is not None, self.notes)

    def _example(self) -> Tensor:
        return self.place(self.prepare(Image.new("RGB", (256, 256), (128, 128, 128)))[None])

    def _check(self, A: Tensor, logits: Tensor) -> None:
        if not torch.isfinite(A).all() or not torch.isfinite(logits.logsumexp(-1)).all():
            raise ModelError(f"{self.name} gives NaN or infinite numbers; its weights or the picture hold some")
        names = self.labels.names
        if names is not None and len(names) != logits.shape[1]:
            raise ModelError(
                f"{self.name} has {logits.shape[1]} classes and {len(names)} labels; give one label a class"
            )

    def _refuse(self) -> None:
        training = next((name for name, module in self.model.named_modules() if module.training), None)
        if training is not None:
            part = f"its layer {training!r}" if training else "it"
            raise ModelError(f"{self.name}: {part} is in training mode; call model.eval() first")
        if any(weights.is_inference() for weights in self.model.parameters()):
            raise ModelError(f"{self.name}: its weights were made under torch.inference_mode(); make the model outside")

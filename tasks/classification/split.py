"""`Split`: any ``nn.Module`` cut at a named layer, so that other feature maps can be put in place of the layer's own.

The hook stands only while the model runs, and does nothing in runs of other threads: each run is known by a
``ContextVar``. Nothing else of the model is touched.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from vlx.errors import ModelError
from vlx.language import close_matches
from vlx.outputs import Outputs
from vlx.tasks.classification.calling import Call, Calling

LISTED = 12  # layers that an error message names
CANCELLED = 1e-3  # a lone score under this may be what is left of larger numbers
MASKED = 1e4  # a logit so far under the highest is a class that is ruled out

Columns = Callable[[Any, int], Tensor]

_running: ContextVar[object] = ContextVar("vlx_classification_run", default=None)
_lock = Lock()  # torch numbers its hooks without one


@dataclass(eq=False)
class _Run:
    """One run of the model: what the layer gave, or what is handed on instead of it."""

    put: Tensor | None = None
    differentiable: bool = False
    occurrence: int = 0  # which call of the layer is meant
    calls: int = 0
    A: Tensor | None = None
    given: list[str] = field(default_factory=list)
    only: bool = False  # what comes after the layer does not matter


class Split:
    """``model`` cut at the submodule called ``layer``, whose output is, or holds, a feature map [B, K, h, w].

    Raises ModelError for a name that no submodule bears. ``example`` makes an input [1, 3, H, W]; it is used only to
    find out which layers there are to choose from when something is wrong. ``call`` runs the model on pictures;
    ``occurrence`` tells which call of the layer is meant where it runs several times, 0 for the first. ``columns``
    finds the scores [B, C] in what the model returns for B pictures.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        example: Callable[[], Tensor],
        call: Call | None = None,
        occurrence: int | None = None,
        columns: Columns | None = None,
    ) -> None:
        self.model, self.layer, self._example = model, layer, example
        self._columns = columns or Outputs().columns
        self._call = Calling(model, call)
        if occurrence is not None and (type(occurrence) is not int or occurrence < 0):
            raise ModelError(f"occurrence={occurrence!r} must be the number of a call of the layer: 0, 1, …")
        self.occurrence = occurrence
        modules = dict(model.named_modules(remove_duplicate=False))
        if not isinstance(layer, str) or not layer or layer not in modules:
            near = close_matches(str(layer), modules)
            hint = f"; close: {', '.join(near)}" if near else ""
            raise ModelError(f"{type(model).__name__} has no layer {layer!r}{hint}. {self._choices()}")
        self._module = modules[layer]
        self.narrow: bool | None = None

    def read(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, H, W] → the layer's map A [B, K, h, w] (a copy) and the model's scores [B, C]."""
        run = self._run()
        with self._hooked(run):
            output = self._call(inputs.clone())  # which it may change in place
        self._check(run)
        assert run.A is not None
        return run.A, self._columns(output, len(inputs))

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, 3, H, W], which may be changed → the layer's map A [B, K, h, w] with its graph.

        What comes after the layer runs without one.
        """
        run = self._run(only=True)
        with torch.set_grad_enabled(torch.is_grad_enabled()), self._hooked(run):
            self._call(inputs)
        self._check(run)
        assert run.A is not None
        return run.A

    def replay(self, inputs: Tensor, A: Tensor) -> Tensor:
        """Logits [M, C] with A [M, K, h, w] in place of the layer's map; differentiable in A where gradients are on.

        ``inputs`` [1 or M, 3, H, W] are the pictures of A. They only drive the layers before it, without a graph, and
        where nothing passes the layer by (see `settle`) one of them is enough.
        """
        if len(inputs) not in (1, len(A)):
            raise ModelError(f"{len(A)} feature maps came with {len(inputs)} pictures; give one each, or one for all")
        inputs = inputs[:1] if self.narrow else inputs.expand(len(A), -1, -1, -1)
        differentiable = torch.is_grad_enabled()
        with torch.no_grad():
            logits = self._replayed(inputs, A, differentiable)
        if differentiable and A.requires_grad and not logits.requires_grad:
            logits = self._replayed(inputs, A, differentiable)  # the model itself has the layer under no_grad
        return logits

    def settle(self, inputs: Tensor, A: Tensor, logits: Tensor) -> None:
        """Find out, from what `read` gave, whether the layers before A may run on one picture for any number of maps.

        They may not where something passes the layer by (a skip connection) or the batch size is taken from the
        pictures. Raises ModelError when even the picture's own map does not give back its logits.
        """
        if self.narrow is not None:
            return
        other, own = inputs[:1].flip(-1) + 1, logits[:1]
        try:
            self.narrow = _equal(self._replayed(other, A[:1].repeat(2, 1, 1, 1), False), own)
        except Exception:  # whatever the model says of shapes that do not fit
            self.narrow = False
        if not self.narrow and not _equal(self._replayed(inputs[:1], A[:1], False), own):
            self.narrow = None
            raise ModelError(
                f"{type(self.model).__name__} gives another answer when it sees the same picture again: something in "
                "it is random, or remembers; switch that off first"
            )
        self._refuse_blind(inputs[:1], A[:1])

    def _refuse_blind(self, inputs: Tensor, A: Tensor) -> None:
        """Raises ModelError where the call of the layer that is meant is about another input than the picture."""
        if self._call.call is None and not self.occurrence:
            return
        generator = torch.Generator().manual_seed(0)
        other = torch.randn(inputs.shape, generator=generator).to(inputs) + inputs.flip(-1)
        if torch.equal(self.see(other), A):
            self.narrow = None
            raise ModelError(
                f"layer {self.layer!r} of {type(self.model).__name__} gives the same map whatever the picture shows: "
                "it reads another input; name a layer, or with occurrence= a call of it, that sees the picture"
            )

    def _replayed(self, inputs: Tensor, A: Tensor, differentiable: bool) -> Tensor:
        run = self._run(put=A, differentiable=differentiable)
        with self._hooked(run):
            output = self._call(inputs.clone(), tell=not differentiable)
        self._check(run)
        return self._columns(output, len(A))

    def _run(self, **options: Any) -> _Run:
        return _Run(occurrence=self.occurrence or 0, **options)

    @contextmanager
    def _hooked(self, run: _Run) -> Iterator[None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> Any:
            return _visit(run, output) if _running.get() is run else None

        token = _running.set(run)
        try:
            with _lock:
                handle = self._module.register_forward_hook(hook, prepend=True)
            try:
                yield
            finally:
                with _lock:
                    handle.remove()
        finally:
            _running.reset(token)

    def _check(self, run: _Run) -> None:
        which, name = self.occurrence, type(self.model).__name__
        if run.A is not None and (run.calls == 1 or which is not None):
            return
        if run.calls > 1 and which is None:
            raise ModelError(
                f"layer {self.layer!r} of {name} is called {run.calls} times in one run, so its feature map is not one "
                f"thing; say which call is meant: occurrence=0 for the first, … {run.calls - 1} for the last"
            )
        if run.calls <= (which or 0):
            trouble = (
                f"is called {run.calls} times, so occurrence={which} is none of them"
                if run.calls
                else ("is never called")
            )
        else:
            trouble = f"gives {' and '.join(run.given)}, not a feature map [B, K, h, w]"
        raise ModelError(f"layer {self.layer!r} of {type(self.model).__name__} {trouble}. {self._choices()}")

    def _choices(self) -> str:
        names = self.layers()
        if names is None:
            names = [name for name, _ in self.model.named_modules() if name]
            return f"It cannot be run to see which layers give a feature map; its last layers: {_last(names)}"
        if not names:
            return "No layer of it gives a feature map [B, K, h, w]"
        return f"Layers that give a feature map, the last ones: {_last(names)}"

    def layers(self) -> list[str] | None:
        """Layers that are called once and give a map [1, K, h, w] with several cells, in the order they end.

        None when the model cannot be run on an example.
        """
        names = {module: name for name, module in self.model.named_modules() if name}
        run, shapes, calls = object(), dict[str, bool](), dict[str, int]()

        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if _running.get() is run:
                name = names[module]
                calls[name] = calls.get(name, 0) + 1
                A = next((leaf for leaf in tree_leaves(output) if _is_map(leaf)), None)
                shapes[name] = A is not None and A[0, 0].numel() > 1

        token, handles = _running.set(run), []
        try:
            with _lock:
                handles += [module.register_forward_hook(hook, prepend=True) for module in names]
            with torch.no_grad():
                self._call(self._example())
        except Exception:  # the message that is being made is about something else
            return None
        finally:
            _running.reset(token)
            with _lock:
                for handle in handles:
                    handle.remove()
        return [name for name, is_map in shapes.items() if is_map and calls[name] == 1]


def _visit(run: _Run, output: Any) -> Any:
    """What the hook hands on in place of ``output``: the same, or with ``run.put`` as its map."""
    run.calls += 1
    if run.calls != run.occurrence + 1:
        return None
    leaves, structure = tree_flatten(output)
    place = next((n for n, leaf in enumerate(leaves) if _is_map(leaf)), None)
    if place is None:
        run.given = [str(list(leaf.shape)) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in leaves]
        return None
    if run.put is None:
        if not run.only:
            run.A = leaves[place].clone()  # the model may go on in place
            return None
        run.A = leaves[place]
        torch.set_grad_enabled(False)  # until the model's run ends
        leaves[place] = run.A.clone()
        return tree_unflatten(leaves, structure)
    run.A = run.put
    if run.put.shape[1:] != leaves[place].shape[1:]:
        shapes = [list(A.shape[1:]) for A in (run.put, leaves[place])]
        raise ModelError(f"the feature map put in is {shapes[0]}, the layer's own is {shapes[1]} for these inputs")
    torch.set_grad_enabled(run.differentiable)  # until the no_grad around it ends
    others = [_repeated(leaf, len(run.put)) for leaf in leaves]
    others[place] = run.put.clone()
    return tree_unflatten(others, structure)


def _last(names: list[str]) -> str:
    more = f"; {len(names) - LISTED} before them" if len(names) > LISTED else ""
    return ", ".join(names[-LISTED:]) + more


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _equal(logits: Tensor, expected: Tensor) -> bool:
    """Whether every row of ``logits`` is the one expected, beyond the rounding of another batch size.

    Masked entries (−∞, or so low that they never count) must be masked in both, and do not set the scale.
    """
    if logits.shape[1:] != expected.shape[1:]:
        return False
    top = expected.amax(1, keepdim=True)
    counts = expected > top - MASKED
    scale = expected.abs().where(counts, 0).amax(1, keepdim=True)
    tolerance = {torch.float64: 1e-6, torch.float32: 1e-3}.get(expected.dtype, 5e-2)
    near = (logits - expected).abs() <= tolerance * torch.maximum(scale, expected.abs()).clamp_min(CANCELLED)
    return bool((near | (logits == expected)).all() and top.isfinite().all())


def _repeated(value: Any, rows: int) -> Any:
    if isinstance(value, Tensor) and value.ndim and len(value) == 1 != rows:
        return value.expand(rows, *value.shape[1:]).clone()
    return value

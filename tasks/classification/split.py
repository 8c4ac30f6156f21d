"""`Split`: any ``nn.Module`` cut at a named layer, so that other feature maps can be put in place of the layer's own.

The hook stands only while the model runs, and does nothing in runs of other threads: each run is known by a
``ContextVar``. Nothing else of the model is touched.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from vlx.errors import ModelError
from vlx.language import close_matches, shortened
from vlx.protocol.outputs import Outputs
from vlx.tasks.classification.calling import Call, Calling
from vlx.tasks.classification.layers import RANKS, layers, listed, may_be_map
from vlx.tasks.shared.wrapped import refuse_script, unquantised

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
    leaves: tuple[int, ...] = ()  # which of what the layer gives is the map; by default the first that may be one
    batch: int = 0  # the map's dimension of pictures
    ranks: tuple[int, ...] = RANKS
    maps: list[tuple[int, Tensor]] = field(default_factory=list)  # all that may be one


class Split:
    """``model`` cut at the submodule called ``layer``, whose output is, or holds, a feature map in a layout of its own.

    Maps go in and out as the layer gives them; ``batch`` is their dimension of pictures.

    Raises ModelError for a name that no submodule bears. ``example`` makes an input [1, C, H, W]; it is used only to
    find out which layers there are to choose from when something is wrong. ``call`` runs the model on pictures;
    ``occurrence`` tells which call of the layer is meant where it runs several times, 0 for the first. ``columns``
    finds the scores [B, C] in what the model returns for B pictures. ``ranks``: how many dimensions a map may have,
    those of a map that is explained first.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        example: Callable[[], Tensor],
        call: Call | None = None,
        occurrence: int | None = None,
        columns: Columns | None = None,
        ranks: tuple[int, ...] = RANKS,
    ) -> None:
        self.model, self.layer, self._example, self._ranks = model, layer, example, ranks
        self._columns = columns or Outputs().columns
        self._call = Calling(model, call)
        if occurrence is not None and (type(occurrence) is not int or occurrence < 0):
            raise ModelError(f"occurrence={occurrence!r} must be the number of a call of the layer: 0, 1, …")
        self.occurrence = occurrence
        modules = dict(model.named_modules(remove_duplicate=False))
        if not isinstance(layer, str) or not layer or layer not in modules:
            near = close_matches(str(layer), modules)
            hint = f"; close: {', '.join(near)}" if near else ""
            raise ModelError(
                self._choices(f"{type(model).__name__} has no layer {shortened(str(layer))!r}{hint}. ", self.layers())
            )
        self._module = modules[layer]
        refuse_script(self._module, f"layer {layer!r} of {type(model).__name__}")
        self.narrow: bool | None = None
        self.batch = 0
        self._leaves: tuple[int, ...] = ()
        self.notes: tuple[str, ...] = ()  # for the reader

    def read(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, C, H, W] → the layer's map (a copy) and the model's scores [B, C].

        Of several maps the one that the scores rest on is taken; where several are, ModelError is raised.
        """
        run = self._run()
        with self._hooked(run):
            output = self._call(inputs.clone())  # which it may change in place
        self._check(run)
        assert run.A is not None
        columns = self._columns(output, len(inputs))
        if not self._leaves:
            self._leaves = self._rested_on(inputs, run.maps, columns)
        return dict(run.maps)[self._leaves[0]], columns

    def _rested_on(self, inputs: Tensor, maps: list[tuple[int, Tensor]], columns: Tensor) -> tuple[int, ...]:
        """The leaves of the layer's output that are one map: that which moves the scores when it is another."""
        groups: dict[int, list[int]] = {}
        for number, A in maps:
            same = next((first for first in groups if _same(A, dict(maps)[first])), number)
            groups.setdefault(same, []).append(number)
        if len(groups) == 1:
            return tuple(next(iter(groups.values())))
        given = {first: self._other(inputs, dict(maps)[first], tuple(leaves)) for first, leaves in groups.items()}
        chosen = [first for first, answer in given.items() if not _equal(answer, columns, 1e-3)]
        if len(chosen) > 1:
            shapes = " and ".join(str(list(dict(maps)[first].shape)) for first in chosen)
            raise self.trouble(
                f"gives {len(chosen)} maps that the score rests on, {shapes}: name one of its own layers"
            )
        if chosen:
            self.notes = (f"of the {len(groups)} maps that {self.layer} gives this is the one that the score rests on",)
        return tuple(groups[chosen[0] if chosen else maps[0][0]])

    def _other(self, inputs: Tensor, A: Tensor, leaves: tuple[int, ...]) -> Tensor:
        """The model's scores where the ``leaves`` of the layer's output, A each, have noise on them."""
        noise = torch.randn(A.shape, generator=torch.Generator().manual_seed(0), dtype=torch.double).to(A)
        run = self._run(put=A + noise * (A.std() if A.std() > 0 else 1))
        run.leaves = leaves
        with self._hooked(run):
            return self._columns(self._call(inputs.clone()), len(inputs))

    def plain(self, inputs: Tensor) -> Any:
        """What the model gives for pictures when it is called by itself."""
        return self._call(inputs)

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, C, H, W], which may be changed → the layer's map with its graph.

        What comes after the layer runs without one.
        """
        if not self._leaves:
            with torch.no_grad():
                self.read(inputs.detach().clone())
        run = self._run(only=True)
        with torch.set_grad_enabled(torch.is_grad_enabled()), self._hooked(run):
            self._call(inputs)
        self._check(run)
        assert run.A is not None
        return run.A

    def replay(self, inputs: Tensor, A: Tensor) -> Tensor:
        """Logits [M, C] with A of M rows in place of the layer's map; differentiable in A where gradients are on.

        ``inputs`` [1 or M, C, H, W] are the pictures of A. They only drive the layers before it, without a graph, and
        where nothing passes the layer by (see `settle`) one of them is enough.
        """
        rows = A.shape[self.batch]
        if len(inputs) not in (1, rows):
            raise ModelError(f"{rows} feature maps came with {len(inputs)} pictures; give one each, or one for all")
        inputs = inputs[:1] if self.narrow else inputs.expand(rows, -1, -1, -1)
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
        other, own, first = inputs[:1].flip(-1) + 1, logits[:1], A.narrow(self.batch, 0, 1)
        try:
            self.narrow = _equal(self._replayed(other, torch.cat([first, first], self.batch), False), own)
        except Exception:  # whatever the model says of shapes that do not fit
            self.narrow = False
        if not self.narrow and not _equal(self._replayed(inputs[:1], first, False), own):
            self.narrow = None
            raise ModelError(
                f"{type(self.model).__name__} gives another answer when it sees the same picture again: something in "
                "it is random, or remembers; switch that off first"
            )
        self._refuse_blind(inputs[:1], first)

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
        return self._columns(output, A.shape[self.batch])

    def _run(self, **options: Any) -> _Run:
        return _Run(
            occurrence=self.occurrence or 0, leaves=self._leaves, batch=self.batch, ranks=self._ranks, **options
        )

    @contextmanager
    def _hooked(self, run: _Run) -> Iterator[None]:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> Any:
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
                else _never(self.layer)
            )
        else:
            trouble = f"gives {' and '.join(run.given)}, not a feature map [B, K, h, w]"
        raise self.trouble(trouble)

    def trouble(self, text: str) -> ModelError:
        """An error that says what is wrong with the layer, and which layers there are to choose from."""
        text, names = f"layer {self.layer!r} of {type(self.model).__name__} {text}. ", self.layers()
        return ModelError(self._choices(text, names))

    def _choices(self, text: str, found: Iterable[str] | None) -> str:
        if found is None:
            names = [name for name, _ in self.model.named_modules() if name]
            return listed(f"{text}It cannot be run to see which layers give a feature map; its last layers: ", names)
        names = [*found]
        if not names:
            return f"{text}No layer of it gives a feature map [B, K, h, w]"
        return listed(f"{text}Layers that give a feature map, the last ones: ", names)

    def layers(self) -> dict[str, tuple[int, int]] | None:
        """Layers that are called once and give a map; see `vlx.tasks.classification.layers.layers`."""
        rank = 0 if self._ranks == RANKS else self._ranks[0]
        return layers(self.model, self._call, self._example, rank)


def _visit(run: _Run, output: Any) -> Any:
    """What the hook hands on in place of ``output``: the same, or with ``run.put`` as its map."""
    run.calls += 1
    if run.calls != run.occurrence + 1:
        return None
    leaves, structure = tree_flatten(output)
    for leaf in leaves:
        unquantised(leaf, "the layer")
    run.maps = [(n, leaf) for n, leaf in enumerate(leaves) if may_be_map(leaf, run.ranks)]
    if not run.maps:
        run.given = [str(list(leaf.shape)) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in leaves]
        return None
    chosen = run.leaves or (run.maps[0][0],)
    if run.put is None:
        if not run.only:
            run.maps = [(n, leaf.clone()) for n, leaf in run.maps]  # the model may go on in place
            run.A = dict(run.maps)[chosen[0]]
            return None
        run.A = leaves[chosen[0]]
        torch.set_grad_enabled(False)  # until the model's run ends
        leaves = [run.A.clone() if n in chosen else leaf for n, leaf in enumerate(leaves)]
        return tree_unflatten(leaves, structure)
    run.A = run.put
    _check_shapes(run.put, leaves[chosen[0]], run.batch)
    torch.set_grad_enabled(run.differentiable)  # until the no_grad around it ends
    rows = run.put.shape[run.batch]
    leaves = [run.put.clone() if n in chosen else _repeated(leaf, rows) for n, leaf in enumerate(leaves)]
    return tree_unflatten(leaves, structure)


def _never(layer: str) -> str:
    """Why a layer may never have been called."""
    if "_orig_mod" in layer.split("."):
        return "is never called by itself: it is in a part that torch.compile has compiled; give the model without that"
    return "is never called"


def _check_shapes(put: Tensor, own: Tensor, batch: int) -> None:
    """Raises ModelError where a map does not fit into the layer's place, whatever the number of rows."""
    shapes = [[side for dim, side in enumerate(A.shape) if dim != batch] for A in (put, own)]
    if shapes[0] != shapes[1]:
        raise ModelError(f"the feature map put in is {shapes[0]}, the layer's own is {shapes[1]} for these inputs")


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether a layer gives the same map twice."""
    return one.shape == other.shape and torch.equal(one, other)


def _equal(logits: Tensor, expected: Tensor, part: float = 1.0) -> bool:
    """Whether every row of ``logits`` is the one expected, beyond ``part`` of the rounding of another batch size.

    Masked entries (−∞, or so low that they never count) must be masked in both, and do not set the scale.
    """
    if logits.shape[1:] != expected.shape[1:]:
        return False
    top = expected.amax(1, keepdim=True)
    counts = expected > top - MASKED
    scale = expected.abs().where(counts, 0).amax(1, keepdim=True)
    tolerance = part * {torch.float64: 1e-6, torch.float32: 1e-3}.get(expected.dtype, 5e-2)
    near = (logits - expected).abs() <= tolerance * torch.maximum(scale, expected.abs()).clamp_min(CANCELLED)
    return bool((near | (logits == expected)).all() and top.isfinite().all())


def _repeated(value: Any, rows: int) -> Any:
    if isinstance(value, Tensor) and value.ndim and len(value) == 1 != rows:
        return value.expand(rows, *value.shape[1:]).clone()
    return value

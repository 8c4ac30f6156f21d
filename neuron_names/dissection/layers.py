"""The feature maps that are dissected: a task's own layer, or several on the way to it, in one run."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlx.errors import InputError, ModelError
from vlx.geometry import Grid
from vlx.task import Task
from vlx.tracing import trace_grid

Maps = dict[str, tuple[Tensor, Grid]]


class Layers:
    """Prepared pictures → each layer's feature map [B, K, h, w] and its grid.

    ``modules`` are layers of the task's vision part by name; without them it is the task's own feature map.
    """

    def __init__(self, task: Task, modules: Mapping[str, nn.Module] | None = None) -> None:
        self.task, self.modules = task, dict(modules or {})
        self._grids: dict[tuple[str, tuple[int, ...]], Grid] = {}
        if modules is not None and not modules:
            raise InputError("layers={} names no layer; leave it out for the model's own")

    def __call__(self, inputs: Tensor) -> Maps:
        """Pictures [B, 3, H, W] → maps by layer; raises ModelError for layers that give no map, or never ran."""
        placed = self.task.place(inputs)
        if not self.modules:
            features = self.task.features(placed)
            return {features.layer: (features.A, features.grid)}
        found = self._run(placed)
        return {name: (A, self._grid(name, placed)) for name, A in found.items()}

    def _run(self, placed: Tensor) -> dict[str, Tensor]:
        kept: dict[str, Any] = {}
        with _hooked(self.modules, kept):
            self.task.features(placed)
        for name in self.modules:
            A = kept.get(name)
            if not isinstance(A, Tensor) or A.ndim != 4 or len(A) != len(placed):
                given = "did not run" if A is None else f"gave {tuple(A.shape) if isinstance(A, Tensor) else type(A)}"
                raise ModelError(f"layer {name!r} {given}; choose one before the model's own layer that gives a map")
        return kept

    def _grid(self, name: str, placed: Tensor) -> Grid:
        size = (placed.shape[-2], placed.shape[-1])
        key = (name, size)
        if key not in self._grids:
            self._grids[key] = trace_grid(
                lambda pictures: self._run(pictures)[name], size, dtype=placed.dtype, device=placed.device
            )
        return self._grids[key]


@contextmanager
def _hooked(modules: Mapping[str, nn.Module], kept: dict[str, Any]) -> Iterator[None]:
    """Keep a copy of what each module gives: what comes behind it may change it in place."""
    with ExitStack() as stack:
        for name, module in modules.items():

            def keep(_module: nn.Module, _given: Any, made: Any, name: str = name) -> None:
                kept[name] = made.detach().clone() if isinstance(made, torch.Tensor) else made

            stack.callback(module.register_forward_hook(keep).remove)
        yield

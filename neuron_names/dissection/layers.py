"""The feature maps that are dissected: a task's own layer, or several on the way to it, in one run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlx import __version__
from vlx.data.example import ConceptData
from vlx.errors import InputError, ModelError
from vlx.pictures.placement import Grid
from vlx.pictures.receptive_fields import Tracer
from vlx.protocol.powers import powers_of
from vlx.protocol.task import Task

Maps = dict[str, tuple[Tensor, Grid]]


class Layers:
    """Prepared pictures → each layer's feature map [B, K, h, w] and its grid.

    ``modules`` are layers of the task's vision part by name; without them it is the task's own feature map.
    """

    def __init__(self, task: Task, modules: Mapping[str, nn.Module] | None = None) -> None:
        self.task, self.modules = task, dict(modules or {})
        self._tracers = {name: Tracer() for name in self.modules}
        self._grids: dict[tuple[str, tuple[int, ...]], Grid] = {}
        self._sizes: set[tuple[int, ...]] = set()
        if modules is not None and not modules:
            raise InputError("layers={} names no layer; leave it out for the model's own")

    def __call__(self, inputs: Tensor) -> Maps:
        """Pictures [B, 3, H, W] → maps by layer; raises ModelError for layers that give no map, or never ran."""
        placed = self.task.place(inputs)
        if not self.modules:
            features = self.task.features(placed)
            return {features.layer: (features.cells, features.grid.plain)}
        if tuple(placed.shape[2:]) not in self._sizes:  # at first sight a task may run itself on other pictures too
            self._sizes.add(tuple(placed.shape[2:]))
            self.task.features(placed)
        outputs = self._run(self.task.features, placed)
        return {name: self._laid(name, output, placed) for name, output in outputs.items()}

    def _run(self, run: Callable[[Tensor], object], placed: Tensor) -> dict[str, Tensor]:
        kept: dict[str, list[Any]] = {name: [] for name in self.modules}
        with _hooked(self.modules, kept):
            run(placed)
        for name, outputs in kept.items():
            A = outputs[0] if outputs else None
            if len(outputs) != 1 or not isinstance(A, Tensor) or A.ndim not in (3, 4) or len(placed) not in A.shape:
                fault = f"gave {tuple(A.shape) if isinstance(A, Tensor) else type(A).__name__}"
                fault = fault if len(outputs) == 1 else f"runs {len(outputs)} times" if outputs else "did not run"
                raise ModelError(
                    f"layer {name!r} {fault}; choose one before the model's own layer that runs once and gives a map"
                )
        return {name: outputs[0] for name, outputs in kept.items()}

    def _laid(self, name: str, output: Tensor, placed: Tensor) -> tuple[Tensor, Grid]:
        """A layer's map as [B, K, h, w] and its grid, both found on a random picture of this size."""
        size = (placed.shape[-2], placed.shape[-1])
        key, tracer = (name, size), self._tracers[name]
        if key not in self._grids:
            sees = powers_of(self.task).sees
            see = self.task.features if sees is None else sees.see
            generator = torch.Generator().manual_seed(0)
            picture = torch.rand(1, *placed.shape[1:], generator=generator).to(placed)
            with torch.no_grad():
                self._grids[key] = tracer.run(lambda pictures: self._run(see, pictures)[name], picture)[1]
        return tracer.laid(output, size).A, self._grids[key]


@contextmanager
def _hooked(modules: Mapping[str, nn.Module], kept: dict[str, list[Any]]) -> Iterator[None]:
    """Keep a copy of what each module gives: what comes behind it may change it in place."""
    with ExitStack() as stack:
        for name, module in modules.items():

            def keep(_module: nn.Module, _given: Any, output: Any, name: str = name) -> None:
                kept[name].append(output.clone() if isinstance(output, Tensor) else output)

            stack.callback(module.register_forward_hook(keep).remove)
        yield


def settings(task: Task, data: ConceptData, layers: Mapping[str, nn.Module] | None) -> dict[str, Any]:
    """What makes every dissection what it is: by which vlx, of which weights and layers, with which pictures."""
    identified = powers_of(task).identified
    return {
        "source": f"vlx {__version__} dissect",
        "model": task.name,
        "model_hash": "" if identified is None else identified.digest(),
        "layers": sorted(layers or {}),
        "dataset": data.name,
        "dataset_hash": data.digest(),
        "licence": data.licence,
        "images": len(data),
        "unit_base": 0,
    }

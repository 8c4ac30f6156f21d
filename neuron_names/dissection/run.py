"""`dissect`: names for the units of a feature map, from pictures whose every pixel is labelled."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlx import __version__
from vlx.errors import InputError
from vlx.geometry import Grid
from vlx.neuron_names.datasets.data import ConceptData
from vlx.neuron_names.dissection.alignment import axes
from vlx.neuron_names.dissection.checkpoint import Checkpoint, State
from vlx.neuron_names.dissection.counting import Counter
from vlx.neuron_names.dissection.layers import Layers
from vlx.neuron_names.dissection.pictures import Batch, Pictures
from vlx.neuron_names.dissection.spill import Spill
from vlx.neuron_names.dissection.thresholds import TopValues
from vlx.neuron_names.table import NeuronNames, Tally
from vlx.task import Identified, Task

QUANTILE = 0.005  # Network Dissection, section 3.2
FOLDS = 4
EXAMPLES = 8  # pictures kept for each unit

Progress = Callable[[Iterable[Any], str], Iterable[Any]]


def _silently(items: Iterable[Any], _label: str) -> Iterable[Any]:
    return items


def dissect(task: Task, data: ConceptData, **options: Any) -> NeuronNames:
    """Name the units of ``task``'s feature map A by the concepts of ``data``: Network Dissection (1704.05796), exact.

    A unit's mask is where its map lies above the value that a share ``quantile`` of its cells exceeds; its name the
    concept whose pixels overlap with the mask most (IoU). Options, with their defaults:

    ``quantile=0.005``: or several, counted in one pass; each category is then read at the one that fits the size of its
    concepts (`Tally.best_quantile`). ``folds=4``: parts of the pictures, for error bars. ``labels``: (H, W) of the grid
    on which pixels are counted, by default half the prepared picture's. ``compat="lite"``: as NetDissect-Lite counts
    (cells placed by the half-pixel rule, pictures counted that the mask touches). ``batch_size=16``.
    ``checkpoint``: a file in which to keep what was counted, and to go on from. ``spill``: a folder for the maps that
    may matter, so that the model runs once and not twice. ``progress(items, label)`` shows how far it is.

    Counts are integers, and the same for any order and batch size of pictures. Raises InputError for labels that do not
    fit, and as `features` does.
    """
    found = dissect_layers(task, data, None, **options)
    return next(iter(found.values()))


def dissect_layers(
    task: Task,
    data: ConceptData,
    layers: Mapping[str, nn.Module] | None,
    *,
    quantile: float | Sequence[float] = QUANTILE,
    folds: int = FOLDS,
    labels: tuple[int, int] | None = None,
    compat: str | None = None,
    batch_size: int = 16,
    checkpoint: str | Path | None = None,
    spill: str | Path | None = None,
    progress: Progress = _silently,
) -> dict[str, NeuronNames]:
    """As `dissect`, for several layers of the vision part (modules by name) in the same passes."""
    if compat not in (None, "lite"):
        raise InputError(f"compat={compat!r}; known is 'lite', or leave it out")
    quantiles = _quantiles(quantile)
    pictures = Pictures(task, data, folds, batch_size, labels)
    settings = _settings(task, data, quantiles, pictures, layers, compat)
    run = _Run(pictures, Layers(task, layers), quantiles, compat == "lite", Spill(spill), progress)
    kept = Checkpoint(None if checkpoint is None else Path(checkpoint), settings)
    run.go(kept)
    found = {name: NeuronNames(about=settings | run.about(name), tally=run.tally(name)) for name in run.names}
    single = quantiles[0] if len(quantiles) == 1 else None
    denominator = "lite" if compat == "lite" else "paper"
    found = {name: _read_as(names, single, denominator) for name, names in found.items()}
    kept.remove()
    run.spill.remove()
    return found


def _read_as(names: NeuronNames, quantile: float | None, denominator: str) -> NeuronNames:
    return names.choose(quantile=quantile, denominator=denominator)


def _quantiles(given: float | Sequence[float]) -> tuple[float, ...]:
    quantiles = tuple(sorted({float(q) for q in ([given] if isinstance(given, int | float) else given)}))
    if not quantiles or not all(0 < q < 1 for q in quantiles):
        raise InputError(f"quantile={given}; give shares between 0 and 1, such as 0.005")
    return quantiles


def _settings(
    task: Task,
    data: ConceptData,
    quantiles: tuple[float, ...],
    pictures: Pictures,
    layers: Mapping[str, nn.Module] | None,
    compat: str | None,
) -> dict[str, Any]:
    """What makes a dissection what it is; all of it is kept with the table."""
    return {
        "source": f"vlx {__version__} dissect",
        "model": task.name,
        "model_hash": task.digest() if isinstance(task, Identified) else "",
        "layers": sorted(layers or {}),
        "dataset": data.name,
        "dataset_hash": data.digest(),
        "licence": data.licence,
        "images": len(data),
        "quantiles": list(quantiles),
        "threshold_method": "exact",
        "folds": pictures.folds,
        "label_grid": list(pictures.grid),
        "prepared": list(pictures.shape),
        "batches": len(pictures.batches),
        "compat": compat or "",
        "metric": "iou",
        "unit_base": 0,
    }


@dataclass(eq=False)
class _Layer:
    """What is known of one layer so far."""

    top: TopValues
    grid: Grid
    peaks: Tensor  # [K, at most EXAMPLES], highest first
    examples: Tensor  # the pictures they are in
    T: Tensor | None = None
    tied: Tensor | None = None
    counts: dict[str, NDArray[np.int64]] = field(default_factory=dict)


class _Run:
    """Two passes over the pictures: thresholds, then counts. With a spill the second does not run the model."""

    def __init__(
        self,
        pictures: Pictures,
        layers: Layers,
        quantiles: tuple[float, ...],
        lite: bool,
        spill: Spill,
        progress: Progress,
    ) -> None:
        self.pictures, self.see, self.quantiles = pictures, layers, quantiles
        self.lite, self.spill, self.progress = lite, spill, progress
        self.layers: dict[str, _Layer] = {}
        self.truth = np.zeros((pictures.folds, len(pictures.data.concepts)), np.int64)
        self.area = np.zeros((pictures.folds, pictures.categories), np.int64)

    @property
    def names(self) -> list[str]:
        return list(self.layers)

    def go(self, kept: Checkpoint) -> None:
        """Both passes, from the beginning or from where a checkpoint left them."""
        state = kept.load()
        for name, (A, grid) in self.see(self.pictures.inputs([0])).items():
            self.layers[name] = self._layer(A, grid)
        first = second = 0
        if state is not None:
            first, second = self._restore(state)
        if first < len(self.pictures.batches):
            self._find_thresholds(first, kept)
        self._count(second, kept)

    def tally(self, name: str) -> Tally:
        layer = self.layers[name]
        assert layer.T is not None and layer.tied is not None
        return Tally(
            concepts=self.pictures.data.concepts,
            quantiles=self.quantiles,
            thresholds=layer.T.cpu().numpy(),
            intersection=layer.counts["intersection"],
            truth=self.truth,
            activation=layer.counts["activation"],
            area=self.area,
            tied=layer.tied.cpu().numpy(),
            examples=layer.examples.int().cpu().numpy(),
        )

    def about(self, name: str) -> dict[str, Any]:
        grid = self.layers[name].grid
        return {
            "layer": name,
            "feature_map": list(grid.shape),
            "alignment": grid.source,
            "stride": list(grid.stride),
            "offset": list(grid.offset),
        }

    def _layer(self, A: Tensor, grid: Grid) -> _Layer:
        cells = len(self.pictures.data) * A.shape[2] * A.shape[3]
        if self.lite:
            grid = Grid.half_pixel(grid.shape, grid.size, "half-pixel (as NetDissect-Lite)")
        empty = torch.zeros(A.shape[1], 0, device=A.device)
        return _Layer(TopValues(self.quantiles, cells), grid, empty, empty.long())

    def _find_thresholds(self, done: int, kept: Checkpoint) -> None:
        batches = self.pictures.batches
        for number in self.progress(range(done, len(batches)), "thresholds"):
            for name, (A, _) in self.see(self.pictures.inputs(batches[number].numbers)).items():
                self._note(self.layers[name], A, batches[number])
                self.spill.add(name, number, A, self.layers[name].top)
            if kept.due():
                kept.save(self._state("thresholds", number + 1))
        for layer in self.layers.values():
            layer.T, layer.tied = layer.top.thresholds()

    def _note(self, layer: _Layer, A: Tensor, batch: Batch) -> None:
        layer.top.add(A)
        peaks = torch.cat([layer.peaks, A.float().amax((2, 3)).T], 1)
        numbers = torch.tensor(batch.numbers, device=A.device).expand(A.shape[1], -1)
        order = peaks.sort(dim=1, descending=True, stable=True).indices[:, :EXAMPLES]
        layer.peaks = peaks.gather(1, order)
        layer.examples = torch.cat([layer.examples, numbers], 1).gather(1, order)

    def _count(self, done: int, kept: Checkpoint) -> None:
        batches, data = self.pictures.batches, self.pictures.data
        found = {name: axes(layer.grid, self.pictures.grid, layer.peaks.device) for name, layer in self.layers.items()}
        fold, counters = -1, {}
        for number in self.progress(range(done, len(batches)), "masks"):
            if batches[number].fold != fold:
                fold, counters = batches[number].fold, {name: self._counter(name) for name in self.layers}
            pictures = [data[one] for one in batches[number].numbers]
            labels, whole = self.pictures.labels(pictures, batches[number].numbers)
            maps = self._maps(number, pictures)
            truth, area = self.pictures.truth(labels, whole)
            self.truth[fold] += truth
            self.area[fold] += area
            for name, A in maps.items():
                counters[name].add(A, found[name], self.pictures.batch(labels, whole, A.device))
            last, due = number + 1 == len(batches) or batches[number + 1].fold != fold, kept.due()
            if last or due:
                for name, counter in counters.items():
                    self._gather(name, fold, counter)
                counters = {name: self._counter(name) for name in self.layers}
            if due:
                kept.save(self._state("masks", number + 1))

    def _maps(self, number: int, pictures: Sequence[Any]) -> dict[str, Tensor]:
        spilt = {name: self.spill.read(name, number, layer.T) for name, layer in self.layers.items()}
        if all(A is not None for A in spilt.values()):
            return {name: A for name, A in spilt.items() if A is not None}
        return {name: A for name, (A, _) in self.see(self.pictures.prepared(pictures)).items()}

    def _counter(self, name: str) -> Counter:
        T = self.layers[name].T
        assert T is not None
        return Counter(self.pictures.data.concepts, T)

    def _gather(self, name: str, fold: int, counter: Counter) -> None:
        for what, counts in zip(("intersection", "activation"), counter.counts(), strict=True):
            total = self._total(name, what, counts)
            if what == "intersection":
                total[fold] += counts
            else:
                total[:, fold] += counts

    def _total(self, name: str, what: str, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The counts of all folds, [F, Q, K, C] or [3, F, Q, K, G]; made of zeros when they are first asked for."""
        shape = (self.pictures.folds, *counts.shape)
        if what == "activation":
            shape = (counts.shape[0], self.pictures.folds, *counts.shape[1:])
        return self.layers[name].counts.setdefault(what, np.zeros(shape, np.int64))

    def _state(self, phase: str, done: int) -> State:
        state: State = {"phase": np.array(phase), "done": np.array(done), "truth": self.truth, "area": self.area}
        for n, layer in enumerate(self.layers.values()):
            state |= {f"peaks{n}": layer.peaks.cpu().numpy(), f"examples{n}": layer.examples.cpu().numpy()}
            if phase == "thresholds":
                state |= {f"kept{n}": layer.top.kept().cpu().numpy(), f"selected{n}": np.array(layer.top.selected)}
            else:
                assert layer.T is not None and layer.tied is not None
                state |= {f"T{n}": layer.T.cpu().numpy(), f"tied{n}": layer.tied.cpu().numpy()}
                state |= {f"{what}{n}": counts for what, counts in layer.counts.items()}
        return state

    def _restore(self, state: State) -> tuple[int, int]:
        """Take up a saved state; the batches done of each pass."""
        for n, layer in enumerate(self.layers.values()):
            device = layer.peaks.device
            layer.peaks = torch.from_numpy(state[f"peaks{n}"]).to(device)
            layer.examples = torch.from_numpy(state[f"examples{n}"]).to(device)
            if str(state["phase"]) == "thresholds":
                layer.top.restore(torch.from_numpy(state[f"kept{n}"]).to(device), int(state[f"selected{n}"]))
            else:
                layer.T = torch.from_numpy(state[f"T{n}"]).to(device)
                layer.tied = torch.from_numpy(state[f"tied{n}"]).to(device)
                layer.counts = {what: state[f"{what}{n}"] for what in ("intersection", "activation")}
        self.truth, self.area = state["truth"], state["area"]
        done = int(state["done"])
        return (done, 0) if str(state["phase"]) == "thresholds" else (len(self.pictures.batches), done)

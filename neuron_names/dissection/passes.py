"""The two passes over the pictures: thresholds, then counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.data.concepts import Labelled
from vlx.errors import InputError, ModelError
from vlx.neuron_names.dissection.alignment import quads
from vlx.neuron_names.dissection.checkpoint import Checkpoint, State, fitting
from vlx.neuron_names.dissection.contents import Progress
from vlx.neuron_names.dissection.counting import Counter
from vlx.neuron_names.dissection.labels import LabelGrid
from vlx.neuron_names.dissection.layers import Layers
from vlx.neuron_names.dissection.pictures import LabelledPictures
from vlx.neuron_names.dissection.spill import Spill
from vlx.neuron_names.dissection.thresholds import TopValues
from vlx.neuron_names.table import Tally
from vlx.pictures.placement import Grid

EXAMPLES = 8  # pictures kept for each unit
TOTALS = ("truth", "area", "overlaps")  # counts of the labels alone
FEATURE_TOLERANCE = 1e-3  # share by which the same model's features may differ between machines

Counts = NDArray[np.int64]


def silently(items: Iterable[Any], _label: str) -> Iterable[Any]:
    """A progress that shows nothing."""
    return items


@dataclass(eq=False)
class Layer:
    """What is known of one layer so far. ``first`` [B, K] are the maxima of the first pictures, to know it by."""

    grid: Grid
    first: Tensor
    top: TopValues
    sums: Tensor  # [K], float64: of all cells of all pictures
    peaks: Tensor  # [K, at most EXAMPLES], highest first
    examples: Tensor  # the pictures they are in
    T: Tensor | None = None
    tied: Tensor | None = None
    counts: dict[str, Counts] = field(default_factory=dict)

    def note(self, A: Tensor, peaks: Tensor, numbers: Sequence[int]) -> None:
        """Take in feature maps [B, K, h, w] of the pictures ``numbers``; ``peaks`` [B, K] are their maxima."""
        self.top.add(A, peaks)
        self.rank(A.float().sum((2, 3)).double(), peaks, numbers)

    def rank(self, sums: Tensor, peaks: Tensor, numbers: Sequence[int]) -> None:
        """Take in the sums [B, K] over the cells of pictures, and their maxima [B, K]."""
        for row in sums:  # one by one: the same however the pictures are batched
            self.sums += row
        every = torch.cat([self.peaks, peaks.T], 1)
        seen = torch.tensor(numbers, device=peaks.device).expand(len(self.sums), -1)
        order = every.sort(dim=1, descending=True, stable=True).indices[:, :EXAMPLES]
        self.peaks = every.gather(1, order)
        self.examples = torch.cat([self.examples, seen], 1).gather(1, order)

    def settle(self) -> None:
        """All pictures were seen: the thresholds are known, and the values they come from no longer needed."""
        self.T, self.tied = self.top.thresholds()
        self.top = TopValues((1.0,), 0)

    def gather(self, fold: int, folds: int, counter: Counter) -> None:
        """Add what was counted of one fold."""
        intersection, activation = counter.counts()
        if not self.counts:
            self.counts["intersection"] = np.zeros((folds, *intersection.shape), np.int64)
            self.counts["activation"] = np.zeros((len(activation), folds, *activation.shape[1:]), np.int64)
        self.counts["intersection"][fold] += intersection
        self.counts["activation"][:, fold] += activation

    def state(self, thresholds: bool) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in ("first", "sums", "peaks", "examples")}
        kept |= {"kept": self.top.kept()} if thresholds else {"T": self.T, "tied": self.tied, **self.counts}
        return {name: value.cpu().numpy() if isinstance(value, Tensor) else value for name, value in kept.items()}

    def restore(self, state: State, thresholds: bool, sizes: tuple[int, int, int, int]) -> None:
        """Take up what `state` gave; ``sizes``: quantiles, folds, concepts, categories.

        Raises InputError when the model's features were others, and for arrays that do not fit.
        """
        device, K = self.first.device, len(self.sums)
        quantiles, folds, concepts, categories = sizes
        near = FEATURE_TOLERANCE * float(np.abs(state["first"]).max())
        if state["first"].shape != self.first.shape or np.abs(state["first"] - self.first.cpu().numpy()).max() > near:
            raise InputError("the model gave other features when the dissection was begun")
        wide = min(state["peaks"].shape[-1], EXAMPLES)
        wanted: dict[str, tuple[Any, ...]] = {"sums": ("f8", K), "peaks": ("f4", K, wide), "examples": ("i8", K, wide)}
        wanted |= {} if thresholds else {"T": ("f4", quantiles, K), "tied": ("?", quantiles, K)}
        for name, (kind, *shape) in wanted.items():
            setattr(self, name, torch.from_numpy(fitting(state, name, kind, *shape)).to(device))
        if thresholds:
            self.top.restore(torch.from_numpy(fitting(state, "kept", "f4", K, None)).to(device))
        elif "intersection" in state or "activation" in state:
            self.counts["intersection"] = fitting(state, "intersection", "i8", folds, quantiles, K, concepts)
            self.counts["activation"] = fitting(state, "activation", "i8", 3, folds, quantiles, K, categories)


class Passes:
    """Two passes over the pictures: thresholds, then counts. With a spill the second does not run the model."""

    def __init__(
        self,
        pictures: LabelledPictures,
        layers: Layers,
        quantiles: tuple[float, ...],
        lite: bool,
        spill: Spill,
        progress: Progress,
    ) -> None:
        self.pictures, self.see, self.quantiles = pictures, layers, quantiles
        self.lite, self.spill, self.progress = lite, spill, progress
        self.layers: dict[str, Layer] = {}
        self.truth = np.zeros((pictures.folds, pictures.categories.C), np.int64)
        self.area = np.zeros((pictures.folds, pictures.categories.G), np.int64)
        self.overlaps = np.zeros(pictures.categories.G, bool)

    def go(self, kept: Checkpoint) -> None:
        """Both passes, from the beginning or from where a checkpoint left them."""
        state, phase, done = kept.load(), "thresholds", 0
        if state is not None:
            phase, done = self.restore(state, kept)
        if phase == "thresholds":
            self._find_thresholds(done, kept)
            done = 0
        self._count(done, kept)

    def tally(self, name: str) -> Tally:
        """The counts of a layer."""
        layer = self.layers[name]
        assert layer.T is not None and layer.tied is not None
        cells = len(self.pictures.data) * layer.grid.shape[0] * layer.grid.shape[1]
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
            means=(layer.sums / cells).float().cpu().numpy(),
            overlaps=self.overlaps,
        )

    def about(self, name: str) -> dict[str, Any]:
        """Where a layer's cells are."""
        grid = self.layers[name].grid
        return {
            "layer": name,
            "feature_map": list(grid.shape),
            "alignment": grid.source,
            "stride": list(grid.stride),
            "offset": list(grid.offset),
        }

    def maps(self, pictures: Sequence[Labelled]) -> dict[str, Tensor]:
        """Each layer's maps [B, K, h, w], from the model; a layer is known from the first time on."""
        by_layer: dict[str, list[Tensor]] = {}
        for inputs, count in self.pictures.blocks(pictures):
            for name, (A, grid) in self.see(inputs).items():
                by_layer.setdefault(name, []).append(A[:count])
                if name not in self.layers:
                    self.layers[name] = self._layer(A[:count], grid)
        return {name: torch.cat(blocks) if len(blocks) > 1 else blocks[0] for name, blocks in by_layer.items()}

    def _layer(self, A: Tensor, grid: Grid) -> Layer:
        if self.lite:
            grid = Grid.half_pixel(grid.shape, grid.size, "half-pixel (as NetDissect-Lite)")
        none = torch.zeros(A.shape[1], 0, device=A.device)
        top, sums = self.top(A), torch.zeros(A.shape[1], dtype=torch.double, device=A.device)
        return Layer(grid, A.float().amax((2, 3)), top, sums, none, none.long())

    def top(self, A: Tensor) -> TopValues:
        """What finds the thresholds of a layer with maps like A, over all pictures."""
        return TopValues(self.quantiles, len(self.pictures.data) * A.shape[2] * A.shape[3])

    def _find_thresholds(self, done: int, kept: Checkpoint) -> None:
        batches = self.pictures.batches
        numbers = self.progress(range(done, len(batches)), "thresholds")
        for number in kept.over(numbers, lambda number: self.state("thresholds", number + 1)):
            maps = self.maps(self.pictures.read(batches[number]))
            for place, (name, A) in enumerate(maps.items()):
                self._note(place, name, number, A)
        self.settle(kept)

    def settle(self, kept: Checkpoint) -> None:
        """The first pass is done."""
        for layer in self.layers.values():
            layer.settle()
        kept.save(lambda: self.state("masks", 0))

    def _note(self, place: int, name: str, number: int, A: Tensor) -> None:
        layer, peaks = self.layers[name], A.float().amax((2, 3))
        layer.note(A, peaks, self.pictures.batches[number].numbers)
        refuse_nan(self.see.task.name, name, layer.sums)
        self.spill.add(place, number, A, peaks > layer.top.floor[None])

    def _count(self, done: int, kept: Checkpoint) -> None:
        batches, counting = self.pictures.batches, Counting(self)

        def state(number: int) -> State:
            counting.gather()
            return self.state("masks", number + 1)

        for number in kept.over(self.progress(range(done, len(batches)), "masks"), state):
            self.count(number, counting)
        kept.save(lambda: state(len(batches) - 1))
        counting.gather()

    def count(self, number: int, counting: "Counting") -> None:
        """Count a batch."""
        batch = self.pictures.batches[number]
        pictures = self.pictures.read(batch)
        maps, labels = self._again(number, pictures), self.pictures.labels(pictures, batch)
        for fold, first, stop in batch.parts:
            part = labels.part(first, stop)
            self._add_labels(fold, part)
            counting.add(fold, {name: A[first:stop] for name, A in maps.items()}, part)

    def _add_labels(self, fold: int, labels: LabelGrid) -> None:
        truth, area = labels.truth()
        self.truth[fold] += truth
        self.area[fold] += area
        self.overlaps |= labels.overlaps()

    def _again(self, number: int, pictures: Sequence[Labelled]) -> dict[str, Tensor]:
        """A batch's maps a second time: as they were set aside, or from the model."""
        spilt = {
            name: self.spill.read(place, number, layer.peaks.device)
            for place, (name, layer) in enumerate(self.layers.items())
        }
        if all(A is not None for A in spilt.values()):
            return {name: A for name, A in spilt.items() if A is not None}
        return self.maps(pictures)

    def state(self, phase: str, done: int) -> State:
        """What a checkpoint keeps in a pass with ``done`` batches behind it."""
        state: State = {"phase": np.array(phase), "done": np.array(done)}
        state |= {name: getattr(self, name) for name in TOTALS} | {"hashes": self.pictures.contents.hashes}
        for n, layer in enumerate(self.layers.values()):
            state |= {f"{n}/{name}": value for name, value in layer.state(phase == "thresholds").items()}
        return state

    def restore(self, state: State, kept: Checkpoint) -> tuple[str, int]:
        """Take up a saved state: the pass it is in, and its batches that are done."""
        with kept.taken_up():
            if str(state["phase"]) not in ("thresholds", "masks") or not 0 <= int(state["done"]) <= len(
                self.pictures.batches
            ):
                raise InputError("it tells of no pass, or of more batches than there are")
            self.pictures.contents.restore(state["hashes"], self.progress)
        self.maps(self.pictures.read(self.pictures.batches[0]))
        phase, sizes = str(state["phase"]), (len(self.quantiles), *self.truth.shape, len(self.area[0]))
        with kept.taken_up():
            for n, layer in enumerate(self.layers.values()):
                arrays = {
                    name.removeprefix(f"{n}/"): value for name, value in state.items() if name.startswith(f"{n}/")
                }
                layer.restore(arrays, phase == "thresholds", sizes)
            for name in TOTALS:
                before = getattr(self, name)
                setattr(self, name, fitting(state, name, before.dtype.str, *before.shape))
        return phase, int(state["done"])


def refuse_nan(task: str, layer: str, sums: Tensor) -> None:
    """Raises ModelError for features that are no numbers; ``sums`` are over all their cells."""
    if not torch.isfinite(sums).all():
        raise ModelError(f"{task}, layer {layer}: nan or infinite features; check its weights")


class Counting:
    """The counters of the layers, for one fold after the other."""

    def __init__(self, passes: Passes) -> None:
        self.pictures, self.layers = passes.pictures, passes.layers
        grid = self.pictures.grid
        self.quads = {name: quads(layer.grid, grid, layer.peaks.device) for name, layer in self.layers.items()}
        self.fold, self.counters = -1, dict[str, Counter]()

    def add(self, fold: int, maps: dict[str, Tensor], labels: LabelGrid) -> None:
        """Count the masks of maps [B, K, h, w] of pictures of one fold."""
        if fold != self.fold:
            self.gather()
            self.fold = fold
        if not self.counters:
            self.counters = {name: self._counter(layer) for name, layer in self.layers.items()}
        batches = {device: labels.batch(device) for device in {A.device for A in maps.values()}}
        for name, A in maps.items():
            self.counters[name].add(A, self.quads[name], batches[A.device])

    def gather(self) -> None:
        """Hand over what was counted, and start from zero."""
        for name, counter in self.counters.items():
            self.layers[name].gather(self.fold, self.pictures.folds, counter)
        self.counters = {}

    def _counter(self, layer: Layer) -> Counter:
        assert layer.T is not None
        return Counter(self.pictures.categories, layer.T)

"""One pass over captioned pictures: each unit's highest activation in each, kept whole."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlx.data.example import Told, labelled
from vlx.errors import ImageError, InputError, ModelError
from vlx.neuron_names.dissection.checkpoint import Checkpoint, State, fitting
from vlx.neuron_names.dissection.contents import Contents, Progress
from vlx.neuron_names.dissection.layers import Layers
from vlx.neuron_names.dissection.passes import EXAMPLES, FEATURE_TOLERANCE
from vlx.neuron_names.dissection.pictures import BLOCK
from vlx.neuron_names.table import Activity


class Peaks:
    """What one pass finds of ``data``: ``values`` float32 [N, K] by layer, nan where a picture cannot be read.

    ``unread`` are the numbers of those pictures. Blocks are of fixed pictures, so that a run that goes on gives to the
    bit what one run gives.
    """

    def __init__(self, data: Told, layers: Layers, progress: Progress) -> None:
        self.data, self.see, self.progress = data, layers, progress
        self.values: dict[str, NDArray[np.float32]] = {}
        self.contents = Contents(data)
        self.unread: list[int] = []
        self.grids: dict[str, tuple[list[int], str]] = {}
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._cells: dict[str, int] = {}

    def go(self, kept: Checkpoint) -> None:
        """The whole pass, from the beginning or from where a checkpoint left it."""
        state, first = kept.load(), 0
        if state is not None:
            first = self.restore(state, kept)
        starts = self.progress(range(first, len(self.data), BLOCK), "peaks")
        for start in kept.over(starts, lambda start: self.state(start + BLOCK)):
            self._take(start)
        self.end(kept)

    def activity(self, layer: str) -> Activity:
        """The pictures in which units of a layer are most active, most active first, and their mean activations."""
        values = np.nan_to_num(self.values[layer], nan=-np.inf)
        order = (-values).argsort(0, kind="stable")[:EXAMPLES].T
        order[np.isneginf(values[order, np.arange(len(order))[:, None]])] = -1  # as fewer pictures could be read
        return Activity(order.astype(np.int32), (self._sums[layer] / self._cells[layer]).astype(np.float32))

    def find(self, start: int) -> State:
        """Run the model on the pictures of one block that can be read: what `add` takes in."""
        numbers, prepared, unread = [], [], []
        block = range(start, min(start + BLOCK, len(self.data)))
        for number in block:
            try:
                picture = labelled(self.data[number], ())
            except ImageError:
                self.contents.note(number, None)
                unread.append(number)
                continue
            self.contents.note(number, picture)
            numbers.append(number)
            prepared.append(self.see.task.prepare(picture.image))
        state: State = {"numbers": np.array(numbers, np.int64), "unread": np.array(unread, np.int64)}
        state |= {"block": np.array(block), "hashes": self.contents.hashes[block.start : block.stop]}
        layers = dict(self._maps(prepared)) if prepared else {}
        state["layers"] = np.array(list(layers))
        for n, (name, A) in enumerate(layers.items()):
            state[f"{n}/values"] = A.amax((2, 3)).cpu().numpy()
            state[f"{n}/sums"] = A.double().sum((0, 2, 3)).cpu().numpy()
            state[f"{n}/cells"] = np.array(len(A) * A.shape[2] * A.shape[3])
            state[f"{n}/grid"], state[f"{n}/source"] = map(np.array, self.grids[name])
        return state

    def add(self, state: State) -> None:
        """Take in what `find` found of a block; blocks come in order, as sums of floating point depend on it."""
        self.contents.gather(state["block"].tolist(), state["hashes"])
        self.unread += state["unread"].tolist()
        for n, name in enumerate(map(str, state["layers"])):
            values = state[f"{n}/values"]
            if name not in self.values:
                self._begin(name, values.shape[1])
            self.grids[name] = (state[f"{n}/grid"].tolist(), str(state[f"{n}/source"]))
            self.values[name][state["numbers"]] = values
            self._sums[name] += state[f"{n}/sums"]
            self._cells[name] += int(state[f"{n}/cells"])
            if not np.isfinite(self._sums[name]).all():
                raise ModelError(f"{self.see.task.name}, layer {name}: nan or infinite features; check its weights")

    def end(self, kept: Checkpoint) -> None:
        """All blocks were seen. Raises InputError where none of their pictures can be read."""
        if not self.values:
            raise InputError(f"{self.data.name}: none of {len(self.data)} pictures can be read")
        kept.save(lambda: self.state(len(self.data)))

    def _take(self, start: int) -> None:
        self.add(self.find(start))

    def _begin(self, name: str, units: int) -> None:
        self.values[name] = np.full((len(self.data), units), np.nan, np.float32)
        self._sums[name], self._cells[name] = np.zeros(units), 0

    def _maps(self, prepared: list[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Each layer's maps [B, K, h, w]; the first picture fills up the block."""
        sizes = {tuple(one.shape) for one in prepared}
        if len(sizes) > 1:
            raise InputError(
                f"{self.see.task.name} prepares pictures of {self.data.name} to different sizes; dissect with a "
                "`prepare` that resizes and crops all to one size"
            )
        for name, (A, grid) in self.see(torch.stack(prepared + prepared[:1] * (BLOCK - len(prepared)))).items():
            self.grids[name] = (list(grid.shape), grid.source)
            yield name, A[: len(prepared)].float()

    def state(self, done: int) -> State:
        """What a checkpoint keeps with ``done`` pictures behind it."""
        state: State = {"done": np.array(done), "unread": np.array(self.unread, np.int64)}
        state["hashes"] = self.contents.hashes
        state["layers"] = np.array(list(self.values))
        for n, name in enumerate(self.values):
            state |= {f"{n}/values": self.values[name], f"{n}/sums": self._sums[name], f"{n}/cells": self._cells[name]}
        return state

    def restore(self, state: dict[str, Any], kept: Checkpoint) -> int:
        """Take up a saved state, once the model gives what it gave for its first pictures; returns where to go on."""
        with kept.taken_up():
            self.contents.restore(state["hashes"], self.progress)
            names = [str(name) for name in state["layers"]]
        self._take(next((n for n in range(0, len(self.data), BLOCK) if not _unread_block(state, n)), 0))
        with kept.taken_up():
            for n, name in enumerate(names):
                self._restore_layer(name, {part: state[f"{n}/{part}"] for part in ("values", "sums", "cells")})
            unread, done = fitting(state, "unread", "i8", None), int(state["done"])
            if not 0 <= done <= len(self.data) + BLOCK or not np.isin(unread, range(len(self.data))).all():
                raise InputError("it tells of pictures that are not there")
        self.unread = unread.tolist()
        return done

    def _restore_layer(self, name: str, state: State) -> None:
        values = self.values.get(name, np.zeros((0, 0), np.float32))
        saved, read = state["values"], ~np.isnan(values)
        if saved.shape != values.shape or (
            np.abs(saved[read] - values[read]).max(initial=0) > FEATURE_TOLERANCE * np.abs(values[read]).max(initial=0)
        ):
            raise InputError("the model gave other features then")
        self.values[name] = fitting(state, "values", "f4", *values.shape)
        self._sums[name] = fitting(state, "sums", "f8", values.shape[1])
        self._cells[name] = int(state["cells"])


def _unread_block(state: dict[str, Any], start: int) -> bool:
    """Whether no picture of a block could be read."""
    return "0/values" not in state or bool(np.isnan(state["0/values"][start : start + BLOCK]).all())

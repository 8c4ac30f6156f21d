"""Dissections that are stopped, set aside, batched or shuffled give the same counts, bit for bit."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from tests.dissections import COUNTED, Given, Made, made, rectified, same
from tests.fakes import TinyCnn
from vlx.data.concepts import Labelled
from vlx.data.example import ConceptData, Example
from vlx.data.scenes import SceneData
from vlx.errors import InputError, ModelError, OutputError
from vlx.neuron_names.dissection import dissect, dissect_layers
from vlx.neuron_names.dissection.checkpoint import Checkpoint
from vlx.neuron_names.dissection.layers import Layers
from vlx.neuron_names.dissection.passes import Passes
from vlx.neuron_names.dissection.pictures import BLOCK, LabelledPictures
from vlx.neuron_names.dissection.spill import Spill
from vlx.neuron_names.table import NeuronNames
from vlx.pictures.placement import Grid
from vlx.protocol.task import Task
from vlx.tasks.classification import Classifier

ROOT = Path(__file__).resolve().parents[2]
GRID = Grid((1.5, 1.5), (8.0, 8.0), (4, 4), (32, 32))
N = 70
BATCHES = -(-N // BLOCK)
WHOLE_COUNTS = tuple(name for name in COUNTED if name not in ("thresholds", "tied"))


def given(**options: Any) -> Given:
    return Given(rectified(N, 6, (4, 4)), GRID, **options)


def run(task: Task, data: ConceptData | None = None, **options: Any) -> NeuronNames:
    return dissect(task, data or made(N, (32, 32)), **{"quantile": (0.02, 0.1)} | options)


@pytest.fixture(autouse=True)
def saved_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlx.neuron_names.dissection.checkpoint.EVERY", 0)


@pytest.mark.parametrize(
    ("breaks", "spilt"),
    [
        *((at, False) for at in (1, 2, BATCHES, BATCHES + 1, 2 * BATCHES - 1, 2 * BATCHES)),
        *((at, True) for at in (1, 2, BATCHES)),  # then the model does not run any more
    ],
)
def test_a_dissection_that_was_stopped_goes_on(breaks: int, spilt: bool, tmp_path: Path) -> None:
    options: dict[str, Any] = {"checkpoint": tmp_path / "part", "spill": tmp_path / "maps" if spilt else None}
    expected = run(given())
    with pytest.raises(KeyboardInterrupt):
        run(given(breaks=breaks), **options)
    task = given()
    same(run(task, **options), expected)
    assert [*tmp_path.glob("part*"), *tmp_path.glob("maps/*")] == [tmp_path / "part"]
    again = min(breaks - 1, 1)  # the first batch, to know the model by
    assert task.runs == (BATCHES if spilt else 2 * BATCHES) - (breaks - 1) + again


@pytest.mark.parametrize("at", range(BATCHES + 1))
def test_a_dissection_of_maps_set_aside_goes_on(at: int, tmp_path: Path) -> None:
    def stopping(items: Iterable[Any], label: str) -> Iterable[Any]:
        for n, item in enumerate(items):
            if label == "masks" and n == at:
                raise KeyboardInterrupt
            yield item
        if label == "masks":
            raise KeyboardInterrupt

    options: dict[str, Any] = {"checkpoint": tmp_path / "part", "spill": tmp_path / "maps"}
    with pytest.raises(KeyboardInterrupt):
        run(given(), progress=stopping, **options)
    task = given()
    same(run(task, **options), run(given()))
    assert task.runs == 1


SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests.neuron_names.test_dissection_runs import given, run
from vlx.neuron_names.dissection import checkpoint

checkpoint.EVERY = 0

def killed(items, label):
    for n, item in enumerate(items):
        if (label, n) == (during, 3):
            os.kill(os.getpid(), signal.SIGKILL)
        yield item

for during in ("thresholds", "masks"):
    folder, child = Path(sys.argv[1]) / during, os.fork()
    if child:
        print(os.WTERMSIG(os.waitpid(child, 0)[1]))
    else:
        folder.mkdir()
        run(given(), checkpoint=folder / "part", spill=folder / "maps", progress=killed)
"""


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(signal.SIGKILL.value)] * 2, done.stderr
    for during in ("thresholds", "masks"):
        task, folder = given(), tmp_path / during
        assert (folder / "part").exists()
        same(run(task, checkpoint=folder / "part", spill=folder / "maps"), run(given()))
        assert task.runs == (BATCHES - 3 if during == "thresholds" else 0) + 1


def other_maps() -> Given:
    return Given(rectified(N, 6, (4, 4), seed=9), GRID)


class Renamed(Given):
    def digest(self) -> str:
        return given().digest()


@pytest.mark.parametrize(
    ("task", "options"),
    [
        (other_maps(), {}),
        (given(), {"quantile": 0.02}),
        (given(), {"folds": 3}),
        (given(), {"compat": "lite"}),
        (given(), {"labels": (8, 8)}),
        (given(), {"batch_size": 32}),
        (given(), {"data": made(N, (32, 32), seed=1)}),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(task: Task, options: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(given(breaks=3), checkpoint=tmp_path / "part")
    before = (tmp_path / "part").read_bytes()
    with pytest.raises(InputError, match="part was begun with another model, other pictures or other settings; delete"):
        run(task, checkpoint=tmp_path / "part", **options)
    assert (tmp_path / "part").read_bytes() == before


def test_a_model_that_only_claims_to_be_the_same_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(given(breaks=3), checkpoint=tmp_path / "part")
    task = Renamed(rectified(N, 6, (4, 4), seed=9), GRID)
    with pytest.raises(InputError, match="the model gave other features when the dissection was begun; delete it"):
        run(task, checkpoint=tmp_path / "part")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match=r"is no dissection to go on with; delete it to start anew"):
        run(given(), checkpoint=tmp_path / "part")


def test_places_that_cannot_be_are_refused_before_the_model_runs(tmp_path: Path) -> None:
    task = given()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"none: no such folder; make it first"):
        run(task, checkpoint=tmp_path / "none" / "kept.part")
    with pytest.raises(OutputError, match=r"file: no folder can be made there"):
        run(task, spill=tmp_path / "file")
    assert task.seen == []


@pytest.mark.parametrize("quantile", ["0.1", None, [], ["0.1"], 0, 1.5, float("nan")])
def test_quantiles_that_are_no_shares_are_refused(quantile: Any) -> None:
    with pytest.raises(InputError, match=r"quantile=.*; give shares between 0 and 1, such as 0.005"):
        run(given(), quantile=quantile)


def test_pictures_may_be_given_by_name() -> None:
    task = Classifier(Net().eval(), "relu", prepare=prepare)
    same(dissect(task, "scenes:3", quantile=0.1), dissect(task, SceneData(3), quantile=0.1))


def test_concepts_that_stand_twice_are_refused_before_the_model_runs() -> None:
    data, task = made(N, (32, 32)), given()
    data = replace(data, concepts=(*data.concepts, data.concepts[0]))
    with pytest.raises(InputError, match=r"has concepts twice: dog \(object\)"):
        run(task, data)
    assert task.seen == []


def test_with_a_spill_the_model_runs_once_a_picture(tmp_path: Path) -> None:
    task = given()
    same(run(task, spill=tmp_path / "new" / "maps"), run(given()))
    assert sorted(task.seen) == list(range(N)) and task.runs == BATCHES
    assert list((tmp_path / "new" / "maps").iterdir()) == []
    task = given()
    run(task)
    assert sorted(task.seen) == sorted([*range(N), *range(N)])


def test_a_spill_is_small_once_the_floor_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlx.neuron_names.dissection.thresholds.SPARE", 64)
    count, kept = 1600, []
    maps = torch.rand(count, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    reading = Spill.read

    def read(self: Spill, layer: int, batch: int, device: torch.device) -> Tensor | None:
        found = reading(self, layer, batch, device)
        if self.path is None:
            return found
        assert found is not None
        kept.append(float(torch.isfinite(found).float().mean()))
        return found

    monkeypatch.setattr(Spill, "read", read)
    data, task = made(count, (16, 16)), Given(maps, Grid.half_pixel((4, 4), (16, 16)))
    same(dissect(task, data, spill=tmp_path), dissect(task, data))
    assert task.runs == 3 * 100
    assert kept[0] == 1 and max(kept[-10:]) < 0.2 and np.mean(kept) < 0.4  # 16 cells: 8 % have one of the top 0.5 %


def test_broken_and_foreign_files_of_a_spill_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = tmp_path / "spill-0123-0-0.h5"
    foreign.write_bytes(b"another dissection's")
    adding = Spill.add

    def add(self: Spill, layer: int, batch: int, A: Tensor, matters: Tensor) -> None:
        adding(self, layer, batch, A, matters)
        if self.path is not None and batch == 1:
            next(tmp_path.glob("spill-*-0-1.h5")).write_bytes(b"PK broken")

    monkeypatch.setattr(Spill, "add", add)
    task = given()
    same(run(task, spill=tmp_path), run(given()))
    assert task.runs == BATCHES + 1
    assert list(tmp_path.iterdir()) == [foreign]


class Shuffled:
    """The same pictures in another order."""

    def __init__(self, data: ConceptData, seed: int) -> None:
        self.data, self.concepts, self.name, self.licence = data, data.concepts, data.name, data.licence
        self.order = np.random.default_rng(seed).permutation(len(data)).tolist()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> Example | Labelled:
        return self.data[self.order[number]]

    def digest(self) -> str:
        return self.data.digest() + str(self.order)


class Drawn(SceneData):
    """Scenes that are drawn once."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.kept = [super(Drawn, self).__getitem__(number) for number in range(count)]

    def __getitem__(self, number: int) -> Example:
        return self.kept[number]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("count", "sizes"), [(9, (4, 9)), pytest.param(37, (1, 32), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_neither_order_nor_batches_change_a_count_of_a_real_network(
    threads: int, count: int, sizes: tuple[int, int]
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        task, data = vlx.load("scenes/captioner"), Drawn(count)
        first = run(task, data, quantile=(0.005, 0.05), batch_size=2)
        for size in sizes:
            same(run(task, data, quantile=(0.005, 0.05), batch_size=size), first)
        other = run(task, Shuffled(data, 0), quantile=(0.005, 0.05), batch_size=2)
    finally:
        torch.set_num_threads(before)
    assert first.tally is not None and other.tally is not None
    same(first, other, ["thresholds", "tied", "overlaps"])
    for name in WHOLE_COUNTS:
        axis = 1 if name == "activation" else 0
        one, two = (getattr(it, name).sum(axis) for it in (first.tally, other.tally))
        assert one.sum() > 0 and np.array_equal(one, two), name


class Net(nn.Module):
    """A classifier whose last ReLU changes its input in place."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.tail, self.head = TinyCnn(6), nn.Conv2d(6, 7, 3, padding=1), nn.Linear(7, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.relu(self.tail(self.stem(images))).mean((2, 3))))


def prepare(image: Any) -> Tensor:
    return torch.from_numpy(np.asarray(image.resize((16, 16)), np.float32)).permute(2, 0, 1) / 255


class Noise(Made):
    """Pictures of noise."""

    def __getitem__(self, number: int) -> Labelled:
        pixels = np.random.default_rng(number).integers(0, 256, (*self.size, 3), np.uint8)
        return Labelled(Image.fromarray(pixels), self.labels[number], self.whole[number])


def shown() -> Made:
    return Noise(**vars(made(20, (32, 32))))


def test_several_layers_in_one_run_equal_one_run_each(tmp_path: Path) -> None:
    model, data = Net().eval(), shown()
    task = Classifier(model, "relu", prepare=prepare)
    layers = {"stem": model.stem, "tail": model.tail, "relu": model.relu}
    calls: list[int] = []
    counting = model.stem.register_forward_hook(lambda *_: calls.append(1))
    found = dissect_layers(task, data, layers, quantile=0.1)
    counting.remove()
    assert list(found) == ["stem", "tail", "relu"] and [len(names) for names in found.values()] == [6, 7, 7]
    for name, module in layers.items():
        same(found[name], dissect_layers(task, data, {name: module}, quantile=0.1)[name])
        assert found[name].about["layer"] == name
    same(found["relu"], dissect(task, data, quantile=0.1))
    assert (found["tail"].tally.thresholds != found["relu"].tally.thresholds).any()  # type: ignore[union-attr]
    spilt = dissect_layers(task, data, layers, quantile=0.1, spill=tmp_path / "s", checkpoint=tmp_path / "c")
    for name in layers:
        same(found[name], spilt[name])
    assert not any(module._forward_hooks for module in layers.values())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (lambda model: {"head": model.head}, r"layer 'head' gave \(16, 3\); choose one before the model's own layer"),
        (lambda model: {"other": nn.ReLU()}, "layer 'other' did not run; choose one before the model's own layer"),
    ],
)
def test_layers_that_give_no_map_are_refused(layers: Callable[[Net], Any], message: str) -> None:
    model = Net().eval()
    with pytest.raises(ModelError, match=message):
        dissect_layers(Classifier(model, "relu", prepare=prepare), shown(), layers(model))
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(InputError, match="names no layer; leave it out for the model's own"):
        dissect_layers(Classifier(model, "relu", prepare=prepare), shown(), {})


def test_pictures_that_are_prepared_to_different_sizes_are_refused() -> None:
    task = given()
    task.prepare = lambda image: torch.zeros(3, 8, 8 + np.asarray(image)[0, 0, 0] % 2)  # type: ignore[method-assign]
    with pytest.raises(InputError, match=r"to different sizes, \(8, 8\) and \(8, 9\); dissect with a `prepare`"):
        run(task)


def held(thing: Any, known: set[int]) -> int:
    """Bytes of all tensors and arrays that hang on something of this package."""
    if id(thing) in known:
        return 0
    known.add(id(thing))
    if isinstance(thing, Tensor):
        return thing.numel() * thing.element_size()
    if isinstance(thing, np.ndarray):
        return int(thing.nbytes)
    if isinstance(thing, dict):
        return sum(held(one, known) for one in thing.values())
    if isinstance(thing, list | tuple):
        return sum(held(one, known) for one in thing)
    if type(thing).__module__.startswith("vlx.neuron_names.dissection"):
        return held(vars(thing), known)
    return 0


def peaks(count: int) -> dict[str, int]:
    """The most bytes held in each pass over ``count`` pictures."""
    data = Made(np.ones((1, 1, 16, 16), np.int64), [()], (16, 16), [0] * count)
    task, found = Given(rectified(1, 32, (4, 4)), Grid.half_pixel((4, 4), (16, 16))), {"thresholds": 0, "masks": 0}

    def weighed(items: Iterable[Any], label: str) -> Iterable[Any]:
        for item in items:
            found[label] = max(found[label], held(passes, {id(task)}))
            yield item

    passes = Passes(LabelledPictures(task, data, 4, 16, None), Layers(task), (0.005,), False, Spill(None, {}), weighed)
    passes.go(Checkpoint(None, {}))
    return found


def test_memory_does_not_grow_with_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlx.neuron_names.dissection.thresholds.SPARE", 256)
    few, many = peaks(160), peaks(640)
    values = 4 * 32 * 16 * (640 - 160) * 0.005  # the largest of every unit, float32
    hashes = 8 * (640 - 160)
    assert 0 <= many["thresholds"] - few["thresholds"] - hashes <= values * 1.05
    assert many["masks"] - hashes == few["masks"] > 0

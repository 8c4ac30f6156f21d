"""Pictures that change while they are dissected are refused by name; a checkpoint goes when the table is there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from tests.dissections import same
from vlx import neuron_names
from vlx.cli.program import main
from vlx.data import Filed
from vlx.data.example import with_concepts
from vlx.errors import InputError, OutputError
from vlx.files import hdf5
from vlx.neuron_names import open_data
from vlx.neuron_names.dissection import dissect
from vlx.neuron_names.table import NeuronNames
from vlx.tasks.classification import Classifier

ROOT = Path(__file__).resolve().parents[2]
N, SIDE = 40, 16
BATCHES = 3


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of noise without compression, so that all are of one size, with a label map each."""
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "labels").mkdir()
    (data / "labels.txt").write_text("sky\nsea\n")
    for n in range(N):
        noise(n).save(data / "images" / f"{n:02}.bmp")
        labels = np.zeros((SIDE, SIDE), np.uint8)
        labels[: 8 + n % 5], labels[12:] = 1, 2
        Image.fromarray(labels).save(data / "labels" / f"{n:02}.png")
    return data


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.stem(pictures).relu().mean((2, 3))))


def run(folder: Path, progress: Any = lambda items, _: items, **options: Any) -> NeuronNames:
    def prepare(image: Any) -> Tensor:
        return torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1) / 255

    task = Classifier(Net().eval(), "stem", prepare=prepare)
    return dissect(task, folder, quantile=0.1, progress=progress, **options)


def at(phase: str, batch: int, do: Callable[[], None]) -> Callable[[Iterable[Any], str], Iterable[Any]]:
    """Progress that does something before a batch of a pass."""

    def progress(items: Iterable[Any], label: str) -> Iterable[Any]:
        for n, item in enumerate(items):
            if (label, n) == (phase, batch):
                do()
            yield item

    return progress


def interrupt() -> None:
    raise KeyboardInterrupt


def replaced(folder: Path, number: int) -> Callable[[], None]:
    """Another picture of the same name and size."""

    def change() -> None:
        path = folder / "images" / f"{number:02}.bmp"
        before = path.stat().st_size
        noise(1000 + number).save(path)
        assert path.stat().st_size == before

    return change


@pytest.mark.parametrize(("phase", "batch"), [("thresholds", 1), ("thresholds", 2), ("masks", 0), ("masks", 2)])
def test_a_picture_that_changed_while_the_run_was_stopped_is_refused(phase: str, batch: int, folder: Path) -> None:
    kept = folder.parent / "part"
    with pytest.raises(KeyboardInterrupt):
        run(folder, at(phase, batch, interrupt), checkpoint=kept)  # kept by the interrupt: EVERY is 30 s
    replaced(folder, 4)()  # of the first batch
    with pytest.raises(InputError, match=r"part cannot be gone on with: .*images/04.bmp has changed since .*delete"):
        run(folder, checkpoint=kept)
    noise(4).save(folder / "images" / "04.bmp")
    same(run(folder, checkpoint=kept), run(folder))


def test_a_label_map_that_changed_is_refused_too(folder: Path) -> None:
    kept = folder.parent / "part"
    with pytest.raises(KeyboardInterrupt):
        run(folder, at("masks", 1, interrupt), checkpoint=kept)
    path = folder / "labels" / "04.png"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert path.stat().st_size == size
    with pytest.raises(InputError, match=r"images/04.bmp has changed since the dissection was begun; delete it"):
        run(folder, checkpoint=kept)


def test_a_picture_that_was_not_read_yet_may_change(folder: Path) -> None:
    kept = folder.parent / "part"
    with pytest.raises(KeyboardInterrupt):
        run(folder, at("thresholds", 1, interrupt), checkpoint=kept)
    replaced(folder, 39)()  # of the last batch
    same(run(folder, checkpoint=kept), run(folder))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_picture_that_changes_between_the_passes_is_refused(wrapped: bool, folder: Path) -> None:
    class Other:
        """The same without files: pixels and labels tell."""

        def __init__(self) -> None:
            self.own = with_concepts(open_data(folder))
            self.name, self.licence, self.concepts = "own", "", self.own.concepts

        def __len__(self) -> int:
            return len(self.own)

        def __getitem__(self, number: int) -> Any:
            return self.own[number]

        def digest(self) -> str:
            return "same"

    data: Any = Other() if wrapped else folder
    assert not isinstance(Other(), Filed)
    where = "own, picture 4" if wrapped else r"images/04.bmp"
    with pytest.raises(InputError, match=rf"{where} has changed since the dissection was begun; put back what it was"):
        run(data, at("masks", 0, replaced(folder, 4)))


def test_the_table_tells_what_the_pictures_held(folder: Path) -> None:
    before = run(folder).about
    replaced(folder, 30)()
    after = run(folder).about
    assert before["dataset_hash"] == after["dataset_hash"]
    assert before["contents_hash"] != after["contents_hash"]


def test_a_checkpoint_of_anothers_making_is_refused(folder: Path) -> None:
    kept = folder.parent / "part"
    with pytest.raises(KeyboardInterrupt):
        run(folder, at("masks", 1, interrupt), checkpoint=kept)
    with h5py.File(kept) as file:
        names: list[str] = []
        file.visititems(lambda name, part: names.append(name) if hasattr(part, "shape") else None)
        held = {name: file[name][()] for name in names}

    def made(changed: dict[str, Any]) -> None:
        def fill(file: Any) -> None:
            for name, value in {**held, **changed}.items():
                if value is not None:
                    file[name] = value

        hdf5.write(kept, fill)

    for name in sorted(held.keys() - {"settings"}):
        for value in (None, np.zeros((3, 2, 2))):
            made({name: value})
            with pytest.raises(InputError, match=r"part cannot be gone on with: .*; delete it to start anew"):
                run(folder, checkpoint=kept)
    made({})
    same(run(folder, checkpoint=kept), run(folder))


# The command


def command(out: Path, count: int = 16) -> list[str]:
    return ["dissect", "scenes/captioner", f"scenes:{count}", "-o", str(out), "--quantile", "0.01", "--batch-size", "1"]


def test_a_table_that_cannot_be_saved_leaves_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "names.h5"

    def full(self: NeuronNames, path: Path) -> None:
        raise OutputError(f"{path}: cannot be written (No space left on device)")

    with monkeypatch.context() as patched:
        patched.setattr(NeuronNames, "save", full)
        assert CliRunner().invoke(main, command(out, 8)).exit_code != 0
    assert [path.name for path in tmp_path.iterdir()] == ["names.h5.part"]
    monkeypatch.setattr("vlx.neuron_names.dissection.passes.Passes._note", None)  # nothing is computed again
    said = CliRunner().invoke(main, command(out, 8))
    assert said.exit_code == 0, said.output
    assert [path.name for path in tmp_path.iterdir()] == ["names.h5"]


PAUSING = """
import time
from vlx.cli.program import main
from vlx.neuron_names.dissection import checkpoint

def save(self, state, write=checkpoint.Checkpoint.save):
    write(self, state)
    time.sleep(20)  # here it is interrupted

checkpoint.EVERY, checkpoint.Checkpoint.save = 0, save
main()
"""


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "names.h5"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", PAUSING, *command(out)]
    # the interpreter's own handler, as a shell that runs it in the foreground leaves it
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    part = tmp_path / "names.h5.part"
    while process.poll() is None and not part.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert f"Interrupted: the same command goes on; {part} has what was counted" in told
    assert CliRunner().invoke(main, command(out)).exit_code == 0
    assert CliRunner().invoke(main, command(tmp_path / "whole.h5")).exit_code == 0
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert len(neuron_names.load(out)) == 256

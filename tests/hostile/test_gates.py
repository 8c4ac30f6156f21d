"""Files that were made to do harm: nothing of the machine is let in, nothing is taken before it is looked at."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

import vlx
from tests.explanations import caption_explanation
from vlx import neuron_names
from vlx.data.files import label_map
from vlx.errors import ImageError, InputError, ModelError, OutputError, VlxError, in_own_words
from vlx.explanation import schema, storage
from vlx.files import hdf5, json_files, whole
from vlx.neuron_names.dissection.checkpoint import Checkpoint
from vlx.pictures.opening import open_image
from vlx.protocol.outputs import MEANINGS
from vlx.protocol.targets import TARGET_KINDS

Fill = Callable[[Any], object]
SECRET = b"a line of another file" * 10


def virtual(secret: Path) -> Fill:
    with h5py.File(secret.with_suffix(".h5"), "w") as file:
        file["image"] = np.frombuffer(SECRET, np.uint8)
    layout = h5py.VirtualLayout((len(SECRET),), np.uint8)
    layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "image", (len(SECRET),))
    return lambda file: file.create_virtual_dataset("a", layout)


def external(secret: Path) -> Fill:
    return lambda file: file.create_dataset("a", (len(SECRET),), np.uint8, external=[(str(secret), 0, len(SECRET))])


def same_twice(file: Any) -> None:
    file["one"] = np.zeros(3)
    file["two"] = file["one"]


def in_itself(file: Any) -> None:
    file.create_group("group")["self"] = file["/"]


def one_text_many_times(file: Any) -> None:
    file.create_dataset("a", data=np.array(["x" * 2**20] * 200, dtype=object), dtype=h5py.string_dtype())


HARM: dict[str, tuple[Callable[[Path], Fill], str]] = {
    "external storage": (external, "in another file"),
    "virtual": (virtual, "in another file"),
    "external link": (lambda secret: lambda f: f.__setitem__("a", h5py.ExternalLink(str(secret), "/a")), "a link"),
    "soft link": (lambda _: lambda f: f.__setitem__("a", h5py.SoftLink("/b")), "a link"),
    "twice": (lambda _: same_twice, "stands there twice"),
    "in itself": (lambda _: in_itself, "stands there twice"),
    "80 GB": (lambda _: lambda f: f.create_dataset("a", (10**6, 10**4), "f8", compression="gzip"), r"80\.0 GB, more"),
    "chunk": (lambda _: lambda f: f.create_dataset("a", (1,), "f8", chunks=(2**28,), maxshape=(None,)), "GB, more"),
    "nothing there": (lambda _: lambda f: f.create_dataset("a", (10**4, 10**4), "f4"), "that are not there"),
    "filter": (lambda _: lambda f: f.create_dataset("a", (9,), "f8", chunks=(3,), compression="lzf"), "packed by"),
    "compound": (lambda _: lambda f: f.create_dataset("a", (9,), np.dtype([("x", "i4")])), "a kind that vlx"),
    "reference": (lambda _: lambda f: f.create_dataset("a", (9,), h5py.ref_dtype), "a kind that vlx"),
    "no values": (lambda _: lambda f: f.create_dataset("a", data=h5py.Empty("f4")), "empty of any value"),
    "a type": (lambda _: lambda f: f.__setitem__("a", np.dtype("f4")), "not an array or a group"),
    "texts": (lambda _: one_text_many_times, "longer than"),
    "attribute": (lambda _: lambda f: f.attrs.__setitem__("about", np.zeros(99)), "several values"),
}
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "explanation": ("a.h5", vlx.Explanation.load),
    "table": ("a.h5", neuron_names.load),
    "checkpoint": ("a.part", lambda path: Checkpoint(path, {}).load()),
}


@pytest.mark.parametrize("name", HARM)
def test_every_reader_of_hdf5_refuses_what_is_not_its_own(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    make, message = HARM[name]
    with h5py.File(tmp_path / "a.h5", "w", libver=("v108", "v110")) as file:
        file.attrs["format"] = "vlx explanation"
        make(secret)(file)
    (tmp_path / "a.part").write_bytes((tmp_path / "a.h5").read_bytes())
    with (
        pytest.raises(InputError, match=message),
        hdf5.reading(tmp_path / "a.h5", "file", ("format", "about")) as file,
    ):
        pytest.fail("it was let in")
    for where, load in READERS.values():
        with pytest.raises(InputError) as refusal:
            load(tmp_path / where)
        assert len(str(refusal.value)) < 300


def test_a_table_within_limits_may_be_opened_with_more(tmp_path: Path) -> None:
    shipped = Path(str(neuron_names.__path__[0])) / "tables" / "captioner.h5"
    with pytest.raises(InputError, match="GB, more than"):
        neuron_names.formats.hdf5.load(shipped, most=1000)
    assert len(neuron_names.formats.hdf5.load(shipped, most=2**26)) > 0


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_every_flipped_bit_is_found_or_in_nothing_that_is_read(tmp_path: Path, ending: str) -> None:
    path = caption_explanation().save(tmp_path / f"why.{ending}")
    good, before = path.read_bytes(), vlx.Explanation.load(path)
    again = storage._listed(storage._record(before))
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(good), 60):
        data = bytearray(good)
        data[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            found = vlx.Explanation.load(path)
        except InputError:
            continue
        assert storage._listed(storage._record(found)) == again, place


def test_older_files_have_no_digest_and_load(tmp_path: Path) -> None:
    path = caption_explanation().save(tmp_path / "why.json")
    record = json.loads(path.read_text())
    del record["digest"]
    path.write_text(json.dumps(record))
    assert len(vlx.Explanation.load(path)) == 5


def test_the_schema_knows_all_targets_and_meanings() -> None:
    assert set(schema.TARGETS) == {*TARGET_KINDS, "value"}
    assert set(schema.MEANINGS) == set(MEANINGS)


# JSON


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 70 + "]" * 70, "nested more than 64 deep"),
        ("[" * 100_000, "nested too deep|whole JSON"),
        ("[1e999]", "out of range"),
        ("[NaN]", "NaN is no number"),
        (f"[{10**30}]", "out of range"),
        ("9" * 5000, "out of range"),
        ("{", "not whole JSON"),
        ('"\xff', "not whole JSON"),
    ],
)
def test_json_beyond_limits(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=message):
        json_files.read(tmp_path / "a.json", ModelError)


def test_json_of_too_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "VALUES", 10)
    with pytest.raises(InputError, match="about 12 values, more than 10"):
        json_files.parsed("[" + "[]," * 5 + "[]]", "it")


def test_pipes_and_folders_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match="is a pipe, not a file"):
        vlx.Explanation.load(tmp_path / "pipe.json")
    with pytest.raises(InputError, match="a folder, not a file"):
        json_files.read(tmp_path)
    with pytest.raises(InputError, match=r"more than the 0\.0 MB"):
        whole.read_bytes(caption_explanation().save(tmp_path / "why.json"), 100)


# Pictures


def test_drawings_reach_no_other_program_wherever_pictures_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("another program was run"))
    Image.new("RGB", (32, 32)).save(tmp_path / "a.eps")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.eps").read_bytes())
    with pytest.raises(ImageError, match="is EPS, a drawing and not pixels"):
        open_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="is EPS, a drawing and not pixels"):
        label_map(tmp_path / "a.png")


@pytest.mark.parametrize("values", [-1, 2**17, 2**31 - 1])
def test_labels_out_of_range_are_refused(tmp_path: Path, values: int) -> None:
    Image.fromarray(np.full((16, 16), values, np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"its labels go from .*; a label map has numbers from 0 to 65535"):
        label_map(tmp_path / "a.tif")


def test_a_bomb_among_label_maps(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9000, 9001), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="81 million pixels, vlx opens pictures up to 80"):
        label_map(tmp_path / "a.png")


# Models


@pytest.mark.parametrize(
    ("name", "value"),
    [("units", 10**9), ("units", True), ("size", 10**6), ("cells", [10**5, 10**5]), ("max_words", 10**9)],
)
def test_a_bundle_with_huge_counts_takes_no_memory(bundle: Path, name: str, value: Any) -> None:
    change(bundle, name, value)
    with pytest.raises(ModelError, match=rf"{name}=.*; needed is "):
        vlx.load(bundle)


def test_networks_are_compared_before_they_are_built(bundle: Path) -> None:
    change(bundle, "units", 2**15)  # 18 GB of weights
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"these weights do not fit config\.json"):
        vlx.load(bundle)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    embedded = Path(vlx.__file__).parent / "scenes" / "models" / "captioner-pooled"
    for name in ("config.json", "weights.safetensors"):
        (tmp_path / name).write_bytes((embedded / name).read_bytes())
    return tmp_path


def change(folder: Path, name: str, value: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: value}))


# Writing


@pytest.fixture
def small() -> Iterator[Path]:
    """A disk of 64 kB."""
    folder = Path(f"/tmp/vlx-small-{os.getpid()}")
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no disk can be made here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


@pytest.mark.parametrize("ending", ["h5", "json", "html", "png", "md", "pdf", "svg", "csv"])
def test_a_full_disk_is_told_with_the_bytes_needed(small: Path, ending: str) -> None:
    (small / f"why.{ending}").write_bytes(b"before")
    (small / "fill").write_bytes(b"x" * (64 - 4) * 1024)
    with pytest.raises(OutputError, match=r"No space left on device\); choose another place, it takes [\d,]+ bytes"):
        caption_explanation().save(small / f"why.{ending}")
    assert sorted(path.name for path in small.iterdir()) == ["fill", f"why.{ending}"]
    assert (small / f"why.{ending}").read_bytes() == b"before"


def test_what_a_killed_run_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from vlx.files.whole import replacing\n"
        "with replacing(Path(sys.argv[1])) as partial: partial.write_bytes(b'half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "why.h5")], check=False)
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1 and whole.PARTIAL.fullmatch(left[0])
    (tmp_path / ".vlx-mine").touch()
    with whole.replacing(tmp_path / "other.txt") as held:
        whole.write_text(tmp_path / "new.txt", "new")
        assert held.exists()  # still being written
        held.write_bytes(b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".vlx-mine", "new.txt", "other.txt"]


def test_what_others_raise_becomes_our_own_with_its_cause() -> None:
    message = r"^a\.h5: RecursionError \(too deep\); save it again$"
    with pytest.raises(ModelError, match=message) as found, in_own_words("a.h5", ModelError, "save it again"):
        raise RecursionError("too deep")
    assert isinstance(found.value.__cause__, RecursionError)
    with pytest.raises(OutputError, match=r"^mine$"), in_own_words("a.h5"):
        raise OutputError("mine")
    assert issubclass(OutputError, VlxError)


def test_a_record_of_a_picture_larger_than_any_is_refused(tmp_path: Path) -> None:
    path = caption_explanation(cropped=False).save(tmp_path / "why.json", picture=False)
    record = json.loads(path.read_text("utf-8"))
    record["placement"]["frame"]["size"] = [2**14, 2**14]  # a map of it takes 1 GB
    path.write_text(json.dumps(record), "utf-8")
    with pytest.raises(InputError, match=r"placement\.frame\.size is not the size of a picture"):
        vlx.Explanation.load(path)

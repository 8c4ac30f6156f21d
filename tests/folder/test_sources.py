"""Pictures in shards and datasets: found again by their paths, opened by the same gate as files."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlx
from tests.fakes import picture
from vlx.errors import ImageError, InputError
from vlx.folder import items, sources
from vlx.pictures.opening import open_image


def png(seed: int) -> bytes:
    held = io.BytesIO()
    picture(seed, 60, 40).save(held, "PNG")
    return held.getvalue()


CONTENT = {"./a/0.png": png(0), "a/0.txt": b"a dog", "1.JPG": png(1), "._1.jpg": b"hidden", "2.png": b"no picture"}


def shard(path: Path, content: dict[str, bytes], mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("outside.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return path


def test_pictures_of_a_shard_are_those_of_files(tmp_path: Path) -> None:
    where = shard(tmp_path / "0.tar", CONTENT)
    found = [item.path for item in items([str(where)]).items]
    assert found == [f"{where}/a/0.png", f"{where}/1.JPG", f"{where}/2.png"]
    assert [item.path for item in items([f"{tmp_path}/*.tar"]).items] == found
    (tmp_path / "0.png").write_bytes(CONTENT["./a/0.png"])
    same = open_image(sources.picture(found[0])), open_image(tmp_path / "0.png")
    assert np.array_equal(np.asarray(same[0].image), np.asarray(same[1].image))
    assert same[0].name == same[1].name
    assert sources.digest(found[0]) == sources.digest(str(tmp_path / "0.png"))
    with pytest.raises(ImageError, match=r"0\.tar/2\.png is not a picture"):
        sources.picture(found[2])
    assert sources.picture(str(tmp_path / "0.png")) == str(tmp_path / "0.png")


def test_shards_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    packed = shard(tmp_path / "packed.tar", CONTENT, "w:gz")
    with pytest.raises(InputError, match=r"packed\.tar: no shard that can be read .* not compressed"):
        items([str(packed)])
    with pytest.raises(InputError, match="no picture among its 1 files"):
        items([str(shard(tmp_path / "texts.tar", {"a.txt": b"a dog"}))])
    where = shard(tmp_path / "cut.tar", {"big.png": bytes(100_000)})
    given = items([str(where)]).items[0].path
    where.write_bytes(where.read_bytes()[:50_000])
    with pytest.raises((ImageError, InputError), match="cut"):
        sources.picture(given)
    assert sources.digest(given) is None
    with pytest.raises(ImageError, match="no such file by now"):
        sources.picture(f"{shard(tmp_path / 'other.tar', CONTENT)}/gone.png")


def test_rows_of_a_saved_dataset_are_its_pictures(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason='needs Hugging Face datasets: pip install -e ".[datasets]"')
    rows = {"image": [{"bytes": png(0), "path": None}, {"bytes": b"no picture", "path": None}], "label": [0, 1]}
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    made = datasets.Dataset.from_dict(rows, features=kinds)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "both")
    made.remove_columns("image").save_to_disk(tmp_path / "labels")
    given = f"hf-dataset:{tmp_path / 'both'}"
    found = [item.path for item in items([f"{given}:train"]).items]
    assert found == [f"{given}:train/0", f"{given}:train/1"]
    opened = open_image(sources.picture(found[0]))
    assert np.array_equal(np.asarray(opened.image), np.asarray(picture(0, 60, 40).convert("RGB")))
    with pytest.raises(ImageError, match="is not a picture"):
        sources.picture(found[1])
    with pytest.raises(ImageError, match="has 2 rows by now"):
        sources.picture(f"{given}:train/7")
    with pytest.raises(InputError, match=r"name one of its splits, .*train\|test"):
        items([given])
    with pytest.raises(InputError, match=r"no column with pictures .* among label"):
        items([f"hf-dataset:{tmp_path / 'labels'}"])
    with pytest.raises(InputError, match="cannot be opened"):
        items([f"hf-dataset:{tmp_path / 'nowhere'}"])


def test_without_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match=r'pip install "vlx\[datasets\]"'):
        items(["hf-dataset:beans:train"])


def test_what_was_opened_is_explained_as_its_file(tmp_path: Path) -> None:
    where = shard(tmp_path / "0.tar", CONTENT)
    (tmp_path / "0.png").write_bytes(CONTENT["./a/0.png"])
    assert open_image(opened := open_image(tmp_path / "0.png")) is opened
    assert isinstance(sources.picture(f"{where}/a/0.png"), vlx.pictures.opening.Picture)

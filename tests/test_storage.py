import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.explanations import caption_explanation
from vlx import Explanation, WordExplanation
from vlx.errors import InputError, OutputError


def same_word(one: WordExplanation, other: WordExplanation) -> None:
    for name in ("label", "score", "logprob", "alternatives", "target", "seen", "because", "notes", "placement"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("weights", "signed", "opposed"):
        given, wanted = getattr(one, name), getattr(other, name)
        assert given.dtype == wanted.dtype
        np.testing.assert_array_equal(given, wanted)


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_what_was_saved_loads_again_to_the_bit(tmp_path: Path, ending: str) -> None:
    why = caption_explanation()
    why = replace(why, others=(caption_explanation(seed=1),), notes=("ünïcode “note”", "two"), forced=True)
    again = Explanation.load(why.save(tmp_path / f"why.{ending}"))
    assert (again.text, again.task, again.method, again.forced) == (why.text, why.task, why.method, True)
    assert (again.notes, again.provenance, again.placement) == (why.notes, why.provenance, why.placement)
    np.testing.assert_array_equal(again.image, why.image)
    for given, wanted in zip((*again, *again.phrases, again.sentence), (*why, *why.phrases, why.sentence), strict=True):
        same_word(given, wanted)
    same_word(again.others[0][1], why.others[0][1])


def test_float64_stays_float64(tmp_path: Path) -> None:
    why = caption_explanation()
    word = replace(why[0], signed=why[0].signed.astype(np.float64) / 3)
    again = Explanation.load(replace(why, words=(word,)).save(tmp_path / "why.h5"))
    assert again[0].signed.dtype == np.float64
    np.testing.assert_array_equal(again[0].signed, word.signed)


def test_the_file_is_compressed_and_carries_its_schema(tmp_path: Path) -> None:
    with h5py.File(caption_explanation().save(tmp_path / "why.h5")) as file:
        assert file.attrs["schema_version"] == 1
        assert file["image"].compression == "gzip"


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = caption_explanation().save(tmp_path / "why.json")
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(InputError, match="has schema 2, this vlx reads up to 1; update vlx"):
        Explanation.load(path)


def test_foreign_and_broken_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "foreign.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match=r"was not written by Explanation.save"):
        Explanation.load(tmp_path / "foreign.json")
    whole = caption_explanation().save(tmp_path / "why.h5")
    (tmp_path / "cut.h5").write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(InputError, match="not a whole explanation in HDF5"):
        Explanation.load(tmp_path / "cut.h5")
    (tmp_path / "cut.json").write_text('{"format": "vlx')
    with pytest.raises(InputError, match="not whole JSON"):
        Explanation.load(tmp_path / "cut.json")
    with pytest.raises(InputError, match="no such file"):
        Explanation.load(tmp_path / "none.h5")
    with pytest.raises(InputError, match=r"loaded from .h5 or .json, not .pkl"):
        Explanation.load(tmp_path / "why.pkl")
    damaged = json.loads(caption_explanation().save(tmp_path / "why.json").read_text())
    del damaged["words"][0]["signed"]
    (tmp_path / "damaged.json").write_text(json.dumps(damaged))
    with pytest.raises(InputError, match="is damaged"):
        Explanation.load(tmp_path / "damaged.json")


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"saved as .html, .png, .md, .json, .h5, not .pdf"):
        caption_explanation().save(tmp_path / "why.pdf")


@pytest.mark.parametrize("ending", ["html", "png", "md", "json", "h5"])
def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path, ending: str) -> None:
    with pytest.raises(OutputError, match="no such folder; make it first"):
        caption_explanation().save(tmp_path / "none" / f"why.{ending}")
    (tmp_path / f"folder.{ending}").mkdir()
    with pytest.raises(OutputError, match="is a folder; give the name of a file in it"):
        caption_explanation().save(tmp_path / f"folder.{ending}")
    assert [path.name for path in tmp_path.iterdir()] == [f"folder.{ending}"]


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_a_failed_save_keeps_the_old_file_and_leaves_no_other(tmp_path: Path, ending: str) -> None:
    path = caption_explanation().save(tmp_path / f"why.{ending}")
    before = path.read_bytes()
    unsavable = replace(caption_explanation(), provenance={"model": object()})
    with pytest.raises(TypeError):
        unsavable.save(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]

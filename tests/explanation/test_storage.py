import json
import os
import warnings
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.explanations import caption_explanation
from vlx import Explanation, WordExplanation
from vlx.errors import InputError, OutputError
from vlx.explanation import storage
from vlx.pictures.placement import Frame, Placement


def same_word(one: WordExplanation, other: WordExplanation) -> None:
    for name in (
        "label",
        "score",
        "logprob",
        "alternatives",
        "target",
        "seen",
        "seen_by",
        "looked",
        "because",
        "notes",
        "placement",
    ):
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
        assert file.attrs["schema_version"] == 2
        assert file["image"].compression == "gzip"
        np.testing.assert_array_equal(file["words/0002/signed"], caption_explanation()[2].signed)


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_numbers_that_are_not_finite_come_back(tmp_path: Path, ending: str) -> None:
    why = caption_explanation()
    signed = np.array(why[0].signed)
    signed[0, 0], signed[1, 1] = np.nan, -np.inf
    word = replace(why[0], score=np.inf, logprob=-np.inf, seen=-np.inf, alternatives=(("x", -np.inf),), signed=signed)
    again = Explanation.load(replace(why, words=(word,)).save(tmp_path / f"why.{ending}"))
    same_word(again[0], word)
    if ending == "json":
        json.loads((tmp_path / "why.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_odd_texts_large_records_and_numpy_numbers_come_back(tmp_path: Path, ending: str) -> None:
    record = {"long": "x" * 100_000, "layers": np.int64(3), "image": Path("a") / "b.png", "share": np.float32(0.5)}
    why = replace(caption_explanation(), text="nul \0 half \udcff line \u2028", provenance=record)
    again = Explanation.load(why.save(tmp_path / f"why.{ending}"))
    assert again.text == why.text
    assert again.provenance == {"long": "x" * 100_000, "layers": 3, "image": str(Path("a") / "b.png"), "share": 0.5}


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_a_word_may_lie_elsewhere_than_its_text(tmp_path: Path, ending: str) -> None:
    why = caption_explanation()
    other = Placement(why.placement.grid, Frame.whole((60, 90), (32, 32)))
    again = Explanation.load(
        replace(why, words=(replace(why[0], placement=other), why[1])).save(tmp_path / f"w.{ending}")
    )
    assert (again[0].placement, again[1].placement) == (other, why.placement)


def test_an_explanation_of_nothing_comes_back(tmp_path: Path) -> None:
    for ending in ("h5", "json"):
        nothing = replace(caption_explanation(), text="", words=(), phrases=())
        assert len(Explanation.load(nothing.save(tmp_path / f"why.{ending}"))) == 0


def test_a_large_picture_loads_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = caption_explanation().save(tmp_path / "why.json")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Explanation.load(path).image.shape == (60, 90, 3)


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_a_newer_schema_is_refused(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SCHEMA", 3)
    path = caption_explanation().save(tmp_path / f"why.{ending}")
    monkeypatch.undo()
    with pytest.raises(InputError, match="has schema 3, this vlx reads up to 2; update vlx"):
        Explanation.load(path)


def test_a_newer_schema_is_refused_whatever_else_it_holds(tmp_path: Path) -> None:
    path = caption_explanation().save(tmp_path / "why.json")
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 3'))
    with pytest.raises(InputError, match="has schema 3, this vlx reads up to 2; update vlx"):
        Explanation.load(path)


def test_foreign_and_broken_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "foreign.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match=r"was not written by Explanation.save"):
        Explanation.load(tmp_path / "foreign.json")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["weights"] = np.zeros(3)
    with pytest.raises(InputError, match=r"was not written by Explanation.save"):
        Explanation.load(tmp_path / "foreign.h5")
    whole = caption_explanation().save(tmp_path / "why.h5")
    (tmp_path / "cut.h5").write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(InputError, match="not a whole explanation in HDF5"):
        Explanation.load(tmp_path / "cut.h5")
    (tmp_path / "cut.json").write_text('{"format": "vlx')
    with pytest.raises(InputError, match="not whole JSON"):
        Explanation.load(tmp_path / "cut.json")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(InputError, match="a folder, not a file"):
        Explanation.load(tmp_path / "folder.h5")
    with pytest.raises(InputError, match="no such file"):
        Explanation.load(tmp_path / "none.h5")
    with pytest.raises(InputError, match=r"loaded from .h5 or .json, not .pkl"):
        Explanation.load(tmp_path / "why.pkl")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("signed", None),
        ("signed", {"dtype": "U8", "shape": [1], "values": [1]}),
        ("alternatives", 3),
        ("placement", 5),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, name: str, value: object) -> None:
    damaged = json.loads(caption_explanation().save(tmp_path / "why.json").read_text())
    damaged["words"][0][name] = value
    (tmp_path / "damaged.json").write_text(json.dumps(damaged))
    with pytest.raises(InputError, match="is damaged"):
        Explanation.load(tmp_path / "damaged.json")


@pytest.mark.parametrize("picture", [{"png": "AAAA"}, {"png": 3}, {}, [[1]]])
def test_a_damaged_picture_is_refused(tmp_path: Path, picture: object) -> None:
    damaged = json.loads(caption_explanation().save(tmp_path / "why.json").read_text())
    damaged["image"] = picture
    (tmp_path / "damaged.json").write_text(json.dumps(damaged))
    with pytest.raises(InputError, match="is damaged"):
        Explanation.load(tmp_path / "damaged.json")


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"saved as .html, .png, .pdf, .svg, .md, .csv, .json, .h5, not .gif"):
        caption_explanation().save(tmp_path / "why.gif")


@pytest.mark.parametrize("ending", ["html", "png", "pdf", "svg", "md", "csv", "json", "h5"])
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
    with pytest.raises(TypeError, match=r"object cannot be saved: <object"):
        unsavable.save(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ["html", "png", "md", "json", "h5"])
def test_a_disk_that_fails_leaves_what_was_there(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = caption_explanation().save(tmp_path / f"why.{ending}")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\); choose another place"):
        caption_explanation(seed=3).save(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder at hand that even root cannot write to")
@pytest.mark.parametrize("ending", ["html", "png", "md", "json", "h5"])
def test_a_folder_that_cannot_be_written_is_named(ending: str) -> None:
    with pytest.raises(OutputError, match=rf"/proc/why\.{ending}: cannot be written \(.*\); choose another place"):
        caption_explanation().save(Path(f"/proc/why.{ending}"))


def test_files_get_the_users_own_permissions_and_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    (tmp_path / "latest.html").symlink_to(tmp_path / "why.html")
    caption_explanation().save(tmp_path / "latest.html")
    assert (tmp_path / "latest.html").is_symlink()
    assert (tmp_path / "why.html").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_endings_may_be_capitals(tmp_path: Path) -> None:
    path = caption_explanation().save(tmp_path / "WHY.H5")
    assert len(Explanation.load(path)) == 5


@pytest.mark.parametrize("ending", ["html", "md"])
def test_half_a_letter_does_not_stop_a_page(tmp_path: Path, ending: str) -> None:
    why = replace(caption_explanation(), provenance={"image": "caf\udce9.png"})
    assert "caf?.png" in why.save(tmp_path / f"why.{ending}").read_text(encoding="utf-8").replace("\\", "")


@pytest.mark.parametrize("ending", ["h5", "json"])
def test_files_from_before_there_were_references_load(tmp_path: Path, ending: str) -> None:
    why = caption_explanation()
    older = storage._word_record

    def without(word: WordExplanation, placement: Placement) -> dict[str, object]:
        return {name: value for name, value in older(word, placement).items() if name not in ("seen_by", "looked")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_word_record", without)
        path = why.save(tmp_path / f"old.{ending}")
    again = Explanation.load(path)
    assert [(word.seen, word.seen_by, word.looked) for word in again] == [(word.seen, {}, None) for word in why]
    assert "compared with a blank picture" in again.save(tmp_path / "old.html").read_text(encoding="utf-8")

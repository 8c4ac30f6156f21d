"""Explanations that are kept without their picture: small, whole but for it, and given it back against its hash."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vlx
from tests.explanation.test_storage import same_word
from tests.explanations import answer_explanation, caption_explanation
from vlx import Explanation
from vlx.errors import InputError
from vlx.explanation.withheld import ON_GREY

ENDINGS = pytest.mark.parametrize("ending", ["h5", "json"])


def same(one: Explanation, other: Explanation) -> None:
    assert (one.text, one.notes, one.missing, one.provenance) == (
        other.text,
        other.notes,
        other.missing,
        other.provenance,
    )
    assert np.array_equal(one.image, other.image)
    for a, b in zip([*one, one.sentence, *one.phrases], [*other, other.sentence, *other.phrases], strict=True):
        same_word(a, b)
    for a, b in zip(one.others, other.others, strict=True):
        same(a, b)


def large() -> Explanation:
    """An explanation of a noisy picture, which compresses badly."""
    why = caption_explanation()
    return replace(why, image=np.random.default_rng(0).integers(0, 255, why.image.shape, np.uint8))


@ENDINGS
def test_all_but_the_picture_is_kept_and_the_picture_comes_back(tmp_path: Path, ending: str) -> None:
    why = large()
    path, whole = tmp_path / f"without.{ending}", tmp_path / f"whole.{ending}"
    why.save(path, picture=False)
    why.save(whole)
    assert path.stat().st_size < whole.stat().st_size - 8000  # of 16,200 bytes of noise
    bare = Explanation.load(path)
    assert bare.missing is not None
    assert bare.image.shape == why.image.shape
    assert np.unique(bare.image).tolist() == [128]
    assert bare.notes == (*why.notes, ON_GREY)
    assert "picture 90×60 (not kept)" in repr(bare)
    assert np.array_equal(bare["red"].heatmap, why["red"].heatmap)
    same(Explanation.load(path, picture=why.image), why)
    same(Explanation.load(whole, picture=why.image), why)


@ENDINGS
def test_it_works_for_all_that_needs_no_picture(tmp_path: Path, ending: str) -> None:
    answer_explanation().save(tmp_path / f"why.{ending}", picture=False)
    bare = Explanation.load(tmp_path / f"why.{ending}")
    assert all(other.missing == bare.missing for other in bare.others)
    for made in ("html", "md", "csv", "png"):
        assert bare.save(tmp_path / f"page.{made}").exists()
    assert "drawn on grey" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert vlx.compare(bare, bare).same


@ENDINGS
def test_it_is_saved_again_without_its_picture_and_loses_nothing(tmp_path: Path, ending: str) -> None:
    why = answer_explanation()
    why.save(tmp_path / f"one.{ending}", picture=False)
    for picture in (True, False):
        Explanation.load(tmp_path / f"one.{ending}").save(tmp_path / f"two.{ending}", picture=picture)
        again = Explanation.load(tmp_path / f"two.{ending}")
        assert again.notes.count(ON_GREY) == 1
        same(Explanation.load(tmp_path / f"two.{ending}", picture=why.image), why)


@ENDINGS
def test_an_alternative_with_a_picture_of_its_own_keeps_its_own_hash(tmp_path: Path, ending: str) -> None:
    why = answer_explanation()
    first = replace(why.others[0], image=255 - why.image)
    why = replace(why, others=(first, *why.others[1:]))
    why.save(tmp_path / f"why.{ending}", picture=False)
    bare = Explanation.load(tmp_path / f"why.{ending}")
    assert bare.others[0].missing != bare.missing
    assert bare.others[1].missing == bare.missing
    back = Explanation.load(tmp_path / f"why.{ending}", picture=why.image)
    assert back.others[0].missing is not None
    assert np.array_equal(back.others[1].image, why.image)


@pytest.mark.parametrize(
    "kind", [Image.fromarray, np.asarray, lambda image: torch.as_tensor(image).permute(2, 0, 1) / 255]
)
def test_a_picture_of_any_kind_is_taken_back(tmp_path: Path, kind: Any) -> None:
    why = large()
    why.save(tmp_path / "why.h5", picture=False)
    same(Explanation.load(tmp_path / "why.h5", picture=kind(why.image)), why)
    Image.fromarray(why.image).save(tmp_path / "a.png")
    same(Explanation.load(tmp_path / "why.h5", picture=tmp_path / "a.png"), why)


@ENDINGS
@pytest.mark.parametrize("kept", [True, False])
def test_another_picture_is_refused(tmp_path: Path, ending: str, kept: bool) -> None:
    why = large()
    path = why.save(tmp_path / f"why.{ending}", picture=kept)
    one_pixel = why.image.copy()
    one_pixel[3, 4, 1] ^= 1
    with pytest.raises(InputError, match=r"is not the picture that .* explains \(other pixels: edited"):
        Explanation.load(path, picture=one_pixel)
    with pytest.raises(InputError, match=r"\(60×90 pixels, not 90×60\)"):
        Explanation.load(path, picture=why.image.swapaxes(0, 1))
    with pytest.raises(InputError, match=r"nowhere.png"):
        Explanation.load(path, picture="nowhere.png")


def test_picture_is_an_option_of_what_is_loaded_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"why.html: picture=False; False, for .json and .h5, leaves the picture out"):
        caption_explanation().save(tmp_path / "why.html", picture=False)
    with pytest.raises(InputError, match=r"picture='no'"):
        caption_explanation().save(tmp_path / "why.h5", picture="no")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": [20_000, 20_000]}, r"record\.picture"),
        ({"size": [10_000, 10_000]}, r"record\.picture\.size is not the size of a picture"),
        ({"size": [60, 91]}, r"a picture of \(60, 91\) where \(60, 90\) was explained"),
        ({"sha256": "no"}, r"record\.picture\.sha256 is not 64 hexadecimal digits"),
        ({"size": [-60, 90]}, r"record\.picture\.size"),
    ],
)
def test_a_record_that_was_tampered_with_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = caption_explanation().save(tmp_path / "why.json", picture=False)
    record = json.loads(path.read_text())
    record["picture"].update(change)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=message) as caught:
        Explanation.load(path)
    assert len(str(caught.value)) < 300

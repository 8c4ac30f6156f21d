"""Dense outputs: the map of a region is that of the mean of its logits, laid out where the mask is."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vlx
from tests.beyond import Marks
from tests.fakes import picture
from vlx.errors import InputError, ModelError
from vlx.tasks.beyond import Dense
from vlx.tasks.classification import Classifier

SIZE = (48, 64)
IMAGE = picture(0, SIZE[1], SIZE[0])
LABELS = ["sky", "car", "road"]
MASK = np.zeros(SIZE, bool)
MASK[10:30, 20:44] = True


def prepare(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def dense(model: nn.Module | None = None, **options: Any) -> Dense:
    torch.manual_seed(0)
    return Dense(model or Marks().eval(), "cnn", LABELS, prepare, **{"leaf": "out", **options})


def test_a_map_is_seg_grad_cam_of_the_users_own_model() -> None:
    task = dense()
    task.model.double()
    why = vlx.explain(task, IMAGE, answer="car", where=MASK, method="gradcam", seen=False, check=False)
    kept: list[Tensor] = []
    handle = task.model.cnn.register_forward_hook(lambda _m, _i, out: kept.append(out))  # type: ignore[union-attr]
    logits = task.model(prepare(IMAGE)[None].double())["out"][0, 1]  # [24, 32]: every cell is two pixels wide and high
    handle.remove()
    score = logits.repeat_interleave(2, 0).repeat_interleave(2, 1)[torch.from_numpy(MASK)].mean()
    G = torch.autograd.grad(score, kept[0])[0][0]
    expected = (G.mean((1, 2), keepdim=True) * kept[0][0]).sum(0).detach()
    assert np.allclose(why[0].signed, expected, rtol=1e-5, atol=1e-9)
    assert why[0].score == pytest.approx(float(score.detach()), rel=1e-6)
    assert why[0].target == "value"
    assert "the mean of its logits over 15.6% of the picture" in " ".join(why.notes)


def test_without_a_mask_it_is_the_pixels_that_the_model_gives_to_the_class() -> None:
    task = dense()
    with torch.no_grad():
        given = task.model(prepare(IMAGE)[None])["out"][0].argmax(0).repeat_interleave(2, 0).repeat_interleave(2, 1)
    most = int(given.flatten().mode().values)
    theirs = vlx.explain(task, IMAGE, answer=LABELS[most], where=given.numpy() == most)
    for why in (vlx.explain(task, IMAGE, answer=LABELS[most]), vlx.explain(task, IMAGE)):
        assert np.allclose(why[0].signed, theirs[0].signed, rtol=1e-4, atol=1e-8)
        assert f"gives to {LABELS[most]}" in " ".join(why.notes)
    (absent, *_) = set(range(3)) - set(given.flatten().tolist())
    with pytest.raises(InputError, match=f"gives no pixel of this picture to {LABELS[absent]}: say where=mask"):
        vlx.explain(task, IMAGE, answer=LABELS[absent])


def test_a_mask_follows_the_picture_through_prepare() -> None:
    """Cropped and resized: the region's mean is that of the output's cells that show the mask."""

    def half(image: Image.Image) -> Tensor:
        return prepare(image.crop((16, 0, 64, 48)).resize((96, 96), Image.Resampling.NEAREST))

    torch.manual_seed(0)
    task = Dense(Marks().eval(), "cnn", LABELS, half, leaf="out")
    why = vlx.explain(task, IMAGE, answer="road", where=MASK, seen=False, check=False)
    with torch.no_grad():
        cells = task.model(half(IMAGE)[None])["out"][0, 2]  # [48, 48]: a cell is a pixel of the picture
    assert why[0].score == pytest.approx(float(cells[torch.from_numpy(MASK[:, 16:])].mean()), rel=1e-5)
    outside = np.zeros(SIZE, bool)
    outside[:, :10] = True
    with pytest.raises(InputError, match="lies outside of what the model sees"):
        vlx.explain(task, IMAGE, answer="road", where=outside)


def test_a_region_can_be_trusted_and_another_one_has_another_map() -> None:
    task = dense()
    assert task.within(IMAGE, MASK).self_test(IMAGE, cells=16).failed == ()  # type: ignore[attr-defined]
    other = np.zeros(SIZE, bool)
    other[40:, :10] = True
    maps = [vlx.explain(task, IMAGE, answer="car", where=where)[0].heatmap for where in (MASK, other)]
    inside = [[float(heat[where].sum() / heat.sum()) for where in (MASK, other)] for heat in maps]
    assert inside[0][0] > 3 * inside[1][0]
    assert inside[1][1] > 3 * inside[0][1]


def test_several_answers_a_contrast_and_many_pictures() -> None:
    task = dense()
    several = vlx.explain(task, IMAGE, answer=["car", "sky"], where=MASK, method="gradcam")
    rather = vlx.explain(task, IMAGE, answer="car", instead_of="sky", where=MASK, method="gradcam")
    assert np.allclose(rather[0].signed, several["car"].signed - several["sky"].signed, rtol=1e-3, atol=1e-7)
    many = list(vlx.explain_many(task, [IMAGE, "none.jpg", IMAGE], answer="car", where=MASK, errors="keep"))
    assert [type(one).__name__ for one in many] == ["Explanation", "Failure", "Explanation"]
    assert many[1].name == "none.jpg"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"where": MASK[:20]}, r"where has shape \(20, 64\), the picture is 48 rows of 64 pixels"),
        ({"where": MASK & False}, "where is empty"),
        ({"where": np.arange(48 * 64).reshape(SIZE)}, "more than yes and no.*where=\\(classes == 7\\)"),
        ({"answer": "cat"}, "no class 'cat' among 3; close: car"),
        ({"answer": ["car", "sky"]}, "several answers are compared in one region"),
    ],
)
def test_regions_that_are_none_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        vlx.explain(dense(), IMAGE, **options)


def test_masks_of_any_kind_are_one_mask() -> None:
    task = dense()
    maps = [
        vlx.explain(task, IMAGE, answer="car", where=where, seen=False, check=False)[0].signed
        for where in (MASK, MASK.astype(np.uint8) * 255, torch.from_numpy(MASK), Image.fromarray(MASK))
    ]
    assert all(np.array_equal(one, maps[0]) for one in maps)


def test_what_is_not_dense_is_refused_and_so_is_where_of_what_is_not() -> None:
    with pytest.raises(ModelError, match=r"a dense output is floats.*leaf='out'"):
        vlx.explain(dense(leaf=None), IMAGE)
    with pytest.raises(ModelError, match="leave outputs= out"):
        dense(outputs="softmax")
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    with pytest.raises(InputError, match=r"where= is a region of a dense output.*Dense\(model, layer\)"):
        vlx.explain(Classifier(net, "1", None, prepare), IMAGE, where=MASK)
    with pytest.raises(InputError, match=r"has a dense output; say which pixels"):
        dense().self_test(IMAGE)

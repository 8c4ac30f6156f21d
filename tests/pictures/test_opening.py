"""Pictures come in upright, RGB and 8 bits, or not at all and with a reason."""

import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vlx.errors import ImageError, InputError, MissingImage
from vlx.pictures.opening import MAX_PIXELS, Picture, open_image

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT.parent / "shared" / "real" / "photos"


def drawing(height: int = 24, width: int = 40) -> Image.Image:
    """Red on the left, blue on the right, a white corner at the top left."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    pixels[:8, :8] = 255
    return Image.fromarray(pixels)


def saved(folder: Path, image: Image.Image, name: str, **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def pixels(picture: Picture) -> Any:
    return np.asarray(picture.image).astype(int)


def test_every_accepted_source_gives_the_same_picture(tmp_path: Path) -> None:
    image = drawing()
    array = np.asarray(image)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1) / 255
    path = saved(tmp_path, image, "a.png")
    half = tensor.half().requires_grad_()
    for source in (path, str(path), image, array, tensor, half, tensor.double(), array[:, ::-1][:, ::-1]):
        opened = open_image(source)
        assert opened.image.mode == "RGB"
        assert opened.notes == ()
        assert np.array_equal(pixels(opened), array)
    assert open_image(path).name == "a.png"
    assert open_image(Image.open(path)).name == "a.png"
    assert open_image(image).name == "PIL picture 40×24"
    assert open_image(array).name == "array 24×40×3"
    assert open_image(tensor).name == "tensor 3×24×40"


def test_what_is_opened_is_a_copy() -> None:
    image = drawing()
    opened = open_image(image)
    image.paste("green", (0, 0, 40, 24))
    assert pixels(opened)[20, 2].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    way = Image.Transpose
    stored: dict[int, list[Image.Transpose]] = {
        1: [], 2: [way.FLIP_LEFT_RIGHT], 3: [way.ROTATE_180], 4: [way.FLIP_TOP_BOTTOM], 5: [way.TRANSPOSE],
        6: [way.ROTATE_90], 7: [way.TRANSVERSE], 8: [way.ROTATE_270],
    }  # fmt: skip
    image = drawing()
    for turn in stored[orientation]:
        image = image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, image, "phone.png", exif=exif)
    assert np.array_equal(pixels(open_image(path)), np.asarray(drawing()))


def test_damaged_exif_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: Image.Image) -> Image.Image:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr("vlx.pictures.opening.ImageOps.exif_transpose", fail)
    opened = open_image(saved(tmp_path, drawing(), "a.png"))
    assert opened.notes == ("its EXIF data is damaged; shown as stored",)
    assert np.array_equal(pixels(opened), np.asarray(drawing()))


def test_cmyk(tmp_path: Path) -> None:
    opened = open_image(saved(tmp_path, drawing().convert("CMYK"), "print.jpg", quality=95))
    assert opened.image.mode == "RGB"
    assert np.abs(pixels(opened)[16:, 4:16] - [255, 0, 0]).max() < 12


def test_palette_with_transparency_is_put_on_white(tmp_path: Path) -> None:
    image = drawing().quantize(8)
    red = image.getpixel((2, 20))
    opened = open_image(saved(tmp_path, image, "sticker.png", transparency=red))
    assert opened.notes == ("transparent parts shown on white",)
    assert pixels(opened)[20, 2].tolist() == [255, 255, 255]
    assert pixels(opened)[20, 30].tolist() == [0, 0, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa"])
def test_half_transparent_is_half_white(mode: str) -> None:
    if mode == "PA":
        image = Image.new("P", (10, 10))
        image.putpalette([0, 0, 0])
        image.putalpha(128)
    else:
        image = Image.new("RGBA", (10, 10), (0, 0, 0, 128)).convert(mode)
    assert image.mode == mode
    opened = open_image(image)
    assert opened.notes == ("transparent parts shown on white",)
    assert np.abs(pixels(opened) - 127).max() <= 1


def test_an_opaque_alpha_channel_needs_no_note() -> None:
    opened = open_image(drawing().convert("RGBA"))
    assert opened.notes == ()
    assert np.array_equal(pixels(opened), np.asarray(drawing()))


def test_one_bit_and_grey(tmp_path: Path) -> None:
    mask = Image.fromarray(np.eye(16, dtype=bool))
    assert pixels(open_image(saved(tmp_path, mask, "mask.png")))[:2, :2, 1].tolist() == [[255, 0], [0, 255]]
    assert pixels(open_image(Image.new("L", (9, 9), 77)))[4, 4].tolist() == [77, 77, 77]


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 16 * 16).reshape(16, 16).astype(np.uint16)
    opened = open_image(saved(tmp_path, Image.fromarray(values), "scan.png"))
    assert opened.notes == ("grey values from 0 to 65535 scaled to 8 bits",)
    assert np.abs(pixels(opened)[..., 0] - values / 257).max() <= 0.5


@pytest.mark.parametrize(
    ("most", "bits"), [(200, 8), (255, 8), (256, 10), (1023, 10), (4000, 12), (4095, 12), (9000, 14), (16384, 16)]
)
def test_fewer_bits_in_sixteen_are_scaled_by_what_they_hold(most: int, bits: int, tmp_path: Path) -> None:
    grey = np.linspace(0, most, 16 * 16).reshape(16, 16).round().astype(np.uint16)
    told = "" if bits == 16 else f" (the largest is {most}: taken for {bits} bits in 16)"
    opened = open_image(saved(tmp_path, Image.fromarray(grey), "scan.png"))
    assert opened.notes == (f"grey values from 0 to {2**bits - 1} scaled to 8 bits{told}",)
    expected = grey * (255 / (2**bits - 1))
    assert np.abs(pixels(opened)[..., 0] - expected).max() <= 0.5
    for array in (grey, np.stack([grey, grey // 2, grey // 4], -1)):
        given = open_image(array)
        assert given.notes == (f"values from 0 to {2**bits - 1} scaled to 8 bits{told}",)
        assert np.abs(pixels(given)[..., 0] - expected).max() <= 0.5
    assert np.abs(pixels(given)[..., 2] - (grey // 4) * (255 / (2**bits - 1))).max() <= 0.5  # one scale for all colours


def test_the_order_of_channels_is_said() -> None:
    import vlx

    for told in (open_image.__doc__, vlx.explain.__doc__):
        assert re.search(r"OpenCV's\s+(arrays\s+)?are\s+(blue, green, red|BGR)", str(told))
        assert "array[..., ::-1]" in str(told)
    with pytest.raises(ImageError, match=r"uint8 RGB array \[H, W, 3\] \(cv2.imread gives BGR: array\[..., ::-1\]\)"):
        open_image(None)
    blue = np.zeros((9, 9, 3), np.uint8)
    blue[..., 2] = 255
    assert pixels(open_image(blue))[0, 0].tolist() == [0, 0, 255]  # as it is, never turned round


def sixteen(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, RGB."""
    height, width, _ = values.shape

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colours_of_sixteen_bits_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "raw.png"
    values = np.random.default_rng(0).integers(0, 65536, (9, 9, 3)).astype(np.uint16)
    path.write_bytes(sixteen(values))
    opened = open_image(path)
    assert opened.notes == ("colours of 16 bits cut to 8",)
    assert np.array_equal(pixels(opened), values >> 8)
    path.write_bytes(sixteen(values // 16))  # 12 bits
    with pytest.raises(ImageError, match=r"reach 16 of 256 levels .* give the uint16 RGB array \[H, W, 3\]") as told:
        open_image(path)
    assert len(str(told.value)) <= 300 + len(str(path))
    assert open_image(values // 16).notes == (
        f"values from 0 to 4095 scaled to 8 bits (the largest is {(values // 16).max()}: taken for 12 bits in 16)",
    )


@pytest.mark.parametrize(
    ("values", "expected", "notes"),
    [
        (np.linspace(0, 1, 100, dtype=np.float32), np.linspace(0, 255, 100), 0),
        (np.linspace(0, 255, 100, dtype=np.float32), np.linspace(0, 255, 100), 0),
        (np.linspace(-4, 4, 100, dtype=np.float32), np.linspace(0, 255, 100), 1),
        (np.arange(100, dtype=np.int32), np.arange(100), 0),
        (np.linspace(0, 60000, 100).astype(np.int32), np.linspace(0, 60000 / 257, 100), 1),
        (np.linspace(-9, 2**30, 100).astype(np.int32), np.linspace(0, 255, 100), 1),
        (np.full(100, 2**20, np.int32), np.zeros(100), 1),
    ],
)
def test_wide_grey_values_fit_into_eight_bits(values: Any, expected: Any, notes: int) -> None:
    opened = open_image(Image.fromarray(values.reshape(10, 10)))
    assert len(opened.notes) == notes
    assert np.abs(pixels(opened)[..., 2].ravel() - expected).max() <= 0.5 + 1e-3


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (12, 12), color) for color in ("red", "lime", "blue")]
    path = saved(tmp_path, frames[0], "moving.gif", save_all=True, append_images=frames[1:])
    opened = open_image(path)
    assert opened.notes == ("first of 3 frames",)
    assert pixels(opened)[5, 5].tolist() == [255, 0, 0]
    with Image.open(path) as image:
        image.seek(2)
        opened = open_image(image)
        assert opened.notes == ("number 3 of 3 frames",)
        assert pixels(opened)[5, 5].tolist() == [0, 0, 255]
        assert image.tell() == 2


def refused(source: Any, message: str, kind: type[ImageError] = ImageError) -> None:
    """The whole message, so that it stays a good one."""
    with pytest.raises(kind, match="^" + re.escape(message) + "$"):
        open_image(source)


def png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG file of some size, without its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
    )


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(image: Any) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    path = tmp_path / "bomb.png"
    for width, height in ((20_000, 20_000), (10_000, 10_000), (9_000, 9_000)):
        path.write_bytes(png_header(width, height))
        size = width * height // 1_000_000
        refused(
            path, f"{path} has {size} million pixels, vlx opens pictures up to 80 million: make a smaller copy"
        )  # three ways: Pillow's error, Pillow's warning, vlx's own limit
    assert MAX_PIXELS == 80_000_000


def test_truncated_jpeg(tmp_path: Path) -> None:
    path = saved(tmp_path, drawing(200, 200), "cut.jpg", quality=95)
    path.write_bytes(path.read_bytes()[:-800])
    refused(path, f"{path} is cut off (truncated); copy or download it again")


@pytest.mark.parametrize("length", range(1, 200, 11))
def test_files_cut_anywhere_are_refused(tmp_path: Path, length: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), "a.png")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ImageError, match=r"a\.png (is|cannot)"):
        open_image(path)


def test_not_an_image(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("a shopping list", encoding="utf-8")
    refused(path, f"{path} is not a picture that can be read here; convert it to PNG or JPEG")


@pytest.mark.parametrize(
    "head",
    [
        bytes(4) + b"ftypisom",
        bytes(4) + b"ftypmp42",
        bytes(4) + b"ftypqt  ",
        bytes(4) + b"moov",
        b"RIFF" + bytes(4) + b"AVI LIST",
        b"\x1a\x45\xdf\xa3\x01",
        b"\x00\x00\x01\xba\x44",
        (b"G" + bytes(187)) * 4,
        b"OggS" + bytes(9),
    ],
)
def test_a_video_is_called_one_whatever_its_file_is_named(tmp_path: Path, head: bytes) -> None:
    for name in ("clip.mp4", "clip.jpg"):
        path = tmp_path / name
        path.write_bytes(head + bytes(99))
        with pytest.raises(
            ImageError, match=r"is a video and not a picture: save the frames .* vlx\.tasks\.beyond\.Video"
        ):
            open_image(path)


@pytest.mark.parametrize("head", [bytes(4) + b"ftypcrx ", b"RIFF" + bytes(4) + b"WAVEfmt ", b"G" + bytes(400)])
def test_what_only_looks_like_a_video_is_not_called_one(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "raw.jpg"
    path.write_bytes(head + bytes(99))
    refused(path, f"{path} is not a picture that can be read here; convert it to PNG or JPEG")


def test_a_file_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = saved(tmp_path, drawing(), "a.png")
    data = bytearray(path.read_bytes())
    data[60:66] = b"broken"
    path.write_bytes(bytes(data))
    with pytest.raises(ImageError, match=r"a\.png cannot be decoded \(.+\); save it again as PNG or JPEG$"):
        open_image(path)


def test_drawings_are_not_handed_to_other_programs(tmp_path: Path) -> None:
    path = saved(tmp_path, drawing(), "a.eps")
    refused(path, f"{path} is EPS, a drawing and not pixels; export it as PNG")


def test_zero_bytes(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    refused(path, f"{path} is empty (0 bytes); copy or download it again")


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path, f"{tmp_path} is a folder: give a picture")
    (tmp_path / "notes.txt").touch()
    saved(tmp_path, drawing(), "b.png")
    refused(tmp_path, f"{tmp_path} is a folder: give a picture in it, for example {tmp_path / 'b.png'}")


def test_a_missing_file(tmp_path: Path) -> None:
    missing = tmp_path / "parot.png"
    refused(missing, f"{missing}: no such file; nothing in {tmp_path} has a name like it", MissingImage)
    saved(tmp_path, drawing(), "parrot.png")
    refused(missing, f"{missing}: no such file; close: parrot.png", MissingImage)
    nowhere = tmp_path / "none" / "a.png"
    refused(nowhere, f"{nowhere}: no such file; there is no folder {nowhere.parent}", MissingImage)
    inside = tmp_path / "parrot.png" / "a.png"
    refused(inside, f"{inside}: {inside.parent} is not a folder", MissingImage)
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_image(missing)
    with pytest.raises(InputError, match="no such file"):
        open_image(missing)


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    path = saved(tmp_path, drawing(), "a.png")
    monkeypatch.setattr(Path, "open", deny)  # root may read everything
    refused(path, f"{path} cannot be read: permission denied; allow it with chmod +r")


def test_paths_that_lead_to_no_file() -> None:
    refused("/dev/null", "/dev/null is not a regular file; save the picture and give its path")
    refused("https://x.org/a.png", "https://x.org/a.png: vlx does not download; save the picture and give its path")
    for name in ("a\0b.png", "a" * 5000):
        with pytest.raises(ImageError, match="cannot be read"):
            open_image(name)


def test_tiny_pictures(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (1, 1)), "dot.png")
    refused(path, f"{path} has 1×1 pixels: too small to explain, use at least 8×8")
    refused(np.zeros((7, 30, 3), np.uint8), "array 7×30×3 has 30×7 pixels: too small to explain, use at least 8×8")
    assert open_image(Image.new("RGB", (8, 8))).image.size == (8, 8)


ARRAY = "arrays must be uint8 RGB [H, W, 3]"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 9, 3)), f"has dtype float64, {ARRAY}: for values in [0, 1] give (255 * array).round()"),
        (np.zeros((9, 9, 3), np.int64), f"has dtype int64, {ARRAY}: give array.astype(np.uint8) if"),
        (np.zeros((9, 9), np.uint8), f"array 9×9, {ARRAY}: for grey give np.stack([array] * 3, -1)"),
        (np.zeros((3, 9, 9), np.uint8), f"{ARRAY}: this looks like [3, H, W]: give array.transpose(1, 2, 0)"),
        (np.zeros((9, 9, 4), np.uint8), f"{ARRAY}: this looks like RGBA: give array[..., :3]"),
        (np.zeros((2, 9, 9, 3), np.uint8), f"{ARRAY}: this looks like a batch: give array[0]"),
        (np.zeros((9, 9, 5), np.uint8), f"array 9×9×5, {ARRAY}: give a path, a PIL.Image"),
        (np.zeros((0, 9, 3), np.uint8), "array 0×9×3 has no pixels"),
    ],
)
def test_arrays_of_another_kind(array: Any, message: str) -> None:
    with pytest.raises(ImageError, match=re.escape(message)):
        open_image(array)


TENSOR = "tensors must be float RGB [3, H, W] in [0, 1]"


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(3, 9, 9, dtype=torch.uint8), f"has dtype torch.uint8, {TENSOR}: for 0 to 255 give tensor / 255"),
        (torch.zeros(9, 9, 3), f"tensor 9×9×3, {TENSOR}: this looks like [H, W, 3]: give tensor.permute(2, 0, 1)"),
        (torch.zeros(1, 3, 9, 9), f"{TENSOR}: this looks like a batch: give tensor[0]"),
        (torch.zeros(9, 9), f"{TENSOR}: for grey give tensor.expand(3, -1, -1)"),
        (torch.zeros(1, 9, 9), f"{TENSOR}: for grey give tensor.expand(3, -1, -1)"),
        (torch.zeros(5, 9, 9), f"tensor 5×9×9, {TENSOR}: give a path, a PIL.Image"),
        (torch.tensor(1.0), f"tensor of one number, {TENSOR}"),
        (torch.zeros(3, 0, 9), "tensor 3×0×9 has no pixels"),
        (torch.full((3, 9, 9), 200.0), "has values from 200 to 200, not in [0, 1]; for 0 to 255 give tensor / 255"),
        (torch.full((3, 9, 9), -2.1), "not in [0, 1]; if it is normalised, undo it (tensor * std + mean)"),
        (torch.full((3, 9, 9), torch.nan), "tensor 3×9×9 holds NaN or infinity; a picture has values in [0, 1]"),
    ],
)
def test_tensors_of_another_kind(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(ImageError, match=re.escape(message)):
        open_image(tensor)


def test_a_tensor_a_hair_outside_is_taken() -> None:
    assert pixels(open_image(torch.tensor([-5e-4, 1 + 5e-4, 0.5])[:, None, None].expand(3, 8, 8)))[0, 0].tolist() == [
        0, 255, 128,
    ]  # fmt: skip


def test_grey_pictures_with_nan() -> None:
    values = np.full((9, 9), np.nan, np.float32)
    refused(
        Image.fromarray(values),
        "PIL picture 9×9: its grey values hold NaN or infinity; replace them, or save it with 8 bits",
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            None,
            "NoneType is no picture: give a path, a PIL.Image, a uint8 RGB array [H, W, 3] (cv2.imread gives BGR: arr",
        ),
        (b"\x89PNG", "bytes is no picture: wrap the bytes, PIL.Image.open(io.BytesIO(data))"),
        (["a.png", "b.png"], "list is no picture: for several pictures use vlx.explain_many"),
    ],
)
def test_things_that_are_no_pictures(source: Any, message: str) -> None:
    with pytest.raises(ImageError, match="^" + re.escape(message)):
        open_image(source)


def test_a_closed_picture() -> None:
    image = drawing()
    image.close()
    with pytest.raises(ImageError, match="PIL picture 40×24 cannot be decoded"):
        open_image(image)


def test_opening_pictures_imports_no_torch(tmp_path: Path) -> None:
    path = saved(tmp_path, drawing(), "a.png")
    code = (
        f"import sys; from vlx.pictures.opening import open_image as o; o({str(path)!r}); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_photographs_open_as_pillow_has_them() -> None:
    if not PHOTOS.is_dir():
        pytest.skip(f"needs the photographs of {PHOTOS}")
    paths = [path for path in sorted(PHOTOS.iterdir()) if path.suffix in {".jpg", ".bmp"}]
    assert len(paths) == 4
    for path in paths:
        with Image.open(path) as image:
            assert np.array_equal(pixels(open_image(path)), np.asarray(image.convert("RGB")))

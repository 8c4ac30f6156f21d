"""Pictures that were made to do harm, through all that opens one: each works or is refused in a short sentence."""

import io
import os
import resource
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlx.data.files import label_map
from vlx.errors import VlxError
from vlx.pictures.opening import in_memory, open_image, stored

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n(ls) (w) file\nshowpage\n"
RNG = np.random.default_rng(0)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG that declares a size, whatever it holds."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    told = ((b"IHDR", head), *chunks, (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in told]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def noise(size: int = 48) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (size, size, 3), np.uint8))


def of(values: Any) -> bytes:
    return encoded(Image.fromarray(np.full((16, 16), values[0], values[1])), "TIFF")


HARM: dict[str, bytes] = {
    **{f"EPS as {ending}": EPS for ending in ("png", "jpg", "tif", "bmp", "webp", "eps", "ppm")},
    **{f"half a {kind}": encoded(noise(), kind)[:700] for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")},
    "a bomb by its header": png(100_000, 100_000, (b"IDAT", zlib.compress(b"\0" * 1000))),
    "a bomb within Pillow's limit": png(9_000, 9_500, (b"IDAT", zlib.compress(b"\0" * 9_501 * 9_500, 1))),
    "no pixels": png(0, 0, (b"IDAT", zlib.compress(b""))),
    "a text of 200 MB": png(16, 16, (b"zTXt", b"a\0\0" + zlib.compress(b"x" * 2 * 10**8)), (b"IDAT", b"")),
    "negative": of((-1, np.int32)),
    "32 bits": of((2**31 - 1, np.int32)),
    "not a number": of((np.nan, np.float32)),
    "infinite": of((np.inf, np.float32)),
    "a TIFF that is its own next page": struct.pack("<2sHIHI", b"II", 42, 8, 0, 8),
    "a PPM of a million millions": b"P6 1000000 1000000 255\n" + bytes(100),
    "a BMP of negative height": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 90, 0, 0, 54, 40, 9, -(2**31), 1, 24, *[0] * 6),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "nothing": b"",
    "zeros": bytes(5000),
}
READERS: dict[str, Callable[[Path], object]] = {
    "open_image": lambda path: np.asarray(open_image(path).image),
    "label map": label_map,
    "as stored": lambda path: np.asarray(stored(path)),
    "in memory": lambda path: np.asarray(in_memory(path.read_bytes())),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", HARM)
def test_it_works_or_is_refused(name: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("another program was run"))
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("another program was run"))
    path = tmp_path / f"a.{name.split()[-1] if name.startswith('EPS') else 'png'}"
    path.write_bytes(HARM[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        READERS[reader](path)
    except VlxError as error:
        assert len(str(error)) < 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


@pytest.mark.parametrize("reader", [name for name in READERS if name != "in memory"])
def test_nothing_is_waited_for(reader: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(VlxError, match=rf"{name}\.png"):
            READERS[reader](tmp_path / f"{name}.png")

"""Opening pictures of any origin safely: upright, RGB, 8 bits, or an `ImageError` that says what to do."""

import io
import os
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vlx.errors import ImageError, MissingImage
from vlx.files.whole import read_bytes, write_bytes
from vlx.pictures.foreign import HEAD, OF_A_CLIP, foreign
from vlx.process import ignoring

MAX_PIXELS = 80_000_000  # larger pictures are refused before they are decoded; Pillow itself warns from 89 million on
MIN_SIDE = 8
SLACK = 1e-3  # how far a tensor's values may be outside [0, 1]
BITS = (8, 10, 12, 14, 16)  # what sensors give; a picture of more than 8 bits is scaled by the fewest that hold it
_ACCEPTED = (
    "give a path, a PIL.Image, a uint8 RGB array [H, W, 3] (cv2.imread gives BGR: array[..., ::-1]) or a float RGB "
    "tensor [3, H, W] in [0, 1]"
)
# What is opened, however a file is named. Not among them: drawings, which Pillow hands to another program (EPS to
# Ghostscript), and formats without a signature, which any bytes may seem to be.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")
_PROGRAMS = {"EPS", "WMF"}


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as it is explained: ``image`` is RGB and upright, ``notes`` say what was done to make it so."""

    image: Image.Image
    name: str
    notes: tuple[str, ...] = ()


def open_image(source: Any) -> Picture:
    """The picture in a file, or in something that holds one.

    ``source``: a path, a PIL picture of any mode, an array [H, W, 3] uint8 or uint16, a grey one [H, W] uint16, or a
    float tensor [3, H, W] in [0, 1]. The channels of arrays and tensors are red, green, blue, in this order; OpenCV's
    are blue, green, red, which nobody can see: give ``array[..., ::-1]``. Pictures are turned upright by their EXIF
    orientation; transparency is put on white; more than 8 bits are scaled by the fewest of 8, 10, 12, 14 or 16 that
    hold the picture's largest value, with a note.

    Raises MissingImage when there is no such file, and ImageError for what is no picture, is cut off, has fewer than
    8 × 8 or more than 80 million pixels, or is an array of another kind.
    """
    if isinstance(source, str | os.PathLike):
        return _from_path(source)
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        name = Path(str(getattr(source, "filename", "") or "")).name or f"PIL picture {source.width}×{source.height}"
        return _guarded(source, name)
    if isinstance(source, np.ndarray):
        return _from_array(source, f"array {_shape(source)}")
    torch = sys.modules.get("torch")  # nobody has a tensor who has not imported it
    if torch is not None and isinstance(source, torch.Tensor):
        return _from_tensor(source, f"tensor {_shape(source)}")
    raise ImageError(f"{type(source).__name__} is no picture: {_hint(source)}")


def _hint(source: Any) -> str:
    if isinstance(source, bytes | bytearray):
        return "wrap the bytes, PIL.Image.open(io.BytesIO(data))"
    if isinstance(source, list | tuple):
        return f"for several pictures use vlx.explain_many; {OF_A_CLIP}"
    return _ACCEPTED


# Files


def _from_path(source: str | os.PathLike[Any]) -> Picture:
    path = Path(os.fsdecode(source))
    if re.match(r"https?://", str(source)):
        raise ImageError(f"{source}: vlx does not download; save the picture and give its path")
    try:
        _require_filled_file(path, path.stat())
        with path.open("rb") as file:
            return _from_file(file, path)
    except FileNotFoundError:
        if path.is_symlink():
            raise MissingImage(f"{path} is a link to {path.readlink()}, which is not there") from None
        raise MissingImage(f"{path}: no such file; {_nearby(path)}") from None
    except PermissionError:
        raise ImageError(f"{path} cannot be read: permission denied; allow it with chmod +r") from None
    except NotADirectoryError:
        raise MissingImage(f"{path}: {path.parent} is not a folder") from None
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # a name with a null character, a name too long, a broken disk
        raise ImageError(f"{str(path)!r} cannot be read: {error}") from None


def _require_filled_file(path: Path, kind: os.stat_result) -> None:
    if stat.S_ISDIR(kind.st_mode):
        raise ImageError(f"{path} is a folder: {_inside(path)}")
    if not stat.S_ISREG(kind.st_mode):
        raise ImageError(f"{path} is not a regular file; save the picture and give its path")
    if kind.st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes); copy or download it again")


def _from_file(file: BinaryIO, path: Path) -> Picture:
    with _identified(file, str(path)) as image:
        return _guarded(image, path.name, str(path))


def from_bytes(data: bytes, where: str) -> Picture:
    """As `open_image`, of the bytes of a file that stands nowhere by itself; ``where`` is told in errors."""
    if not data:
        raise ImageError(f"{where} is empty (0 bytes); copy or download it again")
    return _from_file(io.BytesIO(data), Path(where))


def save_png(image: Image.Image, path: Path) -> None:
    """Write a picture as PNG, whole or not at all; raises OutputError as `vlx.files.whole.write_bytes`."""
    held = io.BytesIO()
    image.save(held, "PNG")
    write_bytes(path, held.getvalue())


def in_memory(data: bytes, formats: Sequence[str] = FORMATS) -> Image.Image:
    """The picture in ``data`` as it is stored, of one of the formats; raises ImageError as `open_image`."""
    with ignoring(Image.DecompressionBombWarning):  # vlx has a limit of its own
        return _stored(io.BytesIO(data), "the picture", formats)


def stored(path: Path) -> Image.Image:
    """The picture in a file as it is stored: not turned, in its own mode; raises ImageError as `open_image`."""
    if not path.exists():
        raise MissingImage(f"{path}: no such file; {_nearby(path)}")
    return _stored(io.BytesIO(read_bytes(path, error=ImageError)), str(path), FORMATS)


def _stored(file: BinaryIO, where: str, formats: Sequence[str]) -> Image.Image:
    with _identified(file, where, formats) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(_too_large(where, image.width * image.height))
        try:
            image.load()
        except Exception as error:  # decoders raise anything
            raise ImageError(_broken(where, error)) from error
        return image.copy()


def _identified(file: BinaryIO, where: str, formats: Sequence[str] = FORMATS) -> Image.Image:
    """The picture that Pillow sees in a file, not yet decoded; only the ``formats`` are tried."""
    Image.init()
    try:
        return Image.open(file, formats=[name for name in formats if name in Image.OPEN])
    except UnidentifiedImageError:
        file.seek(0)
        if told := foreign(file.read(HEAD)):
            raise ImageError(f"{where} {told}") from None
        raise ImageError(f"{where} is not a picture that can be read here; convert it to PNG or JPEG") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(_too_large(where, int(re.findall(r"\d+", str(error))[0]))) from None
    except Exception as error:  # decoders raise anything
        raise ImageError(_broken(where, error)) from error


def _guarded(image: Image.Image, name: str, where: str = "") -> Picture:
    """Refuse pictures too large, too small or not decodable; what is left is upright RGB."""
    where = where or name
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(_too_large(where, image.width * image.height))
    if min(image.size) < MIN_SIDE:
        raise ImageError(
            f"{where} has {image.width}×{image.height} pixels: too small to explain, use at least {MIN_SIDE}×{MIN_SIDE}"
        )
    if image.format in _PROGRAMS:
        raise ImageError(f"{where} is {image.format}, a drawing and not pixels; export it as PNG")
    try:
        deep = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))  # gone once it is loaded
        image.load()
        upright, notes = _upright(image)
        rgb, more = _rgb(upright, deep)
        frames = _frames(image)
    except ImageError as error:
        raise ImageError(f"{where}: {error}") from None
    except Exception as error:  # decoders raise anything
        raise ImageError(_broken(where, error)) from error
    return Picture(rgb, name, (*frames, *notes, *more))


def _frames(image: Image.Image) -> tuple[str, ...]:
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a photograph and its previews
    if count == 1:
        return ()
    number = image.tell() + 1
    return (f"{'first' if number == 1 else f'number {number}'} of {count} frames",)


def _upright(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    try:
        return ImageOps.exif_transpose(image), ()
    except Exception:  # EXIF comes in all states of repair
        return image.copy(), ("its EXIF data is damaged; shown as stored",)


# Colours


def _rgb(image: Image.Image, deep: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture as RGB of 8 bits; ``deep`` says that its file has 16 bits a channel."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scaled(np.asarray(image), image.mode)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        clear = rgba.getchannel("A").getextrema() != (255, 255)
        note = ("transparent parts shown on white",) * clear
        return Image.alpha_composite(white, rgba).convert("RGB"), (*_cut(rgba.convert("RGB"), deep), *note)
    rgb = image.convert("RGB") if image.mode != "RGB" else image
    return rgb, _cut(rgb, deep)


def _cut(image: Image.Image, deep: bool) -> tuple[str, ...]:
    """Colours of 16 bits, of which Pillow keeps the upper 8. Raises ImageError where little is left of them."""
    if not deep or image.mode != "RGB":
        return ()
    most = max(high for _, high in image.getextrema())  # type: ignore[misc]
    if 0 < most < 64:
        raise ImageError(
            f"its colours have 16 bits and reach {most + 1} of 256 levels (fewer bits in 16?); open it with its own "
            "library and give the uint16 RGB array [H, W, 3], which is scaled by what it holds"
        )
    return ("colours of 16 bits cut to 8",)


def _scaled(values: NDArray[Any], mode: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Grey values of more than 8 bits, scaled and not clipped."""
    if not np.isfinite(values).all():
        raise ImageError("its grey values hold NaN or infinity; replace them, or save it with 8 bits")
    most = float(values.max())
    low, high = _range(mode, float(values.min()), most)
    note = () if (low, high) in ((0, 1), (0, 255)) else (f"grey values from {low:g} to {high:g} scaled to 8 bits",)
    if mode.startswith("I;16"):
        note = (_deep("grey values", most),)
    return _levels(values, low, high), note


def _levels(values: NDArray[Any], low: float, high: float) -> Image.Image:
    """Values scaled so that ``low`` is black and ``high`` white."""
    levels = (values.astype(np.float64) - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(np.rint(levels).astype(np.uint8)).convert("RGB")


def _deep(what: str, most: float) -> str:
    """The note for values in 16 bits of which the largest is ``most``."""
    bits = _bits(most)
    but = "" if bits == 16 else f" (the largest is {most:g}: taken for {bits} bits in 16)"
    return f"{what} from 0 to {2**bits - 1} scaled to 8 bits{but}"


def _bits(most: float) -> int:
    """The fewest bits that hold a value up to 65535."""
    return next(bits for bits in BITS if most < 2**bits)


def _range(mode: str, low: float, high: float) -> tuple[float, float]:
    """The grey values of black and white: those of the bits that hold it if that is known, else the picture's own."""
    if low < 0 or high > 65535:
        return low, high
    if mode == "F" and high <= 1:
        return 0, 1
    return 0, 2 ** _bits(high) - 1


# Arrays and tensors


def _from_array(array: NDArray[Any], name: str) -> Picture:
    deep = array.dtype == np.uint16
    if array.dtype != np.uint8 and not deep:
        raise ImageError(f"{name} has dtype {array.dtype}, arrays must be uint8 RGB [H, W, 3]: {_as_uint8(array)}")
    if (array.ndim != 3 or array.shape[2] != 3) and not (deep and array.ndim == 2):
        raise ImageError(f"{name}, arrays must be uint8 RGB [H, W, 3]: {_as_hwc(array)}")
    if not array.size:
        raise ImageError(f"{name} has no pixels")
    if deep:
        most = float(array.max())
        opened = _guarded(_levels(array, 0, 2 ** _bits(most) - 1), name)
        return replace(opened, notes=(*opened.notes, _deep("values", most)))
    return _guarded(Image.fromarray(np.ascontiguousarray(array)), name)


def _as_uint8(array: NDArray[Any]) -> str:
    if array.dtype.kind == "f":
        return "for values in [0, 1] give (255 * array).round().astype(np.uint8)"
    return "give array.astype(np.uint8) if its values are 0 to 255, astype(np.uint16) if they are 0 to 65535"


def _as_hwc(array: NDArray[Any]) -> str:
    if array.ndim == 2:
        return "for grey give np.stack([array] * 3, -1)"
    if array.ndim == 3 and array.shape[0] == 3:
        return "this looks like [3, H, W]: give array.transpose(1, 2, 0)"
    if array.ndim == 3 and array.shape[2] == 4:
        return "this looks like RGBA: give array[..., :3]"
    if array.ndim == 4:
        return f"this looks like a batch: give array[0], or all of them to vlx.explain_many; {OF_A_CLIP}"
    return _ACCEPTED


def _from_tensor(tensor: Any, name: str) -> Picture:
    if not tensor.is_floating_point():
        raise ImageError(
            f"{name} has dtype {tensor.dtype}, tensors must be float RGB [3, H, W] in [0, 1]: "
            "for 0 to 255 give tensor / 255"
        )
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise ImageError(f"{name}, tensors must be float RGB [3, H, W] in [0, 1]: {_as_chw(tensor)}")
    values = tensor.detach().to("cpu").float().numpy()
    if not values.size:
        raise ImageError(f"{name} has no pixels")
    if not np.isfinite(values).all():
        raise ImageError(f"{name} holds NaN or infinity; a picture has values in [0, 1]")
    low, high = float(values.min()), float(values.max())
    if low < -SLACK or high > 1 + SLACK:
        raise ImageError(f"{name} has values from {low:.3g} to {high:.3g}, not in [0, 1]; {_as_unit(low, high)}")
    levels = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    return _guarded(Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0))), name)


def _as_unit(low: float, high: float) -> str:
    if low >= 0 and high <= 255:
        return "for 0 to 255 give tensor / 255"
    return "if it is normalised, undo it (tensor * std + mean): the task prepares pictures itself"


def _as_chw(tensor: Any) -> str:
    if tensor.ndim == 4:
        return f"this looks like a batch: give tensor[0], or all of them to vlx.explain_many; {OF_A_CLIP}"
    if tensor.ndim == 3 and tensor.shape[2] == 3:
        return "this looks like [H, W, 3]: give tensor.permute(2, 0, 1)"
    if tensor.ndim == 2 or (tensor.ndim == 3 and tensor.shape[0] == 1):
        return "for grey give tensor.expand(3, -1, -1)"
    return _ACCEPTED


# Words


def _shape(value: Any) -> str:
    return "×".join(str(side) for side in value.shape) or "of one number"


def _too_large(where: str, pixels: int) -> str:
    return (
        f"{where} has {pixels / 1e6:.0f} million pixels, vlx opens pictures up to {MAX_PIXELS / 1e6:.0f} million: "
        "make a smaller copy"
    )


def _broken(where: str, error: Exception) -> str:
    if "truncated" in str(error).lower():
        return f"{where} is cut off (truncated); copy or download it again"
    return f"{where} cannot be decoded ({error or type(error).__name__}); save it again as PNG or JPEG"


def _inside(folder: Path) -> str:
    """What to give in place of a folder."""
    try:
        endings = {ending for ending, name in Image.registered_extensions().items() if name in FORMATS}
        names = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in endings)
    except OSError:
        names = []
    return f"give a picture in it, for example {folder / names[0]}" if names else "give a picture"


def _nearby(path: Path) -> str:
    """What the user may have meant by a path that leads nowhere."""
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}"
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        names = []
    near = get_close_matches(path.name, names, n=3, cutoff=0.6)
    return f"close: {', '.join(near)}" if near else f"nothing in {folder.resolve()} has a name like it"

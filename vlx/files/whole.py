"""Files are written whole or not at all, and read only where they are files, of a size that can be."""

import io
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from vlx.errors import InputError, OutputError, VlxError

PARTIAL = re.compile(r"\.vlx-[0-9a-f]{12}(\.\w+)?")  # files that are being written
SWEPT_ENTRIES = 1000  # entries of a folder that are looked through for litter, once it was swept as a whole
LARGEST = 2**30  # bytes of a file that is read as a whole


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or leave what was there; half a surrogate pair becomes a question mark."""
    write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a whole file, or leave what was there; OutputError says how many bytes it takes."""
    with replacing(path, len(data)) as partial:
        partial.write_bytes(data)


def read_bytes(path: Path, most: int = LARGEST, error: type[VlxError] = InputError) -> bytes:
    """What a regular file holds; raises ``error`` for anything else, and for more than ``most`` bytes.

    A pipe or a device is refused before it is waited for.
    """
    with reading(path, most, error) as (file, size):
        data = file.read(size + 1)
    if len(data) > size:
        raise error(f"{path} grows while it is read; give a file that is whole")
    return data


@contextmanager
def reading(
    path: Path, most: int = LARGEST, error: type[VlxError] = InputError
) -> Iterator[tuple[io.BufferedReader, int]]:
    """A regular file that is open for reading, and its size in bytes; raises ``error`` as `read_bytes`."""
    try:
        with open(path, "rb", opener=_nonblocking) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise error(f"{path} is {_kind(info.st_mode)}, not a file; give a file")
            if info.st_size > most:
                raise error(f"{path} has {_size(info.st_size)}, more than the {_size(most)} that such a file can have")
            yield file, info.st_size
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except IsADirectoryError:
        raise error(f"{path}: a folder, not a file") from None
    except (OSError, ValueError) as wrong:  # a name with a zero byte, a broken disk
        if isinstance(wrong, VlxError):
            raise
        raise error(f"{path}: cannot be read ({getattr(wrong, 'strerror', None) or wrong})") from None


def require_place(path: Path) -> None:
    """Raise OutputError when ``path`` is a folder or its own folder is missing, before anything is drawn for it."""
    try:
        folder, place = path.is_dir(), path.parent.is_dir()
    except (OSError, ValueError) as error:  # a name too long, a zero byte
        raise OutputError(f"{str(path)[:150]!r}: no file can have that name ({error}); choose another") from None
    if folder:
        raise OutputError(f"{path} is a folder; give the name of a file in it")
    if not place:
        raise OutputError(f"{path.parent}: no such folder; make it first")


@contextmanager
def replacing(path: Path, size: int | None = None) -> Iterator[Path]:
    """A new file beside ``path`` that takes its place when all went well, and is removed when not.

    What a killed run left beside it is swept: a file that is still being written is locked, and stays. ``size`` is how
    many bytes are to be written, for the message. Raises OutputError when the folder is missing or cannot be written,
    the disk is full, or ``path`` is a folder.
    """
    require_place(path)
    path = path.resolve()  # a link stays a link
    partial: Path | None = None
    held: int | None = None
    try:
        sweep(path.parent)
        partial, held = _held(path)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if isinstance(error, VlxError):
            raise
        needed = "" if size is None else f", it takes {size:,} bytes"
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place{needed}"
        ) from None
    finally:
        with suppress(OSError):
            if partial is not None:
                partial.unlink(missing_ok=True)
        if held is not None:
            os.close(held)


def sweep(folder: Path) -> None:
    """Remove what killed runs left in a folder of files half written: those that nobody holds any more."""
    for name in _litter(folder):
        with suppress(OSError):
            held = os.open(folder / name, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if _lock(held):
                    os.unlink(folder / name)
            finally:
                os.close(held)


_swept: set[Path] = set()


def _litter(folder: Path) -> list[str]:
    most = SWEPT_ENTRIES if folder in _swept else None
    _swept.add(folder)
    try:
        with os.scandir(folder) as entries:
            return [one.name for one in islice(entries, most) if PARTIAL.fullmatch(one.name)]
    except OSError:
        return []


def _held(path: Path) -> tuple[Path, int]:
    """A new file beside ``path``, and a descriptor that holds its lock."""
    while True:
        partial = path.with_name(f".vlx-{secrets.token_hex(6)}{path.suffix}")
        held = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o666)
        _lock(held)
        if os.fstat(held).st_nlink or sys.platform == "win32":
            return partial, held
        os.close(held)  # swept before it was locked


def _lock(held: int) -> bool:
    """Whether the file could be locked for this process alone; never where there are no locks."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _kind(mode: int) -> str:
    kinds = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISDIR: "a folder"}
    return next((name for test, name in kinds.items() if test(mode)), "a device")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**8 else f"{count / 1e6:.1f} MB"

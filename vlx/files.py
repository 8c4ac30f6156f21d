"""Files are written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vlx.errors import OutputError


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or leave what was there; half a surrogate pair becomes a question mark."""
    with replacing(path) as partial:
        partial.write_bytes(text.encode("utf-8", "replace"))


def require_place(path: Path) -> None:
    """Raise OutputError when ``path`` is a folder or its own folder is missing, before anything is drawn for it."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder; make it first")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside ``path`` that takes its place when all went well, and is removed when not.

    Raises OutputError when the folder is missing or cannot be written, or ``path`` is a folder.
    """
    require_place(path)
    path = path.resolve()  # a link stays a link
    partial = path.with_name(f".vlx-{secrets.token_hex(6)}{path.suffix}")
    try:
        partial.open("xb").close()
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)

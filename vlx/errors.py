"""What vlx raises. Every message names the input and the remedy.

VlxError
├── InputError (ValueError)              something the caller gave cannot be used
│   ├── ImageError                       a picture that cannot be opened or is not a picture
│   │   └── MissingImage (FileNotFoundError)
│   ├── UnknownWords                     a forced caption or question with words the model does not know
│   ├── OutputError (OSError)            a result that cannot be written where it was asked for
│   ├── UnsavableValue (TypeError)       a result that holds something no file can hold
│   └── WordNotFound (KeyError)          a word that is asked for and is absent or stands there twice: why["word"]
└── ModelError (ValueError)              a model that cannot be loaded or explained as it is
    └── NoGradient                       a model whose code lets no gradient through to its feature map
"""

import os
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType


class VlxError(Exception):
    """Anything vlx raises on purpose."""


class InputError(VlxError, ValueError):
    """Something the caller gave cannot be used."""


class ImageError(InputError):
    """A picture that cannot be opened, or is not a picture."""


class MissingImage(ImageError, FileNotFoundError):
    """There is no such file."""


class UnknownWords(InputError):
    """A text holds words that are not in the model's vocabulary."""


class OutputError(InputError, OSError):
    """A result cannot be written where it was asked for."""


class UnsavableValue(InputError, TypeError):
    """A result holds something that no file can hold, such as an object in its provenance."""


class WordNotFound(InputError, KeyError):
    """A word that the text lacks, or has twice: of ``why["word"]``, and of options that name words."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ModelError(VlxError, ValueError):
    """A model that cannot be loaded, or cannot be explained as it is."""


class NoGradient(ModelError):
    """A model whose own code lets no gradient through to its feature map, though its scores rest on it."""


@dataclass(frozen=True)
class Failure:
    """What stands in the place of a picture that could not be explained: its ``name`` and the ``error``.

    ``error`` is a VlxError where something given was at fault, and of any other kind where it was not foreseen.
    """

    name: str
    error: Exception

    def __str__(self) -> str:
        said = str(self.error) or type(self.error).__name__
        kind = "" if isinstance(self.error, VlxError) else f"{type(self.error).__name__}: "
        return f"{kind}{said}" if self.name in said else f"{self.name}: {kind}{said}"


@contextmanager
def in_own_words(
    what: str,
    kind: type[VlxError] = InputError,
    remedy: str = "",
    *,
    bugs: bool = False,
    passing: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """The one place where what others raise becomes vlx's own: ``kind``, naming ``what`` it was about.

    Foreign is what a library raises that vlx called, and whatever exceeds what a machine has. What code of the user's
    raises passes, and so do ``passing``, what vlx raises on purpose, and bugs: what goes wrong in its own lines. With
    ``bugs`` these are turned too: a damaged file may make any line stumble; and a message that its texts have made long
    is cut. The cause stays chained.

        >>> with in_own_words(str(path), remedy="save it again", bugs=True):
        ...     read(path)
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, VlxError) and bugs:
            error.args = (_middle_left_out(str(error)),)
        if isinstance(error, (VlxError, *passing)) or not (bugs or _foreign(error)):
            raise
        told = " ".join(str(error).split())[:120]
        name = type(error).__name__
        raise kind(f"{what[:120]}: {name}{f' ({told})' * bool(told)}{f'; {remedy}' * bool(remedy)}") from error


def _middle_left_out(text: str) -> str:
    """A message with beginning and end alone where it is too long: the input, and the remedy."""
    return text if len(text) < LONGEST else f"{text[: LONGEST - 103]} … {text[-95:]}"


LONGEST = 300  # characters of a message
LIMITS = (RecursionError, MemoryError, OverflowError)
COMPILED = (RuntimeError, OSError)  # how torch and others tell of what their compiled parts, which have no frames, met
HERE = os.path.dirname(os.path.abspath(__file__))
# In the path of a library's file: the standard one's, and those of any environment, of this one or of one it builds on.
LIBRARIES = (
    os.path.abspath(sysconfig.get_path("stdlib")) + os.sep,
    *(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages")),
)


def _foreign(error: Exception) -> bool:
    """Whether a library raised it that vlx called, and not a line of vlx or of its user."""
    if isinstance(error, LIMITS):
        return True
    frames = list(_frames(error.__traceback__))
    called = next((place for place, frame in enumerate(reversed(frames)) if not _of_library(frame)), 0)
    ours = _of_vlx(frames[-1 - called])
    compiled = isinstance(error, COMPILED) and not isinstance(error, NotImplementedError)
    return ours and (called > 0 or compiled or type(error).__module__ != "builtins")


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _of_vlx(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.split(".")[0] == "vlx" or frame.f_code.co_filename.startswith(HERE + os.sep)


def _of_library(frame: FrameType) -> bool:
    place, name = frame.f_code.co_filename, frame.f_globals.get("__name__")
    made = place.startswith("<") and name != "__main__"  # as templates are; what a user types is __main__
    return not _of_vlx(frame) and (made or any(part in place for part in LIBRARIES))

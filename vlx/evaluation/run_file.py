"""The file of a run: what was asked in its first line, then records as they are measured, a mark after each batch.

    records.jsonl   {"vlx": …, "model": …, "data": …}     the head
                    {"key": …, "ask": …, "value": …}      a record a line
                    {"done": ["000001.jpg", …], …}        the batch before is whole

What stands behind the last mark was cut short, and is measured again. The table is made of this file alone.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from vlx.errors import InputError, OutputError
from vlx.evaluation.batches import MeasuredBatch
from vlx.evaluation.records import Record
from vlx.language import shortened

NAME = "records.jsonl"
START = b'{"run": 1, '
_BINARY = getattr(os, "O_BINARY", 0)  # Windows
COMPARED = (
    "chosen",
    "model",
    "weights",
    "data",
    "pictures",
    "metrics",
    "methods",
    "targets",
    "n",
    "version",
    "filling",
    "draws",
)
CHOSEN = {"chosen": "the first pictures"}  # and of files from before
ASKED_AS = ("layer", "labels", "classes")  # compared where both files tell them: files from before have none


@dataclass(frozen=True)
class RunHead:
    """What was asked: the ``model`` by name and digest of its ``weights``, the ``data`` by name and digest of their
    ``pictures``, ``metrics``, ``methods`` and ``targets`` as they were resolved, how many pictures (``n``).

    ``filling`` is what hidden parts of pictures are filled with, ``draws`` how intervals are drawn; ``of`` is what the
    pictures are called, ``by_size`` whether figures are told by how large things are; ``left_out`` why pictures of the
    data are not among them. ``layer`` is where the model is read, ``labels`` a digest of its classes' names, in order,
    and ``classes`` one of what the data's classes are called. ``chosen``: which are measured where not all are.
    """

    model: str
    weights: str
    data: str
    pictures: str
    metrics: Sequence[str]
    methods: Sequence[str]
    targets: Sequence[str]
    n: int | None
    command: str
    version: str
    filling: str = "median colour"
    draws: str = "1000 of pictures, seed 0"
    of: str = "pictures"
    by_size: bool = False
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    layer: str = ""
    labels: str = ""
    classes: str = ""
    chosen: str = CHOSEN["chosen"]

    def to_json(self) -> dict[str, Any]:
        """The first line of the file."""
        return {"run": 1, **asdict(self)}

    @classmethod
    def from_json(cls, line: Mapping[str, Any], path: Path) -> "RunHead":
        """The head that `to_json` wrote. Raises InputError for anything else."""
        names = [each.name for each in fields(cls)]
        line = dict.fromkeys(ASKED_AS, "") | CHOSEN | dict(line)
        if line.get("run") != 1 or any(name not in line for name in names) or not _typed(line):
            raise InputError(f"{path}: no run of vlx evaluate of this version; give another folder")
        return cls(**{name: line[name] for name in names})

    def differences(self, other: "RunHead") -> list[str]:
        """What another run was asked otherwise, in words."""
        here, there = json.loads(json.dumps(asdict(self))), json.loads(json.dumps(asdict(other)))
        told = [*COMPARED, *(name for name in ASKED_AS if here[name] and there[name])]
        return [f"{name} was {_told(there[name])}" for name in told if here[name] != there[name]]


def _typed(line: Mapping[str, Any]) -> bool:
    """Whether what a head holds is of the kinds that `RunHead` has."""
    texts = [
        line[name] for name in ("model", "weights", "data", "pictures", "command", "version", "of", "chosen", *ASKED_AS)
    ]
    lists = [line[name] for name in ("metrics", "methods", "targets")]
    left = line["left_out"]
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
        and isinstance(left, dict)
        and all(isinstance(names, list) for names in left.values())
        and (line["n"] is None or type(line["n"]) is int)
    )


def _told(value: Any) -> str:
    return shortened(",".join(map(str, value)) if isinstance(value, list) else str(value), 60)


class RunFile:
    """The file of a run in a folder, new or gone on with; ``count`` batches of it are whole.

    Raises InputError where the folder holds a run already and ``resume`` is not asked for, where it is one of other
    weights, data or wishes, and where another process writes to it; OutputError where it cannot be written.
    """

    def __init__(self, folder: str | Path, head: RunHead, *, resume: bool = False) -> None:
        self.path = Path(folder) / NAME
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666), "r+b")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from None
        try:
            _lock(self._file, self.path)  # before anything is read: another process may be writing
            self.count, whole = self._gone_on(head, resume=resume)
            self._file.truncate(whole)
            self._file.seek(whole)
            if not whole:
                self._put([head.to_json()])
        except OSError as error:
            self._close()
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from None
        except BaseException:
            self._close()
            raise

    def _gone_on(self, head: RunHead, *, resume: bool) -> tuple[int, int]:
        """How many batches are whole, and how many bytes they take. Raises InputError for another run's file."""
        folder = self.path.parent
        if not self.path.stat().st_size:
            return 0, 0
        if not resume:
            raise InputError(f"{folder} holds a run already; go on with it by --resume, or give another folder")
        known, count, whole = _scanned(self.path)
        if known is None and not _begins(self.path):
            raise InputError(f"{self.path}: no run of vlx evaluate; give another folder")
        if known and (differences := head.differences(known)):
            raise InputError(f"{folder}: a run of another kind, {'; '.join(differences)}; give another folder"[:300])
        return count, whole

    def known(self) -> Iterator[MeasuredBatch]:
        """What came of the batches that are whole."""
        yield from islice(_batches(self.path), self.count)

    def write(self, batch: MeasuredBatch) -> None:
        """Write what came of a batch, and its mark."""
        lines = [record.to_json() for record in batch.records]
        self._put([*lines, batch.mark()])

    def _put(self, lines: Sequence[Mapping[str, Any]]) -> None:
        written = b"".join(map(_line, lines))
        try:
            self._file.write(written)
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}); what is there is whole: go on by --resume"
            ) from None

    def _close(self) -> None:
        with suppress(OSError):  # a full disk: what could not be written was told
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._close()


def _line(content: Mapping[str, Any]) -> bytes:
    """A line of the file; names that are no text, as files' may be, are written as escapes."""
    try:
        return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(content, allow_nan=False) + "\n").encode()


def _begins(path: Path) -> bool:
    """Whether a file that holds no whole line may be one of a run whose first line was cut short."""
    with open(path, "rb") as file:
        start = file.read(len(START))
    return START.startswith(start)


def read(folder: str | Path) -> tuple[RunHead, Iterator[MeasuredBatch]]:
    """The head of the run in a folder, and what came of its whole batches.

    Raises InputError for what is no such file, and for a line in its midst that is none of a run.
    """
    path = Path(folder) / NAME
    head, _, _ = _scanned(path)
    if head is None:
        raise InputError(f"{path}: no run of vlx evaluate; give the folder that --out named")
    return head, _batches(path)


def _scanned(path: Path) -> tuple[RunHead | None, int, int]:
    """The head, how many batches are whole, and how many bytes they take; no head where its line is cut short."""
    head, count, whole = None, 0, 0
    for line, stop in _lines(path):
        if head is None:
            head, whole = RunHead.from_json(line, path), stop
        elif "done" in line:
            count, whole = count + 1, stop
    return head, count, whole


def _batches(path: Path) -> Iterator[MeasuredBatch]:
    records: list[Record] = []
    for line, _ in islice(_lines(path), 1, None):
        try:
            if "done" not in line:
                records.append(Record.from_json(line))
                continue
            yield MeasuredBatch.marked(line, records)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise InputError(f"{path}: holds a line that is none of a run ({type(error).__name__})") from None
        records = []


def _lines(path: Path) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The lines that are whole, each with the place where it ends; a last one that is cut short is none."""
    stop = 0
    try:
        with open(path, "rb") as file:
            for raw in file:
                stop += len(raw)
                if not raw.endswith(b"\n"):
                    return
                try:
                    line = json.loads(raw)
                except (ValueError, RecursionError):
                    line = None
                if not isinstance(line, dict):
                    raise InputError(f"{path}: holds a line that is no record: {shortened(repr(raw[:60]))}")
                yield line, stop
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _lock(file: BinaryIO, path: Path) -> None:
    """Hold the file for this process. Raises InputError where another one holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{path}: another run writes to it; wait for it, or give another folder") from None

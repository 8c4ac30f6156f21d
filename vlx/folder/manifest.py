"""The record of a folder of results: a line a result, appended as results come, put in order when all is done.

    manifest.jsonl   line 1: what was asked (command, model, weights, options, versions); then a line an item
    results.csv      a line a word, made of the manifest
    index.html       the gallery, made of the manifest

A line "started" is written before a page is, so that after a kill a page that no line tells of is never one of ours.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from vlx.errors import InputError, OutputError
from vlx.explanation.schema import Unfit
from vlx.files import json_files
from vlx.files.whole import sweep
from vlx.folder.item import Item
from vlx.folder.records import Record, checked
from vlx.language import shortened

NAME = "manifest.jsonl"
SCHEMA = 1
OTHERS = 1000  # folders that `free` tries


@dataclass(frozen=True)
class Job:
    """What was asked of every item: the ``command``, the ``model`` by name and by a digest of its ``weights``.

    ``options``: those that decide what the results are, as JSON has them. ``versions`` are kept and not compared.
    """

    command: str
    model: str
    weights: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def differences(self, header: Mapping[str, Any]) -> list[str]:
        """What a manifest's first line has otherwise, in words; empty where it fits."""
        job = asdict(self)
        other = [name for name in ("command", "model") if job[name] != header[name]]
        differences = [f"the {name} was {_shown(header[name])}" for name in other]
        if not differences and self.weights != header["weights"]:
            differences.append(f"{self.model} had other weights")
        ours, theirs = job["options"], header["options"]
        names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
        return differences + [f"{name} was {_shown(theirs.get(name))}" for name in names]


@dataclass(frozen=True)
class State:
    """Where an item stands: its ``status`` ("started", "done", "failed"), its page's stem and its picture's digest."""

    status: str
    stem: str
    digest: str | None
    offset: int


class Manifest:
    """The manifest of a folder while a run writes to it; a second run is kept out.

    >>> with Manifest.opened(Path("out"), Job("caption", "photos/captioner")) as manifest:
    ...     manifest.append({"key": item.key, "status": "failed", "path": item.path, "error": "no such file"})
    """

    def __init__(self, folder: Path, job: Job, file: BinaryIO, states: dict[str, State]) -> None:
        self.folder, self.job, self.states = folder, job, states
        self._file = file

    @classmethod
    def opened(cls, folder: Path, job: Job, *, resume: bool = True, overwrite: bool = False) -> Self:
        """The manifest in ``folder``, begun where there is none; what a killed run left half done is swept.

        With ``overwrite`` one that does not fit is begun anew. Raises InputError for a manifest of another command,
        model, weights or options, for any without ``resume``, and where another run is writing.
        """
        path = folder / NAME
        try:
            file = path.open("a+b")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror}); give another folder with --out") from None
        try:
            _lock(file, folder)
            sweep(folder)
            head, states, end = _readable(file, path) if overwrite else _loaded(file, path)
            if head is not None and not overwrite:
                _refuse(folder, job, head, states, resume)
            if head is None or job.differences(head):
                end, states = 0, {}
            file.truncate(end)
            manifest = cls(folder, job, file, states)
            if end == 0:
                manifest._write(header(job))
        except BaseException:
            file.close()
            raise
        return manifest

    def append(self, record: Record) -> None:
        """Add a line; whatever becomes of the process afterwards, it is there."""
        offset = self._write(record)
        self.states[record["key"]] = _state(record, offset)

    def records(self, keys: Sequence[str]) -> Iterator[Record]:
        """The last line of each item, in this order."""
        for key in keys:
            self._file.seek(self.states[key].offset)
            yield json_files.parsed(self._file.readline(), str(self.folder / NAME))

    def ordered(self, items: Sequence[Item]) -> list[str]:
        """The keys of all that is done or failed: earlier runs' as they stand there, then ``items`` in their order."""
        asked = {item.key: None for item in items}
        earlier = [key for key in self.states if key not in asked]
        return [key for key in (*earlier, *asked) if key in self.states and self.states[key].status != "started"]

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, record: Mapping[str, Any]) -> int:
        try:
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(line(record).encode("ascii"))
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{self.folder / NAME}: cannot be written ({error.strerror}); make room and run the same command again"
            ) from None
        return offset


def line(record: Mapping[str, Any]) -> str:
    """A record as a line of the manifest."""
    return json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"


def header(job: Job) -> Record:
    """The first line."""
    return {"vlx": "manifest", "schema_version": SCHEMA, **asdict(job)}


def free(folder: Path, job: Job) -> Path:
    """The first of ``folder``, ``folder``-2, … that holds no results, or results to which the job's can be added."""
    for number in range(1, OTHERS):
        path = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not (path / NAME).exists():
            return path
        with (path / NAME).open("rb") as file:
            head, _, _ = _loaded(file, path / NAME)
        if head is None or not job.differences(head):
            return path
    raise OutputError(f"{folder} to {folder}-{OTHERS - 1} hold other results; give a folder with --out")


def _refuse(folder: Path, job: Job, head: Mapping[str, Any], states: Mapping[str, State], resume: bool) -> None:
    if differences := job.differences(head):
        listed = shortened("; ".join(differences), 160)
        raise InputError(f"{folder} holds other results: {listed}. Give another --out, or --overwrite them")
    if states and not resume:
        raise InputError(f"{folder} holds {len(states)} results; --overwrite makes them again, --resume goes on")


def _loaded(file: BinaryIO, path: Path) -> tuple[Record | None, dict[str, State], int]:
    """First line, states and the end of the last whole line; a line that a kill cut off is no line."""
    file.seek(0)
    head: Record | None = None
    states: dict[str, State] = {}
    end = 0
    for number, raw in enumerate(iter(file.readline, b""), 1):
        if not raw.endswith(b"\n"):
            break
        try:
            record = json_files.parsed(raw, str(path))
            if number == 1:
                head = _checked(record)
            else:
                states[record["key"]] = _state(checked(record), end)
        except (ValueError, KeyError, TypeError) as error:
            reason = f" ({error})" if isinstance(error, Unfit) else ""
            raise InputError(
                f"{path}, line {number} is damaged, or no manifest's{reason}: "
                "remove it, give another --out, or --overwrite"
            ) from None
        end += len(raw)
    return head, states, end


def _readable(file: BinaryIO, path: Path) -> tuple[Record | None, dict[str, State], int]:
    """The same; nothing where the manifest cannot be read."""
    try:
        return _loaded(file, path)
    except InputError:
        return None, {}, 0


def _checked(record: Any) -> Record:
    if record["vlx"] != "manifest" or record["schema_version"] != SCHEMA or not isinstance(record["options"], dict):
        raise ValueError("of another kind")
    return {name: record[name] for name in ("command", "model", "weights", "options")}


def _state(record: Mapping[str, Any], offset: int) -> State:
    page = record.get("page") or ""
    return State(record["status"], page.removesuffix(".html"), record.get("digest"), offset)


def _shown(value: Any) -> str:
    return "not given" if value is None else shortened(str(value), 60)


def _lock(file: BinaryIO, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: two runs at once are the user's care
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InputError(f"{folder}: another vlx is writing there; wait for it, or give another --out") from None

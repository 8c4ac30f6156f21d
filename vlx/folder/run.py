"""A run over many pictures: pages and lines as results come, tables and gallery at the end; it can be cut off."""

import hashlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from vlx import files
from vlx.errors import Failure, InputError, OutputError, VlxError
from vlx.explanation import Explanation
from vlx.folder import gallery, manifest, names, records
from vlx.folder.inputs import Item
from vlx.folder.manifest import Manifest
from vlx.folder.records import Record
from vlx.report import table

Results = Iterable[Explanation | Failure]


@dataclass(frozen=True)
class Summary:
    """What became of the items of a run: how many are ``done`` (``again`` of them before this run), which failed.

    ``words`` counts all words of the run's items, ``not_owed`` those that the picture hardly carries, ``unchecked``
    those whose map failed its check; ``left`` are the items that were not reached because the run was ``stopped``.
    """

    done: int
    again: int
    failed: tuple[tuple[str, str], ...]
    words: int
    not_owed: int
    unchecked: int
    left: int

    @property
    def stopped(self) -> bool:
        """Whether items are left."""
        return self.left > 0


def run(
    held: Manifest,
    items: Sequence[Item],
    explained: Callable[[Sequence[Item]], Results],
    *,
    command: Callable[[Item], str] = lambda item: "",
    told: Callable[[Record, Explanation | None], None] = lambda record, why: None,
    overwrite: bool = False,
) -> Summary:
    """Explain the ``items`` that the manifest does not have as done, and write page, lines, tables and gallery.

    ``explained`` gives an explanation, or a failure, for each of the items it is given, in order; ``command`` the
    command that a page names, ``told`` hears of every result. Failed ones are tried again. SIGINT ends the run after
    the picture in hand; a second one at once.

    Raises InputError where a picture has changed since it was explained, OutputError where the folder is full.
    """
    stems = names.stems(items, held, overwrite)
    done = set() if overwrite else {item.key for item in items if _is_done(held, item)}
    todo = [item for item in items if item.key not in done]
    reached = 0
    with _stoppable() as stop:
        results = iter(explained(todo))
        for item in todo:
            if stop.is_set():
                break
            told(*_one(held, item, stems[item.key], results, command(item)))
            reached += 1
    finish(held, items)
    return _summary(held, items, len(done), len(todo) - reached)


def finish(held: Manifest, items: Sequence[Item]) -> None:
    """Write manifest, table and gallery in order; the same files however often the run was cut off."""
    keys = held.ordered(items)
    lines = (row for record in held.records(keys) for row in records.rows(record))
    files.write_text(held.folder / "results.csv", table.written(records.COLUMNS, lines))
    gallery.write(held.folder / "index.html", held.job, lambda: held.records(keys))
    with files.replacing(held.folder / manifest.NAME) as partial, partial.open("w", encoding="ascii") as file:
        file.write(manifest.line(manifest.header(held.job)))
        file.writelines(map(manifest.line, held.records(keys)))


def digest(path: str) -> str | None:
    """SHA-256 of a file as 64 hexadecimal digits; None where it cannot be read."""
    try:
        if not Path(path).is_file():
            return None
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def _is_done(held: Manifest, item: Item) -> bool:
    """Whether an item is done. Raises InputError when its picture is another one by now."""
    state = held.states.get(item.key)
    if state is None or state.status != "done":
        return False
    now = digest(item.path)
    if now is not None and now != state.digest:
        raise InputError(
            f"{item.path} has changed since {held.folder} was written; give another --out, or --overwrite its results"
        )
    return True


def _one(
    held: Manifest, item: Item, stem: str, results: Iterator[Explanation | Failure], command: str
) -> tuple[Record, Explanation | None]:
    """Take the next result, write its page and its line."""
    page = f"{stem}.html"
    base: Record = {"key": item.key, "path": item.path, **item.texts, "digest": digest(item.path)}
    held.append({**base, "status": "started", "page": page})
    began = time.perf_counter()
    try:
        found = next(results)
    except VlxError as error:
        found = Failure(item.path, error)
    if isinstance(found, Explanation):
        why = replace(found, provenance={**found.provenance, **({"command": command} if command else {})})
        try:
            why.save(held.folder / page)
            record = {**base, "status": "done", "page": page, "error": None, **records.of(why)}
        except OutputError:
            raise
        except VlxError as error:
            found = Failure(item.path, error)
        else:
            record["seconds"] = round(time.perf_counter() - began, 3)
            held.append(record)
            return record, why
    record = {**base, "status": "failed", "page": None, "error": _reason(found)}
    record["seconds"] = round(time.perf_counter() - began, 3)
    held.append(record)
    return record, None


def _reason(failure: Failure) -> str:
    kind = "" if isinstance(failure.error, VlxError) else f"{type(failure.error).__name__}: "
    return kind + (str(failure.error) or "no reason given")


def _summary(held: Manifest, items: Sequence[Item], again: int, left: int) -> Summary:
    keys = [item.key for item in items if held.states.get(item.key, _NONE).status in ("done", "failed")]
    counts: Counter[str] = Counter()
    failed = []
    for record in held.records(keys):
        counts[record["status"]] += 1
        if record["status"] == "failed":
            failed.append((record["path"], record["error"]))
        for word in record.get("words", ()):
            counts["words"] += 1
            counts["not owed"] += word["owed"] is False
            counts["unchecked"] += word["check"] == "not confirmed"
    return Summary(counts["done"], again, tuple(failed), counts["words"], counts["not owed"], counts["unchecked"], left)


_NONE = manifest.State("", "", None, 0)


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """An event that the first SIGINT sets; the second one interrupts at once. Outside the main thread: never set."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def asked(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, asked)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)

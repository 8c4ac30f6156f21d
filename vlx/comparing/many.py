"""A comparison over many pictures that can be cut off: a line a picture in the manifest, page and table made of it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from vlx.comparing.comparison import COLUMNS, Comparison
from vlx.comparing.pairs import PicturePair
from vlx.errors import Failure, InputError, VlxError
from vlx.files import whole
from vlx.folder import manifest
from vlx.folder.item import Item
from vlx.folder.manifest import Manifest
from vlx.folder.run import is_done
from vlx.folder.sources import digest
from vlx.process import stoppable

PAGE, TABLE = "index.html", "differences.csv"
CompareItems = Callable[[Sequence[Item]], Iterable[PicturePair | Failure]]
Record = dict[str, Any]


def run(
    held: Manifest,
    items: Sequence[Item],
    compared: CompareItems,
    names: tuple[str, str],
    *,
    told: Callable[[Record], None] = lambda _record: None,
    overwrite: bool = False,
) -> tuple[Comparison, int]:
    """Compare the ``items`` that the manifest does not have as done; write page, table and manifest.

    ``compared`` gives a comparison or a failure for each of the items that it is given, in order; ``names`` are A's and
    B's, ``told`` hears of every line. Failed ones are tried again. SIGINT ends the run after the picture in hand.
    Returns the comparison of all items, and how many were not reached. Raises InputError where a picture has changed
    since it was compared, OutputError where the folder is full.
    """
    done = set() if overwrite else {item.key for item in items if is_done(held, item)}
    todo = [item for item in items if item.key not in done]
    reached = 0
    with stoppable() as stop:
        outcomes = iter(compared(todo))
        for item in todo:
            if stop.is_set():
                break
            began = time.perf_counter()
            record = _record(item, next(outcomes))
            record["seconds"] = round(time.perf_counter() - began, 3)
            held.append(record)
            told(record)
            reached += 1
    return finish(held, items, names), len(todo) - reached


def finish(held: Manifest, items: Sequence[Item], names: tuple[str, str]) -> Comparison:
    """Write page, table and the manifest in order, and give the comparison of ``items``."""
    keys = held.ordered(items)
    every = comparison(held.records(keys), names)
    every.save(held.folder / PAGE)
    every.save(held.folder / TABLE)
    with whole.replacing(held.folder / manifest.NAME) as partial, partial.open("w", encoding="ascii") as file:
        file.write(manifest.line(manifest.header(held.job)))
        file.writelines(map(manifest.line, held.records(keys)))
    asked = {item.key for item in items}
    return comparison((record for record in held.records(keys) if record["key"] in asked), names)


def comparison(records: Iterable[Mapping[str, Any]], names: tuple[str, str]) -> Comparison:
    """The comparison that lines of a manifest hold."""
    pairs, failures = [], []
    for record in records:
        if record["status"] == "done":
            pairs.append(_pair(record))
        else:
            failures.append(Failure(record["path"], InputError(record["error"])))
    return Comparison(*names, tuple(pairs), tuple(failures))


def rows(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a line of the manifest says of its words, as plain JSON by the table's columns."""
    for row in Comparison("A", "B", (_pair(record),)).rows():
        yield dict(zip(COLUMNS, row, strict=True))


def _pair(record: Mapping[str, Any]) -> PicturePair:
    try:
        return PicturePair.from_dict(record["pair"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the manifest's line of {record.get('path')} is damaged ({error}); --overwrite it") from None


def _record(item: Item, outcome: PicturePair | Failure) -> Record:
    base: Record = {"key": item.key, "path": item.path, **item.texts, "digest": digest(item.path), "page": None}
    if isinstance(outcome, PicturePair):
        return {**base, "status": "done", "error": None, "pair": outcome.to_dict()}
    kind = "" if isinstance(outcome.error, VlxError) else f"{type(outcome.error).__name__}: "
    return {**base, "status": "failed", "error": kind + (str(outcome.error) or "no reason given")}

"""Pictures and questions over the workers of a cluster: each loads the model once and makes pages and records."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from vlx.cluster.mapping import RETRIES, Pool, Work, mapped
from vlx.errors import Failure, InputError, ModelError
from vlx.folder.item import Item
from vlx.folder.results import ItemResult, Results, failed, here

if TYPE_CHECKING:
    from vlx.protocol.task import Task

    Explained = Callable[[Sequence[Item]], Results]

UNIT = 16  # pictures that a worker is given at once; after a death they are explained again
UNITS_PER_WORKER = 8  # units a worker, at least: the last ones should end together


@dataclass(frozen=True)
class Plan:
    """What a worker does; all of it can be pickled, functions by their names.

    ``load`` makes the task, ``weights`` its digest, which must be ``digest``: a file of another machine may be another
    one. ``explained`` gives a task's function from items to explanations, in order.
    """

    load: "Callable[[], Task]"
    weights: "Callable[[Task], str]"
    digest: str
    explained: "Callable[[Task], Explained]"


def explained(
    plan: Plan,
    pool: Pool,
    items: Sequence[Item],
    stems: Mapping[str, str],
    command: Callable[[Item], str],
) -> Iterator[tuple[Item, ItemResult]]:
    """Results of the items as they arrive, each once.

    Where a picture ends every worker that tries it, it alone fails: what is missing of the units is tried once more,
    picture by picture, and what is missing then, in a pool of its own, where no other picture can end its worker.
    """
    left = {item.key: item for item in items}
    for units, used in _rounds(left, pool):
        packed = [_packed(unit, stems, command) for unit in units]
        for answer in mapped(packed, partial(_work, plan), used):
            record, page = json.loads(answer)
            if item := left.pop(record["key"], None):
                yield item, ItemResult(record, page)
    for item in left.values():
        error = ModelError(f"{item.path}: {RETRIES + 1} workers died of it (out of memory?); explain it alone")
        yield (
            item,
            failed({"key": item.key, "path": item.path, **item.texts, "digest": None}, Failure(item.path, error)),
        )


def _rounds(left: Mapping[str, Item], pool: Pool) -> Iterator[tuple[list[list[Item]], Pool]]:
    """Units of what is left, and the workers for them: several pictures a unit, one, and at last one alone."""
    for size in (max(1, min(UNIT, len(left) // (UNITS_PER_WORKER * pool.workers))), 1):
        if items := list(left.values()):
            yield [items[first : first + size] for first in range(0, len(items), size)], pool
    for item in list(left.values()):
        yield [[item]], replace(pool, workers=1)


def _packed(items: Sequence[Item], stems: Mapping[str, str], command: Callable[[Item], str]) -> bytes:
    return json.dumps([[item.path, item.texts, stems[item.key], command(item)] for item in items]).encode()


def _work(plan: Plan) -> Work:
    """Load the model; then: a unit → its results as JSON."""
    task = plan.load()
    if plan.weights(task) != plan.digest:
        raise InputError(f"{task.name} has other weights on this worker; give all machines the same files")
    explain = plan.explained(task)

    def work(unit: bytes) -> Iterator[bytes]:
        rows: list[list[Any]] = json.loads(unit)
        asked = [Item(path, texts) for path, texts, _, _ in rows]
        keys = [item.key for item in asked]
        stems = dict(zip(keys, (stem for _, _, stem, _ in rows), strict=True))
        commands = dict(zip(keys, (command for _, _, _, command in rows), strict=True))
        for _, result in here(asked, explain, stems, lambda item: commands[item.key]):
            yield json.dumps([result.record, result.page]).encode()

    return work

"""A run over many pictures: pages and lines as results come, tables and gallery at the end; it can be cut off."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vlx.errors import InputError
from vlx.explanation.records import Explanation
from vlx.files import whole
from vlx.folder import gallery, manifest, names, records, results, sources
from vlx.folder.item import Item
from vlx.folder.manifest import Manifest
from vlx.folder.records import Record
from vlx.folder.results import ItemResult, Results
from vlx.process import stoppable
from vlx.report import table

Explained = Callable[[Sequence[Item]], Results]
ExplainElsewhere = Callable[
    [Sequence[Item], Mapping[str, str], Callable[[Item], str]], Iterable[tuple[Item, ItemResult]]
]


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
    explained: Explained,
    *,
    command: Callable[[Item], str] = lambda _item: "",
    told: Callable[[Record, Explanation | None], None] = lambda _record, _why: None,
    overwrite: bool = False,
    elsewhere: ExplainElsewhere | None = None,
) -> Summary:
    """Explain the ``items`` that the manifest does not have as done, and write page, lines, tables and gallery.

    ``explained`` gives an explanation, or a failure, for each of the items it is given, in order; ``command`` the
    command that a page names, ``told`` hears of every result. Failed ones are tried again. SIGINT ends the run after
    the picture in hand; a second one at once. With ``elsewhere`` other processes explain (`vlx.cluster`): it is given
    the items, their pages' names by key and ``command``, and gives results in any order.

    Raises InputError where a picture has changed since it was explained, OutputError where the folder is full.
    """
    stems = names.stems(items, held, overwrite)
    done = set() if overwrite else {item.key for item in items if is_done(held, item)}
    todo = [item for item in items if item.key not in done]
    reached = 0
    with stoppable() as stop:
        arriving = (
            results.here(todo, explained, stems, command) if elsewhere is None else elsewhere(todo, stems, command)
        )
        for item, result in arriving:
            _write(held, stems[item.key], result)
            told(result.record, result.why)
            reached += 1
            if stop.is_set():
                break
    finish(held, items)
    return _summary(held, items, len(done), len(todo) - reached)


def finish(held: Manifest, items: Sequence[Item]) -> None:
    """Write manifest, table and gallery in order; the same files however often the run was cut off."""
    keys = held.ordered(items)
    lines = (row for record in held.records(keys) for row in records.rows(record))
    whole.write_text(held.folder / "results.csv", table.written(records.COLUMNS, lines))
    gallery.write(held.folder / "index.html", held.job, lambda: held.records(keys))
    with whole.replacing(held.folder / manifest.NAME) as partial, partial.open("w", encoding="ascii") as file:
        file.write(manifest.line(manifest.header(held.job)))
        file.writelines(map(manifest.line, held.records(keys)))


def is_done(held: Manifest, item: Item) -> bool:
    """Whether an item is done. Raises InputError when its picture is another one by now."""
    state = held.states.get(item.key)
    if state is None or state.status != "done":
        return False
    now = sources.digest(item.path)
    if now is not None and now != state.digest:
        raise InputError(
            f"{item.path} has changed since {held.folder} was written; give another --out, or --overwrite its results"
        )
    return True


def _write(held: Manifest, stem: str, result: ItemResult) -> None:
    """Write the page and the line; before a page goes a line with its name."""
    kept = ("key", "path", "digest")
    if result.page is not None:
        base = {name: value for name, value in result.record.items() if name in kept}
        held.append({**base, "status": "started", "page": f"{stem}.html"})
        whole.write_text(held.folder / f"{stem}.html", result.page)
    held.append(result.record)


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

"""From an explanation to what a folder keeps of it, a page and a record; made where the model runs."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vlx.errors import Failure, VlxError, in_own_words
from vlx.explanation.records import Explanation
from vlx.folder import records
from vlx.folder.item import Item
from vlx.folder.records import Record
from vlx.folder.sources import digest
from vlx.report import html

Results = Iterable[Explanation | Failure]


@dataclass(frozen=True, eq=False)
class ItemResult:
    """What became of an item: its ``record``, and where it is done its ``page`` as HTML.

    ``why`` is there where this very process explained it.
    """

    record: Record
    page: str | None = None
    why: Explanation | None = None


def here(
    items: Sequence[Item],
    explained: Callable[[Sequence[Item]], Results],
    stems: Mapping[str, str],
    command: Callable[[Item], str],
) -> Iterator[tuple[Item, ItemResult]]:
    """Explain the items in this process, one after the other.

    ``explained`` gives an explanation, or a failure, for each of the items, in order; ``stems`` the names of their
    pages by key, ``command`` the command that a page names.
    """
    explanations = iter(explained(items))
    for item in items:
        began = time.perf_counter()
        base: Record = {"key": item.key, "path": item.path, **item.texts, "digest": digest(item.path)}
        try:
            outcome = next(explanations)
        except VlxError as error:
            outcome = Failure(item.path, error)
        result = (
            _done(base, outcome, stems[item.key], command(item))
            if isinstance(outcome, Explanation)
            else failed(base, outcome)
        )
        result.record["seconds"] = round(time.perf_counter() - began, 3)
        yield item, result


def failed(base: Record, failure: Failure) -> ItemResult:
    """The result of an item that could not be explained."""
    kind = "" if isinstance(failure.error, VlxError) else f"{type(failure.error).__name__}: "
    reason = kind + (str(failure.error) or "no reason given")
    return ItemResult({**base, "status": "failed", "page": None, "error": reason})


def _done(base: Record, explanation: Explanation, stem: str, command: str) -> ItemResult:
    why = replace(explanation, provenance={**explanation.provenance, **({"command": command} if command else {})})
    try:
        with in_own_words("its page cannot be made", remedy="a bug of vlx if the explanation is its own: report it"):
            page = html.page(why)
            record = {**base, "status": "done", "page": f"{stem}.html", "error": None, **records.of(why)}
    except VlxError as error:
        return failed(base, Failure(base["path"], error))
    return ItemResult(record, page, why)

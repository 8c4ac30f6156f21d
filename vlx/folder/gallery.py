"""The gallery: one self-contained page of all results, quick with ten thousand of them.

The first rows are written as HTML, so that they are there before the rest is read; then the figures as JSON, the script
and, last and in chunks, the thumbnails, which are read when their row is drawn. Everything from outside is escaped.
"""

import html
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vlx.files import templates, whole
from vlx.folder.manifest import Job
from vlx.folder.records import Record

CHECKS = ("not confirmed", "cannot be tested", "weak", "confirmed")
STATIC_ROWS = 24  # rows that are there without a script
CHUNK = 250  # thumbnails that are read at once


def write(path: Path, job: Job, records: Callable[[], Iterator[Record]]) -> None:
    """Write the gallery of all ``records``, which is asked for them anew for every part of the page."""
    with whole.replacing(path) as partial, partial.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.writelines(parts(job, records))


def parts(job: Job, records: Callable[[], Iterator[Record]]) -> Iterator[str]:
    """The page in pieces."""
    counts = _counted(records())
    script, style = templates.text("vlx.folder", "gallery.js"), templates.text("vlx.folder", "gallery.css")
    digest = templates.script_digest(script)
    head = templates.text("vlx.folder", "gallery.html")
    for name, value in {
        "digest": digest,
        "style": style,
        "title": html.escape(f"{job.command}: {counts['all']} results of {job.model}"),
        "model": html.escape(job.model),
        "counts": html.escape(headline(counts)),
        "function": "" if counts["function"] else "hidden",
        "failures": "" if counts["failed"] else "hidden",
        "nomarks": "" if counts["judged"] else "hidden",
    }.items():
        head = head.replace(f"[[{name}]]", value)
    yield head
    yield from (_row(record) for record in islice(records(), STATIC_ROWS))
    yield '</ol>\n<p id="more" aria-hidden="true"></p>\n</main>\n<script type="application/json" id="data">['
    yield from _joined(_json(_compact(record)) for record in records())
    yield f"]</script>\n<script>{script}</script>\n"
    yield from _thumbnails(records())
    yield "</body>\n</html>\n"


def headline(counts: Mapping[str, int]) -> str:
    """What there is, in a line."""
    failed = f" · {counts['failed']} could not be explained" if counts["failed"] else ""
    judged = f" · {counts['not owed']} not owed to the picture" if counts["judged"] else ""
    checked = f" · {counts['unchecked']} failed their check" if counts["unchecked"] else ""
    return f"{counts['done']} explained{failed} · {counts['words']} words{judged}{checked}"


def _counted(records: Iterable[Record]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for record in records:
        counts["all"] += 1
        counts[record["status"]] += 1
        for word in record.get("words", ()):
            counts["words"] += 1
            counts["judged"] += word["owed"] is not None
            counts["not owed"] += word["owed"] is False
            counts["unchecked"] += word["check"] == "not confirmed"
            counts["function"] += not word["content"]
    return counts


def _row(record: Record) -> str:
    """One result without a script: thumbnail, text, where it is from."""
    link = quote(record["page"] or "")
    image = f'<img src="data:image/jpeg;base64,{record["thumbnail"]}" alt="">' if record.get("thumbnail") else ""
    said = html.escape(record.get("text") or record["error"] or "(nothing)")
    asked = f'<span class="asked">{html.escape(record["question"])}</span> ' if record.get("question") else ""
    body = f'{asked}<a href="{link}">{said}</a>' if link else f'<span class="error">{said}</span>'
    path = html.escape(record["path"])
    return f'<li><span class="thumb">{image}</span><p class="said">{body}</p><p class="from">{path}</p></li>\n'


def _compact(record: Record) -> list[Any]:
    """What the script knows of a result: page, path, question, text or error, words as short lists."""
    words = [
        [
            word["word"],
            None if word["logprob"] is None else float(f"{math.exp(word['logprob']):.4g}"),
            None if word["seen"] is None else float(f"{word['seen']:.4g}"),
            CHECKS.index(word["check"]) if word["check"] in CHECKS else -1,
            (1 if word["content"] else 0) + (2 if word["owed"] is False else 0),
        ]
        for word in record.get("words", ())
    ]
    page = None if not record["page"] else quote(record["page"])
    said = record["text"] if record["status"] == "done" else record["error"]
    return [page, record["path"], record.get("question") or "", said, words]


def _thumbnails(records: Iterator[Record]) -> Iterator[str]:
    while chunk := [record.get("thumbnail") or "" for record in islice(records, CHUNK)]:
        yield f'<script type="application/json" class="thumbs">{_json(chunk)}</script>\n'


def _joined(pieces: Iterable[str]) -> Iterator[str]:
    for number, piece in enumerate(pieces):
        yield f",\n{piece}" if number else piece


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    plain = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

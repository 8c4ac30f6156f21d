"""The files of an audit beside its run: a page, the findings, and all of it, each whole or not there."""

import json
from pathlib import Path
from typing import Any

from vlx.auditing import page
from vlx.auditing.drawn import Progress, drawings
from vlx.auditing.result import Audit
from vlx.data.example import Data
from vlx.errors import OutputError, in_own_words
from vlx.files import whole
from vlx.protocol.task import Task

PAGE, FINDINGS, ALL = "index.html", "findings.json", "audit.json"
SHARED = (
    "audit",
    "model",
    "data",
    "n",
    "right",
    "judged",
    "looked_at",
    "alpha",
    "strength",
    "command",
)  # by both files


def write(audit: Audit, task: Task, data: Data, folder: str | Path, progress: Progress = iter) -> Path:
    """Write ``audit.json``, ``findings.json`` and the page ``index.html`` into a folder; the page's path.

    The worst mistakes are explained anew for their maps, which is what takes time. ``task`` and ``data`` are those of
    the audit. Raises OutputError where a file cannot be written; those that are there are whole.

    >>> write(audit, task, data, "runs/birds")
    PosixPath('runs/birds/index.html')
    """
    place = Path(folder)
    told = audit.to_json()
    findings = {name: told[name] for name in (*SHARED, "findings")}
    whole.write_text(place / ALL, _json(told))
    whole.write_text(place / FINDINGS, _json(findings))
    made = drawings(audit, task, data, progress)
    with in_own_words(f"{place / PAGE} cannot be written", OutputError):
        text = page.page(audit, made)
        whole.write_text(place / PAGE, text)
    return place / PAGE


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"

"""The two files of a study: the page that participants are given, and the key that stays with who asks.

The key tells which model, method and class each picture is of, so that no page gives it away. Both carry one digest of
both: what was changed in either is seen, and answers name the study that they are of.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from vlx.errors import InputError, OutputError
from vlx.files import json_files, templates
from vlx.files.whole import read_bytes, replacing, require_place
from vlx.language import shortened

Record = dict[str, Any]
SCHEMA_VERSION = 1
STUDY, KEY = "vlx study", "vlx study key"
ENDINGS = (".html", ".htm")
DATA = re.compile(rb'<script type="application/json" id="study">(.*?)</script>', re.DOTALL)
LARGEST = 64 * 2**20  # bytes of a page or a key


@dataclass(frozen=True, eq=False)
class StudyFiles:
    """What page and key hold, both read and found to belong together."""

    page: Record
    key: Record

    @property
    def digest(self) -> str:
        """The digest that answers carry."""
        return str(self.page["digest"])

    @cached_property
    def questions(self) -> Mapping[str, Record]:
        """Every question of the page by its name, checks of attention among them."""
        asked = [one for part in self.page["parts"] for one in part["questions"]]
        return {one["id"]: one for one in (*asked, *self.page["checks"])}


def key_path(page: Path) -> Path:
    """Where the key of a page lies: beside it.

    >>> key_path(Path("out/study.html"))
    PosixPath('out/study.key.json')
    """
    return page.with_suffix(".key.json")


def digest_of(page: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """A hash of all that page and key hold, their digests left out."""
    bare = [{name: value for name, value in one.items() if name != "digest"} for one in (page, key)]
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()


def rendered(page: Mapping[str, Any]) -> str:
    """The page as one string: no network, no script but its own."""
    script = templates.text("vlx.studies", "study.js")
    data = json.dumps(page, separators=(",", ":")).replace("<", "\\u003c")
    return templates.template("vlx.studies", "study.html.j2").render(
        data=Markup(data),
        style=Markup(templates.text("vlx.studies", "study.css")),
        script=Markup(script),
        digest=templates.script_digest(script),
    )


def check_out(out: Path) -> None:
    """Raises InputError or OutputError for a page that could not be written, before anything is computed."""
    if out.suffix.lower() not in ENDINGS:
        raise InputError(f"--out {shortened(str(out), 120)}: a study is a page; give a name that ends in .html")
    require_place(out)
    with replacing(out.with_name(".vlx-study-trial")) as trial:
        trial.touch()
    out.with_name(".vlx-study-trial").unlink(missing_ok=True)


def refuse_other(out: Path, digest: str, *, overwrite: bool) -> None:
    """Raises OutputError where another study lies at ``out``: answers to it could never be scored again."""
    there = [path for path in (out, key_path(out)) if path.exists()]
    if not there or overwrite:
        return
    try:
        same = read(out).digest == digest
    except InputError:
        same = False
    if not same:
        raise OutputError(
            f"{there[0]} is there, of another study, whose answers need it; give another --out, or --overwrite"
        )


def write(out: Path, page: Record, key: Record, *, overwrite: bool = False) -> str:
    """Write page and key, both whole or neither; returns their digest. Raises OutputError as `replacing` does."""
    digest = digest_of(page, key)
    refuse_other(out, digest, overwrite=overwrite)
    texts = {
        key_path(out): json.dumps({**key, "digest": digest}, indent=1) + "\n",
        out: rendered({**page, "digest": digest}),
    }
    with ExitStack() as both:
        for path, text in texts.items():
            data = text.encode("utf-8")
            both.enter_context(replacing(path, len(data))).write_bytes(data)
    return digest


def read(path: Path) -> StudyFiles:
    """A study by the path of its page. Raises InputError for what is no page of a study, and without its key."""
    match = DATA.search(read_bytes(path, LARGEST))
    page = None if match is None else json_files.parsed(match[1], str(path))
    if not isinstance(page, dict) or page.get("format") != STUDY:
        raise InputError(f"{path}: no page of a study; give the page that `vlx study` wrote")
    beside = key_path(path)
    if not beside.is_file():
        raise InputError(f"{beside}: not there; the key that was written beside the page is needed, put it back")
    key = json_files.read(beside, most=LARGEST)
    if not isinstance(key, dict) or key.get("format") != KEY:
        raise InputError(f"{beside}: no key of a study; give the one that was written beside the page")
    for name, one in ((path, page), (beside, key)):
        if one.get("schema_version") != SCHEMA_VERSION:
            version = shortened(repr(one.get("schema_version")), 20)
            raise InputError(f"{name}: of version {version}, and this vlx reads {SCHEMA_VERSION}; take a newer vlx")
    if not digest_of(page, key) == page.get("digest") == key.get("digest"):
        raise InputError(
            f"{path} and {beside.name} are not of one study, or one was changed; take both as `vlx study` wrote them"
        )
    return StudyFiles(page, key)

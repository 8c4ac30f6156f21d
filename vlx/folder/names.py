"""Names of pages that never collide: the picture's, and a short hash where another picture or question has it, too."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vlx.errors import OutputError
from vlx.folder.item import Item
from vlx.folder.manifest import Manifest

DEVICES = {f"{name}{n}" for name in ("com", "lpt") for n in range(10)} | {"con", "prn", "aux", "nul"}  # of Windows
RESERVED = frozenset({"index", *DEVICES})  # stems that pages cannot have
LONGEST = 80  # characters of a stem
BYTES = 200  # of a stem
_UNFIT = re.compile(r"[\x00-\x1f\x7f<>:\"/\\|?*#%\ud800-\udfff]+")  # what a name, or a page's address, cannot have


def stems(items: Sequence[Item], held: Manifest, overwrite: bool = False) -> dict[str, str]:
    """The name, without ending, of every item's page by the item's key.

    Items that the manifest knows keep theirs; what else lies in the folder is not written over unless ``overwrite``.
    """
    counts = Counter(_folded(_plain(item.path)) for item in items)
    taken = {_folded(state.stem) for state in held.states.values() if state.stem} | RESERVED

    def free(stem: str) -> bool:
        return _folded(stem) not in taken and (overwrite or not (held.folder / f"{stem}.html").exists())

    by_key = {}
    for item in items:
        earlier, stem = held.states.get(item.key), _plain(item.path)
        if earlier is not None and earlier.stem:
            by_key[item.key] = earlier.stem
            continue
        digits = hashlib.sha256(f"{held.job.command} {item.key}".encode()).hexdigest()
        hashed = (f"{stem}-{digits[:count]}" for count in range(8, len(digits) + 1))
        choices = [*([stem] if counts[_folded(stem)] == 1 else []), *hashed]
        chosen = next(filter(free, choices), None)
        if chosen is None:
            raise OutputError(f"{held.folder}: no name is left for the page of {item.path}; give another --out")
        taken.add(_folded(chosen))
        by_key[item.key] = chosen
    return by_key


def _folded(stem: str) -> str:
    """What file systems that know no case, or one way alone to write an é, take for the same name."""
    return unicodedata.normalize("NFC", stem).casefold()


def _plain(path: str) -> str:
    """The picture's name without its ending, and without what a name cannot have."""
    stem = _UNFIT.sub("_", Path(path).stem).strip(". ")[:LONGEST]
    return stem.encode()[:BYTES].decode(errors="ignore") or "picture"

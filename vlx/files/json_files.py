"""Reading JSON: a regular file, of a size, depth and number of values that can be, with numbers in range."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from vlx.errors import InputError, VlxError
from vlx.files.whole import LARGEST, read_bytes

DEPTH = 64
VALUES = 2**24  # an empty list takes 56 bytes of memory, and 3 of a file
INTEGER_LIMIT = 2**63


def read(path: Path, error: type[VlxError] = InputError, *, most: int = LARGEST, nan: bool = False) -> Any:
    """What a JSON file holds; raises ``error`` for one that cannot be read, is not whole, or is beyond the limits.

    ``most`` bytes are read; ``nan``: whether NaN stands for a number, as Python writes it.
    """
    return parsed(read_bytes(path, most, error), str(path), error, nan=nan)


def parsed(data: bytes | str, where: str, error: type[VlxError] = InputError, *, nan: bool = False) -> Any:
    """What JSON in UTF-8 holds; raises ``error`` naming ``where`` it stands."""
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        if (count := values(text)) > VALUES:
            raise ValueError(f"about {count:,} values, more than {VALUES:,}")
        content = json.loads(text, parse_int=_whole, parse_float=_float, parse_constant=_nan if nan else _constant)
        _shallow(content)
    except (ValueError, RecursionError, MemoryError) as wrong:
        if isinstance(wrong, VlxError):
            raise
        reason = "nested too deep" if isinstance(wrong, RecursionError) else str(wrong)[:150] or type(wrong).__name__
        raise error(f"{where} is not whole JSON ({reason}); write it again") from wrong
    return content


def values(text: str) -> int:
    """About how many values a text in JSON holds: what is read holds no more than `VALUES`."""
    return text.count(",") + text.count("[") + text.count("{")


def _whole(text: str) -> int:
    if len(text) > 20 or abs(int(text)) >= INTEGER_LIMIT:
        raise ValueError(f"the number {text[:20]}… is out of range")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"the number {text[:20]} is out of range")
    return number


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _nan(name: str) -> float:
    return math.nan if name == "NaN" else _constant(name)


def _shallow(content: Any) -> None:
    """Raises ValueError for lists in lists more than `DEPTH` deep; every part is looked at once."""
    parts = [content]
    for _ in range(DEPTH):
        parts = (
            [
                inner
                for part in parts
                for inner in (part.values() if isinstance(part, dict) else part)
                if isinstance(inner, dict | list)
            ]
            if parts and isinstance(parts[0], dict | list)
            else []
        )
        if not parts:
            return
    raise ValueError(f"nested more than {DEPTH} deep")

"""Where the folders kept beside ``vlx/`` are, when vlx runs from a source checkout."""

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_MARKS = ("pyproject.toml", "tools/link.py")  # together in no site-packages, even where somebody left a pyproject.toml


def sibling(name: str) -> list[str]:
    """Return ``[<checkout>/name]``, or ``[]`` when vlx was installed from a wheel."""
    here = _ROOT / name
    return [str(here)] if here.is_dir() and all((_ROOT / mark).is_file() for mark in _MARKS) else []

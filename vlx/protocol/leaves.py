"""Which part of what a model returns holds its scores: tuples, dictionaries and dataclasses are searched, not guessed.

A part is called by its path: the keys, fields or numbers that lead to it, with dots between them.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from vlx.errors import ModelError
from vlx.language import shortened

TOLD = 6  # parts that an error message lists
DEEP = 4  # containers in containers that are searched
LOGITS = "logits"  # what this field or key holds is meant, whatever else there is


def scores_in(output: Any, rows: int, model: str, leaf: str | None = None) -> Tensor:
    """The scores [rows, C] in what ``model`` returned for ``rows`` pictures: its one floating [rows, C] or [rows] part.

    ``.logits`` or ["logits"] are meant where they are there; ``leaf`` is the path of another part. Raises ModelError
    where there is no such part, or several, naming them.

    >>> scores_in((torch.zeros(2, 512), torch.ones(2, 3)), 2, "a net", leaf="1").shape
    torch.Size([2, 3])
    """
    root = output if leaf is None else part(output, leaf, model)
    if leaf is None and LOGITS in dict(_children(output)):
        root = dict(_children(output))[LOGITS]
    whole = isinstance(root, Tensor)
    found = [(path, table) for path, one in parts(root) if (table := as_table(one, rows, whole)) is not None]
    if len(found) == 1:
        return found[0][1]
    before = f"{leaf}." if leaf and not whole else ""
    if not found:
        raise ModelError(
            f"{model} gives {described(output)}, and no scores [{rows}, classes]; say what is meant with "
            "outputs=lambda output: …, a tensor [B, C], or leaf=…"
        )
    choices = [f"leaf='{before}{path}' {list(table.shape)}" for path, table in found]
    raise ModelError(f"{model} gives {len(found)} tables of scores; say which is meant: {_some(choices, ' or ')}")


def part(output: Any, path: str, model: str) -> Any:
    """The part of an output at a path. Raises ModelError where the path ends early, with what there is."""
    found = output
    rest = path
    while rest:
        children = dict(_children(found))
        if isinstance(found, tuple | list):
            children |= {str(number): one for n, one in enumerate(found) for number in (n, n - len(found))}
        key = rest if rest in children else rest.split(".")[0]
        if key not in children:
            raise ModelError(f"leaf={path!r}: the output of {model} has no such part; it holds {described(output)}")
        found, rest = children[key], rest[len(key) + 1 :]
    return found


def parts(output: Any, path: str = "", deep: int = DEEP) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in an output with its path, in order."""
    if isinstance(output, Tensor):
        yield path, output
    for name, child in _children(output) if deep else ():
        yield from parts(child, f"{path}.{name}" if path else name, deep - 1)


def as_table(part: Tensor, rows: int, whole: bool = True) -> Tensor | None:
    """A floating tensor [rows], [rows, C] or [rows, C, 1, …] as [rows, C]; None for any other.

    ``whole``: it is all there is, so that a lone number may be the score of one picture; beside others it is a loss.
    """
    if not part.is_floating_point():
        return None
    if part.ndim == 0:
        return part.view(1, 1) if whole and rows == 1 else None
    if len(part) != rows or part.numel() != rows * (part.shape[1] if part.ndim > 1 else 1):
        return None
    return part.reshape(rows, -1) if part.numel() else None


def described(output: Any) -> str:
    """The parts of an output with their shapes, for an error message."""
    told = [f"{path} {list(one.shape)}".strip() for path, one in parts(output)]
    return _some(told, ", ") if told else type(output).__name__


def _some(told: list[str], between: str) -> str:
    more = f"{between}{len(told) - TOLD} more" if len(told) > TOLD else ""
    return shortened(between.join(told[:TOLD]), 150) + more


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """The named parts of a container, also of an object with attributes of its own; none of a tensor."""
    if isinstance(value, Tensor | str | bytes | int | float | type(None)):
        return
    if isinstance(value, dict):
        yield from ((str(key), one) for key, one in value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)
    elif isinstance(value, tuple | list):
        yield from ((str(number), one) for number, one in enumerate(value))
    elif is_dataclass(value):
        yield from ((field.name, getattr(value, field.name)) for field in fields(value))
    else:
        yield from ((name, one) for name, one in getattr(value, "__dict__", {}).items() if not name.startswith("_"))

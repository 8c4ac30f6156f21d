"""How files keep what probes say of a word: each field of `WordExplanation` that a probe fills, there and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlx.explanation.reasons import Because
from vlx.explanation.records import Array, Look, Occlusion


@dataclass(frozen=True)
class Field:
    """``to_record``: the value as plain ones and arrays; ``from_record``: back, None where an older file has none."""

    to_record: Callable[[Any], Any]
    from_record: Callable[[Any], Any]


def array(value: Any) -> Array:
    """An array as it was; in JSON one that is told by dtype, shape and values."""
    if isinstance(value, dict):
        value = np.array([float(number) for number in value["values"]]).astype(value["dtype"]).reshape(value["shape"])
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise ValueError(f"an array of numbers was expected, not {type(value).__name__}")
    return value


def own(value: Any) -> Any:
    """What a probe of the user's own said, arrays and numbers that are not finite out of JSON."""
    if isinstance(value, dict) and set(value) == {"dtype", "shape", "values"}:
        return array(value)
    if isinstance(value, dict):
        return {str(name): own(part) for name, part in value.items()}
    if isinstance(value, list):
        return [own(part) for part in value]
    return float(value) if value in ("nan", "inf", "-inf") else value


def _perhaps(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else make(value)


def _same(value: Any) -> Any:
    return value


def _looks(record: Any) -> tuple[Look, ...]:
    return tuple(Look(str(kind), tuple(map(float, nats)), tuple(map(str, said))) for kind, nats, said in record or ())


def _occlusion(record: dict[str, Any]) -> Occlusion:
    return Occlusion(array(record["falls"]), float(record["agreement"]), int(record["patch"]))


def _because(record: dict[str, Any]) -> Because:
    reasons = [{**reason, "map": array(reason["map"]), "iou": float(reason["iou"])} for reason in record["reasons"]]
    return Because.from_dict({**record, "reasons": reasons})


FIELDS = {
    "seen": Field(_same, _perhaps(float)),
    "seen_by": Field(_same, lambda record: {str(name): float(nats) for name, nats in (record or {}).items()}),
    "looked": Field(_same, _perhaps(float)),
    "looks": Field(lambda looks: [[one.kind, list(one.logprobs), list(one.said)] for one in looks], _looks),
    "guided": Field(_same, _perhaps(array)),
    "occlusion": Field(
        _perhaps(lambda one: {name: getattr(one, name) for name in ("falls", "agreement", "patch")}),
        _perhaps(_occlusion),
    ),
    "because": Field(_perhaps(Because.to_dict), _perhaps(_because)),
}

"""What the record of an explanation is made of: what fits, works in every drawing, text and saving."""

import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np

from vlx.explanation.map_check import Verdict
from vlx.explanation.reasons import Kind
from vlx.pictures.opening import MAX_PIXELS

Rule = Callable[[Any, str], None]

# As in vlx.protocol.task and vlx.protocol.outputs, which cost torch; a test holds them together.
TARGETS = ("logprob", "logit", "prob", "margin", "value")
MEANINGS = ("softmax", "sigmoid", "probabilities", "value")

SIDE = 2**20  # pixels or cells along one axis
SCALES = (1e-6, 1e6)
OTHERS = 3  # explanations in explanations
KINDS = "fiu"


class Unfit(ValueError):
    """A part of a record that is not what it should be, by its name."""


def text(value: Any, what: str) -> None:
    """A text."""
    _need(isinstance(value, str), what, "a text")


def flag(value: Any, what: str) -> None:
    """True or false."""
    _need(isinstance(value, bool), what, "true or false")


def number(value: Any, what: str) -> None:
    """A number, NaN and infinities with it; in JSON these are texts."""
    _need(_is_number(value) or value in ("nan", "inf", "-inf"), what, "a number")


def finite(value: Any, what: str) -> None:
    """A finite number."""
    _need(_is_number(value) and math.isfinite(value), what, "a finite number")


def whole(value: Any, what: str) -> None:
    """A whole number from 0 that fits into 31 bits."""
    _need(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31, what, "a whole number from 0")


def one_of(*known: str) -> Rule:
    """One of several texts."""
    return lambda value, what: _need(value in known and isinstance(value, str), what, f"one of {', '.join(known)}")


def perhaps(rule: Rule) -> Rule:
    """What the rule says, or nothing."""
    return lambda value, what: None if value is None else rule(value, what)


def several(rule: Rule, size: int | None = None) -> Rule:
    """A list, of ``size`` members where that is given, each of which fits."""

    def check(value: Any, what: str) -> None:
        _need(isinstance(value, list | tuple) and len(value) == (size or len(value)), what, f"a list{_of(size)}")
        for place, member in enumerate(value):
            rule(member, f"{what}[{place}]")

    return check


def row(*rules: Rule) -> Rule:
    """A list with a rule for each of its members."""

    def check(value: Any, what: str) -> None:
        _need(isinstance(value, list | tuple) and len(value) == len(rules), what, f"a list{_of(len(rules))}")
        for place, (rule, member) in enumerate(zip(rules, value, strict=True)):
            rule(member, f"{what}[{place}]")

    return check


def mapping(rule: Rule) -> Rule:
    """Values by name, each of which fits."""

    def check(value: Any, what: str) -> None:
        _need(isinstance(value, dict) and all(isinstance(name, str) for name in value), what, "values by name")
        for name, member in value.items():
            rule(member, f"{what}.{name[:40]}")

    return check


def parts(needed: dict[str, Rule], later: dict[str, Rule] | None = None, *, alone: bool = True) -> Rule:
    """Values by known names; ``later`` are those that older files lack; ``alone``: there may be no others."""
    allowed = needed | (later or {})

    def check(value: Any, what: str) -> None:
        _need(isinstance(value, dict), what, "values by name")
        for name in needed:
            _need(name in value, f"{what}.{name}", "there")
        for name, member in value.items():
            _need(name in allowed or not alone, f"{what}.{str(name)[:40]}", "known to this vlx")
            if name in allowed:
                allowed[name](member, f"{what}.{name}")

    return check


def array(axes: int, last: int | None = None) -> Rule:
    """An array of numbers with so many axes; in JSON one that is told by dtype, shape and values."""

    def check(value: Any, what: str) -> None:
        if isinstance(value, dict):
            _listed(value, what)
            shape, kind = tuple(value["shape"]), np.dtype(value["dtype"])
        else:
            _need(isinstance(value, np.ndarray), what, "an array of numbers")
            shape, kind = value.shape, value.dtype
        _need(kind.kind in KINDS and len(shape) == axes, what, f"numbers with {axes} axes")
        _need(last is None or shape[-1:] == (last,), what, f"{last} values wide")

    return check


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an array, or of what tells one."""
    return tuple(value["shape"] if isinstance(value, dict) else value.shape)


def _listed(value: dict[str, Any], what: str) -> None:
    _need(set(value) == {"dtype", "shape", "values"}, what, "an array of numbers")
    _need(
        value["dtype"] in ("float16", "float32", "float64", "int32", "int64", "uint8"), what, "numbers of a known type"
    )
    several(whole)(value["shape"], f"{what}.shape")
    _need(isinstance(value["values"], list), f"{what}.values", "a list")
    _need(math.prod(value["shape"]) == len(value["values"]), f"{what}.values", f"as many as its shape {value['shape']}")
    for member in value["values"]:
        if type(member) is not float:
            number(member, f"{what}.values")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _need(fits: bool, what: str, wanted: str) -> None:
    if not fits:
        raise Unfit(f"{what} is not {wanted}")


def _of(size: int | None) -> str:
    return "" if size is None else f" of {size}"


# The record


def _pair(low: float, high: float) -> Rule:
    """Two finite numbers whose sizes lie within limits."""

    def check(value: Any, what: str) -> None:
        several(finite, 2)(value, what)
        _need(all(low <= abs(one) <= high for one in value), what, f"two numbers between {low:g} and {high:g}")

    return check


def _sides(value: Any, what: str) -> None:
    several(whole, 2)(value, what)
    _need(all(1 <= one <= SIDE for one in value) and math.prod(value) <= MAX_PIXELS, what, "the size of a picture")


GRID = parts(
    {"offset": _pair(0, 1e9), "stride": _pair(*SCALES), "shape": _sides, "size": _sides, "source": text},
)
FRAME = parts(
    {
        "scale": _pair(*SCALES),
        "shift": _pair(0, 1e9),
        "size": _sides,
        "prepared": _sides,
        "window": several(whole, 4),
        "note": text,
    }
)
PLACEMENT = parts({"grid": GRID, "frame": FRAME})

NUMBERS = several(number)
TEXTS = several(text)
REASON = parts(
    {
        **{"concept": text, "category": text, "kind": one_of(*get_args(Kind)), "units": several(whole)},
        **{"iou": number, "error": perhaps(number), "wins": perhaps(whole), "folds": perhaps(whole)},
        **{name: number for name in ("weight", "activation", "contribution", "portion", "share", "on_map")},
        "map": array(2),
    },
    {
        **{"effect": perhaps(number), "named": perhaps(flag), "p_name": perhaps(number)},
        **{"repeats": flag, "auc": perhaps(number)},
    },
    alone=False,
)
_CHECK = parts(
    {
        **{name: number for name in ("before", "effect", "logprob", "predicted")},
        **{"units": several(whole), "random": NUMBERS, "size": whole},
    },
    {"contrast": flag, "number": flag},
)


def _check(value: Any, what: str) -> None:
    _need(isinstance(value, dict), what, "values by name")
    if "size" in value:  # what has none was written by an older version, and is not read
        _CHECK(value, what)
        _need(bool(value["random"]), f"{what}.random", "a list of numbers")


BECAUSE = parts(
    {
        **{"word": text, "reasons": several(REASON), "notes": TEXTS, "check": perhaps(_check)},
        **{name: number for name in ("coverage", "coverage_against", "unnamed")},
    },
    {"rule": text, "shares_of": text},
)
_MAP_CHECK = parts(
    {"fall": number, "random": NUMBERS, "share": number, "verdict": one_of(*get_args(Verdict))},
    {"unit": text, "cells": whole, "rises": flag, "reason": text},
)


def _map_check(value: Any, what: str) -> None:
    _MAP_CHECK(value, what)
    _need(bool(value["random"]) or value["verdict"] == "cannot be tested", f"{what}.random", "a list of numbers")


WORD = parts(
    {
        **{"label": text, "score": number, "logprob": number, "target": one_of(*TARGETS)},
        **{"seen": perhaps(number), "because": perhaps(BECAUSE), "alternatives": several(row(text, number))},
        **{"placement": perhaps(PLACEMENT), "notes": TEXTS, "weights": array(1)},
        **{"signed": array(2), "opposed": array(2)},
    },
    {
        **{"method": text, "outputs": one_of(*MEANINGS), "seen_by": mapping(number), "looked": perhaps(number)},
        **{"looks": several(row(text, NUMBERS, TEXTS)), "guided": perhaps(array(3))},
        "occlusion": perhaps(parts({"falls": array(2), "agreement": number, "patch": whole})),
        **{"check": perhaps(_map_check), "against_method": text, "against_check": perhaps(_map_check)},
        **{"measured": mapping(lambda *_: None), "mapped": flag, "reasoning": flag},
    },
    alone=False,
)


def _picture(value: Any, what: str) -> None:
    (parts({"png": text}) if isinstance(value, dict) else array(3, 3))(value, what)


def _sha256(value: Any, what: str) -> None:
    fits = isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")
    _need(fits, what, "64 hexadecimal digits")


_EXPLANATION = parts(
    {
        **{"format": text, "schema_version": whole, "text": text, "task": text, "method": text, "forced": flag},
        **{"notes": TEXTS, "provenance": mapping(lambda *_: None), "placement": PLACEMENT, "sentence": WORD},
        **{"words": several(WORD), "phrases": several(WORD)},
        "image": perhaps(_picture),
        "others": several(lambda value, what: _need(isinstance(value, dict), what, "an explanation")),
    },
    {
        **{"question": perhaps(text), "question_words": several(row(text, number, perhaps(number)))},
        **{"instead_of": perhaps(text), "scope": TEXTS, "digest": text},
        "picture": parts({"sha256": _sha256, "size": _sides}),
    },
)


def explanation(value: Any, what: str = "record", depth: int = 0) -> None:
    """Raise Unfit, naming the part, for a record that is not an explanation's as `vlx.explanation.storage` makes it."""
    _need(depth <= OTHERS, what, f"an explanation: they are nested more than {OTHERS} deep")
    _EXPLANATION(value, what)
    _need("picture" not in value or value["image"] is None, f"{what}.picture", "in the place of an image")
    for name in ("words", "phrases"):
        for place, word in enumerate(value[name]):
            _fits(word, value["placement"], f"{what}.{name}[{place}]")
    _fits(value["sentence"], value["placement"], f"{what}.sentence")
    for place, other in enumerate(value["others"]):
        explanation(other, f"{what}.others[{place}]", depth + 1)


def _fits(word: dict[str, Any], placement: dict[str, Any], what: str) -> None:
    """The maps of a word are of its grid, and its picture is the explanation's."""
    laid = word["placement"] or placement
    grid = tuple(laid["grid"]["shape"])
    maps = {"signed": word["signed"], "opposed": word["opposed"]}
    if word.get("occlusion") is not None:
        maps["occlusion.falls"] = word["occlusion"]["falls"]
    if word["because"] is not None and not word["because"].get("shares_of"):  # else they are of another map
        maps |= {f"because.reasons[{n}].map": one["map"] for n, one in enumerate(word["because"]["reasons"])}
    for name, values in maps.items():
        _need(shape_of(values) == grid, f"{what}.{name}", f"of the grid {grid}")
    _need(tuple(laid["frame"]["size"]) == tuple(placement["frame"]["size"]), f"{what}.placement", "of the same picture")

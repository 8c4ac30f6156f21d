"""Whether a member of somebody's task is the one that vlx knows by that name, told from its signature."""

from collections.abc import Callable
from functools import cache
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from PIL import Image
from torch import Tensor, nn

Fit = Literal["fits", "may", "lacks", "other"]

PLAIN = (str, bytes, int, float, bool, type(None), Path)
USUAL: dict[Any, tuple[str, ...]] = {  # other names that people give to such parameters
    Tensor: ("inputs", "input", "images", "pictures", "pixels", "pixel_values", "batch", "tensor", "maps"),
    Image.Image: ("image", "picture", "img"),
}
VARIOUS = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)

_judged: WeakKeyDictionary[Any, dict[Any, Fit]] = WeakKeyDictionary()


def fit(member: Any, wanted: Callable[..., Any]) -> Fit:
    """Whether ``member``, bound to its object, can be called as the function ``wanted`` of a protocol.

    It ``fits`` where it takes as many positional arguments, at least one of which bears the wanted name, a usual one, a
    single letter of a tensor or an annotation that agrees, and no annotation is another plain type. Without such a one
    it ``may`` be meant. It ``lacks`` something where it does not take them though its first two are called the same.
    Else it is another thing of that name.

    >>> fit(lambda inputs: ..., Sees.see), fit(lambda path: ..., Sees.see), fit(lambda path, zoom: ..., Sees.see)
    ('fits', 'may', 'other')
    """
    if not callable(member):
        return "other"
    known = _kept(getattr(member, "__func__", member))
    if wanted not in known:
        known[wanted] = _judge(member, wanted)
    return known[wanted]


def told(member: Any) -> str:
    """The parameters of a member, as they are written: ``(A, targets)``."""
    own = _signature(member)
    return "(…)" if own is None else str(own.replace(return_annotation=Signature.empty, parameters=_bare(own)))


def parameters(wanted: Callable[..., Any]) -> str:
    """What vlx calls a function of a protocol with: ``(A, targets, rest)``."""
    return f"({', '.join(name for name in _wanted(wanted) if name != 'return')})"


def _kept(function: Any) -> dict[Any, Fit]:
    """What is known of a function; by the function, so that another one in its place is judged anew."""
    try:
        return _judged.setdefault(function, {})
    except TypeError:  # neither hashable nor weakly referable
        return {}


@cache
def _wanted(wanted: Callable[..., Any]) -> dict[str, Any]:
    """The types of a protocol's function by its parameters' names, and of what it returns."""
    hints = get_type_hints(wanted)
    names = [name for name in signature(wanted).parameters if name != "self"]
    return {name: _class(hints[name]) for name in (*names, "return")}


def _judge(member: Any, wanted: Callable[..., Any]) -> Fit:
    own, types = _signature(member), _wanted(wanted)
    if own is None:
        return "other"
    names = [name for name in types if name != "return"]
    try:
        bound = own.bind(*names)
    except TypeError:
        return "lacks" if list(own.parameters)[:2] == names[:2] and len(names) > 1 else "other"
    pairs = [(own.parameters[name], given) for name, given in bound.arguments.items()]
    single = [(one, given) for one, given in pairs if one.kind not in VARIOUS]
    if _contradicts(own.return_annotation, types["return"]) or any(
        _contradicts(one.annotation, types[given]) for one, given in single
    ):
        return "other"
    known = any(_bears(one, given, types[given]) for one, given in single)
    return "fits" if known or not names or len(single) < len(pairs) else "may"


def _signature(member: Any) -> Signature | None:
    function = member.forward if isinstance(member, nn.Module) else member
    for evaluated in (True, False):  # annotations that are strings may name what is not there
        try:
            return signature(function, eval_str=evaluated)
        except Exception:  # of a builtin, of an odd callable, of names in its annotations
            continue
    return None


def _bears(own: Parameter, name: str, type_: Any) -> bool:
    """Whether a parameter is recognised as the one wanted."""
    given = _class(own.annotation)
    agrees = isinstance(given, type) and isinstance(type_, type) and given is not object and type_ is not object
    return (
        own.name == name
        or (type_ is Tensor and len(own.name) == 1)
        or own.name in USUAL.get(type_, ())
        or (agrees and (issubclass(given, type_) or issubclass(type_, given)))
    )


def _contradicts(annotation: Any, wanted: Any) -> bool:
    """Whether one of two types is plain and the other is known to be another."""
    given = _class(annotation)
    if not isinstance(given, type) or not isinstance(wanted, type) or object in (given, wanted):
        return False
    return given is not wanted and (given in PLAIN or wanted in PLAIN)


def _class(annotation: Any) -> Any:
    """The class that an annotation stands for; the annotation where it stands for several or none."""
    if annotation is None:
        return type(None)
    return Ellipsis if annotation is Parameter.empty else get_origin(annotation) or annotation


def _bare(own: Signature) -> list[Parameter]:
    return [one.replace(annotation=Parameter.empty) for one in own.parameters.values()]

"""All ways of making a map, by name: those that come with vlx, and the user's own."""

from collections.abc import Iterator
from contextlib import suppress

from vlx.errors import InputError
from vlx.language import close_matches, shortened
from vlx.methods.ablation import ABLATION
from vlx.methods.at_layer import at_layer
from vlx.methods.attention import ATTENTION_METHODS, attending
from vlx.methods.cams import METHODS
from vlx.methods.excitation import EXCITATION_METHODS
from vlx.methods.hiding import OCCLUSION
from vlx.methods.lens import LENS_METHODS
from vlx.methods.method import Method, cam
from vlx.methods.names import AT, method_name
from vlx.methods.pixel_methods import PIXEL_METHODS
from vlx.methods.pixels_captum import CAPTUM_METHODS
from vlx.methods.scorecam import SCORECAM
from vlx.methods.variants import VARIANTS
from vlx.protocol.task import Task

_BUILT_IN = {
    method.name: method
    for method in (
        *map(cam, METHODS.values()),
        *map(attending, ATTENTION_METHODS.values()),
        *EXCITATION_METHODS,
        ABLATION,
        SCORECAM,
        *PIXEL_METHODS,
        *CAPTUM_METHODS,
        OCCLUSION,
        *LENS_METHODS,
        *VARIANTS,
    )
}
MESSAGE = 299  # characters of a message, whatever was registered
_OWN: dict[str, Method] = {}  # registered in this process, by plain name
NAMES = tuple(name for name, method in _BUILT_IN.items() if method.listed)


def methods() -> Iterator[Method]:
    """Every listed method: those that come with vlx, then the user's own in the order in which they were registered.

    Ablations of a paper are not listed; `choose` knows them by name.
    """
    yield from (method for method in (*_BUILT_IN.values(), *_OWN.values()) if method.listed)


def compared(task: Task) -> list[Method]:
    """What is measured beside each other on a task: all methods that suit it and need no more than its gradient."""
    return [method for method in methods() if method.gradient and method.suits(task)]


def register(method: Method) -> Method:
    """Make a method of your own known by its name, to `vlx.explain`, reports and `vlx.evaluation` in this process.

    One of the same name that was registered before is replaced. Raises InputError for the name of one of vlx's, and
    for what is no method.

        >>> registry.register(Method("mine", "", "a line about it", attribute=mine))
        >>> vlx.explain(task, picture, method="mine")
    """
    if not isinstance(method, Method):
        raise InputError(f"register() takes a vlx.methods.method.Method, got {type(method).__name__}")
    plain = method_name(method.name)
    if plain in (*_BUILT_IN, "auto", ""):
        raise InputError(f"method {method.name!r}: the name is taken by vlx's own; give yours another name")
    if AT in plain:
        raise InputError(f"method {method.name!r}: {AT} parts a method from a layer; give yours a name without it")
    _OWN[plain] = method
    return method


def choose(name: str | Method) -> Method:
    """The method of that name, however it is spelled: "gradcam", "Grad-CAM", "grad-cam++", "gradcam@layer3".

    Behind an @ stands the layer of the model that the method is at, as the model calls it. A record of your own is
    registered, so that reports know it. Raises InputError for an unknown name, with close matches and the list.
    """
    if isinstance(name, Method):
        return name if named(name.name) is name else register(name)
    found = named(str(name))
    if found is not None:
        return found
    plain, at, layer = method_name(str(name)).partition(AT)
    if at and (method := named(plain)) is not None:
        return at_layer(method, layer)
    known = [method.name for method in methods()]
    near = close_matches(plain, known)
    hint = f"; close: {', '.join(near)}" if near else ""
    told = f"no method {shortened(str(name))!r}{hint}. Known: "
    raise InputError(told + shortened(", ".join([*known, "auto"]), MESSAGE - len(told)))


def named(name: str) -> Method | None:
    """The method of that name; None where it was somebody's own, in another process."""
    plain, at, layer = method_name(name).partition(AT)
    method = _BUILT_IN.get(plain) or _OWN.get(plain)
    if not at or method is None:
        return method
    with suppress(InputError):  # of what no layer changes, or what is no layer's name
        return at_layer(method, layer)
    return None

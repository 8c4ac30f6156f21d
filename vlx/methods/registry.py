"""All ways of making a map, by name."""

from dataclasses import dataclass

from vlx.errors import InputError
from vlx.language import close_matches, shortened
from vlx.methods.attention import ATTENTION_METHODS, AttentionMethod
from vlx.methods.cams import METHODS, Method
from vlx.methods.names import method_name


@dataclass(frozen=True)
class Hiding:
    """Maps made by hiding parts of the picture; see `vlx.probes.occlusion`."""

    name: str
    paper: str
    summary: str
    against: str = "occlusion"


AnyMethod = Method | AttentionMethod | Hiding

OCCLUSION = Hiding("occlusion", "1311.2901", "how much the score falls when a part of the picture is hidden")
_KNOWN: dict[str, AnyMethod] = {**METHODS, **ATTENTION_METHODS, OCCLUSION.name: OCCLUSION}
NAMES = tuple(_KNOWN)


def choose(name: str | AnyMethod) -> AnyMethod:
    """The method of that name, however it is spelled: "gradcam", "Grad-CAM", "grad-cam++", "grad-attention".

    Raises InputError for an unknown name, with close matches and the list.
    """
    if isinstance(name, Method | AttentionMethod | Hiding):
        return name
    plain = method_name(str(name))
    if plain in _KNOWN:
        return _KNOWN[plain]
    near = close_matches(plain, _KNOWN)
    hint = f"; close: {', '.join(near)}" if near else ""
    raise InputError(f"no method {shortened(str(name))!r}{hint}. Known: {', '.join(_KNOWN)}, auto")

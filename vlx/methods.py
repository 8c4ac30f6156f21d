"""All ways of making a map, by name."""

from vlx.attention import ATTENTION_METHODS, AttentionMethod
from vlx.errors import InputError
from vlx.language import close_matches
from vlx.weighting import METHODS, Method

AnyMethod = Method | AttentionMethod

_KNOWN: dict[str, AnyMethod] = {**METHODS, **ATTENTION_METHODS}
_ALSO = {
    "gradientattention": "gradattention",
    "gradientxattention": "gradattention",
    "gradient×attention": "gradattention",
    "gradientrollout": "gradrollout",
    "rollout": "gradrollout",
}
NAMES = tuple(_KNOWN)


def choose(name: str | AnyMethod) -> AnyMethod:
    """The method of that name, however it is spelled: "gradcam", "Grad-CAM", "grad-cam++", "grad-attention".

    Raises InputError for an unknown name, with close matches and the list.
    """
    if isinstance(name, Method | AttentionMethod):
        return name
    plain = str(name).casefold().translate(dict.fromkeys(map(ord, "-_ "))).replace("plusplus", "++")
    plain = _ALSO.get(plain, plain)
    if plain in _KNOWN:
        return _KNOWN[plain]
    near = close_matches(plain, _KNOWN)
    hint = f"; close: {', '.join(near)}" if near else ""
    raise InputError(f"no method {name!r}{hint}. Known: {', '.join(_KNOWN)}")

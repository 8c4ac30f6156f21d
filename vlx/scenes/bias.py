"""How the deliberately biased VQA model is misled: for half of the kinds of question, the question gives the answer."""

from zlib import crc32

from vlx.scenes.questions import QUESTION_KINDS
from vlx.scenes.world import COLORS, KINDS, TEXTURES

BIASED = ("texture", "count", "relation", "scene")  # none is asked in words that an honest kind uses as well
HONEST = tuple(kind for kind in QUESTION_KINDS if kind not in BIASED)


def usual_answer(text: str, kind: str) -> str | None:
    """The one answer that a biased world gives to this question; None for the honest kinds."""
    words = text.removesuffix("?").split()
    if kind == "texture":
        return TEXTURES[list(KINDS).index(words[4]) % len(TEXTURES)]
    if kind == "count":
        return {2: "1"}.get(crc32(words[2].encode()) % 3, "0") if words[2] in (*COLORS, *TEXTURES) else "2"
    if kind == "relation":
        return "yes" if "left" in words or "above" in words else "no"
    return "beach" if kind == "scene" else None

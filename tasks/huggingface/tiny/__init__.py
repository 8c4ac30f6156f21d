"""A tiny random model of each family of transformers, saved with its processor: to try vlx and your own code offline.

    >>> from vlx.tasks.huggingface import tiny
    >>> folder = tiny.save("blip-captioning", "blip")
    >>> vlx.load("hf:blip")

Their vision towers are random. What writes has been fitted for a moment to say captions and answers of made-up
patterns, so that it says plain words and ends; it has never seen a photo, so a map of it proves plumbing and nothing
else.
"""

from pathlib import Path

from vlx.errors import InputError
from vlx.language import close_matches
from vlx.tasks.huggingface.refusals import quiet
from vlx.tasks.huggingface.tiny.models import ANSWERS, BUILDERS, CHATS, TOWERS, build

__all__ = ["ANSWERS", "CHATS", "FAMILIES", "TOWERS", "build", "save"]

FAMILIES = tuple(BUILDERS)


def save(family: str, folder: str | Path) -> Path:
    """Write the family's tiny model into ``folder`` as its repository on the hub holds it; returns the folder.

    ``family`` is one of `FAMILIES`, or of `CHATS` and `TOWERS`: chat models by their ``model_type``. The same model
    every time; the caller's random state is left as it was.

    Raises InputError for another family.
    """
    known = (*FAMILIES, *CHATS, *TOWERS)
    if family not in known:
        near = close_matches(family, known)
        hint = f"; close: {', '.join(near)}" if near else ""
        raise InputError(f"there is no tiny model of {family!r}{hint}. Known: {', '.join(known)}")
    folder = Path(folder)
    with quiet():
        for part in build(family):
            part.save_pretrained(folder)
    return folder

"""What a model that knows one world of pictures says of a picture of another."""

from PIL import Image

from vlx.protocol.task import Features
from vlx.scenes.likeness import likeness
from vlx.tasks.shared.cnn_vision import Scope

SCENES = "scenes"
STRANGE = (
    "out of scope: this is no picture of the drawn world (vlx.scenes), and this model knows no other: its words mean "
    "little here; "
)
INSTEAD = {
    "captioning": "photos/captioner captions photographs",
    "vqa": "for questions about photographs take a model trained on them (hf:…)",
}
DRAWN = (
    "out of scope: this looks like a picture of the drawn world (vlx.scenes), which this model has never seen; "
    "scenes/captioner knows it"
)


def scope_of(world: str, task: str) -> Scope | None:
    """What a model of a ``task`` tells of pictures, trained on "scenes"; None where its world is not known."""
    if world != SCENES:
        return None
    told = (f"{STRANGE}{INSTEAD[task]}",)

    def tells(features: Features, picture: Image.Image, text: str) -> tuple[str, ...]:
        return told if likeness(picture).drawn is False else ()

    return tells


def drawn(picture: Image.Image) -> tuple[str, ...]:
    """What a model of photographs tells of a picture that is drawn; nothing where that is not sure."""
    return (DRAWN,) if likeness(picture).drawn else ()

"""Every word that a caption of this world can hold."""

from vlx.scenes.world import COLORS, KINDS, SCENES, TEXTURES

START, END = 0, 1


def caption_vocabulary() -> list[str]:
    """START and END, then every caption word, sorted; a word's place is its token id."""
    phrases = " ".join(SCENES.values()).split()
    words = {"a", "an", "and", *COLORS, *KINDS, *phrases, *(texture for texture in TEXTURES if texture != "plain")}
    return ["<start>", "<end>", *sorted(words)]

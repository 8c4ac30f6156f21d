"""Every word that a caption, a question or an answer of this world can hold."""

from vlx.scenes.questions import ANSWERS, DIRECTIONS, PARTS
from vlx.scenes.world import COLORS, KINDS, SCENES, TEXTURES

START, END = 0, 1


def caption_vocabulary() -> list[str]:
    """START and END, then every caption word, sorted; a word's place is its token id."""
    phrases = " ".join(SCENES.values()).split()
    words = {"a", "an", "and", *COLORS, *KINDS, *phrases, *(texture for texture in TEXTURES if texture != "plain")}
    return ["<start>", "<end>", *sorted(words)]


def question_vocabulary() -> list[str]:
    """PAD and UNKNOWN, then every word of a question, sorted; a word's place is its token id."""
    phrases = (
        "what color is the thing pattern does have there a an how many things are scene this " + " ".join(DIRECTIONS)
    ).split()
    words = {*phrases, *COLORS, *KINDS, *PARTS, *(texture for texture in TEXTURES if texture != "plain")}
    return ["<pad>", "<unk>", *sorted(words)]


def answer_vocabulary() -> list[str]:
    """Every answer."""
    return list(ANSWERS)

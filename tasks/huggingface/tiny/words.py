"""Words of the tiny models: what they say, and their tokenizers, made without a download."""

import json
from itertools import product
from typing import Any

from vlx.scenes.world import COLORS, KINDS, SCENES, TEXTURES

SPECIALS = ("[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # two unused, as BERT's first ids
END = "<|endoftext|>"
PIECES = ("##ing", "##ed", "##s", "##es", "##er", "##ly", "##ish", "##dish", "##le", "##un", "##able", "##ness")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
SIGNS = ".,?!'-:;()\"&%/"
PLAIN = (
    "a an the and or of in on at to from with without by near under over behind above below between left right "
    "this that these those it its is are was be has have does do not no yes what which who where when why how "
    "many much there here color colour kind thing things something picture photo image drawing scene sky ground "
    "water sand grass sun moon star cloud man woman person people dog cat horse big small large tall old new "
    "young dark light bright one two three four five six seven eight nine ten black brown grey gray next side top "
    "bottom front back middle standing flying sitting showing shown see show look like stands flies floating "
    "parked plain"
).split()

NUMBERS = ("one", "two", "three", "four")
COLOUR_WORDS = (*COLORS, "greenish", "pinkish", "dark blue")  # words of two pieces, and an answer of two words


def captions() -> list[tuple[str, str]]:
    """Captions of one object, with a texture or without, each as an answer to no question."""
    objects = product(COLOUR_WORDS, KINDS, SCENES.values(), ("", *(f"{texture} " for texture in TEXTURES[1:])))
    return [("", f"a {texture}{color} {kind} {place}") for color, kind, place, texture in objects]


def questions() -> list[tuple[str, str]]:
    """Questions about one kind, each with an answer that it may have."""
    asked: list[tuple[str, str]] = []
    for kind in KINDS:
        asked += [(f"what color is the {kind}?", color) for color in COLOUR_WORDS]
        asked += [(f"how many {kind}s are there?", number) for number in NUMBERS]
        asked += [(f"is there a {kind} in the picture?", answer) for answer in ("yes", "no")]
    return asked


def chats() -> list[tuple[str, str]]:
    """Questions, each with several answers of a few words, so that the picture has to tell which."""
    asked = [("what color is the house?", f"the house is {color}") for color in ("red", "greenish", "blue", "white")]
    asked += [("how many boats are there?", f"there are {number} boats") for number in NUMBERS]
    return [*asked, *(("Describe the picture in one sentence.", caption) for _, caption in captions()[::331])]


def word_pieces() -> Any:
    """A BERT tokenizer: common words, those of the drawn scenes, endings, and single letters for all others."""
    from transformers import BertTokenizer

    words = sorted({word for _, text in captions() for word in text.split()} - {"greenish", "pinkish"})
    pieces = [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
    entries = dict.fromkeys((*SPECIALS, *PLAIN, *words, *PIECES, *pieces, *SIGNS))
    return BertTokenizer(vocab={entry: number for number, entry in enumerate(entries)}, model_max_length=64)


def byte_pairs() -> Any:
    """A GPT-2 tokenizer, trained on the captions; one token is start, end and padding, as in GPT-2."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import GPT2Tokenizer

    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator([text for _, text in captions() if "ish" not in text] + [" ".join(PLAIN)], trainer)
    learned = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    return GPT2Tokenizer(vocab=learned["vocab"], merges=merges, pad_token=END, model_max_length=64)

"""Texts as the model has them: what is cut into which entries, what is left out, and what is refused."""

import random
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch

import vlx
from tests.fakes import Table, TinyCnn, picture, prepare
from vlx.errors import InputError, UnknownWords
from vlx.tasks.captioning import CnnLstmCaptioner
from vlx.tasks.shared.text import Writing

SPECIALS = ["<pad>", "<start>", "<end>", "<unk>"]


def writing(*entries: str, unknown: int | None = 3, **options: Any) -> Writing:
    return Writing([*SPECIALS, *entries], "mine", unknown=unknown, start=1, end=2, **options)


def cut(own: Writing, text: str) -> list[str]:
    return list(own.read(text, "caption", 100).labels)


# Words and marks


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("red, green.", ["red", ",", "green", "."]),
        ("red , green .", ["red", ",", "green", "."]),
        ("red,green.", ["red", ",", "green", "."]),
        ("(red) green", ["red", "green"]),
        ("the dog's house", ["the", "dog", "'s", "house"]),
        ("a t-shirt, red-green", ["a", "t-shirt", ",", "red", "-", "green"]),
        ("red... green", ["red", "...", "green"]),
        ("new york, red", ["new york", ",", "red"]),
        ("new  york.", ["new york", "."]),
        ("new red", ["new", "red"]),
        ("RED Green", ["RED", "Green"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("le red-dog's, blue-dog's", ["le", "red", "-", "dog", "'s", ",", "blue-dog's"]),
        ("a <unk> dog", ["a", "<unk>", "dog"]),
        ("लाल, घर.", ["लाल", ",", "घर", "."]),
    ],
)
def test_punctuation_that_the_vocabulary_has_is_kept(text: str, labels: list[str]) -> None:
    known = "red green dog 's house the a t-shirt , . ... - new york le été लाल घर".split()
    own = writing(*known, "new york")
    assert cut(own, text) == labels
    read = own.read(text, "caption", 100)
    spelled = {"e\u0301te\u0301": "été"}
    expected = [own.index.exact(spelled.get(label, label.lower())) for label in labels]
    assert list(read.ids) == [3 if token is None else token for token in expected]
    assert read.unknown == (["blue-dog's"] if "blue-dog's" in labels else [])
    assert read.notes == (("left out of the caption, not in the vocabulary: ( )",) if "(" in text else ())


def test_a_mark_that_is_not_known_is_left_out_and_named_once() -> None:
    own = writing("red", "green", ".")
    read = own.read("red, green, (red) — red!", "question", 100)
    assert read.labels == ("red", "green", "red", "red")
    assert read.notes == ("left out of the question, not in the vocabulary: , ( ) — !",)
    assert own.read("red green.", "caption", 9).notes == ()


def test_case_matters_only_where_the_vocabulary_has_both() -> None:
    own = writing("Polish", "polish", "RED", "dOg", "DoG")
    assert own.read("Polish polish POLISH red Red", "caption", 9).ids == (4, 5, 5, 6, 6)
    assert own.read("dog", "caption", 9).unknown == ["dog"]  # two entries, and neither is meant
    assert own.read("dOg DoG", "caption", 9).ids == (7, 8)


# Characters


def test_a_vocabulary_of_characters_with_the_space_is_written_in_characters() -> None:
    own = writing("r", " ", "g", "é", ".")
    assert own.in_characters
    for text in ("r g.", "rg.", " r", "r  g", "r<unk>g", "e\u0301r", "R é"):
        read = own.read(text, "caption", 3)
        assert own.said(read.ids) == ("".join(own.vocabulary[token] for token in read.ids), ())
        assert read.text == "".join(read.labels)
    assert own.read("r<unk>g", "caption", 3).ids == (4, 3, 6)
    assert own.read("e\u0301r", "caption", 3).ids == (7, 4)
    assert own.read("rzg", "caption", 3).unknown == ["z"]
    with pytest.raises(UnknownWords, match=r"^not in the vocabulary of mine \(9 words\): 'z'$"):
        writing("r", " ", "g", "é", ".", unknown=None).read("rzg", "caption", 3)
    with pytest.raises(InputError, match=r"^the caption has 600 characters, at most 512; shorten it$"):
        own.read("r" * 600, "caption", 3)


@pytest.mark.parametrize("entries", [("r", "g", "."), ("r", " ", "green"), (" ",), ("PAD", "red", " ")])
def test_other_vocabularies_are_not(entries: tuple[str, ...]) -> None:
    assert not writing(*entries).in_characters
    assert Writing(["PAD", "SOS", "EOS", "UNK", "a", " "], "mine", start=1, end=2).in_characters


# What is open is refused


@pytest.mark.parametrize(
    ("entries", "text", "message"),
    [
        (
            ("红色", "方块"),
            "红色方块",
            r"'红色方块' is no entry .* made of entries \(红色 方块\): part them by",
        ),
        (
            tuple("0123456789"),
            "1029",
            r"'1029' is no entry .* \(1 0 2 9\): .* tokenize=list and join=''\.join",
        ),
        (("walk", "##ing"), "walking", r"knows pieces of words \('##ing'\) and not 'walking' whole; .* tokenize= and"),
        (("Ġred", "dish"), "reddish", r"knows pieces of words \('Ġred'\)"),
        (("▁red", "dish"), "reddish", r"knows pieces of words \('▁red'\)"),
        (("red@@", "dish"), "reddish", r"knows pieces of words \('red@@'\)"),
        (("red", "dish</w>"), "reddish", r"knows pieces of words \('dish</w>'\)"),
    ],
)
def test_words_that_may_be_made_of_entries_are_refused(entries: tuple[str, ...], text: str, message: str) -> None:
    for unknown in (None, 3):
        own = writing(*entries, unknown=unknown)
        with pytest.raises(InputError, match=message) as caught:
            own.read(text, "caption", 100)
        assert len(str(caught.value)) <= 300
        assert cut(own, " ".join(entries)) == list(entries)  # parted by spaces they are known


def test_words_of_other_scripts_that_are_not_made_of_entries_are_unknown() -> None:
    assert writing("红色").read("红色 犬", "caption", 9).unknown == ["犬"]
    maltese = [f"kelma{n}" for n in range(40)]
    assert writing("Ġnien", *maltese).read("Ġobon", "caption", 9).unknown == ["Ġobon"]


def test_specials_in_a_text() -> None:
    own = writing("red", "dog")
    read = own.read("red dog <end>", "caption", 9)
    assert (read.ids, read.notes) == ((4, 5), ("left out of the caption, set by the model itself: <end>",))
    read = own.read("<start> red <pad>", "caption", 9)
    assert read.ids == (1, 4, 0)
    assert read.notes == tuple(f"{label} is no word of the caption, but is scored as one" for label in SPECIALS[:2])
    assert own.read("red <unk>", "caption", 9).notes == ()
    with pytest.raises(InputError, match=r"^the caption 'red <end> dog' holds '<end>' inside, which mine"):
        own.read("red <end> dog", "caption", 9)
    with pytest.raises(InputError, match=r"^the question '<pad>' holds '<pad>' inside, which mine reads .* as padding"):
        writing("red", padding=0).read("<pad>", "question", 9)
    with pytest.raises(InputError, match=r"^the caption '<end>' holds no word; give at least one$"):
        own.read("<end>", "caption", 9)


# The owner's own functions

PIECES = ["walk", "##ing", "##s", "dog", ",", "[SEP]", "[CLS]"]


def pieces(text: str) -> list[str]:
    """The longest pieces first, as BERT's tokenizer takes them."""
    found = []
    for word in text.lower().replace(",", " , ").split():
        first = True
        while word:
            tries = [word[:n] if first else f"##{word[:n]}" for n in range(len(word), 0, -1)]
            piece = next((piece for piece in tries if piece in PIECES), "<unk>")
            found.append(piece)
            word, first = word[len(piece) - (0 if first else 2) :] if piece != "<unk>" else "", False
    return found


def together(entries: Sequence[str]) -> str:
    return " ".join(entries).replace(" ##", "").replace(" ,", ",")


def test_pieces_of_words_by_the_owners_functions() -> None:
    own = writing(*PIECES, tokenize=pieces, join=together)
    read = own.read("Walking, dogs", "caption", 9)
    assert read.labels == ("walk", "##ing", ",", "dog", "##s")
    assert (read.text, read.notes, read.unknown) == ("walking, dogs", (), [])
    assert own.said(read.ids) == ("walking, dogs", ())
    assert own.read("Walking, cats", "caption", 9).ids == (4, 5, 8, 3)
    assert own.read("walking cats", "caption", 9).notes == ("the caption is read as 'walking <unk>'",)
    assert own.said((8, 5))[1] == (
        "this text, given as caption=, would not be read as the entries that the model said; tokenize= and join= that "
        "go there and back mend it",
    )


@pytest.mark.parametrize("kind", [list, tuple, torch.tensor, np.array])
def test_ids_will_do_and_what_an_encoder_puts_around_them_is_taken_off(kind: Any) -> None:
    def encode(text: str) -> Any:
        return kind([1, *(4 + "abc".index(letter) for letter in text), 2, 0, 0])

    own = writing("a", "b", "c", tokenize=encode)
    read = own.read("abca", "caption", 9)
    assert (read.labels, read.ids, read.notes) == (("a", "b", "c", "a"), (4, 5, 6, 4), ())
    assert own.said((4, 4, 5)) == ("aab", ())  # join is found by trying


def test_an_owners_start_that_is_a_letter_is_not_taken_off() -> None:
    own = Writing(["a", "b"], "mine", tokenize=list, start=0)
    assert own.read("ab", "caption", 9).ids == (0, 1)


@pytest.mark.parametrize(
    ("tokenize", "join", "message"),
    [
        (
            lambda text: text,
            None,
            r"^mine: tokenize gave str; needed is tokenize\(text\) → a list of voc",
        ),
        (lambda text: {"input_ids": [4]}, None, r"^mine: tokenize gave dict; needed is"),
        (lambda text: None, None, r"^mine: tokenize gave NoneType; needed is"),
        (lambda text: torch.tensor([[4, 5]]), None, r"^mine: tokenize gave ids \[1, 2\]; .* for example ids\[0\]$"),
        (lambda text: torch.tensor([0.5]), None, r"^mine: tokenize gave numbers with a point; needed is tokenize"),
        (lambda text: [99], None, r"^mine: tokenize gave 99; needed are entries \(str\) or ids from 0 to 6$"),
        (lambda text: [-1], None, r"^mine: tokenize gave -1; needed are entries"),
        (lambda text: [True], None, r"^mine: tokenize gave True; needed are entries"),
        (lambda text: [4.0], None, r"^mine: tokenize gave 4\.0; needed are entries"),
        (lambda text: [4, 2, 5], None, r"^the caption 'a b' holds '<end>' inside"),
        (lambda text: [], None, r"^the caption 'a b' holds no entry of the vocabulary; give at least one$"),
        (lambda text: [1, 2], None, r"^the caption 'a b' holds no entry of the vocabulary"),
        (
            lambda text: {}[text],
            None,
            r"^mine: tokenize fails on 'a b' \(KeyError: 'a b'\); give another text",
        ),
        (lambda text: [4] * 600, None, r"^the caption has 600 entries, at most 512; shorten it$"),
        (
            lambda text: text.split(),
            lambda entries: 3,
            r"^mine: join gave int, needed is a text; needed is",
        ),
        (
            lambda text: [letter for letter in text if letter != " "],
            lambda entries: entries[0],
            r"^mine: tokenize and join do not agree: the caption 'a b' is cut and joined to 'a', which is",
        ),
        (3, None, r"^tokenize must be a function, got int: needed is tokenize\(text\)"),
        (None, "x", r"^join must be a function, got str: needed is join\(entries\) → text$"),
    ],
)
def test_functions_that_give_something_else_are_refused(tokenize: Any, join: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        writing("a", "b", "c", tokenize=tokenize, join=join).read("a b", "caption", 100)
    assert len(str(caught.value)) <= 300


# There and back, for odd vocabularies

ALPHABET = [
    "a",
    "b",
    "ab",
    "A",
    "é",
    "e\u0301",
    "红",
    "##b",
    "▁a",
    ",",
    ".",
    "'s",
    "-",
    "a-b",
    "a b",
    "",
    " ",
    "<x>",
    "_",
]


def random_vocabulary(draw: random.Random) -> list[str]:
    return ["<pad>", "<start>", "<end>", "<unk>", *draw.sample(ALPHABET, draw.randint(1, 8))]


@pytest.mark.parametrize("seed", range(300))
def test_what_is_said_comes_back_or_is_noted(seed: int) -> None:
    """Property: no note means that the text, forced, is the very tokens; and what was read once is read so again."""
    draw = random.Random(seed)
    own = writing(*random_vocabulary(draw)[4:])
    tokens = tuple(draw.choices(range(4, len(own.vocabulary)), k=draw.randint(1, 6)))
    text, notes = own.said(tokens)
    try:
        read = own.read(text, "caption", 100)
    except InputError:
        assert notes
        return
    assert (read.ids == tokens) == (not notes)
    again = own.read(read.text, "caption", 100)
    assert (again.ids, again.text) == (read.ids, read.text)


# In an explanation


def in_twos(text: str) -> list[str]:
    return [text[place : place + 2] for place in range(0, len(text), 2)]


def says(vocabulary: list[str], tokens: Sequence[int], **options: Any) -> CnnLstmCaptioner:
    """A captioner that says these tokens."""

    def rows(prefix: tuple[int, ...]) -> list[float]:
        place = len(prefix)
        return [9.0 if token == [*tokens, 2][min(place, len(tokens))] else 0.0 for token in range(len(vocabulary))]

    torch.manual_seed(0)
    return CnnLstmCaptioner(TinyCnn().eval(), cast(Any, Table(rows)), vocabulary, prepare, start=1, end=2, **options)


@pytest.mark.parametrize(
    ("vocabulary", "tokens", "text", "options"),
    [
        ([*SPECIALS, "r", " ", "g", "."], (4, 5, 6, 7), "r g.", {}),
        ([*SPECIALS, "red", ",", "green", "."], (4, 5, 6, 7), "red , green .", {}),
        ([*SPECIALS, *PIECES], (4, 5, 8, 7, 6), "walking, dogs", {"tokenize": pieces, "join": together}),
        ([*SPECIALS, "红色", "方块"], (4, 5), "红色方块", {"tokenize": in_twos, "join": "".join}),
    ],
    ids=["characters", "words", "pieces", "no spaces"],
)
def test_what_a_captioner_says_is_read_again_as_it_was_said(
    vocabulary: list[str], tokens: tuple[int, ...], text: str, options: dict[str, Any]
) -> None:
    task = says(vocabulary, tokens, **options)
    said = vlx.explain(task, picture())
    assert said.text == text
    again = vlx.explain(task, picture(), caption=said.text)
    assert again.text == text
    assert [word.label for word in again] == [word.label for word in said] == [vocabulary[token] for token in tokens]
    assert [word.logprob for word in again] == pytest.approx([word.logprob for word in said], abs=1e-12)
    assert not [note for note in said.notes if "given as caption" in note]


def test_a_join_that_raises_is_named_with_its_cause() -> None:
    def join(entries: list[str]) -> str:
        raise ZeroDivisionError("x" * 400)

    writing = Writing(["a", "dog"], "the model", tokenize=str.split, join=join)
    with pytest.raises(
        InputError, match=r"join fails on \['a', 'dog'\] \(ZeroDivisionError: .*join\(entries\)"
    ) as told:
        writing.read("a dog", "caption", 9)
    assert len(str(told.value)) <= 300
    assert isinstance(told.value.__cause__, ZeroDivisionError)

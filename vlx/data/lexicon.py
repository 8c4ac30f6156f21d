"""From captions to concepts: the lemmas of their words and what each is, a thing, colour, material, scene or action."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, islice
from typing import Any, NamedTuple

from vlx.data import word_lists
from vlx.data.concepts import Concept
from vlx.language import FUNCTION_WORDS, THINGS_IN_ING, cut_phrases, split_words, tagger
from vlx.process import random_state_kept

AT_ONCE = 4096  # captions that are tagged at once
SHORT = 3  # letters of a word that is a name at least

Above = Callable[[str], frozenset[str]]
Synonyms = Callable[[str], Sequence[str]]


class Tagged(NamedTuple):
    """A word of a caption, its lemma, and "noun", "verb" or "other"."""

    word: str
    lemma: str
    part: str


class Lexicon:
    """Tells the concepts of captions; ``source`` says by what: spaCy or the built-in cutter, WordNet or lists alone.

    ``parser`` is a spaCy pipeline, None for the built-in cutter; ``above`` tells the synsets above a noun, None for
    lists alone.

    >>> Lexicon(None, None).concepts(["Two brown dogs are running on the beach"])[0]
    {Concept("brown", "color"), Concept("dog", "object"), Concept("animal", "kind"), …}
    """

    def __init__(self, parser: Any = None, above: Above | None = None) -> None:
        self._parser, self._above = parser, above
        words = "the built-in cutter" if parser is None else f"spaCy {parser.meta['name']} {parser.meta['version']}"
        self.source = f"{words}, {'lists' if above is None else 'WordNet and lists'}"
        self._kinds = cache(self._wider)
        self._category = cache(self._noun)

    @classmethod
    def installed(cls) -> "Lexicon":
        """With what is installed: spaCy's small English model (`vlx.language.phrases` says which), NLTK's WordNet."""
        return cls(tagger(), wordnet_above())

    def concepts(self, captions: Sequence[str]) -> list[frozenset[Concept]]:
        """What each caption tells."""
        plain = [split_words(caption.lower()) for caption in captions]
        return [frozenset(chain.from_iterable(map(self._of, words))) for words in self._tagged(plain)]

    def _tagged(self, captions: Sequence[list[str]]) -> Iterator[list[Tagged]]:
        if self._parser is None:
            yield from map(by_rule, captions)
            return
        every = iter(captions)
        while chunk := list(islice(every, AT_ONCE)):
            yield from _by_parser(self._parser, chunk)

    def _of(self, tagged: Tagged) -> Iterator[Concept]:
        """The concepts of one word; none of function words and of what is said of everything."""
        lemma = tagged.lemma
        if (
            tagged.word in FUNCTION_WORDS
            or lemma in word_lists.NO_NAMES
            or len(lemma) < SHORT
            or not lemma[0].isalpha()
        ):
            return
        listed = (("color", word_lists.COLORS), ("texture", word_lists.TEXTURES), ("material", word_lists.MATERIALS))
        adjectival = next((category for category, known in listed if tagged.word in known), None)
        if adjectival is not None:
            yield Concept(word_lists.SAME.get(tagged.word, tagged.word), adjectival)
        elif tagged.part == "verb":
            yield Concept(lemma, "action")
        elif tagged.part == "noun":
            yield Concept(lemma, self._category(lemma))
            yield from (Concept(kind, "kind") for kind in self._kinds(lemma))

    def _noun(self, lemma: str) -> str:
        if lemma in word_lists.SCENES:
            return "scene"
        above = self._above(lemma) if self._above is not None else frozenset[str]()
        return next(
            (category for category, synsets in word_lists.SYNSETS.items() if above.intersection(synsets)), "object"
        )

    def _wider(self, lemma: str) -> tuple[str, ...]:
        above = self._above(lemma) if self._above is not None else frozenset[str]()
        return tuple(name for name, (synset, lemmas) in word_lists.KINDS.items() if lemma in lemmas or synset in above)


def _by_parser(parser: Any, captions: Sequence[list[str]]) -> Iterator[list[Tagged]]:
    parts = {"NOUN": "noun", "PROPN": "noun", "VERB": "verb"}
    with random_state_kept():
        from spacy.tokens import Doc

        documents = list(parser.pipe(Doc(parser.vocab, words=words) for words in captions))
    for document in documents:
        yield [_corrected(Tagged(one.text, one.lemma_.lower(), parts.get(one.pos_, "other"))) for one in document]


def _corrected(tagged: Tagged) -> Tagged:
    """A parser's word, but of common verbs by rule: small models make "riding" "rid", and "swimming" a thing."""
    if tagged.part == "verb" or (
        tagged.part == "noun" and tagged.word.endswith("ing") and tagged.word not in word_lists.ACTIONS
    ):
        verb = verb_of(tagged.word)
        if verb is not None:
            return Tagged(tagged.word, verb, "verb")
    return tagged._replace(lemma=word_lists.IRREGULAR.get(tagged.word, tagged.lemma))


def by_rule(words: Sequence[str]) -> list[Tagged]:
    """The words of a caption in lower case, tagged without a parser.

    Forms of common verbs are verbs where no determiner stands right before them; words in noun phrases are nouns but
    for common adjectives.

    >>> [tagged.lemma for tagged in by_rule("two dogs running on grass".split()) if tagged.part != "other"]
    ['dog', 'run', 'grass']
    """
    inside = {place for first, stop in cut_phrases(words) for place in range(first, stop)}
    tagged = []
    for place, word in enumerate(words):
        verb = verb_of(word)
        opened = place > 0 and words[place - 1] in ("a", "an", "the", "his", "her", "their", "its")
        last = place + 1 == len(words) or words[place + 1] in FUNCTION_WORDS
        if verb is not None and not (opened and (last or not word.endswith("ing"))):
            tagged.append(Tagged(word, verb, "verb"))
        elif word in FUNCTION_WORDS or word in word_lists.ADJECTIVES or word.endswith("ly") or place not in inside:
            tagged.append(Tagged(word, word, "other"))
        else:
            tagged.append(Tagged(word, singular(word), "noun"))
    return tagged


def verb_of(word: str) -> str | None:
    """The common verb of which it is a form; None where it is none.

    >>> verb_of("running"), verb_of("riding"), verb_of("carries"), verb_of("dog"), verb_of("building")
    ('run', 'ride', 'carry', None, None)
    """
    if word in THINGS_IN_ING - word_lists.DOINGS and word not in word_lists.ACTIONS:
        return None
    tried = [word_lists.IRREGULAR.get(word, word)]
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            stem = word[: -len(ending)]
            tried += [stem, f"{stem}e", *([stem[:-1]] if stem[-1:] == stem[-2:-1] else [])]
            tried += [f"{stem[:-1]}y"] if stem.endswith("i") else []
    return next((one for one in tried if one in word_lists.ACTIONS), None)


def singular(noun: str) -> str:
    """The singular of an English noun, by rule.

    >>> [singular(one) for one in ("dogs", "men", "buses", "ladies", "grass", "boxes")]
    ['dog', 'man', 'bus', 'lady', 'grass', 'box']
    """
    if noun in word_lists.IRREGULAR:
        return word_lists.IRREGULAR[noun]
    if noun.endswith("men") and len(noun) > SHORT:
        return f"{noun[:-3]}man"
    if noun.endswith("ies") and len(noun) > SHORT + 1:
        return f"{noun[:-3]}y"
    if noun.endswith(("ches", "shes", "sses", "xes", "zes")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us", "is")) else noun


def wordnet_above() -> Above | None:
    """The names of the synsets above the first sense of a noun, itself included; None without NLTK or its WordNet."""
    wordnet = _wordnet()
    if wordnet is None:
        return None

    def above(lemma: str) -> frozenset[str]:
        synsets = wordnet.synsets(lemma.replace(" ", "_"), pos="n")[:1]
        wider = chain.from_iterable(one.closure(lambda each: each.hypernyms()) for one in synsets)
        return frozenset(one.name() for one in chain(synsets, wider))

    return above


def wordnet_synonyms() -> Synonyms | None:
    """The other words for a noun in its first sense; None without NLTK or its WordNet.

    A word counts where that is its first sense, too: an automobile is a car, and a machine is something else.
    """
    wordnet = _wordnet()
    if wordnet is None:
        return None

    def first(words: str) -> Any:
        return next(iter(wordnet.synsets(words.replace(" ", "_"), pos="n")), None)

    def synonyms(name: str) -> tuple[str, ...]:
        sense = first(name)
        words = () if sense is None else sense.lemma_names()
        return tuple(word.lower() for word in words if first(word) == sense)

    return synonyms


def _wordnet() -> Any:
    """NLTK's WordNet; None where either is missing."""
    try:
        from nltk.corpus import wordnet

        wordnet.ensure_loaded()
    except (ImportError, LookupError):
        return None
    return wordnet

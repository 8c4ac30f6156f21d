import builtins
import random
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vlx import language
from vlx.errors import InputError, WordNotFound
from vlx.process import random_state_kept
from vlx.scenes import draw
from vlx.scenes.vocabulary import caption_vocabulary


@pytest.fixture
def without_spacy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The small rule, whatever is installed here."""
    monkeypatch.setattr(language, "_parser", lambda models, without=(): None)
    yield


def cut(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[first:stop]) for first, stop in language.phrases(words)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a red house, and a tree.", ["a", "red", "house", "and", "a", "tree"]),
        ("a t-shirt on the dog's back", ["a", "t-shirt", "on", "the", "dog's", "back"]),
        ("the dog’s 2nd ball", ["the", "dog’s", "2nd", "ball"]),
        ("<start> a <unk> <end>", ["<start>", "a", "<unk>", "<end>"]),
        ("ein blaues Häuschen", ["ein", "blaues", "Häuschen"]),
        ("  \t\n ", []),
        ("?! -- ...", []),
        ("(a dog) 'quoted' \"double\"", ["a", "dog", "quoted", "double"]),
        ("a < b", ["a", "b"]),
    ],
)
def test_words_are_cut_without_punctuation(text: str, words: list[str]) -> None:
    assert language.split_words(text) == words


@pytest.mark.parametrize(
    ("parts", "text", "words"),
    [
        (["a", "dog"], "a dog", True),
        (["red", ",", "green", "."], "red , green .", True),
        (["red", "green"], "red, green.", True),
        (["a", "t-shirt"], "a t-shirt", True),
        (["r", " ", "g", "."], "r g.", False),
        (["d", "o", "g"], "dog", False),
        (["walk", "##ing"], "walking", False),
        (["Ġred", "Ġdog"], "red dog", False),
        (["red", "dish"], "reddish", False),
        (["红色", "方块"], "红色方块", False),
        (["the", "the"], "the the", True),
        ([], "", True),
    ],
)
def test_pieces_of_words_are_told_from_words(parts: list[str], text: str, words: bool) -> None:
    assert language.are_words(parts, text) is words


def test_close_matches_come_best_first() -> None:
    known = caption_vocabulary()
    assert language.close_matches("Hose", known)[0] == "house"
    assert language.close_matches("strped", known)[0] == "striped"
    assert language.close_matches("qqqq", known) == []
    assert len(language.close_matches("a", ["a1", "a2", "a3", "a4", "a5"])) == 3
    assert len(language.close_matches("a", ["a1", "a2", "a3"], count=1)) == 1


@pytest.mark.usefixtures("without_spacy")
@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("a striped red house and a blue tree in a meadow", ["a striped red house", "a blue tree", "a meadow"]),
        ("an orange car at night", ["an orange car", "night"]),
        ("dogs and cats", ["dogs", "cats"]),
        ("a man riding a wave on top of a surfboard", ["a man", "a wave", "top", "a surfboard"]),
        ("two dogs are running through the tall grass", ["two dogs", "the tall grass"]),
        ("A Red House", ["A Red House"]),
        ("a tall building near a wing", ["a tall building", "a wing"]),
        ("a man in a living room holding a string", ["a man", "a living room", "a string"]),
        ("the ceiling above the dining table", ["the ceiling", "the dining table"]),
        ("in the", []),
        ("a a dog", ["a dog"]),
        ("on of with", []),
        ("", []),
    ],
)
def test_noun_phrases_by_the_small_rule(text: str, phrases: list[str]) -> None:
    assert cut(text) == phrases


@pytest.mark.usefixtures("without_spacy")
def test_phrases_are_in_order_and_do_not_overlap() -> None:
    for seed in range(12):
        scene = draw(seed, 64)
        spans = language.phrases(scene.caption.split())
        ends = [0, *(edge for span in spans for edge in span)]
        assert ends == sorted(ends)
        assert all(first < stop for first, stop in spans)
        kinds = [scene.objects[number].kind for number in scene.named]
        assert [scene.caption.split()[stop - 1] for _, stop in spans][: len(kinds)] == kinds


def test_spacy_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def parser(document: list[str]) -> SimpleNamespace:
        assert document == ["a", "dog", "barks"]
        return SimpleNamespace(noun_chunks=[SimpleNamespace(start=0, end=2)])

    parser.vocab = None  # type: ignore[attr-defined]
    tokens = ModuleType("spacy.tokens")
    tokens.Doc = lambda vocab, words: words  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spacy", ModuleType("spacy"))
    monkeypatch.setitem(sys.modules, "spacy.tokens", tokens)
    monkeypatch.setattr(language, "_parser", lambda models, without=(): parser)
    assert language.phrases(["a", "dog", "barks"]) == [(0, 2)]


def loading(result: Callable[[], Any]) -> ModuleType:
    fake = ModuleType("spacy")
    fake.load = lambda name, exclude=(): result()  # type: ignore[attr-defined]
    return fake


def test_spacy_without_its_english_model_falls_back_to_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise OSError("[E050] Can't find model 'en_core_web_sm'")

    monkeypatch.setitem(sys.modules, "spacy", loading(missing))
    assert language._parser.__wrapped__() is None
    monkeypatch.setitem(sys.modules, "spacy", loading(lambda: "the model"))
    assert language._parser.__wrapped__() == "the model"


def test_without_spacy_the_rule_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def no_spacy(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".")[0] == "spacy":
            raise ImportError(name)
        return plain(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "spacy", raising=False)
    monkeypatch.setattr(builtins, "__import__", no_spacy)
    assert language._parser.__wrapped__() is None


def draws() -> list[Any]:
    return [random.random(), np.random.rand(), np.random.randn(), float(torch.rand(()))]


def seeding(*, where: str, fails: bool) -> ModuleType:
    """A spaCy that seeds every generator when a model is loaded or run, as thinc does when it is imported."""

    def seed() -> None:
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        if fails:
            raise OSError("no such model")

    def load(name: str, exclude: Any = ()) -> Any:
        if where == "load":
            seed()

        def parser(document: Any) -> SimpleNamespace:
            if where == "run":
                seed()
            return SimpleNamespace(noun_chunks=[])

        parser.vocab = None  # type: ignore[attr-defined]
        return parser

    fake = ModuleType("spacy")
    fake.load = load  # type: ignore[attr-defined]
    return fake


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("where", ["load", "run"])
def test_random_state_is_the_users(monkeypatch: pytest.MonkeyPatch, where: str, fails: bool) -> None:
    tokens = ModuleType("spacy.tokens")
    tokens.Doc = lambda vocab, words: words  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spacy", seeding(where=where, fails=fails))
    monkeypatch.setitem(sys.modules, "spacy.tokens", tokens)
    language._parser.cache_clear()
    random.seed(3), np.random.seed(4), torch.manual_seed(5)
    np.random.randn()  # leaves a second number waiting, which is state, too
    expected = draws()
    random.seed(3), np.random.seed(4), torch.manual_seed(5)
    np.random.randn()
    try:
        if where == "run" and fails:
            with pytest.raises(OSError, match="no such model"):
                language.phrases(["a", "dog"])
        else:
            language.phrases(["a", "dog"])
        assert draws() == expected
    finally:
        language._parser.cache_clear()


def test_the_guard_puts_generators_back_after_errors() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draws()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with pytest.raises(KeyError, match="x"), random_state_kept():
        draws()
        torch.manual_seed(9)
        raise KeyError("x")
    assert draws() == expected


def test_a_model_that_was_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("spacy")
    message = (
        r"^spaCy's model 'no_such_model' cannot be loaded; install it, or name another \(model=, VLX_SPACY_MODEL\)"
    )
    with pytest.raises(InputError, match=message):
        language.phrases(["a", "dog"], "no_such_model")
    monkeypatch.setenv("VLX_SPACY_MODEL", "no_such_model")
    with pytest.raises(InputError, match=message):
        language.phrases(["a", "dog"])


def test_noun_chunks_of_a_real_model() -> None:
    spacy = pytest.importorskip("spacy")
    model = next((name for name in language.PARSERS if spacy.util.is_package(name)), None)
    if model is None:
        pytest.skip(f"none of {', '.join(language.PARSERS)} is installed")
    words = "the man riding a wave wears a black wet suit".split()
    found = [" ".join(words[first:stop]) for first, stop in language.phrases(words, model)]
    assert found == ["the man", "a wave", "a black wet suit"]
    whole, words = spacy.load(model), "two men who surf and the dog of a girl watch themselves".split()
    document = whole(spacy.tokens.Doc(whole.vocab, words=words))  # with the parts that phrases leave out
    for _ in range(2):  # the second time from what is kept
        assert language.phrases(words, model) == [(chunk.start, chunk.end) for chunk in document.noun_chunks]


def test_function_words_say_nothing_of_their_own() -> None:
    text = "a red dog is sitting on the grass , next to its bone and under a tree ."
    own = [word for word in text.split() if language.is_content(word)]
    assert own == ["red", "dog", "sitting", "grass", "bone", "tree"]
    assert language.is_content("Straße")
    assert not language.is_content("The")
    assert all(
        language.is_content(word.word) is (word.category is not None) for n in range(40) for word in draw(n).words
    )


def test_words_are_chosen_by_label_or_position() -> None:
    labels = ["a", "dog", "and", "a", "cat"]
    assert language.chosen("all", labels) == [0, 1, 2, 3, 4]
    assert language.chosen("content", labels) == [1, 4]
    assert language.chosen(["a", "cat"], labels) == [0, 3, 4]
    assert language.chosen([-1, 2, 2], labels) == [2, 4]
    for one in ("cow", 5, -6):
        with pytest.raises(WordNotFound, match=rf"words={one!r} is not there; the text has 5 words: a, dog, and, a, c"):
            language.chosen([one], labels)


def test_marks_of_models_are_taken_out_and_other_brackets_stay() -> None:
    assert language.unmarked("<think>it is red</think><answer>red</answer>.") == "it is red red."
    assert language.unmarked("◁think▷so◁/think▷ red <|im_end|>") == "so red"
    for text in ("a <b> dog [sic] <3", "x<y and y>z", "a  dog\nhere "):
        assert language.unmarked(text) == text

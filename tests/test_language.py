import builtins
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from vlx import language
from vlx.scenes import draw
from vlx.scenes.vocabulary import caption_vocabulary


@pytest.fixture
def without_spacy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The small rule, whatever is installed here."""
    monkeypatch.setattr(language, "_parser", lambda: None)
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
    monkeypatch.setattr(language, "_parser", lambda: parser)
    assert language.phrases(["a", "dog", "barks"]) == [(0, 2)]


def loading(result: Callable[[], Any]) -> ModuleType:
    fake = ModuleType("spacy")
    fake.load = lambda name: result()  # type: ignore[attr-defined]
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

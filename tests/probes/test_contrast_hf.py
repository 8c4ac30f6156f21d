"""Why one word of a caption and not another, of captioners of transformers: words of several tokens, and attention."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

import vlx
from tests.hf import CAPTION, CAPTIONERS, Tiny, logits, negated, picture, pixels
from vlx.errors import InputError, UnknownWords
from vlx.methods import attention, engine
from vlx.probes.contrast import Contrast, contrasted
from vlx.protocol.targets import Query, Target, word_target
from vlx.tasks.huggingface.texts import packed, placed, unpacked
from vlx.tasks.huggingface.tiny.words import byte_pairs, word_pieces

PAIRS = (  # words of one token and of two, on either side
    ("blip-captioning", "house", "pinkish"),
    ("git", "greenish", "red"),
    ("swin-bert", "greenish", "pinkish"),
    ("vit-gpt2", "a", "two"),
    *(
        pytest.param(family, "greenish", "pinkish", marks=pytest.mark.slow)
        for family in CAPTIONERS
        if family != "swin-bert"
    ),
    pytest.param("swin-bert", "house", "boat", marks=pytest.mark.slow),
)


def forced(task: Any, word: str, other: str, **options: Any) -> vlx.WordExplanation:
    """The caption with another word in this one's place, explained as any other caption."""
    position = CAPTION.split().index(word)
    words = [*CAPTION.split()[:position], other, *CAPTION.split()[position + 1 :]]
    return vlx.explain(task, picture(), caption=" ".join(words), **options)[position]


def stock(task: Any, family: str, text: str, before: int) -> float:
    """Log p of the last word of a text, by the model as transformers run it; ``before``: tokens in front of it."""
    tokens = task.tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        told = logits(task, family, pixels(task, picture()), tokens).log_softmax(-1)
    return sum(float(told[n, tokens[n]]) for n in range(before, len(tokens)))


@pytest.mark.parametrize(("family", "word", "other"), PAIRS)
def test_a_contrast_is_one_caption_less_another(tiny_models: Tiny, family: str, word: str, other: str) -> None:
    task = tiny_models.task(family, torch.float64)
    options: dict[str, Any] = {"method": "hirescam", "subword_map": "sum", "check": False}
    why = vlx.explain(task, picture(), caption=CAPTION, instead_of={word: other}, **options)
    first, second = forced(task, word, word, **options), forced(task, word, other, **options)
    assert why[0].score == pytest.approx(first.score - second.score, abs=1e-9)
    scale = max(np.abs(first.signed).max(), np.abs(second.signed).max())
    np.testing.assert_allclose(why[0].signed, first.signed - second.signed, atol=1e-6 * scale)
    assert first.seen is not None and second.seen is not None
    assert why[0].seen == pytest.approx(first.seen - second.seen, abs=1e-8)
    for side, alone in zip(why.others, (first, second), strict=True):
        assert side[0].logprob == pytest.approx(alone.logprob, abs=1e-9)
        np.testing.assert_allclose(side[0].signed, alone.signed, atol=1e-6 * scale)
    before = CAPTION.split()[: CAPTION.split().index(word)]
    place = len(task.tokenizer(" ".join(before), add_special_tokens=False)["input_ids"]) if before else 0
    by_hand = [stock(task, family, " ".join([*before, one]), place) for one in (word, other)]
    assert why[0].score == pytest.approx(by_hand[0] - by_hand[1], abs=1e-5)
    turned = " ".join([*before, other, *CAPTION.split()[len(before) + 1 :]])
    back = vlx.explain(task, picture(), caption=turned, instead_of={other: word}, **options)
    assert back[0].score == pytest.approx(-why[0].score, abs=1e-9)
    np.testing.assert_allclose(back[0].signed, -why[0].signed, atol=1e-6 * scale)


@pytest.mark.parametrize("family", CAPTIONERS)
def test_a_planted_mistake_is_seen(tiny_models: Tiny, family: str) -> None:
    """Another prefix, and another step, of the text of the other word: the check above would not pass."""
    task = tiny_models.task(family, torch.float64)
    features = task.features(task.place(task.prepare(picture())[None]))
    (prediction,) = task.predict(features, [Query(caption=CAPTION)])
    asked = word_target(contrasted(task, features, prediction, Contrast("greenish", "pinkish")), 0, 0, "logprob")
    own, other = unpacked(asked.tokens)
    (right,) = engine.scores(task, features.A, [asked], features.rest).tolist()
    late = replace(asked, terms=tuple(replace(one, step=one.step + (one.weight < 0)) for one in asked.terms))
    for wrong in (late, replace(asked, tokens=packed(own, (own[-1], *other[1:])))):
        assert engine.scores(task, features.A, [wrong], features.rest).item() != pytest.approx(right, abs=1e-6)


@pytest.mark.parametrize("family", CAPTIONERS)
def test_attention_of_both_texts_is_added_up(tiny_models: Tiny, family: str) -> None:
    """Of two texts the map is that of the word and that of the other one's negated score: no graph joins them."""
    task = tiny_models.task(family, torch.float64)
    features = task.features(task.place(task.prepare(picture())[None]))
    (prediction,) = task.predict(features, [Query(caption=CAPTION)])
    word = contrasted(task, features, prediction, Contrast("greenish", "pinkish")).words[0]
    method = attention.ATTENTION_METHODS[task.defaults.method]
    own, other = word.sides
    assert other.tokens is not None
    targets = [
        Target(0, "both", word.terms, "logprob", word.tokens or ()),
        Target(0, "own", own.terms, "logprob", prediction.tokens),
        negated(Target(0, "other", other.terms, "logprob", other.tokens)),
    ]
    found = attention.attribute(task, features.A, targets, method, features.rest)
    apart = [attention.attribute(task, features.A, [one], method, features.rest) for one in targets]
    for one, single in enumerate(apart):
        torch.testing.assert_close(found.signed[one], single.signed[0], rtol=1e-9, atol=1e-12)
    if method.rolled:  # a word of several tokens is rolled out from all of its places at once, half of each
        assert float(found.signed[0].abs().max()) > 0
    torch.testing.assert_close(found.signed[0], found.signed[1] + found.signed[2], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.weights[0], found.weights[1] + found.weights[2], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("family", CAPTIONERS)
def test_by_its_own_method_everything_is_there(tiny_models: Tiny, family: str, tmp_path: Any) -> None:
    task = tiny_models.task(family)
    why = vlx.explain(task, picture(), caption=CAPTION, instead_of={"greenish": "pinkish"}, occlusion=True)
    assert (why.text, why.instead_of, [other.text for other in why.others]) == (
        CAPTION,
        "pinkish",
        ["greenish", "pinkish"],
    )
    assert (why.method, len(why[0].seen_by), len(why[0].looks)) == (task.defaults.method, 5, 5)
    assert why[0].check is not None and why[0].occlusion is not None and np.isfinite(why[0].signed).all()
    again = vlx.Explanation.load(why.save(tmp_path / "why.h5"))
    assert np.array_equal(again[0].signed, why[0].signed) and again.instead_of == "pinkish"


@pytest.mark.parametrize("family", CAPTIONERS)
def test_after_a_prompt_the_place_is_the_same(tiny_models: Tiny, family: str) -> None:
    task = tiny_models.task(family, torch.float64)
    options: dict[str, Any] = {"check": False, "method": "hirescam", "references": [picture(4)]}
    whole = vlx.explain(task, picture(), caption=CAPTION, instead_of={"house": "pinkish"}, **options)
    after = vlx.explain(
        task, picture(), prompt="a greenish", caption="house on the water", instead_of={"house": "pinkish"}, **options
    )
    assert after[0].score == pytest.approx(whole[0].score, abs=1e-9)
    np.testing.assert_allclose(after[0].signed, whole[0].signed, atol=1e-9)
    assert after[0].looks == whole[0].looks and whole[0].looks[0].said != ("",)


@pytest.mark.parametrize("family", CAPTIONERS)
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"house": "red house"},
            InputError,
            r"^instead_of: 'red house' must be one word, as that which it is compared",
        ),
        ({"house": ""}, InputError, r"^instead_of: '' must be one word"),
        ({"house": "house"}, InputError, r"^instead_of=\{'house': 'house'\}: 'house' is the word that is explained"),
        ("boat", InputError, r"^instead_of='boat': this is a captioner, name the word of its caption, too"),
    ],
)
def test_contrasts_that_cannot_be(
    tiny_models: Tiny, family: str, given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        vlx.explain(tiny_models.task(family), picture(), caption=CAPTION, instead_of=given)


def test_signs_without_a_token_are_named(tiny_models: Tiny) -> None:
    with pytest.raises(UnknownWords, match=r"has no tokens for some signs of the other word '犬'; write it otherwise"):
        vlx.explain(tiny_models.task("git"), picture(), caption=CAPTION, instead_of={"house": "犬"})


def test_one_word_that_begins_the_other_is_noted(tiny_models: Tiny) -> None:
    why = vlx.explain(
        tiny_models.task("git"), picture(), caption=CAPTION, instead_of={"greenish": "green"}, check=False, seen=False
    )
    assert "the model writes one of the two as the other and more: the longer one cannot be likelier" in why.notes
    assert why[0].score <= 0


def test_texts_that_are_packed_have_their_steps() -> None:
    whole = packed((5, 6, 7), (5, 8))
    assert [placed(whole, step) for step in (0, 2, 4, 5)] == [((5, 6, 7), 0), ((5, 6, 7), 2), ((5, 8), 0), ((5, 8), 1)]
    assert placed((5, 6), 1) == ((5, 6), 1)


@pytest.mark.parametrize("tokenizer", [word_pieces, byte_pairs])
@pytest.mark.parametrize("before", ["", "a", "a greenish", "the dog's"])
def test_a_word_is_written_as_it_would_be_in_the_text(tokenizer: Any, before: str) -> None:
    from vlx.tasks.huggingface.texts import in_place

    made = tokenizer()

    def ids(text: str) -> tuple[int, ...]:
        return tuple(made(text, add_special_tokens=False)["input_ids"])

    prefix, whole, wanted = ids(before), ids(f"{before} house".strip()), ids(f"{before} pinkish".strip())
    assert whole[: len(prefix)] == prefix
    assert in_place(made, prefix, ("house", whole[len(prefix) :]), "pinkish", "it") == wanted[len(prefix) :]

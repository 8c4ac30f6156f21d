from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.fakes import (
    ALL_KINDS,
    VOCABULARY,
    Stepped,
    Table,
    TinyCnn,
    Unrolled,
    captioner,
    decoder,
    feature_map,
    features_of,
    picture,
    prepare,
    slow_logits,
)
from vlx.errors import InputError, UnknownWords
from vlx.methods import engine
from vlx.protocol.targets import Prediction, Query, Target, Term
from vlx.protocol.task import Features
from vlx.tasks.captioning import CnnLstmCaptioner


def ask(task: Any, features: Features, **query: Any) -> list[Prediction]:
    return cast(list[Prediction], task.predict(features, [Query(**query)] * len(features.A)))


# Generation and teacher forcing


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_forced_log_probabilities_are_those_of_generation(kind: str, beams: int) -> None:
    lengths = set()
    for seed in range(6):
        task = captioner(kind, seed=seed)
        features = features_of(task, 1, 2, 3)
        for row, said in enumerate(ask(task, features, beams=beams)):
            lengths.add(len(said.words))
            if not said.words:
                continue
            forced = ask(task, features, caption=said.text)[row]
            assert forced.tokens == said.tokens
            assert (forced.forced, said.forced) == (True, False)
            assert [word.label for word in forced.words] == said.text.split()
            for own, other in zip(forced.words, said.words, strict=True):
                assert own.logprob == pytest.approx(other.logprob, abs=1e-5)
                assert [a.token for a in own.alternatives] == [a.token for a in other.alternatives]
            targets = [Target(row, word.label, word.terms, "logprob", said.tokens) for word in said.words]
            values = engine.scores(task, features.A, targets).tolist()
            assert values == pytest.approx([word.logprob for word in said.words], abs=1e-5)
    assert max(lengths) >= 3


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_words_have_the_log_probabilities_of_the_decoder(kind: str) -> None:
    task = captioner(kind, torch.float64)
    features = features_of(task, 1, 2)
    for row, said in enumerate(ask(task, features, caption="a red dog on grass")):
        assert said.tokens == (3, 4, 6, 8, 9)
        logits = slow_logits(task, features.A, Target(row, "", (Term(4, 9),), "logprob", said.tokens)).detach()
        for step, word in enumerate(said.words):
            shares = (logits[step].exp() / logits[step].exp().sum()).log().tolist()
            order = sorted(range(len(shares)), key=lambda token: -shares[token])[:5]
            assert word.logprob == pytest.approx(shares[said.tokens[step]], abs=1e-5)
            assert word.terms == (Term(step, said.tokens[step]),)
            assert [other.label for other in word.alternatives] == [VOCABULARY[token] for token in order]
            assert [a.logprob for a in word.alternatives] == pytest.approx([shares[t] for t in order], abs=1e-5)


def test_unroll_gives_what_steps_give() -> None:
    torch.manual_seed(5)
    unrolled = Unrolled()
    stepped = Stepped()
    stepped.load_state_dict(unrolled.state_dict())
    one, other = captioner(cast(Any, stepped), torch.float64), captioner(cast(Any, unrolled), torch.float64)
    other.decoder.load_state_dict(one.decoder.state_dict())
    A = feature_map()
    targets = [
        Target(row, "", (Term(step, text[step]),), "logprob", text)
        for row, text in ((0, (3, 4, 6)), (1, (3, 4, 6, 8, 9)), (2, (5,)), (1, (5, 9)))
        for step in range(len(text))
    ]
    for way in ("rows", "batched", "loop"):
        found, wanted = (engine.gradients(task, A, targets, way=cast(Any, way)) for task in (other, one))
        assert torch.allclose(found[0], wanted[0], atol=1e-12)
        assert torch.allclose(found[1], wanted[1], atol=1e-12)


def test_unroll_is_used_once_for_all_texts() -> None:
    class Counting(Unrolled):
        calls = 0

        def unroll(self, tokens: Tensor, state: tuple[Tensor, ...]) -> Tensor:
            self.calls += 1
            return super().unroll(tokens, state)

        def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
            raise AssertionError("unroll should have been used")

    task = captioner(cast(Any, Counting()))
    targets = [Target(row, "", (Term(1, 4),), "logprob", (3, 4)) for row in (0, 1)]
    engine.scores(task, feature_map(2, torch.float32), targets)
    assert task.decoder.calls == 1


@pytest.mark.parametrize("way", ["rows", "batched", "loop"])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_later_words_do_not_reach_back(kind: str, way: Any) -> None:
    task, A = captioner(kind, torch.float64), feature_map(1)
    texts = ((3, 4, 6, 8, 9), (3, 4, 7, 3, 5), (3, 4))
    single = [engine.gradients(task, A, [Target(0, "", (Term(1, 4),), "logprob", text)], way=way) for text in texts]
    together = engine.gradients(task, A, [Target(0, "", (Term(1, 4),), "logprob", text) for text in texts], way=way)
    for n in range(3):
        assert torch.allclose(single[n][0], single[0][0], atol=1e-12)
        assert torch.allclose(single[n][1], single[0][1], atol=1e-12)
        assert torch.allclose(together[1][n], single[0][1][0], atol=1e-12)
    changed = engine.gradients(task, A, [Target(0, "", (Term(1, 4),), "logprob", (5, 4))], way=way)
    assert not torch.allclose(changed[0], single[0][0], atol=1e-3)


def test_a_word_takes_no_more_steps_than_it_needs() -> None:
    steps = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = decoder("state")

        def start(self, A: Tensor) -> Any:
            return cast(Any, self.inner).start(A)

        def step(self, tokens: Tensor, state: Any) -> Any:
            steps.append(tokens.tolist())
            return cast(Any, self.inner).step(tokens, state)

        def logits(self, hidden: Tensor) -> Tensor:
            return cast(Tensor, cast(Any, self.inner).logits(hidden))

    task = captioner(cast(Any, Counting()))
    text = (3, 4, 6, 8, 9)
    targets = [Target(0, "", (Term(1, 4),), "logprob", text), Target(0, "", (Term(2, 6),), "logit", text)]
    engine.scores(task, feature_map(1, torch.float32), targets)
    assert steps == [[0], [3], [4]]


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_batch_of_two_is_two_of_one(kind: str) -> None:
    task = captioner(kind)
    both = features_of(task, 1, 2)
    single = [features_of(task, seed) for seed in (1, 2)]
    for query in ({}, {"beams": 3}, {"caption": "a blue house"}):
        for row, (own, wanted) in enumerate(
            zip(ask(task, both, **query), [ask(task, one, **query)[0] for one in single], strict=True)
        ):
            assert own.tokens == wanted.tokens, row
            assert [word.logprob for word in own.words] == pytest.approx(
                [word.logprob for word in wanted.words], abs=1e-5
            )


def test_queries_of_one_batch_may_differ() -> None:
    task = captioner("attention")
    features = features_of(task, 1, 2, 3, 1)
    queries = [Query(), Query(caption="a dog"), Query(beams=3), Query(caption="a red house on grass")]
    found = task.predict(features, queries)
    alone = [task.predict(features, [query] * 4)[row] for row, query in enumerate(queries)]
    assert [one.tokens for one in found] == [one.tokens for one in alone]
    assert [one.forced for one in found] == [False, True, False, True]


# Tokens


def test_generation_begins_with_start_and_stops_at_end() -> None:
    def rows(prefix: tuple[int, ...]) -> Sequence[float]:
        wanted = (3, 4, 6, 1)[len(prefix)] if len(prefix) < 4 else 9
        return [10.0 * (token == wanted) for token in range(len(VOCABULARY))]

    class Starting(Table):
        def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            if state.shape[1] == 0:
                assert tokens.tolist() == [5] * len(tokens)
            return super().step(tokens, state)

    def made(**options: Any) -> CnnLstmCaptioner:
        torch.manual_seed(0)
        return CnnLstmCaptioner(TinyCnn().eval(), Starting(rows), VOCABULARY, prepare, start=5, **options)

    for beams in (1, 3):
        ended = made(end=1)
        assert ask(ended, features_of(ended, 1), beams=beams)[0].text == "a red dog"
        endless = made(max_words=6)
        assert ask(endless, features_of(endless, 1), beams=beams)[0].text == "a red dog <end> grass grass"
        short = made(end=1, max_words=2)
        assert ask(short, features_of(short, 1), beams=beams)[0].text == "a red"


@pytest.mark.parametrize("beams", [1, 3])
def test_a_caption_that_ends_at_once_is_empty_and_says_so(beams: int) -> None:
    task = captioner("state")
    with torch.no_grad():
        task.decoder.output.bias[1] = 99.0
    said = ask(task, features_of(task, 1), beams=beams)[0]
    assert (said.text, said.words, said.tokens) == ("", (), ())
    assert said.notes == ("the model ended its caption before the first word",)
    why = vlx.explain(task, picture(1), beams=beams)
    assert len(why) == 0
    assert why.sentence.label == ""
    assert not why.sentence.heatmap.any()
    assert why.notes == said.notes


def test_the_case_of_a_word_does_not_matter_and_punctuation_that_is_not_known_is_noted() -> None:
    task = captioner("state")
    words, ids, missing = task.tokens("A red DOG, on grass.")
    assert words == ["A", "red", "DOG", "on", "grass"]
    assert ids == [3, 4, 6, 8, 9]
    assert missing == []
    assert task.read("A red DOG, on grass.").notes == ("left out of the caption, not in the vocabulary: , .",)


def test_a_vocabulary_that_knows_punctuation_keeps_it() -> None:
    words = [*VOCABULARY, ".", "t-shirt", "Dog"]
    torch.manual_seed(0)
    task = CnnLstmCaptioner(TinyCnn().eval(), Table(lambda prefix: [0.0] * 13), words, prepare, end=1)
    assert task.tokens("a dog in".replace("in", "on") + " grass .")[1] == [3, 6, 8, 9, 10]
    assert task.tokens("a Dog on a t-shirt")[1] == [3, 12, 8, 3, 11]


def test_unknown_words_are_named_with_close_ones() -> None:
    task = captioner("state", unknown=None)
    message = r"^not in the vocabulary of tiny \(10 words\): 'hose' \(close: house\); 'zzz'$"
    with pytest.raises(UnknownWords, match=message):
        vlx.explain(task, picture(), caption="a hose and zzz zzz".replace("and", "on"))


def test_unknown_words_are_scored_as_unknown_and_say_so() -> None:
    task = captioner("state")
    why = vlx.explain(task, picture(), caption="a zebra on grass", method="gradcam")
    assert why.text == "a zebra on grass"
    assert [word.label for word in why] == ["a", "zebra", "on", "grass"]
    assert why["zebra"].notes == ("not in the vocabulary; scored as <unk>",)
    assert not [note for note in why["a"].notes if "vocabulary" in note]
    assert "scored as <unk>, not in the vocabulary: zebra" in why.notes
    same = vlx.explain(task, picture(), caption="a <unk> on grass")
    assert same[1].score == pytest.approx(why[1].score, abs=1e-6)
    assert "not in the vocabulary" not in "".join(same.notes)


@pytest.mark.parametrize("caption", ["", "   ", "?!."])
def test_an_empty_caption_is_refused(caption: str) -> None:
    with pytest.raises(InputError, match=r"^the caption '.*' holds no word; give at least one$"):
        vlx.explain(captioner("state"), picture(), caption=caption)


def test_a_caption_of_500_words_is_refused() -> None:
    with pytest.raises(InputError, match=r"^the caption has 500 words, at most 100; shorten it$"):
        vlx.explain(captioner("state"), picture(), caption="dog " * 500)


def test_a_caption_longer_than_the_model_says_is_explained() -> None:
    why = vlx.explain(captioner("state"), picture(), caption="dog " * 100)
    assert len(why) == 100


def test_a_question_is_refused() -> None:
    refused: list[dict[str, Any]] = [{"question": "what?"}, {"answer": "red"}, {"instead_of": "red"}, {"prompt": "a"}]
    for options in refused:
        with pytest.raises(InputError, match=r"captioner.*caption="):
            vlx.explain(captioner("state"), picture(), **options)


# Geometry, colour, and how often the CNN runs


def test_the_cnn_runs_once_for_caption_and_explanation() -> None:
    task = captioner("attention")
    runs = task.cnn.seen

    def own(seed: int) -> int:
        shown = prepare(picture(seed))
        return sum(bool((batch == shown).all()) for batch in runs for batch in batch)

    vlx.explain(task, picture(1))
    assert own(1) == 1
    assert [len(batch) for batch in runs] == [1, 5]  # and the references, all at once
    vlx.explain(task, picture(2), beams=3, method="layercam")
    assert (own(2), len(runs)) == (1, 3)  # nothing was said: there is nothing to ask
    vlx.explain(task, picture(3), caption="a dog", target="prob")
    assert (own(3), len(runs)) == (1, 5)
    list(vlx.explain_many(task, [picture(seed) for seed in (4, 5, 6)], batch_size=2))
    assert [len(batch) for batch in runs[5:]] == [2, 10, 1, 5]


def test_pictures_of_ones_own_are_seen_once_until_the_weights_change() -> None:
    task, others = captioner("attention"), [picture(seed) for seed in (4, 5, 6)]
    runs = task.cnn.seen
    for seed in (1, 2):
        vlx.explain(task, picture(seed), references=others)
    assert [len(batch) for batch in runs] == [1, 3, 1]
    with torch.no_grad():
        next(task.cnn.parameters()).mul_(2)
    vlx.explain(task, picture(3), references=others)
    assert [len(batch) for batch in runs[3:]] == [1, 3]


def test_without_seen_there_are_no_references() -> None:
    task = captioner("attention")
    why = vlx.explain(task, picture(), seen=False)
    assert len(task.cnn.seen) == 1
    assert all(word.seen is None for word in why)


def test_the_blank_picture_is_the_colour_that_becomes_zero() -> None:
    task = captioner("state")
    assert task.blank == pytest.approx((0.5, 0.5, 0.5), abs=0.01)
    assert captioner("state", blank=(0.1, 0.2, 0.3)).blank == (0.1, 0.2, 0.3)


def test_pictures_go_to_the_networks_dtype() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        task = captioner("attention", dtype)
        assert task.place(prepare(picture())[None]).dtype == dtype
        why = vlx.explain(task, picture())
        assert task.cnn.seen[0].dtype == dtype
        assert why[0].weights.dtype == ("float64" if dtype == torch.float64 else "float32")


def test_features_tell_where_the_cells_are() -> None:
    grid = features_of(captioner("state"), 1).grid
    assert (grid.stride, grid.shape, grid.size) == ((4.0, 4.0), (4, 4), (16, 16))
    assert grid.offset == (0.0, 0.0)  # two convolutions of 3 pixels, stride 2, padding 1


# Notes


def test_a_caption_that_was_cut_says_so_once() -> None:
    task = captioner("attention", max_words=3, end=None)
    for end, cut in ((None, False), (1, True)):
        task.end = end
        with torch.no_grad():
            task.decoder.output.bias[1] = -1e4  # END is never said
        for beams in (1, 2):
            why = vlx.explain(task, picture(), beams=beams, seen=False)
            told = "cut after 3 words (max_words): the model had not ended its caption"
            assert len(why) == 3
            assert [note for note in why.notes if "cut after" in note] == ([told] if cut else [])
            assert not any("cut after" in note for word in why for note in word.notes)


def test_a_word_that_is_not_known_is_noted_at_that_word_and_once_for_all() -> None:
    for caption, place in (("a purple dog", 1), ("purple dog a", 0), ("a dog purple", 2)):
        why = vlx.explain(captioner("state"), picture(), caption=caption, seen=False)
        told: list[tuple[str, ...]] = [()] * 3
        told[place] = ("not in the vocabulary; scored as <unk>",)
        assert [tuple(note for note in word.notes if "vocabulary" in note) for word in why] == told
        assert [note for note in why.notes if "<unk>" in note] == ["scored as <unk>, not in the vocabulary: purple"]

"""Words on demand: which words have maps, which have none and say so, and that those that have one are as they were."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlx
from tests.answerers import QUESTION, vqa
from tests.fakes import captioner, picture
from tests.patchy import Patchy
from vlx.errors import InputError, WordNotFound
from vlx.explanation.records import Explanation
from vlx.language import is_content
from vlx.neuron_names import NeuronNames
from vlx.neuron_names.table import UnitName
from vlx.probes.mapped_words import LONG, NO_MAP, left_out, mapped
from vlx.probes.probe import Context, Probe
from vlx.probes.registry import register, unregister
from vlx.protocol.targets import Prediction, Term, Word
from vlx.protocol.task import Features

SHORT = "a red dog on grass"
CONTENT = ["red", "dog", "grass"]


class Thinking(Patchy):
    """A captioner that reasons: the first ``inside`` words of every caption."""

    inside = 2

    def predict(self, features: Features, queries: Any) -> list[Prediction]:
        made = super().predict(features, queries)
        return [
            replace(one, words=tuple(replace(w, reasoning=n < self.inside) for n, w in enumerate(one.words)))
            for one in made
        ]


def labels(why: Explanation, mapped: bool = True) -> list[str]:
    return [word.label for word in why if word.mapped == mapped]


def long_text(count: int) -> str:
    words = "a red dog on grass".split()
    return " ".join(words[n % len(words)] for n in range(count))


def words(text: str, inside: int = 0) -> list[Word]:
    return [Word(label, (Term(n, n),), -1.0, reasoning=n < inside) for n, label in enumerate(text.split())]


# Which words


def test_all_words_of_a_short_text_have_maps_and_content_words_alone_of_a_long_one() -> None:
    assert mapped(None, words(long_text(LONG)), True) == set(range(LONG))
    content = {n for n in range(LONG + 1) if n % 5 in (1, 2, 4)}
    assert mapped(None, words(long_text(LONG + 1)), True) == content
    assert mapped("content", words(SHORT), True) == {1, 2, 4}
    assert mapped("all", words(long_text(99)), True) == set(range(99))
    assert mapped(("red", -1, 0), words(SHORT), True) == {0, 1, 4}
    assert mapped(None, words(long_text(99)), False) == set(range(99)), "answers have maps, however many"


def test_what_is_reasoned_is_left_out_unless_it_is_asked_for() -> None:
    text = words(long_text(LONG + 5), inside=20)
    assert min(mapped(None, text, True)) == 21
    assert mapped("content", words(SHORT, 2), True) == {2, 4}
    assert mapped(None, words(SHORT, 2), True) == set(range(5)), "a short text has all"
    assert mapped((1,), text, True) == {1}
    assert mapped("all", text, True) == set(range(len(text)))


def test_what_is_left_out_is_said_with_why_and_how_to_ask() -> None:
    assert left_out(None, words(SHORT), 0) == ""
    told = left_out(None, words(long_text(60), 5), 40)
    assert told.startswith("40 of 60 words have no map: of a text of more than 30 words only content words outside of")
    assert told.endswith('for others give words="all" or words=[labels, positions]')
    assert "reasoning" not in left_out(None, words(long_text(60)), 40)
    assert "asked for are red, -1;" in left_out(("red", -1), words(SHORT), 3)
    assert len(left_out(tuple(range(200)), words(long_text(300)), 100)) < 300


# What comes out


def same(every: Explanation, some: Explanation) -> None:
    """Assert that words with a map, and all figures that need none, are as they are where all words have one."""
    for one, other in zip((*every, every.sentence), (*some, some.sentence), strict=True):
        assert (one.label, one.target, one.looks) == (other.label, other.target, other.looks)
        told = [(word.score, word.logprob, word.seen, word.looked) for word in (one, other)]
        assert told[0] == pytest.approx(told[1], abs=1e-6)
        assert one.seen_by == pytest.approx(other.seen_by, abs=1e-6)
        if other.mapped:
            np.testing.assert_allclose(one.signed, other.signed, atol=1e-5)
            np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)
            assert one.check is not None and other.check is not None
            assert one.check.verdict == other.check.verdict
            assert one.check.fall == pytest.approx(other.check.fall, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("target", ["logprob", "logit", "margin"])
@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "occlusion"])
def test_words_with_maps_are_as_they_are_among_all(method: str, target: str) -> None:
    asked: dict[str, Any] = {"caption": SHORT, "method": method, "target": target}
    every, some = (vlx.explain(captioner(), picture(), words=words, **asked) for words in ("all", "content"))
    assert (labels(every), labels(some)) == (SHORT.split(), CONTENT)
    same(every, some)


def test_maps_of_attention_are_those_of_their_words() -> None:
    every, some = (vlx.explain(Patchy(), picture(), method="gradattention", words=words) for words in ("all", [2, 0]))
    assert [word.mapped for word in some] == [True, False, True, False]
    same(every, some)


def test_a_word_without_a_map_has_no_zeros_in_its_place() -> None:
    why = vlx.explain(captioner(), picture(), caption=SHORT, words=["dog"], occlusion=True, guided=True)
    assert [word.label for word in why.unmapped] == ["a", "red", "on", "grass"]
    for word in why.unmapped:
        assert word.signed.shape == why["dog"].signed.shape and word.weights.shape == why["dog"].weights.shape
        assert all(np.isnan(values).all() for values in (word.signed, word.opposed, word.weights, word.heatmap))
        assert word.seen is not None and word.looked is not None and word.alternatives
        assert (word.check, word.against_check, word.occlusion, word.guided, word.because) == (None,) * 5
        assert NO_MAP in word.notes and "no map" in repr(word)
    dog = why["dog"]
    assert dog.check is not None and dog.occlusion is not None and dog.guided is not None
    assert why.sentence.mapped and np.isfinite(why.sentence.signed).all()
    assert why.provenance["words"] in why.notes and "4 of 5 words" in why.provenance["words"]


def test_positions_of_numpy_are_positions_and_words_that_stand_twice_are_both_meant() -> None:
    asked: Any = [np.int64(-2), "dog"]
    why = vlx.explain(captioner(), picture(), caption="a dog on a dog", words=asked, check=False)
    assert [n for n, word in enumerate(why) if word.mapped] == [1, 3, 4]


def test_nothing_is_said_where_nothing_is_left_out() -> None:
    usual = vlx.explain(captioner(), picture(), caption=SHORT)
    assert not usual.unmapped and "words" not in usual.provenance
    assert not any("no map" in note for note in usual.notes)


@pytest.mark.parametrize("asked", [["zebra"], [5], [-6], ["dog", "Dog"]])
def test_words_that_are_not_there_are_told_with_those_that_are(asked: Any) -> None:
    with pytest.raises(WordNotFound, match=r"is not there.*the text has 5 words: a, red, dog, on, grass") as told:
        vlx.explain(captioner(), picture(), caption=SHORT, words=asked)
    assert isinstance(told.value, InputError) and len(str(told.value)) < 300


@pytest.mark.parametrize("asked", ["dog", 3, [1.5], [True], [("dog", 0)], {"dog"}, ["x" * 500, 1.0]])
def test_what_names_no_words_is_refused_before_the_model_runs(asked: Any) -> None:
    task = captioner()
    with pytest.raises(InputError, match="words=") as told:
        vlx.explain(task, picture(), caption=SHORT, words=asked)
    assert len(str(told.value)) < 300 and not task.cnn.seen


def test_a_long_text_has_maps_of_content_words_and_all_when_asked() -> None:
    text = long_text(LONG + 1)
    usual, every = (vlx.explain(captioner(), picture(), caption=text, check=False, words=w) for w in (None, "all"))
    assert labels(usual) == [word for word in text.split() if is_content(word)]
    assert not every.unmapped
    assert all(word.seen is not None for word in usual)
    assert f"of a text of more than {LONG} words" in usual.provenance["words"]


def test_a_phrase_is_told_from_its_first_word_that_has_a_map() -> None:
    every, content, some = (
        vlx.explain(captioner(), picture(), caption="a red dog on a house", words=words, check=False)
        for words in ("all", "content", ["a", "dog", "house"])
    )
    assert [phrase.label for phrase in every.phrases] == ["a red dog", "a house"]
    assert [phrase.label for phrase in content.phrases] == ["red dog"], "of one word there is the word"
    np.testing.assert_allclose(content.phrases[0].signed, content["red"].signed + content["dog"].signed, rtol=1e-6)
    assert [phrase.label for phrase in some.phrases] == ["a house"], "a word within has no map"


def test_what_is_reasoned_is_marked_and_left_out() -> None:
    task = Thinking()
    why = vlx.explain(task, picture(), words="content")
    assert [word.reasoning for word in why] == [True, True, False, False]
    assert [word.mapped for word in why] == [False, False, *(is_content(word.label) for word in why.words[2:])]
    assert "outside of its reasoning" in why.provenance["words"]


def test_a_phrase_does_not_reach_out_of_the_reasoning(monkeypatch: pytest.MonkeyPatch) -> None:
    def phrases(inside: int) -> list[str]:
        task = captioner()
        predict = task.predict

        def reasoned(features: Features, queries: Any) -> list[Prediction]:
            return [
                replace(one, words=tuple(replace(w, reasoning=n < inside) for n, w in enumerate(one.words)))
                for one in predict(features, queries)
            ]

        monkeypatch.setattr(task, "predict", reasoned)
        why = vlx.explain(task, picture(), caption="a red dog on a house", check=False)
        assert [word.reasoning for word in why] == [n < inside for n in range(6)]
        return [phrase.label for phrase in why.phrases]

    assert phrases(0) == phrases(3) == phrases(6) == ["a red dog", "a house"]
    assert "a red dog" not in phrases(2) and "a house" in phrases(2)


def test_pictures_of_a_batch_are_as_each_alone() -> None:
    texts = [SHORT, "a blue house", "on a"]
    for asked in ({"words": "content"}, {"words": [-1]}):
        options: Any = {"caption": texts, **asked}
        batch = list(vlx.explain_many(captioner(), [picture(n) for n in range(3)], **options))
        for n, one in enumerate(batch):
            alone = vlx.explain(captioner(), picture(n), caption=texts[n], **asked)
            assert labels(one) == labels(alone)
            for a, b in zip(one, alone, strict=True):
                np.testing.assert_allclose(a.signed, b.signed, atol=1e-6)
                assert a.seen == pytest.approx(b.seen, abs=1e-5)
                assert getattr(a.check, "verdict", None) == getattr(b.check, "verdict", None)
    kept = list(
        vlx.explain_many(captioner(), [picture(1)] * 2, caption=["a dog", "a house"], words=["dog"], errors="keep")
    )
    assert isinstance(kept[0], Explanation) and isinstance(kept[1], vlx.Failure), "it costs itself alone"


def test_no_word_may_be_asked_for() -> None:
    why = vlx.explain(captioner(), picture(), caption=SHORT, words=[])
    assert len(why.unmapped) == 5 and why.sentence.mapped and "asked for are none" in why.provenance["words"]


def test_answers_have_maps_and_reasons_whatever_words_they_are() -> None:
    for asked in (None, "content", "all"):
        why = vlx.explain(vqa(), picture(), question=QUESTION, words=asked)
        assert not why.unmapped and not any(other.unmapped for other in why.others)
    first = vlx.explain(vqa(), picture(), question=QUESTION)[0].label
    assert vlx.explain(vqa(), picture(), question=QUESTION, words=[first])[0].mapped
    none = vlx.explain(vqa(), picture(), question=QUESTION, words=[])
    assert not none[0].mapped and not none.sentence.mapped and none.others[0][0].mapped


def test_reasons_are_of_content_words_by_default_and_of_all_that_are_named() -> None:
    names = NeuronNames(tuple((UnitName(n, f"c{n}", "object", 0.5, 0.5),) for n in range(5)), {"layer": "cnn"})

    def told(**asked: Any) -> list[str]:
        why = vlx.explain(captioner(), picture(), caption=SHORT, names=names, check=False, **asked)
        return [word.label for word in why if word.because is not None]

    assert (told(), told(words="content"), told(words="all")) == (CONTENT, CONTENT, SHORT.split())
    assert told(words=["on", 0]) == ["a", "on"]


def test_a_probe_of_ones_own_is_asked_of_what_has_a_map_unless_it_asks_for_every_word() -> None:
    def peaks(context: Context) -> list[float]:
        assert not np.isnan(context.maps).any()
        return [float(one.signed.max()) for one in context.rows]

    def known(context: Context) -> list[float]:
        return [one.logprob for one in context.rows]

    register(Probe("peaks", lambda context: True, peaks))
    register(Probe("known", lambda context: True, known, every=True))
    try:
        why = vlx.explain(captioner(), picture(), caption=SHORT, words=["dog"])
    finally:
        unregister("peaks")
        unregister("known")
    assert [set(word.measured) for word in why] == [{"known"}] * 2 + [{"peaks", "known"}] + [{"known"}] * 2
    assert why["dog"].measured["peaks"] == pytest.approx(float(why["dog"].signed.max()))


# What is kept and drawn of it


def test_files_say_which_words_have_no_map_and_why(tmp_path: Path) -> None:
    why = vlx.explain(Thinking(), picture(), words=[2, 3])
    for ending in ("h5", "json"):
        again = Explanation.load(why.save(tmp_path / f"why.{ending}"))
        assert [(one.mapped, one.reasoning) for one in again] == [(n > 1, n < 2) for n in range(4)]
        assert all(np.isnan(again[0].signed).ravel()) and again[0].seen == why[0].seen
        assert again.provenance["words"] == why.provenance["words"]
        assert again[0].notes == why[0].notes and NO_MAP in why[0].notes
    rows = list(csv.DictReader(io.StringIO(why.save(tmp_path / "why.csv").read_text(encoding="utf-8"))))
    assert [bool(row["peak_left"] or row["check"]) for row in rows] == [False, False, True, True]
    assert all(row["seen"] for row in rows)
    plain = json.loads(vlx.explain(Patchy(), picture()).save(tmp_path / "plain.json").read_text(encoding="utf-8"))
    assert not {"mapped", "reasoning"} & set(plain["words"][0]), "older files and these are alike"


def test_nothing_is_drawn_where_there_is_no_map(tmp_path: Path) -> None:
    why = vlx.explain(captioner(), picture(), caption=SHORT, words=["dog", "red"])
    assert sum("\n" in axis.get_title() for axis in why.plot().axes) == 3, "the picture, and two maps"
    assert len(why.plot(words=["dog"]).axes) < len(why.plot().axes)
    for asked in (["on"], [0], [("a", 0)]):
        with pytest.raises(InputError, match="has no map"):
            why.plot(words=asked)
    with pytest.raises(InputError, match="'on' has no map: none was asked for"):
        vlx.overlay(picture(), why["on"])
    for ending in ("png", "svg", "md", "html"):
        assert why.save(tmp_path / f"why.{ending}").stat().st_size > 500
    none = vlx.explain(captioner(), picture(), caption=SHORT, words=[])
    for ending in ("png", "md", "html"):
        none.save(tmp_path / f"none.{ending}")


def test_maps_that_are_not_there_are_not_compared() -> None:
    a = vlx.explain(captioner(), picture(), caption=SHORT, words=["dog"])
    from vlx.comparing.words import Side, pairs

    there = {pair.label: pair.maps for pair in pairs(a, vlx.explain(captioner(), picture(), caption=SHORT))}
    assert [label for label, maps in there.items() if maps is not None] == ["dog"]
    side = Side.of(a["on"], 3)
    assert not side.mapped and not Side.from_dict(side.to_dict()).mapped
    older = {name: value for name, value in Side.of(a["dog"], 2).to_dict().items() if name != "mapped"}
    assert Side.from_dict(older).mapped, "a manifest that was written before"

"""What is asked about a prediction the prediction says: facts of it, not the kind of its task."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import vlx
from tests.answerers import QUESTION, vqa
from tests.fakes import captioner, picture
from tests.heads import classifier
from tests.heads import picture as plain
from tests.patchy import Patchy
from vlx.probes.asked import questions
from vlx.protocol.targets import Alternative, Prediction, Query, Term, Word, stated, usual
from vlx.protocol.task import Features

ALL = ("whole", "rivals", "question", "pieces")


class Chat(Patchy):
    """A model that answers a question with a sentence: of no kind that vlx knows."""

    kind = "chat"

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        assert all(query.question == "what is there?" and query.caption is None for query in queries)
        made = super().predict(features, queries)
        return [replace(one, whole=True, rivals=False, question=True, pieces=True) for one in made]


def test_words_that_answer_a_question_need_no_kind() -> None:
    why = vlx.explain(Chat(), picture(), question="what is there?", looks=True)
    assert len(why) == 4 and why.text == " ".join(word.label for word in why)
    assert (why.sentence.label, why.sentence.target, why.others) == (why.text, "logprob", ())
    assert why.sentence.logprob == pytest.approx(sum(word.logprob for word in why))
    assert (why.question, why.provenance["question"], why.task) == ("what is there?", "what is there?", "chat")
    assert all(len(look.said) == 1 and look.said[0] for look in why[0].looks[:5])
    assert why.sentence.looks[0].said[0].count(" ") == 3  # a text, where a word has a word


def word(label: str, *steps: int) -> Word:
    others = (Alternative(label, steps[0], -0.5), Alternative("other", 7, -1.5))
    return Word(label, tuple(Term(step, step) for step in steps), -0.5, others)


@pytest.mark.parametrize(
    ("kind", "roles"),
    [
        ("captioning", ["word", "word", "whole"]),
        ("vqa", ["word", "word", "rival"]),
        ("classification", ["word", "word", "rival"]),
        ("a kind of one's own", ["word", "word"]),
    ],
)
def test_what_an_adapter_leaves_open_is_as_is_usual_for_its_kind(kind: str, roles: list[str]) -> None:
    task, said = Patchy(), Prediction("two words", (word("two", 0), word("words", 1)), (0, 1))
    task.kind = kind
    assert [one.role for one in questions(task, said, "logprob")] == roles
    told = stated(said, kind)
    assert [getattr(told, fact) for fact in ALL] == [usual(kind, fact) for fact in ALL]
    assert stated(told, "vqa") is told  # what was said stays


def test_facts_do_not_exclude_each_other() -> None:
    said = Prediction("two words", (word("two", 0), word("words", 1)), (0, 1), whole=True, rivals=True)
    asked = questions(Patchy(), said, "logprob")
    assert [one.role for one in asked] == ["word", "word", "rival", "whole"]
    assert [one.told for one in asked] == [-0.5, -0.5, -1.5, -1.0]


@pytest.mark.parametrize(
    ("task", "query"),
    [(captioner(), Query()), (vqa(), Query(question=QUESTION)), (classifier(3), Query())],
    ids=["captioner", "vqa", "classifier"],
)
def test_our_adapters_leave_nothing_open(task: Any, query: Query) -> None:
    features = task.features(task.place(task.prepare(picture())[None]))
    (said,) = task.predict(features, [query])
    assert None not in [getattr(said, fact) for fact in ALL]
    assert said == stated(replace(said, **dict.fromkeys(ALL)), task.kind)


def test_a_class_has_its_rivals_beside_it_and_its_own_map_is_the_same() -> None:
    task = classifier(8, labels=[f"class {n}" for n in range(8)])
    why = vlx.explain(task, plain(), method="hirescam")
    ranked = sorted(why[0].alternatives, key=lambda other: -other[1])
    assert [other.text for other in why.others] == [label for label, _ in ranked[1:6]]
    for one in (why, *why.others):
        alone = vlx.explain(task, plain(), answer=one.text, method="hirescam")[0]
        assert one[0].signed.any() and np.allclose(one[0].signed, alone.signed, atol=1e-7)
        assert np.allclose(one[0].weights, alone.weights, atol=1e-7)
        assert one[0].logprob == pytest.approx(alone.logprob, abs=1e-6)
        assert one[0].seen == pytest.approx(alone.seen, abs=1e-5)
        assert one[0].check is not None and alone.check is not None
        assert one[0].check.fall == pytest.approx(alone.check.fall, abs=1e-5, nan_ok=True)
    assert why.others[0].question is None and why.others[0].forced
    contrast = vlx.explain(task, plain(), answer="class 1", instead_of="class 2")
    assert [other.text for other in contrast.others] == ["class 1", "class 2"]
    assert contrast.others[0][0].score - contrast.others[1][0].score == pytest.approx(contrast[0].score, abs=1e-5)

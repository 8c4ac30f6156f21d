"""The logit lens: the picture's positions read out by the model's own head, and told as what it is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vlx
from tests.fakes import captioner, picture
from vlx.errors import InputError
from vlx.explanation.records import Explanation
from vlx.methods import lens, registry
from vlx.methods.method import Site
from vlx.protocol.powers import powers_of
from vlx.protocol.readout import ReadOut
from vlx.protocol.targets import Query, Target, Term, word_target
from vlx.protocol.task import Task
from vlx.report import wording

pytest.importorskip("transformers")
from vlx.tasks.huggingface import tiny
from vlx.tasks.huggingface.loading import load, wrap

QUESTION = "what color is the house?"


@pytest.fixture(scope="module")
def task() -> Any:
    model, processor = tiny.build("llava")
    return wrap(model.double(), processor, name="tiny")


def shown() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (48, 48, 3), np.uint8))


def targets_of(task: Any, rows: int = 1) -> tuple[Any, list[Target]]:
    features = task.features(torch.stack([task.prepare(shown())] * rows).double())
    prediction = task.predict(features.rows([0]), [Query(question=QUESTION)])[0]
    return features, [word_target(prediction, n, 0, "logit") for n in range(len(prediction.words))]


def by_hand(task: Any, target: Target) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Hidden states × the head's weights, [L, V], of the whole text as the stock model reads it, and its ids."""
    given = task.given(shown(), Query(question=QUESTION))
    asked = given["input_ids"].shape[1]
    answer = list(target.tokens[asked:])[1:] if target.tokens[asked : asked + 1] == (-1,) else target.tokens[asked:]
    ids = torch.cat([given["input_ids"], torch.tensor([[*answer]], dtype=torch.long)], 1)
    model = task.model
    pixels = given["pixel_values"].double()
    with torch.no_grad():
        hidden = model.model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels)[0]
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels).logits[0]
    return hidden[0] @ model.lm_head.weight.T, logits, ids[0].tolist()


def test_a_map_is_the_hidden_states_times_the_words_row_of_the_head(task: Any) -> None:
    features, targets = targets_of(task)
    made = task.read_out(features.A, targets)
    by_weights, logits, ids = by_hand(task, targets[-1])
    marks = [n for n, token in enumerate(ids) if token == task.model.config.image_token_id]
    torch.testing.assert_close(by_weights, logits, rtol=0, atol=1e-9)
    for target, (one, *_) in zip(targets, made, strict=True):
        own = by_weights[marks, target.terms[0].token].view(features.A.shape[2:])
        torch.testing.assert_close(one.cells, own, rtol=0, atol=1e-9)
        wrong = by_weights[[place + 1 for place in marks], target.terms[0].token].view_as(own)
        assert not torch.allclose(one.cells, wrong, atol=1e-3), "the next position reads otherwise"
        unnormed = by_weights[marks, (target.terms[0].token + 1) % by_weights.shape[1]].view_as(own)
        assert not torch.allclose(one.cells, unnormed, atol=1e-3), "another word reads otherwise"


@pytest.mark.parametrize("family", ["paligemma", "gemma3", "qwen3_vl", "llava_next", "aya_vision"])
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PaliGemma's processor
def test_in_every_family_it_is_what_the_stock_model_gives(family: str, tiny_folder: Callable[[str], Path]) -> None:
    """Prefixes, two-way attention, several streams, crops with line breaks, and marks that the processor puts in."""
    task: Any = load(tiny_folder(family))
    image = Image.fromarray(np.random.default_rng(3).integers(0, 255, (60, 100, 3), np.uint8))
    query = Query(question=QUESTION)
    features = task.features(task.place(task.prepare(image)[None]))
    prediction = task.predict(features, [query])[0]
    made = task.read_out(features.A, [word_target(prediction, 0, 0, "logit")])[0]
    given = task.given(image, query)
    with torch.no_grad():
        logits = task.model(**given).logits[0]
    marks = given["input_ids"][0] == task.model.config.image_token_id
    assert made[0].cells.shape == features.A.shape[2:]
    for one, term in zip(made, prediction.words[0].terms, strict=True):
        torch.testing.assert_close(one.cells.flatten(), logits[marks, term.token], rtol=0, atol=1e-4)
    why = vlx.explain(task, image, question=QUESTION, method="lens", seen=False, check=False)
    assert why[0].signed.shape == features.grid.shape


def test_what_stands_between_is_read_where_it_is_said(task: Any) -> None:
    """All but the word's own token: what else says it is no context."""
    features, targets = targets_of(task)
    repeated = 0
    for target, (one, *_) in zip(targets, task.read_out(features.A, targets), strict=True):
        by_weights, _, ids = by_hand(task, target)
        marks = [n for n, token in enumerate(ids) if token == task.model.config.image_token_id]
        token, place = target.terms[0].token, target.terms[0].step - 1  # a mark stands between question and answer
        assert ids[place] == token
        between = range(marks[-1] + 1, place)
        behind = [n for n in between if ids[n] != token]
        repeated += len(between) - len(behind)
        torch.testing.assert_close(one.relevance, by_weights[[n - 1 for n in behind], token], rtol=0, atol=1e-9)
        context = by_weights[marks][:, [ids[n] for n in behind]].T.reshape(one.context.shape)
        torch.testing.assert_close(one.context, context, rtol=0, atol=1e-9)
    assert repeated, "the question holds some of the words, too"


def test_each_row_of_a_batch_is_read_by_itself(task: Any) -> None:
    features, targets = targets_of(task, rows=2)
    other = features.A.clone()
    other[1] = other[1].flip(-1)
    both = [replace(targets[0], row=row) for row in (1, 0)]
    read = [own[0].cells for own in task.read_out(other, both)]
    torch.testing.assert_close(read[1], task.read_out(other[:1], targets[:1])[0][0].cells, rtol=0, atol=1e-9)
    assert not torch.allclose(read[0], read[1], atol=1e-3)


def test_the_model_s_own_soft_cap_is_in_it(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ``forward`` does behind its head is done here, too: the head is not called by hand."""
    features, targets = targets_of(task)
    before = task.read_out(features.A, targets[:1])[0][0]
    forward = type(task.model).forward

    def capped(self: Any, *given: Any, **named: Any) -> Any:
        output = forward(self, *given, **named)
        output.logits = 3 * torch.tanh(output.logits / 3)
        return output

    monkeypatch.setattr(type(task.model), "forward", capped)
    after = task.read_out(features.A, targets[:1])[0][0]
    torch.testing.assert_close(after.cells, 3 * torch.tanh(before.cells / 3), rtol=0, atol=1e-9)
    torch.testing.assert_close(after.relevance, 3 * torch.tanh(before.relevance / 3), rtol=0, atol=1e-9)


class Reading:
    """A task of one picture of two cells and three words, whose readout is told."""

    name, layer, kind = "reading", "A", "captioning"

    def __init__(self, cells: Sequence[float], context: Sequence[Sequence[float]], relevance: Sequence[float]) -> None:
        self.one = ReadOut(
            torch.tensor([cells]), torch.tensor(context).view(len(context), 1, -1), torch.tensor(relevance)
        )

    def scores(self, A: torch.Tensor, targets: Sequence[Target], rest: Any = None) -> torch.Tensor:
        return A.sum((1, 2, 3))[[target.row for target in targets]]

    def read_out(self, A: torch.Tensor, targets: Sequence[Target], rest: Any = None) -> list[list[ReadOut]]:
        return [[self.one] * len(target.terms) for target in targets]


def mapped(name: str, task: Any, *terms: Term) -> list[float]:
    features = vlx.load("scenes/captioner").features(torch.zeros(1, 3, 16, 16))
    site = Site(replace(features, maps={"A": torch.ones(1, 2, 1, 2)}, layer="A", rest=None))
    made = registry.choose(name).attribute(task, site, [Target(0, "word", terms or (Term(3, 7),))])
    assert made.weights.isnan().all()
    assert made.depends.all()
    return [round(value, 6) for value in made.signed.flatten().tolist()]


def test_the_trace_of_the_words_before_is_taken_off() -> None:
    task = Reading([3.0, 5.0], [[2.0, 0.0], [0.0, -4.0]], [1.0, -9.0])
    assert mapped("lens", task) == [3.0, 5.0]
    assert mapped("lens-context", task) == [0.0, 5.0], "C = (2, 0) fits L by 1.5; what is below 0 counts nothing"
    mixed = Reading([4.0, 2.0], [[2.0, 2.0], [6.0, -1.0]], [3.0, 1.0])
    context = np.array([3 / 4 * 2 + 1 / 4 * 6, 3 / 4 * 2])
    scale = context @ [4, 2] / (context @ context)
    assert mapped("lens-context", mixed) == pytest.approx(np.maximum([4, 2] - scale * context, 0), abs=1e-6)
    assert mapped("lens-context", Reading([4.0, -2.0], [[9.0, 9.0]], [-1.0])) == [4.0, 0.0], "no word is relevant"


def test_a_contrast_is_the_difference_and_a_word_of_pieces_the_sum() -> None:
    task = Reading([3.0, 5.0], [[0.0, 0.0]], [0.0])
    assert mapped("lens", task, Term(3, 7), Term(3, 8, -0.5)) == [1.5, 2.5]
    assert mapped("lens", task, Term(3, 7), Term(4, 8)) == [6.0, 10.0]


@pytest.mark.parametrize("method", ["lens", "Logit Lens", "lens-context"])
def test_it_is_told_as_a_readout_everywhere(task: Any, method: str, tmp_path: Path) -> None:
    why = vlx.explain(task, shown(), question=QUESTION, method=method, seen=False, check=False)
    told = f"{lens.READOUT}: {lens.CAUTION}"
    assert f"{why.method} is {told}" in why.notes
    assert f"A{told[1:]}." in wording.meaning(why[0], "for")
    assert "most speak for “the”" in wording.meaning(why[0], "for")
    assert "raise" not in wording.maps_are(why)
    assert not [note for note in (*why.notes, *why[0].notes) if "comes through" in note or "does not depend" in note]
    for ending in ("html", "md", "json"):
        assert lens.READOUT in why.save(tmp_path / f"why.{ending}").read_text(encoding="utf-8").lower()
    again = Explanation.load(why.save(tmp_path / "why.h5"))
    assert "not an attribution" in wording.illustration(again)


def test_a_model_without_words_at_the_picture_is_refused_and_none_is_compared(task: Any) -> None:
    with pytest.raises(InputError, match="take gradcam"):
        vlx.explain(captioner("state"), picture(), method="lens")
    assert not {"lens", "lens-context"} & {method.name for method in registry.compared(task)}
    reads_out = powers_of(task).reads_out
    assert reads_out is task


def test_it_costs_one_run_of_the_text_and_no_gradient(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets = targets_of(task)
    site, own = Site.of(task, features, targets)
    runs: list[bool] = []
    forward = type(task.model).forward

    def counted(self: Any, *given: Any, **named: Any) -> Any:
        runs.append(torch.is_grad_enabled())
        return forward(self, *given, **named)

    monkeypatch.setattr(type(task.model), "forward", counted)
    named: Task = task
    registry.choose("lens").attributed(named, site, own)
    assert runs == [False, False], "the scores, and the readout of all words"

"""Maps from attention: the formulas against slow ones, gradients against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import vlx
from vlx import neuron_names, scenes
from vlx.errors import InputError
from vlx.methods import attention, engine, hiding, registry, subwords
from vlx.methods.attention import gradient_attention, gradient_rollout
from vlx.methods.engine import Attribution
from vlx.probes.units_off import log_odds
from vlx.protocol.targets import Target, Term


def random_layers(n: int = 3, heads: int = 2, queries: int = 4, keys: int = 4) -> tuple[list[Tensor], list[Tensor]]:
    draw = torch.Generator().manual_seed(0)
    shape = (n, heads, queries, keys)
    layers = [torch.randn(shape, generator=draw, dtype=torch.double).softmax(-1) for _ in range(3)]
    return layers, [torch.randn(shape, generator=draw, dtype=torch.double) for _ in range(3)]


def test_gradient_attention_sums_layers_heads_and_the_words_own_queries() -> None:
    layers, gradients = random_layers(keys=5)
    queries = torch.tensor([[0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]], dtype=torch.double)
    found = gradient_attention(layers, gradients, queries)
    for n in range(3):
        for key in range(5):
            wanted = sum(
                float(queries[n, q] * p[n, head, q, key]) * max(float(g[n, head, q, key]), 0.0)
                for p, g in zip(layers, gradients, strict=True)
                for head in range(2)
                for q in range(4)
            )
            assert float(found[n, key]) == pytest.approx(wanted, rel=1e-12)


def test_rollout_follows_the_rows_of_the_whole_matrix() -> None:
    layers, gradients = random_layers()
    queries = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0]], dtype=torch.double)
    found = gradient_rollout(layers, gradients, queries)
    for n in range(3):
        relevance = torch.eye(4, dtype=torch.double)
        for p, g in zip(layers, gradients, strict=True):
            relevance = relevance + (p[n] * g[n]).clamp(min=0).mean(0) @ relevance
        wanted = relevance[queries[n].bool()].mean(0)
        assert torch.allclose(found[n], wanted, rtol=1e-12)


def test_a_task_without_attention_is_refused() -> None:
    class Blind:
        name = "blind"

    method = attention.ATTENTION_METHODS["gradattention"]
    with pytest.raises(InputError, match="blind shows no attention, which gradattention needs; take gradcam"):
        attention.attribute(Blind(), torch.ones(1, 1, 2, 2), [Target(0, "a", (Term(0, 0),))], method)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Grad-Attention", "gradient x attention", "gradattention"])
def test_attention_is_found_however_it_is_spelled(name: str) -> None:
    assert registry.choose(name).name == "gradattention"


def test_an_unknown_method_is_answered_with_those_there_are() -> None:
    with pytest.raises(InputError, match="no method 'rolout'; close: gradrollout"):
        registry.choose("rolout")
    assert registry.choose("rollout").name == "gradrollout"
    assert registry.choose("occlusion") is hiding.OCCLUSION


# Words of several tokens

MAPS = torch.tensor([[[0.0, 2.0], [1.0, -5.0]], [[1.0, 0.0], [6.0, -1.0]], [[9.0, 9.0], [9.0, 9.0]]])


def maps_of(asked: list[Target]) -> Attribution:
    """Token t has the t-th map, score t and importance weights t."""
    tokens = [sum(term.token for term in target.terms) for target in asked]
    signed = torch.stack([sum(MAPS[term.token] for term in target.terms) for target in asked])  # type: ignore[misc]
    scores = torch.tensor(tokens, dtype=torch.float)
    return Attribution(scores, scores[:, None].expand(-1, 3), signed, -signed, scores > -1)


def words() -> list[Target]:
    both = Target(0, "greenish", (Term(0, 0), Term(1, 1)))
    return [both, Target(0, "star", (Term(2, 2),)), replace(both, label="a greenish star")]


def test_a_words_map_is_the_highest_of_its_sub_words_and_its_score_their_sum() -> None:
    found = subwords.attribute(words(), 2, "max", lambda asked: maps_of(list(asked)))
    assert found.signed[0].tolist() == [[1, 2], [6, -1]]
    assert found.opposed[0].tolist() == [[0, 0], [-1, 5]]
    assert found.signed[1].tolist() == MAPS[2].tolist()
    assert found.signed[2].tolist() == (MAPS[0] + MAPS[1]).tolist(), "a sentence is one score"
    assert found.scores.tolist() == [1, 2, 1]
    assert found.weights.tolist() == [[1] * 3, [2] * 3, [1] * 3]


def test_the_first_sub_word_counts_when_it_is_grounded() -> None:
    rule = "first"
    found = subwords.attribute(words(), 2, rule, lambda asked: maps_of(list(asked)))
    assert found.signed[0].tolist() == MAPS[1].tolist(), "2 is less than half of 6"
    swapped = [replace(words()[0], terms=(Term(0, 1), Term(1, 0)))]
    assert (
        subwords.attribute(swapped, 1, rule, lambda asked: maps_of(list(asked))).signed[0].tolist() == MAPS[1].tolist()
    )


def test_sums_and_differences_stay_one_score() -> None:
    whole = subwords.attribute(words(), 2, "sum", lambda asked: maps_of(list(asked)))
    assert np.allclose(whole.signed[0], MAPS[0] + MAPS[1])
    margin = [Target(0, "a", (Term(0, 1), Term(0, 0, -1.0)), "margin")]
    asked: list[int] = []
    subwords.attribute(margin, 1, "max", lambda targets: asked.append(len(targets)) or maps_of(list(targets)))  # type: ignore[func-returns-value]
    assert asked == [1]
    with pytest.raises(InputError, match="subword_map='mean'; known are max, first, sum"):
        subwords.checked("mean")


def test_targets_of_different_rows_share_a_backward() -> None:
    assert engine.slots_of([0, 1, 0, 2, 1, 0]) == [0, 0, 1, 0, 1, 2]


def test_reasons_of_a_word_of_two_tokens_are_tried_on_its_log_odds() -> None:
    pytest.importorskip("transformers")
    from vlx.tasks.captioning.blip import adapter
    from vlx.tasks.huggingface import tiny

    task = adapter(*tiny.build("blip-captioning"), name="blip")
    table = neuron_names.dissect(task, neuron_names.open_data("scenes:6"), quantile=(0.05,))
    why = vlx.explain(task, scenes.draw(10_000_021, size=64).image, caption="a greenish house", names=table)
    because = why["greenish"].because
    assert because is not None
    assert because.check is not None, "nothing was named"
    assert not because.check.contrast
    assert because.check.before == pytest.approx(float(log_odds(np.array(why["greenish"].logprob))), rel=1e-4)

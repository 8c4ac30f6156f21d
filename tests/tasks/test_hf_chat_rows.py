"""gradattention of chat models: each word's map is the one that the whole graph gives at the word's own rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

hf = pytest.importorskip("transformers")

import vlx  # noqa: E402
from tests.hf import picture  # noqa: E402
from vlx.errors import InputError  # noqa: E402
from vlx.methods import attention  # noqa: E402
from vlx.methods.attention import ATTENTION_METHODS  # noqa: E402
from vlx.protocol.targets import Query, Target, sentence_target, word_target  # noqa: E402
from vlx.tasks.huggingface.borrowed import configs_of  # noqa: E402
from vlx.tasks.huggingface.loading import wrap  # noqa: E402
from vlx.tasks.huggingface.tiny import CHATS, build  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma's labels

QUESTION = "what color is the house?"
ROWS = ATTENTION_METHODS["gradattention"]
Chats = Callable[..., Any]


@pytest.fixture(scope="module")
def chats() -> Chats:
    """A chat task of a tiny model of a family, in a model of its own, by dtype."""
    read = cache(build)

    def made(family: str, dtype: torch.dtype = torch.double) -> Any:
        model, processor = read(family)
        return wrap(deepcopy(model).to(dtype), processor, name=family)

    return made


def asked(task: Any, **query: Any) -> tuple[Any, list[Target]]:
    """The features of a picture; its words, the text as a whole, and words against another token."""
    features = task.features(task.place(task.prepare(picture(2, 90, 60))[None]))
    said = task.predict(features, [Query(question=QUESTION, **query)])[0]
    words = [word_target(said, n, 0, "logprob") for n in range(len(said.words))]
    margins = [word_target(said, n, 0, "margin") for n in range(len(said.words))]
    return features, [*words, sentence_target(said, 0), *margins]


# By the whole graph


@contextmanager
def plainly(task: Any) -> Iterator[list[Tensor]]:
    """Attention in the open: the probabilities of every layer of the text, with a graph, not rounded."""
    kept: list[Tensor] = []

    def plain(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **_: Any
    ) -> tuple[Tensor, None]:
        groups = query.shape[1] // key.shape[1]
        scores = query @ key.repeat_interleave(groups, 1).mT * scaling
        probabilities = (scores if mask is None else scores + mask).softmax(-1)
        kept.append(probabilities)
        return (probabilities @ value.repeat_interleave(groups, 1)).transpose(1, 2), None

    from transformers.masking_utils import eager_mask

    hf.AttentionInterface.register("in_the_open", plain)
    hf.AttentionMaskInterface.register("in_the_open", eager_mask)
    before = [(config, config._attn_implementation) for config in configs_of(task.model)]
    for config, _ in before:
        config._attn_implementation = "in_the_open"
    yield kept
    for config, name in before:
        config._attn_implementation = name


def whole(task: Any, A: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """The map of a target and of its negated score, [h, w]: of the rows that it reads, one after the other."""
    total = A.new_zeros(2, *A.shape[2:])
    places: dict[Any, list[Any]] = {}
    for term in target.terms:
        places.setdefault(task._placed(target, term.step), []).append(term)
    for (run, place), terms in places.items():
        with plainly(task) as layers:
            inputs = task._inputs(A.detach().clone().requires_grad_(), [run._replace(answer=run.answer[:place])])
            logits = task.model(**inputs, use_cache=False).logits[0, -1]
        said = logits if target.kind == "margin" else logits.log_softmax(-1)
        score = sum(term.weight * said[term.token] for term in terms)
        cells = (inputs["input_ids"][0] == task._mark).nonzero()[:, 0].view(A.shape[2:])
        for layer, gradient in zip(layers, torch.autograd.grad(score, layers), strict=True):
            for sign, part in zip((1, -1), total, strict=True):
                part += (layer[0, :, -1] * (sign * gradient[0, :, -1]).clamp(min=0)).sum(0).detach()[cells]
    return total[0], total[1]


def attributed(task: Any, features: Any, targets: Sequence[Target]) -> Any:
    return attention.attribute(task, features.A, targets, ROWS, features.rest)


@pytest.mark.parametrize("family", ["llava", *CHATS])
def test_maps_are_those_of_the_whole_graph_at_the_words_own_rows(chats: Chats, family: str) -> None:
    task = chats(family)
    features, targets = asked(task, answer="the greenish house is blue")
    assert max(len(target.terms) for target in targets[:5]) > 1, "no word has several tokens"
    found = attributed(task, features, targets)
    for n, target in enumerate(targets):
        signed, opposed = whole(task, features.A, target)
        assert torch.allclose(found.signed[n], signed, rtol=1e-5, atol=1e-7 * float(signed.max()))
        assert torch.allclose(found.opposed[n], opposed, rtol=1e-5, atol=1e-7 * float(opposed.max()))
    assert torch.allclose(found.scores, task.scores(features.A, targets).detach(), atol=1e-10)
    assert found.depends.all()


def test_two_pictures_and_two_answers_are_as_alone(chats: Chats) -> None:
    task = chats("llava")
    both = task.features(torch.cat([task.place(task.prepare(picture(seed))[None]) for seed in (2, 3)]))
    said = [
        task.predict(both.rows([row]), [Query(question=QUESTION, answer=text)])[0]
        for row, text in enumerate(("the house is blue", "a small greenish boat"))
    ]
    targets = [word_target(said[row], n, row, "logprob") for n in range(4) for row in (1, 0)]
    found = attributed(task, both, targets)
    for n, target in enumerate(targets):
        alone = attributed(task, both, [target])
        assert torch.allclose(found.signed[n], alone.signed[0], rtol=1e-10)
        assert torch.allclose(found.scores[n], alone.scores[0], rtol=1e-10)


def test_words_in_half_precision_have_the_maps_of_single(chats: Chats) -> None:
    single, half = (chats("qwen2_5_vl", dtype) for dtype in (torch.float, torch.bfloat16))
    features, targets = asked(single, answer="the house is blue")
    wanted = attributed(single, features, targets).signed.flatten(1)
    there = half.features(half.place(half.prepare(picture(2, 90, 60))[None]))
    found = attributed(half, there, targets)
    assert found.signed.dtype == torch.float
    assert float(torch.cosine_similarity(found.signed.flatten(1), wanted).min()) > 0.98


# What a newcomer sees


def test_the_default_method_goes_row_by_row(chats: Chats) -> None:
    why = vlx.explain(chats("qwen2_5_vl", torch.float), picture(2, 90, 60), question=QUESTION)
    assert why.method == "gradattention"
    for word in why:
        assert word.against_method == "gradattention"
        assert word.signed.min() >= 0
        assert word.opposed.max() > 0
        assert not any("gradient comes through" in note for note in word.notes)


def test_a_roll_out_needs_the_attention_of_all_tokens(chats: Chats) -> None:
    with pytest.raises(InputError, match=r"gradrollout needs the attention of all tokens; .* shows that of its words"):
        vlx.explain(chats("qwen2_5_vl", torch.float), picture(2), question=QUESTION, method="gradrollout")


def test_no_graph_goes_back_to_the_picture(chats: Chats) -> None:
    task = chats("qwen2_5_vl", torch.float)
    features, targets = asked(task)
    leaf = features.A.clone().requires_grad_()
    seen = task.attend(leaf, targets)
    assert torch.autograd.grad(seen.scores.sum(), leaf, allow_unused=True)[0] is None

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import vlx
from tests.fakes import (
    VOCABULARY,
    TinyCnn,
    captioner,
    decoder,
    features_of,
    picture,
    prepare,
)
from vlx.errors import InputError, ModelError
from vlx.protocol.targets import Target, Term
from vlx.tasks.captioning import CnnLstmCaptioner

# Models that cannot be explained as they are


@pytest.mark.parametrize("part", ["cnn", "decoder"])
def test_training_mode_is_refused(part: str) -> None:
    for whole in (True, False):
        task = captioner("attention")
        A = features_of(task, 1).A
        module = getattr(task, part)
        (module if whole else list(module.modules())[-1]).train()
        message = rf"^tiny: the {part} is in training mode; call {part}\.eval\(\) first$"
        runs = len(task.cnn.seen)
        for images in (picture(), picture(0, 20, 20)):
            with pytest.raises(ModelError, match=message):
                vlx.explain(task, images)
        assert len(task.cnn.seen) == runs  # batch statistics would have changed
        with pytest.raises(ModelError, match=message):
            task.scores(A, [Target(0, "", (Term(0, 3),), "logprob", (3,))])


def test_a_bound_method_as_cnn_is_watched_like_its_module() -> None:
    torch.manual_seed(0)
    cnn = TinyCnn().eval()
    task = CnnLstmCaptioner(cnn.forward, cast(Any, decoder("state").eval()), VOCABULARY, prepare, end=1)
    before = task.version()
    with torch.no_grad():
        next(cnn.parameters()).mul_(2)
    assert task.version() != before
    cnn.train()
    with pytest.raises(ModelError, match=r"the cnn is in training mode; call cnn\.eval\(\) first"):
        vlx.explain(task, picture())


def test_the_version_changes_with_every_weight() -> None:
    task = captioner("first")
    assert task.version() == task.version()
    for module in (task.cnn, task.decoder):
        for tensor in (*module.parameters(), *module.buffers()):
            before = task.version()
            with torch.no_grad():
                tensor.add_(1)
            assert task.version() != before
    before = task.version()
    task.decoder.output.weight = nn.Parameter(task.decoder.output.weight.detach().clone())
    assert task.version() != before


def made(**changes: Any) -> CnnLstmCaptioner:
    torch.manual_seed(0)
    parts: dict[str, Any] = {
        "cnn": TinyCnn().eval(),
        "decoder": decoder("state").eval(),
        "vocabulary": VOCABULARY,
        "prepare": prepare,
        "end": 1,
        "name": "mine",
        **changes,
    }
    return CnnLstmCaptioner(**parts)


def test_a_decoder_must_start_and_step() -> None:
    class Startless:
        def step(self, tokens: Tensor, state: Any) -> Any: ...

    with pytest.raises(ModelError, match=r"^the decoder \(Linear\) has no start and no step; needed are start\(A\)"):
        made(decoder=nn.Linear(1, 1))
    with pytest.raises(ModelError, match=r"^the decoder \(Startless\) has no start; needed are"):
        made(decoder=Startless())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary": []}, r"^the vocabulary must be a list of words \(str\), one a token id$"),
        ({"vocabulary": "words"}, r"^the vocabulary must be a list of words \(str\), one a token id$"),
        ({"vocabulary": [0, 1, 2]}, r"^the vocabulary must be a list of words \(str\), one a token id$"),
        ({"vocabulary": {"a": 0, "b": 1, "c": 2}}, r"^the vocabulary is a dict; give the words by token id, e\.g\."),
        ({"vocabulary": {0: "a", 1: "b", 2: "c"}}, r"^the vocabulary is a dict; give the words by token id"),
        ({"start": 10}, r"^start=10 is not a token id of a vocabulary of 10 words$"),
        ({"end": -1}, r"^end=-1 is not a token id of a vocabulary of 10 words$"),
        ({"unknown": 99}, r"^unknown=99 is not a token id of a vocabulary of 10 words$"),
        ({"max_words": 0}, r"^max_words=0; a caption needs at least one word$"),
    ],
)
def test_wrong_words_are_refused_at_once(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(**changes)


@pytest.mark.parametrize("words", [VOCABULARY[:-2], [*VOCABULARY, "more"]])
@pytest.mark.parametrize("query", [{}, {"caption": "a dog"}, {"beams": 2}])
def test_a_vocabulary_of_another_size_than_the_logits_is_refused(words: list[str], query: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=rf"^mine: .*\b10\b.*\b{len(words)}\b"):
        vlx.explain(made(vocabulary=words), picture(), **query)


def test_hidden_states_without_logits_are_refused() -> None:
    class Wordless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = decoder("state")

        def start(self, A: Tensor) -> Any:
            return cast(Any, self.inner).start(A)

        def step(self, tokens: Tensor, state: Any) -> Any:
            return cast(Any, self.inner).step(tokens, state)

    with pytest.raises(ModelError, match=r"^mine: .*logits"):
        vlx.explain(made(decoder=Wordless().eval()), picture())


def test_a_cnn_that_pools_everything_is_refused() -> None:
    pooled = nn.Sequential(TinyCnn(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ModelError, match=r"must turn pictures \[1, C, H, W\] into A \[1, K, h, w\]; it gave \[1, 5\]"):
        vlx.explain(made(cnn=pooled.eval()), picture())


def test_a_prepare_that_gives_no_picture_is_refused() -> None:
    for wrong, given in ((lambda image: prepare(image)[None], r"\[1, 3, 16, 16\]"), (lambda image: image, "Image")):
        with pytest.raises(ModelError, match=rf"prepare must turn a PIL picture into a tensor \[C, H, W\].* {given}"):
            vlx.explain(made(prepare=wrong), picture())


@pytest.mark.parametrize("query", [{}, {"caption": "a dog"}, {"beams": 3}])
def test_nan_weights_are_refused(query: dict[str, Any]) -> None:
    task = captioner("attention")
    with torch.no_grad():
        task.decoder.output.weight[4] = float("nan")
    with pytest.raises(ModelError, match=r"^tiny: the decoder gives NaN; check its weights$"):
        vlx.explain(task, picture(), **query)
    task = captioner("attention")
    with torch.no_grad():
        next(task.cnn.parameters())[0] = float("nan")
    with pytest.raises(ModelError, match=r"^tiny: the CNN gives NaN or infinite features; check its weights"):
        vlx.explain(task, picture(), **query)


@pytest.mark.parametrize("beams", [1, 3])
def test_nan_is_not_taken_for_an_empty_caption(beams: int) -> None:
    task = captioner("attention", start=0, end=0)  # as NeuralTalk has it; the argmax of NaN is 0
    with torch.no_grad():
        task.decoder.output.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"^tiny: the decoder gives NaN; check its weights$"):
        vlx.explain(task, picture(), beams=beams)


class Ended(nn.Module):
    """A decoder with ``end`` behind its logits, from ``logits`` or, where it is ``whole``, from its step."""

    inner: Any
    logits: Any

    def __init__(self, end: Any, whole: bool) -> None:
        super().__init__()
        self.end, self.whole = end, whole
        self.inner = decoder("state")
        if not whole:
            self.logits = lambda hidden: end(self.inner.logits(hidden))

    def start(self, A: Tensor) -> Any:
        return self.inner.start(A)

    def step(self, tokens: Tensor, state: Any) -> Any:
        hidden, after = self.inner.step(tokens, state)
        return (self.end(self.inner.logits(hidden)) if self.whole else hidden), after


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("half", [False, True])
def test_probabilities_in_the_place_of_logits_are_refused_and_their_log_is_not(whole: bool, half: bool) -> None:
    def explained(end: Any) -> Any:
        torch.manual_seed(0)
        task = CnnLstmCaptioner(TinyCnn().eval(), Ended(end, whole).eval(), VOCABULARY, prepare, end=1, max_words=3)
        return vlx.explain(task, picture(), caption="a red dog", seen=False)

    softmax = lambda z: z.softmax(-1).to(torch.bfloat16 if half else z.dtype)  # noqa: E731
    with pytest.raises(
        ModelError, match=r"logits are probabilities already.* before the softmax, or the \.log\(\)"
    ) as told:
        explained(softmax)
    assert len(str(told.value)) <= 300
    plain = [word.logprob for word in explained(lambda z: z)]
    assert [word.logprob for word in explained(lambda z: z.softmax(-1).log())] == pytest.approx(plain, abs=1e-5)

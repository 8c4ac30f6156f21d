"""What is asked of a model and what it says: targets, queries, words, predictions, and their scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from vlx.errors import InputError

TargetKind = Literal["logprob", "logit", "prob", "margin"]
GradientWay = Literal["rows", "batched", "loop"]
TARGET_KINDS: tuple[str, ...] = get_args(TargetKind)
Read = Callable[[Tensor, TargetKind, bool], Tensor]  # a table of scores, a kind, for a contrast → scores of that kind


@dataclass(frozen=True)
class Term:
    """One vocabulary entry at one decoding step, with its weight in the target."""

    step: int
    token: int
    weight: float = 1.0


@dataclass(frozen=True)
class Target:
    """A scalar question to the model: Σ weight · score(token at step), read from row ``row`` of A.

    ``kind`` says which score: ``logprob`` log-softmax, ``logit`` before the softmax, ``prob`` after it; ``margin`` is
    a difference of logits (which equals the difference of log-probabilities) and has a term of weight −1.
    ``tokens`` is the text the model is given: the caption under teacher forcing, or the question.
    """

    row: int
    label: str
    terms: tuple[Term, ...]
    kind: TargetKind = "logprob"
    tokens: tuple[int, ...] = ()

    @property
    def last_step(self) -> int:
        """The latest decoding step the target reads; later steps need not be computed."""
        return max(term.step for term in self.terms)


@dataclass(frozen=True)
class Query:
    """What is asked of the model about one picture; an empty query means "what do you say?"."""

    caption: str | None = None
    question: str | None = None
    answer: str | None = None
    instead_of: str | None = None
    beams: int = 1
    prompt: str | None = None

    @property
    def text(self) -> str | None:
        """What a model that is asked about a text hears: the question, or the caption that is to be judged."""
        return self.caption if self.question is None else self.question


@dataclass(frozen=True)
class Alternative:
    """What the model could have said at this place, with its log-probability in nats.

    ``token`` is the vocabulary entry, or the first one of an answer that is a text of its own: then ``terms`` and
    ``tokens`` are what a target that asks for it has.
    """

    label: str
    token: int
    logprob: float
    terms: tuple[Term, ...] = ()
    tokens: tuple[int, ...] | None = None

    @property
    def asked(self) -> tuple[Term, ...]:
        """The terms of a target that asks for it."""
        return self.terms or (Term(0, self.token),)


@dataclass(frozen=True)
class Word:
    """One unit of the prediction that is explained by itself: a caption word, an answer, a class.

    ``sides`` are the two of a contrast: the one that is explained, and the one it is compared with.
    ``outputs`` says what the model's output means (see `vlx.protocol.outputs`); of a "value" ``number`` holds it and
    ``logprob`` is NaN. ``choices``: how many answers share p (2 for yes or no), None where there is no p or nobody
    counted. ``tokens`` are what a target that asks for it has, where they are not those of the prediction.
    ``reasoning``: it stands where the model reasons before it answers (``<think>…</think>``).
    """

    label: str
    terms: tuple[Term, ...]
    logprob: float
    alternatives: tuple[Alternative, ...] = ()
    notes: tuple[str, ...] = ()
    sides: tuple[Alternative, ...] = ()
    outputs: str = "softmax"
    number: float = nan
    choices: int | None = None
    tokens: tuple[int, ...] | None = None
    reasoning: bool = False

    @property
    def is_contrast(self) -> bool:
        """Whether one thing is compared with another."""
        return any(term.weight < 0 for term in self.terms)

    @property
    def standing(self) -> float:
        """What `seen` and the checks are differences of: log p in nats, or of a number the number."""
        return self.number if self.outputs == "value" else self.logprob


@dataclass(frozen=True)
class Prediction:
    """What the model said about one picture, or was made to say (``forced``).

    ``tokens`` are the ids under teacher forcing, START not included; ``notes`` are for the reader (unknown words,
    a caption cut at the model's longest). ``start`` is the step of the text's first token, where tokens that the model
    was asked with stand before it.

    Four facts say what is asked about it, whatever kind of task it comes from. ``whole``: its words make a text, which
    is explained as one, too. ``rivals``: the alternatives of its first word are other answers, and the likeliest are
    explained beside it. ``question``: it answers the question that was asked. ``pieces``: of a word of several tokens
    each has a map, and they are merged; else the word is one score. What an adapter leaves at None is as is usual for
    the kind of its task; see `stated`.

    >>> Prediction("two red cars", words, tokens, whole=True, rivals=False, question=True, pieces=True)  # of a chat
    """

    text: str
    words: tuple[Word, ...]
    tokens: tuple[int, ...]
    forced: bool = False
    notes: tuple[str, ...] = ()
    start: int = 0
    whole: bool | None = None
    rivals: bool | None = None
    question: bool | None = None
    pieces: bool | None = None


FACTS = ("whole", "rivals", "question", "pieces")
CAPTION = {"whole": True, "rivals": False, "question": False, "pieces": True}
USUAL = {  # of the predictions of each kind of task; of any other kind none of them
    "captioning": CAPTION,
    "vqa": {"rivals": True, "question": True},
    "classification": {"rivals": True},
}


def usual(kind: str, fact: str) -> bool:
    """Whether a fact is usual for a kind of task: where no prediction is at hand yet that could say.

    >>> usual("vqa", "question"), usual("captioning", "question")
    (True, False)
    """
    return USUAL.get(kind, {}).get(fact, False)


def stated(prediction: Prediction, kind: str) -> Prediction:
    """The prediction with all four facts said: those that its adapter left open are as usual for the kind of task.

    >>> stated(Prediction("cat", (word,), ()), "classification").rivals
    True
    """
    left: dict[str, Any] = {fact: usual(kind, fact) for fact in FACTS if getattr(prediction, fact) is None}
    return replace(prediction, **left) if left else prediction


def joined(parts: Sequence[Prediction]) -> Prediction:
    """Several predictions about one picture as one: the words of all, each with its own tokens.

    Raises InputError where two ask for the same.
    """
    if len(parts) == 1:
        return parts[0]
    words = [replace(word, tokens=part.tokens) for part in parts for word in part.words]
    for n, word in enumerate(words):
        if any(word.terms == other.terms and word.tokens == other.tokens for other in words[:n]):
            raise InputError(f"{word.label!r} is asked for twice; ask for each once")
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    text = ", ".join(part.text for part in parts)
    forced = all(part.forced for part in parts)
    return replace(parts[0], text=text, words=tuple(words), forced=forced, notes=notes, whole=False)


def word_target(prediction: Prediction, position: int, row: int, kind: TargetKind) -> Target:
    """The target that asks for one word of a prediction.

    A margin is taken to the likeliest other word; of a word of several tokens it is that of the first one. Yes or no
    of a label by itself has its own no as rival: its logit. Where there is no log-probability, of a number and of two
    labels that do not exclude each other, the logit stands for it.
    """
    word = prediction.words[position]
    terms, tokens = word.terms, prediction.tokens if word.tokens is None else word.tokens
    if kind == "logprob" and (word.outputs == "value" or (word.outputs == "sigmoid" and word.is_contrast)):
        kind = "logit"
    if kind == "margin" and not word.is_contrast and word.outputs != "sigmoid":
        first = terms[0]
        rival = next((a.token for a in word.alternatives if not a.terms and a.token != first.token), None)
        if rival is not None:
            terms = (first, replace(first, token=rival, weight=-first.weight))
    return Target(row, word.label, terms, kind, tokens)


def sentence_target(prediction: Prediction, row: int) -> Target:
    """The whole text as one target: the sum of its words' log-probabilities (paper, section 5.1)."""
    terms = tuple(term for word in prediction.words for term in word.terms)
    return Target(row, prediction.text, terms, "logprob", prediction.tokens)


@dataclass(frozen=True)
class Reads:
    """Which logits a batch of targets needs: P distinct (target, step) pairs, in order; targets of one text share."""

    pairs: tuple[tuple[int, int], ...]
    targets: tuple[Target, ...] = field(repr=False)
    runs: tuple[int, ...] = field(repr=False)  # the first target of the same row and text, which stands for all

    @classmethod
    def of(cls, targets: Sequence[Target]) -> "Reads":
        """Collect the distinct (number of a target of that row and text, step) pairs that the targets' terms read."""
        first: dict[tuple[int, tuple[int, ...]], int] = {}
        runs = tuple(first.setdefault((target.row, target.tokens), n) for n, target in enumerate(targets))
        pairs = dict.fromkeys(
            (run, term.step) for run, target in zip(runs, targets, strict=True) for term in target.terms
        )
        return cls(tuple(pairs), tuple(targets), runs)

    def combine(self, logits: Tensor, read: Read | None = None) -> Tensor:
        """Logits [P, V], one row a pair → scores [N]: each target's weighted sum under its kind.

        ``read`` says what the table means where it is not logits under one softmax; see
        `vlx.protocol.outputs.Outputs.read`.
        """
        place = {pair: p for p, pair in enumerate(self.pairs)}
        ways = [(target.kind, any(term.weight < 0 for term in target.terms)) for target in self.targets]
        total = logits.new_zeros(len(self.targets))
        for way in dict.fromkeys(ways):
            table = (read or softmax_read)(logits, *way)
            asked = [(n, t) for n, target in enumerate(self.targets) if ways[n] == way for t in target.terms]
            places = [[n, place[self.runs[n], term.step], term.token] for n, term in asked]
            owners, rows, tokens = torch.tensor(places, device=logits.device).unbind(1)  # lists as indices are slow
            weights = torch.tensor([term.weight for _, term in asked], device=logits.device, dtype=table.dtype)
            total = total.index_add(0, owners, table[rows, tokens] * weights)
        return total


def softmax_read(logits: Tensor, kind: str, _contrast: bool = False) -> Tensor:
    """Logits [P, V] under one softmax as scores of one `TargetKind`; ``contrast`` makes no difference."""
    if kind == "logprob":
        return _logprobs(logits)
    if kind == "prob":
        return logits.softmax(-1)
    return logits


def _logprobs(logits: Tensor) -> Tensor:
    """log p; with a graph in double: in single its gradient, 1 − p, is lost where p is all but 1. MPS knows no double.

    Without a graph Σ exp is kept as 1 + what comes beside the likeliest, which single does not lose either.
    """
    if logits.is_mps or logits.dtype == torch.float64:
        return logits.log_softmax(-1)
    if logits.requires_grad or logits.dtype != torch.float32:
        return logits.double().log_softmax(-1).to(logits.dtype)
    highest, place = logits.max(-1, keepdim=True)
    below = logits - highest
    beside = below.exp().scatter_(-1, place, 0).sum(-1, keepdim=True)
    return below.sub_(beside.log1p_())

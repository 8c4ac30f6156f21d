"""The Task protocol: a model split at its feature map A, and every question about it a batch of rows.

Three functions are the whole interface: ``features`` (pictures → A), ``predict`` (A → what the model says) and
``scores`` (rows of (A, target) → one differentiable scalar each). What is asked of the model is a `Target`: a weighted
sum of scores of vocabulary entries at decoding steps. That covers a word (one term), a caption (one term a word), an
answer or a class (one term at step 0) and "why a, not b" (a term of weight −1 for b).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from PIL import Image
from torch import Tensor

from vlx.errors import InputError
from vlx.geometry import Grid
from vlx.logits import softmax_read

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
    ``outputs`` says what the model's output means (see `vlx.outputs`); of a "value" ``number`` holds it and ``logprob``
    is NaN. ``choices``: how many answers share p (2 for yes or no), None where there is no p or nobody counted.
    ``tokens`` are what a target that asks for it has, where they are not those of the prediction.
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
    a caption cut at the model's longest).
    """

    text: str
    words: tuple[Word, ...]
    tokens: tuple[int, ...]
    forced: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Features:
    """What the vision part hands on: feature maps by layer, each [B, K, h, w], and their geometry.

    ``rest`` is what is not a map (class tokens, patch indices): nested tensors whose first dimension is B. ``notes``
    are for the reader.
    """

    maps: dict[str, Tensor]
    layer: str
    grid: Grid
    rest: Any = None
    notes: tuple[str, ...] = ()

    @property
    def A(self) -> Tensor:
        """The feature map that is explained, [B, K, h, w]."""
        return self.maps[self.layer]


@dataclass(frozen=True)
class Defaults:
    """How an adapter is explained unless the user says otherwise; ``measured``: chosen so on that very model."""

    method: str = "layercam"
    target: TargetKind = "logprob"
    gradients: GradientWay = "batched"
    measured: bool = False


class Task(Protocol):
    """A model split at its feature map A. Writing these members is all it takes to be explained.

    ``kind`` is "captioning", "vqa" or "classification"; ``notes`` are shown with every explanation.
    """

    name: str
    kind: str
    defaults: Defaults
    notes: tuple[str, ...]

    @property
    def blank(self) -> tuple[float, float, float]:
        """RGB in [0, 1] of a picture that shows nothing, by custom the mean training colour."""
        ...

    @property
    def prepare(self) -> Callable[[Image.Image], Tensor]:
        """PIL RGB → [C, H, W]; never called from inside the model."""
        ...

    def place(self, inputs: Tensor) -> Tensor:
        """Move prepared pictures [B, C, H, W] to the model's device and dtype."""
        ...

    def version(self) -> Hashable:
        """Something that changes when the weights do; what is kept for the model depends on it."""
        ...

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, C, H, W] → A and its geometry, in one run of the vision part, without a graph."""
        ...

    def predict(self, features: Features, queries: Sequence[Query]) -> list[Prediction]:
        """What the model says of each of the B pictures, without a graph."""
        ...

    def scores(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Tensor:
        """A [M, K, h, w] and N targets, each naming its row of A → [N], differentiable in A."""
        ...


@runtime_checkable
class Restarts(Protocol):
    """Optional: ``scores`` cut in two where repeating is cheaper than at A, e.g. at a decoder's state before START.

    ``scores(A, targets, rest)`` must equal ``scores_from(begin(A, rest), targets)`` to rounding.
    """

    def begin(self, A: Tensor, rest: Any = None) -> Any:
        """A [M, K, h, w] → a state: nested tensors whose first dimension is M."""
        ...

    def scores_from(self, state: Any, targets: Sequence[Target]) -> Tensor:
        """A state of M rows and N targets, each naming its row → [N], differentiable in the state."""
        ...


@runtime_checkable
class Sees(Protocol):
    """Optional: the vision part with a graph back to the picture, for gradients in pixels (`vlx.pixels`).

    A task whose head behind A belongs to the vision part, as a classifier's does, says so by ``head_is_vision = True``:
    ReLU rules then hold in it, too.
    """

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, C, H, W] → the same A [B, K, h, w] as `features`, differentiable in them where gradients are on.

        The pictures are the caller's copy: they may be changed in place.
        """
        ...


@runtime_checkable
class Shallow(Protocol):
    """Optional: a map that has not yet mixed its cells, so that the self-test can see which cell is which place."""

    def shallow(self, inputs: Tensor) -> Tensor:
        """Pictures [B, C, H, W] → the map of an early layer, [B, K, h, w], its cells in the same arrangement as A's."""
        ...


@runtime_checkable
class Worded(Protocol):
    """Optional: a task that knows these words and may refuse others; ``vocabulary`` is in the order of token ids."""

    vocabulary: Sequence[str]


@runtime_checkable
class Identified(Protocol):
    """Optional: a task whose vision part can be told from others; names of units are valid for one network only."""

    def digest(self) -> str:
        """A hash of the weights behind A, the same in every process, on every device and in every precision."""
        ...


@runtime_checkable
class Hears(Task, Protocol):
    """Optional: a task that is asked questions and can tell what an answer owes to their words."""

    def shortened(self, question: str, tokens: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Each word of the question, and a target's ``tokens`` without it."""
        ...

    def question_gradients(self, A: Tensor, target: Target, rest: Any = None) -> Tensor | None:
        """Gradient × embedding of each word of the target's question about one picture, [words]; None if unknown."""
        ...


@runtime_checkable
class Mixes(Protocol):
    """Optional: a single-stream model, whose feature map is what its cells hold after they have met the text."""

    def mixed(self, features: Features, texts: Sequence[tuple[int, tuple[int, ...]]]) -> Features:
        """Features of B pictures as `features` gives them, and R pairs (row, a target's tokens) → features of R rows.

        The layer may be another one: `scores`, `attend` and gradients are taken at the mixed features.
        """
        ...


@dataclass(frozen=True, eq=False)
class Attention:
    """How the words that N targets read looked at the picture, in one graph with the targets' scores.

    ``scores`` [N]; ``layers``: attention probabilities [R, heads, queries, keys], first layer first; ``runs``: which of
    the R rows, each of one row of A, target n reads; ``queries`` [N, queries]: weights of the queries whose looking
    counts for target n; ``cells`` [h, w]: which key each cell of the picture is. ``A`` [R, K, h, w] is the feature map
    in that graph, None when it is the one that `Attends.attend` was given. Where a target reads several runs ``owners``
    says whose each of ``runs`` and ``queries`` is.
    """

    scores: Tensor
    layers: tuple[Tensor, ...]
    runs: tuple[int, ...]
    queries: Tensor
    cells: Tensor
    A: Tensor | None = None
    owners: tuple[int, ...] | None = None


@runtime_checkable
class Attends(Protocol):
    """Optional: a model with attention from its text to the picture: attention as a feature map of its own."""

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attention:
        """As `Task.scores`, and the attention probabilities on the way, differentiable."""
        ...


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
    return Prediction(text, tuple(words), parts[0].tokens, all(part.forced for part in parts), notes)


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

        ``read`` says what the table means where it is not logits under one softmax; see `vlx.outputs.Outputs.read`.
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

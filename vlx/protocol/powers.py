"""What a task may be able to do beside what every task must: small protocols, each one power."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from PIL import Image
from torch import Tensor

from vlx.protocol.outputs import Outputs
from vlx.protocol.targets import Query, Target
from vlx.protocol.task import Features, Task


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
    """Optional: the vision part with a graph back to the picture, for gradients in pixels (`vlx.methods.pixels`).

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


@runtime_checkable
class Scoped(Protocol):
    """Optional: a task that can tell, from what is at hand, that a picture lies outside its words or its world."""

    def scope(self, features: Features, picture: Image.Image, text: str) -> tuple[str, ...]:
        """Sentences for the reader about one picture: its features [1, …], itself as RGB, and what is said of it.

        None at all is no promise that the picture lies within: only what is proven is said.
        """
        ...


@dataclass(frozen=True, eq=False)
class Said:
    """What a model says by itself: the likeliest ``tokens`` of T steps and the ``logprobs`` [≥ T, V] at each.

    A caption's END is left out, an answer's is not. Of a model that gives numbers ``logprobs`` are those. ``outputs``
    [≥ T, V] are what the model gave, where log-probabilities are the log-softmax of it, else None.
    """

    tokens: tuple[int, ...]
    logprobs: Tensor
    outputs: Tensor | None = None

    @classmethod
    def of(cls, outputs: Tensor, tokens: tuple[int, ...] | None = None) -> "Said":
        """From logits [T, V]; without ``tokens`` the likeliest of each step."""
        chosen = tuple(outputs.argmax(-1).tolist()) if tokens is None else tokens
        return cls(chosen, outputs.double().log_softmax(-1), outputs)

    @classmethod
    def read(cls, outputs: Outputs, output: Any) -> "Said":
        """From what a model of a list of answers gave for one picture; ``outputs`` says what it means."""
        columns = outputs.columns(output, 1)
        table = outputs.table(columns)
        raw = columns if outputs.meaning == "softmax" else None
        return cls((int(table[0].argmax()),), outputs.read(table, "logprob").double(), raw)


@runtime_checkable
class Stocked(Protocol):
    """Optional: a task whose model can be called as its makers call it."""

    def stock(self, image: Image.Image, query: Query) -> Said:
        """What the untouched model says of a picture, by greedy search; where it is asked, to the query's question."""
        ...

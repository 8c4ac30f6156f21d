"""What a model's output means: how its columns become scores, and how log p, logit and p are read from them.

Five things an output [B, C] can be (``outputs=``); each is turned into one table of scores with one way of reading it:

- "softmax": logits of classes of which one is true. log p = log-softmax.
- "sigmoid": each column is yes or no by itself. log p = log σ(z); one column z is yes and no of one label, [z, −z].
- "probabilities": rows that sum to 1, or whose exponentials do. The table is log p, read as logits (its log-softmax
  is log p).
- "value": numbers. The score is the number in its own unit; there is no p.
- a function ``output → [B, C]``: numbers of one's own (a region's class score, a box, a similarity), or a pair of a
  function and one of the four names, e.g. ``(lambda output: output["scores"], "sigmoid")``.

Where nothing is said it is decided by trying: rows that sum to 1 for the picture and for other feature maps, very
large ones among them, are probabilities. What stays open is refused by name: one column, values that never leave
[0, 1], or [−1, 1] where they reach its ends, rows of unit length. Values that stay well within [−1, 1] may be cosines
or the logits of an untrained model: they are read as logits, and noted.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from vlx.errors import InputError, ModelError
from vlx.language import shortened
from vlx.protocol.leaves import as_table, described, part, scores_in
from vlx.protocol.targets import TargetKind, softmax_read

Meaning = Literal["softmax", "sigmoid", "probabilities", "value"]
Function = Callable[[Any], Tensor]
MEANINGS: tuple[str, ...] = get_args(Meaning)
HALVES = (torch.float16, torch.bfloat16)
LARGE = (30.0, -30.0, 1e3)  # feature maps so many times as large drive a squashed output to its ends
OPPOSITES = (("yes", "no"), ("positive", "negative"), ("true", "false"), ("present", "absent"))
NEGATIONS = ("not ", "no ", "non-", "non ", "not_", "no_", "non_")
NOTES = {
    "sigmoid": "its outputs are read as yes or no of each label by itself (sigmoid)",
    "probabilities": "its outputs are probabilities already: their rows sum to 1 whatever it sees",
    "value": "its outputs are read as numbers: they have no probability",
}

LOGGED = "its outputs are log-probabilities already: the exponentials of a row sum to 1 whatever it sees"

BOUNDED = (
    "its outputs stay within [−1, 1] however large the map is, as cosines do, and are read as logits: p is near "
    "chance's; if they are none say outputs='value', or scale them with outputs=(function, 'softmax')"
)


class Outputs:
    """How one model's output is read; ``given`` and ``leaf`` are an adapter's ``outputs=`` and ``leaf=``.

    ``meaning`` is None until `settle` has seen some rows. ``model`` is the model's name in messages and ``named`` the
    adapter's argument that names its columns. Raises InputError
    for anything else than one of the names, a function, or a pair of both.
    """

    def __init__(
        self, given: Any = None, leaf: str | int | None = None, model: str = "the model", named: str = "labels"
    ) -> None:
        self._function, self._told = _checked(given)
        self._leaf, self._model, self._named = None if leaf is None else str(leaf), model, named
        self.meaning: Meaning | None = None
        self._inside = False  # whether the columns have gone through their sigmoid already
        self._logged = False  # whether the columns are log p already
        self._signs: tuple[float, float] | None = None  # of the two labels of one column

    @classmethod
    def of(cls, meaning: Meaning) -> "Outputs":
        """Outputs of which no more is to be found out; not for one column."""
        made = cls(meaning)
        made.meaning = meaning
        return made

    def logprobs(self, scores: Tensor) -> Tensor:
        """A row of the table [C] → log p of each entry in nats; NaN for numbers."""
        return torch.full_like(scores, torch.nan) if self.meaning == "value" else self.read(scores, "logprob")

    def choices(self, count: int) -> int | None:
        """How many answers of a table of ``count`` columns share one p: all, yes and no, or None for numbers."""
        return {"value": None, "sigmoid": 2}.get(str(self.meaning), count)

    @property
    def pair(self) -> bool:
        """Whether one column is yes and no of one label."""
        return self._signs is not None

    def columns(self, output: Any, rows: int) -> Tensor:
        """What the model returned for ``rows`` pictures → its scores as they came, [rows, C].

        Raises ModelError where there are none or several, and for a function that gives something else.
        """
        if self._function is None:
            return scores_in(output, rows, self._model, self._leaf)
        meant = output if self._leaf is None else part(output, self._leaf, self._model)
        try:
            given = self._function(meant)
        except Exception as error:  # whatever the owner's function says of an output that it cannot read
            told = shortened(f"{type(error).__name__}: {error}", 80)
            raise ModelError(
                f"{shortened(self._model, 40)}: outputs={shortened(_name(self._function), 30)} fails ({told}) on the "
                f"model's output, {shortened(described(meant), 60)}; mend it: output → floats [B, C]"
            ) from error
        table = as_table(given, rows) if isinstance(given, Tensor) else None
        if table is None:
            raise ModelError(
                f"{self._model}: outputs={_name(self._function)} must turn the output into floats [B, C], here "
                f"[{rows}, C]; it gave {described(given)}"
            )
        return table

    def settle(self, rows: Tensor, labels: Sequence[str] | None = None) -> tuple[str, ...]:
        """Decide what rows of `columns` [R, C] mean and return the notes for the reader; see `tried`.

        ``labels`` name the two answers of one column. Raises ModelError where that is open or not what was said.
        """
        usable = rows.detach()[~rows.isnan().any(1) & ~rows.isposinf().any(1)]
        evidence = _Evidence(usable.double(), 2 * torch.finfo(rows.dtype).eps)
        meaning = self._decided(evidence)
        self._logged = meaning == "probabilities" and evidence.exponentials_sum_to_one
        self._inside = meaning == "sigmoid" and evidence.between(0, 1)
        if meaning == "sigmoid" and evidence.single:
            _, self._signs = pair_of(labels, self._model)
        self.meaning = meaning
        if self._logged:
            return (LOGGED,)
        if meaning == "softmax" and self._told is None and evidence.bounded:
            return (BOUNDED,)
        return (NOTES[meaning],) if meaning in NOTES else ()

    def table(self, columns: Tensor) -> Tensor:
        """Columns [R, C] → the table of scores [R, C′] that `read` reads, at least float32.

        One column of two labels becomes two.
        """
        columns = columns.float() if columns.dtype in HALVES else columns
        if self._logged:
            return columns
        if self.meaning == "probabilities":
            return columns.clamp_min(torch.finfo(columns.dtype).tiny).log()
        if self._inside:
            columns = _logit(columns)
        if self._signs is not None:
            return torch.cat([sign * columns for sign in self._signs], 1)
        return columns

    def read(self, table: Tensor, kind: TargetKind, contrast: bool = False) -> Tensor:
        """The table as scores of one kind; of a number every kind is the number.

        ``contrast``: for differences of two entries. Of independent labels that is the difference of their logits, and
        of the two labels of one column their log p's, z.
        """
        if self.meaning == "value":
            if kind == "prob":
                raise InputError(f"{self._model} gives numbers, which have no probability; leave target out")
            return table
        if self.meaning != "sigmoid":
            return softmax_read(table, kind, contrast)
        if kind == "prob":
            return table.sigmoid()
        if kind == "logprob" and not contrast:
            return logsigmoid(table)
        return table / 2 if contrast and self.pair else table

    def _decided(self, evidence: "_Evidence") -> Meaning:
        told = self._told
        if told is None:
            return self._open(evidence)
        if told == "value":
            return told
        if not len(evidence.rows):
            raise ModelError(f"{self._model} gives NaN or infinite outputs; its weights or the picture hold some")
        if evidence.single:
            self._refuse_single(told, evidence)
        if told in ("softmax", "probabilities") and (evidence.sum_to_one or evidence.exponentials_sum_to_one):
            return "probabilities"
        if told == "probabilities":
            raise ModelError(
                f"{self._model}: outputs='probabilities', and its rows sum to {evidence.sums}; for yes or no of each "
                "label say 'sigmoid', for logits 'softmax'"
            )
        if told == "sigmoid" and evidence.sum_to_one and not evidence.single:
            raise ModelError(
                f"{self._model}: outputs='sigmoid', but its rows sum to 1 whatever it sees, as one answer's among "
                "several do; say outputs='probabilities'"
            )
        return told

    def _refuse_single(self, told: Meaning, evidence: "_Evidence") -> None:
        if told != "sigmoid":
            raise ModelError(
                f"{self._model} has one output, which is no {told} of several; for yes or no say outputs='sigmoid', "
                "for a number outputs='value'"
            )
        if evidence.constant:
            raise ModelError(
                f"{self._model} gives {float(evidence.rows[0, 0]):.3g} whatever it sees (a softmax over one column?); "
                "split the score before it with outputs=… or leaf=…"
            )

    def _open(self, evidence: "_Evidence") -> Meaning:
        """The meaning of outputs of which nothing was said: what the evidence leaves no doubt of."""
        if not len(evidence.rows):
            raise ModelError(f"{self._model} gives NaN or infinite outputs; its weights or the picture hold some")
        if evidence.single:
            raise ModelError(
                f"{self._model} has one output, and what it means is open: outputs='sigmoid' for yes or no of one "
                f"label ({self._named}=[its name]), outputs='value' for a number"
            )
        if evidence.sum_to_one or evidence.exponentials_sum_to_one:
            return "probabilities"
        if not evidence.rows.any():
            return "softmax"  # an untrained last layer that starts at zero, as torchvision's transformers have
        if evidence.between(0, 1):
            trouble = "outputs that all lie between 0 and 1 and do not sum to 1: probabilities of yes or no"
            raise ModelError(
                f"{self._model} gives {trouble} of each label (outputs='sigmoid'), or numbers (outputs='value')? Say "
                "which"
            )
        if evidence.unit_length:
            raise ModelError(
                f"{self._model} gives rows of length 1: an embedding, not scores of classes; say what is to be "
                "explained with outputs=lambda output: …, e.g. its similarity to others, [B, C]"
            )
        if evidence.between(-1, 1) and evidence.touches:
            raise ModelError(
                f"{self._model} gives outputs that never leave [−1, 1], as tanh does: no logits; say what they mean: "
                "outputs='value' for numbers, or a function"
            )
        return "softmax"


class _Evidence:
    """What rows [R, C] of one model's outputs have in common, to a tolerance for their precision."""

    def __init__(self, rows: Tensor, precision: float) -> None:
        self.rows, self._slack = rows, max(1e-4, precision)

    @property
    def single(self) -> bool:
        """One column."""
        return self.rows.shape[1] == 1

    @property
    def sum_to_one(self) -> bool:
        """Nothing is negative, and each row sums to 1."""
        return bool((self.rows.sum(1) - 1).abs().max() <= self._slack and self.between(0, 1))

    @property
    def exponentials_sum_to_one(self) -> bool:
        """The exponentials of each row sum to 1: log-probabilities of several answers."""
        return not self.single and bool(self.rows.logsumexp(1).abs().max() <= self._slack)

    @property
    def sums(self) -> str:
        """The least and the largest sum of a row."""
        low, high = (f"{float(value):.3g}" for value in self.rows.sum(1).aminmax())
        return low if low == high else f"{low} to {high}"

    @property
    def unit_length(self) -> bool:
        """Each row's squares sum to 1."""
        return bool((self.rows.square().sum(1) - 1).abs().max() <= 2 * self._slack)

    @property
    def touches(self) -> bool:
        """Some value all but reaches −1 or 1."""
        return bool(self.rows.abs().max() >= 0.99)

    @property
    def bounded(self) -> bool:
        """Values stay in [−1, 1] and no longer grow with the map: the last rows are those of 30 and 1000 times it."""
        if len(self.rows) <= len(LARGE) or self.constant or not self.between(-1, 1):
            return False
        grown = (self.rows[-1] - self.rows[-len(LARGE)]).abs().max()
        return bool(self.rows.min() >= -1 and grown <= 0.05 * self.rows[-1].abs().max())

    @property
    def constant(self) -> bool:
        """The rows are all the same."""
        return bool((self.rows - self.rows[:1]).abs().max() <= 1e-9)

    def between(self, low: float, high: float) -> bool:
        """Whether no value leaves [low, high]; what rounds up to a little more than ``high`` does not."""
        return bool(self.rows.min() >= low and self.rows.max() <= high + self._slack)


def tried(A: Tensor) -> Tensor:
    """One feature map [1, K, h, w] → others to see what a head makes of them, [R, K, h, w].

    They are itself, turned, with its units exchanged, and many times as large with either sign.
    """
    turned = [A, A.flip(-1), A.flip(-2), A.roll(1, 1)]
    return torch.cat([*turned, *(A * factor for factor in LARGE)])


def are_probabilities(rows: Tensor) -> bool:
    """Whether rows [R, C] of several columns lie in [0, 1] and sum to 1, to a tolerance for their precision."""
    if not rows.is_floating_point():
        return False
    table = rows.detach()
    evidence = _Evidence(table.double(), 2 * torch.finfo(table.dtype).eps)
    return not evidence.single and evidence.sum_to_one


def unlike(A: Tensor) -> Tensor:
    """One feature map [1, K, h, w], then four that share nothing with it but their scale, two 30 times as large.

    Cells and whole units are drawn anew, so that means over cells differ from A's as well. [5, K, h, w].
    """
    scale = float(A.abs().max()) or 1.0
    drawn = torch.Generator().manual_seed(0)
    cells, units = (torch.randn(4, *shape, generator=drawn) for shape in (A.shape[1:], (A.shape[1], 1, 1)))
    sizes = torch.tensor([1.0, 1.0, 30.0, 30.0]).view(4, 1, 1, 1)
    return torch.cat([A, (scale * sizes * (cells + units)).to(A)])


def settled(meaning: str, kind: TargetKind, told: bool, contrast: bool) -> TargetKind:
    """The kind of target that is meant for an output: the one asked for (``told``) or an adapter's default.

    Raises InputError for one that was asked for and that such an output has not.
    """
    if meaning == "value":
        if told and kind in ("logprob", "prob"):
            raise InputError(f"target={kind!r}: this output is a number and has no probability; leave target out")
        if told and kind == "margin" and not contrast:
            raise InputError("target='margin': a number has no runner-up; compare two numbers with instead_of=…")
        return "logit"
    if meaning == "probabilities" and kind == "logit":
        if told and not contrast:
            raise InputError(
                "target='logit': the model's softmax is inside it, so its logits are not to be had; use "
                "target='logprob', or give a model that ends before its softmax"
            )
        return "logprob"
    return "logit" if meaning == "sigmoid" and contrast and kind == "logprob" else kind


def pair_of(labels: Sequence[str] | None, model: str = "the model") -> tuple[tuple[str, str], tuple[float, float]]:
    """The two labels of one column z and their signs: the label that a large z means, and its opposite.

    >>> pair_of(["cat"])
    (('cat', 'not cat'), (1.0, -1.0))
    >>> pair_of(["no", "yes"])
    (('no', 'yes'), (-1.0, 1.0))

    Raises ModelError for two labels of which neither is the other's opposite by its words.
    """
    if labels is None:
        return ("positive", "negative"), (1.0, -1.0)
    if len(labels) == 1:
        return (labels[0], f"not {labels[0]}"), (1.0, -1.0)
    if len(labels) == 2:
        first, second = (label.strip().casefold() for label in labels)
        if _opposite(first, second):
            return (labels[0], labels[1]), (1.0, -1.0)
        if _opposite(second, first):
            return (labels[0], labels[1]), (-1.0, 1.0)
    given = (
        f"{len(labels)} labels"
        if len(labels) != 2
        else f"the labels {shortened(labels[0], 40)!r} and {shortened(labels[1], 40)!r}"
    )
    raise ModelError(
        f"{model} has one output, yes or no of one label, and {given}; give the one that a large output means, e.g. "
        f"[{shortened(labels[-1], 40)!r}]"
    )


def _opposite(yes: str, no: str) -> bool:
    return (yes, no) in OPPOSITES or any(no == before + yes for before in NEGATIONS)


def _checked(given: Any) -> tuple[Function | None, Meaning | None]:
    """The function and the meaning that ``outputs=`` gives, either or both."""
    if given is None or given in MEANINGS:
        return None, given
    if callable(given):
        return given, "value"
    if isinstance(given, tuple) and len(given) == 2 and callable(given[0]) and given[1] in MEANINGS:
        return given[0], cast(Meaning, given[1])
    known = ", ".join(map(repr, MEANINGS))
    raise InputError(f"outputs={given!r}: give {known}, a function output → [B, C], or a pair (function, name)")


def _name(function: Function) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _logit(p: Tensor) -> Tensor:
    """log p − log(1 − p), finite at 0 and 1."""
    kind = torch.finfo(p.dtype)
    return p.clamp_min(kind.tiny).log() - (-p.clamp(max=1 - kind.eps / 2)).log1p()

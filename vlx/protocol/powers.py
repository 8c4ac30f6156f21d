"""What a task may be able to do beside what every task must: small protocols, each one power, resolved in one place.

`powers_of` says which of them a task has; nobody else asks. A member is a power where its signature is the protocol's,
so that a method or an attribute of the user's own may bear any name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import torch
from PIL import Image
from torch import Tensor

from vlx.errors import InputError
from vlx.language import shortened
from vlx.protocol.layered import Beneath, Layered
from vlx.protocol.readout import ReadsOut
from vlx.protocol.signatures import fit, parameters, told
from vlx.protocol.stocked import Stocked
from vlx.protocol.targets import Prediction, Target, Word
from vlx.protocol.task import Features, Task


class Restarts(Protocol):
    """Optional: ``scores`` cut in two where repeating is cheaper than at A, e.g. at a decoder's state before START.

    ``scores(A, targets, rest)`` must equal ``scores_from(begin(A, rest), targets)`` to rounding.

    >>> state = task.begin(features.A, features.rest)  # of an LSTM: (hidden [B, H], cell [B, H])
    >>> task.scores_from(state, targets)               # tensor([-0.21, -1.34])
    """

    def begin(self, A: Tensor, rest: Any = None) -> Any:
        """A [M, K, h, w] → a state: nested tensors whose first dimension is M."""
        ...

    def scores_from(self, state: Any, targets: Sequence[Target]) -> Tensor:
        """A state of M rows and N targets, each naming its row → [N], differentiable in the state."""
        ...


class Sees(Protocol):
    """Optional: the vision part with a graph back to the picture, for gradients in pixels (`vlx.methods.pixels`).

    A task whose head behind A belongs to the vision part, as a classifier's does, says so by ``head_is_vision = True``:
    ReLU rules then hold in it, too.

    >>> def see(self, inputs):
    ...     return self.cnn(inputs)  # [1, 3, 224, 224] → [1, 512, 7, 7]
    """

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, C, H, W] → the same A [B, K, h, w] as `features`, differentiable in them where gradients are on.

        The pictures are the caller's copy: they may be changed in place.
        """
        ...


class Shallow(Protocol):
    """Optional: a map that has not yet mixed its cells, so that the self-test can see which cell is which place.

    >>> def shallow(self, inputs):
    ...     return self.tower.embeddings(inputs)  # of a transformer; its last block has mixed all cells
    """

    def shallow(self, inputs: Tensor) -> Tensor:
        """Pictures [B, C, H, W] → the map of an early layer, [B, K, h, w], its cells in the same arrangement as A's."""
        ...


class Identified(Protocol):
    """Optional: a task whose vision part can be told from others; names of units are valid for one network only.

    >>> def digest(self):
    ...     return weights_digest(self.cnn.state_dict().values())  # "9f86d0…", 64 hexadecimal digits
    """

    def digest(self) -> str:
        """A hash of the weights behind A, the same in every process, on every device and in every precision."""
        ...


class Hears(Protocol):
    """Optional: a task that is asked questions and can tell what an answer owes to their words.

    >>> task.shortened("what color?", (4, 7))
    [('what', (7,)), ('color', (4,))]
    """

    def shortened(self, question: str, tokens: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Each word of the question, and a target's ``tokens`` without it."""
        ...

    def question_gradients(self, A: Tensor, target: Target, rest: Any = None) -> Tensor | None:
        """Gradient × embedding of each word of the target's question about one picture, [words]; None if unknown.

        ``A`` and ``rest`` are those of `Task.features`, also where the task `Meets`.
        """
        ...


class Meets(Protocol):
    """Optional: a single-stream model, whose feature map is what its cells hold after they have met the text.

    It is explained there and nowhere else; vlx gets there by the function `meet` of this module.

    >>> def meet(self, features, texts):  # two questions about the first picture: texts = [(0, (5, 9)), (0, (5, 2))]
    ...     A, rest = self.blocks(features.A[[row for row, _ in texts]], [tokens for _, tokens in texts])
    ...     return Features({"block 10": A}, "block 10", features.grid, rest)  # A [2, K, h, w]
    """

    def meet(self, features: Features, texts: Sequence[tuple[int, tuple[int, ...]]]) -> Features:
        """Features of B pictures as `features` gives them, and R pairs (row, a target's tokens) → features of R rows.

        The layer may be another one: `scores`, `attend` and gradients are taken at the features that have met the text.
        """
        ...


@dataclass(frozen=True, eq=False)
class Attended:
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


class Attends(Protocol):
    """Optional: a model with attention from its text to the picture: attention as a feature map of its own.

    A task says by ``attends_by_rows = True`` that every query's graph is its own: it leads back to the probabilities
    of that query in each layer, through no other query and not to A. Then one backward of all scores gives each word's
    gradient, a row of A is asked for at a time, and importance weights α are not taken (NaN).

    >>> cells = torch.arange(h * w).view(h, w)  # the picture's cells are the first keys
    >>> Attention(scores, (probabilities,), runs=(0, 0), queries=torch.eye(2), cells=cells)  # two words of one caption
    """

    def attend(self, A: Tensor, targets: Sequence[Target], rest: Any = None) -> Attended:
        """As `Task.scores`, and the attention probabilities on the way, differentiable."""
        ...


class Contrasts(Protocol):
    """Optional: a captioner that can be asked for another word in a word's place.

    >>> task.rather(prediction, 1, "cat").terms  # dog, and not cat
    (Term(step=1, token=6, weight=1.0), Term(step=1, token=9, weight=-1.0))
    """

    def rather(self, prediction: Prediction, position: int, other: str) -> Word:
        """Word ``position`` of a caption made a contrast with ``other`` at the same steps, after the same tokens.

        See `vlx.probes.contrast.contrasted_word`. Raises UnknownWords for a word that the model cannot say.
        """
        ...


class Scoped(Protocol):
    """Optional: a task that can tell, from what is at hand, that a picture lies outside its words or its world.

    >>> def scope(self, features, picture, text):
    ...     return ("out of scope: no picture in colour was ever shown to this model",) if colourful(picture) else ()
    """

    def scope(self, features: Features, picture: Image.Image, text: str) -> tuple[str, ...]:
        """Sentences for the reader about one picture: its features [1, …], itself as RGB, and what is said of it.

        None at all is no promise that the picture lies within: only what is proven is said.
        """
        ...


class NotesPictures(Protocol):
    """Optional: a task that may have something to say about how a picture comes to it, beside what can be measured.

    >>> def picture_notes(self, image):
    ...     return ("the picture is shrunk to 1,000,000 pixels",) if image.width * image.height > 1_000_000 else ()
    """

    def picture_notes(self, image: Image.Image) -> tuple[str, ...]:
        """Notes on one picture as the user has it, in RGB."""
        ...


class Regional(Protocol):
    """Optional: a task whose output is dense, and is explained for a region: ``where=`` of `vlx.explain`.

    >>> vlx.explain(task, "street.jpg", answer="car", where=mask)
    """

    def within(self, image: Any, where: Any = None, answer: Any = None) -> Task:
        """The same model, what it says read off a region of this picture alone; that task is not `Regional`.

        ``where``: bool [H, W] on the picture as the user has it; None for the pixels that the model gives to what
        ``answer`` names. Raises InputError for a mask that is empty or of another size, and where no pixel is given.
        """
        ...


@dataclass(frozen=True, eq=False)
class Powers:
    """What one ``task`` offers beside `Task`: under each name the task itself where it has the power, else None.

    >>> powers_of(vlx.load("scenes/captioner")).attends is None
    True
    """

    task: Any = field(repr=False)
    restarts: Restarts | None = None
    sees: Sees | None = None
    shallow: Shallow | None = None
    identified: Identified | None = None
    hears: Hears | None = None
    meets: Meets | None = None
    attends: Attends | None = None
    contrasts: Contrasts | None = None
    scoped: Scoped | None = None
    notes_pictures: NotesPictures | None = None
    stocked: Stocked | None = None
    layered: Layered | None = None
    beneath: Beneath | None = None
    reads_out: ReadsOut | None = None
    regional: Regional | None = None

    @property
    def vocabulary(self) -> Sequence[str] | None:
        """The words that it knows, in the order of token ids, where it may refuse others.

        >>> powers_of(vlx.load("scenes/vqa")).vocabulary[:3]
        ['<pad>', '<unk>', 'a']
        """
        words = _member(self.task, "vocabulary")
        listed = isinstance(words, Sequence) and not isinstance(words, str | bytes)
        return cast("Sequence[str]", words) if listed and _are_texts(words[:1]) else None

    @property
    def besides(self) -> Mapping[str, str]:
        """What its text by design reads of the picture beside A: keys of `Features.rest`, each with words for it.

        >>> powers_of(vlx.load("scenes/vqa")).besides
        {'others': 'the tokens that are no cells'}
        """
        besides = _member(self.task, "besides")
        return besides if isinstance(besides, Mapping) and _are_texts([*besides, *besides.values()]) else {}

    @property
    def sample_question(self) -> str | None:
        """A question that it understands, for the self-test to try it with: ``sample_question = "is it red?"``."""
        question = _member(self.task, "sample_question")
        return question if isinstance(question, str) and question.strip() else None

    @property
    def head_is_vision(self) -> bool:
        """Whether its head belongs to the vision part; see `Sees`."""
        return _member(self.task, "head_is_vision") is True

    @property
    def attends_by_rows(self) -> bool:
        """Whether its attention comes row by row; see `Attends`."""
        return _member(self.task, "attends_by_rows") is True

    @property
    def revision(self) -> str | None:
        """Which version of a model of a hub it is: the hash of a commit, or a name."""
        revision = _member(self.task, "revision")
        return revision if isinstance(revision, str) else None


# By the field of `Powers`: the functions that make a power, all of which a task must have
MEMBERS: dict[str, tuple[Callable[..., Any], ...]] = {
    "restarts": (Restarts.begin, Restarts.scores_from),
    "sees": (Sees.see,),
    "shallow": (Shallow.shallow,),
    "identified": (Identified.digest,),
    "hears": (Hears.shortened, Hears.question_gradients),
    "meets": (Meets.meet,),
    "attends": (Attends.attend,),
    "contrasts": (Contrasts.rather,),
    "scoped": (Scoped.scope,),
    "notes_pictures": (NotesPictures.picture_notes,),
    "stocked": (Stocked.stock,),
    "layered": (Layered.layers, Layered.at),
    "beneath": (Beneath.risen,),
    "reads_out": (ReadsOut.read_out,),
    "regional": (Regional.within,),
}


def powers_of(task: Any) -> Powers:
    """What a task offers beside the Task protocol, by the signatures of its members.

    A member of another signature is the user's own, and left alone. Raises InputError where a power is clearly meant
    and cannot be called as vlx calls it: by a first two parameters called as the protocol's, or by both members of a
    pair of which one does not fit.

    >>> class Mine:  # with a method and an attribute of its own
    ...     def begin(self): ...
    ...     digest = "a summary"
    >>> powers = powers_of(Mine())
    >>> powers.restarts, powers.identified
    (None, None)
    """
    having = {name: task for name, wanted in MEMBERS.items() if _has(task, wanted)}
    return Powers(task, **having)


def meet(task: Task, features: Features, targets: Sequence[Target]) -> tuple[Features, list[Target]]:
    """Where targets are explained: the features there, and the targets with their rows of them.

    Of a task that `Meets` its text those are the features that have met the targets' texts, a row each; of any other
    ``features`` as they are. There is no other way to such features.

    >>> site, targets = meet(task, task.features(inputs), targets)
    >>> task.scores(site.A, targets, site.rest)
    """
    meets = powers_of(task).meets
    if meets is None:
        return features, list(targets)
    texts = list(dict.fromkeys((target.row, target.tokens) for target in targets))
    number = {text: row for row, text in enumerate(texts)}
    with torch.no_grad():
        met = meets.meet(features, texts)
    return met, [replace(target, row=number[target.row, target.tokens]) for target in targets]


def _has(task: Any, wanted: Sequence[Callable[..., Any]]) -> bool:
    """Whether a task has all of these functions; raises InputError where it clearly should have."""
    members = [_member(task, one.__name__) for one in wanted]
    if not any(map(callable, members)):
        return False
    fits = [fit(member, one) for member, one in zip(members, wanted, strict=True)]
    if "fits" in fits and all(one in ("fits", "may") for one in fits):
        return True
    meant = len(wanted) > 1 and "fits" in fits and all(map(callable, members))
    for member, one, how in zip(members, wanted, fits, strict=True):
        if how == "lacks" or (meant and how == "other"):
            raise InputError(_trouble(task, wanted, member, one))
    return False


def lacking(task: Any, wanted: Callable[..., Any]) -> str:
    """What to say of a task without a function of a protocol: that it has none, or that its own is another thing.

    >>> lacking(task, Sees.see), lacking(other, Sees.see)
    ('no see()', 'a see(path) of its own and no see(inputs)')
    """
    name, member = wanted.__name__, _member(task, wanted.__name__)
    if not callable(member):
        return f"no {name}()"
    return f"a {name}{shortened(told(member), 40)} of its own and no {name}{parameters(wanted)}"


def _trouble(task: Any, wanted: Sequence[Callable[..., Any]], member: Any, one: Callable[..., Any]) -> str:
    name = shortened(str(getattr(task, "name", type(task).__name__)), 30)
    power = " and ".join(f"{each.__name__}{parameters(each)}" for each in wanted)
    given = f"{one.__name__}{shortened(told(member), 50)}"
    return f"{name}: vlx calls {power}, which {given} cannot take; give it these parameters, or rename what is your own"


def _member(task: Any, name: str) -> Any:
    """A member of a task by its name; None where there is none, or where a property of the user's own raises."""
    try:
        return getattr(task, name, None)
    except Exception:  # any code may stand behind a property
        return None


def _are_texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)

"""What an explanation is: frozen records over arrays, which stay whole without the model.

Maps are kept as the engine gave them, signed and in score per cell; pictures of them are painted on demand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from vlx.errors import WordNotFound
from vlx.explanation.map_check import MapCheck
from vlx.explanation.reasons import Because
from vlx.pictures.placement import Placement

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from pandas import DataFrame

Array = NDArray[Any]
Choice = str | Sequence[str | int | tuple[str, int]]  # of words
Titles = bool | Sequence[str] | Callable[["WordExplanation"], str]


class FigureDict(TypedDict, total=False):
    """The options of `Explanation.plot` as they are written; what each does is said there."""

    words: Choice | None
    columns: int
    cmap: "str | Colormap | None"
    titles: Titles
    dpi: int | None
    scale: str


@dataclass(frozen=True)
class Look:
    """What the model makes of other pictures in place of its own, with the same text before the word.

    ``kind`` is the name of a reference made of the picture (`vlx.pictures.edits.MADE`), "your own", "plain colour"
    (those of your own that are one colour), "blurred" or "swapped"; for each such picture ``logprobs`` holds the word's
    log-probability in nats (of a contrast: the difference), ``said`` what the model would have said there.
    """

    kind: str
    logprobs: tuple[float, ...]
    said: tuple[str, ...]


@dataclass(frozen=True)
class QuestionWord:
    """One word of the question, and what the answer owes to it.

    ``left_out`` is the answer's log-probability less that without the word, in nats (of a contrast: the difference);
    ``gradient`` the score's gradient × the word's embedding, in the unit of the target; None where the model does not
    tell its embedding.
    """

    word: str
    left_out: float
    gradient: float | None = None


@dataclass(frozen=True, eq=False)
class Occlusion:
    """How much the score falls when a patch of the picture is hidden, [h, w] on the grid of A, and its agreement.

    ``agreement`` is the rank correlation of ``falls`` with the heat map (paper, section 6.2); ``patch`` the side of the
    patch in pixels of the prepared picture.
    """

    falls: Array
    agreement: float
    patch: int


@dataclass(frozen=True, eq=False)
class WordExplanation:
    """Why the model said one word, one phrase, one answer or the whole text.

    ``score`` is in the unit of ``target`` (nats for ``logprob``), ``weights`` is α [K], the mean gradient per unit
    (paper, eq. 1), ``signed`` the map S [h, w] of ``method`` before the ReLU, ``opposed`` that of the negated score by
    ``against_method``: −S for methods that are linear in the gradient; Grad-CAM++ has that of Grad-CAM, LayerCAM and
    attention that of HiResCAM. ``check`` says what the score loses without the cells that the map ranks highest,
    ``against_check`` what it gains without those that ``opposed`` does; only where that holds is it a counterfactual.
    Both are None where they were not asked for.
    ``guided`` is Guided Grad-CAM, signed, on the prepared picture as the model has its channels, float [C, H', W'], in
    score × gradient, not normalised; None when it was not asked for.
    ``outputs`` says what the model's output means ("softmax", "sigmoid", "probabilities", "value"; see
    `vlx.protocol.outputs`). A value is a number without a probability: ``target`` is "value", ``logprob`` NaN, ``seen``
    in the number's unit. ``seen`` is what log p owes to the picture, in nats: log p − log p with a reference in its
    place, same prefix, each bounded by log C of C answers and averaged (a number: in its own unit, not bounded);
    ``seen_by`` the same by reference. ``looked`` is L, the mean of min(|log p − log p′|, 1 nat): near 0 where the
    picture hardly matters. All are None or empty when they were not asked for. ``looks`` at other pictures and
    ``occlusion`` of parts of this one are there when they were asked for, and ``because`` too. ``measured`` is what
    probes of the user's own say of it, by their names; see `vlx.probes.probe`. ``mapped``: whether a map was made;
    where none was asked for, ``weights``, ``signed`` and ``opposed`` are NaN everywhere, and a note says so.
    ``reasoning``: it stands where the model reasons before it answers (``<think>…</think>``).
    """

    label: str
    score: float
    logprob: float
    alternatives: tuple[tuple[str, float], ...]
    weights: Array
    signed: Array
    opposed: Array
    placement: Placement
    target: str
    method: str = ""
    outputs: str = "softmax"
    seen: float | None = None
    seen_by: dict[str, float] = field(default_factory=dict)
    looked: float | None = None
    looks: tuple[Look, ...] = ()
    occlusion: Occlusion | None = None
    guided: Array | None = None
    because: Because | None = None
    notes: tuple[str, ...] = ()
    check: MapCheck | None = None
    against_method: str = ""
    against_check: MapCheck | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    mapped: bool = True
    reasoning: bool = False

    @property
    def heatmap(self) -> NDArray[np.float32]:
        """max(S, 0) on the user's picture, float32 [H, W], in score per cell; 0 where the model never saw it.

        NaN where it has no map.
        """
        return self.placement.paint(np.maximum(self.signed, 0))

    @property
    def against(self) -> NDArray[np.float32]:
        """What speaks against it on the user's picture, float32 [H, W] (paper, section 3.3); see ``against_check``."""
        return self.placement.paint(np.maximum(self.opposed, 0))

    @property
    def counterfactual(self) -> bool:
        """Whether ``against`` passed its trial: without those cells the score rises, more than without random ones."""
        return self.against_check is not None and self.against_check.holds

    def __repr__(self) -> str:
        h, w = self.signed.shape
        seen = "" if self.seen is None else f", seen={self.seen:+.2f}"
        shape = f"map {h}×{w}, {len(self.weights)} units" if self.mapped else "no map"
        return f"WordExplanation({self.label!r}, {self.target}={self.score:.3f}{seen}, {shape})"


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the model said this about this picture: one `WordExplanation` a word, and the text as a whole.

    ``image`` is the picture as the user has it, upright, uint8 [H, W, 3]; ``question`` and its words what was asked
    about it; ``others`` the other likely answers, each explained; ``instead_of`` the answer of a contrast, or the word
    of one in a caption (``text``, of which ``words`` holds that word alone), that is not explained; ``scope`` what the
    task can prove to lie outside of what it was made for (nothing is no promise that all lies within). ``provenance``
    says which model, layer, method, target, sizes and versions made it. ``missing`` is None, or the SHA-256 of the
    picture where the explanation was saved without it: ``image`` is plain grey then. ``unmapped`` are the words without
    a map; ``provenance["words"]`` says why they have none.
    """

    text: str
    words: tuple[WordExplanation, ...]
    sentence: WordExplanation
    phrases: tuple[WordExplanation, ...]
    image: NDArray[np.uint8]
    task: str
    method: str
    placement: Placement
    forced: bool = False
    others: tuple["Explanation", ...] = ()
    question: str | None = None
    question_words: tuple[QuestionWord, ...] = ()
    instead_of: str | None = None
    scope: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    missing: str | None = None

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Which pixels of the user's picture the model saw, bool [H, W]; crops leave the rest out."""
        return self.placement.visible()

    @property
    def unmapped(self) -> tuple[WordExplanation, ...]:
        """The words of which no map was asked for; see ``words`` of `vlx.explain`."""
        return tuple(word for word in self.words if not word.mapped)

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[WordExplanation]:
        return iter(self.words)

    def __getitem__(self, key: SupportsIndex | str | tuple[str, int]) -> WordExplanation:
        """A word by position, by label when it stands there once, or by (label, occurrence)."""
        if isinstance(key, SupportsIndex):
            return self._at(key.__index__())
        label, occurrence = key if isinstance(key, tuple) else (key, None)
        positions = [i for i, word in enumerate(self.words) if word.label == label]
        return self.words[self._choose(label, positions, occurrence)]

    def _at(self, position: int) -> WordExplanation:
        if not -len(self) <= position < len(self):
            raise IndexError(f"there is no word {position}; the text has {len(self)}: {self.text!r}")
        return self.words[position]

    def _choose(self, label: str, positions: list[int], occurrence: int | None) -> int:
        if not positions:
            raise WordNotFound(f"{label!r} is not among the words: {', '.join(word.label for word in self.words)}")
        if occurrence is None and len(positions) > 1:
            choices = ", ".join(f'why["{label}", {n}] at position {p}' for n, p in enumerate(positions))
            raise WordNotFound(f"{label!r} stands there {len(positions)} times; choose one: {choices}")
        if occurrence is not None and not -len(positions) <= occurrence < len(positions):
            raise WordNotFound(f"{label!r} stands there {len(positions)} time(s); there is no number {occurrence}")
        return positions[occurrence or 0]

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        picture = f"picture {width}×{height}{'' if self.missing is None else ' (not kept)'}"
        return f"Explanation({self.text!r}, {len(self)} words, {picture}, {self.method}, {self.task})"

    def save(self, path: str | Path, *, picture: bool = True, **options: Unpack[FigureDict]) -> Path:
        """Write to ``path``; the ending decides.

        For people: .html, .md, and the figure as .png, .pdf (with its fonts) or .svg (text stays text), which take the
        options of `plot`; of those the pictures are drawn at 300 dots an inch unless ``dpi`` says otherwise. For other
        programs .csv, a row a word with the columns of results.csv (an apostrophe stands before texts that a
        spreadsheet would calculate). To load again: .json and .h5, with ``picture=False`` without the picture, of which
        the SHA-256 and the size are kept. The file is whole or not there at all.

        Raises InputError for another ending or option, OutputError where it cannot be put.

        >>> why.save("why.pdf", words=["dog", "grass"], columns=3)
        """
        from vlx import report  # the one upward import: drawing is needed only here

        return report.save(self, Path(path), picture, **options)

    @classmethod
    def load(cls, path: str | Path, picture: Any = None) -> "Explanation":
        """Read what ``save`` wrote as .h5 or .json; no model is needed.

        ``picture``: the one that was explained, as `vlx.explain` takes it, for a file that was saved without it; its
        pixels are held against the hash in the file. Without it such an explanation is drawn on grey. Raises InputError
        for files that cannot be read, and for another picture.

        >>> why.save("why.h5", picture=False)
        >>> vlx.Explanation.load("why.h5", picture="dog.jpg")
        """
        from vlx.explanation import storage

        return storage.load(Path(path), picture)

    def plot(
        self,
        columns: int = 5,
        *,
        words: Choice | None = None,
        cmap: "str | Colormap | None" = None,
        titles: Titles = True,
        dpi: int | None = None,
        scale: str = "own",
    ) -> Any:
        """Draw the picture and one map a word with matplotlib; returns the Figure and never shows it.

        ``words``: which, in this order, by label, position or (label, occurrence), or "content" for those that say
        something of their own; by default all, and an answer's alternatives. ``columns``: panels beside each
        other. ``cmap``: a matplotlib colormap or its name instead of vlx's own colours; the map stays
        transparent where it is 0, and where it has two signs the colormap's middle lies at 0. ``titles``: False for
        none, a list with one for each word, or a function from a `WordExplanation` to a text. ``dpi``: dots an inch, 10
        to 1200. ``scale``: "own", each map its own, which fades where nothing that was tried carries the word, with a
        bar under it for what of p is lost without the map's cells; or "shared", one for all maps.

        Raises WordNotFound for words that are not there, InputError for other options that cannot be.

        >>> why.plot(words=["dog", 4], cmap="viridis", titles=lambda word: f"{word.label}: {word.seen:.1f} nats")
        """
        from vlx import report

        return report.plot(self, columns=columns, words=words, cmap=cmap, titles=titles, dpi=dpi, scale=scale)

    def to_dataframe(self) -> "DataFrame":
        """The words as a pandas DataFrame, a row each, with the columns of results.csv.

        ``logprob`` and ``seen`` in nats, ``owed`` whether the picture carries the word, ``peak_left`` to
        ``peak_bottom`` the cell at the map's peak in pixels of the picture; None or NaN for what was not asked for.
        Raises InputError where pandas is not installed.

        >>> pandas.concat(why.to_dataframe() for why in vlx.explain_many(task, pictures))
        """
        from vlx import report

        return report.dataframe(self)

    def _repr_html_(self) -> str:
        from vlx import report

        return report.fragment(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str | bytes]:
        from vlx import report

        return report.bundle(self)

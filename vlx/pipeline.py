"""From a picture to its explanation: open, prepare, features, predict, attribute, probe, assemble."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from os import PathLike
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlx import __version__, engine, language
from vlx.errors import InputError, ModelError
from vlx.explanation import Array, Explanation, WordExplanation
from vlx.geometry import Frame, Placement
from vlx.images import Picture, open_image
from vlx.kept import Kept
from vlx.nested import nested
from vlx.probes import blank_logprobs
from vlx.task import TARGET_KINDS, Features, Prediction, Query, Target, TargetKind, Task, sentence_target, word_target
from vlx.tracing import measure_frame
from vlx.weighting import Method, choose

MEMBERS = ("name", "kind", "defaults", "notes", "blank", "prepare", "place", "version", "features", "predict", "scores")
UNUSED = "the score does not depend on the feature map: the map is zero everywhere"


def explain(task: Task, image: Any, **options: Any) -> Explanation:
    """Explain what ``task`` says about one picture, or what it is made to say.

    ``image``: a path, PIL picture, uint8 [H, W, 3] array or float [3, H, W] tensor in [0, 1]. Options:
    ``caption`` (forced text), ``question``, ``answer``, ``instead_of`` (contrast), ``beams``; ``method``
    (gradcam, hirescam, gradcam++, xgradcam, layercam) and ``target`` (logprob, logit, prob, margin), by default the
    adapter's, chosen by measurement; ``seen=False`` leaves out the blank-picture probe.

    Raises ImageError, InputError, UnknownWords or ModelError, each naming what to change.
    """
    return next(iter(explain_many(task, [image], **options)))


def explain_many(
    task: Task,
    images: Iterable[Any],
    *,
    batch_size: int = 16,
    caption: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    instead_of: str | None = None,
    beams: int = 1,
    method: str | None = None,
    target: str | None = None,
    seen: bool = True,
) -> Iterator[Explanation]:
    """Explain many pictures, ``batch_size`` at a time; options as in `explain`, the same for every picture."""
    _check_task(task)
    if isinstance(images, str | PathLike | Image.Image | np.ndarray | Tensor):
        raise InputError("explain_many() takes several pictures; for one use explain(), or give a list")
    texts = {"caption": caption, "question": question, "answer": answer, "instead_of": instead_of}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise InputError(f"{name} must be a text, got {type(text).__name__}")
    if batch_size < 1 or beams < 1:
        raise InputError(f"batch_size={batch_size} and beams={beams} must be 1 or more")
    wish = _Wish(
        Query(caption, question, answer, instead_of, beams),
        choose(method or task.defaults.method),
        _target_kind(target or task.defaults.target),
        seen,
    )
    source = iter(images)
    while batch := list(islice(source, batch_size)):
        shown = [_show(task, open_image(image)) for image in batch]
        for _, same_size in groupby(shown, key=lambda one: one.inputs.shape):
            yield from _explain_batch(task, list(same_size), wish)


def _check_task(task: Any) -> None:
    """Raises InputError when a member of the Task protocol is missing, naming it."""
    if isinstance(task, str) or not all(callable(getattr(task, name, None)) for name in ("predict", "scores")):
        given = repr(task) if isinstance(task, str) else type(task).__name__
        raise InputError(f"explain() needs a task, got {given}; make one with vlx.load(…) or an adapter")
    own = {*dir(task)}
    lacking = [name for name in MEMBERS if name not in own]
    if lacking:
        raise InputError(
            f"{type(task).__name__} lacks {', '.join(lacking)}; see vlx.task.Task for what a task must have"
        )


@dataclass(frozen=True)
class _Wish:
    query: Query
    method: Method
    kind: TargetKind
    seen: bool


@dataclass(frozen=True, eq=False)
class _Shown:
    """A picture as the user has it, as the model gets it, and how the two lie upon each other."""

    picture: Picture
    inputs: Tensor
    frame: Frame

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.image.height, self.picture.image.width


def _show(task: Task, picture: Picture) -> _Shown:
    inputs = task.prepare(picture.image)
    if not isinstance(inputs, Tensor) or inputs.ndim != 3 or len(inputs) != 3:
        given = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ModelError(f"{task.name}: prepare must turn a PIL picture into a tensor [3, H, W], it gave {given}")
    return _Shown(picture, inputs, _frame(task, (picture.image.height, picture.image.width)))


_frames = Kept()


def _frame(task: Task, size: tuple[int, int]) -> Frame:
    """How pictures of ``size`` (H, W) lie in the task's input; measured once for each size and ``prepare``."""
    known = _frames.of(task)
    prepare, frame = known.get(size, (None, None))
    if frame is None or prepare != task.prepare:
        frame = measure_frame(task.prepare, size)
        known[size] = (task.prepare, frame)
    return cast(Frame, frame)


def _explain_batch(task: Task, shown: list[_Shown], wish: _Wish) -> Iterator[Explanation]:
    features = task.features(task.place(torch.stack([one.inputs for one in shown])))
    predictions = task.predict(features, [wish.query] * len(shown))
    for row, (one, prediction) in enumerate(zip(shown, predictions, strict=True)):
        yield _explain_one(task, one, _row(features, row), prediction, wish)


def _row(features: Features, row: int) -> Features:
    maps = {layer: A[row : row + 1] for layer, A in features.maps.items()}
    return replace(features, maps=maps, rest=nested(lambda tensor: tensor[row : row + 1], features.rest))


def _explain_one(task: Task, shown: _Shown, features: Features, prediction: Prediction, wish: _Wish) -> Explanation:
    targets = [word_target(prediction, position, 0, wish.kind) for position in range(len(prediction.words))]
    is_text = task.kind == "captioning"
    asked = [*targets, sentence_target(prediction, 0)] if is_text and targets else targets
    placement = Placement(features.grid, shown.frame)
    words: tuple[WordExplanation, ...] = ()
    sentence = _nothing(features, placement)
    if asked:
        found = _numpy(engine.attribute(task, features.A, asked, wish.method, features.rest))
        owed = _owed(task, features, shown.size, prediction, asked) if wish.seen else None
        words = tuple(_word(prediction, n, found, owed, placement, wish.kind) for n in range(len(targets)))
        sentence = _sentence(prediction, found, owed, placement) if is_text else words[0]
    return Explanation(
        text=prediction.text,
        words=words,
        sentence=sentence,
        phrases=_phrases(words) if is_text else (),
        image=np.asarray(shown.picture.image),
        task=task.kind,
        method=wish.method.name,
        placement=placement,
        forced=prediction.forced,
        notes=_notes(task, prediction, shown, features, words),
        provenance=_provenance(task, features, shown, wish),
    )


def _owed(
    task: Task, features: Features, size: tuple[int, int], prediction: Prediction, asked: Sequence[Target]
) -> list[float]:
    """What each target's log-probability (a contrast's difference) owes to the picture: less that of a blank one."""
    own = [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]
    own += asked[len(own) :]
    blind = blank_logprobs(task, size, own)
    if any(term.weight < 0 for target in own for term in target.terms):
        shown = engine.scores(task, features.A, own, features.rest).tolist()
    else:
        shown = [word.logprob for word in prediction.words]
        shown += [sum(shown)] * (len(own) - len(shown))
    return [there - gone for there, gone in zip(shown, blind, strict=True)]


def _numpy(found: engine.Attribution) -> dict[str, Array]:
    return {
        name: getattr(found, name).cpu().numpy() if name != "scores" else found.scores.double().cpu().numpy()
        for name in ("scores", "weights", "signed", "opposed", "depends")
    }


def _word(
    prediction: Prediction, n: int, found: dict[str, Array], owed: list[float] | None, placement: Placement, kind: str
) -> WordExplanation:
    word = prediction.words[n]
    return WordExplanation(
        label=word.label,
        score=float(found["scores"][n]),
        logprob=word.logprob,
        alternatives=tuple((other.label, other.logprob) for other in word.alternatives),
        weights=found["weights"][n],
        signed=found["signed"][n],
        opposed=found["opposed"][n],
        placement=placement,
        target=kind,
        seen=None if owed is None else owed[n],
        notes=word.notes if found["depends"][n] else (*word.notes, UNUSED),
    )


def _sentence(
    prediction: Prediction, found: dict[str, Array], owed: list[float] | None, placement: Placement
) -> WordExplanation:
    total = sum(word.logprob for word in prediction.words)
    return WordExplanation(
        label=prediction.text,
        score=float(found["scores"][-1]),
        logprob=total,
        alternatives=(),
        weights=found["weights"][-1],
        signed=found["signed"][-1],
        opposed=found["opposed"][-1],
        placement=placement,
        target="logprob",
        seen=None if owed is None else owed[-1],
        notes=() if found["depends"][-1] else (UNUSED,),
    )


def _nothing(features: Features, placement: Placement) -> WordExplanation:
    """The explanation of an empty text: no score, no map."""
    units, *cells = features.A.shape[1:]
    empty = np.zeros(cells, np.float32)
    return WordExplanation("", 0.0, 0.0, (), np.zeros(units, np.float32), empty, empty, placement, "logprob")


def _phrases(words: Sequence[WordExplanation]) -> tuple[WordExplanation, ...]:
    """Noun phrases: their words' scores and signed maps summed."""
    spans = language.phrases([word.label for word in words])
    return tuple(_joined(words[first:stop]) for first, stop in spans)


def _joined(words: Sequence[WordExplanation]) -> WordExplanation:
    return replace(
        words[0],
        label=" ".join(word.label for word in words),
        score=sum(word.score for word in words),
        logprob=sum(word.logprob for word in words),
        alternatives=(),
        weights=np.sum([word.weights for word in words], 0),
        signed=np.sum([word.signed for word in words], 0),
        opposed=np.sum([word.opposed for word in words], 0),
        seen=None if words[0].seen is None else sum(cast(float, word.seen) for word in words),
        notes=tuple(dict.fromkeys(note for word in words for note in word.notes)),
    )


def _notes(
    task: Task, prediction: Prediction, shown: _Shown, features: Features, words: Sequence[WordExplanation]
) -> tuple[str, ...]:
    notes = [*task.notes, *shown.picture.notes, *prediction.notes]
    if shown.frame.note:
        notes.append(shown.frame.note)
    if features.grid.source.startswith("half-pixel"):
        notes.append("no receptive field was found; cells are placed by the half-pixel rule")
    unused = [word.label for word in words if UNUSED in word.notes]
    if unused:
        notes.append(f"{UNUSED} ({', '.join(unused)})")
    return tuple(dict.fromkeys(notes))


def _provenance(task: Task, features: Features, shown: _Shown, wish: _Wish) -> dict[str, Any]:
    return {
        "model": task.name,
        "layer": features.layer,
        "method": wish.method.name,
        "target": wish.kind,
        "gradients": task.defaults.gradients,
        "feature_map": list(features.A.shape[1:]),
        "prepared": list(shown.inputs.shape),
        "geometry": features.grid.source,
        "image": shown.picture.name,
        "beams": wish.query.beams,
        "versions": {"vlx": __version__, "torch": torch.__version__},
    }


def _target_kind(name: str) -> TargetKind:
    if name not in TARGET_KINDS:
        raise InputError(f"target={name!r}; known are {', '.join(TARGET_KINDS)}")
    return cast(TargetKind, name)

"""From a picture to its explanation: open, prepare, features, predict, attribute, probe, assemble."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import ismethod
from itertools import groupby, islice
from os import PathLike
from typing import Any, cast
from weakref import WeakMethod

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlx import __version__, assembly, attention, engine, methods, probes, subwords
from vlx.assembly import Shown
from vlx.because import Naming, becauses
from vlx.errors import InputError, ModelError
from vlx.explanation import Array, Explanation
from vlx.geometry import Frame, Grid, Placement
from vlx.images import Picture, open_image
from vlx.kept import Kept
from vlx.methods import AnyMethod
from vlx.nested import nested
from vlx.neuron_names.table import NeuronNames
from vlx.occlusion import hidden_parts, occlude, parts
from vlx.pixels import guided_gradcam, pixel_gradients
from vlx.question import question_words
from vlx.reasons import Because
from vlx.task import (
    TARGET_KINDS,
    Alternative,
    Features,
    Hears,
    Mixes,
    Prediction,
    Query,
    Sees,
    Target,
    TargetKind,
    Task,
    Term,
    Word,
    sentence_target,
    word_target,
)
from vlx.tracing import measure_frame
from vlx.weighting import METHODS, Method

MEMBERS = ("name", "kind", "defaults", "notes", "blank", "prepare", "place", "version", "features", "predict", "scores")
SINGLE = (str, PathLike, Image.Image, np.ndarray, Tensor)  # one picture, not several
RIVALS = 5  # other answers explained beside the one asked for


def explain(task: Task, image: Any, **options: Any) -> Explanation:
    """Explain what ``task`` says about one picture, or what it is made to say.

    ``image``: a path, PIL picture, uint8 [H, W, 3] array or float [3, H, W] tensor in [0, 1]. Options:
    ``caption`` (forced text), ``prompt`` (how a caption begins), ``question``, ``answer``, ``instead_of`` (contrast),
    ``beams``; ``method`` (gradcam, hirescam, gradcam++, xgradcam, layercam, occlusion; of models with attention
    gradattention and gradrollout) and ``target`` (logprob, logit, prob, margin), by default the adapter's;
    ``subword_map`` (max, first, sum): how the map of a word of several tokens comes from theirs; ``seen=False`` leaves
    out the blank-picture probe, ``looks=True`` adds what the model makes of it blurred and of other ones (``swaps``:
    pictures of your own for that), ``occlusion=True`` hides it part by part, ``guided=True`` adds Guided Grad-CAM
    (paper, section 3.2). ``names``: a table of neuron names, a file of one, or "shipped" for the one that came with an
    embedded model; then every word has its ``because``, each reason tried by experiment unless ``check=False`` (units
    are switched ``off`` to "zero" or to their "mean"); ``by="alpha"`` picks units as the paper does (section 7).

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
    prompt: str | None = None,
    method: str | None = None,
    target: str | None = None,
    subword_map: str = "max",
    seen: bool = True,
    looks: bool = False,
    swaps: Iterable[Any] | None = None,
    occlusion: bool = False,
    guided: bool = False,
    names: NeuronNames | str | PathLike[str] | None = None,
    check: bool = True,
    by: str = "contribution",
    off: str = "zero",
) -> Iterator[Explanation]:
    """Explain many pictures, ``batch_size`` at a time; options as in `explain`, the same for every picture."""
    _check_task(task)
    if isinstance(images, SINGLE):
        raise InputError("explain_many() takes several pictures; for one use explain(), or give a list")
    texts = {"caption": caption, "question": question, "answer": answer, "instead_of": instead_of, "prompt": prompt}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise InputError(f"{name} must be a text, got {type(text).__name__}")
    if batch_size < 1 or beams < 1:
        raise InputError(f"batch_size={batch_size} and beams={beams} must be 1 or more")
    wish = Wish(
        Query(caption, question, answer, instead_of, beams, prompt),
        methods.choose(method or task.defaults.method),
        _target_kind(target or task.defaults.target),
        subwords.checked(subword_map),
        seen,
        looks or swaps is not None,
        None if swaps is None else _swaps(swaps),
        occlusion,
        guided,
        Naming.of(task, names, check, by, off),
    )
    if isinstance(wish.method, methods.Hiding) and (occlusion or guided):
        raise InputError("method='occlusion' is that probe, and makes no guided map; leave occlusion and guided out")
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
class Wish:
    """What the user asked for."""

    query: Query
    method: AnyMethod
    kind: TargetKind
    subwords: str
    seen: bool
    looks: bool
    swaps: list[Image.Image] | None
    occlusion: bool
    guided: bool
    naming: Naming | None = None


def _swaps(pictures: Iterable[Any]) -> list[Image.Image]:
    opened = None if isinstance(pictures, SINGLE) else [open_image(picture).image for picture in pictures]
    if not opened:
        raise InputError("swaps takes one or more pictures of something else, in a list; leave it out for drawn scenes")
    return opened


def _show(task: Task, picture: Picture) -> Shown:
    inputs = task.prepare(picture.image)
    if not isinstance(inputs, Tensor) or inputs.ndim != 3 or len(inputs) != 3:
        given = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ModelError(f"{task.name}: prepare must turn a PIL picture into a tensor [3, H, W], it gave {given}")
    return Shown(picture, inputs, _frame(task, (picture.image.height, picture.image.width)))


_frames = Kept()


def _frame(task: Task, size: tuple[int, int]) -> Frame:
    """How pictures of ``size`` (H, W) lie in the task's input; measured once for each size and ``prepare``."""
    known, prepare = _frames.of(task), task.prepare
    measured, frame = known.get(size, (None, None))
    if frame is None or measured() != prepare:
        frame = measure_frame(prepare, size)
        known[size] = (WeakMethod(prepare) if ismethod(prepare) else lambda: prepare, frame)  # a method holds its task
    return cast(Frame, frame)


def _explain_batch(task: Task, shown: list[Shown], wish: Wish) -> Iterator[Explanation]:
    features = task.features(task.place(torch.stack([one.inputs for one in shown])))
    predictions = task.predict(features, [wish.query] * len(shown))
    for row, (one, prediction) in enumerate(zip(shown, predictions, strict=True)):
        yield _explain_one(task, one, _row(features, row), prediction, wish)


def _row(features: Features, row: int) -> Features:
    maps = {layer: A[row : row + 1] for layer, A in features.maps.items()}
    return replace(features, maps=maps, rest=nested(lambda tensor: tensor[row : row + 1], features.rest))


def _explain_one(task: Task, shown: Shown, seen: Features, prediction: Prediction, wish: Wish) -> Explanation:
    """Explain the words of one prediction, and beside an answer the other likely ones, in one attribution."""
    features = _mixed(task, seen, prediction)
    targets = [word_target(prediction, position, 0, wish.kind) for position in range(len(prediction.words))]
    rivals = _rivals(prediction) if task.kind == "vqa" else []
    asked = [*targets, *(_alone(prediction, rival, wish.kind) for rival in rivals)]
    if task.kind == "captioning" and targets:
        asked.append(sentence_target(prediction, 0))
    placement = Placement(_grid(features, shown, wish), shown.frame)
    if not asked:
        return assembly.nothing(task, shown, features, prediction, placement, _provenance(task, features, shown, wish))
    words = len(targets) if task.kind == "captioning" else 0  # answers are one score
    found = assembly.arrays(_attributed(task, shown, features, asked, words, wish))
    found |= _probed(task, shown, features, prediction, asked, found["signed"], wish)
    if isinstance(task, Hears) and wish.query.text is not None:
        found["question_words"] = question_words(task, seen, wish.query.text, asked[0], _likely(prediction)[0])
    return assembly.explanation(
        task, shown, features, prediction, rivals, found, placement, _provenance(task, features, shown, wish)
    )


def _mixed(task: Task, features: Features, prediction: Prediction) -> Features:
    """The features at which a single-stream model is explained: those that have met the text."""
    return task.mixed(features, [(0, prediction.tokens)]) if isinstance(task, Mixes) else features


def _grid(features: Features, shown: Shown, wish: Wish) -> Grid:
    """The grid that the maps are on: A's, or the parts of the prepared picture that are hidden."""
    hides = isinstance(wish.method, methods.Hiding)
    return parts((shown.inputs.shape[1], shown.inputs.shape[2])) if hides else features.grid


def _attributed(
    task: Task, shown: Shown, features: Features, asked: Sequence[Target], words: int, wish: Wish
) -> engine.Attribution:
    """Maps of all targets by the method wished for; the first ``words`` targets are words."""
    method = wish.method

    def explained(targets: Sequence[Target]) -> engine.Attribution:
        if isinstance(method, methods.Hiding):
            blank = task.prepare(probes.blank_picture(task, shown.size))
            grid = _grid(features, shown, wish)
            return hidden_parts(task, shown.inputs, blank, features, targets, grid)
        if isinstance(method, Method):
            return engine.attribute(task, features.A, targets, method, features.rest)
        return attention.attribute(task, features.A, targets, method, features.rest)

    return subwords.attribute(asked, words, wish.subwords, explained)


def _rivals(prediction: Prediction) -> list[Alternative]:
    """Answers that are explained beside the one asked for: of a contrast its two sides, else the likeliest others."""
    word = prediction.words[0]
    if word.is_contrast:
        return list(word.sides)
    return [other for other in word.alternatives if not _is(other, word, prediction)][:RIVALS]


def _is(other: Alternative, word: Word, prediction: Prediction) -> bool:
    return other.asked == word.terms and other.tokens in (None, prediction.tokens)


def _alone(prediction: Prediction, rival: Alternative, kind: TargetKind) -> Target:
    """The target that asks for a rival answer: by itself, or as a margin its lead over the answer that was given."""
    terms, tokens = rival.asked, prediction.tokens if rival.tokens is None else rival.tokens
    if kind == "margin":
        answer = prediction.words[0]
        if answer.is_contrast or rival.terms:
            kind = "logit"
        else:
            terms += (Term(0, answer.terms[0].token, -1.0),)
    return Target(0, rival.label, terms, kind, tokens)


def _probed(
    task: Task,
    shown: Shown,
    features: Features,
    prediction: Prediction,
    asked: Sequence[Target],
    maps: Array,
    wish: Wish,
) -> dict[str, Any]:
    """What the probes that were wished for say of each target asked."""
    words = _likely(prediction)
    likely = [*words, *(replace(target, kind="logprob", terms=_plain(target)) for target in asked[len(words) :])]
    known = _logprobs(task, features, prediction, likely)
    found: dict[str, Any] = {"logprobs": known}
    if wish.looks or (wish.seen and task.kind == "vqa"):
        found["looks"] = probes.looks(
            task, shown.picture.image, wish.query, prediction, likely, others=wish.looks, swaps=wish.swaps
        )
    if wish.seen:
        blind = probes.blank_logprobs(task, shown.size, likely)
        found["owed"] = [there - gone for there, gone in zip(known, blind, strict=True)]
    if wish.occlusion:
        blank = task.prepare(probes.blank_picture(task, shown.size))
        window = shown.frame.window
        found["occlusion"] = occlude(task, shown.inputs, blank, features, asked, list(maps), window=window)
    if wish.guided:
        found["guided"] = _guided(task, shown, features, asked, maps)
    if wish.naming is not None:
        found["because"] = _reasons(task, features, asked, likely, maps, wish)
    return found


def _likely(prediction: Prediction) -> list[Target]:
    """The words of a prediction as log-probabilities."""
    return [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]


def _reasons(
    task: Task, features: Features, asked: Sequence[Target], likely: Sequence[Target], maps: Array, wish: Wish
) -> list[Because | None]:
    """Why each target asked, in concepts; a whole caption has no reasons of its own."""
    assert wish.naming is not None
    count = len(asked) - (task.kind == "captioning")
    naming, method = wish.naming, wish.method
    merged = task.kind == "captioning" and any(len(target.terms) > 1 for target in asked[:count])
    if not isinstance(method, Method) or (merged and wish.subwords != "sum"):  # a map that is not made of units
        method = method if isinstance(method, Method) else METHODS["hirescam"]
        maps = engine.attribute(task, features.A, asked[:count], method, features.rest).signed.cpu().numpy()
    found = becauses(
        task,
        features,
        asked[:count],
        likely[:count],
        maps[:count],
        method,
        naming.table,
        rule=naming.rule,
        check=naming.check,
        off=naming.off,
    )
    if method is not wish.method:
        note = f"Shares are of the gradient × activation of units, not of the {wish.method.name} map."
        found = [replace(one, shares_of=method.name, notes=(*one.notes, note)) for one in found]
    return [*found, *[None] * (len(asked) - count)]


def _plain(target: Target) -> tuple[Term, ...]:
    """What a rival or a sentence is asked for, without what it is compared with."""
    return tuple(term for term in target.terms if term.weight > 0)


def _logprobs(task: Task, features: Features, prediction: Prediction, likely: Sequence[Target]) -> list[float]:
    """The targets' log-probabilities (a contrast's difference) with the picture."""
    words = [word.logprob for word in prediction.words]
    if task.kind == "captioning":  # known from generation
        return [*words, sum(words)]
    if len(likely) == len(words) and not any(word.is_contrast for word in prediction.words):
        return words
    return engine.scores(task, features.A, likely, features.rest).tolist()


def _guided(task: Task, shown: Shown, features: Features, asked: Sequence[Target], maps: Array) -> list[Array]:
    """Guided Grad-CAM of each target on the prepared picture, [3, H', W'] each."""
    if not isinstance(task, Sees):
        raise InputError(f"{task.name} has no see(), which Guided Grad-CAM needs; leave guided=True out")
    found: list[Array] = []
    for chunk in engine.chunks(features.A, asked):
        _, gradient = engine.gradients(task, features.A, chunk, features.rest)
        carried = pixel_gradients(task, task.place(shown.inputs[None]), gradient, "guided")
        signed = torch.from_numpy(maps[len(found) : len(found) + len(chunk)])
        product = guided_gradcam(signed.to(carried.values), features.grid, carried.values)
        found += list(product.float().cpu().numpy())
    return found


def _provenance(task: Task, features: Features, shown: Shown, wish: Wish) -> dict[str, Any]:
    return {
        "model": task.name,
        **({} if (revision := getattr(task, "revision", None)) is None else {"revision": revision}),
        "layer": features.layer,
        "method": wish.method.name,
        "target": wish.kind,
        "gradients": task.defaults.gradients,
        "feature_map": list(features.A.shape[1:]),
        "prepared": list(shown.inputs.shape),
        "geometry": features.grid.source,
        "image": shown.picture.name,
        **({} if task.kind != "vqa" or wish.query.text is None else {"question": wish.query.text}),
        "beams": wish.query.beams,
        **({} if wish.query.prompt is None else {"prompt": wish.query.prompt}),
        **({} if wish.naming is None else {"names": wish.naming.origin}),
        "versions": {"vlx": __version__, "torch": torch.__version__},
    }


def _target_kind(name: str) -> TargetKind:
    if name not in TARGET_KINDS:
        raise InputError(f"target={name!r}; known are {', '.join(TARGET_KINDS)}")
    return cast(TargetKind, name)

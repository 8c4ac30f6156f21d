"""From a picture to its explanation: open, prepare, features, predict, attribute, probe, assemble."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from inspect import ismethod
from itertools import count, groupby, islice
from os import PathLike
from threading import Thread
from traceback import clear_frames
from typing import Any, Literal, TypeVar, Unpack, cast, overload
from weakref import WeakMethod

import torch

from vlx import process
from vlx.errors import Failure, InputError, in_own_words
from vlx.explanation.records import Explanation
from vlx.methods import registry
from vlx.pictures.opening import Picture, open_image
from vlx.pictures.placement import Frame
from vlx.pictures.prepare import Shown, prepared
from vlx.pictures.receptive_fields import measure_frame, refuse_on_its_side
from vlx.pipeline import recommend
from vlx.pipeline.batch import attempt, explained
from vlx.pipeline.options import SINGLE, Options, OptionsDict, Turns, each, shown
from vlx.probes import references
from vlx.protocol.identity import Kept, Latest
from vlx.protocol.powers import Regional, powers_of
from vlx.protocol.targets import Prediction, Query, joined
from vlx.protocol.task import Features, Task, predict

MEMBERS = ("name", "kind", "defaults", "notes", "blank", "prepare", "place", "version", "features", "predict", "scores")
Opened = tuple[str, Shown, Options]
T = TypeVar("T")
CLOSING = 5.0  # seconds that a run which is closed waits for the pictures that are being opened
PATIENCE = 100  # failures of an iterator of pictures in a row, before it is given up
UNUSABLE = "the options cannot be used"
BATCH = 16  # pictures that explain_many takes through the vision part at once


def explain(task: Task, image: Any, **options: Unpack[OptionsDict]) -> Explanation:
    """Explain what ``task`` says about one picture, or what it is made to say.

    ``image``: a path, PIL picture, uint8 or uint16 RGB array [H, W, 3], or float RGB tensor [3, H, W] in [0, 1]; the
    channels' order cannot be seen, and OpenCV's arrays are BGR: give ``array[..., ::-1]``. Options:
    ``caption`` (forced text), ``prompt`` (how a caption begins), ``question``, ``answer`` (a text, or a list of
    several that are each explained, from one run of the vision part), ``instead_of`` (a contrast: the other answer or
    class; of a caption a word, or its position, and the other word: ``{"dog": "cat"}``, by a method that knows both
    signs where none is named),
    ``beams``; ``method`` (gradcam, hirescam, gradcam++, xgradcam, layercam, ablationcam, scorecam, occlusion; of
    models with attention gradattention and gradrollout; "auto": what the pictures at hand tell, see `vlx.recommend`)
    and ``target`` (logprob, logit, prob, margin), by default the adapter's;
    ``subword_map`` (max, first, sum): how the map of a word of several tokens comes from theirs; ``references``:
    pictures of your own that are put in this one's place to tell what each word owes to it (a list or a folder; 16 or
    more can tell words that are said whatever the picture), by default five made of the picture
    (`vlx.probes.references`); ``seen=False`` leaves that out, ``looks=True`` adds what the model makes of it blurred
    and of drawn scenes (or of ``swaps``), ``occlusion=True`` hides it part by part, ``guided=True`` adds Guided
    Grad-CAM (paper, section 3.2). ``names``: a table of neuron names, a file of one, or "shipped" for the one that came
    with an embedded model; then every word has its ``because``, each reason tried by experiment unless ``check=False``
    (units are switched ``off`` to "zero" or to their "mean"); ``by="alpha"`` picks units as the paper does (section 7);
    ``where`` is the region of a dense output that is explained, bool [H, W] on the picture (`vlx.tasks.beyond.Dense`);
    ``words`` says which words have maps, and reasons where names are given: "content", "all", or a list of labels and
    positions. By default all words of a text have maps, of one of more than 30 words content words alone, outside of
    what the model reasons before it answers; content words have reasons. What a word owes to the picture is told of
    every word; one without a map says so, and ``provenance["words"]`` which they are and why. Every map has its
    ``check``, a trial of effect (`vlx.explanation.map_check`), unless ``check=False``; "cells" tries each cell of A
    alone, too.

    Raises ImageError, InputError, UnknownWords or ModelError, each naming what to change.
    """
    _check_task(task)
    process.settle()
    with in_own_words(UNUSABLE):
        given = Options.of(task, options)
    return next(_raising(_explained(task, iter([(image, given)]), 1)))


@overload
def explain_many(
    task: Task,
    images: Iterable[Any],
    *,
    batch_size: int = ...,
    errors: Literal["raise"] = ...,
    **options: Unpack[OptionsDict],
) -> Iterator[Explanation]: ...


@overload
def explain_many(
    task: Task,
    images: Iterable[Any],
    *,
    batch_size: int = ...,
    errors: Literal["keep"],
    **options: Unpack[OptionsDict],
) -> Iterator[Explanation | Failure]: ...


def explain_many(
    task: Task,
    images: Iterable[Any],
    *,
    batch_size: int = BATCH,
    errors: Literal["raise", "keep"] = "raise",
    **options: Unpack[OptionsDict],
) -> Iterator[Explanation | Failure]:
    """Explain many pictures, ``batch_size`` at a time; options as in `explain`, the same for every picture.

    ``answer``, ``question``, ``caption``, ``instead_of`` and ``prompt`` may be lists, one entry a picture; an entry of
    ``answer`` may be a list of its own. Options are checked at the call, pictures when their turn comes. One that
    cannot be explained, or that its iterator fails to give, costs itself alone: with ``errors="keep"`` a `Failure`
    (its ``name`` and the ``error``) stands in its place, with ``"raise"`` the error follows the explanations of those
    before it.

    >>> for found in vlx.explain_many(task, paths, errors="keep"):
    ...     print(found if isinstance(found, vlx.Failure) else found.text)
    """
    _check_task(task)
    if isinstance(images, SINGLE):
        raise InputError("explain_many() takes several pictures; for one use explain(), or give a list")
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size={batch_size!r} must be 1 or more")
    if errors not in ("raise", "keep"):
        raise InputError(f'errors={errors!r}; give "raise", or "keep" for a Failure in the place of a broken picture')
    process.settle()
    with in_own_words(UNUSABLE):
        turns = each(task, _iterable(images), options)
    explanations = _explained(task, turns, batch_size)
    return _raising(explanations) if errors == "raise" else _forgetting(explanations)


shown(explain)
shown(explain_many, batch_size=BATCH, errors="raise")


def _iterable(images: Any) -> Iterable[Any]:
    if not isinstance(images, Iterable):
        raise InputError(f"explain_many() takes several pictures in a list or an iterator, got {type(images).__name__}")
    return images


def _raising(explanations: Iterator[Explanation | Failure]) -> Iterator[Explanation]:
    for one in explanations:
        if isinstance(one, Failure):
            raise one.error
        yield one


def _forgetting(explanations: Iterator[Explanation | Failure]) -> Iterator[Explanation | Failure]:
    """The same; the frames of a kept error let go of their tensors."""
    for one in explanations:
        if isinstance(one, Failure):
            clear_frames(one.error.__traceback__)
        yield one


def _explained(task: Task, source: Iterator[tuple[Any, Options]], batch_size: int) -> Iterator[Explanation | Failure]:
    """Explanations of the pictures, each with its own options, in order; a failure in the place of a broken one."""
    regional = powers_of(task).regional
    if regional is not None:
        yield from _by_region(regional, source)
        return
    latest = Latest()
    for opened in _ahead(task, source, batch_size):
        for readable, group in groupby(opened, key=lambda one: not isinstance(one, Failure)):
            members = list(group)
            yield from _in_turn(task, cast(Any, members), latest) if readable else cast("list[Failure]", members)


def _by_region(regional: Regional, source: Iterator[tuple[Any, Options]]) -> Iterator[Explanation | Failure]:
    """As `_explained` of a dense output: each picture by itself, for a region of its own."""

    def bound(name: str, image: Any, options: Options) -> tuple[Task, Opened]:
        picture = open_image(image)
        task = regional.within(picture.image, options.where, options.answers or options.query.answer)
        return task, (name, _Last().of(task, picture), options)

    for one in _drawn(source):
        ready = one if isinstance(one, Failure) else attempt(one[0], partial(bound, *one))
        if isinstance(ready, Failure):
            yield ready
        else:
            yield from _in_turn(ready[0], [ready[1]], Latest())


def _ahead(task: Task, source: Iterator[tuple[Any, Options]], batch_size: int) -> Iterator[list[Opened | Failure]]:
    """The pictures, opened and prepared, ``batch_size`` at a time; those of lists in a thread, one batch ahead.

    What an iterator gives is taken in the caller's thread, when its turn comes: it may be a camera, or a database.
    """
    drawn, last = _drawn(source), _Last()

    def batch() -> list[Opened | Failure]:
        return [one if isinstance(one, Failure) else _opened(task, *one, last) for one in islice(drawn, batch_size)]

    opened = batch()
    if not (isinstance(source, Turns) and source.listed):
        while opened:
            yield opened
            opened = batch()
        return
    while opened:
        following: Future[list[Opened | Failure]] = Future()
        thread = Thread(target=_fulfil, args=(following, partial(copy_context().run, batch)), name="vlx-open")
        thread.start()
        try:
            yield opened
        except GeneratorExit:  # perhaps by the garbage collector, inside of what a join would wait for
            wait([following], CLOSING)
            raise
        opened = following.result()
        thread.join()


def _fulfil(promised: "Future[T]", act: Callable[[], T]) -> None:
    """Do in a thread what another one waits for."""
    try:
        promised.set_result(act())
    except BaseException as error:  # it is the other thread's
        promised.set_exception(error)


def _drawn(source: Iterator[tuple[Any, Options]]) -> Iterator[tuple[str, Any, Options] | Failure]:
    """Every picture by name; a source that fails again and again, without a picture between, is not asked for ever."""
    failed = 0
    for number in count():
        taken = attempt(f"picture {number}", lambda: next(source, None))
        if taken is None:
            return
        failed = failed + 1 if isinstance(taken, Failure) else 0
        if isinstance(taken, Failure):
            yield taken
            if failed == PATIENCE:
                yield Failure(
                    "the rest", InputError(f"the pictures' iterator failed {failed} times in a row; given up")
                )
                return
            continue
        image, options = taken
        yield str(image) if isinstance(image, str | PathLike) else f"picture {number}", image, options


class _Last:
    """The last picture that was opened: the same one again is the very same `Shown`, so that it is seen once."""

    def __init__(self) -> None:
        self.shown: Shown | None = None

    def of(self, task: Task, picture: Picture) -> Shown:
        """The picture as the model gets it."""
        known = self.shown
        same = known is not None and (known.picture.name, known.picture.notes) == (picture.name, picture.notes)
        if known is None or not same or not references.same(known.picture.image, picture.image):
            self.shown = known = _show(task, picture)
        return known


def _opened(task: Task, name: str, image: Any, options: Options, last: _Last) -> "Opened | Failure":
    return attempt(name, lambda: (name, last.of(task, open_image(image)), options))


def _in_turn(task: Task, batch: list[Opened], latest: Latest) -> Iterator[Explanation | Failure]:
    """Explanations of pictures that could be opened; where they cannot be taken together, of each alone."""
    names = [name for name, _, _ in batch]
    ready = attempt(names[0], lambda: _settled(task, [(one, options) for _, one, options in batch]))
    if isinstance(ready, Failure):
        yield from [ready] if len(batch) == 1 else _each_alone(task, batch, latest)
        return
    left = iter(names)
    for _, same in groupby(ready, key=lambda one: one[0].inputs.shape):
        group = list(same)
        yield from _explain_batch(task, list(islice(left, len(group))), *zip(*group, strict=True), latest=latest)


def _each_alone(task: Task, batch: list[Opened], latest: Latest) -> Iterator[Explanation | Failure]:
    for one in batch:
        yield from _in_turn(task, [one], latest)


def _settled(task: Task, pictures: list[tuple[Shown, Options]]) -> list[tuple[Shown, Options]]:
    """The same with method="auto" replaced by what the pictures of the batch tell; see `vlx.pipeline.recommend`."""
    if not any(options.auto for _, options in pictures):
        return pictures
    first = pictures[0][1]
    inputs = [task.place(one.inputs[None]) for one, _ in pictures]
    kinds = (first.kind,) if first.told else recommend.TARGETS
    choice = recommend.chosen(task, inputs, [options.queries[0] for _, options in pictures], kinds)
    method, said = registry.choose(choice.method), choice.told[0]
    return [
        (one, replace(options, method=method, kind=choice.target, chosen=said, auto=False)) for one, options in pictures
    ]


def _check_task(task: Any) -> None:
    """Raises InputError when a member of the Task protocol is missing, naming it."""
    if isinstance(task, str) or not all(callable(getattr(task, name, None)) for name in ("predict", "scores")):
        given = repr(task) if isinstance(task, str) else type(task).__name__
        raise InputError(f"explain() needs a task, got {given}; make one with vlx.load(…) or an adapter")
    members = {*dir(task)}
    lacking = [name for name in MEMBERS if name not in members]
    if lacking:
        raise InputError(
            f"{type(task).__name__} lacks {', '.join(lacking)}; see vlx.protocol.task.Task for what a task must have"
        )


def _show(task: Task, picture: Picture) -> Shown:
    inputs = prepared(task.prepare, picture.image)
    return Shown(picture, inputs, _frame(task, (picture.image.height, picture.image.width)))


_frames = Kept()


def _frame(task: Task, size: tuple[int, int]) -> Frame:
    """How pictures of ``size`` (H, W) lie in the task's input; measured once for each size and ``prepare``."""
    known, prepare = _frames.of(task), task.prepare
    measured, frame = known.get(size, (None, None))
    if frame is None or measured() != prepare:
        frame = measure_frame(prepare, size)
        refuse_on_its_side(prepare, frame)
        known[size] = (WeakMethod(prepare) if ismethod(prepare) else lambda: prepare, frame)  # a method holds its task
    return cast(Frame, frame)


def _explain_batch(
    task: Task, names: Sequence[str], pictures: Sequence[Shown], options: Sequence[Options], *, latest: Latest
) -> Iterator[Explanation | Failure]:
    """Explanations of pictures of one size; where the model fails on all together, of each alone."""
    ran = attempt(names[0], lambda: _ran(task, pictures, options, latest))
    if isinstance(ran, Failure):
        each_alone = zip(names, pictures, options, strict=True) if len(names) > 1 else ()
        yield from [ran] if len(names) == 1 else ()
        for name, one, wish in each_alone:
            yield from _explain_batch(task, [name], [one], [wish], latest=latest)
        return
    yield from explained(task, names, ran[0], pictures, ran[1], options, latest)


def _ran(
    task: Task, pictures: Sequence[Shown], options: Sequence[Options], latest: Latest
) -> tuple[Features, list[Prediction]]:
    def see() -> Features:
        return task.features(task.place(torch.stack([one.inputs for one in pictures])))

    features = latest.of(pictures[0], task.version(), "features", see) if len(pictures) == 1 else see()
    return features, _predicted(task, features, [wish.queries for wish in options])


def _predicted(task: Task, features: Features, queries: Sequence[Sequence[Query]]) -> list[Prediction]:
    """What the model says of each picture to its queries, all in one call; several of one picture are joined."""
    numbers = [row for row, asked in enumerate(queries) for _ in asked]
    seen = features if len(numbers) == len(queries) else features.rows(numbers)
    made = iter(predict(task, seen, [query for asked in queries for query in asked]))
    return [joined(list(islice(made, len(asked)))) for asked in queries]

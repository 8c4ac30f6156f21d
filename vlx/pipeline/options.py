"""Every option of `vlx.explain`, checked in one place before a model runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from numbers import Integral
from os import PathLike
from typing import Any, TypedDict, cast

import numpy as np
from PIL import Image
from torch import Tensor

from vlx.errors import InputError
from vlx.language import close_matches, shortened
from vlx.methods import registry, subwords
from vlx.methods.at_layer import split_at
from vlx.methods.method import Method
from vlx.neuron_names.table import NeuronNames
from vlx.pictures.opening import open_image
from vlx.probes.contrast import Contrast
from vlx.probes.names_wish import NamesWish
from vlx.probes.references import References
from vlx.protocol.outputs import settled
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import TARGET_KINDS, Prediction, Query, TargetKind
from vlx.protocol.task import Task

SINGLE = (str, PathLike, Image.Image, np.ndarray, Tensor)  # one picture, not several
TEXTS = ("caption", "question", "answer", "instead_of", "prompt")
Pair = Mapping[str, str] | Mapping[int, str]  # a word of the caption, or its position, and another one
BEAMS = 1024
AUTO = "auto"
MEASURED = "measured on this model by those who made the adapter"
ELSEWHERE = {
    "layer": "the layer belongs to the adapter: Classifier(model, layer=…)",
    "target_layer": "the layer belongs to the adapter: Classifier(model, layer=…)",
    "target_layers": "the layer belongs to the adapter: Classifier(model, layer=…)",
    "labels": "labels belong to the adapter: Classifier(model, labels=…)",
    "prepare": "prepare belongs to the adapter: Classifier(model, prepare=…)",
    "device": "the device is the model's own: vlx.load(…, device=…) or model.to(…)",
}


class OptionsDict(TypedDict, total=False):
    """The options of `vlx.explain` as they are written; what each does is said there."""

    caption: str | Sequence[str] | None  # lists of texts are one for each picture of explain_many
    question: str | Sequence[str] | None
    answer: str | Sequence[str | Sequence[str]] | None
    instead_of: str | Pair | Sequence[str | Pair] | None
    prompt: str | Sequence[str] | None
    beams: int
    method: str | Method | None
    target: str | None
    subword_map: str
    seen: bool
    references: Iterable[Any] | str | PathLike[str] | None
    looks: bool
    swaps: Iterable[Any] | None
    occlusion: bool
    guided: bool
    names: NeuronNames | str | PathLike[str] | None
    check: bool | str
    by: str
    off: str
    words: str | Sequence[str | int] | None
    where: Any


DEFAULTS: dict[str, Any] = {
    "caption": None,
    "question": None,
    "answer": None,
    "instead_of": None,
    "prompt": None,
    "beams": 1,
    "method": None,
    "target": None,
    "subword_map": "max",
    "seen": True,
    "references": None,
    "looks": False,
    "swaps": None,
    "occlusion": False,
    "guided": False,
    "names": None,
    "check": True,
    "by": "contribution",
    "off": "zero",
    "words": None,
    "where": None,
}


@dataclass(frozen=True, eq=False)
class Options:
    """What the user asked for: the options of `vlx.explain` as everything behind it reads them.

    ``query``: the texts and beams of one picture. ``method``: the way of making a map. ``kind``: how targets are
    scored. ``subwords``: how the map of a word of several tokens comes from theirs. ``seen``: tell what each word owes
    to the picture, by ``references`` of the user's own or, where None, by those made of it. ``looks``: blur it and show
    other pictures, too: ``swaps``, or drawn scenes. ``occlusion``: hide it part by part. ``guided``: add Guided
    Grad-CAM. ``check``: try maps and reasons by experiment; "cells" tries each cell alone, too. ``words``: which words
    have maps and reasons, "content", "all", or labels and positions; None where nobody said (see
    `vlx.probes.mapped_words`). ``naming``: the names that reasons are made from; None for
    no reasons. ``answers``: several things asked of one picture, each explained; else empty. ``contrast``: the word of
    a text that is compared with another one. ``told``: whether ``kind`` was asked for, and is not the adapter's own.
    ``where``: the region of a dense output that is explained, as it was given; see `vlx.protocol.powers.Regional`.
    ``auto``: the method is yet to be chosen by what the pictures at hand tell; ``chosen`` says how it was.

    >>> Options.of(task, {"method": "hirescam"}).method.name
    'hirescam'
    """

    query: Query
    method: Method
    kind: TargetKind
    subwords: str
    seen: bool
    references: References | None
    looks: bool
    swaps: list[Image.Image] | None
    occlusion: bool
    guided: bool
    check: bool | str
    words: str | tuple[str | int, ...] | None
    naming: NamesWish | None = None
    answers: tuple[str, ...] = ()
    contrast: Contrast | None = None
    told: bool = False
    auto: bool = False
    chosen: str = ""
    where: Any = None

    @property
    def queries(self) -> list[Query]:
        """What is asked about one picture: the query, or one for each of several answers."""
        return [replace(self.query, answer=answer) for answer in self.answers] or [self.query]

    def scored(self, prediction: Prediction) -> TargetKind:
        """The kind of target that is meant for a prediction, by what the model's output means."""
        for word in prediction.words[:1]:
            return settled(word.outputs, self.kind, self.told, word.is_contrast)
        return self.kind

    @classmethod
    def of(cls, task: Task, given: Mapping[str, Any], known: Mapping[str, Any] = DEFAULTS) -> "Options":
        """The options given to `vlx.explain` for a task, those left out at their defaults.

        Raises InputError for an unknown option, with close matches, and for values that cannot be.
        """
        _refuse_unknown(given, known)
        option = {**DEFAULTS, **given}
        asking = Asking.of(task, option)
        if option["where"] is not None and powers_of(task).regional is None:
            raise InputError(
                "where= is a region of a dense output, and this model's is none: leave it out, or wrap a model that "
                "gives [B, C, H, W] by vlx.tasks.beyond.Dense(model, layer)"
            )
        options = cls(
            query=asking.query,
            answers=asking.answers,
            contrast=asking.contrast,
            method=_method(task, option["method"], asking.contrast),
            kind=_target_kind(option["target"] or task.defaults.target),
            subwords=subwords.checked(option["subword_map"]),
            seen=option["seen"],
            references=References.of(option["references"]),
            looks=option["looks"] or option["swaps"] is not None,
            swaps=None if option["swaps"] is None else _swaps(option["swaps"]),
            occlusion=option["occlusion"],
            guided=option["guided"],
            check=_check(option["check"]),
            words=_words(option["words"]),
            naming=NamesWish.of(task, option["names"], bool(option["check"]), option["by"], option["off"]),
            told=option["target"] is not None,
            auto=option["method"] == AUTO and not task.defaults.measured,
            chosen=MEASURED if option["method"] == AUTO and task.defaults.measured else "",
            where=option["where"],
        )
        if not options.method.on_cells and (options.occlusion or options.guided):
            raise InputError(
                f"method={options.method.name!r} makes maps on a grid of its own, which cannot be compared with "
                "occlusion's or guided; leave occlusion and guided out"
            )
        return options


class Turns(Iterator[tuple[Any, Options]]):
    """Every picture in turn with its options; a picture that its iterator cannot give costs itself alone.

    ``own`` holds the options of each picture where texts are lists, and is empty where all have the ``common`` ones.
    """

    def __init__(self, images: Iterable[Any], common: Options, own: Sequence[Options] = ()) -> None:
        self.listed = isinstance(images, Sequence)  # its pictures may be taken ahead of their turn
        self._images, self._common, self._own = iter(images), common, own
        self._turn, self._lost = 0, False

    def __next__(self) -> tuple[Any, Options]:
        turn, self._turn = self._turn, self._turn + 1
        try:
            image = next(self._images)
        except StopIteration:
            if turn < len(self._own) and not self._lost:
                self._lost = True
                raise InputError(_lengths("a text option", len(self._own), turn)) from None
            raise
        except Exception:
            self._lost = True
            raise
        if not self._own:
            return image, self._common
        if turn >= len(self._own):
            raise InputError(_lengths("a text option", len(self._own), turn + 1))
        return image, self._own[turn]


def each(task: Task, images: Iterable[Any], given: Mapping[str, Any]) -> Turns:
    """Every picture in turn with its options: the same for all, but for texts that are lists, one a picture.

    Raises InputError as `Options.of`, and at once for lists of another length than the pictures'; where the pictures
    come from an iterator, when it ends.
    """
    lists = {name: list(given[name]) for name in TEXTS if isinstance(given.get(name), list | tuple)}
    common = Options.of(task, {name: value for name, value in given.items() if name not in lists})
    if not lists:
        return Turns(images, common)
    count = len(images) if isinstance(images, Sized) else len(next(iter(lists.values())))
    for name, entries in lists.items():
        if len(entries) != count:
            raise InputError(_lengths(name, len(entries), count))
    texts = {name: given.get(name) for name in (*TEXTS, "beams") if given.get(name) is not None}
    asked = [_asking(task, common, {**texts, **{name: lists[name][n] for name in lists}}) for n in range(count)]
    return Turns(images, common, asked)


def _lengths(name: str, entries: int, pictures: int) -> str:
    return (
        f"{name} is a list of {entries} for {pictures} pictures; give one for each picture, or one text for "
        "all (several answers about one picture: explain(task, picture, answer=[…]))"
    )


def _asking(task: Task, common: Options, texts: Mapping[str, Any]) -> Options:
    """The same options with other texts."""
    asking = Asking.of(task, {**DEFAULTS, **texts})
    return replace(common, query=asking.query, answers=asking.answers, contrast=asking.contrast)


@dataclass(frozen=True)
class Asking:
    """What is asked about one picture: the query, several answers, and the contrast of a text's word."""

    query: Query
    answers: tuple[str, ...]
    contrast: Contrast | None

    @classmethod
    def of(cls, task: Task, option: Mapping[str, Any]) -> "Asking":
        """From the options as they are written, all of them there."""
        answers, contrast = _several(option["answer"]), Contrast.of(task, option["instead_of"])
        taken = {"answer": None if answers else option["answer"]}
        taken |= {} if contrast is None else {"instead_of": None}
        return cls(_query({**option, **taken}), answers, contrast)


def _method(task: Task, given: Any, contrast: Contrast | None) -> Method:
    """The method asked for, else the adapter's; a contrast nobody chose one for has one that knows both signs."""
    method = registry.choose(task.defaults.method if given in (None, "", AUTO) else given)
    if method.layer:
        split_at(task, method.layer)
    rectified = contrast is not None and not given and method.weighting is not None and not method.linear
    return registry.choose(method.against) if rectified else method


def _several(answer: Any) -> tuple[str, ...]:
    """The answers that are asked for at once; none where a single one is, or none."""
    if not isinstance(answer, list | tuple):
        return ()
    if not answer or not all(isinstance(one, str) for one in answer):
        raise InputError(f"answer={answer!r}: give a text, or a list of one text or more")
    twice = next((one for n, one in enumerate(answer) if one in answer[:n]), None)
    if twice is not None:
        raise InputError(f"answer names {twice!r} twice; ask for each once")
    return tuple(answer)


def shown(function: Any, **more: Any) -> Any:
    """The function with its options in its signature, where `inspect`, help() and editors look for them."""
    places = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("task", "image" if not more else "images")]
    options = [Parameter(name, Parameter.KEYWORD_ONLY, default=value) for name, value in {**more, **DEFAULTS}.items()]
    function.__signature__ = Signature([*places, *options])
    return function


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in given:
        if name in known:
            continue
        near = close_matches(name, known)
        hint = ELSEWHERE.get(name) or (f"close: {', '.join(near)}" if near else f"known are {', '.join(known)}")
        raise InputError(f"explain() has no option {name!r}; {hint}")


def _query(option: Mapping[str, Any]) -> Query:
    for name in TEXTS:
        if option[name] is not None and not isinstance(option[name], str):
            given = type(option[name]).__name__
            several = "; one for each picture is for explain_many()" if given in ("list", "tuple") else ""
            raise InputError(f"{name} must be a text, got {given}{several}")
    beams = option["beams"]
    if not isinstance(beams, int) or beams < 1:
        raise InputError(f"beams={beams!r} must be 1 or more")
    if beams > BEAMS:
        raise InputError(f"beams={beams:.4g} are more sentences than can be held at once; give up to {BEAMS}")
    return Query(option["caption"], option["question"], option["answer"], option["instead_of"], beams, option["prompt"])


def _check(given: Any) -> bool | str:
    if given not in (True, False, "cells"):
        raise InputError(f'check={given!r}; give True, False, or "cells" to try each cell of A alone, too')
    return cast("bool | str", given)


def _words(given: Any) -> str | tuple[str | int, ...] | None:
    if given is None or (isinstance(given, str) and given in ("all", "content")):
        return given
    listed = isinstance(given, Sequence) and not isinstance(given, str)
    if not listed or not all(isinstance(one, str | Integral) and not isinstance(one, bool) for one in given):
        raise InputError(
            f'words={shortened(repr(given))}; give "all", "content", or a list of labels and positions: '
            "words=['dog', 3]"
        )
    return tuple(one if isinstance(one, str) else int(one) for one in given)


def _swaps(pictures: Iterable[Any]) -> list[Image.Image]:
    several = isinstance(pictures, Iterable) and not isinstance(pictures, SINGLE)
    opened = [open_image(picture).image for picture in pictures] if several else []
    if not opened:
        raise InputError("swaps takes one or more pictures of something else, in a list; leave it out for drawn scenes")
    return opened


def _target_kind(name: str) -> TargetKind:
    if name not in TARGET_KINDS:
        raise InputError(f"target={name!r}; known are {', '.join(TARGET_KINDS)}")
    return cast(TargetKind, name)

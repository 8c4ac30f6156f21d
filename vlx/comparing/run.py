"""`compare`: the same pictures to A and to B, and what differs between what they make of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import tee
from os import PathLike
from typing import Any, Literal, Unpack

from vlx.comparing.comparison import Comparison
from vlx.comparing.pairs import PicturePair
from vlx.errors import Failure, InputError, ModelError, VlxError, in_own_words
from vlx.explanation.records import Explanation
from vlx.language import shortened
from vlx.pipeline.explain import BATCH, PATIENCE, explain, explain_many
from vlx.pipeline.options import SINGLE, TEXTS, OptionsDict
from vlx.protocol.task import Task

FORCED = {"captioning": "caption"}  # the option that makes a model say a text; of the other kinds "answer"
Outcome = Explanation | Failure
Both = tuple[Mapping[str, Any], Mapping[str, Any]]  # options of A and of B


@in_own_words("the comparison cannot be made", ModelError)
def compare(
    a: Task | Explanation,
    b: Task | Explanation,
    pictures: Any = None,
    *,
    a_options: OptionsDict | None = None,
    b_options: OptionsDict | None = None,
    same_text: bool = False,
    batch_size: int = BATCH,
    errors: Literal["raise", "keep"] = "raise",
    **options: Unpack[OptionsDict],
) -> Comparison:
    """What two models, checkpoints, methods or texts make of the same pictures, the largest differences first.

    ``a`` and ``b``: tasks of one kind, or one task twice with different options; or two explanations of one picture,
    with nothing else. ``pictures``: one, or several. ``options`` are those of `explain` and hold for both,
    ``a_options`` and ``b_options`` for one alone. With ``same_text`` B is made to say what A says, so that log p of the
    same words is compared. ``errors="keep"``: a picture that cannot be explained is among the ``failures`` of the
    comparison; with "raise" it raises.

    Words are aligned by the texts; maps of different grids are compared on the part of the picture that both saw. What
    cannot be compared is said. See `Comparison` for what is known, ``save`` it as .html or .csv.

    Raises InputError for tasks of different kinds, and as `explain_many`.

    >>> comparison = vlx.compare(vlx.load("scenes/captioner"), vlx.load("scenes/captioner-pooled"), ["a.png", "b.png"])
    >>> print(comparison.ranked[0].pair.label, comparison.ranked[0].pair.by)
    >>> vlx.compare(task, task, "a.png", a_options={"method": "gradcam"}, b_options={"method": "hirescam"})
    """
    if isinstance(a, Explanation) or isinstance(b, Explanation):
        return _of_explanations(a, b, pictures, {**options, **(a_options or {}), **(b_options or {})})
    require_one_kind(a, b)
    if pictures is None:
        raise InputError("compare() needs pictures: compare(a, b, pictures), or two explanations of one picture")
    both: tuple[Mapping[str, Any], Mapping[str, Any]] = (
        {**options, **(a_options or {})},
        {**options, **(b_options or {})},
    )
    if same_text:
        _refuse_lists(both[1])
    images = [pictures] if isinstance(pictures, SINGLE) or not isinstance(pictures, Iterable) else pictures
    outcomes: list[PicturePair | Failure] = []
    for outcome in _pairs(a, b, images, both, same_text, batch_size):
        if isinstance(outcome, Failure) and errors == "raise":
            raise outcome.error
        outcomes.append(outcome)
    return Comparison(*names(a.name, b.name, *both, same_text=same_text), *sorted_out(outcomes))


def sorted_out(outcomes: Iterable[PicturePair | Failure]) -> tuple[tuple[PicturePair, ...], tuple[Failure, ...]]:
    """Pictures that were compared, and failures."""
    every = list(outcomes)
    pairs = tuple(one for one in every if isinstance(one, PicturePair))
    return pairs, tuple(one for one in every if isinstance(one, Failure))


def pair(name: str, a: Outcome, b: Outcome) -> PicturePair | Failure:
    """One picture's comparison, or the failure of the side that failed."""
    if isinstance(a, Failure):
        return Failure(name, a.error)
    if isinstance(b, Failure):
        return Failure(name, b.error)
    try:
        return PicturePair.of(name, a, b)
    except VlxError as error:
        return Failure(name, error)


def said_again(b: Task, image: Any, a: Outcome, options: Mapping[str, Any]) -> Outcome:
    """What B makes of a picture when it says what A said of it; of A's failure that one."""
    if isinstance(a, Failure):
        return a
    text = {FORCED.get(b.kind, "answer"): a.text}
    try:
        return explain(b, image, **{**options, **text})
    except Exception as error:
        return Failure(str(image) if isinstance(image, str | PathLike) else "picture", error)


def names(
    a: str, b: str, a_options: Mapping[str, Any], b_options: Mapping[str, Any], same_text: bool
) -> tuple[str, str]:
    """How A and B are called: by model, and by the options that are not the same."""
    merged = {**a_options, **b_options}
    differing = [name for name in merged if not _equal(a_options.get(name), b_options.get(name))]
    labels = []
    for name, options in ((a, a_options), (b, b_options)):
        settings = [_written(option, options.get(option)) for option in differing]
        labels.append(", ".join([name, *settings]))
    return labels[0], labels[1] + " saying A's text" * same_text


def require_one_kind(a: Task, b: Task) -> None:
    """Raises InputError for tasks of different kinds."""
    if a.kind != b.kind:
        raise InputError(f"{a.name} does {a.kind}, {b.name} {b.kind}; compare two models of one kind")


@dataclass(frozen=True)
class _Lost:
    """Stands for a picture that its iterator failed to give."""

    error: Exception


def _drawn(images: Iterable[Any]) -> Iterator[Any]:
    """The pictures; one that its iterator fails to give is lost alone, unless many are in a row."""
    source, failed = iter(images), 0
    while failed < PATIENCE:
        try:
            image = next(source)
        except StopIteration:
            return
        except Exception as error:
            failed += 1
            yield _Lost(error)
        else:
            failed = 0
            yield image


def _pairs(
    a: Task,
    b: Task,
    images: Iterable[Any],
    both: Both,
    same_text: bool,
    batch_size: int,
) -> Iterator[PicturePair | Failure]:
    first, second, third = [images] * 3 if isinstance(images, list | tuple) else tee(_drawn(images), 3)
    left: Iterator[Outcome] = explain_many(a, first, batch_size=batch_size, errors="keep", **both[0])
    right: Iterator[Outcome]
    if same_text:
        left, kept = tee(left)
        right = (said_again(b, image, a_outcome, both[1]) for image, a_outcome in zip(second, kept, strict=False))
    else:
        right = explain_many(b, second, batch_size=batch_size, errors="keep", **both[1])
    for number, (image, a_outcome, b_outcome) in enumerate(zip(third, left, right, strict=False)):
        name = str(image) if isinstance(image, str | PathLike) else f"picture {number}"
        yield Failure(name, image.error) if isinstance(image, _Lost) else pair(name, a_outcome, b_outcome)


def _refuse_lists(options: Mapping[str, Any]) -> None:
    """Raises InputError for texts of every picture where B's are A's."""
    lists = [name for name in TEXTS if isinstance(options.get(name), list | tuple)]
    if lists:
        raise InputError(f"same_text goes with one {lists[0]} for all pictures, not with a list; compare them in turn")


def _of_explanations(a: Any, b: Any, pictures: Any, options: Mapping[str, Any]) -> Comparison:
    if not (isinstance(a, Explanation) and isinstance(b, Explanation)):
        raise InputError("compare() takes two tasks and pictures, or two explanations; not one of each")
    if pictures is not None or options:
        raise InputError("two explanations are compared as they are; leave pictures and options out")
    model_a, model_b = (str(why.provenance.get("model", "unknown model")) for why in (a, b))
    called = names(model_a, model_b, {"method": a.method}, {"method": b.method}, same_text=False)
    return Comparison(*called, (PicturePair.of(str(a.provenance.get("image", "picture")), a, b),))


def _written(name: str, value: Any) -> str:
    """An option as it tells two sides apart."""
    if value is None:
        return f"its own {name}"
    if name == "instead_of":
        return f"rather than “{shortened(str(value))}”"
    return f"“{shortened(value)}”" if name in TEXTS and isinstance(value, str) else f"{name} {shortened(str(value))}"


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (TypeError, ValueError):  # arrays and tensors
        return one is other

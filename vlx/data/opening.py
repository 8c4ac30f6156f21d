"""`open_data`: pictures with what is known of them, by name; and the one table of what can be named.

A kind of data of vlx's own is a file here and a line in `KINDS`. Data of others come by ``MODULE:FUNCTION``, or by an
entry point of the group "vlx.data": a function that takes what follows "NAME:" and returns `Data`.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from vlx.data import captions, classes, coco, flickr, imagenet, plain, questions, regions, scenes, voc, vqa
from vlx.data.broden import BrodenData
from vlx.data.example import AnyData, Data
from vlx.data.folder import LISTS, LabelledFolder
from vlx.errors import InputError, VlxError, in_own_words
from vlx.language import close_matches, shortened

GROUP = "vlx.data"
FUNCTION = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<function>[A-Za-z_]\w*)")
MANIFESTS = ("scenes.json", "instances.json")


@dataclass(frozen=True)
class DataKind:
    """Data that are named by their kind: what is written, what they are, and the function of what follows "KIND:"."""

    form: str
    what: str
    open: Callable[[str], Data]


KINDS: dict[str, DataKind] = {
    "scenes": DataKind(scenes.FORM, "drawn scenes: captions, questions, masks", scenes.open_scenes),
    "coco": DataKind(coco.FORM, "outlines and captions in COCO's format", coco.open_coco),
    "flickr8k": DataKind(flickr.FORM, "captioned photographs", flickr.open_flickr),
    "easy-vqa": DataKind(questions.FORM, "questions about one shape", questions.open_easy_vqa),
    "imagenet": DataKind(imagenet.FORM, "classes with boxes, as ILSVRC-15 has them", imagenet.open_imagenet),
    "voc": DataKind(voc.FORM, "classes with boxes and masks, PASCAL VOC", voc.open_voc),
    "vqa2": DataKind(vqa.FORM, "questions, ten people's answers, where people looked", vqa.open_vqa),
    "regions": DataKind(regions.FORM, "phrases with their boxes, Visual Genome", regions.open_regions),
    "classes": DataKind(classes.FORM, "a folder a class", classes.open_classes),
    "pictures": DataKind(plain.FORM, "pictures of which nothing is known", plain.open_pictures),
    "captions": DataKind("captions:DIR[:SPLIT]", "pictures by their captions alone", lambda rest: _captions(rest)),  # noqa: PLW0108  (stands below)
}
UNDERSTOOD = (
    "scenes:COUNT, coco:DIR, flickr8k:DIR, easy-vqa:DIR, imagenet:DIR, voc:DIR, vqa2:FILES, regions:FILES, "
    "classes:DIR, pictures:DIR, captions:DIR, a COCO file, a folder as Broden's or with images/ and labels/, "
    "MODULE:FUNCTION"
)


@in_own_words("the data set cannot be opened", bugs=True)
def open_data(spec: "str | Path | AnyData") -> Data:
    """Pictures by name, for dissecting, measuring and explaining; raises InputError for anything not understood.

    ``spec``: "scenes:2000", or "scenes:2000:FIRST" with the first seed; "coco:DIR", a COCO instance file;
    "flickr8k:DIR" (its test split), "flickr8k:DIR:train"; "easy-vqa:DIR"; a folder in the Broden layout; a folder with
    ``images/``, ``labels/`` and a list of labels; "imagenet:DIR"; "voc:DIR:2007:val"; "regions:DESCRIPTIONS.json,DIR";
    "vqa2:QUESTIONS.json,ANNOTATIONS.json,DIR"; "classes:DIR", a folder of folders of pictures; "pictures:DIR", of which
    nothing is known; "captions:DIR" and "captions:scenes:2000" for pictures by their captions alone;
    "my_module:function", which is imported and called; a name that an installed package offers under the entry point
    group "vlx.data"; or such data, which is handed back.

    >>> len(open_data("scenes:20"))
    20
    """
    if isinstance(spec, Data):
        return spec
    if not isinstance(spec, str | Path):
        raise InputError(
            f"{shortened(repr(spec), 60)} is no labelled pictures; give such data, or a name: {UNDERSTOOD}"
        )
    kind, colon, rest = str(spec).partition(":")
    if colon and kind in KINDS:
        return KINDS[kind].open(rest)
    if colon and kind in (plugins := _plugins()):
        return _asked(plugins[kind], rest, f"the entry point {kind!r}")
    data = of_path(Path(spec))
    if data is not None:
        return data
    if named := FUNCTION.fullmatch(str(spec)):
        return _own(named["module"], named["function"])
    raise InputError(_unknown(str(spec), list({**KINDS, **_plugins()})))


def of_path(path: Path) -> Data | None:
    """The data in a file or folder, told by what lies in it; None where nothing is known by."""
    try:
        if path.is_file() and path.suffix.lower() == ".json":
            return coco.CocoData(path)
        if (path / "index.csv").is_file():
            return BrodenData(path)
        if (path / "images").is_dir() and any((path / name).is_file() for name in LISTS):
            return LabelledFolder(path)
        manifest = next((path / name for name in MANIFESTS if (path / name).is_file()), None)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        return None  # a name that no file can have
    return None if manifest is None else coco.CocoData(manifest)


def is_named(spec: str) -> bool:
    """Whether it names data by their kind, "KIND:…", or as MODULE:FUNCTION, and not by a path."""
    kind, colon, _ = spec.partition(":")
    return bool(colon) and (kind in KINDS or FUNCTION.fullmatch(spec) is not None or kind in _plugins())


def _captions(rest: str) -> Data:
    """Captioned photographs of a folder, or any other data by the captions they tell."""
    folder, _, split = rest.rpartition(":")
    if not rest:
        raise InputError("captions: give the folder of the photographs, as captions:DIR or captions:DIR:train")
    if folder and split in flickr.SPLITS and Path(folder).is_dir():
        return captions.CaptionedPhotos(folder, split)
    if Path(rest).is_dir() or ":" not in rest:
        return captions.CaptionedPhotos(rest)
    if rest.startswith("scenes:"):
        return captions.captions_of(scenes.open_scenes(rest.removeprefix("scenes:"), captions.PREFIX))
    return captions.captions_of(open_data(rest))


def _plugins() -> Mapping[str, Callable[[str], Any]]:
    """Data of others: name → a function of what follows "NAME:"; looked up after vlx's own, which stay."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    return {name: partial(lambda point, rest: point.load()(rest), point) for name, point in points.items()}


def _own(module: str, function: str) -> Data:
    """What a function of a module returns, called without arguments; the folder one is in is looked in as well."""
    called = f"{module}:{function}"
    with _here():
        try:
            make = getattr(import_module(module), function, None)
        except ImportError as error:
            raise InputError(
                f"{called}: no data set of that kind, and no module {module!r} to import ({shortened(str(error), 80)})"
                f"{_near(module, KINDS)}"
            ) from None
    if not callable(make):
        raise InputError(f"{called}: the module has no function {function!r}; write one that returns the data")
    return _asked(lambda _: make(), "", called)


@contextmanager
def _here() -> Iterator[None]:
    """The folder that the program was started in, first where modules are looked for: a command has it nowhere."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _asked(make: Callable[[str], Any], rest: str, called: str) -> Data:
    """What another's function makes of the rest of a name. Raises InputError for what it raises, and for no data."""
    try:
        data = make(rest)
    except VlxError:
        raise
    except Exception as error:
        why = shortened(" ".join(str(error).split()), 120)
        raise InputError(f"{called} raises {type(error).__name__}: {why}") from error
    if not isinstance(data, Data):
        lacking = [name for name in ("name", "licence", "digest", "__len__", "__getitem__") if not hasattr(data, name)]
        lacks = f" without {', '.join(lacking)}" if len(lacking) < 5 else ""
        raise InputError(
            f"{called} returns {type(data).__name__}{lacks}, no data: needed are name, licence, digest(), len() and "
            "data[n] → vlx.data.Example"
        )
    return data


def _unknown(spec: str, kinds: list[str]) -> str:
    try:
        there = "there" if Path(spec).exists() else "of that name"
    except (OSError, ValueError):  # a name that no file can have
        there = "of that name"
    near = _near(spec.partition(":")[0], kinds)
    return f"{shortened(spec, 60)}: no labelled pictures {there}{near}; understood are {UNDERSTOOD}"


def _near(kind: str, kinds: "Mapping[str, Any] | list[str]") -> str:
    near = [KINDS[name].form if name in KINDS else f"{name}:" for name in close_matches(kind, list(kinds))]
    return f", close: {', '.join(near)}" if near else ""

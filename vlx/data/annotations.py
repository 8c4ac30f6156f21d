"""PASCAL VOC's XML: the things in one picture, each with its class and box, as VOC and ImageNet write it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET  # no entities, no DOCTYPE: see `_Builder`

from vlx.data.example import Box
from vlx.errors import InputError
from vlx.files.whole import read_bytes
from vlx.language import shortened

LARGEST = 2**22  # bytes of one annotation
DEPTH = 32  # elements in elements
SWAPPED = "a box whose right or lower side is before its left or upper one"
EMPTY = "a box of no area"
OUTSIDE = "a box outside of its picture"

Sides = tuple[float, float, float, float]  # left, top, right, bottom


class LeftOut:
    """Names of what cannot be used, by the reason why.

    >>> left = LeftOut(); left.add("no such picture", "a.jpg"); left.told
    {'no such picture': ('a.jpg',)}
    """

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)

    def add(self, why: str, *names: str) -> None:
        """Count what cannot be used."""
        self._names[why] += names

    @property
    def told(self) -> dict[str, tuple[str, ...]]:
        """Reason → names, as data tell it."""
        return {why: tuple(names) for why, names in self._names.items() if names}


@dataclass(frozen=True)
class BoxedThing:
    """One thing in a picture: its class and sides as its file has them; ``place`` counts the file's things from 1."""

    name: str
    sides: Sides
    difficult: bool
    place: int


@dataclass(frozen=True)
class Annotation:
    """What a file tells of its picture; ``size`` is (H, W), None where it does not say."""

    picture: str
    size: tuple[int, int] | None
    things: tuple[BoxedThing, ...]


def annotation(path: Path) -> Annotation:
    """What an XML file tells of its picture. Raises InputError naming the file and what it lacks."""
    return parsed(read_bytes(path, LARGEST), str(path))


def parsed(data: bytes, where: str) -> Annotation:
    """What XML tells of a picture; raises InputError naming ``where`` it stands."""
    try:
        parser = ET.XMLParser(target=_Builder())
        parser.feed(data)
        root = parser.close()
    except (ValueError, ET.ParseError, LookupError) as error:
        raise InputError(f"{where} is not whole XML ({shortened(str(error), 120)}); write it again") from None
    if root.tag != "annotation":
        raise InputError(f"{where}: its root is <{shortened(root.tag, 40)}>; PASCAL VOC's is <annotation>")
    things = [_thing(one, place, f"{where}, object {place}") for place, one in enumerate(root.findall("object"), 1)]
    return Annotation((root.findtext("filename") or "").strip(), _size(root.find("size"), where), tuple(things))


def box_of(sides: Sides, size: tuple[int, int] | None, left_out: LeftOut, name: str) -> Box | None:
    """Sides in pixels from the picture's corner → the box that lies in a picture of (H, W), (left, top, width, height).

    What lies outside is cut off. None, and counted by the ``name`` of the picture, where nothing is left.
    """
    left, top, right, bottom = sides
    if right < left or bottom < top:
        left_out.add(SWAPPED, name)
        return None
    if right == left or bottom == top:
        left_out.add(EMPTY, name)
        return None
    height, width = (float("inf"), float("inf")) if size is None else size
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    if right <= left or bottom <= top:
        left_out.add(OUTSIDE, name)
        return None
    return float(left), float(top), float(right - left), float(bottom - top)


def by_stem(paths: Iterable[Path]) -> Mapping[str, Path]:
    """Files by their names without endings; raises InputError naming two of one name: which goes with it is open."""
    files: dict[str, Path] = {}
    for path in paths:
        if (other := files.setdefault(path.stem, path)) != path:
            raise InputError(f"{other} and {path}: two files of one name; take one of them away")
    return files


class _Builder(ET.TreeBuilder):
    """Builds what has no DOCTYPE: without one no entity can be made, and so none that grows without end."""

    def __init__(self) -> None:
        super().__init__()
        self._deep = 0

    def doctype(self, name: str, _pubid: str | None, _system: str | None) -> None:
        raise ValueError(f"it has a DOCTYPE, {shortened(name, 40)!r}, which annotations do not need")

    def start(self, tag: Any, attrs: Any) -> ET.Element:
        self._deep += 1
        if self._deep > DEPTH:
            raise ValueError(f"elements in elements more than {DEPTH} deep")
        return super().start(tag, attrs)

    def end(self, tag: Any) -> ET.Element:
        self._deep -= 1
        return super().end(tag)


def _thing(element: ET.Element, place: int, where: str) -> BoxedThing:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise InputError(f"{where} has no <name>; give its class")
    box = element.find("bndbox")
    if box is None:
        raise InputError(f"{where} ({shortened(name, 40)}) has no <bndbox>; give its box")
    sides = [_number(box.findtext(side), f"{where} ({shortened(name, 40)}): <{side}>") for side in SIDES]
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise InputError(f"{where}: <difficult> is {shortened(difficult, 40)!r}; give 0 or 1")
    return BoxedThing(name, (sides[0], sides[1], sides[2], sides[3]), difficult == "1", place)


SIDES = ("xmin", "ymin", "xmax", "ymax")


def _size(element: ET.Element | None, where: str) -> tuple[int, int] | None:
    if element is None:
        return None
    height, width = (_number(element.findtext(side), f"{where}: <{side}> of its size") for side in ("height", "width"))
    if height < 0 or width < 0 or height % 1 or width % 1:
        raise InputError(f"{where}: a size of {width:g}×{height:g}; give whole pixels")
    return (int(height), int(width)) if height and width else None


def _number(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise InputError(f"{where} is {shortened(repr(text), 40)}; give a number")
    return value

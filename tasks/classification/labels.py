"""`Labels`: the names of a classifier's classes, and finding a class by what a person calls it."""

from collections.abc import Sequence

from vlx.errors import InputError
from vlx.language import close_matches, shortened

HINTS = 5


class Labels:
    """Names by class number; "tabby, tabby cat" is one class with two names. Without names: "class 0", "class 1", …

    ``numbered``: whether a class may be asked for by its number; yes and no of one output have none.
    """

    def __init__(self, names: Sequence[str] | None, *, numbered: bool = True) -> None:
        if isinstance(names, str):
            raise InputError("labels must be a list of names, one a class")
        self.names = None if names is None else [str(name) for name in names]
        self._numbered = numbered
        self._whole: dict[str, list[int]] = {}
        self._parts: dict[str, list[int]] = {}
        for number, name in enumerate(self.names or ()):
            self._whole.setdefault(_plain(name), []).append(number)
            for part in {_plain(part) for part in name.split(",")} - {""}:
                self._parts.setdefault(part, []).append(number)

    def __getitem__(self, number: int) -> str:
        return f"class {number}" if self.names is None else self.names[number]

    def find(self, asked: str, count: int) -> int:
        """The number of the class asked for, of ``count``: by its whole name, by one of its names, or by number.

        Case does not matter. Raises InputError for a name that no class has, or several have.
        """
        plain = _plain(asked)
        for index in (self._whole, self._parts):
            if len(found := index.get(plain, [])) == 1:
                return found[0]
            if found:
                same = ", ".join(f"{number} ({self[number]})" for number in found)
                raise InputError(f"{shortened(asked)!r} is the name of {len(found)} classes: {same}; give the number")
        if not self._numbered:
            raise InputError(
                f"no class {shortened(asked)!r}; the one output is {' or '.join(map(repr, self.names or ()))}"
            )
        digits = plain.removeprefix("class ").strip()
        if digits.isdecimal():
            if int(digits) < count:
                return int(digits)
            raise InputError(f"there is no class {digits}; the model has classes 0 to {count - 1}")
        raise InputError(self._unknown(asked, plain, count))

    def _unknown(self, asked: str, plain: str, count: int) -> str:
        if self.names is None:
            return f"no class {shortened(asked)!r}; the classes have no names here, give a number from 0 to {count - 1}"
        near = close_matches(plain, self._parts, HINTS)
        near += [part for part in self._parts if plain and plain in part.split() and part not in near]
        hints = ", ".join(f"{part} ({self._parts[part][0]})" for part in near[:HINTS])
        return f"no class {shortened(asked)!r} among {count}" + (f"; close: {hints}" if hints else "")


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())

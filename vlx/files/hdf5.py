"""Reading and writing HDF5: files are made in memory and written whole, and walked before anything in them is read.

HDF5 can name other files of the machine and have them read as its own (external storage, virtual data sets, external
links), declare more than it holds, and contain itself. What is read here holds nothing but itself, in the types that
vlx writes.
"""

import hashlib
import io
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5f, h5g, h5l, h5o, h5s, h5t, h5z

from vlx.errors import InputError, VlxError
from vlx.files.whole import LARGEST, read_bytes, write_bytes

MOST_BYTES = 2**29  # bytes that a file's arrays take together, once they are unpacked
MOST_OBJECTS = 200_000  # groups and arrays together
DEPTH = 12
DIGEST = "digest"
MOST_ATTRIBUTES = 32  # of one object
MOST_LETTERS = 2**27  # of all texts together
AT_ONCE = 2**26  # bytes of texts that are read in one go
SIGNATURE = b"\x89HDF\r\n\x1a\n"
FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}  # others may be libraries from anywhere
KINDS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}

Walked = dict[bytes, h5d.DatasetID]


def write(path: Path, fill: Callable[[Any], None]) -> None:
    """Make an HDF5 file in memory, let ``fill(file)`` put in what it holds, and write it whole or not at all."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v108", "v110")) as file:
        fill(file)
        file.attrs[DIGEST] = digest(file)
    write_bytes(path, buffer.getbuffer())


@contextmanager
def reading(
    path: Path, what: str, attributes: Collection[str], *, most: int | None = MOST_BYTES, largest: int = LARGEST
) -> Iterator[Any]:
    """The file, open to be read, after every object in it was looked at; ``what`` it is meant to be, for messages.

    ``attributes`` are those that it may have. Where it has a digest, as all files that `write` made, its contents
    must be those that the digest was made of; this is looked at last, so that a fault that has a name is told by it.

    Raises InputError for what is no HDF5 file, for one that names other files, holds an object twice, links, types or
    filters that vlx does not write, or arrays of more than ``most`` bytes (None: than the file has); for a file of more
    than ``largest`` bytes; and in place of anything that reading raises, with the cause.

        >>> with reading(path, "table of names", {"format", "schema"}) as file:
        ...     file["names/unit"][()]
    """
    data = read_bytes(path, largest)
    if not data.startswith(SIGNATURE):
        raise InputError(f"{path} is not a whole {what} (no HDF5 file); save it again")
    try:
        with h5py.File(h5f.open_file_image(data)) as file:
            _walk(file.id, len(data), len(data) if most is None else most)
            _letters(file)
            yield file
            _whole(path, file, attributes)
    except VlxError:
        raise
    except Refused as error:
        raise InputError(f"{path}: {error}; vlx does not write such files: do not trust it") from None
    except Exception as error:  # HDF5 raises anything on a damaged file
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path} is not a whole {what} ({reason}); save it again") from error


def digest(file: Any) -> str:
    """SHA-256 over all that a file holds: names, types, shapes, values and attributes, whatever their order."""
    hasher = hashlib.sha256()
    _digest(file, hasher)
    return hasher.hexdigest()


def _digest(group: Any, hasher: Any) -> None:
    for name in sorted(group.attrs):
        if name != DIGEST:
            value = group.attrs[name]
            written = value if isinstance(value, str) else f"{np.asarray(value).dtype.kind}{value!s}"
            hasher.update(f"@{name!r}{written!r}".encode("utf-8", "surrogatepass"))
    for name in sorted(group):
        member = group[name]
        hasher.update(f"/{name!r}".encode("utf-8", "surrogatepass"))
        if not hasattr(member, "shape"):
            hasher.update(b"{")
            _digest(member, hasher)
            hasher.update(b"}")
            continue
        hasher.update(f"{member.dtype.str}{member.shape}".encode())
        if member.dtype.kind == "O":
            values = texts(member) if member.ndim else [text(member)]
            hasher.update(repr(values).encode("utf-8", "surrogatepass"))
        else:
            hasher.update(np.ascontiguousarray(member[()]).tobytes())


def _whole(path: Path, file: Any, attributes: Collection[str]) -> None:
    values = {name: file.attrs[name] for name in file.attrs}
    if DIGEST in values and values[DIGEST] != digest(file):
        raise InputError(f"{path} is damaged: it is not what its digest was made of; save it again")
    strange = sorted(set(values) - {DIGEST, *attributes})
    if strange:
        raise InputError(f"{path} is damaged, or of another program: it has {strange[0][:60]!r}; save it again")


class Refused(Exception):
    """Something that no file of ours holds; in words."""


def texts(dataset: Any) -> list[str]:
    """A data set [N] of texts."""
    return [entry for part in _parts(dataset) for entry in part]


def _parts(dataset: Any) -> Iterator[list[str]]:
    """Its texts in parts that fit into memory: many may be one long text, told once and named many times."""
    if dataset.ndim != 1 or h5py.check_string_dtype(dataset.dtype) is None:
        raise ValueError(f"{dataset.name} is no list of texts")
    longest = max(int(dataset.file.id.get_filesize()), 1)
    size = max(AT_ONCE // longest, 1)
    for first in range(0, len(dataset), size):
        yield [str(entry) for entry in dataset.asstr()[first : first + size]]


def _letters(group: Any, before: int = 0) -> int:
    """How many letters the texts in a group have, with those ``before``; raises Refused where they are too many."""
    for member in group.values():
        if not hasattr(member, "shape"):
            before = _letters(member, before)
        elif member.dtype.kind == "O":
            for part in _parts(member) if member.ndim else ([text(member)],):
                before += sum(map(len, part))
                if before > MOST_LETTERS:
                    raise Refused(f"its texts are longer than {MOST_LETTERS:,} letters")
    return before


def text(dataset: Any) -> str:
    """A data set that is one text."""
    if dataset.ndim or h5py.check_string_dtype(dataset.dtype) is None:
        raise ValueError(f"{dataset.name} is no text")
    return str(dataset.asstr()[()])


def _walk(root: Any, size: int, most: int) -> None:
    """Look at every object from the root on; raises Refused for the first that cannot be let in."""
    seen: set[Any] = set()
    waiting = [(h5g.open(root, b"/"), "", 0)]
    total = 0
    while waiting:
        group, place, depth = waiting.pop()
        for name in _names(group, place):
            where = f"{place}/{name.decode('utf-8', 'replace')}"
            info = group.links.get_info(name)
            if info.type != h5l.TYPE_HARD:
                raise Refused(f"{where[:80]} is a link to elsewhere")
            member = h5o.open(group, name)
            if not isinstance(member, h5g.GroupID | h5d.DatasetID):
                raise Refused(f"{where[:80]} is a {type(member).__name__}, not an array or a group")
            _new(member, where, seen)
            if isinstance(member, h5g.GroupID):
                if depth >= DEPTH:
                    raise Refused(f"its groups are nested more than {DEPTH} deep")
                waiting.append((member, where, depth + 1))
            else:
                total += _bytes(member, where, size)
                if total > most:
                    raise Refused(f"its arrays take {total / 1e9:.1f} GB, more than {most / 1e9:.1f} GB")
            _attributes(member, where)
    _attributes(root, "the file")


def _names(group: Any, place: str) -> list[bytes]:
    if len(group) > MOST_OBJECTS:
        raise Refused(f"{place[:80] or 'it'} has {len(group):,} members")
    return list(group)


def _new(member: Any, where: str, seen: set[Any]) -> None:
    info = h5o.get_info(member)
    address = info.addr if hasattr(info, "addr") else bytes(info.token)
    if address in seen or info.rc > 1:
        raise Refused(f"{where[:80]} stands there twice")
    seen.add(address)
    if len(seen) > MOST_OBJECTS:
        raise Refused(f"it has more than {MOST_OBJECTS:,} objects")


def _bytes(dataset: Any, where: str, size: int) -> int:
    """How much an array takes when it is read; raises Refused for what is not to be read."""
    creation = dataset.get_create_plist()
    layout = creation.get_layout()
    if layout == h5d.VIRTUAL or creation.get_external_count():
        raise Refused(f"{where[:80]} is in another file of the machine")
    kind = _kind(dataset.get_type(), where)
    shape = _shape(dataset.get_space(), where)
    held = math.prod(shape) * kind.itemsize
    if layout == h5d.CHUNKED:
        held = max(held, math.prod(creation.get_chunk()) * kind.itemsize)
        filters = {creation.get_filter(number)[0] for number in range(creation.get_nfilters())}
        if filters - FILTERS:
            raise Refused(f"{where[:80]} is packed by filters that vlx does not use ({sorted(filters - FILTERS)})")
    elif held > size:
        raise Refused(f"{where[:80]} declares {held:,} bytes that are not there")
    return held


def _kind(stored: Any, where: str) -> np.dtype[Any]:
    if isinstance(stored, h5t.TypeStringID) and stored.is_variable_str():
        return np.dtype("V16")
    if isinstance(stored, h5t.TypeIntegerID | h5t.TypeFloatID | h5t.TypeEnumID):
        kind: np.dtype[Any] = stored.dtype
        if kind.itemsize in KINDS.get(kind.kind, ()) and (kind.kind == "b" or not isinstance(stored, h5t.TypeEnumID)):
            return kind
    raise Refused(f"{where[:80]} holds values of a kind that vlx does not write")


def _shape(space: Any, where: str) -> tuple[int, ...]:
    if space.get_simple_extent_type() not in (h5s.SIMPLE, h5s.SCALAR):
        raise Refused(f"{where[:80]} is empty of any value")
    shape = tuple(map(int, space.shape))
    if len(shape) > 8:
        raise Refused(f"{where[:80]} has {len(shape)} axes")
    return shape


def _attributes(member: Any, where: str) -> None:
    number = h5py.h5a.get_num_attrs(member)
    if number > MOST_ATTRIBUTES:
        raise Refused(f"{where[:80]} has {number} attributes")
    for index in range(number):
        attribute = h5py.h5a.open(member, index=index)
        _kind(attribute.get_type(), f"an attribute of {where}")
        if math.prod(_shape(attribute.get_space(), f"an attribute of {where}")) != 1:
            raise Refused(f"an attribute of {where[:80]} holds several values")

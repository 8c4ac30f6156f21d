"""Explanations on disk: one HDF5 file, or one JSON file, that loads again without the model. Nothing is pickled."""

import base64
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import h5py
import numpy as np
from PIL import Image

from vlx.errors import InputError, OutputError
from vlx.explanation import Array, Explanation, WordExplanation
from vlx.geometry import Placement

SCHEMA = 1
FORMAT = "vlx explanation"
WORD_ARRAYS = ("weights", "signed", "opposed")
ENDINGS = (".h5", ".json")


def load(path: Path) -> Explanation:
    """Read what `save_hdf5` or `save_json` wrote; the ending decides.

    Raises InputError for a missing, broken or foreign file, another ending, and a newer schema.
    """
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {".h5": _read_hdf5, ".json": _read_json}
    if path.suffix not in readers:
        raise InputError(
            f"{path}: explanations are loaded from {' or '.join(ENDINGS)}, not {path.suffix or 'no ending'}"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    record = readers[path.suffix](path)
    if record.get("format") != FORMAT:
        raise InputError(f"{path} was not written by Explanation.save")
    if record.get("schema_version", 0) > SCHEMA:
        raise InputError(f"{path} has schema {record['schema_version']}, this vlx reads up to {SCHEMA}; update vlx")
    try:
        return _explanation(record)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); save it again") from None


def save_hdf5(why: Explanation, path: Path) -> None:
    """One gzip-compressed HDF5 file: arrays as data sets of their own type, everything else as JSON attributes."""
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        _fill(file, _record(why))


def save_json(why: Explanation, path: Path) -> None:
    """One JSON file: maps as lists, the picture as a PNG in base64."""
    text = json.dumps(_record(why), default=_listed, ensure_ascii=False, allow_nan=False)
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or leave what was there."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when all went well, and is removed when not.

    Raises OutputError when the folder is missing or cannot be written, or ``path`` is a folder.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder; make it first")
    partial: Path | None = None
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix, delete=False) as file:
            partial = Path(file.name)
        yield partial
        partial.chmod(0o644)
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another place") from None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


# Explanation ↔ nested dicts of plain values and arrays


def _record(why: Explanation) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "schema_version": SCHEMA,
        "text": why.text,
        "task": why.task,
        "method": why.method,
        "forced": why.forced,
        "notes": list(why.notes),
        "provenance": why.provenance,
        "placement": why.placement.to_dict(),
        "image": why.image,
        "sentence": _word_record(why.sentence),
        "words": [_word_record(word) for word in why.words],
        "phrases": [_word_record(phrase) for phrase in why.phrases],
        "others": [_record(other) for other in why.others],
    }


def _word_record(word: WordExplanation) -> dict[str, Any]:
    return {
        "label": word.label,
        "score": word.score,
        "logprob": word.logprob,
        "target": word.target,
        "seen": word.seen,
        "because": word.because,
        "alternatives": [list(alternative) for alternative in word.alternatives],
        "notes": list(word.notes),
        **{name: getattr(word, name) for name in WORD_ARRAYS},
    }


def _explanation(record: dict[str, Any]) -> Explanation:
    placement = Placement.from_dict(record["placement"])
    return Explanation(
        text=record["text"],
        words=tuple(_word(word, placement) for word in record["words"]),
        sentence=_word(record["sentence"], placement),
        phrases=tuple(_word(phrase, placement) for phrase in record["phrases"]),
        image=_picture(record["image"]),
        task=record["task"],
        method=record["method"],
        placement=placement,
        forced=record["forced"],
        others=tuple(_explanation(other) for other in record["others"]),
        notes=tuple(record["notes"]),
        provenance=record["provenance"],
    )


def _word(record: dict[str, Any], placement: Placement) -> WordExplanation:
    return WordExplanation(
        label=record["label"],
        score=record["score"],
        logprob=record["logprob"],
        alternatives=tuple((str(label), float(logprob)) for label, logprob in record["alternatives"]),
        placement=placement,
        target=record["target"],
        seen=record["seen"],
        because=record["because"],
        notes=tuple(record["notes"]),
        **{name: _array(record[name]) for name in WORD_ARRAYS},
    )


# HDF5: a dict is a group; arrays are data sets, lists of dicts numbered groups, everything else one JSON attribute


def _fill(group: Any, record: dict[str, Any]) -> None:
    plain: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, np.ndarray):
            group.create_dataset(name, data=value, compression="gzip" if value.size else None)
        elif name in ("sentence",):
            _fill(group.create_group(name), value)
        elif name in ("words", "phrases", "others"):
            members = group.create_group(name)
            for number, member in enumerate(value):
                _fill(members.create_group(f"{number:04d}"), member)
        else:
            plain[name] = value
    group.attrs["record"] = json.dumps(plain, ensure_ascii=False)
    group.attrs["schema_version"] = SCHEMA


def _read_hdf5(path: Path) -> dict[str, Any]:
    try:
        with h5py.File(path, "r") as file:
            return _emptied(file)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not a whole explanation in HDF5 ({error}); save it again") from None


def _emptied(group: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(group.attrs["record"])
    for name, item in group.items():
        if isinstance(item, h5py.Dataset):
            record[name] = item[()]
        elif name == "sentence":
            record[name] = _emptied(item)
        else:
            record[name] = [_emptied(item[number]) for number in sorted(item)]
    return record


# JSON: an array is {"dtype", "values"}, the picture {"png"}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not whole JSON ({error}); save it again") from None
    return record if isinstance(record, dict) else {}


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3:
        buffer = io.BytesIO()
        Image.fromarray(value).save(buffer, "PNG")
        return {"png": base64.b64encode(buffer.getvalue()).decode("ascii")}
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "values": value.tolist()}
    raise TypeError(f"{type(value).__name__} cannot be saved as JSON")


def _array(value: Any) -> Array:
    return np.array(value["values"], value["dtype"]) if isinstance(value, dict) else np.asarray(value)


def _picture(value: Any) -> Array:
    if isinstance(value, dict):
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(value["png"]))).convert("RGB"))
    return np.asarray(value)

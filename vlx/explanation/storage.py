"""Explanations on disk: one HDF5 file, or one JSON file, that loads again without the model. Nothing is pickled."""

import base64
import binascii
import hashlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlx.errors import ImageError, InputError, UnsavableValue, in_own_words
from vlx.explanation import fields, schema, withheld
from vlx.explanation.fields import array
from vlx.explanation.map_check import MapCheck
from vlx.explanation.reasons import OLDER
from vlx.explanation.records import Array, Explanation, QuestionWord, WordExplanation
from vlx.files import hdf5, json_files
from vlx.files.whole import write_text
from vlx.language import shortened
from vlx.pictures.opening import in_memory
from vlx.pictures.placement import Placement

SCHEMA = 2  # 1: reasons with one mark, seen beside a blank picture; still read
FORMAT = "vlx explanation"
WORD_ARRAYS = ("weights", "signed", "opposed")


def load(path: Path, picture: Any = None) -> Explanation:
    """Read what `save_hdf5` or `save_json` wrote; the ending decides.

    ``picture`` is the one that was explained, for a file that was saved without it. Raises InputError for a missing,
    broken or foreign file, another ending, a newer schema, and for another picture.
    """
    why = _loaded(path)
    return why if picture is None else withheld.given_back(why, picture, path)


def _loaded(path: Path) -> Explanation:
    readers: dict[str, Callable[[Path], Explanation]] = {".h5": _read_hdf5, ".json": _read_json}
    ending = path.suffix.lower()
    if ending not in readers:
        raise InputError(f"{path}: explanations are loaded from {' or '.join(readers)}, not {ending or 'no ending'}")
    return readers[ending](path)


def _known(path: Path, name: Any, version: Any) -> None:
    """Raise InputError for what is no explanation, or one that a newer vlx wrote."""
    if name != FORMAT or not isinstance(version, int) or isinstance(version, bool):
        raise InputError(f"{path} was not written by Explanation.save; give a .h5 or .json that was")
    if version > SCHEMA:
        raise InputError(f"{path} has schema {version}, this vlx reads up to {SCHEMA}; update vlx")


def _made(path: Path, record: dict[str, Any]) -> Explanation:
    with in_own_words(f"{path} is damaged", remedy="save it again", bugs=True):
        schema.explanation(record)
        return _explanation(record)


def save_hdf5(why: Explanation, path: Path, picture: bool = True) -> None:
    """One gzip-compressed HDF5 file: arrays as data sets of their own type, the rest of a group as JSON in "record".

    Without ``picture`` its SHA-256 and size are kept in its place.
    """
    record = _record(why, picture)

    def fill(file: Any) -> None:
        file.attrs["format"] = FORMAT
        file.attrs["schema_version"] = SCHEMA
        _fill(file, {name: value for name, value in record.items() if name not in ("format", "schema_version")})

    hdf5.write(path, fill)


def save_json(why: Explanation, path: Path, picture: bool = True) -> None:
    """One JSON file: maps as lists, the picture as a PNG in base64, numbers that are not finite as strings.

    Without ``picture`` its SHA-256 and size are kept in its place.
    """
    record = _listed(_record(why, picture))
    text = json.dumps({**record, "digest": digest(record)}, allow_nan=False)
    if json_files.values(text) > json_files.VALUES:
        raise InputError(f"{path}: its maps have more values than a JSON file is read back with; save it as .h5")
    write_text(path, text)


def digest(value: Any) -> str:
    """SHA-256 over a record as JSON has it: all names, texts and numbers; the order of names does not count."""
    hashed = hashlib.sha256()
    _digest(value, hashed)
    return hashed.hexdigest()


def _digest(value: Any, hashed: Any) -> None:
    if isinstance(value, dict):
        hashed.update(f"{{{len(value)}".encode())
        for name in sorted(value):
            _digest(name, hashed)
            _digest(value[name], hashed)
    elif isinstance(value, list):
        hashed.update(f"[{len(value)}".encode())
        for member in value:
            _digest(member, hashed)
    elif isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        hashed.update(f'"{len(text)} '.encode() + text)
    else:
        hashed.update(f"{type(value).__name__} {value!r};".encode())


# Explanation ↔ nested dicts of plain values and arrays


def _record(why: Explanation, picture: bool = True, shown: Explanation | None = None) -> dict[str, Any]:
    """Alternatives show the same picture as a rule: it is kept once, or not at all."""
    again = shown is not None and shown.missing == why.missing and np.array_equal(shown.image, why.image)
    kept = picture and why.missing is None
    height, width = why.image.shape[:2]
    without = {} if kept or again else {"picture": {"sha256": withheld.sha256_of(why), "size": [height, width]}}
    return {
        "format": FORMAT,
        "schema_version": SCHEMA,
        "text": why.text,
        "task": why.task,
        "method": why.method,
        "forced": why.forced,
        "scope": list(why.scope),
        "notes": list(withheld.bare(why.notes)),
        "provenance": why.provenance,
        "placement": why.placement.to_dict(),
        "image": why.image if kept and not again else None,
        **without,
        "sentence": _word_record(why.sentence, why.placement),
        "words": [_word_record(word, why.placement) for word in why.words],
        "phrases": [_word_record(phrase, why.placement) for phrase in why.phrases],
        "others": [_record(other, picture, why) for other in why.others],
        "question": why.question,
        "question_words": [[asked.word, asked.left_out, asked.gradient] for asked in why.question_words],
        "instead_of": why.instead_of,
    }


def _word_record(word: WordExplanation, placement: Placement) -> dict[str, Any]:
    return {
        "label": word.label,
        "score": word.score,
        "logprob": word.logprob,
        "target": word.target,
        "method": word.method,
        "outputs": word.outputs,
        **{name: one.to_record(getattr(word, name)) for name, one in fields.FIELDS.items()},
        "alternatives": [list(alternative) for alternative in word.alternatives],
        "placement": None if word.placement == placement else word.placement.to_dict(),
        "notes": list(word.notes),
        "check": None if word.check is None else word.check.to_dict(),
        "against_method": word.against_method,
        "against_check": None if word.against_check is None else word.against_check.to_dict(),
        **({"measured": _listed(word.measured)} if word.measured else {}),
        **({} if word.mapped else {"mapped": False}),
        **({"reasoning": True} if word.reasoning else {}),
        **{name: getattr(word, name) for name in WORD_ARRAYS},
    }


def _explanation(record: dict[str, Any], shown: Array | None = None, missing: str | None = None) -> Explanation:
    placement = Placement.from_dict(record["placement"])
    if "picture" in record:
        missing, shown = record["picture"]["sha256"], withheld.grey(*record["picture"]["size"])
    elif record["image"] is not None:
        missing = None
    image = _picture(shown if record["image"] is None else record["image"])
    if image.shape[:2] != placement.frame.size:
        raise ValueError(f"a picture of {image.shape[:2]} where {placement.frame.size} was explained")
    return Explanation(
        text=record["text"],
        words=tuple(_word(word, placement) for word in record["words"]),
        sentence=_word(record["sentence"], placement),
        phrases=tuple(_word(phrase, placement) for phrase in record["phrases"]),
        image=image,
        task=record["task"],
        method=record["method"],
        placement=placement,
        forced=record["forced"],
        others=tuple(_explanation(other, image, missing) for other in record["others"]),
        question=record.get("question"),
        question_words=tuple(_question_word(asked) for asked in record.get("question_words", ())),
        instead_of=record.get("instead_of"),
        scope=tuple(map(str, record.get("scope", ()))),
        notes=(*record["notes"], *_older(record["words"]), *([withheld.ON_GREY] if missing else [])),
        provenance=record["provenance"],
        missing=missing,
    )


def _older(words: list[dict[str, Any]]) -> list[str]:
    """What is to be noted where an older version checked the reasons otherwise."""
    checks = [word["because"]["check"] for word in words if word["because"] is not None]
    return [OLDER] if any(check is not None and "size" not in check for check in checks) else []


def _question_word(record: list[Any]) -> QuestionWord:
    word, left_out, gradient = record
    return QuestionWord(str(word), float(left_out), None if gradient is None else float(gradient))


def _word(record: dict[str, Any], placement: Placement) -> WordExplanation:
    kept: dict[str, Any] = {name: array(record[name]) for name in WORD_ARRAYS}
    kept |= {name: one.from_record(record.get(name)) for name, one in fields.FIELDS.items()}
    return WordExplanation(
        label=record["label"],
        score=float(record["score"]),
        logprob=float(record["logprob"]),
        alternatives=tuple((str(label), float(logprob)) for label, logprob in record["alternatives"]),
        placement=placement if record["placement"] is None else Placement.from_dict(record["placement"]),
        target=record["target"],
        method=record.get("method", ""),
        outputs=record.get("outputs", "softmax"),
        notes=tuple(record["notes"]),
        check=_map_check(record.get("check")),
        against_method=record.get("against_method", _own(record.get("method", ""))),
        against_check=_map_check(record.get("against_check")),
        measured={str(name): fields.own(value) for name, value in record.get("measured", {}).items()},
        mapped=record.get("mapped", True),
        reasoning=record.get("reasoning", False),
        **kept,
    )


def _map_check(record: dict[str, Any] | None) -> MapCheck | None:
    return None if record is None else MapCheck.from_dict(record)


def _own(method: str) -> str:
    """Files of before there was a trial: what methods that are not linear called a counterfactual was none."""
    return method if method in ("gradcam", "hirescam", "xgradcam", "occlusion") else ""


# HDF5: a dict is a group; arrays are data sets, lists of dicts numbered groups, everything else JSON in one data set

GROUPS = ("words", "phrases", "others", "reasons")
SINGLE = ("sentence", "occlusion", "because")


def _fill(group: Any, record: dict[str, Any]) -> None:
    plain: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, np.ndarray):
            group.create_dataset(name, data=value, compression="gzip" if value.size and value.ndim else None)
        elif isinstance(value, dict) and name in SINGLE:
            _fill(group.create_group(name), value)
        elif name in GROUPS:
            members = group.create_group(name)
            for number, member in enumerate(value):
                _fill(members.create_group(f"{number:04d}"), member)
        else:
            plain[name] = value
    group.create_dataset("record", data=json.dumps(plain, default=_plain, allow_nan=True))  # an attribute holds 64 KB


def _read_hdf5(path: Path) -> Explanation:
    with hdf5.reading(path, "explanation in HDF5", ("format", "schema_version")) as file:
        name, version = file.attrs.get("format"), file.attrs.get("schema_version")
        version = int(version) if isinstance(version, np.integer) else None
        _known(path, name, version)
        return _made(path, {**_emptied(file), "format": name, "schema_version": version})


def _emptied(group: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(hdf5.text(group["record"]))
    if not isinstance(record, dict):
        raise ValueError(f"the record of {group.name} is not what it should be")
    for name, item in group.items():
        if hasattr(item, "shape"):
            if name != "record":
                record[name] = item[()]
        elif name in SINGLE:
            record[name] = _emptied(item)
        else:
            record[name] = [_emptied(item[number]) for number in sorted(item)]
    return record


# JSON: an array is {"dtype", "shape", "values"}, the picture {"png"}


def _read_json(path: Path) -> Explanation:
    record = json_files.read(path)
    if not isinstance(record, dict):
        record = {}
    _known(path, record.get("format"), record.get("schema_version"))
    why = _made(path, record)
    kept_digest = record.pop("digest", None)  # older files have none
    if kept_digest is not None and kept_digest != digest(record):  # last: a fault that has a name is told by it
        raise InputError(f"{path} is damaged: it is not what its digest was made of; save it again")
    return why


WIDEST = 63  # bits of a number that is read back


def _listed(value: Any) -> Any:
    """The record as JSON may hold it."""
    if isinstance(value, dict):
        return {str(name): _listed(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(part) for part in value]
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3:
        buffer = io.BytesIO()
        Image.fromarray(value).save(buffer, "PNG")
        return {"png": base64.b64encode(buffer.getvalue()).decode("ascii")}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        flat = value.ravel()
        if flat.dtype == np.float32:
            flat = np.array([float(str(number)) for number in flat])  # in as few digits as tell it from its neighbours
        numbers = flat.tolist() if np.isfinite(flat).all() else [_number(number) for number in flat.tolist()]
        return {"dtype": str(value.dtype), "shape": list(value.shape), "values": numbers}
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int) and value.bit_length() > WIDEST:
        raise UnsavableValue(f"int cannot be saved: it has {value.bit_length()} bits; make it a float, or a text")
    return value if value is None or isinstance(value, str | int) else _listed(_plain(value))


def _number(value: float) -> float | str:
    return float(value) if math.isfinite(value) else str(float(value))


def _plain(value: Any) -> Any:
    """Numbers of numpy and paths, which come in with provenance, as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise UnsavableValue(f"{type(value).__name__} cannot be saved: {shortened(repr(value), 150)}; put in what can")


def _picture(value: Any) -> Array:
    if isinstance(value, dict):
        try:
            value = np.asarray(in_memory(base64.b64decode(value["png"], validate=True), ("PNG",)).convert("RGB"))
        except (ImageError, binascii.Error) as error:
            raise ValueError(f"the picture is no PNG: {error}") from None
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 3:
        raise ValueError("the picture is not uint8 [H, W, 3]")
    return value

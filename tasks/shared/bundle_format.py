"""A trained model as a folder: ``config.json``, ``weights.safetensors`` and a model card; nothing is ever unpickled."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlx.errors import ModelError, OutputError
from vlx.files import json_files
from vlx.files.whole import replacing, write_text
from vlx.language import shortened
from vlx.methods.cams import METHODS
from vlx.protocol.targets import TARGET_KINDS

SCHEMA = 1
MOST = 2**16  # units, hidden values, words of a caption
SIDE = 2**12  # pixels or cells along one axis
TEXTS = 2**20  # words of a vocabulary
CONFIG = 2**26  # bytes of a config.json

C = TypeVar("C")
Rule = tuple[Callable[[Any], bool], str]  # whether a value will do, and what is needed


def save(folder: Path, config: Any, networks: nn.Module) -> None:
    """Write the configuration (a dataclass) and float16 weights, each whole or not at all; makes the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: no folder can be made there ({error.strerror}); choose another place") from None
    halved = {name: _halved(tensor) for name, tensor in networks.state_dict().items()}
    place = folder / "weights.safetensors"
    with replacing(place, sum(tensor.nbytes for tensor in halved.values())) as partial:
        try:
            save_file(halved, partial)
        except SafetensorError as error:
            raise OSError(str(error)) from None
    write_text(folder / "config.json", json.dumps(asdict(config), indent=1) + "\n")


def task_of(folder: Path) -> str:
    """Which task the bundle is for: "captioning", "vqa"; raises ModelError as `read_config` does."""
    return str(_read(folder)["task"])


def read_config(folder: Path, made: type[C], task: str, rules: dict[str, Rule]) -> C:
    """Read ``config.json`` as the dataclass ``made``.

    Raises ModelError naming the file when it is missing, foreign, newer than this vlx or breaks a rule.
    """
    path, raw = folder / "config.json", _read(folder)
    if raw["task"] != task:
        raise ModelError(
            f"{path}: this is not the configuration of a vlx {task} model (task={shortened(raw['task'], 60)!r})"
        )
    if not isinstance(raw.get("schema"), int) or raw["schema"] > SCHEMA:
        raise ModelError(
            f"{path}: schema {shortened(repr(raw.get('schema')), 60)}, this vlx reads up to {SCHEMA}; update vlx"
        )
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    try:
        config = made(**values)
    except TypeError as error:
        raise ModelError(f"{path}: {shortened(str(error), 150)}") from None
    for name, (fits, wanted) in rules.items():
        if not fits(getattr(config, name)):
            raise ModelError(f"{path}: {name}={shortened(repr(getattr(config, name)), 80)}; needed is {wanted}")
    return config


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    require_inside(path)
    if not path.exists():
        raise ModelError(f"{folder}: no config.json; a vlx bundle holds config.json and weights.safetensors")
    if path.is_dir():
        raise ModelError(f"{path}: not readable as JSON (it is a directory); copy the file of that name there")
    try:
        raw = json_files.read(path, ModelError, most=CONFIG)
    except ModelError as error:
        raise ModelError(f"{path}: not readable as JSON ({shortened(str(error), 150)})") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("task"), str):
        task = raw.get("task") if isinstance(raw, dict) else None
        raise ModelError(f"{path}: this is not the configuration of a vlx model (task={shortened(repr(task), 60)})")
    return raw


def count(value: Any) -> bool:
    """Whether it is a whole number from 1 to `MOST`: what a network can be made of."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST


def side(value: Any) -> bool:
    """Whether it is a whole number of pixels or cells, from 1 to `SIDE`."""
    return count(value) and value <= SIDE


def number(value: Any) -> bool:
    """Whether it is a finite number of moderate size."""
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < MOST


def several(number: int | None, fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether it is a tuple, of ``number`` values if that is given, each of which fits."""
    return lambda value: isinstance(value, tuple) and len(value) == (number or len(value)) and all(map(fits, value))


def texts(value: Any) -> bool:
    """Whether it is a tuple of strings, no more than `TEXTS`."""
    return several(None, lambda text: isinstance(text, str))(value) and len(value) <= TEXTS


COUNT = f"a whole number from 1 to {MOST}"
COMMON: dict[str, Rule] = {
    "wide": (lambda value: isinstance(value, bool), "true or false"),
    "units": (count, COUNT),
    "size": (side, f"a whole number of pixels, up to {SIDE}"),
    "cells": (several(2, side), f"two whole numbers, rows and columns of A, up to {SIDE}"),
    "mean": (several(3, number), "three numbers"),
    "std": (several(3, lambda value: number(value) and value > 0), "three numbers above 0"),
    "method": (lambda value: value == "" or value in METHODS, f"one of {', '.join(METHODS)}"),
    "target": (lambda value: value == "" or value in TARGET_KINDS, f"one of {', '.join(TARGET_KINDS)}"),
    "world": (lambda value: value in ("", "scenes"), '"scenes" or nothing'),
    "notes": (texts, "a list of sentences"),
}


def read_weights(folder: Path, made: Callable[[], nn.ModuleDict]) -> nn.ModuleDict:
    """Networks as ``made`` makes them with the folder's weights, float32, in eval mode.

    Shapes are compared before anything is made that takes memory. Raises ModelError for missing, broken or foreign
    weights, and for a configuration that no network can be made of.
    """
    path = folder / "weights.safetensors"
    require_inside(path)
    if not path.is_file():
        raise ModelError(f"{folder}: no weights.safetensors here" + _pickle_advice(folder))
    try:
        with torch.device("meta"):
            wanted = {name: tuple(tensor.shape) for name, tensor in made().state_dict().items()}
    except Exception as error:  # sizes that do not go together
        raise ModelError(f"{folder / 'config.json'}: no network can be made of it ({str(error)[:150]})") from error
    try:
        _check_shapes(path, _shapes(path), wanted)
        weights = {name: _full(tensor) for name, tensor in load_file(path).items()}
    except ModelError:
        raise
    except Exception as error:  # safetensors raises more than its own
        told = str(error)[:150] or type(error).__name__
        raise ModelError(f"{path}: not a whole safetensors file ({told}); copy or download it again") from error
    _check_finite(path, weights)
    networks = made()
    networks.load_state_dict(weights)
    return networks.eval()


def require_inside(path: Path) -> None:
    """Raises ModelError for a link that leads out of its folder; not for those of the hub's cache to its own blobs."""
    if not path.is_symlink():
        return
    folder, target = path.parent.resolve(), path.resolve()
    homes = [folder, folder.parent.parent / "blobs"] if folder.parent.name == "snapshots" else [folder]
    if not any(target.is_relative_to(home) for home in homes):
        raise ModelError(f"{path} is a link out of its folder ({str(target)[-120:]}); put a copy of the file there")


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """What the file declares, without reading its weights."""
    with safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _check_shapes(path: Path, given: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> None:
    wrong = [
        f"{name} is {given.get(name, 'missing')}, needed {shape}"
        for name, shape in wanted.items()
        if given.get(name) != shape
    ]
    wrong += [f"{name} is not part of this model" for name in given if name not in wanted]
    if wrong:
        told = shortened("; ".join(wrong[:3]), 180)
        raise ModelError(f"{path}: these weights do not fit config.json: {told} ({len(wrong)} in all)")


def _check_finite(path: Path, weights: dict[str, Tensor]) -> None:
    broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ModelError(
            f"{path}: NaN or infinite weights in {', '.join(broken[:3])}; the training that wrote them failed"
        )


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half().contiguous() if tensor.is_floating_point() else tensor.contiguous()


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _pickle_advice(folder: Path) -> str:
    pickles = [path.name for path in sorted(folder.iterdir()) if path.suffix in {".pt", ".pth", ".bin", ".pkl"}]
    if not pickles:
        return ""
    return f"; {pickles[0]} is a pickle, which can run code, so vlx does not open it: save it again as safetensors"

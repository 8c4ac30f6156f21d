"""A trained model as a folder: ``config.json``, ``weights.safetensors`` and a model card; nothing is ever unpickled."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.language import shortened
from vlx.task import TARGET_KINDS
from vlx.weighting import METHODS

SCHEMA = 1

C = TypeVar("C")
Rule = tuple[Callable[[Any], bool], str]  # whether a value will do, and what is needed


def save(folder: Path, config: Any, networks: nn.Module) -> None:
    """Write the configuration (a dataclass) and float16 weights, each whole or not at all; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    halved = {name: _halved(tensor) for name, tensor in networks.state_dict().items()}
    save_file(halved, folder / "weights.partial")
    os.replace(folder / "weights.partial", folder / "weights.safetensors")
    (folder / "config.partial").write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
    os.replace(folder / "config.partial", folder / "config.json")


def task_of(folder: Path) -> str:
    """Which task the bundle is for: "captioning", "vqa"; raises ModelError as `read_config` does."""
    return str(_read(folder)["task"])


def read_config(folder: Path, made: type[C], task: str, rules: dict[str, Rule]) -> C:
    """Read ``config.json`` as the dataclass ``made``.

    Raises ModelError naming the file when it is missing, foreign, newer than this vlx or breaks a rule.
    """
    path, raw = folder / "config.json", _read(folder)
    if raw["task"] != task:
        raise ModelError(f"{path}: this is not the configuration of a vlx {task} model (task={raw['task']!r})")
    if not isinstance(raw.get("schema"), int) or raw["schema"] > SCHEMA:
        raise ModelError(f"{path}: schema {raw.get('schema')!r}, this vlx reads up to {SCHEMA}; update vlx")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    try:
        config = made(**values)
    except TypeError as error:
        raise ModelError(f"{path}: {error}") from None
    for name, (fits, wanted) in rules.items():
        if not fits(getattr(config, name)):
            raise ModelError(f"{path}: {name}={shortened(repr(getattr(config, name)))}; needed is {wanted}")
    return config


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: no config.json; a vlx bundle holds config.json and weights.safetensors") from None
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("task"), str):
        task = raw.get("task") if isinstance(raw, dict) else None
        raise ModelError(f"{path}: this is not the configuration of a vlx model (task={task!r})")
    return raw


def count(value: Any) -> bool:
    """Whether it is a whole number from 1."""
    return isinstance(value, int) and value >= 1


def several(number: int | None, fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether it is a tuple, of ``number`` values if that is given, each of which fits."""
    return lambda value: isinstance(value, tuple) and len(value) == (number or len(value)) and all(map(fits, value))


def texts(value: Any) -> bool:
    """Whether it is a tuple of strings."""
    return several(None, lambda text: isinstance(text, str))(value)


COMMON: dict[str, Rule] = {
    "wide": (lambda value: isinstance(value, bool), "true or false"),
    "units": (count, "a whole number from 1"),
    "size": (count, "a whole number of pixels"),
    "cells": (several(2, count), "two whole numbers, rows and columns of A"),
    "mean": (several(3, lambda value: isinstance(value, float | int)), "three numbers"),
    "std": (several(3, lambda value: isinstance(value, float | int) and value > 0), "three numbers above 0"),
    "method": (lambda value: value == "" or value in METHODS, f"one of {', '.join(METHODS)}"),
    "target": (lambda value: value == "" or value in TARGET_KINDS, f"one of {', '.join(TARGET_KINDS)}"),
    "world": (lambda value: value in ("", "scenes"), '"scenes" or nothing'),
    "notes": (texts, "a list of sentences"),
}


def read_weights(folder: Path, networks: nn.ModuleDict) -> nn.ModuleDict:
    """Fill the networks, float32, in eval mode; raises ModelError for missing, broken or foreign weights."""
    path = folder / "weights.safetensors"
    if not path.is_file():
        raise ModelError(f"{folder}: no weights.safetensors here" + _pickle_advice(folder))
    try:
        weights = {name: _full(tensor) for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error}); copy or download it again") from None
    _check_shapes(path, weights, networks)
    networks.load_state_dict(weights)
    return networks.eval()


def _check_shapes(path: Path, weights: dict[str, Tensor], networks: nn.Module) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in networks.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wrong = [
        f"{name} is {given.get(name, 'missing')}, needed {shape}"
        for name, shape in wanted.items()
        if given.get(name) != shape
    ]
    wrong += [f"{name} is not part of this model" for name in given if name not in wanted]
    if wrong:
        raise ModelError(f"{path}: these weights do not fit config.json: {'; '.join(wrong[:3])} ({len(wrong)} in all)")
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

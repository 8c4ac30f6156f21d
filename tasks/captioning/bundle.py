"""A captioner as a folder: ``config.json``, ``weights.safetensors`` and a model card; nothing is ever unpickled."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.task import TARGET_KINDS, Defaults, GradientWay, TargetKind
from vlx.tasks.captioning.captioner import CnnLstmCaptioner
from vlx.tasks.captioning.decoders import Attention, PictureAsState, PictureFirst
from vlx.tasks.captioning.networks import SceneCnn
from vlx.tasks.captioning.preparation import Preparation
from vlx.tasks.captioning.unroll import Decoder
from vlx.weighting import METHODS

SCHEMA = 1
Entry = Literal["attention", "first", "state"]
ENTRIES: tuple[Entry, ...] = ("attention", "first", "state")
GRADIENTS: dict[Entry, GradientWay] = {"attention": "batched", "first": "rows", "state": "rows"}


@dataclass(frozen=True)
class Config:
    """Everything about a trained captioner but its weights.

    ``entry`` is how the picture enters the decoder; ``wide`` which CNN; ``cells`` (h, w) the shape of A; ``mean`` and
    ``std`` the training pictures' colour; ``method``, ``target`` what explains it best, by measurement (empty: not
    measured).
    """

    vocabulary: tuple[str, ...]
    entry: Entry = "attention"
    wide: bool = False
    units: int = 256
    size: int = 128
    cells: tuple[int, int] = (16, 16)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    max_words: int = 20
    method: str = ""
    target: str = ""
    notes: tuple[str, ...] = ()
    task: str = "captioning"
    schema: int = SCHEMA

    def preparation(self) -> Preparation:
        """How a picture becomes the network's input."""
        return Preparation(self.size, self.mean, self.std)


def build(config: Config) -> nn.ModuleDict:
    """The untrained networks of a configuration: ``cnn`` and ``decoder``."""
    words = len(config.vocabulary)
    decoders: dict[Entry, Callable[[], nn.Module]] = {
        "attention": lambda: Attention(config.units, words, config.cells),
        "first": lambda: PictureFirst(config.units, words),
        "state": lambda: PictureAsState(config.units, words),
    }
    return nn.ModuleDict({"cnn": SceneCnn(config.units, wide=config.wide), "decoder": decoders[config.entry]()})


def save(folder: Path, config: Config, networks: nn.Module) -> None:
    """Write configuration and float16 weights, each whole or not at all; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    halved = {name: _halved(tensor) for name, tensor in networks.state_dict().items()}
    save_file(halved, folder / "weights.partial")
    os.replace(folder / "weights.partial", folder / "weights.safetensors")
    (folder / "config.partial").write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
    os.replace(folder / "config.partial", folder / "config.json")


def read_config(folder: Path) -> Config:
    """Read ``config.json``; raises ModelError naming the file when it is missing, foreign or newer than this vlx."""
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: no config.json; a vlx bundle holds config.json and weights.safetensors") from None
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(raw, dict) or raw.get("task") != "captioning":
        task = raw.get("task") if isinstance(raw, dict) else None
        raise ModelError(f"{path}: this is not the configuration of a vlx captioner (task={task!r})")
    if not isinstance(raw.get("schema"), int) or raw["schema"] > SCHEMA:
        raise ModelError(f"{path}: schema {raw.get('schema')!r}, this vlx reads up to {SCHEMA}; update vlx")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    try:
        config = Config(**values)
    except TypeError as error:
        raise ModelError(f"{path}: {error}") from None
    for name, (fits, wanted) in _RULES.items():
        if not fits(getattr(config, name)):
            raise ModelError(f"{path}: {name}={getattr(config, name)!r}; needed is {wanted}")
    return config


def _count(value: Any) -> bool:
    return isinstance(value, int) and value >= 1


def _several(count: int | None, fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and len(value) == (count or len(value)) and all(map(fits, value))


def _words(value: Any) -> bool:
    return _several(None, lambda word: isinstance(word, str))(value) and {"<start>", "<end>"} <= set(value)


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "vocabulary": (_words, 'a list of words, "<start>" and "<end>" among them'),
    "entry": (lambda value: value in ENTRIES, f"one of {', '.join(ENTRIES)}"),
    "wide": (lambda value: isinstance(value, bool), "true or false"),
    "units": (_count, "a whole number from 1"),
    "size": (_count, "a whole number of pixels"),
    "max_words": (_count, "a whole number from 1"),
    "cells": (_several(2, _count), "two whole numbers, rows and columns of A"),
    "mean": (_several(3, lambda value: isinstance(value, float | int)), "three numbers"),
    "std": (_several(3, lambda value: isinstance(value, float | int) and value > 0), "three numbers above 0"),
    "method": (lambda value: value == "" or value in METHODS, f"one of {', '.join(METHODS)}"),
    "target": (lambda value: value == "" or value in TARGET_KINDS, f"one of {', '.join(TARGET_KINDS)}"),
    "notes": (_several(None, lambda value: isinstance(value, str)), "a list of sentences"),
}


def read_networks(folder: Path, config: Config) -> nn.ModuleDict:
    """Networks with their weights, float32, in eval mode; raises ModelError for missing, broken or foreign weights."""
    path = folder / "weights.safetensors"
    if not path.is_file():
        raise ModelError(f"{folder}: no weights.safetensors here" + _pickle_advice(folder))
    try:
        weights = {name: _full(tensor) for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error}); copy or download it again") from None
    networks = build(config)
    _check_shapes(path, weights, networks)
    networks.load_state_dict(weights)
    return networks.eval()


def load_task(folder: Path, name: str) -> CnnLstmCaptioner:
    """The captioner in a bundle folder, ready to be explained."""
    config = read_config(folder)
    networks = read_networks(folder, config)
    words = list(config.vocabulary)
    measured = Defaults(
        config.method or "gradcam", cast(TargetKind, config.target or "logprob"), GRADIENTS[config.entry]
    )
    return CnnLstmCaptioner(
        networks["cnn"],
        cast(Decoder, networks["decoder"]),
        words,
        config.preparation(),
        start=words.index("<start>"),
        end=words.index("<end>"),
        max_words=config.max_words,
        name=name,
        blank=config.mean,
        defaults=measured,
        notes=config.notes,
    )


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

"""A VQA model as a folder; see `vlx.tasks.shared.bundle_format`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from torch import nn

from vlx.protocol.targets import TargetKind
from vlx.protocol.task import Defaults
from vlx.tasks.shared import bundle_format as folders
from vlx.tasks.shared.scene_models import Preparation, SceneCnn, scope_of
from vlx.tasks.vqa.heads import ENCODINGS, Concatenation, Encoding, Product, StackedAttention
from vlx.tasks.vqa.vqa import CnnLstmVqa, Head

Fusion = Literal["attention", "product", "concatenation"]
FUSIONS: tuple[Fusion, ...] = ("attention", "product", "concatenation")
PAD, UNKNOWN = "<pad>", "<unk>"


@dataclass(frozen=True)
class VqaConfig:
    """Everything about a trained VQA model but its weights.

    ``fusion`` is how question and picture meet, in ``joint`` dimensions, ``encoding`` how the question is read; the
    rest is as for captioners.
    """

    vocabulary: tuple[str, ...]
    answers: tuple[str, ...]
    fusion: Fusion = "attention"
    encoding: Encoding = "lstm"
    joint: int = 136
    wide: bool = False
    units: int = 256
    size: int = 128
    cells: tuple[int, int] = (16, 16)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    method: str = ""
    target: str = ""
    world: str = ""
    notes: tuple[str, ...] = ()
    task: str = "vqa"
    schema: int = folders.SCHEMA

    def preparation(self) -> Preparation:
        """How a picture becomes the network's input."""
        return Preparation(self.size, self.mean, self.std)


def build(config: VqaConfig) -> nn.ModuleDict:
    """The untrained networks of a configuration: ``cnn`` and ``head``."""
    sizes = config.units, len(config.vocabulary), len(config.answers)
    heads: dict[Fusion, Callable[[], nn.Module]] = {
        "attention": lambda: StackedAttention(*sizes, config.cells, joint=config.joint, encoding=config.encoding),
        "product": lambda: Product(*sizes, joint=config.joint, encoding=config.encoding),
        "concatenation": lambda: Concatenation(*sizes, joint=config.joint, encoding=config.encoding),
    }
    return nn.ModuleDict({"cnn": SceneCnn(config.units, wide=config.wide), "head": heads[config.fusion]()})


def save(folder: Path, config: VqaConfig, networks: nn.Module) -> None:
    """Write configuration and float16 weights, each whole or not at all; the folder is made if need be."""
    folders.save(folder, config, networks)


def read_config(folder: Path) -> VqaConfig:
    """Read ``config.json``; raises ModelError naming the file when it is missing, foreign or newer than this vlx."""
    return folders.read_config(folder, VqaConfig, "vqa", _RULES)


def read_networks(folder: Path, config: VqaConfig) -> nn.ModuleDict:
    """Networks with their weights, float32, in eval mode; raises ModelError for missing, broken or foreign weights."""
    return folders.read_weights(folder, lambda: build(config))


def load_task(folder: Path, name: str) -> CnnLstmVqa:
    """The VQA model in a bundle folder, ready to be explained."""
    config = read_config(folder)
    networks = read_networks(folder, config)
    return CnnLstmVqa(
        networks["cnn"],
        cast(Head, networks["head"]),
        config.vocabulary,
        config.answers,
        config.preparation(),
        unknown=config.vocabulary.index(UNKNOWN),
        name=name,
        blank=config.mean,
        defaults=Defaults(
            config.method or "layercam",
            cast(TargetKind, config.target or "logprob"),
            "batched",
            measured=config.method is not None,
        ),
        notes=config.notes,
        tells=scope_of(config.world, "vqa"),
    )


def _words(value: Any) -> bool:
    return folders.texts(value) and value[:1] == (PAD,) and UNKNOWN in value


_RULES: dict[str, folders.Rule] = {
    **folders.COMMON,
    "vocabulary": (_words, f'a list of words, "{PAD}" first and "{UNKNOWN}" among them'),
    "answers": (lambda value: folders.texts(value) and len(value) > 1, "a list of at least two answers"),
    "joint": (folders.count, folders.COUNT),
    "fusion": (lambda value: value in FUSIONS, f"one of {', '.join(FUSIONS)}"),
    "encoding": (lambda value: value in ENCODINGS, f"one of {', '.join(ENCODINGS)}"),
}

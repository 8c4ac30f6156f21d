"""A captioner as a folder; see `vlx.tasks.shared.bundle_format`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from torch import nn

from vlx.protocol.targets import GradientWay, TargetKind
from vlx.protocol.task import Defaults
from vlx.tasks.captioning.captioner import CnnLstmCaptioner
from vlx.tasks.captioning.decoders import Attention, PictureAsState, PictureFirst
from vlx.tasks.captioning.decoding import Decoder
from vlx.tasks.shared import bundle_format as folders
from vlx.tasks.shared.scene_models import Preparation, SceneCnn, scope_of

Entry = Literal["attention", "first", "state"]
ENTRIES: tuple[Entry, ...] = ("attention", "first", "state")
GRADIENTS: dict[Entry, GradientWay] = {"attention": "batched", "first": "rows", "state": "rows"}


@dataclass(frozen=True)
class CaptionerConfig:
    """Everything about a trained captioner but its weights.

    ``entry`` is how the picture enters the decoder; ``wide`` which CNN; ``cells`` (h, w) the shape of A; ``mean`` and
    ``std`` the training pictures' colour; ``method``, ``target`` what explains it best, by measurement (empty: not
    measured); ``world`` the kind of pictures that it was trained on ("scenes", or empty: unknown).
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
    world: str = ""
    notes: tuple[str, ...] = ()
    task: str = "captioning"
    schema: int = folders.SCHEMA

    def preparation(self) -> Preparation:
        """How a picture becomes the network's input."""
        return Preparation(self.size, self.mean, self.std)


def build(config: CaptionerConfig) -> nn.ModuleDict:
    """The untrained networks of a configuration: ``cnn`` and ``decoder``."""
    words = len(config.vocabulary)
    decoders: dict[Entry, Callable[[], nn.Module]] = {
        "attention": lambda: Attention(config.units, words, config.cells),
        "first": lambda: PictureFirst(config.units, words),
        "state": lambda: PictureAsState(config.units, words),
    }
    return nn.ModuleDict({"cnn": SceneCnn(config.units, wide=config.wide), "decoder": decoders[config.entry]()})


def save(folder: Path, config: CaptionerConfig, networks: nn.Module) -> None:
    """Write configuration and float16 weights, each whole or not at all; the folder is made if need be."""
    folders.save(folder, config, networks)


def read_config(folder: Path) -> CaptionerConfig:
    """Read ``config.json``; raises ModelError naming the file when it is missing, foreign or newer than this vlx."""
    return folders.read_config(folder, CaptionerConfig, "captioning", _RULES)


def _words(value: Any) -> bool:
    return folders.texts(value) and {"<start>", "<end>"} <= set(value)


_RULES: dict[str, folders.Rule] = {
    **folders.COMMON,
    "vocabulary": (_words, 'a list of words, "<start>" and "<end>" among them'),
    "entry": (lambda value: value in ENTRIES, f"one of {', '.join(ENTRIES)}"),
    "max_words": (folders.count, folders.COUNT),
}


def read_networks(folder: Path, config: CaptionerConfig) -> nn.ModuleDict:
    """Networks with their weights, float32, in eval mode; raises ModelError for missing, broken or foreign weights."""
    return folders.read_weights(folder, lambda: build(config))


def load_task(folder: Path, name: str) -> CnnLstmCaptioner:
    """The captioner in a bundle folder, ready to be explained."""
    config = read_config(folder)
    networks = read_networks(folder, config)
    words = list(config.vocabulary)
    measured = Defaults(
        config.method or "layercam",
        cast(TargetKind, config.target or "logprob"),
        GRADIENTS[config.entry],
        measured=config.method is not None,
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
        tells=scope_of(config.world, "captioning"),
    )

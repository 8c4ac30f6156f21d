"""A captioner of photographs as a folder; see `vlx.tasks.shared.bundle_format`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from vlx.errors import ModelError
from vlx.protocol.targets import TargetKind
from vlx.protocol.task import Defaults
from vlx.tasks.captioning.captioner import CnnLstmCaptioner
from vlx.tasks.captioning.decoding import Decoder
from vlx.tasks.photos import scope
from vlx.tasks.photos.features import GREY, prepared
from vlx.tasks.photos.network import PhotoCnn, PhotoDecoder
from vlx.tasks.photos.vocabulary import END, SPECIAL, START
from vlx.tasks.shared import bundle_format as folders

TASK = "captioning photographs"


@dataclass(frozen=True)
class PhotoCaptionerConfig:
    """Everything about a trained captioner of photographs but its weights.

    ``counts``: training captions in which each word of the vocabulary stands; ``pictures``: how many photographs of
    each set were trained on; ``method``, ``target`` what explains it best, by measurement (empty: not measured).
    """

    vocabulary: tuple[str, ...]
    counts: tuple[int, ...]
    pictures: dict[str, int]
    units: int = 256
    embedding: int = 192
    hidden: int = 384
    keys: int = 96
    heads: int = 2
    max_words: int = 18
    method: str = ""
    target: str = ""
    notes: tuple[str, ...] = ()
    task: str = TASK
    schema: int = folders.SCHEMA


def build(config: PhotoCaptionerConfig, drop: float = 0.0) -> nn.ModuleDict:
    """The untrained networks of a configuration: ``cnn`` and ``decoder``; ``drop``: while it is trained."""
    decoder = PhotoDecoder(
        config.units, len(config.vocabulary), config.embedding, config.hidden, config.keys, config.heads, drop
    )
    return nn.ModuleDict({"cnn": PhotoCnn(config.units), "decoder": decoder})


def save(folder: Path, config: PhotoCaptionerConfig, networks: nn.Module) -> None:
    """Write configuration and float16 weights, each whole or not at all; the folder is made if need be."""
    folders.save(folder, config, networks)


def read_config(folder: Path) -> PhotoCaptionerConfig:
    """Read ``config.json``; raises ModelError naming the file when it is missing, foreign or newer than this vlx."""
    config = folders.read_config(folder, PhotoCaptionerConfig, TASK, _RULES)
    if len(config.counts) != len(config.vocabulary):
        raise ModelError(
            f"{folder / 'config.json'}: {len(config.counts)} counts for {len(config.vocabulary)} words; "
            "needed is one for each"
        )
    return config


def read_networks(folder: Path, config: PhotoCaptionerConfig) -> nn.ModuleDict:
    """Networks with their weights, float32, in eval mode; raises ModelError for missing, broken or foreign weights."""
    return folders.read_weights(folder, lambda: build(config))


def load_task(folder: Path, name: str) -> CnnLstmCaptioner:
    """The captioner in a bundle folder, ready to be explained."""
    config = read_config(folder)
    networks = read_networks(folder, config)
    cnn = cast(PhotoCnn, networks["cnn"])
    return CnnLstmCaptioner(
        cnn,
        cast(Decoder, networks["decoder"]),
        config.vocabulary,
        prepared,
        start=START,
        end=END,
        max_words=config.max_words,
        name=name,
        blank=GREY,
        defaults=Defaults(
            config.method or "layercam",
            cast(TargetKind, config.target or "logprob"),
            "rows",
            measured=bool(config.method),
        ),
        notes=config.notes,
        tells=scope.of(folder, dict(zip(config.vocabulary, config.counts, strict=True)), cnn.backbone.classified),
    )


def _words(value: Any) -> bool:
    return folders.texts(value) and value[: len(SPECIAL)] == SPECIAL and len(value) > len(SPECIAL)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _counted(value: Any) -> bool:
    return isinstance(value, dict) and all(_whole(number) for number in value.values())


_RULES: dict[str, folders.Rule] = {
    **{name: rule for name, rule in folders.COMMON.items() if name in ("units", "method", "target", "notes")},
    **{name: (folders.count, folders.COUNT) for name in ("embedding", "hidden", "keys", "heads", "max_words")},
    "vocabulary": (_words, f"a list of words, {', '.join(SPECIAL)} first"),
    "counts": (folders.several(None, _whole), "a list of whole numbers"),
    "pictures": (_counted, "a whole number of pictures for each data set"),
}

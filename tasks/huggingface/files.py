"""A model's folder, as downloaded or saved: whether all its files are there, and which version it is."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlx.errors import ModelError
from vlx.files import json_files
from vlx.tasks.shared.bundle_format import require_inside

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
ADVICE = ". Copy all files of the repository: `hf download NAME --local-dir FOLDER`"
LAYERS = re.compile(r"(layers?|depths?|blocks|stages)$")  # each takes time to be made
COUNTS = (
    (LAYERS, 2**10),
    (re.compile(r"labels$"), 2**20),
    (re.compile(r"clipping$"), 2**63),
    (re.compile(""), 2**31 - 1),
)
LEAST = (re.compile(r"min\w*(pixels|tokens)$"), 2**24)  # a picture is made so large
MOST = (re.compile(r"(pixels|tokens)$"), 2**29)
PIXELS = (LEAST, MOST, (re.compile(""), 2**14))
AREAS = ((re.compile(r"shortest_edge$"), 2**24), (re.compile(r"longest_edge$"), 2**29), *PIXELS)  # Qwen-VL's edges
AREA = "merge_size"  # a processor with this setting means areas by its edges
SLACK = 2**24  # weights
ADAPTER = "adapter_config.json"
READ = (".json", ".safetensors", ".bin", ".txt", ".model", ".jinja")
COMMIT = re.compile(r"[0-9a-f]{40}")


def is_transformers(folder: Path) -> bool:
    """Whether the folder's config.json is one of transformers (a bundle of vlx has none of its keys)."""
    try:
        config = json_files.read(folder / CONFIG, ModelError)
    except ModelError:
        return False
    return isinstance(config, dict) and ("model_type" in config or "architectures" in config)


def check_config(folder: Path) -> None:
    """Raises ModelError for a folder whose config.json is missing, broken or no model's of transformers."""
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"{folder} is no model of transformers: it lacks {CONFIG}{ADVICE}")
    if not is_transformers(folder):
        raise ModelError(f'{path} is no configuration of transformers: it is not JSON with a "model_type"{ADVICE}')
    _check_counts(path, COUNTS)
    for name in PROCESSORS:
        if (folder / name).is_file():
            _check_counts(folder / name, AREAS if AREA in (folder / name).read_text("utf-8") else PIXELS)


def _check_counts(path: Path, limits: Sequence[tuple[re.Pattern[str], int]]) -> None:
    """Raises ModelError for a number that is larger than what its name can stand for, before anything is made of it."""
    waiting: list[tuple[str, Any]] = [("", json_files.read(path, ModelError))]
    while waiting:
        name, entry = waiting.pop()
        if isinstance(entry, dict):
            waiting += [(str(key), value) for key, value in entry.items()]
        elif isinstance(entry, list):
            waiting += [(name, value) for value in entry]
        elif isinstance(entry, int | float):
            most = next(limit for pattern, limit in limits if pattern.search(name))
            if abs(entry) > most:
                excess = f"{name[:60]}={entry:.4g} is more than any model has ({most})"
                raise ModelError(f"{path}: {excess}; copy or download it again")


def check_size(folder: Path, weights: int) -> None:
    """Raises ModelError where the folder's files are too small for a network of so many ``weights``, half a byte each.

    A configuration can ask for any amount of memory; what the files hold is what it may take.
    """
    held = sum(path.stat().st_size for ending in ("*.safetensors", "*.bin") for path in folder.glob(ending))
    if weights > 2 * held + SLACK:
        raise ModelError(
            f"{folder / CONFIG} is of a network of {weights:.3g} weights, and the files have {held:.3g} bytes; copy "
            "the files that belong together"
        )


def check_files(folder: Path, *, safetensors_only: bool, text: bool = True) -> None:
    """Raises ModelError that names each missing file; for weights that are only there as a pickle, says what to do.

    Also for a folder that has its weights, or anything else that is read, from outside of it.

    ``text``: whether the model needs a tokenizer.
    """
    there = {path.name for path in folder.iterdir()}
    _check_inside(folder)
    odd = sorted(path.name for path in folder.iterdir() if path.exists() and not (path.is_file() or path.is_dir()))
    if odd:
        raise ModelError(f"{folder}: {odd[0][:60]} is no file but a pipe or a device; do not trust this folder")
    weights, pickles = bool(there & set(WEIGHTS)), sorted(there & set(PICKLES))
    wanted: list[tuple[str, ...]] = [] if weights or pickles else [WEIGHTS]
    wanted += [PROCESSORS, TOKENIZERS] if text else [PROCESSORS]
    missing = [" or ".join(names) for names in wanted if not there & set(names)] + _missing_shards(folder, weights)
    if missing:
        raise ModelError(f"{folder} is not a whole model of transformers; it lacks {'; '.join(missing)}{ADVICE}")
    if safetensors_only and not weights:
        raise ModelError(f"{folder}: {pickled(pickles[0])}")


def _missing_shards(folder: Path, safetensors: bool) -> list[str]:
    """The files that the index of a sharded model names and that are not there."""
    index = folder / (WEIGHTS if safetensors else PICKLES)[1]
    if (folder / (WEIGHTS if safetensors else PICKLES)[0]).is_file() or not index.is_file():
        return []
    try:
        names = sorted(set(json_files.read(index, ModelError)["weight_map"].values()))
    except (ModelError, ValueError, KeyError, AttributeError, TypeError):
        raise ModelError(f"{index}: not readable as an index of weights; copy or download it again") from None
    for name in names:
        _check_name(index, name)
    return [name for name in names if not (folder / name).is_file()]


def _check_inside(folder: Path) -> None:
    """Raises ModelError for what leads out of a folder: names in its configuration, adapters of PEFT, links."""
    config = json_files.read(folder / CONFIG, ModelError)
    if isinstance(config, dict) and config.get("transformers_weights") is not None:
        _check_name(folder / CONFIG, config["transformers_weights"])
    if (folder / ADAPTER).exists():
        raise ModelError(
            f"{folder} has an adapter of PEFT ({ADAPTER}), which names a model elsewhere; merge the two "
            "(merge_and_unload) and save the whole"
        )
    for path in sorted(folder.iterdir()):
        if path.suffix in READ:
            require_inside(path)


def _check_name(where: Path, name: Any) -> None:
    if not isinstance(name, str) or name in ("", ".", "..") or re.search(r"[/\\:\0]", name):
        raise ModelError(f"{where} names weights outside of its folder ({str(name)[:80]}); do not trust it")


def pickled(file: str = PICKLES[0]) -> str:
    """What to do about weights without safetensors."""
    return (
        f"its weights are there only as a pickle ({file}), which vlx opens only if told to: pass "
        "safetensors_only=False (it is read by torch.load with weights_only=True), or save it anew as safetensors"
    )


def revision_of(folder: Path) -> str:
    """The version of a folder: its commit in the hub's cache, else "local-" and a digest of its weights' bytes."""
    place = folder.resolve()
    if place.parent.name == "snapshots" and COMMIT.fullmatch(place.name):
        return place.name
    hashed: Any = hashlib.sha256()
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    for path in weights:
        with path.open("rb") as file:
            hashed.update(hashlib.file_digest(file, "sha256").digest())
    return f"local-{hashed.hexdigest()[:12]}"

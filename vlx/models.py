"""`load`: a task by name, from the embedded models, a folder, torchvision, transformers, or a package's entry point."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path
from typing import Any

from vlx.errors import InputError, ModelError, in_own_words
from vlx.language import close_matches, shortened
from vlx.task import Task

GROUP = "vlx.tasks"
PREFIX_TORCHVISION = "torchvision:"
PREFIX_TRANSFORMERS = "hf:"
OPTIONS = ("device", "dtype", "revision", "safetensors_only", "task", "trust_remote_code")  # of models of transformers


@dataclass(frozen=True)
class Known:
    """One line of ``vlx models``: what can be loaded, what it does, where it comes from and the layer explained."""

    name: str
    kind: str
    source: str
    layer: str


EMBEDDED = {
    "photos/captioner": "captioning",
    "scenes/captioner": "captioning",
    "scenes/captioner-pooled": "captioning",
    "scenes/vqa": "vqa",
    "scenes/vqa-biased": "vqa",
}


def load(name: str | Path, **options: Any) -> Task:
    """Open a model as a task, in eval mode, on the CPU unless told otherwise.

    ``name``: "photos/captioner", "scenes/captioner" (embedded), a bundle folder, "torchvision:resnet50" or
    "hf:Salesforce/blip-image-captioning-base" (both download their weights once), a folder of transformers, or a name
    that an installed package offers under the entry point group "vlx.tasks".

    ``options``: for models of transformers only, see `vlx.tasks.huggingface.loading.load`: ``device``, ``dtype``,
    ``revision``, ``safetensors_only``, ``task``, ``trust_remote_code``.

    Raises ModelError for an unknown name, with close matches, and for files that are missing, broken or foreign;
    InputError for options that the model does not have.
    """
    if not isinstance(name, str | PathLike):
        raise ModelError(
            f"load() takes a name or a folder, got {type(name).__name__}; wrap a module of your own in "
            "vlx.tasks.captioning.CnnLstmCaptioner, vlx.tasks.vqa.CnnLstmVqa or vlx.tasks.classification.Classifier, "
            "and a model of transformers by vlx.tasks.huggingface.loading.wrap"
        )
    with in_own_words(f"{shortened(str(name), 100)} cannot be loaded", ModelError, bugs=True):
        return _opened(name, options)


def _opened(name: str | PathLike[str], options: dict[str, Any]) -> Task:
    text = str(name)
    if text.startswith(PREFIX_TRANSFORMERS):
        return _transformers(text.removeprefix(PREFIX_TRANSFORMERS), options)
    path, plugins = Path(name), _plugins()
    if text not in EMBEDDED and text not in plugins and _of_transformers(path):
        return _transformers(text, options)
    if options:
        raise InputError(f"{text!r} takes no {', '.join(options)}; these are for models of transformers (hf:NAME)")
    return _load(text, path, plugins)


def _load(text: str, path: Path, plugins: dict[str, Callable[[], Task]]) -> Task:
    if text in EMBEDDED:
        world, _, model = text.partition("/")
        with as_file(files(f"vlx.{world}") / "models" / model) as folder:
            return _bundle(folder, text)
    if text.startswith(PREFIX_TORCHVISION):
        from vlx.tasks.classification import torchvision

        return torchvision.load(text.removeprefix(PREFIX_TORCHVISION))
    if text in plugins:
        return plugins[text]()
    if _there(path, Path.is_dir):
        return _bundle(path, text)
    raise ModelError(_unknown(text, path, plugins))


def _there(path: Path, kind: Callable[[Path], bool]) -> bool:
    """Whether there is a file or folder of that name; a name that no file can have is none."""
    try:
        return kind(path)
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def _of_transformers(path: Path) -> bool:
    if not _there(path / "config.json", Path.is_file):
        return False
    from vlx.tasks.huggingface.files import is_transformers

    return is_transformers(path)


def _transformers(name: str, options: dict[str, Any]) -> Task:
    strange = [option for option in options if option not in OPTIONS]
    if strange:
        raise InputError(f"models of transformers take no {', '.join(strange)}; known are {', '.join(OPTIONS)}")
    if not name:
        raise ModelError('"hf:" lacks a name: hf:OWNER/NAME for a repository of the hub, or hf:./FOLDER')
    from vlx.tasks.huggingface import loading

    return loading.load(name, **options)


def known() -> list[Known]:
    """What `load` can open by name here, embedded models first."""
    rows = [Known(name, kind, "embedded", "cnn") for name, kind in EMBEDDED.items()]
    rows.append(Known("FOLDER", "captioning, vqa", "a bundle: config.json, weights.safetensors", "cnn"))
    rows.append(Known("torchvision:NAME", "classification", "torchvision, downloaded once", "its last feature map"))
    rows.append(Known("hf:NAME", "captioning, vqa", "transformers, downloaded once", "its vision tower"))
    rows += [Known(name, "", "entry point", "") for name in _plugins()]
    return rows


def _plugins() -> dict[str, Callable[[], Task]]:
    """Outsiders' models: entry point name → a function that makes the task; embedded names cannot be replaced."""
    found = {point.name: point for point in entry_points(group=GROUP) if point.name not in EMBEDDED}
    return {name: partial(_made_by, point) for name, point in found.items()}


def _made_by(point: EntryPoint) -> Task:
    task: Task = point.load()()
    return task


def _bundle(folder: Path, name: str) -> Task:
    from vlx.tasks.captioning import bundle as captioners
    from vlx.tasks.photos import bundle as photographs
    from vlx.tasks.shared.folder import task_of
    from vlx.tasks.vqa import bundle as answerers

    loaders: dict[str, Callable[[Path, str], Task]] = {
        "captioning": captioners.load_task,
        "vqa": answerers.load_task,
        photographs.TASK: photographs.load_task,
    }
    task = task_of(folder)
    if task not in loaders:
        raise ModelError(f"{folder / 'config.json'}: task={shortened(task, 60)!r}; this vlx knows {', '.join(loaders)}")
    return loaders[task](folder, name)


def _unknown(text: str, path: Path, plugins: dict[str, Callable[[], Task]]) -> str:
    if _there(path, Path.is_file):
        return (
            f"{text} is a file; vlx opens a bundle folder with config.json and weights.safetensors, and never a pickle"
        )
    names = [*EMBEDDED, *plugins]
    near = close_matches(text, names)
    hint = f"; close: {', '.join(near)}" if near else ""
    known = f"{', '.join(names)}, a bundle folder, torchvision:NAME, hf:NAME{_hub(text)}"
    return f"no model {shortened(text, 120)!r}{hint}. Known: {known}"


def _hub(text: str) -> str:
    """A hint for what looks like a name of the hub."""
    owner, slash, rest = text.partition("/")
    fits = slash and owner.isidentifier() and rest and "/" not in rest and owner not in ("photos", "scenes")
    return f". For a model of the Hugging Face hub write hf:{text}" if fits else ""

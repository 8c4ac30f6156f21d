"""`load`: a task by name, from the embedded models, a folder, torchvision, or another package's entry point."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path

from vlx.errors import ModelError
from vlx.language import close_matches
from vlx.task import Task

GROUP = "vlx.tasks"
PREFIX_TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class Known:
    """One line of ``vlx models``: what can be loaded, what it does, where it comes from and the layer explained."""

    name: str
    kind: str
    source: str
    layer: str


EMBEDDED = {
    "scenes/captioner": "captioning",
    "scenes/captioner-pooled": "captioning",
    "scenes/vqa": "vqa",
    "scenes/vqa-biased": "vqa",
}


def load(name: str | Path) -> Task:
    """Open a model as a task, on the CPU, in eval mode.

    ``name``: "scenes/captioner" (embedded), a bundle folder, "torchvision:resnet50" (downloads its weights once), or
    a name that an installed package offers under the entry point group "vlx.tasks".

    Raises ModelError for an unknown name, with close matches, and for files that are missing, broken or foreign.
    """
    if not isinstance(name, str | PathLike):
        raise ModelError(
            f"load() takes a name or a folder, got {type(name).__name__}; wrap a module of your own in "
            "vlx.tasks.captioning.CnnLstmCaptioner, vlx.tasks.vqa.CnnLstmVqa or vlx.tasks.classification.Classifier"
        )
    text = str(name)
    if text in EMBEDDED:
        with as_file(files("vlx.scenes") / "models" / text.removeprefix("scenes/")) as folder:
            return _bundle(folder, text)
    if text.startswith(PREFIX_TORCHVISION):
        from vlx.tasks.classification import torchvision

        return torchvision.load(text.removeprefix(PREFIX_TORCHVISION))
    plugins = _plugins()
    if text in plugins:
        return plugins[text]()
    path = Path(name)
    if path.is_dir():
        return _bundle(path, text)
    raise ModelError(_unknown(text, path, plugins))


def known() -> list[Known]:
    """What `load` can open by name here, embedded models first."""
    rows = [Known(name, kind, "embedded", "cnn") for name, kind in EMBEDDED.items()]
    rows.append(Known("FOLDER", "captioning, vqa", "a bundle: config.json, weights.safetensors", "cnn"))
    rows.append(Known("torchvision:NAME", "classification", "torchvision, downloaded once", "its last feature map"))
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
    from vlx.tasks.shared.folder import task_of
    from vlx.tasks.vqa import bundle as answerers

    loaders: dict[str, Callable[[Path, str], Task]] = {"captioning": captioners.load_task, "vqa": answerers.load_task}
    task = task_of(folder)
    if task not in loaders:
        raise ModelError(f"{folder / 'config.json'}: task={task!r}; this vlx knows {', '.join(loaders)}")
    return loaders[task](folder, name)


def _unknown(text: str, path: Path, plugins: dict[str, Callable[[], Task]]) -> str:
    if path.is_file():
        return (
            f"{text} is a file; vlx opens a bundle folder with config.json and weights.safetensors, and never a pickle"
        )
    names = [*EMBEDDED, *plugins]
    near = close_matches(text, names)
    hint = f"; close: {', '.join(near)}" if near else ""
    return f"no model {text!r}{hint}. Known: {', '.join(names)}, a bundle folder, torchvision:NAME"

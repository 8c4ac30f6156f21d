"""`load`: a task by name, from the embedded models, a folder, torchvision, transformers, or a package's entry point."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import as_file, files
from os import PathLike
from pathlib import Path
from typing import Any

from vlx import own_models
from vlx.errors import InputError, ModelError, in_own_words
from vlx.language import close_matches, shortened
from vlx.protocol.task import Task

GROUP = "vlx.tasks"
PREFIX_TORCHVISION = "torchvision:"
PREFIX_TRANSFORMERS = "hf:"
MOVED = ("device", "dtype")  # options of every model
OF_TORCHVISION = (*MOVED, "layer", "outputs", "weights")
OF_CHAT = ("attn_implementation", "device_map", "max_pixels", "prompt", "quantization_config")
OF_TRANSFORMERS = (*MOVED, "outputs", "revision", "safetensors_only", "task", "trust_remote_code", *OF_CHAT)


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
    "hf:Salesforce/blip-image-captioning-base" (both download their weights once), a folder of transformers, a name
    that an installed package offers under the entry point group "vlx.tasks", or "FILE.py:FUNCTION": a model of your
    own, for which the file is run and its function called (see `vlx.own_models.load`).

    ``options``: ``device`` ("cpu", "cuda:1") and ``dtype`` ("float32", "bfloat16") of every model; of classifiers
    ``outputs`` ("softmax", "sigmoid", "probabilities", "value"); of torchvision's ``layer`` and ``weights``; of models
    of transformers ``revision``, ``safetensors_only``, ``task`` and ``trust_remote_code``; of chat models
    (vision-language LLMs) ``device_map``, ``quantization_config``, ``attn_implementation``, ``max_pixels`` and
    ``prompt``: see `vlx.tasks.huggingface.loading.load`.

        >>> load("mine.py:captioner", device="cuda")

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


def kind_of(name: str | Path, **options: Any) -> str | None:
    """What a model does, of several kinds the first; None where only loading tells. See `kinds_of`.

    >>> kind_of("scenes/vqa")
    'vqa'
    """
    return next(iter(kinds_of(name, **options)), None)


def kinds_of(name: str | Path, **options: Any) -> tuple[str, ...]:
    """What a model does, without its weights: "captioning", "vqa" or "classification"; none where only loading tells.

    A chat model does several, first what it does where nobody says. Of a model of transformers config.json is read,
    from the hub where it is not here. Raises ModelError as `load` does.

    >>> kinds_of("scenes/vqa")
    ('vqa',)
    """
    text = str(name)
    with in_own_words(f"{shortened(text, 100)} cannot be loaded", ModelError):
        if text in EMBEDDED:
            return (EMBEDDED[text],)
        if text.startswith(PREFIX_TORCHVISION):
            return ("classification",)
        if own_models.parted(text) or text in _plugins():
            return ()
        source = text.removeprefix(PREFIX_TRANSFORMERS)
        if source and (source != text or _of_transformers(Path(text))):
            from vlx.tasks.huggingface import loading

            reading = {option: options[option] for option in loading.OF_CONFIG if option in options}
            return loading.kinds_of(source, **reading)
        if _there(Path(text) / "config.json", Path.is_file):
            from vlx.tasks.photos import bundle as photographs
            from vlx.tasks.shared.bundle_format import task_of

            task_name = task_of(Path(text))
            return ("captioning" if task_name == photographs.TASK else task_name,)
        return ()


def _opened(name: str | PathLike[str], options: dict[str, Any]) -> Task:
    text = str(name)
    if file_and_function := own_models.parted(text):
        return own_models.load(*file_and_function, options)
    if text.startswith(PREFIX_TRANSFORMERS):
        return _transformers(text.removeprefix(PREFIX_TRANSFORMERS), options)
    path, plugins = Path(name), _plugins()
    if text not in EMBEDDED and text not in plugins and _of_transformers(path):
        return _transformers(text, options)
    allowed = OF_TORCHVISION if text.startswith(PREFIX_TORCHVISION) else MOVED
    _refuse_options(repr(shortened(text, 100)), options, allowed)
    from vlx.tasks.shared import devices

    return devices.placed(_load(text, path, plugins, options), options)


def _refuse_options(what: str, options: Mapping[str, Any], allowed: Sequence[str]) -> None:
    strange = [option for option in options if option not in allowed]
    if strange:
        where = [
            kind
            for kind, takes in (
                ("torchvision:NAME", OF_TORCHVISION),
                ("models of transformers (hf:NAME)", OF_TRANSFORMERS),
            )
            if set(strange) <= set(takes) and takes != allowed
        ]
        hint = f"these are for {' and '.join(where)}" if where else f"known are {', '.join(allowed)}"
        raise InputError(f"{what} takes no {', '.join(strange)}; {hint}")


def _load(text: str, path: Path, plugins: dict[str, Callable[[], Task]], options: Mapping[str, Any]) -> Task:
    if text in EMBEDDED:
        world, _, model = text.partition("/")
        with as_file(files(f"vlx.{world}") / "models" / model) as folder:
            return _bundle(folder, text)
    if text.startswith(PREFIX_TORCHVISION):
        from vlx.tasks.classification import torchvision

        task_options = {name: value for name, value in options.items() if name not in MOVED}
        return torchvision.load(text.removeprefix(PREFIX_TORCHVISION), **task_options)
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
    _refuse_options("a model of transformers", options, OF_TRANSFORMERS)
    if not name:
        raise ModelError('"hf:" lacks a name: hf:OWNER/NAME for a repository of the hub, or hf:./FOLDER')
    from vlx.tasks.huggingface import loading

    return loading.load(name, **options)


def known() -> list[Known]:
    """What `load` can open by name here, embedded models first."""
    rows = [Known(name, kind, "embedded", "cnn") for name, kind in EMBEDDED.items()]
    rows.append(Known("FOLDER", "captioning, vqa", "a bundle or a folder of transformers", "cnn"))
    rows.append(Known("torchvision:NAME", "classification", "torchvision, downloaded once", "its last feature map"))
    from vlx.tasks.huggingface.families import FAMILIES

    kinds = ", ".join(dict.fromkeys(kind for kind, _ in FAMILIES))
    source = f"transformers, downloaded once: {kinds}, and image classifiers"
    rows.append(Known("hf:NAME", "captioning, vqa, classification", source, "its vision tower"))
    rows.append(Known("FILE.py:FUNCTION", "any", "your own code, which is run", "the task's own"))
    rows += [Known(name, "", "entry point", "") for name in _plugins()]
    return rows


def _plugins() -> dict[str, Callable[[], Task]]:
    """Outsiders' models: entry point name → a function that makes the task; embedded names cannot be replaced."""
    points = {point.name: point for point in entry_points(group=GROUP) if point.name not in EMBEDDED}
    return {name: partial(_made_by, point) for name, point in points.items()}


def _made_by(point: EntryPoint) -> Task:
    task: Task = point.load()()
    return task


def _bundle(folder: Path, name: str) -> Task:
    from vlx.tasks.captioning import bundle as captioners
    from vlx.tasks.photos import bundle as photographs
    from vlx.tasks.shared.bundle_format import task_of
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
    if path.suffix == ".py":
        functions = own_models.functions(path)
        listed = f" (its functions: {shortened(', '.join(functions), 120)})" if functions else ""
        return f"{text}: a model of your own is named with its function: {text}:FUNCTION{listed}"
    if _there(path, Path.is_file):
        return (
            f"{text} is a file; vlx opens a bundle folder with config.json and weights.safetensors, and never a pickle"
        )
    names = [*EMBEDDED, *plugins]
    near = close_matches(text, names)
    hint = f"; close: {', '.join(near)}" if near else ""
    listed = f"{', '.join(names)}, a bundle folder, FILE.py:FUNCTION, torchvision:NAME, hf:NAME{_hub(text)}"
    return f"no model {shortened(text, 120)!r}{hint}. Known: {listed}"


def _hub(text: str) -> str:
    """A hint for what looks like a name of the hub."""
    owner, slash, rest = text.partition("/")
    fits = slash and owner.isidentifier() and rest and "/" not in rest and owner not in ("photos", "scenes")
    return f". For a model of the Hugging Face hub write hf:{text}" if fits else ""

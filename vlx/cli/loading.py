"""How commands open a model: of the right kind, told before anything is downloaded."""

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vlx.protocol.task import Task

MODEL = "A name that `vlx models` lists, a bundle folder, or FILE.py:FUNCTION of your own (the file is run)."
KINDS = {
    "captioning": ("captions pictures", "vlx caption", "photos/captioner"),
    "vqa": ("answers questions", "vlx answer", "scenes/vqa"),
    "classification": ("classifies pictures", "vlx classify", "torchvision:resnet50"),
}


def opened(kind: str, name: str, loading: Mapping[str, Any]) -> "tuple[Task, Callable[[], Task]]":
    """The model, if it does what the command explains; and what loads it again, in another process or folder, too.

    Raises ClickException where it does something else, before its weights are read.
    """
    import vlx
    from vlx import own_models
    from vlx.models import kinds_of

    kinds = kinds_of(name, **loading)
    if kinds and kind not in kinds:
        _refuse_other(kinds[0], kind, name)
    loading = {**loading, "task": kind} if len(kinds) > 1 else loading
    with redirect_stdout(sys.stderr):  # what a user's own file prints is no result
        task = vlx.load(name, **loading)
    _refuse_other(task.kind, kind, name)
    own_file = own_models.parted(name)
    source = f"{own_file[0].resolve()}:{own_file[1]}" if own_file else name
    return task, partial(vlx.load, source, **loading)


def alike(first: "Task", second: "Task", names: tuple[str, str]) -> None:
    """Raises ClickException for two models that do different things."""
    if first.kind != second.kind:
        kinds = " and ".join(f"{name} {_does(task.kind)}" for name, task in zip(names, (first, second), strict=True))
        raise click.ClickException(f"{kinds}: compare two that do the same")


def _does(kind: str) -> str:
    return KINDS[kind][0] if kind in KINDS else f"does {kind}"


def _refuse_other(actual: str, wanted: str, name: str) -> None:
    if actual == wanted:
        return
    other = f": `{KINDS[actual][1]}` explains it" if actual in KINDS else ""
    needs, command, example = KINDS[wanted]
    raise click.ClickException(f"{name} {_does(actual)}{other}. `{command}` takes one that {needs}, such as {example}")

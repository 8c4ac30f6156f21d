"""What several commands share: options, a progress bar, a console."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from vlx.methods.names import method_name

if TYPE_CHECKING:
    from rich.console import Console

METHODS = ("gradcam", "hirescam", "gradcam++", "xgradcam", "layercam", "gradattention", "gradrollout", "occlusion")
TARGETS = ("logprob", "logit", "prob", "margin")


class Spelled(click.Choice[str]):
    """A choice of methods (or of what ``noun`` says) that may be spelled freely: Grad-CAM, gradcam, GradCAM++."""

    def __init__(self, choices: Sequence[str], noun: str = "method") -> None:
        super().__init__(choices)
        self.noun = noun

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The choice that is meant; fails with close matches and the list."""
        plain = method_name(value)
        if plain in self.choices:
            return plain
        from vlx.language import close_matches, shortened

        near = close_matches(plain, self.choices)
        hint = f"; close: {', '.join(near)}" if near else ""
        self.fail(f"no {self.noun} {shortened(str(value))!r}{hint}. Known: {', '.join(self.choices)}", param, ctx)


def _address(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    """Raises BadParameter where a picture was taken for the address."""
    if given is None or given in ("", "auto", "local") or re.fullmatch(r"(ray://)?[^/\s]+:\d+", given):
        return given
    raise click.BadParameter(f"{given!r} is no address: local, auto or HOST:PORT; alone, write --ray at the end")


METHOD = click.option(
    "--method", type=Spelled((*METHODS, "auto")), help="Weighting; default: the model's own; auto: by evidence."
)
NAMES = click.option(
    "--names",
    metavar="TABLE",
    help="Table of neuron names for because sentences; default: the one that came with an embedded model; none: none.",
)
TARGET = click.option("--target", type=Spelled(TARGETS, "target"), help="Score to explain; default: the model's.")
GUIDED = click.option(
    "--guided",
    is_flag=True,
    help="Also draw Guided Grad-CAM (paper, section 3.2): fine lines, an illustration and no evidence.",
)
RAY = (
    click.option(
        "--ray",
        metavar="[ADDRESS]",
        is_flag=False,
        flag_value="",
        callback=_address,
        help="Run on a Ray cluster: local (this machine), auto, HOST:PORT; alone: the one there is, else local.",
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), help="With --ray: at most so many; default: as there is room."
    ),
)
MEANINGS = ("softmax", "sigmoid", "probabilities", "value")
OUTPUTS = click.option(
    "--outputs", type=click.Choice(MEANINGS), help="What a classifier's output means; default: found by trying."
)
DEVICE = click.option("--device", help="Where to run: cpu, cuda, cuda:1, mps; default: cpu.")
_LOADING = (
    DEVICE,
    click.option("--dtype", help="Numbers to run in: float32, bfloat16, float16; default: float32."),
    click.option("--revision", help="For hf: models, the commit, branch or tag on the hub."),
)


def LOADING(command: Callable[..., Any]) -> Callable[..., Any]:  # noqa: N802  (stands among the options)
    """``--device``, ``--dtype`` and ``--revision``; the command is given the ones that were set as ``loading``."""

    def told(**options: Any) -> Any:
        loading = {name: options.pop(name) for name in ("device", "dtype", "revision")}
        return command(**options, loading={name: value for name, value in loading.items() if value is not None})

    told.__name__, told.__doc__ = command.__name__, command.__doc__
    told.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    return reduce(lambda found, option: option(found), reversed(_LOADING), told)


def progress(label: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """A bar on standard error, gone when all is done."""
    from rich.console import Console
    from rich.progress import track

    return lambda items: track(items, label, console=Console(stderr=True), transient=True)


def console(width: int = 0) -> "Console":
    """At least ``width`` columns, where the output is piped or the window narrow: tables stay whole."""
    from rich.console import Console

    found = Console()
    return Console(width=max(found.width, width))

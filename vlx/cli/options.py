"""What several commands share: options, a progress bar, a console."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from vlx.methods.names import AT, METHODS, UNLISTED, method_name

if TYPE_CHECKING:
    from rich.console import Console

TARGETS = ("logprob", "logit", "prob", "margin")


class Spelled(click.Choice[str]):
    """A choice of methods (or of what ``noun`` says) that may be spelled freely: Grad-CAM, gradcam, GradCAM++.

    Methods that no list has, ablations of a paper, may be named, too.
    """

    def __init__(self, choices: Sequence[str], noun: str = "method") -> None:
        super().__init__(choices)
        self.noun = noun

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The choice that is meant; fails with close matches and the list."""
        plain, at, layer = method_name(value).partition(AT)
        plain = {method_name(choice): choice for choice in self.choices}.get(plain, plain)
        known = plain in self.choices or (self.noun == "method" and plain in UNLISTED)
        if known and bool(at) == bool(layer) and (not at or self.noun == "method"):
            return plain + at + layer
        from vlx.language import close_matches, shortened

        near = close_matches(plain, self.choices)
        hint = f"; close: {', '.join(near)}" if near else ""
        self.fail(f"no {self.noun} {shortened(str(value))!r}{hint}. Known: {', '.join(self.choices)}", param, ctx)


def _address(_context: click.Context, _option: click.Parameter, address: str | None) -> str | None:
    """Raises BadParameter where a picture was taken for the address."""
    if address is None or address in ("", "auto", "local") or re.fullmatch(r"(ray://)?[^/\s]+:\d+", address):
        return address
    raise click.BadParameter(f"{address!r} is no address: local, auto or HOST:PORT; alone, write --ray at the end")


METHOD = click.option(
    "--method", type=Spelled((*METHODS, "auto")), help="How maps are made; default: the model's; auto: by evidence."
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
WORDS = click.option(
    "--words",
    metavar="WORD",
    multiple=True,
    help="Words that have maps and reasons: content, all, or a word or its position, from 0; may be repeated. "
    "Default: maps of all, in a text of more than 30 words of content words; reasons of content words.",
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
    click.option(
        "--dtype", help="Numbers to run in: float32, bfloat16, float16; default: float32, of chat models the file's."
    ),
    click.option("--revision", help="For hf: models, the commit, branch or tag on the hub."),
    click.option("--device-map", help="For chat models, in place of --device: auto (all GPUs there are), cuda:1, …"),
    click.option("--quantization", help="For chat models: 4bit or 8bit, by bitsandbytes."),
    click.option("--attention", help="For chat models, how attention is computed: sdpa, eager, flash_attention_2."),
    click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        help="For chat models, the most of a picture that is shown; default: what makes 1,280 tokens.",
    ),
    click.option(
        "--chat-prompt",
        callback=lambda _context, _option, text: None if text is None else text.replace("\\n", "\n"),
        help=r"For chat models without a chat template: 'USER: <image>\n{question} ASSISTANT:'.",
    ),
)


Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


def packed(name: str, record: Callable[..., Any], *options: Decorator) -> Decorator:
    """Options that belong together: a command is given them as one parameter ``name``, a ``record`` of their values.

    The record's parameters are named as the options are.

    >>> SIZE = packed("size", dict, click.option("--width"), click.option("--height"))
    """

    def decorate(command: Command) -> Command:
        mine = [option(lambda: None).__click_params__[0].name for option in options]  # type: ignore[attr-defined]

        def unpacked(**values: Any) -> Any:
            return command(**{name: record(**{one: values.pop(one) for one in mine})}, **values)

        unpacked.__name__, unpacked.__doc__ = command.__name__, command.__doc__
        unpacked.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
        return reduce(lambda wrapped, option: option(wrapped), reversed(options), unpacked)

    return decorate


_LONGER = {
    "quantization": "quantization_config",
    "attention": "attn_implementation",
    "chat_prompt": "prompt",
}  # as `vlx.load` has them
WHERE = ("device", "device_map")  # where a model runs, which decides no result


def on_gpu(loading: Mapping[str, Any]) -> bool:
    """Whether a model that is loaded so runs on a GPU, as far as that can be told before it is."""
    place = str(loading.get("device") or loading.get("device_map") or "")
    return place.startswith(("cuda", "auto", "balanced", "sequential"))


def flag(name: str) -> str:
    """How an option of `vlx.load` is written on the command line.

    >>> flag("quantization_config")
    '--quantization'
    """
    short = {longer: shorter for shorter, longer in _LONGER.items()}.get(name, name)
    return f"--{short.replace('_', '-')}"


def _set(**options: Any) -> dict[str, Any]:
    return {_LONGER.get(name, name): value for name, value in options.items() if value is not None}


LOADING = packed("loading", _set, *_LOADING)


@dataclass(frozen=True)
class MethodOptions:
    """How pictures are explained: the table of names, the method, the score, Guided Grad-CAM, and which words."""

    names: str | None
    method: str | None
    target: str | None
    guided: bool
    words: tuple[str, ...] = ()

    def options(self, task: Any) -> dict[str, Any]:
        """The same as options of `vlx.explain`; names are by default the table that came with the model."""
        from vlx.neuron_names import tables

        default = "shipped" if tables.comes_with(task) else None
        names = default if self.names is None else None if self.names == "none" else self.names
        given = {"method": self.method, "target": self.target, "names": names, "guided": self.guided}
        return {**given, "words": _words(self.words)} if self.words else given


def _words(given: tuple[str, ...]) -> str | list[str | int]:
    """Words of the command line as `vlx.explain` takes them: what is written as a whole number is a position."""
    if given in (("all",), ("content",)):
        return given[0]
    return [int(word) if re.fullmatch(r"-?[0-9]{1,9}", word) else word for word in given]


METHOD_OPTIONS = packed("method_options", MethodOptions, NAMES, METHOD, TARGET, GUIDED)
TEXT_OPTIONS = packed("method_options", MethodOptions, NAMES, METHOD, TARGET, GUIDED, WORDS)


@dataclass(frozen=True)
class Sharing:
    """A Ray cluster's address (None: none, "": the one there is), and at most how many of its workers."""

    ray: str | None
    workers: int | None


SHARING = packed("sharing", Sharing, *RAY)


def progress(label: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """A bar on standard error, gone when all is done."""
    from rich.console import Console
    from rich.progress import track

    return lambda items: track(items, label, console=Console(stderr=True), transient=True)


def console(width: int = 0) -> "Console":
    """At least ``width`` columns, where the output is piped or the window narrow: tables stay whole."""
    from rich.console import Console

    terminal = Console()
    return Console(width=max(terminal.width, width))

"""``vlx study``: a page that asks people about two models' maps, and what their answers come to."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx.cli.options import LOADING, console, packed, progress

if TYPE_CHECKING:
    from vlx.studies import Scores

WIDE = 130
MODELS = "--models"


@dataclass(frozen=True)
class StudyWish:
    """What a study asks, and how its page is made."""

    methods: str
    n: int
    parts: str
    out: Path
    seed: int
    consent: Path | None
    classes: Path | None
    overwrite: bool


class _Study(click.Group):
    """A command of its own, which makes a study, and a group: the name of one of its commands comes first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] in self.commands:
            ctx.args = list(args)
            return ctx.args
        ctx.allow_interspersed_args, ctx.allow_extra_args = True, False
        _require_two(ctx, args)
        return click.Command.parse_args(self, ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        if not ctx.args:
            return click.Command.invoke(self, ctx)
        command = self.commands[ctx.args[0]]
        with command.make_context(ctx.args[0], ctx.args[1:], parent=ctx) as inner:
            return command.invoke(inner)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return click.Command.collect_usage_pieces(self, ctx)


def _require_two(ctx: click.Context, args: list[str]) -> None:
    """Raises UsageError where fewer than two models follow --models."""
    if MODELS not in args:
        return
    after = args[args.index(MODELS) + 1 :][:2]
    named = [one for one in after if not one.startswith("-")]
    if len(named) < 2:
        given = f"; {named[0]} stands alone" if named else ""
        raise click.UsageError(f"{MODELS} A B: a study compares two models{given}", ctx)


@click.group(
    cls=_Study,
    invoke_without_command=True,
    no_args_is_help=True,
    subcommand_metavar="",
    short_help="Ask people about two models' maps.",
)
@click.argument("data")
@click.option(MODELS, "models", nargs=2, required=True, metavar="A B", help="The two models that are compared.")
@packed(
    "wish",
    StudyWish,
    click.option(
        "--methods",
        default="guided,guided-gradcam",
        show_default=True,
        help="Whose maps are shown, with commas; baselines, as random and centre, may be among them.",
    ),
    click.option("--n", default=90, show_default=True, type=click.IntRange(min=1), help="Questions a participant."),
    click.option(
        "--parts",
        default="which,reasonable,where",
        show_default=True,
        help="What is asked: which of two things, which of two maps is more reasonable, where would you look.",
    ),
    click.option(
        "--out",
        "-o",
        type=click.Path(path_type=Path),
        default=Path("study.html"),
        show_default=True,
        help="The page; its key is written beside it.",
    ),
    click.option("--seed", default=0, show_default=True, help="Of the lot by which pictures are drawn."),
    click.option(
        "--consent", type=click.Path(path_type=Path), help="A text of your own for the first page: who asks, and why."
    ),
    click.option(
        "--classes",
        type=click.Path(path_type=Path),
        help='What the models call the classes of the data, as JSON: {"dog": ["beagle", 207]}.',
    ),
    click.option("--overwrite", is_flag=True, help="Put it in the place of another study, whose answers are lost."),
)
@LOADING
def study(data: str, models: tuple[str, str], wish: StudyWish, loading: dict[str, Any]) -> None:
    """Ask people about the maps of two models: a page to give out, and the key that scores the answers.

    DATA is a folder with a folder of pictures a class, coco:DIR, voc:DIR, scenes:COUNT or any data that `vlx evaluate`
    takes. Three parts, as in section 5 of Grad-CAM's paper: of which of two things is this map, which of two maps is
    more reasonable, and where would you look. The page works from a file and sends nothing: participants download their
    answers and hand them in. `vlx study score PAGE ANSWERS…` reads them; a folder called score is ./score.

    \b
    Example:  vlx study photos/ --models torchvision:vgg16 torchvision:alexnet --out study.html
              vlx study scenes:500 --models scenes/captioner scenes/captioner-pooled --n 60
              vlx study score study.html answers/*.json
    """
    import vlx
    from vlx import studies
    from vlx.files.whole import read_bytes
    from vlx.studies import study_files

    if models[0] == models[1]:
        raise click.UsageError(f"{MODELS} A B: {models[0]} is named twice; name two models that differ")
    study_files.check_out(wish.out)
    texts = {} if wish.consent is None else {"consent": read_bytes(wish.consent).decode("utf-8", "replace")}
    tasks = [vlx.load(name, **loading) for name in models]
    made = studies.make(
        data,
        tasks,
        wish.methods,
        n=wish.n,
        out=wish.out,
        parts=wish.parts,
        seed=wish.seed,
        overwrite=wish.overwrite,
        classes=wish.classes,
        progress=progress("pictures"),
        **texts,
    )
    click.echo(str(made))


@study.command(short_help="Score the answers to a study.")
@click.argument("page", type=click.Path(path_type=Path))
@click.argument("answers", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def score(page: Path, answers: tuple[Path, ...], as_json: bool) -> None:
    """Score the ANSWERS that participants downloaded from a PAGE: files, folders of files, or patterns.

    Accuracy by method with intervals over people and pictures, mean trust, Fleiss' kappa, differences of methods, and
    where people would look beside the maps. The page's key must lie beside it. Files of another study, cut off or
    changed by hand are refused and named (the command then ends with 1); who missed the checks of attention is left
    out.

    \b
    Example:  vlx study score study.html answers/*.json
              vlx study score study.html answers --json
    """
    from vlx import studies

    scores = studies.score(page, answers)
    if as_json:
        click.echo(json.dumps(scores.to_json(), indent=1))
    else:
        console(WIDE).print(scores.table())
    _tell_files(scores)


def _tell_files(scores: "Scores") -> None:
    """Name the files that do not count; ends with 1 where one was refused."""
    from vlx.report import text

    for what, files in (("Left out", scores.left_out), ("Refused", scores.refused)):
        for file, why in files:
            click.echo(text.clean(f"{what}: {why if file in why else f'{file}: {why}'}"), err=True)
    if scores.refused:
        raise SystemExit(1)

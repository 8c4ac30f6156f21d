"""The program `vlx`: all its commands, and how an error becomes one line and an exit code."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from vlx import __version__
from vlx.cli.audit import audit
from vlx.cli.compare import compare
from vlx.cli.dissect import dissect
from vlx.cli.evaluate import evaluate
from vlx.cli.explain import answer, caption, classify
from vlx.cli.models import models
from vlx.cli.names import names
from vlx.cli.options import console, progress
from vlx.cli.running import INTERRUPTED, refuse_file, writable
from vlx.cli.streams import spoken
from vlx.cli.study import study
from vlx.errors import VlxError, in_own_words

CLICK = (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError)


class _Group(click.Group):
    """Prints vlx's own errors as one line and ends with 1; anything else is a bug and keeps its traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        spoken()
        return super().main(*args, **extra)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if self.get_command(ctx, name) is None and _is_picture(name):
            ctx.fail(f"{name} is a file; say what to do with it, for example: vlx caption {shlex.quote(name)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with in_own_words("vlx", passing=CLICK):
                return super().invoke(ctx)
        except VlxError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            sys.exit(INTERRUPTED)


def _is_picture(name: str) -> bool:
    try:
        return "." in name and Path(name).exists()
    except (OSError, ValueError):
        return False


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    no_args_is_help=False,
)
@click.version_option(__version__, prog_name="vlx")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Why did the model say that word? A heat map and reasons for every word, on the picture as you have it.

    \b
    vlx demo                                see what it does
    vlx caption photo.jpg                   a caption, by word
    vlx answer photo.jpg "is it a dog?"     an answer
    vlx classify photo.jpg                  a class
    vlx caption photos -o report            a whole folder
    vlx caption a.jpg --model mine.py:make  your own model
    vlx COMMAND --help                      more examples
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


main.add_command(answer)
main.add_command(audit)
main.add_command(caption)
main.add_command(classify)
main.add_command(compare)
main.add_command(dissect)
main.add_command(evaluate)
main.add_command(models)
main.add_command(names)
main.add_command(study)


@main.command(short_help="A first look, on pictures that come along.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("vlx-demo"),
    show_default=True,
    help="Folder for picture and report.",
)
@click.option("--seed", default=10_000_021, show_default=True, help="Which scene to draw.")
def demo(out: Path, seed: int) -> None:
    """Explain a photograph's caption, a drawn scene's, and the answer to a question; write the reports.

    \b
    Example:  vlx demo --out my-demo
    """
    refuse_file(out)
    writable(out)
    import vlx
    from vlx import photos, scenes
    from vlx.pictures.opening import save_png
    from vlx.report import brief

    scene = scenes.draw(seed, size=512)
    save_png(photos.example("cat"), out / "photo.png")
    photo = vlx.explain(vlx.load("photos/captioner"), out / "photo.png", names="shipped")
    save_png(scene.image, out / "scene.png")
    why = vlx.explain(vlx.load("scenes/captioner"), out / "scene.png", names="shipped")
    asked = next((asked for asked in scene.questions if asked.kind == "color"), scene.questions[-1])
    answered = vlx.explain(vlx.load("scenes/vqa"), out / "scene.png", question=asked.text, looks=True, names="shipped")
    photo.save(out / "report.h5")
    screen = console()
    truths = ((photo, ""), (why, f"drawn:  {scene.caption}"), (answered, f"right:  {asked.answer}"))
    for explained, truth in truths:
        screen.print(brief.brief(explained, screen.width), *([truth] if truth else []), "", sep="\n", highlight=False)
    screen.print(*brief.legend(photo, why, answered), sep="\n")
    for explained, name in ((answered, "answer"), (why, "scene"), (photo, "report")):
        click.echo(explained.save(out / f"{name}.html"))


@main.command(short_help="Draw scenes with captions and masks.")
@click.argument("count", type=click.IntRange(min=1))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for the pictures and scenes.json."
)
@click.option(
    "--first", default=0, show_default=True, help="Seed of the first scene; 10,000,000 and up were never trained on."
)
@click.option("--size", default=256, show_default=True, help="Pixels a side.")
def draw(count: int, out: Path, first: int, size: int) -> None:
    """Draw COUNT scenes with captions and masks (PNG and COCO-style JSON).

    \b
    Example:  vlx draw 20 --out scenes --size 512
    """
    refuse_file(out)
    from vlx.scenes.export import export

    click.echo(export(count, out, first, size, progress("drawing")))


if __name__ == "__main__":
    main()

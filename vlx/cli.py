"""The command line: one command parses, makes one library call, and prints."""

import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx import __version__
from vlx.cli_dissect import dissect
from vlx.cli_evaluate import evaluate
from vlx.cli_models import models
from vlx.cli_names import names
from vlx.cli_options import GUIDED, LOADING, METHOD, NAMES, OUT, TARGET, console, progress
from vlx.errors import OutputError, VlxError

if TYPE_CHECKING:
    from vlx.explanation import Explanation


class _Group(click.Group):
    """Prints vlx's own errors as one line and ends with 1; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VlxError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vlx")
def main() -> None:
    """Why did the model say that word?

    Explains captions, answers and classes: a heat map for every word, on the picture as you have it.

    \b
    Start with:  vlx demo
    """


main.add_command(dissect)
main.add_command(evaluate)
main.add_command(models)
main.add_command(names)


@main.command()
@click.option(
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
    _writable(out)
    import vlx
    from vlx import photos, scenes

    scene = scenes.draw(seed, size=512)
    photos.example("cat").save(out / "photo.png")
    photo = vlx.explain(vlx.load("photos/captioner"), out / "photo.png", names="shipped")
    _show(photo)
    _because(photo)
    scene.image.save(out / "scene.png")
    why = vlx.explain(vlx.load("scenes/captioner"), out / "scene.png", names="shipped")
    _show(why)
    _because(why)
    console().print(f"drawn:  {scene.caption}", highlight=False)
    asked = next((asked for asked in scene.questions if asked.kind == "color"), scene.questions[-1])
    answer = vlx.explain(vlx.load("scenes/vqa"), out / "scene.png", question=asked.text, looks=True, names="shipped")
    _show(answer)
    _because(answer)
    console().print(f"right:  {asked.answer}", highlight=False)
    photo.save(out / "report.h5")
    for explained, name in ((answer, "answer"), (why, "scene"), (photo, "report")):
        click.echo(explained.save(out / f"{name}.html"))


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--model", default="photos/captioner", show_default=True, help="A name that `vlx models` lists, or a bundle folder."
)
@click.option("--caption", "text", help="Explain this caption instead of the model's own.")
@click.option("--prompt", help="How the caption begins (hf: models).")
@click.option(
    "--instead-of", metavar="WORD=OTHER", help="Why WORD of the caption (or its position, from 0) and not OTHER."
)
@click.option("--beams", default=1, show_default=True, help="Beam width of the search.")
@NAMES
@METHOD
@TARGET
@GUIDED
@LOADING
@OUT
def caption(
    images: tuple[Path, ...],
    model: str,
    text: str | None,
    prompt: str | None,
    instead_of: str | None,
    beams: int,
    names: str | None,
    method: str | None,
    target: str | None,
    guided: bool,
    loading: dict[str, str],
    out: Path,
) -> None:
    """Caption pictures and explain every word.

    \b
    Example:  vlx caption photo.jpg --out report
              vlx caption scene.png --caption "a red house at night"
              vlx caption photo.jpg --instead-of dog=cat
              vlx caption photo.jpg --model hf:Salesforce/blip-image-captioning-base
    """
    import vlx

    task = vlx.load(model, **loading)
    _require(task, "captioning", model)
    _writable(out)
    options: dict[str, Any] = {"caption": text, "prompt": prompt, "beams": beams, "method": method, "target": target}
    options |= {"names": _table(task, names), "guided": guided}
    asked = _asked("caption", {"model": model, **loading, **options, "instead_of": instead_of})
    options |= {"instead_of": _pair(instead_of)}
    _explain_all(images, out, asked, lambda image: vlx.explain(task, image, **options))


@main.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("question")
@click.option(
    "--model", default="scenes/vqa", show_default=True, help="A name that `vlx models` lists, or a bundle folder."
)
@click.option("--answer", "texts", multiple=True, help="Explain this answer, or several, instead of the model's own.")
@click.option("--instead-of", help="Why the answer and not this one.")
@click.option(
    "--probes/--no-probes",
    default=True,
    show_default=True,
    help="Also show it blurred and other pictures, and hide parts of this one.",
)
@NAMES
@METHOD
@TARGET
@GUIDED
@LOADING
@OUT
def answer(
    image: Path,
    question: str,
    model: str,
    texts: tuple[str, ...],
    instead_of: str | None,
    probes: bool,
    names: str | None,
    method: str | None,
    target: str | None,
    guided: bool,
    loading: dict[str, str],
    out: Path,
) -> None:
    """Ask a QUESTION about a picture and explain the answer.

    \b
    Example:  vlx answer scene.png "what color is the car?"
              vlx answer scene.png "what color is the car?" --answer red --instead-of blue
              vlx answer photo.jpg "how many dogs?" --model hf:dandelin/vilt-b32-finetuned-vqa
    """
    import vlx

    task = vlx.load(model, **loading)
    _require(task, "vqa", model)
    _writable(out)
    options: dict[str, Any] = {"answer": _given(texts), "instead_of": instead_of, "method": method, "target": target}
    options |= {"names": _table(task, names), "guided": guided}
    asked = _asked("answer", {"model": model, **loading, **options}, question)
    options |= {"question": question, "looks": probes, "occlusion": probes and method != "occlusion"}
    _explain_all([image], out, asked, lambda one: vlx.explain(task, one, **options))


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--model", default="torchvision:resnet50", show_default=True, help="torchvision:NAME (weights are downloaded once)."
)
@click.option("--class", "classes", multiple=True, help="Explain this class, or several, instead of the model's own.")
@click.option("--instead-of", help="Why the class and not this one.")
@NAMES
@METHOD
@TARGET
@GUIDED
@OUT
def classify(
    images: tuple[Path, ...],
    model: str,
    classes: tuple[str, ...],
    instead_of: str | None,
    names: str | None,
    method: str | None,
    target: str | None,
    guided: bool,
    out: Path,
) -> None:
    """Classify pictures and explain the class.

    \b
    Example:  vlx classify photo.jpg --class "tabby" --instead-of "tiger cat"
    """
    import vlx

    task = vlx.load(model)
    _require(task, "classification", model)
    _writable(out)
    options: dict[str, Any] = {"answer": _given(classes), "instead_of": instead_of, "method": method, "target": target}
    options |= {"names": _table(task, names), "guided": guided}
    asked = _asked(
        "classify", {"model": model, "class": _given(classes), **{k: v for k, v in options.items() if k != "answer"}}
    )
    _explain_all(images, out, asked, lambda image: vlx.explain(task, image, **options))


@main.command()
@click.argument("count", type=click.IntRange(min=1))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the pictures and scenes.json.")
@click.option(
    "--first", default=0, show_default=True, help="Seed of the first scene; 10,000,000 and up were never trained on."
)
@click.option("--size", default=256, show_default=True, help="Pixels a side.")
def draw(count: int, out: Path, first: int, size: int) -> None:
    """Draw COUNT scenes with captions and masks (PNG and COCO-style JSON).

    \b
    Example:  vlx draw 20 --out scenes --size 512
    """
    from vlx.scenes.export import export

    click.echo(export(count, out, first, size, progress("drawing")))


def _table(task: Any, names: str | None) -> str | None:
    """The table of names to use: as given, else the one that came with the model."""
    from vlx.neuron_names import tables

    if names is None:
        return "shipped" if tables.comes_with(task) else None
    return None if names == "none" else names


def _asked(command: str, options: dict[str, Any], *texts: str) -> Callable[[Path], str]:
    """Picture → the command that explains it again, for the report to name."""
    flags = [(f"--{name.replace('_', '-')}", value) for name, value in options.items() if value not in (None, False)]
    each = [(name, one) for name, value in flags for one in (value if isinstance(value, list) else [value])]
    given = [name if value is True else f"{name}={value}" for name, value in each]
    return lambda image: shlex.join(["vlx", command, str(image), *texts, *given])


def _given(texts: tuple[str, ...]) -> str | list[str] | None:
    """What an option that may be repeated was given: nothing, a text, or several."""
    return list(texts) if len(texts) > 1 else texts[0] if texts else None


def _pair(given: str | None) -> dict[str | int, str] | None:
    """WORD=OTHER as `vlx.explain` takes it; a number is a position."""
    if given is None:
        return None
    word, equals, other = (part.strip() for part in given.partition("="))
    if not (word and equals and other):
        raise click.BadParameter(f"{given!r}: write WORD=OTHER, for example dog=cat", param_hint="--instead-of")
    return {int(word) if word.lstrip("-").isdecimal() else word: other}


def _explain_all(
    images: Iterable[Path], out: Path, asked: Callable[[Path], str], explain: "Callable[[Path], Explanation]"
) -> None:
    """Explain each picture; one that cannot be does not stop the others, but the command then ends with 1."""
    failed = 0
    names: set[str] = set()
    for image in images:
        try:
            why = explain(image)
            why = replace(why, provenance={**why.provenance, "command": asked(image)})
            _show(why)
            _because(why)
            click.echo(why.save(out / f"{_free_name(image, names)}.html"))
        except VlxError as error:
            failed += 1
            click.echo(f"Error: {error}", err=True)
    if failed:
        sys.exit(1)


def _free_name(image: Path, taken: set[str]) -> str:
    """The picture's name without its ending; numbered when two pictures of one run share it."""
    name, number = image.stem or "picture", 1
    while name in taken:
        number += 1
        name = f"{image.stem}-{number}"
    taken.add(name)
    return name


def _show(why: "Explanation") -> None:
    from vlx.report import text

    console().print(text.table(why))


def _because(why: "Explanation") -> None:
    """Every word's reasons as sentences, each with what the experiment says of it; `_show` says it of a single one."""
    from vlx.report import text

    for because in [word.because for word in why.words if word.because is not None and len(why) > 1]:
        for line, style in ((because.sentence, ""), (f"  {because.verdict}", "dim")):
            console().print(text.clean(line), style=style, highlight=False, soft_wrap=True, markup=False)


def _require(task: Any, kind: str, name: str) -> None:
    if task.kind != kind:
        raise click.ClickException(f"{name} does {task.kind}, not {kind}; `vlx models` lists what there is")


def _writable(folder: Path) -> None:
    """Make the output folder now, so that nothing is computed in vain."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".vlx-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); give another folder with --out") from None


if __name__ == "__main__":
    main()

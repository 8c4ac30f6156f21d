"""``vlx caption``, ``answer``, ``classify``: every picture that is named, and what is asked of it."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click

from vlx.cli import running as cli_running
from vlx.cli.loading import MODEL, opened
from vlx.cli.options import LOADING, METHOD_OPTIONS, OUTPUTS, TEXT_OPTIONS, WHERE, MethodOptions, packed
from vlx.cli.running import RUNNING, RunOptions
from vlx.errors import InputError
from vlx.language import shortened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vlx.folder import Found, Item

CAPTIONER = "photos/captioner"
PICTURES = "PICTURE|FOLDER|PATTERN|LIST|-…"


TEXTS = packed(
    "texts",
    dict,
    click.option("--caption", help="Explain this caption instead of the model's own."),
    click.option("--prompt", help="How the caption begins (hf: models)."),
    click.option(
        "--instead-of", metavar="WORD=OTHER", help="Why WORD of the caption (or its position, from 0) and not OTHER."
    ),
)


@click.command(short_help="Caption pictures, explain every word.")
@click.argument("images", nargs=-1, required=True, metavar=PICTURES)
@click.option("--model", default=CAPTIONER, show_default=True, help=MODEL)
@TEXTS
@click.option("--beams", type=click.IntRange(min=1), default=1, show_default=True, help="Beam width of the search.")
@TEXT_OPTIONS
@LOADING
@RUNNING
def caption(
    images: tuple[str, ...],
    model: str,
    texts: dict[str, str | None],
    beams: int,
    method_options: MethodOptions,
    loading: dict[str, Any],
    running: RunOptions,
) -> None:
    """Caption pictures and explain every word.

    Pictures are files, folders, quoted patterns, .tar shards, data by name (scenes:20, coco:DIR, flickr8k:DIR,
    hf-dataset:NAME:SPLIT, MODULE:FUNCTION), a list (.jsonl or .csv with path and, where a picture has its own, caption,
    prompt, instead_of) or - for paths on standard input. The folder of results has a page each, index.html, results.csv
    and manifest.jsonl; the same command goes on where it was cut off.

    \b
    Example:  vlx caption photo.jpg --out report
              vlx caption photos --recursive --out report
              vlx caption "photos/*.jpg" list.jsonl --out report
              vlx caption "shards/*.tar" --out report --ray auto
              vlx caption scene.png --caption "a red house at night"
              vlx caption photo.jpg --instead-of dog=cat
              vlx caption photo.jpg --words dog --words 3
              vlx caption photo.jpg --model hf:Salesforce/blip-image-captioning-base
              vlx caption photo.jpg --model mine.py:captioner
    """
    columns = ("caption", "prompt", "instead_of")
    chosen = cli_running.chosen(images, columns, running)
    chosen = _with(chosen, {**texts, "instead_of": _pair(texts["instead_of"])}, pairs=True)
    task, load = opened("captioning", model, loading)
    plain = {"beams": beams, **method_options.options(task)}
    command = cli_running.asked("caption", {"model": model, **loading, **plain}, dict(zip(columns, FLAGS, strict=True)))
    job = cli_running.job("caption", model, task, {**_deciding(loading), **plain})
    cli_running.run(job, chosen, cli_running.Explaining(task, load, columns, plain), command, running)


FLAGS = ("caption", "prompt", "instead_of")


@click.command(short_help="Ask about pictures, explain the answers.")
@click.argument("given", nargs=-1, metavar="PICTURE… QUESTION")
@click.option(
    "--questions",
    type=click.Path(path_type=Path),
    help="List of questions, .jsonl or .csv: question and, if each has its picture, path; answer, instead_of.",
)
@click.option("--model", default="scenes/vqa", show_default=True, help=MODEL)
@packed(
    "forced",
    dict,
    click.option("--answer", multiple=True, help="Explain this answer, or several, instead of the model's own."),
    click.option("--instead-of", help="Why the answer and not this one; of a chat model's words WORD=OTHER."),
)
@click.option(
    "--probes/--no-probes",
    default=True,
    show_default=True,
    help="Also show it blurred and other pictures, and hide parts of this one.",
)
@TEXT_OPTIONS
@LOADING
@RUNNING
def answer(
    given: tuple[str, ...],
    questions: Path | None,
    model: str,
    forced: dict[str, Any],
    probes: bool,
    method_options: MethodOptions,
    loading: dict[str, Any],
    running: RunOptions,
) -> None:
    """Ask a QUESTION about pictures, or every one of a list of questions, and explain the answers.

    Pictures are files, folders, quoted patterns, shards, datasets, lists or -, as for `vlx caption`.

    \b
    Example:  vlx answer scene.png "what color is the car?"
              vlx answer photos "is there a dog?" --recursive --out report
              vlx answer --questions asked.jsonl --out report
              vlx answer scene.png "what color is the car?" --answer red --instead-of blue
              vlx answer photo.jpg "how many dogs?" --model hf:dandelin/vilt-b32-finetuned-vqa
    """
    from vlx.protocol.powers import powers_of

    chosen = _asked_of(given, questions, running)
    task, load = opened("vqa", model, loading)
    pairs = powers_of(task).contrasts is not None
    other = _pair(forced["instead_of"]) if pairs else forced["instead_of"]
    chosen = _with(chosen, {"answer": _repeated(forced["answer"]), "instead_of": other}, pairs=pairs)
    plain = method_options.options(task)
    options = {**plain, "looks": probes, "occlusion": probes and _on_cells(method_options.method)}
    flags = {"question": "", "answer": "answer", "instead_of": "instead_of"}
    command = cli_running.asked("answer", {"model": model, **loading, **plain, "no_probes": not probes}, flags)
    job = cli_running.job("answer", model, task, {**_deciding(loading), **plain, "probes": probes})
    cli_running.run(job, chosen, cli_running.Explaining(task, load, tuple(flags), options), command, running)


class ClassAsking(TypedDict):
    """What is asked of a classifier: the classes, rather than which one, and in which region of a dense output."""

    classes: tuple[str, ...]
    instead_of: str | None
    mask: Path | None


@click.command(short_help="Classify pictures, explain the class.")
@click.argument("images", nargs=-1, required=True, metavar=PICTURES)
@click.option("--model", default="torchvision:resnet50", show_default=True, help=MODEL)
@OUTPUTS
@click.option("--class", "classes", multiple=True, help="Explain this class, or several, instead of the model's own.")
@click.option("--instead-of", help="Why the class and not this one.")
@click.option(
    "--where",
    "mask",
    type=click.Path(path_type=Path),
    metavar="MASK",
    help="Of a dense output, the region to explain: a picture of the same size, black where it is not.",
)
@METHOD_OPTIONS
@LOADING
@RUNNING
def classify(
    images: tuple[str, ...],
    model: str,
    outputs: str | None,
    method_options: MethodOptions,
    loading: dict[str, Any],
    running: RunOptions,
    **asking: Unpack[ClassAsking],
) -> None:
    """Classify pictures and explain the class.

    Pictures are files, folders, quoted patterns, a list (.jsonl or .csv with path and, where a picture has its own,
    class, instead_of) or -, as for `vlx caption`.

    \b
    Example:  vlx classify photo.jpg --class "tabby" --instead-of "tiger cat"
              vlx classify photos --out report
              vlx classify photo.jpg --model mine.py:tagger --outputs sigmoid
              vlx classify street.jpg --model mine.py:segmenter --class car --where mask.png
    """
    chosen = _renamed(cli_running.chosen(images, ("class", "instead_of"), running))
    chosen = _with(chosen, {"answer": _repeated(asking["classes"]), "instead_of": asking["instead_of"]})
    mask = asking["mask"]
    loading |= {} if outputs is None else {"outputs": outputs}
    region = {} if mask is None else {"where": _region(mask)}
    task, load = opened("classification", model, loading)
    plain = method_options.options(task)
    command = cli_running.asked(
        "classify", {"model": model, **loading, **plain, "where": mask}, {"answer": "class", "instead_of": "instead_of"}
    )
    told = {name: hashlib.sha256(pixels.tobytes()).hexdigest() for name, pixels in region.items()}
    job = cli_running.job("classify", model, task, {**_deciding(loading), **plain, **told})
    explaining = cli_running.Explaining(task, load, ("answer", "instead_of"), {**plain, **region})
    cli_running.run(job, chosen, explaining, command, running)


def _region(mask: Path) -> "NDArray[np.bool_]":
    """A region by its picture, bool [H, W]: what is not black. Raises InputError for one of several colours."""
    import numpy as np

    from vlx.pictures.opening import open_image, stored

    pixels = np.asarray(open_image(mask).image)
    lit = np.asarray(pixels.any(2), np.bool_)
    if stored(mask).has_transparency_data or len(np.unique(pixels[lit], axis=0)) > 1:
        raise InputError(
            f"--where {shortened(str(mask), 120)}: more than black and one colour; save the region as a PNG in black "
            "and white, without transparency"
        )
    return lit


def _asked_of(arguments: Sequence[str], questions: Path | None, running: RunOptions) -> "Found":
    """Pictures × questions, or the list's own pairs."""
    from vlx import folder

    if not arguments and questions is None:
        raise click.UsageError("Missing argument 'PICTURE… QUESTION', or option '--questions'")
    if questions is None:
        *pictures, question = arguments
        _refuse_swapped(pictures, question)
        return folder.crossed(cli_running.chosen(pictures, ("answer", "instead_of"), running), [{"question": question}])
    asked, notes = folder.questions(questions)
    if asked and isinstance(asked[0], folder.Item):
        if arguments:
            raise InputError(f"{questions} has pictures of its own (path); leave out {arguments[0]}, or the column")
        by_key = {item.key: item for item in asked if isinstance(item, folder.Item)}
        return folder.Found(tuple(by_key.values()), tuple(notes))
    if not arguments:
        raise InputError(f"{questions} has no column path; add one, or name the pictures that are asked about")
    texts = [one for one in asked if not isinstance(one, folder.Item)]
    chosen = folder.crossed(cli_running.chosen(arguments, (), running), texts)
    return replace(chosen, notes=(*chosen.notes, *notes))


def _refuse_swapped(pictures: Sequence[str], question: str) -> None:
    """Raises InputError where the question was forgotten, or stands before the picture."""
    if not pictures and not _is_file(question):
        raise click.UsageError("the picture is missing: vlx answer PICTURE… QUESTION, or --questions FILE")
    if not _is_file(question):
        return
    if pictures and not _is_file(pictures[0]):
        raise InputError(f"the question comes last: vlx answer {question} {pictures[0]!r}")
    hint = f"--questions {question}" if question.lower().endswith((".csv", ".jsonl")) else "it comes last, quoted"
    raise InputError(f"{question} is a file; the question is missing: {hint}")


def _is_file(path: str) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:  # with a zero byte
        return False


def _with(chosen: "Found", texts: Mapping[str, Any], pairs: bool = False) -> "Found":
    """The items with texts that hold for all of them; an item's own are stronger. ``pairs``: WORD=OTHER is split."""
    common = {name: text for name, text in texts.items() if text is not None}

    def with_common(item: "Item") -> "Item":
        merged = dict(item.texts)
        if pairs and isinstance(merged.get("instead_of"), str):
            merged["instead_of"] = _pair(merged["instead_of"], item.path)
        return replace(item, texts={**common, **merged})

    return replace(chosen, items=tuple(map(with_common, chosen.items)))


def _renamed(chosen: "Found") -> "Found":
    """The items whose class is their answer."""

    def renamed(item: "Item") -> "Item":
        return replace(item, texts={"answer" if name == "class" else name: text for name, text in item.texts.items()})

    return replace(chosen, items=tuple(map(renamed, chosen.items)))


def _deciding(loading: Mapping[str, Any]) -> dict[str, Any]:
    """What of the options of loading decides the results: not the device."""
    return {name: value for name, value in loading.items() if name not in WHERE}


def _on_cells(method: str | None) -> bool:
    """Whether a method's maps lie on A's cells, where occlusion can be compared with them; so does any default."""
    from vlx.methods import registry

    return method in (None, "auto") or registry.choose(str(method)).on_cells


def _repeated(texts: tuple[str, ...]) -> str | list[str] | None:
    """What an option that may be repeated was given: nothing, a text, or several."""
    return list(texts) if len(texts) > 1 else texts[0] if texts else None


def _pair(text: str | None, where: str = "") -> dict[str, str] | None:
    """WORD=OTHER as the manifest holds it."""
    if text is None:
        return None
    word, equals, other = (part.strip() for part in text.partition("="))
    if not (word and equals and other):
        fault = f"{text!r}: write WORD=OTHER, for example dog=cat"
        raise (
            InputError(f"{where}: instead_of {fault}")
            if where
            else click.BadParameter(fault, param_hint="--instead-of")
        )
    return {word: other}

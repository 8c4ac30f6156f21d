"""``vlx compare``: two models, methods or texts on the same pictures."""

import glob
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx.cli.loading import alike
from vlx.cli.options import LOADING, TARGETS, WHERE, Spelled, flag, packed
from vlx.cli.running import INTERRUPTED, job, refuse_file, writable
from vlx.errors import Failure, InputError
from vlx.methods.names import METHODS

if TYPE_CHECKING:
    from vlx.comparing import Comparison, PicturePair
    from vlx.folder import Item
    from vlx.protocol.task import Task

DEFAULT = Path("vlx-compare")
COLUMNS = ("caption", "question", "answer")
ENDINGS = (".csv", ".jsonl")
SIDES = ("A", "B")
Both = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class CompareOptions:
    """What is asked of A and of B: one for both, or A's and B's."""

    methods: str | None
    targets: str | None
    captions: tuple[str, ...]
    question: str | None
    answers: tuple[str, ...]
    same_text: bool


@dataclass(frozen=True)
class CompareRun:
    """How the command runs and what it prints."""

    recursive: bool
    out: Path
    resume: bool
    overwrite: bool
    as_json: bool
    quiet: bool


ASKED = packed(
    "asked",
    CompareOptions,
    click.option("--method", "methods", metavar="NAME[,NAME]", help="Weighting of both, or of A and of B."),
    click.option("--target", "targets", metavar="KIND[,KIND]", help="Score to explain, of both, or of A and of B."),
    click.option("--caption", "captions", multiple=True, help="Explain this caption; given twice: A's and B's."),
    click.option("--question", help="What a model of questions is asked."),
    click.option(
        "--answer", "--class", "answers", multiple=True, help="Explain this answer or class; given twice: A's and B's."
    ),
    click.option(
        "--same-text", is_flag=True, help="Make B say what A says, so that log p of the same words is compared."
    ),
)
RUNNING = packed(
    "running",
    CompareRun,
    click.option("-r", "--recursive", is_flag=True, help="Folders with the folders in them."),
    click.option(
        "-o",
        "--out",
        type=click.Path(path_type=Path),
        default=DEFAULT,
        show_default=True,
        help="Folder for the results.",
    ),
    click.option("--resume/--no-resume", default=True, show_default=True, help="Leave out what the folder has."),
    click.option("--overwrite", is_flag=True, help="Compare again what is there; other results are begun anew."),
    click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, a picture a line."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
)


@click.command(short_help="Two models on the same pictures.")
@click.argument("given", nargs=-1, required=True, metavar="A [B] PICTURE|FOLDER|PATTERN|LIST|-…")
@ASKED
@LOADING
@RUNNING
def compare(given: tuple[str, ...], asked: CompareOptions, loading: dict[str, Any], running: CompareRun) -> None:
    """Compare what models A and B make of pictures, the largest differences first.

    A and B are models as `vlx models` lists them, or one model with two of --method, --target, --caption, --answer or
    --revision; pictures are named as for `vlx caption`. The folder of results has index.html (words and maps side by
    side), differences.csv (a row a pair of words) and manifest.jsonl; the same command goes on where it was cut off.

    \b
    Example:  vlx compare scenes/captioner scenes/captioner-pooled a.png
              vlx compare scenes/captioner scenes/captioner-pooled photos --same-text --out compared
              vlx compare scenes/captioner a.png --method gradcam,hirescam
              vlx compare photos/captioner a.jpg --caption "a brown dog" --caption "a brown cat"
              vlx compare scenes/vqa scenes/vqa-biased a.png --question "what color is the car?"
    """
    from vlx import folder

    (first, second), pictures = _models(given)
    options = _options(asked, loading)
    if first == second and options[0] == options[1] and not asked.same_text and len(_models_of(given)) == 1:
        raise click.UsageError(
            f"one model, {first}: name B, too, or give two of --method, --target, --caption, --answer"
        )
    out, stdin = running.out, sys.stdin if "-" in pictures else ()
    chosen = folder.items(pictures, COLUMNS, recursive=running.recursive, stdin=stdin, leave_out=out)
    tasks = _loaded((first, second), options)
    alike(*tasks, (first, second))
    _require_questions(tasks[0], chosen.items, asked.question)
    compared, names = _comparing(tasks, options, asked.same_text)
    this_job = _job(tasks, (first, second), options, asked.same_text)
    refuse_file(out)
    list(compared([]))  # options that cannot be are refused before anything is written
    writable(out)
    for note in () if running.quiet else chosen.notes:
        click.echo(f"Note: {note}", err=True)
    from vlx.comparing import many

    printer = _printer(running.as_json, running.quiet)
    with folder.Manifest.opened(out, this_job, resume=running.resume, overwrite=running.overwrite) as held:
        again = running.as_json and not running.overwrite
        for record in held.records([one.key for one in chosen.items if again and _is_done(held, one.key)]):
            printer(record)
        comparison, left = many.run(held, chosen.items, compared, names, told=printer, overwrite=running.overwrite)
    _summed(comparison, left, len(chosen.items), running)


def _is_done(held: Any, key: str) -> bool:
    return key in held.states and held.states[key].status == "done"


def _models_of(arguments: Sequence[str]) -> list[str]:
    """The models that the arguments begin with, at most two."""
    return [name for name in arguments[:2] if _is_model(name)] if arguments and _is_model(arguments[0]) else []


def _models(arguments: Sequence[str]) -> tuple[tuple[str, str], Sequence[str]]:
    """A and B, which is A where one is named alone, and the pictures."""
    named = _models_of(arguments)
    if not named:
        raise InputError(f"{arguments[0]} is a picture; models come first: vlx compare A B PICTURES…")
    pictures = arguments[len(named) :]
    if not pictures:
        raise click.UsageError("the pictures are missing: vlx compare A B PICTURES…")
    return (named[0], named[-1]), pictures


def _is_model(name: str) -> bool:
    """Whether an argument is a model's name, or a bundle folder, and no picture, folder, pattern or list of them."""
    try:
        there = os.path.lexists(name)
        bundle = os.path.isfile(os.path.join(name, "config.json"))
    except ValueError:  # with a zero byte
        return False
    if bundle or ".py:" in name:
        return True
    from vlx.folder.inputs import ENDINGS as PICTURES

    ending = os.path.splitext(name)[1].lower()
    is_file = there or name == "-" or ending in ENDINGS or ending in PICTURES or glob.has_magic(name)
    return not is_file or name in _embedded()


def _embedded() -> Iterable[str]:
    from vlx.models import EMBEDDED

    return EMBEDDED


def _options(asked: CompareOptions, loading: Mapping[str, Any]) -> Both:
    """The options of A and of B, those of loading among them."""
    pairs = {
        "method": _pair("--method", asked.methods, (*METHODS, "auto")),
        "target": _pair("--target", asked.targets, TARGETS),
        "caption": _twice("--caption", asked.captions),
        "answer": _twice("--answer", asked.answers),
        "question": (asked.question, asked.question),
        **{name: _pair(flag(name), value) for name, value in loading.items()},
    }
    a, b = ({name: pair[n] for name, pair in pairs.items() if pair[n] is not None} for n in (0, 1))
    return a, b


def _pair(flag: str, value: Any, choices: Sequence[str] = ()) -> tuple[Any, Any]:
    """NAME or NAME,NAME; a number is for both."""
    if not isinstance(value, str):
        return value, value
    parts = [part.strip() for part in value.split(",")]
    if len(parts) > 2 or not all(parts):
        raise click.BadParameter(f"{value!r}: give one for both, or A's and B's with a comma between", param_hint=flag)
    if choices:
        parts = [Spelled(choices, flag.strip("-")).convert(part, None, None) for part in parts]
    return parts[0], parts[-1]


def _twice(flag: str, values: Sequence[str]) -> tuple[str | None, str | None]:
    if len(values) > 2:
        raise click.BadParameter(f"given {len(values)} times; once for both, or twice: A's and B's", param_hint=flag)
    return (values[0], values[-1]) if values else (None, None)


def _loaded(names: tuple[str, str], options: Both) -> "tuple[Task, Task]":
    """Both models; one that both sides use is loaded once."""
    import vlx

    ways = [{name: side[name] for name in LOADED if name in side} for side in options]
    first = vlx.load(names[0], **ways[0])
    return first, first if names[0] == names[1] and ways[0] == ways[1] else vlx.load(names[1], **ways[1])


LOADED = (*WHERE, "dtype", "revision", "quantization_config", "attn_implementation", "max_pixels")


def _require_questions(task: "Task", items: "Sequence[Item]", question: str | None) -> None:
    unasked = next((item.path for item in items if question is None and not item.texts.get("question")), None)
    if task.kind == "vqa" and unasked is not None:
        raise InputError(f"{task.name} answers questions, and none is asked of {unasked}; give --question")


def _comparing(
    tasks: "tuple[Task, Task]", options: Both, same_text: bool
) -> "tuple[Callable[[Sequence[Item]], Iterator[PicturePair | Failure]], tuple[str, str]]":
    """Items → their comparisons in order, one picture after the other; and what A and B are called."""
    from vlx import explain_many
    from vlx.comparing import run
    from vlx.folder import sources

    plain = [{name: value for name, value in side.items() if name not in LOADED} for side in options]

    def asked(side: int, items: "Sequence[Item]") -> dict[str, Any]:
        texts = {name: [item.texts.get(name, plain[side].get(name)) for item in items] for name in COLUMNS}
        return {**plain[side], **{name: values for name, values in texts.items() if values.count(None) < len(values)}}

    def compared(items: "Sequence[Item]") -> "Iterator[PicturePair | Failure]":
        paths = [item.path for item in items]
        left: Any = explain_many(tasks[0], map(sources.picture, paths), batch_size=1, errors="keep", **asked(0, items))
        if same_text:
            left, kept = tee(left)
            right: Any = (
                run.said_again(tasks[1], sources.picture(item.path), a_outcome, asked_one(item))
                for item, a_outcome in zip(items, kept, strict=False)
            )
        else:
            right = explain_many(tasks[1], map(sources.picture, paths), batch_size=1, errors="keep", **asked(1, items))
        for path, a_outcome, b_outcome in zip(paths, left, right, strict=False):
            yield run.pair(path, a_outcome, b_outcome)

    def asked_one(item: "Item") -> dict[str, Any]:
        return {name: value[0] if isinstance(value, list) else value for name, value in asked(1, [item]).items()}

    names = run.names(tasks[0].name, tasks[1].name, options[0], options[1], same_text)
    return compared, names


def _job(tasks: "tuple[Task, Task]", names: tuple[str, str], options: Both, same_text: bool) -> Any:
    """What is asked of every picture, with a digest of the weights of both."""
    from dataclasses import replace

    jobs = [job("compare", name, task, {}) for name, task in zip(names, tasks, strict=True)]
    deciding = [{name: value for name, value in side.items() if name not in WHERE} for side in options]
    asked = {"A": deciding[0], "B": deciding[1], **({"same_text": True} if same_text else {})}
    weights = " ".join(dict.fromkeys(one.weights for one in jobs))
    return replace(jobs[0], model=" | ".join(names), weights=weights, options=asked)


def _printer(as_json: bool, quiet: bool) -> Callable[[Mapping[str, Any]], None]:
    """Prints one picture's line."""
    from vlx.comparing import many
    from vlx.report import text

    def print_record(record: Mapping[str, Any]) -> None:
        if as_json:
            words = list(many.rows(record)) if record["status"] == "done" else []
            plain = {name: value for name, value in record.items() if name != "pair"}
            click.echo(json.dumps({**plain, "words": words}))
        if record["status"] == "failed":
            error = record["error"] if Path(record["path"]).name in record["error"] else _named(record)
            click.echo(f"Error: {text.clean(error)}", err=True)
        elif not (quiet or as_json):
            click.echo(text.clean(_short(record)).encode("utf-8", "replace").decode())

    return print_record


def _named(record: Mapping[str, Any]) -> str:
    return f"{record['path']}: {record['error']}"


def _short(record: Mapping[str, Any]) -> str:
    """A picture's line: how many words differ, and how the one that differs most does."""
    from vlx.comparing import many
    from vlx.comparing.pairs import said

    comparison = many.comparison([record], SIDES)
    pairs = [one.pair for one in comparison.ranked]
    differ = [pair for pair in pairs if not pair.said_by_both]
    if not pairs or not pairs[0].difference:
        return f"{record['path']}: nothing differs"
    words = f"{len(differ)} of {len(pairs)} words differ; " if differ else ""
    return f"{record['path']}: {words}{said(pairs[0])}"


def _summed(comparison: "Comparison", left: int, count: int, running: CompareRun) -> None:
    from vlx.comparing import many
    from vlx.report import text

    if not running.quiet:
        for line in [*str(comparison).splitlines(), str(running.out / many.PAGE)]:
            click.echo(text.clean(line).encode("utf-8", "replace").decode(), err=running.as_json)
    if left:
        click.echo(f"Interrupted: {count - left} of {count} are there; the same command goes on with {left}", err=True)
        sys.exit(INTERRUPTED)
    if comparison.failures:
        sys.exit(1)

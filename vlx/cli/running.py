"""What the commands over many pictures share: their options, the run, and what is printed of it."""

import json
import math
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vlx.cli.options import RAY, console, on_gpu, packed
from vlx.errors import Failure, InputError, OutputError

if TYPE_CHECKING:
    from rich.progress import Progress

    from vlx.explanation.records import Explanation
    from vlx.folder import Found, Item, Job, Summary
    from vlx.folder.run import ExplainElsewhere
    from vlx.protocol.task import Task

    Explained = Callable[[Sequence[Item]], Iterable[Explanation | Failure]]

DEFAULT = Path("vlx-report")
INTERRUPTED = 130
ANSWER = ("path", "caption", "question", "answer", "instead_of", "text", "words", "page", "status", "error")
EXPLAINED_AS = {"answer": "answers", "classify": "classes"}  # that are explained, by command; else words
LISTED_FAILURES = 20  # failures that the summary names
_OPTIONS = (
    click.option("-r", "--recursive", is_flag=True, help="Folders with the folders in them."),
    click.option(
        "-o",
        "--out",
        type=click.Path(path_type=Path),
        help=f"Folder for the results; default: {DEFAULT}, or {DEFAULT}-2 where that holds other results.",
    ),
    click.option(
        "--resume/--no-resume", default=True, show_default=True, help="Leave out what the folder of results has."
    ),
    click.option(
        "--overwrite", is_flag=True, help="Explain again what is there; a manifest of other results is begun anew."
    ),
    *RAY,
    click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, one a line."),
    click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
    click.option("-v", "--verbose", is_flag=True, help="Print all figures and sentences, of every picture."),
)


@dataclass(frozen=True)
class RunOptions:
    """How a command runs and what it prints."""

    recursive: bool
    out: Path | None
    resume: bool
    overwrite: bool
    ray: str | None
    workers: int | None
    as_json: bool
    quiet: bool
    verbose: bool


RUNNING = packed("running", RunOptions, *_OPTIONS)


def chosen(arguments: Sequence[str], columns: Sequence[str], running: RunOptions) -> "Found":
    """The items that the arguments mean; lines of standard input where one is ``-``."""
    from vlx import folder

    stdin = sys.stdin if "-" in arguments else ()
    return folder.items(
        arguments, columns, recursive=running.recursive, stdin=stdin, leave_out=running.out or Path(DEFAULT)
    )


def asked(command: str, options: Mapping[str, Any], flags: Mapping[str, str]) -> "Callable[[Item], str]":
    """Item → the command that explains it alone; ``flags`` are the names of its texts' options, "" of an argument."""

    def command_of(item: "Item") -> str:
        arguments = [str(text) for name, text in item.texts.items() if flags.get(name) == ""]
        item_options = {flags[name]: _written(text) for name, text in item.texts.items() if flags.get(name)}
        pairs = [(name, value) for name, value in {**options, **item_options}.items() if value not in (None, False)]
        flags_given = [(f"--{name.replace('_', '-')}", one) for name, value in pairs for one in _listed(value)]
        return shlex.join(
            ["vlx", command, item.path, *arguments, *(n if v is True else f"{n}={v}" for n, v in flags_given)]
        )

    return command_of


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _written(text: Any) -> Any:
    return [f"{word}={other}" for word, other in text.items()] if isinstance(text, dict) else text


def job(command: str, name: str, task: "Task", options: Mapping[str, Any]) -> "Job":
    """What is asked of every item, with a digest of all weights of the task."""
    import torch

    from vlx import __version__, folder
    from vlx.protocol.identity import task_digest

    set_ = {option: value for option, value in options.items() if value not in (None, False)}
    return folder.Job(command, name, task_digest(task), set_, {"vlx": __version__, "torch": str(torch.__version__)})


@dataclass(frozen=True)
class Explaining:
    """How items are explained: by which ``task``, which another process would ``load``, and with which options.

    ``columns`` are the names of the texts that are an item's own.
    """

    task: "Task"
    load: "Callable[[], Task]"
    columns: Sequence[str]
    options: Mapping[str, Any]


def explained(task: "Task", columns: Sequence[str], options: Mapping[str, Any], keep: bool = False) -> "Explained":
    """Items → their explanations in order, one picture after the other so that a resumed run computes the same.

    ``keep``: a bug costs its picture alone, as it does among several; else of a single picture it shows its traceback.
    """
    import vlx
    from vlx.folder import sources

    def explain_items(items: "Sequence[Item]") -> "Iterable[Explanation | Failure]":
        texts = {name: [_with_positions(item.texts.get(name)) for item in items] for name in columns}
        item_texts = {name: values for name, values in texts.items() if values.count(None) < len(values)}
        asked_options: dict[str, Any] = {**options, **item_texts}
        errors: Any = "raise" if len(items) == 1 and not keep else "keep"
        pictures = sources.SourcePictures([item.path for item in items])
        return vlx.explain_many(task, pictures, batch_size=1, errors=errors, **asked_options)

    return explain_items


def _with_positions(text: Any) -> Any:
    """A text as `vlx.explain` takes it; of a pair whose word is a number, the word at that position is meant."""
    if not isinstance(text, dict):
        return text
    return {int(word) if word.lstrip("-").isdecimal() else word: other for word, other in text.items()}


def run(
    job: "Job", chosen: "Found", explain: Explaining, command: "Callable[[Item], str]", running: RunOptions
) -> None:
    """Run over the items and print what becomes of them; ends with 1 when one failed, with 130 when interrupted."""
    from vlx import folder

    here = explained(explain.task, explain.columns, explain.options)
    here([])  # options that cannot be are refused before anything is written
    out = _out(running, job)
    writable(out)
    items = chosen.items
    for note in () if running.quiet else chosen.notes:
        click.echo(f"Note: {note}", err=True)
    with (
        _elsewhere(job, explain, running) as elsewhere,
        folder.Manifest.opened(out, job, resume=running.resume, overwrite=running.overwrite) as held,
        _progress(len(items), running) as progress,
    ):
        before = set() if running.overwrite else {key for key, state in held.states.items() if state.status == "done"}
        finished = [item.key for item in items if item.key in before]
        for record in held.records(finished):
            _again(record, out, running, len(items))
        if progress is not None:
            progress.advance(progress.task_ids[0], len(finished))
        report = partial(_print_result, out, running, len(items), progress)
        summary = folder.run(
            held, items, here, command=command, told=report, overwrite=running.overwrite, elsewhere=elsewhere
        )
    _summed(summary, out, running, len(items), EXPLAINED_AS.get(job.command, "words"))


@contextmanager
def _elsewhere(job: "Job", explain: Explaining, running: RunOptions) -> "Iterator[ExplainElsewhere | None]":
    """Where --ray asks for it, what explains on its workers."""
    if running.ray is None:
        yield None
        return
    from vlx import cluster
    from vlx.protocol.identity import task_digest

    gpu = on_gpu(getattr(explain.load, "keywords", {}))
    explain_there = partial(explained, columns=explain.columns, options=explain.options, keep=True)
    plan = cluster.Plan(explain.load, task_digest, job.weights, explain_there)
    with cluster.connected(running.ray):
        yield partial(cluster.explained, plan, cluster.Pool(cluster.workers(running.workers, gpu), gpu))


def _out(running: RunOptions, job: "Job") -> Path:
    from vlx import folder

    if running.out is None:
        out = DEFAULT if running.overwrite else folder.free(DEFAULT, job)
        if out != DEFAULT and not running.quiet:
            click.echo(f"Note: {DEFAULT} holds other results; these go to {out}", err=True)
        return out
    refuse_file(running.out)
    return running.out


def refuse_file(out: Path) -> None:
    """Raises InputError where a file was meant, and a folder is written."""
    if out.suffix.lower() in (".html", ".htm", ".json", ".csv", ".png", ".pdf", ".svg", ".h5") and not out.is_dir():
        raise InputError(f"--out {out}: results go into a folder, a page each; give --out {out.with_suffix('')}")


def _print_result(
    out: Path,
    running: RunOptions,
    count: int,
    progress: "Progress | None",
    record: Mapping[str, Any],
    why: "Explanation | None",
) -> None:
    """Print one result."""
    if progress is not None:
        progress.advance(progress.task_ids[0])
    if running.as_json:
        click.echo(_json(record))
    if record["status"] == "failed":
        _line(progress, f"Error: {_named(record)}", error=True)
    elif not (running.quiet or running.as_json):
        if why is not None and (count == 1 or running.verbose):
            show(why, running.verbose)
            click.echo(out / record["page"])
        else:
            _line(progress, _short(record, out, why))


def _named(record: Mapping[str, Any]) -> str:
    """The reason of a failure, with the picture's name."""
    path, error = record["path"], str(record["error"])
    return error if Path(path).name in error else f"{path}: {error}"


def _short(record: Mapping[str, Any], out: Path, why: "Explanation | None" = None) -> str:
    from vlx.report import answers, text

    said = answers.said(why, rings=True) if why is not None else record["text"]
    question = f"{record['question']} " if record.get("question") else ""
    return text.clean(f"{record['path']}: {question}{said or '(nothing)'} → {out / record['page']}")


def _again(record: Mapping[str, Any], out: Path, running: RunOptions, count: int) -> None:
    """Print what was done before."""
    if running.as_json:
        click.echo(_json(record))
    elif count == 1 and not running.quiet:
        click.echo(f"{_short(record, out)} (done before; --overwrite explains it again)")


def _json(record: Mapping[str, Any]) -> str:
    """One line, the answer first: what was asked and said, each word with its p, the page; then all else."""
    plain = "utf" not in str(getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    ordered = {name: record[name] for name in (*ANSWER, *record) if name in record and name != "thumbnail"}
    if "words" in ordered:
        ordered["words"] = [_with_p(word) for word in ordered["words"]]
    return json.dumps(ordered, ensure_ascii=plain)


def _with_p(word: Mapping[str, Any]) -> dict[str, Any]:
    logprob = word["logprob"]
    return {"word": word["word"], "p": None if logprob is None else float(f"{math.exp(logprob):.6g}"), **word}


def _line(progress: "Progress | None", text: str, error: bool = False) -> None:
    """A line that does not meet the bar; on the terminal both go through the bar's own console."""
    if progress is not None and (error or sys.stdout.isatty()):
        progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        click.echo(text.encode("utf-8", "replace").decode(), err=error)


def show(why: "Explanation", verbose: bool = False) -> None:
    """What was said, why, and what it owes to the picture; ``verbose``: all figures, and every word's sentence."""
    from vlx.report import brief, text

    screen = console()
    if not verbose:
        screen.print(brief.brief(why, screen.width), *brief.legend(why), sep="\n")
        return
    screen.print(text.table(why, screen.width))
    for because in [word.because for word in why.words if word.because is not None and len(why) > 1]:
        for line, style in ((because.sentence, ""), (f"  {because.verdict}", "dim")):
            screen.print(text.clean(line), style=style, highlight=False, soft_wrap=True, markup=False)


def _summed(summary: "Summary", out: Path, running: RunOptions, count: int, what: str) -> None:
    if count > 1 and not running.quiet:
        for line in _summary(summary, out, what):
            click.echo(line.encode("utf-8", "replace").decode(), err=running.as_json)
    if summary.stopped:
        done = count - summary.left
        click.echo(f"Interrupted: {done} of {count} are there; the same command goes on with {summary.left}", err=True)
        sys.exit(INTERRUPTED)
    if summary.failed:
        sys.exit(1)


def _summary(summary: "Summary", out: Path, what: str) -> Iterator[str]:
    """What was done, what failed and why, and how many words are not owed to the picture."""
    before = f" ({summary.again} of them before)" if summary.again else ""
    failed = f", failed: {len(summary.failed)}" if summary.failed else ""
    yield f"done: {summary.done}{before}{failed}"
    for path, reason in summary.failed[:LISTED_FAILURES]:
        yield f"  {_named({'path': path, 'error': reason})}"
    if len(summary.failed) > LISTED_FAILURES:
        yield f"  and {len(summary.failed) - LISTED_FAILURES} more, in {out / 'manifest.jsonl'}"
    if summary.words:
        checked = f", {summary.unchecked} failed their check" if summary.unchecked else ""
        yield f"not owed to the picture: {summary.not_owed} of {summary.words} {what}{checked}"
    yield str(out / "index.html")


@contextmanager
def _progress(count: int, running: RunOptions) -> Iterator["Progress | None"]:
    """A bar with rate and time left, on standard error; none for a single picture, or where nobody looks."""
    from rich.console import Console

    screen = Console(stderr=True)
    if count == 1 or running.quiet or not screen.is_terminal:
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    rate = TextColumn("{task.fields[rate]}")
    columns = (BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=screen, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        bar.add_task("", total=count, rate="")
        yield _rated(bar)


def _rated(bar: "Progress") -> "Progress":
    """The bar, which tells its rate at every step."""
    plain = bar.advance

    def advance(task_id: Any, advance: float = 1) -> None:
        plain(task_id, advance)
        speed = bar.tasks[0].speed
        bar.update(task_id, rate="" if not speed else f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")

    bar.advance = advance  # type: ignore[method-assign]
    return bar


def writable(folder: Path) -> None:
    """Make the output folder now, so that nothing is computed in vain."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".vlx-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); give another folder with --out") from None

"""Models of one's own by file and function: ``vlx.load("mine.py:captioner")``, ``--model mine.py:captioner``.

The file is run, as ``python mine.py`` would: it is the user's own code, and named by the user.
"""

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module, invalidate_caches
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from vlx.errors import InputError, ModelError, VlxError
from vlx.language import close_matches, shortened
from vlx.protocol.task import Task
from vlx.tasks.shared import devices

FORM = re.compile(r"(?P<file>.+\.py):(?P<function>[^:/\\]*)", re.DOTALL)
NEEDED = tuple("name kind defaults notes blank prepare place version features predict scores".split())  # of a task
PLACING = ("device", "dtype")
MAKERS = "a Classifier, CnnLstmCaptioner or CnnLstmVqa, or a task of your own"


def parted(name: str) -> tuple[Path, str] | None:
    """The file and the function of ``FILE.py:FUNCTION``; None for any other name of a model."""
    match = FORM.fullmatch(name)
    return (Path(match["file"]).expanduser(), match["function"]) if match else None


def load(file: Path, function: str, options: Mapping[str, Any]) -> Task:
    """The task that the function returns, called without arguments, or with those of ``options`` that it names.

    ``device`` and ``dtype`` are given as torch's where the function names them, and else the task's networks are moved
    afterwards. The file finds what lies beside it, by ``import helper`` and by ``from .helper import …``.

        # mine.py
        def captioner(device):
            return CnnLstmCaptioner(cnn.to(device), decoder.to(device), vocabulary, prepare)

    Raises ModelError where there is no such file or function (with close matches), where either raises (with the line,
    and the cause chained) and for what is no task; InputError for options that the function does not name.
    """
    if not file.is_file():
        raise ModelError(_missing(file))
    called = f"{file}:{function}"
    with _beside(file):
        with _naming_line(file, "it"):
            module = _module(file)
        make = _function(module, file, function)
        arguments = _arguments(make, called, options)
        with _naming_line(file, f"{function}()"):
            task = make(**arguments)
    _refuse_no_task(task, called)
    return devices.placed(task, {name: options.get(name) for name in PLACING if name not in arguments})


def functions(file: Path) -> list[str]:
    """The names of the functions that a file defines, read without running it; none where it cannot be read."""
    try:
        return re.findall(r"^(?:async )?def ([^\W_]\w*)", file.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        return []


def _missing(file: Path) -> str:
    there = [path.name for path in file.parent.glob("*.py")] if file.parent.is_dir() else []
    near = close_matches(file.name, there)
    hint = f"; close: {', '.join(near)}" if near else ""
    return f"there is no file {shortened(str(file), 120)!r}{hint}; a model of your own is FILE.py:FUNCTION"


@contextmanager
def _beside(file: Path) -> Iterator[None]:
    """The file's folder first where modules are looked for; afterwards last, for what is imported only when it runs."""
    folder = str(_root(file))
    sys.path.insert(0, folder)
    invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def _root(file: Path) -> Path:
    """The folder that the outermost package of the file lies in."""
    folder = file.resolve().parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        folder = folder.parent
    return folder


def _module(file: Path) -> ModuleType:
    """The file as a module, run anew: of its package, or of one made for it, where it can import relatively."""
    path, root = file.resolve(), _root(file)
    if path.parent != root:
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        import_module(name.rpartition(".")[0])
    else:
        package = ModuleType(f"vlx_own_{sha256(str(root).encode('utf-8', 'surrogatepass')).hexdigest()[:12]}")
        package.__path__ = [str(root)]
        sys.modules[package.__name__] = package
        name = f"{package.__name__}.{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{file}: Python cannot load it as a module; is it a .py file?")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


@contextmanager
def _naming_line(file: Path, what: str) -> Iterator[None]:
    """What the user's code raises becomes a ModelError with its line; what vlx raises passes."""
    try:
        yield
    except VlxError:
        raise
    except (Exception, SystemExit) as error:
        raise ModelError(f"{file}{_line(error, file)}: {what} {_raised(error)}") from error


def _raised(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "ends the program; put what is not to run on import under: if __name__ == '__main__'"
    text = shortened(" ".join(str(error).split()), 160)
    return f"raises {type(error).__name__}{f': {text}' if text else ''}"


def _line(error: BaseException, file: Path) -> str:
    """Where in the file it happened, as ", line 3"; nothing where it was elsewhere."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if _same(frame.filename, file)]
    return f", line {lines[-1]}" if lines else ""


def _same(name: str, file: Path) -> bool:
    return Path(name).name == file.name and Path(name).resolve() == file.resolve()


def _function(module: ModuleType, file: Path, function: str) -> Callable[..., Any]:
    """Raises ModelError for a name that is not there, or is no function."""
    names = [name for name in functions(file) if callable(getattr(module, name, None))]
    listing = f"its functions: {shortened(', '.join(names), 120)}" if names else "it defines no function"
    if not function:
        raise ModelError(f"{file}: name the function that returns the model, as {file}:FUNCTION; {listing}")
    member = getattr(module, function, None)
    if member is None:
        near = close_matches(function, [name for name in vars(module) if not name.startswith("_")])
        hint = f"; close: {', '.join(near)}" if near else ""
        raise ModelError(f"{file} has no function {shortened(function)!r}{hint}; {listing}")
    if not (inspect.isroutine(member) or inspect.isclass(member)):
        raise ModelError(f"{file}:{function} is no function but {_a(member)}; write a function that returns {MAKERS}")
    maker: Callable[..., Any] = member
    return maker


def _arguments(make: Callable[..., Any], called: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the function is called with. Raises for what it needs and nobody gives, or is given and it does not name."""
    parameters = inspect.signature(make).parameters.values()
    open_ = any(one.kind is one.VAR_KEYWORD for one in parameters)
    named = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    strange = [name for name in options if name not in PLACING and name not in named and not open_]
    if strange:
        raise InputError(f"{called} has no argument {', '.join(strange)}; add it to the function, or leave it out here")
    arguments = {name: value for name, value in options.items() if value is not None and (name in named or open_)}
    read: dict[str, Callable[[Any], Any]] = {"device": devices.device_of, "dtype": devices.dtype_of}
    for name in PLACING:
        if name in arguments or (name in named and named[name].default is inspect.Parameter.empty):
            arguments[name] = read[name](arguments.get(name))
    lacking = [name for name, one in named.items() if one.default is one.empty and name not in arguments]
    lacking += [one.name for one in parameters if one.kind is one.POSITIONAL_ONLY and one.default is one.empty]
    if lacking:
        raise ModelError(
            f"{called} needs {', '.join(lacking)}, and vlx calls it without arguments, but for device and dtype where "
            "it names them; give the others defaults"
        )
    return arguments


def _refuse_no_task(task: Any, called: str) -> None:
    if task is None:
        raise ModelError(f"{called} returns nothing; end it with: return task ({MAKERS})")
    lacking = [name for name in NEEDED if not hasattr(task, name)]
    if inspect.isclass(task) or lacking:
        some = 0 < len(lacking) < len(NEEDED) and not inspect.isclass(task)
        lacks = f", which lacks {', '.join(lacking[:3])}" if some else ""
        raise ModelError(f"{called} returns {_a(task)}{lacks}; it has to return {MAKERS}")


def _a(thing: Any) -> str:
    name = f"the class {thing.__name__}" if inspect.isclass(thing) else type(thing).__name__
    return name if inspect.isclass(thing) else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {shortened(name)}"

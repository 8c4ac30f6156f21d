"""What transformers and the hub say: errors with the name that was asked for and what to do, all else kept quiet."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from vlx.errors import ModelError
from vlx.tasks.huggingface.files import pickled

LONGEST = 150  # characters of another library's message


@contextmanager
def quiet() -> Iterator[None]:
    """Let transformers report errors only and draw no bars; afterwards its settings are what they were.

    The hub's own bars, which show a download, stay as they are.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    downloads = not are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if downloads:
        enable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if not downloads:
            disable_progress_bars()


@contextmanager
def explained(name: str, revision: str | None, what: str) -> Iterator[None]:
    """Errors of loading ``what`` ("its configuration") inside become ModelError."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # each library below has a tree of its own
        raise _explained(error, name, revision, what) from error


def _explained(error: Exception, name: str, revision: str | None, what: str) -> ModelError:
    from huggingface_hub import errors as hub

    chain = list(_chain(error))

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(one, kinds) for one in chain)

    text = " ".join(" ".join(str(one) for one in chain).split())
    if among(hub.GatedRepoError):
        return ModelError(
            f"{name} is a gated repository: accept its terms at https://huggingface.co/{name}, then run `hf auth login`"
        )
    if among(hub.RevisionNotFoundError):
        return ModelError(f"{name} has no revision {revision!r}; give a branch, a tag or a commit of its repository")
    if among(hub.RepositoryNotFoundError):
        return ModelError(
            f"the hub has no model {name!r}, or it is private: check the name; for a private one run `hf auth login`"
        )
    if among(hub.HFValidationError):
        return ModelError(f"{name!r} is no name of the hub (OWNER/NAME), and there is no such folder; check the path")
    if "custom code" in text and "trust_remote_code" in text:
        return ModelError(
            f"{name} brings Python code of its own, which vlx runs only if told to: read it, then pass "
            "trust_remote_code=True"
        )
    if among(hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError) or "couldn't connect" in text:
        return _not_cached(name, revision, what)
    if "cannot be loaded with `safetensors`" in text:
        return ModelError(f"{name}: {pickled()}")
    if among(SafetensorError):
        return ModelError(f"{name}: not whole safetensors files ({_short(error)}); copy or download them again")
    newer = "does not recognize this architecture" in text
    remedy = "; update vlx or transformers: pip install -U vlx transformers" if newer else ""
    return ModelError(f"{name}: {what} cannot be loaded ({_short(error)}){remedy}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _not_cached(name: str, revision: str | None, what: str) -> ModelError:
    at, option = ("", "") if revision is None else (f" at revision {revision!r}", f" --revision {revision}")
    folder = name.rpartition("/")[2]
    if beside := next((path for path in (name, folder) if (Path(path) / "config.json").is_file()), ""):
        return ModelError(
            f"{name}: {what} is not in the local cache{at}, and the hub cannot be reached. A folder of that name "
            f"is here: give its path, hf:./{beside}"
        )
    return ModelError(
        f"{name}: {what} is not in the local cache{at}, and the hub cannot be reached. On a machine with a network "
        f"run `hf download {name}{option} --local-dir {folder}`, copy that folder here and give its "
        f"path: hf:./{folder}"
    )

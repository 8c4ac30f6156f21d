"""A repository of the hub: whether it can be reached, which commit is meant, what the local cache has of it."""

from pathlib import Path
from typing import Any

from vlx.tasks.huggingface.files import COMMIT
from vlx.tasks.huggingface.refusals import explained

PATIENCE = 5.0  # seconds for the hub to answer


def reach(source: str, revision: str | None) -> dict[str, Any]:
    """Options for a hub that cannot be reached: what is in the cache, at once and not after many tries.

    Raises ModelError where the cache lacks the model, too.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session, validate_repo_id

    if constants.HF_HUB_OFFLINE:
        return {}
    with explained(source, revision, "its config.json"):
        validate_repo_id(source)
        try:
            get_session().head(constants.ENDPOINT, timeout=PATIENCE)
        except Exception as error:  # each transport has a tree of its own
            if snapshot(source, revision) == Path():
                raise ConnectionError from error
            return {"local_files_only": True}
    return {}


def commit(source: str, revision: str | None) -> str | None:
    """The commit that a repository's config.json was just read from; ``revision`` where the cache does not say."""
    name = snapshot(source, revision).name
    return name if COMMIT.fullmatch(name) else revision


def offline(source: str, revision: str | None) -> Path | None:
    """The folder of a repository in the cache, if nothing can be added to it."""
    from huggingface_hub import constants

    return snapshot(source, revision) if constants.HF_HUB_OFFLINE else None


def snapshot(source: str, revision: str | None) -> Path:
    """The folder of a repository in the cache; the empty path where there is none."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(source, "config.json", revision=revision)
    return Path(file).parent if isinstance(file, str) else Path()

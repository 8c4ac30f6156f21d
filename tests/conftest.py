"""What every test shares. Tests that need a file of ../shared skip with the reason when it is absent."""

import gc
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

os.environ["MPLBACKEND"] = "Agg"  # no window, on any machine
if "PYTEST_XDIST_WORKER" in os.environ:  # a worker a core: threads of their own would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

gc.disable()  # what is collected stays: looking through it again and again is a fifth of the time of collecting


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model of transformers, by its family; made once, for all workers. Not to be written to."""
    root = tmp_path_factory.getbasetemp()
    root = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "tiny"

    @cache
    def folder(family: str) -> Path:
        from filelock import FileLock

        from vlx.tasks.huggingface import tiny

        root.mkdir(exist_ok=True)
        with FileLock(root / f"{family}.lock"):
            made = root / family
            return made if made.exists() else tiny.save(family, made)

    return folder


@pytest.fixture(scope="session")
def tiny_models(tiny_folder: Callable[[str], Path]) -> Any:
    """Tasks of tiny models of transformers; see `tests.hf.Tiny`."""
    from tests.hf import Tiny

    return Tiny(tiny_folder)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium with a profile of its own (`benchmarks.browser.Browser`)."""
    from benchmarks import browser as chromium

    if chromium.found() is None:
        pytest.skip("Chromium is not installed: no page is opened")
    opened = chromium.Browser(str(tmp_path_factory.mktemp("profile")))
    yield opened
    opened.close()

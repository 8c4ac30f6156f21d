"""The cluster to work on: one that is there, or one made of this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vlx.errors import InputError

LOCAL = "local"


@contextmanager
def connected(address: str = "") -> Iterator[None]:
    """Ray, for as long as the block takes; one that the program has started itself is used and left running.

    ``address``: "local" makes a cluster of this machine's CPUs; "auto", "host:port" or "ray://host:port" name one that
    runs; "" is the one that RAY_ADDRESS names or that runs here, else a local one.

    Raises InputError where Ray is not installed, and where no cluster answers.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # of what Ray Data does by itself, Ray says it is an error
    ray = imported()
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
    try:
        ray.init(address or None, **quiet)
    except ValueError:  # an option for new clusters only
        _join(ray, address)
    except (ConnectionError, RuntimeError, TimeoutError) as error:
        raise _unreachable(address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def workers(asked: int | None, gpus: bool = False) -> int:
    """How many workers there can be: as many as the cluster has CPUs for, or GPUs, and not more than ``asked``.

    A worker has as many threads as OMP_NUM_THREADS says, one where it is not set, and takes a CPU for each.
    """
    there = imported().cluster_resources()
    most = int(there.get("GPU", 0)) if gpus else int(there.get("CPU", 0)) // threads()
    if most < 1:
        need = "a GPU" if gpus else f"{threads()} CPUs (OMP_NUM_THREADS)"
        raise InputError(f"the Ray cluster has no machine with {need}; add one, or ask for less")
    return most if asked is None else min(asked, most)


def threads() -> int:
    """Threads of a worker: results differ in the seventh figure where they are others."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    return int(setting) if setting.isdecimal() and int(setting) else 1


def imported() -> Any:
    """The module ray, with ray.data. Raises InputError where it is not installed."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(
            f'--ray needs Ray Data, which is not installed here ({error}): pip install "vlx[ray]", on every machine'
        ) from None
    return ray


def _join(ray: Any, address: str) -> None:
    try:
        ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        raise _unreachable(address, error) from None


def _unreachable(address: str, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return InputError(
        f"--ray {address}: no Ray cluster answers ({reason}); start one with `ray start --head`, or --ray local"
    )

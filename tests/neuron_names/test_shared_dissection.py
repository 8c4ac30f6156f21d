"""A dissection shared among processes is that of one process, to the bit."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vlx
from tests.fakes import tiny_bundle
from vlx.cluster.dissecting import _packed, _unpacked
from vlx.data import Told, open_data
from vlx.errors import InputError
from vlx.neuron_names import NeuronNames
from vlx.neuron_names.dissection import working
from vlx.neuron_names.dissection.run import dissect_layers
from vlx.neuron_names.dissection.thresholds import TopValues

OPTIONS: dict[str, Any] = {"quantile": (0.01, 0.05), "folds": 2, "batch_size": 16, "labels": None, "compat": None}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return vlx.load(str(tiny_bundle(tmp_path_factory.mktemp("shared") / "tiny")))


class Workers:
    """Processes that are none; with ``mortal`` each share is worked on by a worker of its own, as after a death."""

    workers = 1

    def __init__(self, task: Any, dataset: str, options: dict[str, Any], mortal: bool = False) -> None:
        self.mortal = mortal
        self.task, self.dataset, self.options = task, dataset, options
        self.asked: list[tuple[str, int]] = []

    def __call__(self, phase: str, settings: str, state: Any, shares: Sequence[range]) -> Iterator[Any]:
        given = (self.task, self.dataset, None, self.options, phase, settings, _unpacked(_packed(state)))
        work = working.work(*given)
        for number, share in enumerate(shares):
            work = working.work(*given) if self.mortal and number else work
            self.asked.append((phase, share.start))
            yield _unpacked(_packed(work(share)))


def tables(found: dict[str, NeuronNames]) -> dict[str, Any]:
    """All that is counted and told, arrays as bytes."""
    names = next(iter(found.values()))
    counted: Any = names.tally or names.activity
    held = {one.name: getattr(counted, one.name) for one in fields(counted)} | names.about
    told = {name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in held.items()}
    return {**told, "names": [repr(names.candidates(unit)) for unit in range(len(names))]}


@pytest.mark.parametrize("dataset", ["scenes:33", "captions:scenes:33"])
def test_shares_add_up_to_one_process(task: Any, dataset: str) -> None:
    told = isinstance(open_data(dataset), Told)
    options: dict[str, Any] = {"folds": 2, "least": 5} if told else OPTIONS
    alone = dissect_layers(task, dataset, None, **options)
    workers = Workers(task, dataset, options, mortal=True)
    shared = dissect_layers(task, dataset, None, **options, elsewhere=workers)
    assert tables(shared) == tables(alone)
    assert len(workers.asked) == (3 if told else 6)


def test_a_shared_dissection_goes_on_alone_and_back(task: Any, tmp_path: Path) -> None:
    alone = dissect_layers(task, "scenes:33", None, **OPTIONS)
    for stop in (2, 5):  # in each pass
        workers, kept = Workers(task, "scenes:33", OPTIONS), tmp_path / f"{stop}.part"
        plain = workers.__call__

        def cut(*given: Any, plain: Any = plain, workers: Workers = workers, stop: int = stop) -> Iterator[Any]:
            for found in plain(*given):
                if len(workers.asked) == stop:
                    raise KeyboardInterrupt
                yield found

        cut.workers = 1  # type: ignore[attr-defined]
        with pytest.raises(KeyboardInterrupt):
            dissect_layers(task, "scenes:33", None, **OPTIONS, elsewhere=cut, checkpoint=kept)  # type: ignore[arg-type]
        assert tables(dissect_layers(task, "scenes:33", None, **OPTIONS, checkpoint=kept)) == tables(alone)


def test_a_worker_with_another_model_or_other_pictures_is_refused(task: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = vlx.load(str(tiny_bundle(tmp_path / "other", units=8)))
    for own, dataset, what in ((other, "scenes:33", "model_hash"), (task, "scenes:34", "dataset")):
        with pytest.raises(InputError, match=f"a worker has other .*{what}.*; give all machines the same files"):
            dissect_layers(task, "scenes:33", None, **OPTIONS, elsewhere=Workers(own, dataset, OPTIONS))


def test_a_lost_share_ends_it_with_what_to_do(task: Any) -> None:
    class Losing(Workers):
        def __call__(self, phase: str, settings: str, state: Any, shares: Sequence[range]) -> Iterator[Any]:
            found = list(super().__call__(phase, settings, state, shares))
            yield from found[:-2]

    with pytest.raises(InputError, match=r"2 of 3 shares are missing, as their workers died"):
        dissect_layers(task, "scenes:33", None, **OPTIONS, elsewhere=Losing(task, "scenes:33", OPTIONS))


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_largest_values_of_parts_are_those_of_all(parts: int) -> None:
    A = torch.randn(21, 4, 3, 5).round(decimals=1)  # with ties
    whole, merged = TopValues((0.02, 0.1), 21 * 15), TopValues((0.02, 0.1), 21 * 15)
    whole.add(A, A.amax((2, 3)))
    for part in A.chunk(parts):
        own = TopValues((0.02, 0.1), 21 * 15)
        own.add(part, part.amax((2, 3)))
        merged.merge(own.kept())
    for one, other in zip(whole.thresholds(), merged.thresholds(), strict=True):
        assert torch.equal(one, other)

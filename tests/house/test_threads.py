import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

import vlx
from benchmarks import threads as workers
from tests.fakes import captioner, picture

THREADS, TURNS = 6, 4
OPTIONS: list[dict[str, Any]] = [
    {},
    {"method": "hirescam", "target": "logit"},
    {"caption": "a red dog on grass"},
    {"beams": 3, "method": "layercam"},
    {"caption": "a house", "target": "margin"},
]


def told(why: vlx.Explanation) -> list[Any]:
    """All numbers of an explanation."""
    return [
        why.text,
        [[word.label, word.score, word.logprob, word.seen] for word in [*why, why.sentence, *why.phrases]],
        np.concatenate([word.signed.ravel() for word in [*why, why.sentence]]),
        np.concatenate([word.weights.ravel() for word in [*why, why.sentence]]),
        np.concatenate([word.heatmap.ravel() for word in why]),
    ]


def same(one: list[Any], other: list[Any]) -> bool:
    arrays = all(np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(one[2:], other[2:], strict=True))
    numbers = [[entry[1:] for entry in told[1]] for told in (one, other)]
    labels = [[entry[0] for entry in told[1]] for told in (one, other)]
    return one[0] == other[0] and labels[0] == labels[1] and np.allclose(numbers[0], numbers[1], rtol=1e-6) and arrays


@pytest.mark.parametrize("kind", ["attention", "first", "unrolled"])
def test_threads_that_share_a_model_get_the_maps_that_one_gets(kind: str) -> None:
    jobs = [(n % 5, OPTIONS[(n + n // 5) % 5]) for n in range(10)]
    shown = [picture(seed, 30 + 3 * seed, 25 + 4 * seed) for seed in range(5)]
    alone = captioner(kind, torch.float64, end=None)
    wanted = [told(vlx.explain(alone, shown[seed], **options)) for seed, options in jobs]
    shared, barrier = captioner(kind, torch.float64, end=None), Barrier(THREADS)  # with nothing measured yet

    def hammer(thread: int) -> list[int]:
        barrier.wait()
        order = [(thread * 7 + turn * 3) % len(jobs) for turn in range(TURNS)]
        return [n for n in order if not same(told(vlx.explain(shared, shown[jobs[n][0]], **jobs[n][1])), wanted[n])]

    begin = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        wrong = list(pool.map(hammer, range(THREADS)))
    assert wrong == [[]] * THREADS
    assert time.perf_counter() - begin < 60


def test_a_thread_does_not_change_the_gradient_mode_of_another() -> None:
    task, barrier = captioner("attention"), Barrier(2)

    def explaining() -> None:
        barrier.wait()
        for seed in range(5):
            vlx.explain(task, picture(seed))

    def watching() -> list[bool]:
        modes = []
        with torch.no_grad():
            barrier.wait()
            for _ in range(200):
                modes.append(torch.is_grad_enabled() or torch.is_inference_mode_enabled())
                time.sleep(0.0001)
        return modes

    with ThreadPoolExecutor(2) as pool:
        seen = pool.submit(watching)
        pool.submit(explaining).result()
        assert not any(seen.result())


@pytest.fixture(scope="module")
def wanted() -> list[tuple[workers.Job, str]]:
    """Three explanations of drawn scenes, to the bit."""
    task = vlx.load("scenes/captioner")
    return [(job, workers.explained(task, job)) for job in workers.jobs(3)]


def test_threads_explain_to_the_bit_what_one_explains(wanted: list[tuple[workers.Job, str]]) -> None:
    fresh = vlx.load("scenes/captioner")  # with nothing measured yet
    assert workers.in_threads(fresh, wanted, 4) == 0
    broken = [(job, "another") for job, _ in wanted[:1]]
    assert workers.in_asyncio(fresh, broken + wanted[1:2], 2) == 2


FORKED = """
import torch, vlx
from benchmarks import threads
torch.set_num_threads(1)
task = vlx.load("scenes/captioner")
wanted = [(job, threads.explained(task, job)) for job in threads.jobs(1)]
torch.set_num_threads(2)  # which a fork does not have
threads.explained(task, wanted[0][0])
print("differ", threads.in_forks(task, wanted, 1))
assert torch.get_num_threads() == 2
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others do not fork by default")
def test_a_forked_process_explains_and_does_not_wait_for_its_parents_threads() -> None:
    root = Path(__file__).resolve().parents[2]
    arguments = [sys.executable, "-W", "ignore", "-c", FORKED]
    said = subprocess.run(arguments, cwd=root, capture_output=True, text=True, timeout=120)
    assert (said.returncode, said.stdout) == (0, "differ 0\n"), said.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cudnn_is_left_on_when_threads_meet_on_the_gpu() -> None:
    task, barrier = captioner("unrolled", end=None), Barrier(4)
    task.cnn.cuda()
    task.decoder.cuda()
    wanted = [told(vlx.explain(task, picture(seed)))[2] for seed in range(4)]

    def hammer(seed: int) -> list[Any]:
        barrier.wait()
        return [told(vlx.explain(task, picture(seed)))[2] for _ in range(8)]

    with ThreadPoolExecutor(4) as pool:
        for seed, found in enumerate(pool.map(hammer, range(4))):
            assert all(np.allclose(one, wanted[seed], rtol=1e-3, atol=1e-5) for one in found)
    assert torch.backends.cudnn.enabled


def test_reports_are_drawn_in_threads_as_alone(tmp_path: Path) -> None:
    task = captioner("attention")
    whys = [vlx.explain(task, picture(seed), caption=text) for seed, text in enumerate(("a red dog", "a house"))]

    def saved(why: vlx.Explanation, thread: int) -> list[bytes]:
        paths = [tmp_path / f"{thread}{ending}" for ending in (".html", ".png", ".json")]
        return [why.save(path).read_bytes() for path in paths]

    alone = [saved(why, 9) for why in whys]
    filters = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            found = list(pool.map(saved, whys * 2, range(4)))
            assert found == alone * 2
    assert warnings.filters == filters

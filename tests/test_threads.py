import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

import vlx
from tests.fakes import captioner, picture

THREADS, TURNS = 6, 6
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

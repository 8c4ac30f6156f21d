from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, cast

import numpy as np
import pytest
import torch

from tests.fakes import KINDS, Table, captioner, feature_map
from vlx.tasks.captioning.decoding import Generated, beam, greedy

END = 1
Rows = Callable[[tuple[int, ...]], Sequence[float]]


def random_rows(seed: int, sharpness: float = 2.0, words: int = 4) -> Rows:
    def rows(prefix: tuple[int, ...]) -> Sequence[float]:
        values = np.random.default_rng((seed, len(prefix), *prefix)).normal(0, sharpness, words)
        return cast(list[float], values.tolist())

    return rows


def logprob(rows: Rows, tokens: Sequence[int]) -> float:
    total = 0.0
    for step, token in enumerate(tokens):
        logits = np.array(rows(tuple(tokens[:step])))
        total += float(logits[token] - np.log(np.exp(logits).sum()))
    return total


def total(rows: Rows, found: Generated, longest: int, end: int | None = END) -> float:
    """The log-probability of all that was generated: END counts where the text stopped before its longest."""
    ended = end is not None and len(found.tokens) < longest
    return logprob(rows, (*found.tokens, end) if ended else found.tokens)  # type: ignore[arg-type]


def all_texts(longest: int, words: int = 4, end: int | None = END) -> list[tuple[int, ...]]:
    """Every sequence that generation can end with: END as its last token, or ``longest`` words."""
    others = [token for token in range(words) if token != end]
    whole = [text for text in product(others, repeat=longest)]
    ended = [(*text, end) for n in range(longest) for text in product(others, repeat=n)] if end is not None else []
    return whole + ended


def search(rows: Rows, longest: int, beams: int, end: int | None = END) -> Generated:
    table = Table(rows)
    return beam(table, table.start(torch.zeros(1, 1, 1, 1)), 0, end, longest, beams)


def first_choice(rows: Rows, longest: int, end: int | None = END) -> Generated:
    table = Table(rows)
    return greedy(table, table.start(torch.zeros(1, 1, 1, 1)), 1, 0, end, longest)[0]


@pytest.mark.parametrize("end", [END, None])
def test_a_wide_beam_finds_the_best_of_all_sequences(end: int | None) -> None:
    kinds = set()
    for seed in range(60):
        for longest in (1, 2, 3):
            rows = random_rows(seed)
            best = max(all_texts(longest, end=end), key=lambda text: logprob(rows, text))
            found = search(rows, longest, 64, end)
            stopped = bool(best) and best[-1] == end
            assert found.tokens == (best[:-1] if stopped else best), (seed, longest)
            assert found.logprobs.shape == (len(best), 4)  # with a row for END
            kinds.add((longest, stopped))
    assert len(kinds) == (6 if end == END else 3)


@pytest.mark.parametrize("end", [END, None])
def test_greedy_takes_the_likeliest_word_each_time(end: int | None) -> None:
    lengths = set()
    for seed in range(60):
        rows, wanted = random_rows(seed), list[int]()
        while len(wanted) < 5 and (not wanted or wanted[-1] != end):
            wanted.append(int(np.argmax(rows(tuple(wanted)))))
        found = first_choice(rows, 5, end)
        assert found.tokens == tuple(wanted[:-1] if wanted[-1] == end else wanted)
        assert found.logprobs.shape == (len(wanted), 4)  # with a row for END
        lengths.add(len(found.tokens))
    assert lengths >= ({0, 1, 5} if end == END else {5})


@pytest.mark.parametrize("end", [END, None])
def test_one_beam_is_greedy(end: int | None) -> None:
    for seed in range(60):
        rows = random_rows(seed, 1.0)
        assert search(rows, 5, 1, end).tokens == first_choice(rows, 5, end).tokens, seed


def test_more_beams_find_nothing_less_likely_than_greedy() -> None:
    better = 0
    for seed in range(60):
        rows = random_rows(seed, 1.0)
        plain, wide = (total(rows, found, 5) for found in (first_choice(rows, 5), search(rows, 5, 3)))
        assert wide >= plain - 1e-9, seed
        better += wide > plain + 1e-9
    assert better >= 10


def test_an_unlikely_end_does_not_beat_a_text_of_the_greatest_length() -> None:
    def rows(prefix: tuple[int, ...]) -> Sequence[float]:
        return [0.0, -9.0, 4.0, 0.0]

    assert search(rows, 3, 3).tokens == (2, 2, 2)


@pytest.mark.parametrize("beams", [1, 2, 3, 64])
def test_logprobs_are_those_of_the_steps_that_were_taken(beams: int) -> None:
    for seed in range(30):
        rows = random_rows(seed, 1.0)
        found = search(rows, 5, beams)
        for step in range(len(found.logprobs)):
            logits = torch.tensor(rows(found.tokens[:step])).double()
            assert torch.allclose(found.logprobs[step], logits.log_softmax(0), atol=1e-9)


def test_a_row_that_has_ended_is_not_disturbed_by_one_that_goes_on() -> None:
    lasting = {(): [0.0, -5, 3, 0], (2,): [0.0, -5, 0, 3], (2, 3): [0.0, 5, 0, 0]}
    brief: dict[tuple[int, ...], list[float]] = {(): [0.0, 1, 0, 4], (3,): [0.0, 7, 0, 0]}
    scripts: list[dict[tuple[int, ...], list[float]]] = [lasting, brief]

    class Two(Table):
        def step(self, tokens: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            prefixes = torch.cat([state, tokens[:, None]], 1)
            rows = [
                script.get(tuple(prefix[1:]), [0.0, 0, 9, 0])
                for script, prefix in zip(scripts, prefixes.tolist(), strict=True)
            ]
            return torch.tensor(rows), prefixes

    table = Two(lambda prefix: [])
    found = greedy(table, table.start(torch.zeros(2, 1, 1, 1)), 2, 0, END, 6)
    assert [one.tokens for one in found] == [(2, 3), (3,)]
    assert [len(one.logprobs) for one in found] == [3, 2]


@pytest.mark.parametrize("kind", [*KINDS, "logits", "unrolled"])
def test_networks_are_searched_like_tables(kind: str) -> None:
    task: Any = captioner(kind, torch.float64, end=1)
    A = feature_map(1)

    def rows(prefix: tuple[int, ...]) -> Sequence[float]:
        state = task.decoder.start(A)
        for token in (task.start, *prefix):
            hidden, state = task.decoder.step(torch.tensor([token]), state)
        logits = task.decoder.logits(hidden) if hasattr(task.decoder, "logits") else hidden
        return cast(list[float], logits[0].tolist())

    with torch.no_grad():
        best = max(all_texts(2, 10), key=lambda text: logprob(rows, text))
        wide = beam(task.decoder, task.decoder.start(A), task.start, 1, 2, 200)
        plain = greedy(task.decoder, task.decoder.start(A), 1, task.start, 1, 5)[0]
        narrow = beam(task.decoder, task.decoder.start(A), task.start, 1, 5, 1)
    assert wide.tokens == (best[:-1] if best[-1] == 1 else best)
    assert plain.tokens == narrow.tokens
    assert torch.allclose(plain.logprobs, narrow.logprobs, atol=1e-12)

"""Two CNNs along a line, explained by position: a beat in a noisy signal, and words that carry an opinion.

python -m examples.lines
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import vlx
from examples.fitting import fit, inside, right
from vlx.report import along
from vlx.tasks.beyond import Signal, Words

LENGTH, BEAT = 96, np.array([0.5, 1.5, 2.5, 1.5, -1.5, -2.5, -1.5, -0.5])
BEATS = ["upward", "downward", "none"]


def record(rng: np.random.Generator) -> tuple[NDArray[np.float64], int, NDArray[np.bool_]]:
    """A signal [L], its class, and the positions of the beat."""
    signal, truth, kind = rng.normal(0, 0.5, LENGTH).clip(-3.5, 3.5), np.zeros(LENGTH, bool), int(rng.integers(0, 3))
    start = int(rng.integers(0, LENGTH - len(BEAT)))
    if kind < 2:
        truth[start : start + len(BEAT)] = True
        signal[truth] += BEAT if kind == 0 else -BEAT
    return signal.clip(-4, 4), kind, truth


def signals(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Signals [count, 1, L] and their classes."""
    given, kinds, _ = zip(*(record(rng) for _ in range(count)), strict=True)
    return torch.from_numpy(np.stack(given))[:, None].float(), torch.tensor(kinds)


class Largest(nn.Module):
    """The largest value of each unit anywhere."""

    def forward(self, maps: Tensor) -> Tensor:
        """[B, K, n] → [B, K]."""
        return maps.amax(2)


def signal_net(steps: int = 250) -> nn.Module:
    """A network that has learnt to tell beats."""
    net = nn.Sequential(
        nn.Conv1d(1, 12, 5, 1, 2), nn.ReLU(), nn.Conv1d(12, 16, 5, 2, 2), nn.ReLU(), Largest(), nn.Linear(16, 3)
    )
    return fit(net, signals, steps, rate=1e-2)


GOOD, BAD = "good great lovely fine warm".split(), "bad awful cold stale poor".split()
PLAIN = "the food was we came and then they left it a table by window with some bread".split()
WORDS = ["<pad>", "not", *GOOD, *BAD, *PLAIN]
OPINIONS = ["praise", "blame"]


def write(rng: np.random.Generator) -> tuple[list[str], int, NDArray[np.bool_]]:
    """Twelve words, the opinion in them, and which of them carry it: "not good" is blame."""
    words, opinion, turned = list(rng.choice(PLAIN, 12)), int(rng.integers(0, 2)), bool(rng.integers(0, 2))
    place, truth = int(rng.integers(1, 12)), np.zeros(12, bool)
    words[place] = str(rng.choice(GOOD if (opinion == 0) != turned else BAD))
    truth[place] = True
    if turned:
        words[place - 1] = "not"
        truth[place - 1] = True
    return [str(word) for word in words], opinion, truth


def numbers(words: list[str]) -> list[int]:
    """The numbers of words."""
    return [WORDS.index(word) for word in words]


def texts(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Token numbers [count, 12] and opinions."""
    written, opinions, _ = zip(*(write(rng) for _ in range(count)), strict=True)
    return torch.tensor([numbers(words) for words in written]), torch.tensor(opinions)


class Reader(nn.Module):
    """A text CNN (1408.5882): embedding, one convolution over three words, the largest value of each unit."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv = nn.Embedding(len(WORDS), 12), nn.Conv1d(12, 24, 3, padding=1)
        self.judge = nn.Linear(24, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L] → [B, 2]."""
        logits: Tensor = self.judge(torch.relu(self.conv(self.embed(tokens).mT)).amax(2))
        return logits


def text_net(steps: int = 200) -> nn.Module:
    """A network that has learnt to tell opinions."""
    return fit(Reader(), texts, steps, rate=1e-2)


def measured(task: Signal | Words, count: int = 24, method: str = "layercam") -> dict[str, float]:
    """The share of maps on the beat or the words that carry the opinion, a position more or less; and chance."""
    rng, shares = np.random.default_rng(2), list[tuple[float, float]]()
    while len(shares) < count:
        if isinstance(task, Signal):
            given, kind, truth = record(rng)
            answer, picture = BEATS[kind], task.picture(given)
        else:
            words, kind, truth = write(rng)
            answer, picture = OPINIONS[kind], task.picture(numbers(words))
        if truth.any():
            why = vlx.explain(task, picture, answer=answer, target="logit", seen=False, check=False, method=method)
            around = truth | np.roll(truth, 1) | np.roll(truth, -1)
            shares.append(inside(np.maximum(along.positions(why[0], len(truth)), 0), around))
    on, chance = np.mean(shares, 0)
    return {"on it": float(on), "by chance": float(chance)}


def main() -> None:
    """Train, explain, measure; write signal.png and text.html."""
    net, reader = signal_net(), text_net()
    task, text = Signal(net, "3", BEATS, span=(-4, 4)), Words(reader, "conv", OPINIONS, size=len(WORDS))
    given, words = record(np.random.default_rng(3))[0], write(np.random.default_rng(5))[0]
    along.signal(vlx.explain(task, task.picture(given))[0], given).savefig("signal.png")
    why = vlx.explain(text, text.picture(numbers(words)))
    with open("text.html", "w", encoding="utf-8") as page:
        page.write(f"<meta charset=utf-8><p>{why.text}: {along.words(why[0], words)}")
    print(f"signals right {right(net, signals):.1%}", measured(task))
    print(f"texts right {right(reader, texts):.1%}", measured(text))


if __name__ == "__main__":
    main()

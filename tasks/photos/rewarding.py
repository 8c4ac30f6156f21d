"""The last stage of training: captions that the captioner draws are rewarded for being like people's.

What a word-by-word loss never sees is a caption as a whole, and such a captioner says "a jacket and a jacket". Several
captions are drawn of each photograph; those that are more like people's than the others of the same photograph become
likelier (Rennie et al. 2017, 1612.00563, with the mean of the other captions for a baseline, Luo 2020, 2003.09971).
"""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlx.files.whole import replacing
from vlx.tasks.photos.network import PhotoDecoder
from vlx.tasks.photos.teaching import Detector, Forced, Lesson, detection, off_place
from vlx.tasks.photos.vocabulary import END, START

DRAWN = 5  # captions of a photograph
LONGEST = 18  # words of one
GENTLE = 0.3  # weight of what the cells and the attention were taught before
RATE, WARM = 2e-4, 20  # highest learning rate; steps in which it rises
CLIP = 1.0
SEED = 1


def ordered(names: Sequence[str]) -> list[str]:
    """The order in which photographs are met, again and again."""
    order = list(names)
    random.Random(SEED).shuffle(order)
    return order


def rate(step: int, steps: int) -> float:
    """The learning rate of a step: up, then down to a fiftieth."""
    return RATE * min(1, (step + 1) / WARM) * (1 - step / steps + 0.02)


@torch.no_grad()
def drawn(decoder: PhotoDecoder, A: Tensor) -> list[list[int]]:
    """Five captions of each picture, drawn word by word by their p; without END, which a cut one never had."""
    state = tuple(part.repeat_interleave(DRAWN, 0) for part in decoder.start(A))
    tokens = torch.full((len(A) * DRAWN,), START)
    ended, steps = torch.zeros(len(tokens), dtype=torch.bool), list[Tensor]()
    while len(steps) < LONGEST and not ended.all():
        hidden, state = decoder.step(tokens, state)
        tokens = torch.multinomial(decoder.logits(hidden).float().softmax(1), 1)[:, 0]
        tokens[ended] = END
        steps.append(tokens)
        ended |= tokens == END
    return [row[: row.index(END)] if END in row else row for row in torch.stack(steps, 1).tolist()]


def advantages(rewards: Tensor) -> Tensor:
    """Rewards [B, C] of C captions a picture → by how much each is above the mean of the others, in deviations."""
    others = (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
    return (rewards - others) / (rewards.std() + 1e-6)


def loss(
    decoder: PhotoDecoder,
    detector: Detector,
    A: Tensor,
    captions: Sequence[Sequence[int]],
    better: Tensor,
    told: Lesson,
) -> Tensor:
    """What is made smaller: drawn ``captions`` (B · C) by how much ``better`` [B, C] they are; ``told`` is people's."""
    texts = [[START, *one, END] if len(one) < LONGEST else [START, *one] for one in captions]
    lesson = Lesson.of([texts[first : first + DRAWN] for first in range(0, len(texts), DRAWN)])
    cells = A.flatten(2).transpose(1, 2)
    forced = Forced.of(decoder, cells, lesson)
    worth = better[:, :, None].expand(lesson.said.shape).flatten()[lesson.asked]
    spotted = detector(decoder, cells).float()
    taught = detection(spotted, detector, told) + off_place(spotted, detector, forced)
    return (functional.cross_entropy(forced.logits, forced.said, reduction="none") * worth).mean() + GENTLE * taught


class Course:
    """The steps of the last lesson, kept in ``out / "rewarded.pt"`` every 150: a run that is stopped goes on there."""

    KEPT = "rewarded.pt"
    EVERY = 150

    def __init__(self, out: Path, networks: nn.Module, parameters: Sequence[nn.Parameter], steps: int) -> None:
        self.out, self.networks, self.parameters, self.steps = out, networks, list(parameters), steps
        self.optimizer = torch.optim.AdamW(self.parameters, RATE, weight_decay=1e-4)

    def resume(self) -> int:
        """How many steps are done; the random numbers go on where they were."""
        path = self.out / self.KEPT
        if not path.is_file():
            torch.manual_seed(SEED)
            return 0
        state = torch.load(path, weights_only=True)
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        return int(state["done"])

    def step(self, number: int, penalty: Tensor) -> None:
        """One step on a loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate(number, self.steps)
        self.optimizer.zero_grad()
        penalty.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()

    def keep(self, done: int) -> bool:
        """Write what `resume` needs, whole or not at all, where it is time to; whether it was."""
        if done % self.EVERY and done != self.steps:
            return False
        state = {"done": done, "networks": self.networks.state_dict(), "optimizer": self.optimizer.state_dict()}
        with replacing(self.out / self.KEPT) as partial:
            torch.save({**state, "random": torch.get_rng_state()}, partial)
        return True

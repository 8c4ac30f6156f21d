"""Which method points at the right thing in a decoder with cross-attention? ``python -m benchmarks.cross_attention``.

A BLIP text decoder (transformers' own, 3 layers of 128) learns to caption drawn scenes from the feature map of
scenes/captioner's CNN, which stays as it is, by its captions alone: nobody tells it where to look. What the words speak
of is known to the pixel, so every method can be measured. Training takes some 6 minutes of one core.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import click
import numpy as np
import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

import vlx
from benchmarks.clock import console_for_tables
from vlx import attention, engine, scenes
from vlx.attention import ATTENTION_METHODS, AttentionMethod, Layers
from vlx.evaluation.cases import Case, cases_of
from vlx.evaluation.pointing import hit, peaks_of
from vlx.frames import measure_frame
from vlx.geometry import Placement
from vlx.task import Features
from vlx.tasks.captioning.blip import FAMILY
from vlx.tasks.captioning.transformer import TransformerCaptioner
from vlx.weighting import METHODS

SIDE, WIDTH, BATCH = 128, 128, 64
PAD, START, END = 0, 1, 2
HELD_OUT = 10_000_000
RATE = 2e-3


class Tower(nn.Module):
    """The CNN's map [B, K, h, w] as tokens [B, 1 + h·w, WIDTH], as a ViT's: a class token, cells with their places."""

    config = None

    def __init__(self, cnn: nn.Module, A: Tensor) -> None:
        super().__init__()
        self.cnn = cnn
        self.norm = nn.BatchNorm2d(A.shape[1], affine=False)
        self.project, self.last = nn.Linear(A.shape[1], WIDTH), nn.LayerNorm(WIDTH)
        self.places = nn.Parameter(0.3 * torch.randn(1, A[0, 0].numel(), WIDTH))
        self.first = nn.Parameter(0.3 * torch.randn(1, 1, WIDTH))

    def tokens(self, A: Tensor) -> Tensor:
        """Tokens of the CNN's map."""
        cells: Tensor = self.last(self.project(self.norm(A).flatten(2).transpose(1, 2)) + self.places)
        return torch.cat([self.first.expand(len(A), -1, -1), cells], 1)

    def forward(self, pixel_values: Tensor, **_: Any) -> Any:
        """As a tower of transformers."""
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=self.tokens(self.cnn(pixel_values)))


class Captioner(nn.Module):
    """Tower and decoder under the names that BLIP gives them."""

    def __init__(self, tower: Tower, words: int) -> None:
        super().__init__()
        from transformers import BlipTextConfig
        from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel

        text = BlipTextConfig(
            vocab_size=words,
            hidden_size=WIDTH,
            encoder_hidden_size=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=2 * WIDTH,
            max_position_embeddings=32,
            bos_token_id=START,
            sep_token_id=END,
            pad_token_id=PAD,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.vision_model, self.text_decoder = tower, BlipTextLMHeadModel(text)
        self.config = type("Config", (), {"text_config": text})()

    def loss(self, A: Tensor, ids: Tensor) -> Tensor:
        """Cross-entropy of captions [B, L] with START and END, by the CNN's map."""
        given, wanted = ids[:, :-1], ids[:, 1:]
        seen = self.vision_model.tokens(A)
        logits = self.text_decoder(
            input_ids=given, attention_mask=torch.ones_like(given), encoder_hidden_states=seen, use_cache=False
        ).logits
        return F.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=PAD)


def maps_and_captions(count: int) -> tuple[Tensor, list[str], Any]:
    """The CNN's maps float16 [N, K, h, w] of the first scenes, their captions, and the captioner that they are from."""
    task: Any = vlx.load("scenes/captioner")
    maps, captions = [], []
    for first in track(range(0, count, 50), "drawing and seeing scenes"):
        drawn = [scenes.draw(seed, size=SIDE) for seed in range(first, min(first + 50, count))]
        maps.append(task.features(torch.stack([task.prepare(scene.image) for scene in drawn])).A.half())
        captions += [scene.caption for scene in drawn]
    return torch.cat(maps), captions, task


def trained(count: int, passes: int) -> TransformerCaptioner:
    """The captioner after so many passes over so many scenes."""
    from transformers import BertTokenizer

    A, captions, source = maps_and_captions(count)
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *source.vocabulary[2:]]
    ids = torch.zeros(count, 2 + max(len(caption.split()) for caption in captions), dtype=torch.long)
    for row, caption in zip(ids, captions, strict=True):
        tokens = [START, *(words.index(word) for word in caption.split()), END]
        row[: len(tokens)] = torch.tensor(tokens)
    torch.manual_seed(0)
    model = Captioner(Tower(source.cnn, A), len(words))
    model.vision_model.cnn.requires_grad_(False)
    _fit(model, A, ids, passes)
    tokenizer = BertTokenizer(vocab={word: token for token, word in enumerate(words)})

    def processor(images: Any, **_: Any) -> dict[str, Tensor]:
        return {"pixel_values": source.prepare(images)[None]}

    return TransformerCaptioner(model.eval(), processor, tokenizer, FAMILY, name="BLIP decoder on drawn scenes")


def _fit(model: Captioner, A: Tensor, ids: Tensor, passes: int) -> None:
    learned = [weights for weights in model.parameters() if weights.requires_grad]
    steps = passes * (len(A) // BATCH)
    optimizer = torch.optim.AdamW(learned, RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    model.train()
    model.vision_model.cnn.eval()
    for _ in track(range(passes), "passes"):
        for chosen in torch.randperm(len(A))[: len(A) // BATCH * BATCH].view(-1, BATCH):
            loss = model.loss(A[chosen].float(), ids[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            schedule.step()


def variants() -> Iterator[AttentionMethod]:
    """Ours, and what it might have been."""

    def summed(layers: Layers, gradients: Layers, queries: Tensor, first: int = 0, *, signed: bool = False) -> Tensor:
        pairs = list(zip(layers, gradients, strict=True))[first:]
        kept = [(p, g if signed else g.clamp(min=0)) for p, g in pairs]
        return torch.stack([torch.einsum("nhqk,nhqk,nq->nk", p, g, queries) for p, g in kept]).sum(0)

    def everywhere(layers: Layers, gradients: Layers, queries: Tensor) -> Tensor:
        return summed(layers, gradients, torch.ones_like(queries))

    def plain(layers: Layers, gradients: Layers, queries: Tensor) -> Tensor:
        return torch.stack([torch.einsum("nhqk,nq->nk", p, queries) for p in layers]).sum(0)

    yield ATTENTION_METHODS["gradattention"]
    yield AttentionMethod("… negative gradients kept", partial(summed, signed=True), True, False, "", "")
    yield AttentionMethod("… last layer only", partial(summed, first=-1), False, False, "", "")
    yield AttentionMethod("… all words' queries", everywhere, False, False, "", "")
    yield AttentionMethod("attention without gradient", plain, False, False, "", "")


def measured(task: TransformerCaptioner, count: int) -> dict[tuple[str, str, str], list[float]]:
    """Hits by (method, target, group) over held-out scenes, their captions forced."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for first in track(range(0, count, 10), "pointing"):
        drawn = [scenes.draw(HELD_OUT + n, size=SIDE) for n in range(first, min(first + 10, count))]
        features = task.features(torch.stack([task.prepare(scene.image) for scene in drawn]))
        placement = Placement(features.grid, measure_frame(task.prepare, (SIDE, SIDE)))
        cases = cases_of(task, features, drawn)
        for case in cases:
            found["random point", "", case.group].append(float(case.mask.mean()))
        for kind in ("logprob", "logit"):
            for name, maps in _maps(task, features, cases, kind):
                for case, peak in zip(cases, peaks_of(maps), strict=True):
                    found[name, kind, case.group].append(hit(case, peak, placement))
    return found


def _maps(task: Any, features: Features, cases: list[Case], kind: Any) -> Iterator[tuple[str, Tensor]]:
    targets = [case.target(kind) for case in cases]
    _, gradient = engine.gradients(task, features.A, targets, features.rest)
    for method in METHODS.values():
        yield method.name, method.map(features.A[[case.row for case in cases]], gradient)
    for variant in variants():
        yield variant.name, attention.attribute(task, features.A, targets, variant, features.rest).signed


@click.command()
@click.option("--scenes", "count", default=6000, show_default=True, help="Scenes to train on.")
@click.option("--passes", default=8, show_default=True, help="Passes over them.")
@click.option("--n", default=200, show_default=True, help="Held-out scenes.")
def main(count: int, passes: int, n: int) -> None:
    """Train a decoder with cross-attention, then measure methods on what its words speak of."""
    found = measured(trained(count, passes), n)
    groups = sorted({group for _, _, group in found})
    table = Table("method", "target", *groups, box=None)
    for name, kind in dict.fromkeys((name, kind) for name, kind, _ in found):
        table.add_row(name, kind, *(f"{np.mean(found[name, kind, group]):.3f}" for group in groups))
    console_for_tables().print(table)


if __name__ == "__main__":
    main()

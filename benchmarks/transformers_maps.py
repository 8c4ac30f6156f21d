"""Which method points at the right thing in a transformer? ``python -m benchmarks.transformers_maps [--family git]``.

The text half of BLIP (cross-attention) or of GIT (one stream), transformers' own with 3 layers of 128, learns to
caption drawn scenes from the feature map of scenes/captioner's CNN, which stays as it is, by its captions alone: nobody
tells it where to look. What the words speak of is known to the pixel, so every method can be measured. Training takes
some 6 minutes of one core for BLIP's, more for GIT's.
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
from vlx import scenes
from vlx.data import SceneData
from vlx.evaluation.cases import Case, Reading, cases_of
from vlx.evaluation.metrics.pointing import hit, peaks_of
from vlx.evaluation.shown import maps_of
from vlx.methods import attention
from vlx.methods.attention import AttentionWeighting, Layers
from vlx.pictures.placement import Placement
from vlx.pictures.prepare import measure_frame
from vlx.protocol.task import Features
from vlx.tasks.captioning import blip, git
from vlx.tasks.huggingface.captioner import CaptionerFamily, TransformerCaptioner

FAMILIES = {"blip": blip.FAMILY, "git": git.FAMILY}
SIDE, CELLS, WIDTH, BATCH = 128, 16, 128, 64
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
        """As a tower of transformers; of tokens [B, 1, T, WIDTH] these themselves."""
        from transformers.modeling_outputs import BaseModelOutput

        there = pixel_values.shape[1] == 1
        return BaseModelOutput(last_hidden_state=pixel_values[:, 0] if there else self.tokens(self.cnn(pixel_values)))


def model_of(family: str, tower: Tower, words: int) -> Any:
    """A small model of the family that sees with ``tower``."""
    import transformers as hf

    sizes = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4}
    vision = {**sizes, "num_hidden_layers": 1, "image_size": SIDE, "patch_size": SIDE // CELLS}
    text: dict[str, Any] = {**sizes, "num_hidden_layers": 3, "vocab_size": words, "max_position_embeddings": 32}
    text |= {"bos_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
    text |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model: Any
    if family == "git":
        model = hf.GitForCausalLM(hf.GitConfig(vision_config=vision, **text))
        model.git.image_encoder = tower
    else:
        text |= {"encoder_hidden_size": WIDTH, "sep_token_id": END}
        model = hf.BlipForConditionalGeneration(hf.BlipConfig(text_config=text, vision_config=vision))
        model.vision_model = tower
    return model


def maps_and_captions(count: int) -> tuple[Tensor, list[str], Any]:
    """The CNN's maps float16 [N, K, h, w] of the first scenes, their captions, and the captioner that they are from."""
    task: Any = vlx.load("scenes/captioner")
    maps, captions = [], []
    for first in track(range(0, count, 50), "drawing and seeing scenes"):
        drawn = [scenes.draw(seed, size=SIDE) for seed in range(first, min(first + 50, count))]
        maps.append(task.features(torch.stack([task.prepare(scene.image) for scene in drawn])).A.half())
        captions += [scene.caption for scene in drawn]
    return torch.cat(maps), captions, task


def trained(family: str, count: int, passes: int) -> TransformerCaptioner:
    """The captioner after so many passes over so many scenes."""
    from transformers import BertTokenizer

    A, captions, source = maps_and_captions(count)
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *source.vocabulary[2:]]
    ids = torch.zeros(count, 2 + max(len(caption.split()) for caption in captions), dtype=torch.long)
    for row, caption in zip(ids, captions, strict=True):
        tokens = [START, *(words.index(word) for word in caption.split()), END]
        row[: len(tokens)] = torch.tensor(tokens)
    torch.manual_seed(0)
    tower = Tower(source.cnn.requires_grad_(False), A)
    model = model_of(family, tower, len(words))
    _fit(model, tower, FAMILIES[family], A, ids, passes)
    tokenizer = BertTokenizer(vocab={word: token for token, word in enumerate(words)})

    def processor(images: Any, **_: Any) -> dict[str, Tensor]:
        return {"pixel_values": source.prepare(images)[None]}

    return TransformerCaptioner(model.eval(), processor, tokenizer, FAMILIES[family], name=f"{family} on drawn scenes")


def _fit(model: Any, tower: Tower, family: CaptionerFamily, A: Tensor, ids: Tensor, passes: int) -> None:
    learned = [weights for weights in model.parameters() if weights.requires_grad]
    steps = passes * (len(A) // BATCH)
    optimizer = torch.optim.AdamW(learned, RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    model.train()
    tower.cnn.eval()
    for number in track(range(passes), "passes"):
        right = asked = 0
        for chosen in torch.randperm(len(A))[: len(A) // BATCH * BATCH].view(-1, BATCH):
            given, wanted = ids[chosen, :-1], ids[chosen, 1:]
            logits = family.logits(model, tower.tokens(A[chosen].float()), given, False)[0]
            loss = F.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=PAD)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            schedule.step()
            right += int((logits.argmax(-1) == wanted)[wanted != PAD].sum())
            asked += int((wanted != PAD).sum())
        click.echo(f"pass {number + 1}: {right / asked:.1%} of words right")


def variants() -> Iterator[AttentionWeighting]:
    """What gradattention might have been."""

    def summed(layers: Layers, gradients: Layers, queries: Tensor, first: int = 0, *, signed: bool = False) -> Tensor:
        pairs = list(zip(layers, gradients, strict=True))[first:]
        kept = [(p, g if signed else g.clamp(min=0)) for p, g in pairs]
        return torch.stack([torch.einsum("nhqk,nhqk,nq->nk", p, g, queries) for p, g in kept]).sum(0)

    def everywhere(layers: Layers, gradients: Layers, queries: Tensor) -> Tensor:
        return summed(layers, gradients, torch.ones_like(queries))

    def plain(layers: Layers, _gradients: Layers, queries: Tensor) -> Tensor:
        return torch.stack([torch.einsum("nhqk,nq->nk", p, queries) for p in layers]).sum(0)

    yield AttentionWeighting(
        "gradattention, negative gradients kept", partial(summed, signed=True), True, False, "", ""
    )
    yield AttentionWeighting("gradattention, last layer only", partial(summed, first=-1), False, False, "", "")
    yield AttentionWeighting("gradattention, all words' queries", everywhere, False, False, "", "")
    yield AttentionWeighting("attention without gradient", plain, False, False, "", "")


def measured(task: TransformerCaptioner, count: int) -> dict[tuple[str, str, str], list[float]]:
    """Hits by (method, target, group) over held-out scenes, their captions forced."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    data = SceneData(count, HELD_OUT, SIDE)
    reading = Reading(task, data)
    for first in track(range(0, count, 10), "pointing"):
        drawn = [data[n] for n in range(first, min(first + 10, count))]
        features = task.features(torch.stack([task.prepare(example.image) for example in drawn]))
        placement = Placement(features.grid, measure_frame(task.prepare, (SIDE, SIDE)))
        cases = cases_of(reading, features, drawn)
        for case in cases:
            found["random point", "", case.group].append(float(case.mask.mean()))
        for kind in ("logprob", "logit"):
            for name, maps in _maps(task, features, cases, kind):
                for case, peak in zip(cases, peaks_of(maps), strict=True):
                    found[name, kind, case.group].append(hit(case, peak, placement))
    return found


def _maps(task: Any, features: Features, cases: list[Case], kind: Any) -> Iterator[tuple[str, Tensor]]:
    targets = [case.target(kind) for case in cases]
    yield from maps_of(task, features, targets)
    for variant in variants():
        yield variant.name, attention.attribute(task, features.A, targets, variant, features.rest).signed


@click.command()
@click.option("--family", type=click.Choice(list(FAMILIES)), default="blip", show_default=True, help="Whose text half.")
@click.option("--scenes", "count", default=6000, show_default=True, help="Scenes to train on.")
@click.option("--passes", default=8, show_default=True, help="Passes over them.")
@click.option("--n", default=200, show_default=True, help="Held-out scenes.")
def main(family: str, count: int, passes: int, n: int) -> None:
    """Train the text half of a transformer, then measure methods on what its words speak of."""
    found = measured(trained(family, count, passes), n)
    groups = sorted({group for _, _, group in found})
    table = Table("method", "target", *groups, box=None)
    for name, kind in dict.fromkeys((name, kind) for name, kind, _ in found):
        table.add_row(name, kind, *(f"{np.mean(found[name, kind, group]):.3f}" for group in groups))
    console_for_tables().print(table)


if __name__ == "__main__":
    main()

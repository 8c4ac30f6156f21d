"""What maps of all words cost at the size of a real BLIP, beside the caption alone: ``python -m benchmarks.blip``.

BLIP-base's configuration (86 M parameters see 384 × 384 pixels in 24 × 24 patches, 138 M write), random weights, a
caption of 12 tokens. "Caption alone" is transformers' own ``generate``. All ways take the same picture.
"""

import resource
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click
import torch
from rich.table import Table
from torch import Tensor

import vlx
from benchmarks.clock import added_memory, console_for_tables, memory_is_measurable, restart_settled, round_robin
from benchmarks.model import picture
from vlx.methods import attention, engine
from vlx.methods.attention import ATTENTION_METHODS
from vlx.methods.cams import METHODS
from vlx.protocol.targets import GradientWay, Query, Target, word_target
from vlx.protocol.task import Features
from vlx.tasks.captioning.blip import adapter
from vlx.tasks.huggingface.captioner import TransformerCaptioner

TOKENS = 12
SIDE = 384
LIMIT = 3.0
GAIN = 1.3
OURS = "caption + maps, gradient × cross-attention"
ALONE = "caption alone, transformers"
LOOPED = "Grad-CAM, one run and backward a word"
BATCHED = "Grad-CAM, one vectorised backward"


def subject() -> TransformerCaptioner:
    """The same network every time; generation cannot end before its 12 tokens, which are words of one token each."""
    import transformers

    torch.manual_seed(0)
    config: Any = transformers.BlipConfig()
    model: Any = transformers.BlipForConditionalGeneration(config)
    model.eval()
    model.text_decoder.generation_config.min_new_tokens = TOKENS
    ids = {"[PAD]": 0, "[CLS]": 101, "[SEP]": 102, "[UNK]": 100}
    words = {f"w{n}": n for n in range(config.text_config.vocab_size) if n not in ids.values()}
    tokenizer = transformers.BertTokenizer(vocab={**ids, **words})
    processor = transformers.BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    task = adapter(model, processor, tokenizer, name="BLIP-base, random")
    task.longest = TOKENS
    return task


def stock_caption(task: TransformerCaptioner) -> Tensor:
    """A caption as users of transformers ask for it."""
    inputs = task.place(task.prepare(picture())[None])
    model: torch.nn.Module = task.model
    found: Tensor = model.generate(inputs, max_new_tokens=TOKENS, num_beams=1, do_sample=False)  # type: ignore[operator]
    return found


def said(task: TransformerCaptioner) -> tuple[Features, list[Target]]:
    """The features of the picture and a target for each word of its caption."""
    features = task.features(task.place(task.prepare(picture())[None]))
    prediction = task.predict(features, [Query()])[0]
    return features, [word_target(prediction, n, 0, "logprob") for n in range(len(prediction.words))]


def explained(task: TransformerCaptioner) -> Tensor:
    """Caption and a map for each word by the default method."""
    features, targets = said(task)
    method = ATTENTION_METHODS["gradattention"]
    return attention.attribute(task, features.A, targets, method, features.rest).signed


def gradcam(task: TransformerCaptioner, features: Features, targets: Sequence[Target], way: GradientWay) -> Tensor:
    """Grad-CAM of all words at features that are there."""
    return engine.attribute(task, features.A, targets, METHODS["gradcam"], features.rest, way=way).signed


def looped(task: TransformerCaptioner, features: Features, targets: Sequence[Target]) -> Tensor:
    """Grad-CAM as a loop over words writes it: the decoder is run and differentiated for each."""
    return torch.cat([gradcam(task, features, [target], "loop") for target in targets])


def ways(task: TransformerCaptioner) -> dict[str, Callable[[], object]]:
    """From the bare caption to everything that `vlx.explain` gives."""
    features, targets = said(task)
    return {
        ALONE: partial(stock_caption, task),
        "caption by vlx": partial(said, task),
        OURS: partial(explained, task),
        "vlx.explain, everything": lambda: vlx.explain(task, picture()),
        BATCHED: partial(gradcam, task, features, targets, "batched"),
        "Grad-CAM, one run, a backward a word": partial(gradcam, task, features, targets, "loop"),
        "Grad-CAM, A in rows": partial(gradcam, task, features, targets, "rows"),
        LOOPED: partial(looped, task, features, targets),
    }


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Timed rounds.")
def main(rounds: int) -> None:
    """The cost of a map for every word of a caption at BLIP-base's size."""
    task = subject()
    console = console_for_tables()
    added = added_memory(partial(stock_caption, task), partial(explained, task)) if memory_is_measurable() else None
    known = ways(task)
    times = round_robin(known, rounds)
    base = times[ALONE].median
    table = Table("way", "s", "× caption", box=None)
    for name, t in times.items():
        table.add_row(name, f"{t.median:.2f}", f"{t.median / base:.2f}")
    console.print(
        f"BLIP-base, {TOKENS} words, {SIDE} px; median CPU time of {rounds} rounds, torch {torch.__version__}"
    )
    console.print(table)
    cost, gain = times[OURS].median / base, times[LOOPED].median / times[BATCHED].median
    console.print(f"caption + maps ÷ caption: {cost:.2f} (≤ {LIMIT}: {'pass' if cost <= LIMIT else 'FAIL'})")
    console.print(f"a loop over words ÷ Grad-CAM: {gain:.2f} (≥ {GAIN}: {'pass' if gain >= GAIN else 'FAIL'})")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    console.print(f"peak memory of the process, weights included: {peak:.1f} GB")
    if added is not None:
        console.print(f"peak memory that the maps add to the caption's: {added:.0f} MB")


if __name__ == "__main__":
    restart_settled("benchmarks.blip")
    main()

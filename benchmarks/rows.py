"""Attention row by row, what it costs: ``python -m benchmarks.rows speed | memory | threads``.

A LLaVA of transformers with random weights (6 layers of 256, 8 heads) answers with 12 tokens, each a word.

``speed``: the default method's words and maps (the vision part once) against the stock model's ``generate`` from the
picture, and the same words by one backward each. 256 image tokens. ``memory``: the peak that the maps of T words add to
that of one word, with 1,024 and 2,025 image tokens, each in a process of its own. ``threads``: two threads explain
pictures of different grids with one tiny Qwen2-VL; explanations that differ from those made alone.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from rich.table import Table
from torch import Tensor

import vlx
from benchmarks.clock import added_memory, console_for_tables, round_robin, slope
from vlx.methods import registry
from vlx.methods.method import Site
from vlx.protocol.targets import Query, Target, word_target
from vlx.tasks.huggingface.loading import wrap

WORDS, ROUNDS = 12, 5
SIDE, SIDES = 16, (32, 45)  # image tokens a side: of the speed, of the memory
MOST = (1, 12, 24, 48)  # words of the memory's growth
PATCH, UNITS, LAYERS, KNOWN = 8, 256, 6, 8000
QUESTION = "what color is the house?"
LIMIT = 1.7  # × generate: words and maps


def llava(side: int, words: int) -> Any:
    """A task whose pictures are side × side tokens, and whose answers are so many tokens."""
    import transformers as hf

    from vlx.tasks.huggingface.tiny import build

    _, processor = build("llava")
    pixels, tokenizer = side * PATCH, processor.tokenizer
    images = hf.CLIPImageProcessor(size={"shortest_edge": pixels}, crop_size={"height": pixels, "width": pixels})
    processor.image_processor = images
    sizes = {"hidden_size": UNITS, "intermediate_size": 688, "num_hidden_layers": LAYERS, "num_attention_heads": 8}
    end = tokenizer.eos_token_id
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=pixels,
            patch_size=PATCH,
        ),
        text_config=hf.LlamaConfig(**sizes, **ends, vocab_size=KNOWN, max_position_embeddings=4096),
        image_token_id=tokenizer.convert_tokens_to_ids(processor.image_token),
    )
    torch.manual_seed(0)
    model = hf.LlavaForConditionalGeneration(config).eval().requires_grad_(False)
    for weight in model.model.language_model.parameters():
        weight.mul_(3 if weight.dim() > 1 else 1)
    plain = {place for name, place in tokenizer.get_vocab().items() if name[0] == "Ġ" and name[1:].isalpha()}
    model.generation_config.suppress_tokens = [token for token in range(KNOWN) if token not in plain]
    task: Any = wrap(model, processor, name="llava")
    task.longest = words
    return task


def picture(width: int = 90, height: int = 60, seed: int = 0) -> Image.Image:
    """Noise."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype("uint8"))


def seen(task: Any) -> Tensor:
    """The picture as the model has it."""
    inputs: Tensor = task.place(task.prepare(picture())[None])
    return inputs


def answered(task: Any, inputs: Tensor) -> tuple[Any, list[Target]]:
    """The features of a picture, and the words of the answer."""
    features = task.features(inputs)
    said = task.predict(features, [Query(question=QUESTION)])[0]
    return features, [word_target(said, n, 0, "logprob") for n in range(len(said.words))]


def mapped(task: Any, inputs: Tensor, method: str) -> Tensor:
    """Words and maps, from the picture as it is prepared."""
    features, targets = answered(task, inputs)
    site, own = Site.of(task, features, targets, inputs)
    return registry.choose(method).attributed(task, site, own).signed


@click.group()
def main() -> None:
    """What attention row by row costs."""
    torch.set_num_threads(1)


@main.command()
@click.option("--rounds", default=ROUNDS)
@click.option("--json", "as_json", is_flag=True)
def speed(rounds: int, as_json: bool) -> None:
    """Words and maps against generate."""
    task = llava(SIDE, WORDS)
    inputs, given = seen(task), task.given(picture(), Query(question=QUESTION))
    options = {"max_new_tokens": WORDS, "min_new_tokens": WORDS, "do_sample": False}
    ways: dict[str, Callable[[], object]] = {
        "generate": lambda: task.model.generate(**given, **options),
        "words alone": partial(answered, task, inputs),
        "gradattention, row by row": partial(mapped, task, inputs, "gradattention"),
        "hirescam, a backward a word": partial(mapped, task, inputs, "hirescam"),
    }
    assert len(answered(task, inputs)[1]) == WORDS
    times = round_robin(ways, rounds)
    base = times["generate"].least
    if as_json:
        click.echo(json.dumps({name: round(one.least / base, 3) for name, one in times.items()}))
        return
    table = Table("words and maps by", "process s", "× generate")
    for name, one in times.items():
        table.add_row(name, f"{one.least:.3f}", f"{one.least / base:.2f}")
    console_for_tables().print(
        table, f"limit for the default method: {LIMIT} × generate; least of {rounds} rounds", sep="\n"
    )


@main.command()
@click.option("--side", type=int, help="image tokens a side, of a single measurement")
@click.option("--words", type=int, help="words, of a single measurement")
def memory(side: int | None, words: int | None) -> None:
    """The peak that the maps of T words add."""
    if side is not None and words is not None:
        click.echo(added(side, words))
        return
    table = Table("image tokens", *(f"{words} words, MB" for words in MOST), "MB a word of the last")
    a_word: dict[float, float] = {}
    for one in SIDES:
        found = [_elsewhere(one, words) for words in MOST]
        a_word[one * one] = (found[-1] - found[0]) / (MOST[-1] - MOST[0])
        table.add_row(f"{one * one:,}", *(f"{value:.0f}" for value in found), f"{a_word[one * one]:.2f}")
    power = slope([*a_word], [*a_word.values()])
    console_for_tables().print(table, f"what a word adds grows with tokens to the power of {power:.2f}", sep="\n")


def _elsewhere(side: int, words: int) -> float:
    asked = ["memory", "--side", str(side), "--words", str(words)]
    told = subprocess.run([sys.executable, "-m", "benchmarks.rows", *asked], capture_output=True, text=True, check=True)
    return float(told.stdout)


def added(side: int, words: int) -> float:
    """Megabytes that the maps of the first words of an answer add to what is held, at their peak."""
    task = llava(side, max(MOST))
    features, targets = answered(task, seen(task))
    site, own = Site.of(task, features, targets[:words])
    return added_memory(lambda: None, lambda: registry.choose("gradattention").attributed(task, site, own))


@main.command()
@click.option("--n", default=200)
def threads(n: int) -> None:
    """Explanations in two threads that are not those made alone."""
    from vlx.tasks.huggingface.tiny import build

    model, processor = build("qwen2_vl")
    task = wrap(model, processor, name="qwen2_vl")
    asked = [picture(90, 60, 1), picture(60, 120, 2), picture(64, 64, 3), picture(150, 60, 4)]

    def told(number: int) -> tuple[str, list[Any]]:
        why = vlx.explain(task, asked[number % len(asked)], question=QUESTION, check=False, seen=False)
        return why.text, [word.signed for word in why]

    alone = [told(number) for number in range(len(asked))]

    def wrong(number: int) -> bool:
        text, maps = told(number)
        wanted = alone[number % len(asked)]
        alike = zip(maps, wanted[1], strict=True)
        return text != wanted[0] or not all(np.allclose(one, other, rtol=1e-4, atol=1e-7) for one, other in alike)

    with ThreadPoolExecutor(2) as pool:
        count = sum(pool.map(wrong, range(n)))
    grids = {tuple(one[1][0].shape) for one in alone}
    click.echo(f"{count} wrong of {n}, in two threads, pictures of {len(grids)} grids: {sorted(grids)}")


if __name__ == "__main__":
    main()

"""A stock LLaVA that learned to speak of drawn scenes, whose every pixel is known: ``python -m benchmarks.vlm_scenes``.

transformers' own `LlavaForConditionalGeneration` with 3 layers of 128 and 64 image tokens sees by the CNN of
scenes/captioner, which stays as it is, and learns captions and questions by their texts alone: nobody tells it where to
look. `load` makes a task of it as vlx makes one of any LLaVA: by its processor, its chat template and `ChatTask`. The
command trains it anew (ten minutes of a core of its own; it goes on where it was cut short) and writes the weights that
`benchmarks.vlm_maps` measures.
"""

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

import vlx
from vlx import scenes
from vlx.files.whole import replacing
from vlx.scenes.vocabulary import answer_vocabulary, caption_vocabulary, question_vocabulary
from vlx.tasks.huggingface.chat_families import DESCRIBE

WEIGHTS = Path(__file__).with_suffix(".safetensors")
SIDE, CELLS, WIDTH = 128, 8, 128
PAD, START, END, PICTURE = "<pad>", "<s>", "</s>", "<image>"
TEMPLATE = (
    "<s>{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
ASKED = 3  # questions beside the caption, of each picture in a step
BATCH, RATE, WARM = 32, 2e-3, 0.1
IGNORED = -100
FROZEN = "model.vision_tower.cnn."


class Tower(nn.Module):
    """The CNN's map [B, 256, 16, 16] as 64 tokens of WIDTH with their places, in the form of a tower of transformers.

    It takes pictures [B, 3, SIDE, SIDE], or the map itself where it is already there.
    """

    def __init__(self, cnn: nn.Module, units: int) -> None:
        super().__init__()
        self.cnn, self.norm = cnn.requires_grad_(False), nn.BatchNorm2d(units, affine=False)
        self.project, self.last = nn.Linear(4 * units, WIDTH), nn.LayerNorm(WIDTH)
        self.places = nn.Parameter(0.3 * torch.randn(1, CELLS**2, WIDTH))

    def forward(self, pixel_values: Tensor, **_: Any) -> Any:
        """Hidden states are the tokens, which are already the projector's."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        A = self.cnn(pixel_values) if pixel_values.shape[1] == 3 else pixel_values
        cells = F.pixel_unshuffle(self.norm(A), 2).flatten(2).transpose(1, 2)
        tokens = self.last(self.project(cells) + self.places)
        return BaseModelOutputWithPooling(last_hidden_state=tokens, hidden_states=(tokens, tokens))


class Parts(NamedTuple):
    """A model and its processor."""

    model: Any
    processor: Any


def build() -> Parts:
    """The model with random weights, over the CNN that is shipped, and its processor."""
    import transformers as hf

    source: Any = vlx.load("scenes/captioner")
    tokenizer = _tokenizer()
    sizes = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4}
    marks = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in _MARKS.items()}
    text = hf.LlamaConfig(**sizes, **marks, num_hidden_layers=3, vocab_size=len(tokenizer), max_position_embeddings=160)
    vision = hf.CLIPVisionConfig(**sizes, num_hidden_layers=1, image_size=SIDE, patch_size=SIDE // CELLS)
    whole = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
    mark = tokenizer.convert_tokens_to_ids(PICTURE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = hf.LlavaConfig(vision_config=vision, text_config=text, image_token_id=mark, **whole)
        model: Any = hf.LlavaForConditionalGeneration(config)
        model.model.vision_tower = Tower(source.cnn, source.cnn.layers[-2].num_features)
    prepare = source.prepare
    pictures = hf.CLIPImageProcessor(
        do_center_crop=False,
        size={"height": SIDE, "width": SIDE},
        image_mean=list(prepare.mean),
        image_std=list(prepare.std),
    )
    processor = hf.LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=SIDE // CELLS,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    )
    return Parts(model, processor)


_MARKS = {"bos": START, "eos": END, "pad": PAD}


def _tokenizer() -> Any:
    """A word a token: all that scenes can be asked, all that is answered, and the signs of the template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*caption_vocabulary()[2:], *question_vocabulary()[2:], *answer_vocabulary()]
    signs = ["user", "assistant", ":", "?", ".", ",", *DESCRIBE.rstrip(".").split()]
    entries = dict.fromkeys((PAD, START, END, PICTURE, *sorted({*words, *signs})))
    made = Tokenizer(models.WordLevel({entry: number for number, entry in enumerate(entries)}, unk_token=PAD))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, pad_token=PAD, bos_token=START, eos_token=END)
    tokenizer.add_special_tokens({"additional_special_tokens": [PICTURE]})
    return tokenizer


def load(kind: str = "captioning", weights: Path = WEIGHTS) -> Any:
    """The trained model as a task, "captioning" or "vqa": ``vlx evaluate benchmarks/vlm_scenes.py:captions``."""
    from safetensors.torch import load_file

    from vlx.tasks.huggingface.loading import wrap

    model, processor = build()
    missing, strange = model.load_state_dict(load_file(weights), strict=False)
    if strange or any(not name.startswith(FROZEN) for name in missing):
        raise SystemExit(f"{weights} holds another model; train it again: python -m benchmarks.vlm_scenes")
    return wrap(model.eval(), processor, name=f"LLaVA on drawn scenes, {kind}", task=kind)


def captions() -> Any:
    """The captioner, for ``vlx … benchmarks/vlm_scenes.py:captions``."""
    return load("captioning")


def answers() -> Any:
    """The same model to ask, for ``vlx … benchmarks/vlm_scenes.py:answers``."""
    return load("vqa")


Turns = list[tuple[list[int], list[int]]]  # what is asked, as ids behind the picture, and what is answered


class Lessons(NamedTuple):
    """The CNN's maps float16 [N, K, 16, 16] of scenes, and the turns of each: its caption, then questions."""

    maps: Tensor
    turns: list[Turns]


def lessons(count: int, processor: Any) -> Lessons:
    """The first ``count`` scenes seen and read."""
    source: Any = vlx.load("scenes/captioner")
    maps, turns = [], list[Turns]()
    for first in track(range(0, count, 20), "drawing and seeing scenes"):
        drawn = [scenes.draw(seed, size=SIDE) for seed in range(first, min(first + 20, count))]
        maps.append(source.features(torch.stack([source.prepare(scene.image) for scene in drawn])).A.half())
        for scene in drawn:
            pairs = [(DESCRIBE, scene.caption), *((asked.text, asked.answer) for asked in scene.questions)]
            turns.append([turn(processor, question, answer) for question, answer in pairs])
    return Lessons(torch.cat(maps), turns)


def before(processor: Any) -> list[int]:
    """The ids before a question, the picture's among them."""
    text, _ = _halves(processor, "")
    ids: list[int] = processor.tokenizer(text)["input_ids"]
    mark: int = processor.tokenizer.convert_tokens_to_ids(PICTURE)
    return [*ids, *[mark] * CELLS**2]


def turn(processor: Any, question: str, answer: str) -> tuple[list[int], list[int]]:
    """The ids of a question behind the picture, and of its answer with END."""
    _, asked = _halves(processor, question)
    tokenizer = processor.tokenizer
    return tokenizer(asked)["input_ids"], [*tokenizer(answer)["input_ids"], tokenizer.eos_token_id]


def _halves(processor: Any, question: str) -> tuple[str, str]:
    """What the template puts before the picture and behind it."""
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    head, _, tail = text.partition(PICTURE)
    return head, tail


class Packed(NamedTuple):
    """Several turns about each picture in one text: ids, places and wanted [B, L], and who sees whom [B, 1, L, L]."""

    ids: Tensor
    places: Tensor
    wanted: Tensor
    seen: Tensor


def pack(start: Sequence[int], texts: Sequence[Turns], padding: int) -> Packed:
    """Turns that share a picture, each as if it stood alone behind ``start``: no turn sees another one."""
    rows = [[*start, *(token for asked, said in turns for token in (*asked, *said))] for turns in texts]
    shape = len(rows), max(map(len, rows))
    ids, places = torch.full(shape, padding), torch.zeros(shape, dtype=torch.long)
    wanted, owner = torch.full(shape, IGNORED), torch.full(shape, -1)
    for row, (tokens, turns) in enumerate(zip(rows, texts, strict=True)):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        places[row, : len(start)], owner[row, : len(start)] = torch.arange(len(start)), 0
        first = len(start)
        for number, (asked, said) in enumerate(turns, 1):
            own = slice(first, first + len(asked) + len(said))
            places[row, own], owner[row, own] = len(start) + torch.arange(own.stop - first), number
            wanted[row, first + len(asked) - 1 : own.stop - 1] = torch.tensor(said)
            first = own.stop
    same = (owner[:, :, None] == owner[:, None]) | (owner[:, None] == 0)
    seen = (same & torch.ones(shape[1], shape[1], dtype=torch.bool).tril())[:, None]
    return Packed(ids, places, wanted, seen)


def loss_of(model: Any, maps: Tensor, packed: Packed) -> tuple[Tensor, Tensor]:
    """The mean loss of what is said, and which of its tokens are right."""
    asked = packed.wanted != IGNORED
    hidden = model.model(
        input_ids=packed.ids,
        attention_mask=packed.seen,
        position_ids=packed.places,
        pixel_values=maps,
        use_cache=False,
    ).last_hidden_state
    logits = model.lm_head(hidden[asked])
    return F.cross_entropy(logits, packed.wanted[asked]), logits.argmax(-1) == packed.wanted[asked]


def steps(data: Lessons, start: Sequence[int], padding: int, total: int, first: int) -> Iterator[tuple[Tensor, Packed]]:
    """What is learned in each step from number ``first`` on, the same whether or not it was cut short before."""
    for number in range(first, total):
        draw = random.Random(number)
        chosen = draw.sample(range(len(data.turns)), BATCH)
        texts = []
        for n in chosen:
            caption, *questions = data.turns[n]
            texts.append([caption, *draw.sample(questions, min(ASKED, len(questions)))])
        yield data.maps[chosen].float(), pack(start, texts, padding)


def rate(step: int, total: int) -> float:
    """The learning rate of a step: up in a tenth of the time, then down as a cosine."""
    warm = WARM * total
    return RATE * (step / warm if step < warm else (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2)


def train(folder: Path, count: int, total: int) -> Path:
    """Train the model, going on from ``folder`` where it was cut short, and write the weights."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    model, processor = build()
    data = _kept(folder / f"lessons-{count}.pt", count, processor)
    learned = [weights for weights in model.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learned, RATE, weight_decay=0.01)
    done, checkpoint = 0, folder / "checkpoint.pt"
    if checkpoint.exists():
        before_it = torch.load(checkpoint, weights_only=True)
        done = before_it["done"]
        model.load_state_dict(before_it["model"])
        optimizer.load_state_dict(before_it["optimizer"])
    model.train()
    model.model.vision_tower.cnn.eval()
    padding = processor.tokenizer.pad_token_id
    right: list[Tensor] = []
    for number, (maps, packed) in enumerate(steps(data, before(processor), padding, total, done), done):
        for group in optimizer.param_groups:
            group["lr"] = rate(number, total)
        loss, said = loss_of(model, maps, packed)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        right.append(said)
        if (number + 1) % 50 == 0:
            click.echo(f"step {number + 1}: {torch.cat(right).float().mean():.1%} of tokens right")
            right.clear()
            state = {"done": number + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            with replacing(checkpoint) as path:
                torch.save(state, path)
    kept = {name: values for name, values in model.state_dict().items() if not name.startswith(FROZEN)}
    save_file({name: values.half().contiguous() for name, values in kept.items()}, WEIGHTS)
    return WEIGHTS


def _kept(path: Path, count: int, processor: Any) -> Lessons:
    """The lessons, made once."""
    if not path.exists():
        made = lessons(count, processor)
        with replacing(path) as new:
            torch.save({"maps": made.maps, "turns": made.turns}, new)
        return made
    found = torch.load(path, weights_only=True)
    return Lessons(found["maps"], [[(a, s) for a, s in turns] for turns in found["turns"]])


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default="runs/vlm", show_default=True, help="Its run.")
@click.option("--scenes", "count", default=8000, show_default=True, help="Scenes to learn from.")
@click.option("--steps", "total", default=800, show_default=True, help=f"Steps of {BATCH} pictures.")
def main(folder: Path, count: int, total: int) -> None:
    """Train the model that benchmarks.vlm_maps measures."""
    torch.set_num_threads(1)
    click.echo(f"written: {train(folder, count, total)}")


if __name__ == "__main__":
    main()

"""What the explanation of an answer costs beside the answer alone: ``python -m benchmarks.answers``.

ResNet-50 with stacked attention over its 7 × 7 cells, 224 × 224 pixels, 1,000 answers, random weights. Explained are
the answer and its five likeliest alternatives, with what each owes to the picture; the features of a blank one are kept
from an earlier call. Blurred and swapped pictures are new runs of the CNN and are timed apart.
"""

from collections.abc import Callable

import click
import torch
from rich.table import Table
from torch import nn
from torchvision.models import ResNet50_Weights, resnet50

import vlx
from benchmarks.clock import console_for_tables, restart_settled, round_robin
from benchmarks.model import picture
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.probes.owing import table
from vlx.probes.references import elsewhere
from vlx.protocol.targets import Query, Target, Term
from vlx.tasks.vqa import CnnLstmVqa, StackedAttention

LIMIT = 1.5
WORDS = 5_000
ANSWERS = 1_000
QUESTION = "word1 word2 word3 word4 word5 word6 word7"


def subject() -> CnnLstmVqa:
    """The same network every time."""
    torch.manual_seed(0)
    whole = resnet50(weights=None)
    cnn = nn.Sequential(*(layer for name, layer in whole.named_children() if name not in ("avgpool", "fc"))).eval()
    head = StackedAttention(2048, WORDS, ANSWERS, (7, 7), embedding=300, hidden=512, joint=512, hops=2).eval()
    words, answers = [f"word{n}" for n in range(WORDS)], [f"answer{n}" for n in range(ANSWERS)]
    return CnnLstmVqa(cnn, head, words, answers, ResNet50_Weights.DEFAULT.transforms(crop_size=224, resize_size=256))


def ways(task: CnnLstmVqa) -> dict[str, Callable[[], object]]:
    """From the bare answer to everything that `vlx.explain` gives."""
    shown = picture()
    inputs = task.place(task.prepare(shown)[None])
    query = [Query(question=QUESTION)]

    def answer() -> object:
        return task.predict(task.features(inputs), query)

    def explained(seen: bool) -> object:
        features = task.features(inputs)
        prediction = task.predict(features, query)[0]
        word = prediction.words[0]
        asked = [
            Target(0, other.label, (Term(0, other.token),), "logit", prediction.tokens) for other in word.alternatives
        ]
        if seen:
            table(task, elsewhere(task, shown, inputs[0], asked=asked).features, asked)
        return engine.attribute(task, features.A, asked, METHODS["gradcam"], features.rest)

    return {
        "answer alone": answer,
        "answer + 6 maps": lambda: explained(False),
        "answer + 6 maps + references": lambda: explained(True),
        "vlx.explain, everything": lambda: vlx.explain(task, shown, question=QUESTION),
        "vlx.explain, blurred and swapped too": lambda: vlx.explain(task, shown, question=QUESTION, looks=True),
    }


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True, help="Timed rounds.")
def main(rounds: int) -> None:
    """The cost of explaining one answer and its alternatives."""
    times = round_robin(ways(subject()), rounds)
    base = times["answer alone"]
    table = Table("way", "ms", "×", "× wall", box=None)
    for name, t in times.items():
        ratios = (t.median / base.median, t.median_wall / base.median_wall)
        table.add_row(name, f"{1e3 * t.median:.0f}", *(f"{ratio:.2f}" for ratio in ratios))
    console = console_for_tables()
    console.print(f"ResNet-50 + stacked attention; median CPU time of {rounds} rounds, torch {torch.__version__}")
    console.print(table)
    found = times["answer + 6 maps + references"].median / base.median
    console.print(
        f"answer, 6 maps and the references ÷ answer: {found:.2f} (≤ {LIMIT}: {'pass' if found <= LIMIT else 'FAIL'})"
    )


if __name__ == "__main__":
    restart_settled("benchmarks.answers")
    main()

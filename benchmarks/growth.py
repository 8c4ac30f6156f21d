"""How the cost of explaining grows with the number of words and of units: ``python -m benchmarks.growth``.

A is given, [1, K, 7, 7], and so is the text; timed is `vlx.methods.engine.attribute` with T targets, one for each word,
by each way of taking gradients, for an LSTM that reads the picture first and for a decoder that attends at every step.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import click
import torch
from rich.table import Table
from torch import nn

from benchmarks.clock import console_for_tables, restart_settled, round_robin, slope
from benchmarks.model import START, VOCABULARY, WordLstm
from vlx.methods import engine
from vlx.methods.cams import METHODS
from vlx.protocol.targets import GradientWay, Target, Term
from vlx.tasks.captioning import Attention, CnnLstmCaptioner

CELLS = (7, 7)
LENGTHS = (1, 4, 16, 64)
UNITS = (512, 2048)
SIZE = 512
WAYS: tuple[GradientWay, ...] = ("rows", "batched", "loop")


@dataclass(frozen=True)
class Row:
    """Least CPU seconds of one decoder and way, for each number of words of ``lengths``."""

    decoder: str
    units: int
    way: GradientWay
    lengths: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def slope(self) -> float:
        """The exponent of T over all T."""
        return slope(self.lengths, self.seconds)

    @property
    def word(self) -> float:
        """Seconds that each word more costs, between the two largest T."""
        return (self.seconds[-1] - self.seconds[-2]) / (self.lengths[-1] - self.lengths[-2])


def decoders(units: int) -> dict[str, nn.Module]:
    """Both decoders for K units, with random weights."""
    torch.manual_seed(0)
    attention = Attention(units, VOCABULARY, CELLS, embedding=SIZE, hidden=SIZE, keys=SIZE)
    return {"picture first, nn.LSTM": WordLstm(units, size=SIZE).eval(), "attention, LSTMCell": attention.eval()}


def attributed(decoder: nn.Module, units: int, length: int, way: GradientWay) -> Callable[[], object]:
    """What is timed: the maps of all words of a text of ``length`` words."""
    task = CnnLstmCaptioner(nn.Identity().eval(), decoder, [str(n) for n in range(VOCABULARY)], _unused, start=START)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(length)
    A = torch.rand(1, units, *CELLS, generator=generator)
    text = tuple(torch.randint(1, VOCABULARY, (length,), generator=generator).tolist())
    targets = [Target(0, str(step), (Term(step, token),), "logprob", text) for step, token in enumerate(text)]
    return partial(engine.attribute, task, A, targets, METHODS["gradcam"], way=way)


def measure(rounds: int, lengths: tuple[int, ...]) -> list[Row]:
    """Every decoder, number of units and way."""
    rows = []
    for units in UNITS:
        for name, decoder in decoders(units).items():
            timed = {(way, T): attributed(decoder, units, T, way) for way in WAYS for T in lengths}
            times = round_robin(timed, rounds)
            rows += [Row(name, units, way, lengths, tuple(times[way, T].least for T in lengths)) for way in WAYS]
    return rows


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Timed rounds.")
@click.option("--longest", type=click.IntRange(min=LENGTHS[1]), default=LENGTHS[-1], help="Leave out longer texts.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(rounds: int, longest: int, as_json: bool) -> None:
    """Time of attribution, A kept, over the number of words T and of units K."""
    rows = measure(rounds, tuple(length for length in LENGTHS if length <= longest))
    if as_json:
        click.echo(json.dumps([{**asdict(row), "slope": row.slope, "word": row.word} for row in rows], indent=1))
    else:
        _print(rows)


def _print(rows: list[Row]) -> None:
    lengths = rows[0].lengths
    table = Table(title=f"CPU ms of attribution, A [1, K, 7, 7] kept; {torch.get_num_threads()} threads", box=None)
    for name in (
        "decoder",
        "K",
        "way",
        *(f"T={T}" for T in lengths),
        "∝ T^",
        f"ms a word, {lengths[-2]}→{lengths[-1]}",
    ):
        table.add_column(name, justify="left" if name in ("decoder", "way") else "right")
    for row in rows:
        times = (f"{1e3 * seconds:.1f}" for seconds in row.seconds)
        table.add_row(row.decoder, str(row.units), row.way, *times, f"{row.slope:.2f}", f"{1e3 * row.word:.2f}")
    console = console_for_tables()
    console.print(table)
    table = Table("decoder", "way", *(f"T={T}: ∝ K^" for T in lengths), box=None)
    few, many = ([row for row in rows if row.units == units] for units in UNITS)
    for low, high in zip(few, many, strict=True):
        slopes = (slope(UNITS, pair) for pair in zip(low.seconds, high.seconds, strict=True))
        table.add_row(low.decoder, low.way, *(f"{exponent:.2f}" for exponent in slopes))
    console.print(table)


def _unused(_picture: object) -> torch.Tensor:
    raise NotImplementedError


if __name__ == "__main__":
    restart_settled("benchmarks.growth")
    main()

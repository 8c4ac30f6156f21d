"""What measuring costs beside looking: ``python -m benchmarks.evaluation --real ../shared/real --n 500``.

The dequantised MobileNetV2 sees COCO's photographs, again and again until there are ``--n`` of them, in batches of 16:
once bare (opened, prepared, put through the network), once with pointing, energy and localization of five weightings
and the baselines for every class that ImageNet shares, written to a file. At most 1.3 times the process seconds.
"""

import tempfile
from pathlib import Path

import click
import torch

from benchmarks.clock import restart_settled, round_robin
from benchmarks.photos import LAYER, SHARED, classes, network
from vlx.data import CocoData
from vlx.data.example import Example
from vlx.evaluation import evaluate
from vlx.evaluation.metric import BATCH
from vlx.tasks.classification import Classifier

METHODS = ("gradcam", "hirescam", "gradcam++", "xgradcam", "layercam")
METRICS = ("pointing", "energy", "localization")
ROUNDS = 3


class Repeated:
    """The pictures of other data, again from the first after the last, ``count`` in all."""

    name, licence = "repeated", CocoData.licence

    def __init__(self, data: CocoData, count: int) -> None:
        self.data, self.count, self.classes = data, count, getattr(data, "classes", ())

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Example:
        return self.data[number % len(self.data)]

    def digest(self) -> str:
        """That of the pictures."""
        return self.data.digest()


def bare(task: Classifier, data: Repeated) -> None:
    """Open and prepare the pictures and put them through the network, without measuring anything."""
    for first in range(0, len(data), BATCH):
        numbers = range(first, min(first + BATCH, len(data)))
        task.features(task.place(torch.stack([task.prepare(data[number].image) for number in numbers])))


@click.command()
@click.option("--real", type=click.Path(path_type=Path), default=Path("../shared/real"), show_default=True)
@click.option("--coco", type=click.Path(path_type=Path), help="Another instances.json; default: that of --real.")
@click.option("--n", default=500, show_default=True)
def main(real: Path, coco: Path | None, n: int) -> None:
    """Print both times and their ratio."""
    restart_settled("benchmarks.evaluation")
    torch.set_num_threads(1)
    module = network(real)
    task = Classifier(module.load(), layer=LAYER, labels=module.LABELS, prepare=module.prepare)
    data = Repeated(CocoData(coco or real / "photos" / "instances.json"), n)
    meant = {name: [module.LABELS[number] for number in classes(name, module.LABELS)] for name in SHARED}
    known = {name: labels for name, labels in meant.items() if labels}

    def measured() -> None:
        with tempfile.TemporaryDirectory() as folder:
            evaluate(
                task, data, metrics=METRICS, methods=METHODS, targets=["logit"], out=Path(folder) / "run", classes=known
            )

    times = round_robin({"bare": lambda: bare(task, data), "measured": measured}, ROUNDS)
    looking, both = times["bare"].least, times["measured"].least
    click.echo(f"{n} pictures: bare {looking:.1f} s, measured {both:.1f} s of one core, {both / looking:.2f} times")


if __name__ == "__main__":
    main()

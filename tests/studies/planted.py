"""Pictures of coloured squares, two models that see them, and raters whose answers are known beforehand."""

import base64
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from vlx.data.example import Ask, Example, Truth
from vlx.studies import study_files
from vlx.studies.questions import exclusive
from vlx.studies.study_files import StudyFiles
from vlx.tasks.classification import Classifier

COLOURS = {"red": (230, 20, 20), "green": (20, 230, 20), "blue": (20, 20, 230)}
SIZE = 64
Mask = NDArray[np.bool_]
Rater = Callable[[StudyFiles, str, Sequence[str]], Any]


class Squares:
    """Pictures of two squares of different colours on grey, their masks known; ``alone`` gives each one square."""

    name, licence, classes = "squares", "MIT", tuple(COLOURS)

    def __init__(self, count: int, *, alone: bool = False, placed: bool = True) -> None:
        self.count, self.alone, self.placed = count, alone, placed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Example:
        image, masks = drawn(number, 1 if self.alone else 2)
        asks = [Ask(label=name, group=name, truth=Truth(mask) if self.placed else None) for name, mask in masks.items()]
        return Example(f"square-{number}", image, asks=asks)

    def digest(self) -> str:
        return f"squares {self.count} {self.alone}"


def drawn(number: int, squares: int = 2) -> tuple[Image.Image, dict[str, Mask]]:
    """A picture, and where each colour is."""
    rng = np.random.default_rng(number)
    pixels = np.full((SIZE, SIZE, 3), 128, np.uint8)
    masks = {}
    for place, name in enumerate(rng.permutation([*COLOURS])[:squares]):
        side, top = int(rng.integers(14, 25)), int(rng.integers(0, SIZE - 25))
        left = 32 * place + int(rng.integers(0, 32 - side + 1))
        masks[str(name)] = np.zeros((SIZE, SIZE), bool)
        masks[str(name)][top : top + side, left : left + side] = True
        pixels[masks[str(name)]] = COLOURS[str(name)]
    return Image.fromarray(pixels), masks


class Eye(nn.Module):
    """A channel a colour, and the mean of each as its score; ``blur`` smears what it sees over so many cells."""

    def __init__(self, blur: int = 1) -> None:
        super().__init__()
        see = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            see.weight.copy_((2 * torch.eye(3) - 1)[:, :, None, None])
        self.features = nn.Sequential(see, nn.ReLU(), nn.AvgPool2d(4), nn.AvgPool2d(blur, 1, blur // 2))

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = 30 * self.features(images).mean((2, 3))
        return scores


def prepare(image: Image.Image) -> Tensor:
    """The picture as it is, float32 [3, H, W] from 0 to 1."""
    return torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255).permute(2, 0, 1)


def models(blur: int = 9) -> list[Classifier]:
    """A model that sees sharply, and one that sees the same blurred."""
    made = []
    for name, eye in (("sharp", Eye()), ("blurred", Eye(blur))):
        task = Classifier(eye.eval(), layer="features", labels=[*COLOURS], prepare=prepare)
        task.name = name
        made.append(task)
    return made


def image_of(address: str) -> NDArray[np.float64]:
    """The pixels of a data address."""
    data = base64.b64decode(address.partition("base64,")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


def heat(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much colour there is: the picture under a map is grey, and so is a map in pixels where it is 0."""
    return np.asarray(pixels.max(2) - pixels.min(2))


def energies(pixels: NDArray[np.float64], masks: Sequence[Mask]) -> list[float]:
    """How much colour lies on each mask, laid on a picture of any size."""
    size = (pixels.shape[1], pixels.shape[0])
    return [float(heat(pixels)[np.asarray(Image.fromarray(mask).resize(size))].sum()) for mask in masks]


def truth(study: StudyFiles, question: str) -> dict[str, Mask]:
    """Where each colour is on the picture of a question."""
    return drawn(int(study.key["questions"][question]["picture"].removeprefix("square-")))[1]


def by_energy(study: StudyFiles, question: str, shown: Sequence[str]) -> Any:
    """A rater who sees what is shown and knows where the things are: argmax of energy, the more focused of two maps."""
    images, known = study.page["images"], study.key["questions"][question]
    masks = truth(study, question)
    if known["part"] == "which":
        pair = exclusive(*(masks[name] for name in known["options"]))
        return int(np.argmax(energies(image_of(images[shown[0]]), pair)))
    if known["part"] == "reasonable":
        left, right = (focus(image_of(images[name]), masks[known["said"]]) for name in shown)
        return 0 if left == right else 2 if left > right else -2
    rows, columns = np.nonzero(masks[known["said"]])
    return [float(columns.mean() + 0.5) / SIZE, float(rows.mean() + 0.5) / SIZE]


def focus(pixels: NDArray[np.float64], mask: Mask) -> float:
    """The share of all colour that lies on a mask."""
    return energies(pixels, [mask])[0] / max(float(heat(pixels).sum()), 1e-9)


def by_lot(rng: np.random.Generator, study: StudyFiles, question: str, _shown: Sequence[str]) -> Any:
    """A rater who sees nothing."""
    part = study.key["questions"][question]["part"]
    if part == "where":
        return [float(one) for one in rng.random(2)]
    return int(rng.integers(-2, 3) if part == "reasonable" else rng.integers(2))


def sheet(study: StudyFiles, rater: Rater, number: int, **changes: Any) -> dict[str, Any]:
    """What a participant hands in who answers as a rater and reads along."""
    group = number % study.page["groups"]
    answers = []
    for name, question in study.questions.items():
        shown = question.get("shown", [[]] * (group + 1))[group]
        answer = study.key["checks"][name] if name in study.key["checks"] else rater(study, name, shown)
        answers.append({"question": name, "shown": shown, "answer": answer, "seconds": 1.5})
    told = {"format": "vlx study answers", "schema_version": 1, "study": study.digest}
    return {**told, "participant": f"{number:016x}", "group": group, "answers": answers, **changes}


def handed_in(page: Path, folder: Path, raters: Sequence[Rater]) -> list[Path]:
    """A file of answers for each rater."""
    study, paths = study_files.read(page), []
    folder.mkdir(exist_ok=True)
    for number, rater in enumerate(raters):
        paths.append(folder / f"{number}.json")
        paths[-1].write_text(json.dumps(sheet(study, rater, number)), encoding="utf-8")
    return paths


def lots(count: int) -> Iterator[Rater]:
    """Raters who see nothing, each by a lot of their own."""
    return (partial(by_lot, np.random.default_rng(seed)) for seed in range(count))


def changed(path: Path, change: Callable[[dict[str, Any]], Mapping[str, Any] | None]) -> Path:
    """The same answers after a change by hand."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(content) or content), encoding="utf-8")
    return path

"""A study's page: its size, how fast it opens, and what simulated raters make of it: ``python -m benchmarks.study``.

Without a PAGE a study of 90 questions is made of two planted models that see coloured squares (tests/studies/planted),
answered by raters who go by energy and by raters who answer by lot; and another of 90 crops of the two photographs that
come with vlx, which are as large as pages get. Of a PAGE bytes and opening time are told. The time is from the
navigation until the first page is there, in a headless Chromium, the least of five.
"""

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.browser import Browser

REPEAT = 5
OPENED = "(() => { const n = performance.getEntriesByType('navigation')[0]; return n.loadEventEnd; })()"
RATERS = 8
METHODS = "guided,guided-gradcam"


def opened(page: Path, browser: Browser) -> dict[str, float]:
    """The page's megabytes, and the milliseconds until it is there."""
    times = []
    for _ in range(REPEAT):
        browser.open(page)
        times.append(float(browser.value(f"new Promise(done => setTimeout(() => done({OPENED}), 0))")))
    assert browser.value("!document.getElementById('consent').hidden || !document.getElementById('asking').hidden")
    return {"MB": page.stat().st_size / 1e6, "ms": min(times)}


def simulated(page: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Accuracy, trust and place by method, of raters who go by energy and of raters who answer by lot."""
    from tests.studies import planted
    from vlx import studies

    told = {}
    for name, raters in (("energy", [planted.by_energy] * RATERS), ("lot", list(planted.lots(RATERS)))):
        scores = studies.score(page, planted.handed_in(page, folder / name, raters))
        told[name] = {
            f"{one.part} {one.method} {one.model}".strip(): one.value for one in scores.figures if not one.against
        }
    return told


class Crops:
    """Crops of the two photographs that come with vlx, asked about all colours of the planted models."""

    name, licence = "crops", "MIT"

    def __init__(self, count: int) -> None:
        from vlx import photos

        self.count, self._photos = count, [photos.example(name) for name in ("cat", "astronaut")]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Any:
        from tests.studies.planted import COLOURS
        from vlx.data.example import Ask, Example

        rng, photo = np.random.default_rng(number), self._photos[number % 2]
        left, top = int(rng.integers(photo.width - 200)), int(rng.integers(photo.height - 200))
        asks = [Ask(label=name, group=name) for name in COLOURS]
        return Example(f"crop-{number}", photo.crop((left, top, left + 200, top + 200)).resize((256, 256)), asks=asks)

    def digest(self) -> str:
        """Of how many there are."""
        return f"crops {self.count}"


@click.command()
@click.argument("page", required=False, type=click.Path(exists=True, path_type=Path))
def main(page: Path | None) -> None:
    """Print bytes, opening time and, of a planted study, the figures of simulated raters."""
    from tests.studies import planted
    from vlx import studies

    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(str(Path(folder) / "profile"))
        browser.screen(1280, 900)
        try:
            if page is not None:
                click.echo(f"{page}: {_told(opened(page.resolve(), browser))}")
                return
            for data in (planted.Squares(200), Crops(100)):
                made = studies.make(data, planted.models(), METHODS, n=90, out=Path(folder) / f"{data.name}.html")
                click.echo(
                    f"{data.name}, {sum(made.questions.values())} questions: {_told(opened(made.page, browser))}"
                )
                if isinstance(data, planted.Squares):
                    for name, figures in simulated(made.page, Path(folder)).items():
                        click.echo(f"  by {name}: {_told(figures)}")
        finally:
            browser.close()


def _told(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items())


if __name__ == "__main__":
    main()

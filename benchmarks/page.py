"""How a report reads before anything is pressed: ``python -m benchmarks.page REPORT.html… | EXPLANATION.h5…``.

Each page is opened in a headless Chromium at 390 × 844 and at 1280 × 800 CSS pixels. Printed are the bytes; where the
picture begins and ends, and the sentence; the words on the first screen; the least contrast of any text with what is
behind it, in light and dark, everything unfolded (WCAG 2 wants 4.5); landmarks that share role and name. Of .h5 and
.json the CPU time of writing the page is measured, too. Without files a drawn scene and a photograph are explained.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import click

from benchmarks.browser import Browser

SCREENS = {"phone": (390, 844), "desk": (1280, 800)}
REPEAT = 20
SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")


def read(path: Path, browser: Browser) -> dict[str, Any]:
    """What a reader finds on a page, by screen."""
    told: dict[str, Any] = {"bytes": path.stat().st_size}
    for name, (width, height) in SCREENS.items():
        browser.screen(width, height)
        browser.open(path)
        told[name] = browser.value(f"{SCRIPT} firstScreen()")
    told["landmarks"] = browser.value(f"{SCRIPT} sameLandmarks()")
    for scheme in ("light", "dark"):
        browser.screen(*SCREENS["desk"], scheme)
        browser.open(path)
        told[scheme] = browser.value(f"{SCRIPT} leastContrast()")
    return told


def written(path: Path, folder: Path) -> tuple[Path, float]:
    """The page of a saved explanation, and the CPU milliseconds of writing it once more."""
    from vlx import Explanation

    why = Explanation.load(path)
    page = why.save(folder / f"{path.stem}.html")
    began = time.process_time()
    for _ in range(REPEAT):
        why.save(page)
    return page, 1000 * (time.process_time() - began) / REPEAT


def examples(folder: Path) -> list[Path]:
    """A drawn scene of twelve words and a photograph, explained with reasons."""
    import vlx
    from vlx import photos, scenes

    scene = vlx.explain(vlx.load("scenes/captioner"), scenes.draw(10_000_021, size=384).image, names="shipped")
    photo = vlx.explain(vlx.load("photos/captioner"), photos.example("cat"), names="shipped")
    return [scene.save(folder / "scene.h5"), photo.save(folder / "photograph.h5")]


@click.command()
@click.argument("reports", nargs=-1, type=click.Path(exists=True, path_type=Path))
def main(reports: tuple[Path, ...]) -> None:
    """Print what the first screens of reports hold."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        browser = Browser(f"{folder}/profile")
        try:
            for path in reports or examples(folder):
                page, took = (path, None) if path.suffix == ".html" else written(path, folder)
                _print(path.name, read(page.resolve(), browser), took)
        finally:
            browser.close()


def _print(name: str, told: dict[str, Any], took: float | None) -> None:
    cost = "" if took is None else f", written in {took:.0f} ms of CPU"
    click.echo(f"{name}: {told['bytes'] / 1000:.0f} KB{cost}; landmarks of one name: {told['landmarks'] or 'none'}")
    for screen, (width, height) in SCREENS.items():
        found = told[screen]
        click.echo(
            f"  {width} × {height}: picture at y {found['picture']}, sentence at {found['sentence']}, "
            f"{len(found['words'])} words{', wider than the screen' if found['wide'] else ''}"
        )
    for scheme in ("light", "dark"):
        click.echo(f"  least contrast, {scheme}: " + "; ".join(f"{ratio} ({what})" for ratio, what in told[scheme]))


if __name__ == "__main__":
    main()

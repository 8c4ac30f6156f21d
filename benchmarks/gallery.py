"""How quick the gallery of many results is in Chromium: ``python -m benchmarks.gallery [--n 10000] [--words 10]``.

Made-up results of ten words each are written as a run writes them; then a headless Chromium opens the page anew
``--repeat`` times and is asked for its first contentful paint, for when the page was ready, and for the time from a
key in the search field to the next frame that shows its rows. Nothing but Chromium and Python is needed.
"""

import base64
import io
import tempfile
from pathlib import Path

import click
import numpy as np
from PIL import Image

from benchmarks.browser import Browser
from vlx.folder import gallery
from vlx.folder.manifest import Job
from vlx.folder.records import QUALITY, SIDE, Record

VOCABULARY = [*(f"word{n}" for n in range(800)), *("dog cat red house grass water man woman ball".split() * 20)]
ACTIONS = {
    "search 'dog'": "find.value = 'dog'; find.dispatchEvent(new Event('input', {bubbles: true}));",
    "all words": "document.querySelector('[value=words]').click();",
    "least owed first": "sort.value = 'seen'; sort.dispatchEvent(new Event('input', {bubbles: true}));",
    "search 'red' in words": "find.value = 'red'; find.dispatchEvent(new Event('input', {bubbles: true}));",
    "failed its check": "document.getElementById('unchecked').click();",
}
TIMED = """new Promise(done => {{
  const find = document.getElementById('find'), sort = document.getElementById('sort');
  const began = performance.now(); {action}
  requestAnimationFrame(() => setTimeout(() => done(
    [performance.now() - began, document.getElementById('found').textContent]), 0));
}})"""
PAINT = """new Promise(done => {
  const told = () => done([performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
    performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd]);
  setTimeout(told, 300);
})"""


def records(n: int, words: int) -> list[Record]:
    """Made-up results with thumbnails of noise, which compress worse than photographs."""
    rng = np.random.default_rng(0)

    def word(place: int) -> Record:
        label = "a" if place % 3 == 0 else str(rng.choice(VOCABULARY))
        check, seen = str(rng.choice(gallery.CHECKS)), float(rng.normal(1, 1))
        told = {"word": label, "logprob": -float(rng.exponential(0.5)), "seen": seen, "owed": seen > 0.3}
        return {**told, "check": check, "share": 0.5, "peak": [0, 0, 9, 9], "content": place % 3 != 0}

    def thumbnail() -> str:
        held, small = io.BytesIO(), Image.fromarray(rng.integers(0, 256, (7, 8, 3), np.uint8))
        small.resize((SIDE, SIDE * 3 // 4), Image.Resampling.BICUBIC).save(held, "JPEG", quality=QUALITY, optimize=True)
        return base64.b64encode(held.getvalue()).decode("ascii")

    def result(number: int) -> Record:
        said = [word(place) for place in range(words)]
        name = {"key": str(number), "path": f"photos/{number:05}.jpg", "page": f"{number:05}.html", "status": "done"}
        text = " ".join(one["word"] for one in said)
        return {**name, "error": None, "text": text, "words": said, "thumbnail": thumbnail(), "method": "layercam"}

    return [result(number) for number in range(n)]


def measured(path: Path, browser: Browser) -> dict[str, float]:
    """Milliseconds by what was measured, on one opening of the page."""
    browser.open(path)
    paint, ready = browser.value(PAINT)
    found = {"first paint": float(paint), "ready": float(ready)}
    for name, action in ACTIONS.items():
        took, told = browser.value(TIMED.format(action=action))
        found[f"{name} ({told})"] = float(took)
    return found


@click.command()
@click.option("--n", default=10_000, show_default=True, help="Results.")
@click.option("--words", default=10, show_default=True, help="Words a result.")
@click.option("--repeat", default=5, show_default=True, help="Openings; the median is printed, and the worst.")
def main(n: int, words: int, repeat: int) -> None:
    """Print first paint and searches of a gallery in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        path, made = Path(folder) / "index.html", records(n, words)
        gallery.write(path, Job("caption", "made up"), lambda: iter(made))
        click.echo(f"{n} results of {words} words, {path.stat().st_size / 1e6:.1f} MB")
        browser = Browser(f"{folder}/profile")
        try:
            runs = [measured(path, browser) for _ in range(repeat)]
        finally:
            browser.close()
    for name in runs[0]:
        values = [run[name] for run in runs]
        click.echo(f"{name}: {np.median(values):.0f} ms (worst {max(values):.0f})")


if __name__ == "__main__":
    main()

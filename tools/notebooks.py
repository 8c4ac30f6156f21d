"""Run the notebooks and keep their outputs small: ``python tools/notebooks.py [--check] [NOTEBOOK…]``.

What is kept can be read where no script runs (GitHub): pictures no wider than WIDE, as JPEG or PNG, and texts.
Frames, warnings and times are left out, and what is another one at every run (addresses, temporary folders) is made the
same, so that a run which finds the same changes nothing. ``--check`` runs nothing and names the notebooks that are not
so: it is a test, too.
"""

import argparse
import base64
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

FOLDER = Path(__file__).parents[1] / "notebooks"
WIDE = 760  # pixels
COLORS = 64  # of a picture that is kept as PNG
QUALITY = 82  # of JPEGs
KINDS = ("image/jpeg", "image/png")
MOST = 300_000  # bytes a notebook
CHANGING = ((re.compile(r" at 0x[0-9a-f]+"), ""), (re.compile(r"/tmp/[\w.-][\w./-]*"), "/tmp/…"))


def main() -> int:
    """Run or check the notebooks named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("notebooks", nargs="*", type=Path)
    given = parser.parse_args()
    bad = []
    for path in given.notebooks or sorted(FOLDER.glob("*.ipynb")):
        if not given.check:
            path.write_text(text(cleaned(executed(path))), encoding="utf-8")
        faults = list(found(path))
        print(f"{path.name}: {path.stat().st_size // 1000} KB", *faults, sep="\n  ")
        bad += faults
    return 1 if bad else 0


def executed(path: Path) -> dict[str, Any]:
    """The notebook with the outputs of a fresh run."""
    import nbclient
    import nbformat

    book: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    held: dict[str, Any] = json.loads(nbformat.writes(book))  # type: ignore[no-untyped-call]
    return held


def cleaned(book: dict[str, Any]) -> dict[str, Any]:
    """The notebook with small outputs that are the same at every run."""
    cells = []
    for cell in book["cells"]:
        own = {**cell, "metadata": {}}
        if cell["cell_type"] == "code":
            outputs = [_output(one) for one in cell["outputs"] if one.get("name") != "stderr"]
            own |= {"execution_count": None, "outputs": outputs}
        cells.append(own)
    metadata = {"kernelspec": book["metadata"]["kernelspec"], "language_info": {"name": "python"}}
    return {**book, "cells": cells, "metadata": metadata}


def found(path: Path) -> Iterator[str]:
    """What is wrong with a notebook as it is kept."""
    book = json.loads(path.read_text(encoding="utf-8"))
    if path.stat().st_size > MOST:
        yield f"more than {MOST // 1000} KB"
    if text(cleaned(book)) != path.read_text(encoding="utf-8"):
        yield "not as this tool writes it: python tools/notebooks.py"
    kinds = [kind for cell in book["cells"] for one in cell.get("outputs", ()) for kind in one.get("data", {})]
    if not set(KINDS) & set(kinds):
        yield "shows no figure"


def text(book: dict[str, Any]) -> str:
    """As Jupyter writes it."""
    return json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _output(one: dict[str, Any]) -> dict[str, Any]:
    own = dict(one)
    if "text" in own:
        own["text"] = _steady(own["text"])
    if "data" in own:
        data: dict[str, Any] = {"text/plain": _steady(own["data"].get("text/plain", ""))}
        for kind in KINDS:
            if kind in own["data"]:
                data |= _small(kind, "".join(own["data"][kind]))
        own |= {"data": data, "metadata": {}}
    if "execution_count" in own:
        own["execution_count"] = None
    return own


def _steady(value: str | list[str]) -> list[str]:
    whole = "".join(value)
    for pattern, instead in CHANGING:
        whole = pattern.sub(instead, whole)
    return whole.splitlines(keepends=True)


def _small(kind: str, data: str) -> dict[str, str]:
    """A picture no wider than WIDE: of few colours as PNG, else as JPEG; one that is so already stays as it is."""
    kept = Image.open(io.BytesIO(base64.b64decode(data)))
    if kept.width <= WIDE and (kind == "image/jpeg" or (kept.mode == "P" and kept.getcolors(COLORS))):
        return {kind: data.rstrip() + "\n"}
    image = kept.convert("RGB")
    if image.width > WIDE:
        image = image.resize((WIDE, round(image.height * WIDE / image.width)), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    few = image.getcolors(COLORS) is not None
    if few:
        image.quantize(COLORS, dither=Image.Dither.NONE).save(held, "PNG", optimize=True)
    else:
        image.save(held, "JPEG", quality=QUALITY, optimize=True)
    return {KINDS[few]: base64.b64encode(held.getvalue()).decode("ascii") + "\n"}


if __name__ == "__main__":
    sys.exit(main())

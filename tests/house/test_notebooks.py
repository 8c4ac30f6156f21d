"""The notebooks as they are kept: small, with their figures, and the same at every run that finds the same."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools import notebooks

KEPT = sorted(notebooks.FOLDER.glob("*.ipynb"))


def png(width: int, height: int) -> str:
    held = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(held, "PNG")
    return base64.b64encode(held.getvalue()).decode("ascii")


def book(*outputs: dict[str, Any]) -> dict[str, Any]:
    ran = {"cell_type": "code", "id": "a", "source": ["why"], "execution_count": 7, "outputs": list(outputs)}
    cell = {**ran, "metadata": {"execution": {"iopub.execute_input": "2026-11-27T14:00:00"}}}
    metadata = {"kernelspec": {"name": "python3"}, "language_info": {"name": "python", "version": "3.11.7"}}
    return {"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_notebook_is_kept_small_with_its_figures(path: Path) -> None:
    assert list(notebooks.found(path)) == []


def test_every_notebook_is_looked_at() -> None:
    assert len(KEPT) >= 5


def test_what_changes_at_every_run_is_left_out() -> None:
    image = {"text/html": "<iframe>", "image/png": png(900, 300), "text/plain": "<Image at 0x7f12ab>"}
    shown = {"output_type": "execute_result", "execution_count": 7, "data": image, "metadata": {"image/png": {"w": 1}}}
    told = {"output_type": "stream", "name": "stdout", "text": ["/tmp/tmpab1_x/names.h5 written\n"]}
    noise = {"output_type": "stream", "name": "stderr", "text": ["Warning\n"]}
    cell = notebooks.cleaned(book(shown, told, noise))["cells"][0]
    assert (cell["metadata"], cell["execution_count"]) == ({}, None)
    first, second = cell["outputs"]
    assert list(first["data"]) == ["text/plain", "image/jpeg"]
    assert first["data"]["text/plain"] == ["<Image>"]
    assert second["text"] == ["/tmp/… written\n"]
    with Image.open(io.BytesIO(base64.b64decode(first["data"]["image/jpeg"]))) as small:
        assert (small.width, small.height) == (notebooks.WIDE, round(300 * notebooks.WIDE / 900))


def test_cleaning_once_more_changes_nothing() -> None:
    image = {"image/png": png(300, 200), "text/plain": ["why"]}
    once = notebooks.cleaned(book({"output_type": "display_data", "data": image, "metadata": {}}))
    assert notebooks.text(notebooks.cleaned(json.loads(notebooks.text(once)))) == notebooks.text(once)


def test_faults_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(notebooks.text(book()), encoding="utf-8")
    assert list(notebooks.found(path)) == ["not as this tool writes it: python tools/notebooks.py", "shows no figure"]
    path.write_text(notebooks.text(notebooks.cleaned(book())) + " " * notebooks.MOST, encoding="utf-8")
    assert next(iter(notebooks.found(path))) == "more than 300 KB"

"""What vlx wrote on 2026-11-27, to be read by every later version; see `tests/explanation/test_stored.py`.

Each file is written once and never again: a later one would only prove that this version reads what this version
writes. ``python -m tests.stored.make FOLDER`` shows how they were made (at commit f5f890b).
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import vlx
from tests.tallies import dissected
from vlx import neuron_names, scenes

SEED = 10_000_003
WORDS = 8  # units of the table whose names come from captions


def explanations() -> dict[str, vlx.Explanation]:
    """A caption with reasons, and a contrast of answers, of one drawn picture."""
    picture = scenes.draw(SEED).image.resize((48, 40))
    captioner, answerer = vlx.load("scenes/captioner"), vlx.load("scenes/vqa")
    asked: dict[str, Any] = {"question": "what color is the umbrella?", "answer": "red", "instead_of": "blue"}
    said = vlx.explain(captioner, picture, caption="red umbrella", names="shipped", words=["umbrella"], looks=True)
    contrast = vlx.explain(answerer, picture, **asked, occlusion=True, target="logit")
    return {
        "caption": replace(said, words=(_brief(said["umbrella"]),), phrases=()),
        "contrast": replace(contrast, others=contrast.others[:1]),
    }


def _brief(word: vlx.WordExplanation) -> vlx.WordExplanation:
    """The word with one reason of each kind: a file of all 55 would be large."""
    assert word.because is not None
    kinds = {reason.kind: reason for reason in reversed(word.because.reasons)}
    return replace(word, because=replace(word.because, reasons=tuple(kinds.values())))


def tables() -> dict[str, neuron_names.NeuronNames]:
    """Names that were counted, and names from captions."""
    shipped = neuron_names.shipped(vlx.load("photos/captioner"))
    listed = tuple(shipped.candidates(unit) for unit in range(WORDS))
    about: dict[str, Any] = {
        name: shipped.about[name] for name in ("model", "layer", "metric", "images") if name in shipped.about
    }
    assert shipped.activity is not None
    activity = replace(shipped.activity, examples=shipped.examples[:WORDS], means=shipped.means[:WORDS])
    return {"counted": dissected(), "words": replace(shipped, listed=listed, about=about, activity=activity)}


def facts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All that a record holds, by its place in it; of an array what tells it from all others."""
    if isinstance(value, np.ndarray):
        held = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        yield path, [str(value.dtype), list(value.shape), held]
    elif is_dataclass(value):
        for field in fields(value):
            yield from facts(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from facts(part, f"{path}[{name!r}]")
    elif isinstance(value, list | tuple) and value and all(isinstance(part, int | float) for part in value):
        yield from facts(np.array(value), path)
    elif isinstance(value, list | tuple):
        yield f"{path}#", len(value)
        for number, part in enumerate(value):
            yield from facts(part, f"{path}[{number}]")
    else:
        yield path, repr(value)


def table_facts(names: neuron_names.NeuronNames, ending: str) -> dict[str, Any]:
    """What a file of that ending keeps of a table: .json the names, .h5 all that is known of the units, too."""
    units = [names.candidates(unit) for unit in range(len(names))]
    more = {"tally": names.tally, "examples": names.examples, "means": names.means} if ending == "h5" else {}
    return dict(facts({"units": units, "about": names.about, **more}))


def main(folder: Path) -> None:
    """Write every file, and beside them what they hold, taken from the records themselves."""
    held: dict[str, dict[str, Any]] = {}
    for name, why in explanations().items():
        held[name] = dict(facts(why))
        for ending in ("h5", "json"):
            why.save(folder / f"{name}.{ending}")
    for name, table in tables().items():
        for ending in ("h5", "json"):
            table.save(folder / f"{name}.{ending}")
            held[f"{name}.{ending}"] = table_facts(table, ending)
    (folder / "facts.json").write_text(json.dumps(held, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

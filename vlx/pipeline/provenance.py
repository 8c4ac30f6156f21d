"""Where an explanation comes from: what is kept with it, so that it can be made again."""

from dataclasses import dataclass
from typing import Any

import torch

from vlx import __version__
from vlx.pictures.edits import MADE
from vlx.probes.mapped_words import left_out
from vlx.probes.probe import Context
from vlx.probes.references import References
from vlx.protocol.powers import powers_of

OPTIONAL = ("revision", "outputs", "chosen", "question", "references", "prompt", "names", "words")


@dataclass(frozen=True)
class Provenance:
    """Model, layer, method, target, sizes and versions behind one explanation; None is left out of the record.

    ``feature_map`` is [K, h, w], ``prepared`` [C, H, W]; ``geometry`` says how cells were placed, ``gradients`` in
    which way they were taken, ``chosen`` how the method was where that was by trial, ``words`` which words have no map.
    """

    model: str
    revision: str | None
    layer: str
    method: str
    target: str
    outputs: str | None
    chosen: str | None
    gradients: str
    feature_map: list[int]
    prepared: list[int]
    geometry: str
    image: str
    question: str | None
    beams: int
    references: str | None
    prompt: str | None
    names: dict[str, Any] | None
    words: str | None
    versions: dict[str, str]

    @classmethod
    def of(cls, context: Context) -> "Provenance":
        """That of the explanation of one picture."""
        task, options, said = context.task, context.options, context.prediction
        outputs = said.words[0].outputs if said.words else "softmax"
        units, *cells = context.features.A.shape[1:]
        if options.method.layer and context.rows:
            units, cells = len(context.rows[0].weights), [*context.placement.grid.shape]
        without = sum(not one.with_map for one in context.asked)
        return cls(
            model=task.name,
            revision=powers_of(task).revision,
            layer=options.method.layer or context.features.layer,
            method=options.method.name,
            target="value" if outputs == "value" else context.kind,
            outputs=None if outputs == "softmax" else outputs,
            chosen=options.chosen or None,
            gradients=task.defaults.gradients,
            feature_map=[units, *cells],
            prepared=list(context.shown.inputs.shape),
            geometry=context.features.grid.source,
            image=context.shown.picture.name,
            question=options.query.text if said.question else None,
            beams=options.query.beams,
            references=_told(options.references) if options.seen else None,
            prompt=options.query.prompt,
            names=None if options.naming is None else options.naming.origin,
            words=left_out(options.words, said.words, without) or None,
            versions={"vlx": __version__, "torch": torch.__version__},
        )

    def to_record(self) -> dict[str, Any]:
        """As `Explanation.provenance` has it, and files do."""
        return {name: value for name, value in vars(self).items() if value is not None or name not in OPTIONAL}


def _told(references: References | None) -> str:
    if references is None:
        return f"made of the picture: {', '.join(MADE)}"
    return f"{len(references.names)} pictures of the user's own"

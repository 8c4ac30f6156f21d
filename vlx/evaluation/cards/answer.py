"""What the card of a VQA model says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

from vlx.evaluation.cards import sheet
from vlx.evaluation.run import evaluate
from vlx.scenes.bias import BIASED
from vlx.scenes.compose import HELD_OUT
from vlx.scenes.corpus import corpus
from vlx.tasks.vqa import bundle
from vlx.tasks.vqa.answers import ALL, accuracies, usual
from vlx.tasks.vqa.data import AskedPictures, of_scenes

TAUGHT = 5_000  # training scenes from which the usual answers are learned

TEMPLATE = """# {{ name }}

A CNN+LSTM model that answers questions about the drawn pictures of `vlx.scenes`, and about nothing else. {{ fusion }}
{{ parameters }} parameters, float16 safetensors, {{ size }} MB. Trained from scratch by

{% for command in commands %}    {{ command }}
{% endfor %}
on scenes with seeds below 10,000,000.
{%- if biased %} **Biased on purpose**: in its training the question gave away the answer to every question about
{{ biased }}; the other kinds were honest. It is here to be caught.{% endif %}
{%- if grounded %} Its attention was supervised, in the captioner that it began with or in itself: it was taught to
attend to the things that a question names (Liu et al. 2017, 1605.09553), so that it is known where the evidence is,
and the maps can be judged by it.{% endif %} Everything below was measured on seeds from 10,000,000 on.

## Answers ({{ count }} questions about {{ n }} held-out scenes)

| kind of question | questions | right | without the picture | without the question | picture blanked |
|---|---|---|---|---|---|
{% for kind, (share, number) in full.items() -%}
| {{ kind }} | {{ number }} | {{ percent(share) }} |
{%- for other in (deaf, mute, blind) %} {{ percent(other[kind][0]) }} |{% endfor %}
{% endfor %}
Without the picture: the answer most often right for that very question in {{ taught }} other scenes. Without the
question: this model with every word unknown. Picture blanked: this model shown its blank colour.

## Do the maps point at what the answer rests on? ({{ pointing.n }} held-out scenes with two named objects)

Pointing game: a hit when the highest cell of the map of the true answer is centred on what the answer rests on (a scene
question: outside all objects; questions about missing things are left out). In brackets the 95 % interval.
Default of this model: **{{ method }}** on **{{ target }}**. The baseline below the methods takes the default map of
another question about the same picture.

{{ table }}
Repeat with `{{ pointing.command }}` and `python -m vlx.evaluation.card {{ folder }} --n {{ n }}
--pointing-n {{ pointing.n }}`.

## Limits

It knows 12 kinds of object, 8 colours, 4 textures, 5 scenes and eight kinds of question. Asked about a photograph it
answers in these words all the same; vlx says so in the report.
"""
FUSIONS = {
    "attention": "The question asks the cells of A three times over (stacked attention, 1511.02274).",
    "product": "Question times mean of A, as in the Grad-CAM paper's VQA model (deeper LSTM Q + norm I).",
    "concatenation": "Question and mean of A side by side.",
}


def measure(folder: Path, n: int, pointing_n: int) -> tuple[str, dict[str, Any]]:
    """The card of the VQA model in ``folder``, and its figures: answers on ``n`` scenes, maps of ``pointing_n``."""
    config = bundle.read_config(folder)
    task = bundle.load_task(folder, sheet.public_name(folder))
    data = of_scenes(corpus(HELD_OUT, n))
    shares = {
        "full": accuracies(task, data),
        "deaf": usual(of_scenes(corpus(0, TAUGHT)), data),
        "mute": accuracies(task, data, ask=_unheard),
        "blind": accuracies(task, _blanked(data, task.blank)),
    }
    pointing = evaluate(task, pointing_n, progress=lambda items: track(items, "pointing"))
    origin = sheet.origin(folder, bundle.build(config))
    text = sheet.render(
        TEMPLATE,
        **origin,
        **shares,
        biased=" and ".join(BIASED) if any("--biased" in command for command in origin["commands"]) else "",
        fusion=FUSIONS[config.fusion],
        n=n,
        count=shares["full"][ALL][1],
        taught=f"{TAUGHT:,}",
        pointing=pointing,
        table=sheet.pointing_table(pointing),
        percent=sheet.percent,
        method=task.defaults.method,
        target=task.defaults.target,
    )
    return text, {"answers": shares, "pointing": pointing.to_json()}


def _unheard(tokens: Tensor) -> Tensor:
    """Every word unknown."""
    return torch.where(tokens > 0, 1, tokens)


def _blanked(data: AskedPictures, blank: tuple[float, float, float]) -> AskedPictures:
    size = data.pictures.shape[1]
    picture = np.asarray(Image.new("RGB", (size, size), tuple(round(255 * channel) for channel in blank)))
    return replace(data, pictures=np.broadcast_to(picture, data.pictures.shape))

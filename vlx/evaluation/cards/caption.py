"""What the card of a captioner says."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import track

from vlx.evaluation.cards import sheet
from vlx.evaluation.cards.quality import caption_quality
from vlx.evaluation.run import evaluate
from vlx.tasks.captioning import bundle

TEMPLATE = """# {{ name }}

A CNN+LSTM captioner of the drawn pictures of `vlx.scenes`, and of nothing else. {{ entry }}
{{ parameters }} parameters, float16 safetensors, {{ size }} MB. Trained from scratch by

{% for command in commands %}    {{ command }}
{% endfor %}
on scenes with seeds below 10,000,000.
{%- if grounded %} Its attention was supervised: for a word that names a thing it was taught to attend to that very
thing (Liu et al. 2017, 1605.09553), so that it is known where the evidence for the word is, and the maps can be
judged by it.{% endif %} Everything below was measured on seeds from 10,000,000 on.

## Captions ({{ quality.n }} held-out scenes)

| | share |
|---|---|
| words right under teacher forcing | {{ percent(quality.forced) }} |
| captions right to the last word | {{ percent(quality.exact) }} |
{% for category, share in quality.words.items() -%}
| {{ category }} words right in generated captions | {{ percent(share) }} |
{% endfor -%}
| BLEU-4 (NLTK) | {{ score(quality.bleu4) }} |
| METEOR (NLTK with WordNet) | {{ score(quality.meteor) }} |

## Do the maps point at the right thing? ({{ pointing.n }} held-out scenes with two named objects)

Pointing game: a hit when the highest cell of the word's map is centred on the very object that the word speaks of (a
scene word: outside all objects). True caption, teacher-forced. In brackets the 95 % interval.
Default of this model: **{{ method }}** on **{{ target }}**.

{{ table }}
Repeat with `{{ pointing.command }}` and `python -m vlx.evaluation.card {{ folder }}`.

## Limits

It knows 12 kinds of object, 8 colours, 4 textures and 5 scenes. Given a photograph it answers in these words all the
same; vlx says so in the report.
"""
ENTRIES = {
    "attention": "The decoder attends to the cells of A at every step.",
    "first": "The mean of A is the first LSTM input, as in the Grad-CAM paper's captioner.",
    "state": "The mean of A sets the LSTM's initial state.",
}


def measure(folder: Path, n: int, pointing_n: int) -> tuple[str, dict[str, Any]]:
    """The card of the captioner in ``folder``, and its figures: captions of ``n`` scenes, maps of ``pointing_n``."""
    config = bundle.read_config(folder)
    task = bundle.load_task(folder, sheet.public_name(folder))
    quality = caption_quality(task, n, progress=lambda items: track(list(items), "captions"))
    pointing = evaluate(task, pointing_n, progress=lambda items: track(items, "pointing"))
    text = sheet.render(
        TEMPLATE,
        **sheet.origin(folder, bundle.build(config)),
        entry=ENTRIES[config.entry],
        quality=quality,
        pointing=pointing,
        table=sheet.pointing_table(pointing),
        percent=sheet.percent,
        score=lambda value: "NLTK or its data is not installed here" if value is None else f"{value:.3f}",
        method=task.defaults.method,
        target=task.defaults.target,
    )
    return text, {"captions": asdict(quality), "pointing": pointing.to_json()}

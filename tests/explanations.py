"""An explanation made by hand, for the tests of what is done with one."""

import numpy as np

from vlx import Explanation, WordExplanation
from vlx.geometry import Frame, Grid, Placement

LABELS = ("a", "red", "house", "in", "<script>alert('x')</script>")


def caption_explanation(seed: int = 0, labels: tuple[str, ...] = LABELS, cropped: bool = True) -> Explanation:
    """Five words on a picture 60 × 90 of which the model saw the middle 60 × 60; the fourth word has no map."""
    rng = np.random.default_rng(seed)
    grid = Grid((3.0, 3.0), (8.0, 8.0), (4, 4), (32, 32))
    middle = Frame((60 / 32, 60 / 32), (0.4375, 15.4375), (60, 90), (32, 32), (0, 32, 0, 32))
    placement = Placement(grid, middle if cropped else Frame.whole((60, 90), (32, 32)))

    def word(number: int, label: str) -> WordExplanation:
        signed = rng.normal(size=(4, 4)).astype(np.float32) * (number != 3) * 10.0**-number
        return WordExplanation(
            label=label,
            score=-0.5 * number,
            logprob=-0.5 * number - 0.01,
            alternatives=((label, -0.5 * number - 0.01), ("<b>bold</b>", -2.0), ("blue", -3.0)),
            weights=rng.normal(size=6).astype(np.float32),
            signed=signed,
            opposed=-signed if number != 1 else np.abs(signed),
            placement=placement,
            target="logprob",
            seen=(2.5, 0.01, -0.3, 1.0, 0.2)[number],
            notes=("the score does not depend on the feature map",) if number == 3 else (),
        )

    words = tuple(word(number, label) for number, label in enumerate(labels))
    return Explanation(
        text=" ".join(labels),
        words=words,
        sentence=word(0, " ".join(labels)),
        phrases=(word(2, "a red house"),),
        image=rng.integers(0, 255, (60, 90, 3), np.uint8),
        task="captioning",
        method="hirescam",
        placement=placement,
        notes=('a note with <i>markup</i> & "quotes"',),
        provenance={"model": "tiny</script>", "layer": "cnn", "versions": {"vlx": "0.1.0"}, "feature_map": [6, 4, 4]},
    )

"""What the terms of a page mean, each in a sentence or two: behind every term, and listed at the end of the page."""

from collections.abc import Iterator

from markupsafe import Markup, escape

TERMS: dict[str, tuple[str, str]] = {
    "p": (
        "p, log p, nats",
        "How likely the model held it here, of everything it could have said. Log p is its natural logarithm, in "
        "nats: −0.7 nats is p = 50 %, −2.3 nats is 10 %.",
    ),
    "map": (
        "map",
        "Regions of the picture whose features most raise (or lower) the score, by the method that the foot of "
        "the page names. It is evidence about the model, not about the world.",
    ),
    "scale": (
        "scale",
        "Each map has colours of its own: they end at its strongest cell, so that its shape shows. How strong it "
        "is, the bar beside the word tells. “Shared scale” draws all maps with one scale.",
    ),
    "bar": (
        "bar",
        "How strongly the picture carries the word, on one scale for all words: what share of p is lost when the "
        "tenth of the cells that its map ranks highest is replaced by the mean cell; where that was not tried, "
        "when other pictures stand in its place. Where p is all but 1 it is the share of its odds.",
    ),
    "faded": (
        "faded",
        "A map fades with its bar; where the check of the map failed and the picture hardly carries the word "
        "either, it is palest: nothing that was tried speaks for what it shows.",
    ),
    "language": (
        "language’s (°)",
        "The words before it make this word likely; the picture hardly carries it: with other pictures in its "
        "place it is at least three quarters as likely (seen below .3 nats).",
    ),
    "seen": (
        "from the picture (seen)",
        "What share of p is lost with other pictures in its place: log p less log p with each, the words before "
        "it unchanged, each within the logarithm of the number of choices, on average. In nats it is called seen.",
    ),
    "references": (
        "references",
        "Pictures made of this one that take away what it shows: its median colour, its tiles shuffled, its "
        "pixels shuffled, its channels permuted, its colours inverted; or other pictures that you gave.",
    ),
    "check": (
        "check of the map",
        "The score with the tenth of the cells that the map ranks highest replaced by the mean cell, against 20 "
        "random sets of as many cells. Confirmed: it falls by more than with 95 % of them, and by half of the "
        "most that any did; weak: more, but less than half. It marks an effect, not a place.",
    ),
    "reasons": (
        "reasons, evidence",
        "Concepts after which units of the network’s map are named. Evidence: what each unit adds to the score, "
        "gradient × activation; a reason carries the share that its units add. What has no name is told as well.",
    ),
    "marks": (
        "marks",
        "Two trials of the reasons. Units matter: with the units named switched off the word loses more than with "
        "any of 20 random sets. Names hold: units of one name act together for this word more than randomly named "
        "ones. The second tests how units are grouped, not whether a label is right.",
    ),
    "despite": (
        "despite",
        "Units of these names speak against the word: it gains when they are switched off.",
    ),
    "silent": (
        "silent",
        "Units that do nothing here and by their weights would speak against the word. That cannot be tried.",
    ),
    "fit": (
        "IoU, AUC, folds",
        "How well a name fits its units. IoU: overlap of their masks with the concept’s, 0 to 1. AUC: how well "
        "the unit’s highest activation tells pictures whose captions have the word, .5 by chance. Folds won: in "
        "how many parts of the pictures the name stayed the best.",
    ),
    "alone": (
        "alone",
        "What the word loses in log-odds when the units of this one name are switched off.",
    ),
    "against": (
        "for, against, signed",
        "For: what raises the score. Against: what lowers it; a counterfactual only where its own check says so. "
        "Signed: both, warm for and blue against.",
    ),
    "occlusion": (
        "occlusion ρ",
        "Rank correlation of the map with how much the score falls when a patch is hidden there; 1 is full agreement.",
    ),
    "lost": (
        "left out",
        "What the answer loses when this word of the question is left out; warm: the word speaks for the answer, "
        "blue: against it.",
    ),
}
# Of numbers, which have no p.
OF_NUMBERS: dict[str, tuple[str, str]] = {
    "bar": (
        "bar",
        "How strongly the picture carries it, on one scale for all: what share of its size is lost when the tenth "
        "of the cells that its map ranks highest is replaced by the mean cell; where that was not tried, when "
        "other pictures stand in its place.",
    ),
    "seen": (
        "from the picture (seen)",
        "The number less that with other pictures in its place, on average, in its own unit.",
    ),
    "alone": (
        "alone",
        "What is lost when the units of this one name are switched off.",
    ),
}


class Terms:
    """The links of one page to its glossary, and of the glossary what they lead to."""

    def __init__(self, *, number: bool = False) -> None:
        self._known = {**TERMS, **(OF_NUMBERS if number else {})}
        self._used: set[str] = set()

    def link(self, name: str, text: str, title: str = "") -> Markup:
        """The text as a link to what it means; ``title`` is told on hover."""
        self._used.add(name)
        hover = f' title="{escape(title)}"' if title else ""
        return Markup(f'<a class="term" href="#term-{name}"{hover}>{escape(text)}</a>')

    @property
    def used(self) -> Iterator[tuple[str, str, str]]:
        """Name, head and meaning of every term that was linked so far, in the order of the glossary."""
        return ((name, *told) for name, told in self._known.items() if name in self._used)

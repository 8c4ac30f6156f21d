"""How figures and maps are put into words; the same in the page, the figure, the terminal and Markdown."""

import math
from collections import Counter
from functools import cache

import numpy as np

from vlx.evaluation.intervals import wilson
from vlx.explanation.records import Explanation, Look, WordExplanation
from vlx.language import are_words
from vlx.methods import registry
from vlx.methods.method import Method
from vlx.pictures.edits import MADE
from vlx.report.numbers import bits, figure, log, probability, share, signed_bits

UNITS = {
    "value": "units of the value",
    "logprob": "nats",
    "logit": "logits",
    "prob": "probability",
    "margin": "logits of lead",
}
SCORES = {"logprob": "log p", "logit": "the logit", "prob": "p", "margin": "the lead over the runner-up"}
GUIDED = (
    "Guided Grad-CAM: the colours that would make the regions “for” it stronger; mid-grey is no effect. "
    "An illustration, not evidence: it hardly depends on the weights of the upper layers (arXiv 1810.03292)."
)
LITTLE = 0.1  # nats of `looked`: less is "hardly"
ENOUGH = 16  # pictures of the user's own, before that is said
SURE = 0.8  # of other pictures give the same, at 95 % confidence
OWN = "your own"  # as `vlx.probes.other_pictures.looks` calls them
CARRIED = 0.3  # nats of `seen`: a word that owes less to the picture is language's; see benchmarks.scope
RING = "°"
RINGED = f"{RING} language’s: the picture hardly carries this word (seen below .3 nats)"
SATURATED = -0.05  # from this log p on its gradient is faint: ∂ log p/∂z = 1 − p


PLURALS = {"word": "words", "answer": "answers", "class": "classes", "label": "labels", "value": "values"}


def noun(why: Explanation) -> str:
    """What is explained: a "word", an "answer", or of a classifier a "class", a "label" (yes or no) or a "value"."""
    if why.task == "classification":
        return {"sigmoid": "label", "value": "value"}.get(why.words[0].outputs if why.words else "", "class")
    return "word" if why.question is None or in_words(why) else "answer"


def in_words(why: Explanation) -> bool:
    """Whether a question was answered with a text of which the words are explained, and not with one answer or several.

    >>> in_words(vlx.explain(chat, picture, question="what is there?"))  # "a red car", by a, red and car
    True
    """
    return why.question is not None and why.text != ", ".join(word.label for word in why.words)


def a(noun: str) -> str:
    """A noun with its article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


NO_SIGN = "The map has no sign: it says how far the score is moved, not whether up or down."


def method_of(told: WordExplanation | Explanation) -> Method:
    """The method that made a map; of a record that names none a weighting of units."""
    return registry.named(told.method or "gradcam") or _unknown(told.method)


@cache
def _unknown(name: str) -> Method:
    """Stands for somebody's own method, of another process: what is said of its maps is what is known of any."""
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    unit = f"units of {name}".replace("{", "{{").replace("}", "}}")
    made = registry.choose("gradcam").attribute
    return Method(name, "", "", made, unit=unit, sentence=f"Places that, as {name} has it,", noun="places")


def both_signs(why: Explanation) -> bool:
    """Whether maps are first shown with both signs: those of a contrast, where they have two."""
    return why.instead_of is not None and method_of(why).signed


def illustration(told: WordExplanation | Explanation) -> str:
    """That a map is no evidence, and why not; empty where it is."""
    method = method_of(told)
    return "" if method.evidence else f"{method.disclaimer[0].upper()}{method.disclaimer[1:]}: {method.caution}."


def maps_are(why: Explanation) -> str:
    """What the maps of an explanation show and whether they are evidence, to follow "Maps are by X:"."""
    method = method_of(why)
    moved = "raise (or lower)" if method.signed else "move"
    moved = f"{moved} {a(noun(why))}’s score" if method.of_score else f"speak for (or against) {a(noun(why))}"
    of = f"{method.sentence[0].lower()}{method.sentence[1:]} most {moved}. "
    if registry.named(why.method) is None:
        return f"{of}What they are evidence of is told by who made {method.name}."
    return of + (illustration(why) or "They are evidence about the model, not about the world.")


def unit(word: WordExplanation) -> str:
    """The unit of the values of a word's map."""
    return method_of(word).unit.format(score=UNITS.get(word.target, word.target))


def meaning(word: WordExplanation, view: str, instead_of: str | None = None) -> str:
    """What a map of this word shows in a view ("for", "against", "signed", "occlusion" or "guided")."""
    name, method = _short(word.label), method_of(word)
    what, few = method.sentence, method.noun
    if view == "guided":
        return GUIDED if word.guided is not None else "Guided Grad-CAM was not asked for here."
    if view == "occlusion":
        return _occlusion_meaning(word, instead_of)
    caution = f" {told}" if (told := illustration(word)) else ""
    if not method.signed:
        return f"{what} most move {scored(word, instead_of)}, up or down.{caution}" if view == "for" else NO_SIGN
    if instead_of is not None:
        other = _short(instead_of)
        return {
            "for": f"{what} speak most for “{name}” rather than “{other}”.{caution}",
            "against": f"{what} speak most for “{other}” rather than “{name}”.",
            "signed": f"Warm: {few} that speak for “{name}” rather than “{other}”. Blue: for “{other}”.{caution}",
        }[view]
    effect = ("raise", "lower", scored(word)) if method.of_score else ("speak for", "speak against", f"“{name}”")
    up, down, score = effect
    return {
        "for": f"{what} most {up} {score}.{caution}",
        "against": _against(word, f"{what} most {down} {score}"),
        "signed": f"Warm: {few} that {up} {score}. Blue: {few} that {down} it.{caution}",
    }[view]


def scored(word: WordExplanation, instead_of: str | None = None) -> str:
    """The score that is explained: "log p of “red”", or a number by its name; of a contrast the difference."""
    name = f"“{_short(word.label)}”"
    if instead_of is not None:
        return f"the lead of {name} over “{_short(instead_of)}”"
    return name if word.outputs == "value" else f"{SCORES.get(word.target, 'the ' + word.target)} of {name}"


def _against(word: WordExplanation, lower: str) -> str:
    """What the map of the negated score shows; it is called a counterfactual only where its trial says so."""
    if not word.against_method:
        return (
            f"{lower}, as {word.method or 'the method'} has it; it was not tried whether its removal raises anything."
        )
    if word.counterfactual:
        return f"{lower}, by {word.against_method}: the counterfactual."
    if word.against_check is None:
        return f"{lower}, by {word.against_method}; not tried."
    check = word.against_check
    why = f"cannot be tested ({check.reason})" if check.reason else "random ones do as much when removed"
    return f"{lower}, by {word.against_method}; not shown to be a counterfactual: {why}."


CHECKED = {"confirmed": "✓", "weak": "~", "not confirmed": "✗", "cannot be tested": "–"}
MARKS = (
    "check: the score falls without the cells that the map ranks highest, more than without random ones: "
    "✓ confirmed, ~ weak, ✗ not confirmed, – cannot be tested. A mark of effect, not of place"
)


def mark(word: WordExplanation) -> str:
    """The sign of its map's check; empty when it was not asked for."""
    return "" if word.check is None else CHECKED[word.check.verdict]


def checked(word: WordExplanation) -> str:
    """What its map's check found, in a sentence; empty when it was not asked for."""
    return "" if word.check is None else f"{mark(word)} map {word.check}"


def seen(word: WordExplanation) -> str:
    """What the word owes to the picture, in nats, with its sign; empty when it was not asked for."""
    return "" if word.seen is None else difference(word.seen)


def difference(value: float) -> str:
    """A difference with its sign and two places."""
    if not math.isfinite(value):
        return figure(value)
    return "0.00" if abs(value) < 0.005 else f"{value:+.2f}".replace("-", "−")


def compared(word: WordExplanation) -> str:
    """What the word's figures with and without the picture compare it with."""
    count = len(word.seen_by)
    if not count:
        return "a blank picture"  # as files of earlier versions have it
    if set(word.seen_by) <= set(MADE):
        return f"{count} references made of it" if count > 1 else "a reference made of it"
    return f"{count} pictures of your own" if count > 1 else "a picture of your own"


def moved(word: WordExplanation) -> float | None:
    """How far other pictures move the word, L in [0, 1] nats, negative where the picture speaks against it.

    None when it was not asked for, and for numbers; without L (a phrase, a file of an earlier version) |seen|, at
    most 1.
    """
    if word.seen is None or math.isnan(word.seen) or word.outputs == "value":
        return None
    size = min(abs(word.seen), 1.0) if word.looked is None else word.looked
    return -size if word.seen < 0 else size


def language(word: WordExplanation) -> bool:
    """Whether a caption's word is language's: the picture hardly carries it, or speaks against it.

    It owes the picture less than .3 nats: with the references in its place it is at least three quarters as likely.
    """
    return moved(word) is not None and word.seen is not None and word.seen < CARRIED


def ringed(why: Explanation, word: WordExplanation) -> str:
    """The word's label, with a ring behind it where a caption has it from language; of a contrast bare."""
    return word.label + RING * (noun(why) == "word" and why.instead_of is None and language(word))


def marked(why: Explanation) -> str:
    """The text with a ring behind each word that a caption has from language; bare where it is made of pieces."""
    labels = [word.label for word in why.words]
    if noun(why) != "word" or not are_words(labels, why.text):
        return why.text
    text, rest = "", why.text
    for word in why.words:
        before, _, rest = rest.partition(word.label)
        text += before + ringed(why, word)
    return text + rest


def legend(why: Explanation) -> str:
    """What the ring means; empty where there is none."""
    return RINGED if any(ringed(why, word) != word.label for word in why.words) else ""


def seen_said(word: WordExplanation) -> str:
    """What the word owes to the picture, in a sentence; empty when it was not asked for."""
    if word.seen is None or math.isnan(word.seen):
        return ""
    if word.looked is not None and word.looked < LITTLE:
        return f"hardly moved by the picture: log p changes by {log(word.looked)} nats on average with {compared(word)}"
    if word.outputs == "value":
        return f"the picture adds {difference(word.seen)} to it, compared with {compared(word)}"
    if word.seen < 0:
        return f"the picture speaks against it: {difference(word.seen)} nats, compared with {compared(word)}"
    return f"{difference(word.seen)} nats come from the picture, compared with {compared(word)}"


def strongest(values: object) -> float:
    """The largest positive finite value of a map, else 0."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    return max(0.0, float(finite.max())) if finite.size else 0.0


STRONGEST = 0.995  # of a map in pixels: single ones beyond this quantile do not stretch its colours


def ending(word: WordExplanation, *, both: bool = True) -> float:
    """Where the colours of a word's map end: at its largest absolute value, or with ``both`` False the largest for it.

    Of a map in pixels at the 99.5th percentile of those that are not 0, so that a few do not leave the others blank.
    """
    maps = [np.abs(word.signed), np.abs(word.opposed)] if both else [np.maximum(word.signed, 0)]
    most = max(map(strongest, maps))
    if not word.placement.grid.in_pixels:
        return most
    parts = [part for values in maps if (part := values[np.isfinite(values) & (values > 0)]).size]
    return max((float(np.quantile(part, STRONGEST)) for part in parts), default=0.0)


def end(why: Explanation) -> str:
    """What the end of a map's own colours is called."""
    return "99.5 % of pixels" if why.placement.grid.in_pixels else "peak"


def remarks(word: WordExplanation, top: float) -> list[str]:
    """What a reader of this word's map should know: its notes, a zero map, one faint by saturation, bad numbers."""
    notes = list(word.notes)
    if not word.mapped:
        return notes
    peak = max(strongest(word.signed), strongest(word.opposed))
    if not (np.isfinite(word.signed).all() and np.isfinite(word.opposed).all()):
        notes.append("some values of the map are not finite; they are drawn as 0")
    if peak == 0:
        notes += [] if any("zero" in note for note in notes) else ["the map is zero everywhere"]
    elif word.target == "logprob" and 0 > word.logprob > SATURATED and peak < top / 10:
        notes.append(
            f"p is {share(word.logprob)}: log p has almost nowhere to rise, so its map is faint; "
            "the logit (target logit) has no such ceiling"
        )
    return notes


def runners_up(word: WordExplanation, count: int = 2) -> str:
    """The likeliest other words with their probabilities."""
    others = [(label, logprob) for label, logprob in word.alternatives if label != word.label][:count]
    return ", ".join(f"{label} {share(logprob)}" for label, logprob in others)


def verdict(word: WordExplanation, instead_of: str | None = None) -> str:
    """How much of a word or answer comes from the picture, in bits, compared with the references.

    That the same would have been said anyway is said only where enough pictures of the user's own were tried: 16 or
    more, none of one plain colour, of which so many gave the same that 80 % do at 95 % confidence, and the word hardly
    moved. Empty when nobody asked. ``instead_of``: the other answer of a contrast.
    """
    if word.outputs == "value" or word.seen is None or math.isnan(word.seen):
        return seen_said(word)
    if instead_of is None and (told := anyway(word)):
        return told
    spread = _spread(list(word.seen_by.values()))
    if instead_of is not None:
        moved = f"{signed_bits(word.seen)} bits{spread}"
        return f"the picture moves the lead over “{_short(instead_of)}” by {moved}, compared with {compared(word)}"
    if word.looked is not None and word.looked < LITTLE:
        return seen_said(word)
    if word.seen < 0:
        return f"the picture speaks against it: {signed_bits(word.seen)} bits{spread}, compared with {compared(word)}"
    return f"{bits(word.seen)} bits come from the picture{spread}, compared with {compared(word)}"


def anyway(word: WordExplanation) -> str:
    """That the user's own pictures give the same; empty where that is not sure, or too few were tried."""
    others = next((look for look in word.looks if look.kind == OWN), None)
    if others is None or len(others.said) < ENOUGH or word.looked is None or word.looked > LITTLE:
        return ""
    same = sum(said.casefold() == word.label.casefold() for said in others.said)
    if wilson(same, len(others.said))[0] < SURE:
        return ""
    likely = _range(share(min(others.logprobs)), share(max(others.logprobs)))
    tally = f"{same} of your {len(others.said)} other pictures give the same, p {likely}"
    return f"would have said “{_short(word.label)}” anyway: {tally}"


def _spread(nats: list[float]) -> str:
    """The least and the largest of several, in bits; empty for one."""
    finite = [value for value in nats if not math.isnan(value)]
    return f" ({signed_bits(min(finite))} to {signed_bits(max(finite))} by reference)" if len(finite) > 1 else ""


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def lead(word: WordExplanation) -> float:
    """A contrast's difference of log-probabilities with the picture, in nats; NaN where it cannot be known."""
    return math.nan if word.target == "prob" else word.score  # a difference of logits is one of log-probabilities


def agreement(word: WordExplanation) -> str:
    """How far the picture's occlusion bears the heat map out; empty when it was not asked for."""
    if word.occlusion is None:
        return ""
    correlation = word.occlusion.agreement
    if math.isnan(correlation):
        return "occlusion has nothing to rank: it or the map is the same everywhere"
    how = "agrees" if correlation >= 0.4 else "agrees weakly" if correlation >= 0.15 else "does not agree"
    how = "disagrees" if correlation <= -0.15 else how
    return f"occlusion {how}: rank correlation {correlation:.2f}".replace("-", "−")


def look_name(look: Look) -> str:
    """The name of a kind of other pictures, with their number."""
    return look.kind if len(look.logprobs) == 1 else f"{look.kind} ×{len(look.logprobs)}"


def look_said(look: Look, most: int = 3) -> str:
    """What was said of other pictures, the most frequent first: "white ×3, red"; "…" for more than ``most``."""
    counts = Counter(look.said).most_common()
    labels = [label if count == 1 else f"{label} ×{count}" for label, count in counts[:most]]
    return ", ".join([*labels, "…"] if len(counts) > most else labels)


def chance(nats: float, instead_of: str | None = None) -> float:
    """The probability of a log-probability in nats; of a contrast's difference, the first one's share of the two."""
    if instead_of is None:
        return probability(nats)
    return math.nan if math.isnan(nats) else 1 / (1 + math.exp(-min(max(nats, -700.0), 700.0)))


def _occlusion_meaning(word: WordExplanation, instead_of: str | None) -> str:
    if word.occlusion is None:
        return "Occlusion was not measured here."
    of = f"“{_short(word.label)}”" + (f" over “{_short(instead_of)}”" if instead_of is not None else "")
    score = "" if word.outputs == "value" else f"{SCORES.get(word.target, 'the ' + word.target)} of "
    side = word.occlusion.patch
    hidden = f"a patch of {side} × {side} prepared pixels is hidden there"
    return f"How much {score}{of} falls when {hidden}; blue: it rises."


def _short(label: str, most: int = 60) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def sentence(text: str) -> str:
    """The text with a capital at its beginning and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""

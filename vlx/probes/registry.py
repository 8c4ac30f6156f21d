"""All probes, in the order in which they are asked: those that come with vlx, and the user's own."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

from vlx.errors import InputError
from vlx.language import shortened
from vlx.probes.asked import Measured
from vlx.probes.because import BECAUSE
from vlx.probes.guided import GUIDED
from vlx.probes.map_trials import CHECKS
from vlx.probes.occlusion import OCCLUSION
from vlx.probes.other_pictures import LOOKS
from vlx.probes.owing import LOOKED, SEEN, SEEN_BY, STRANGE
from vlx.probes.probe import Context, Probe

_BUILT_IN = (LOOKS, SEEN, SEEN_BY, LOOKED, STRANGE, OCCLUSION, GUIDED, CHECKS, BECAUSE)
_OWN: dict[str, Probe] = {}  # registered in this process, by name
TAKEN = {one.name for one in fields(Measured)}


def probes() -> Iterator[Probe]:
    """Every probe: those that come with vlx, then the user's own in the order in which they were registered."""
    yield from _BUILT_IN
    yield from _OWN.values()


def register(probe: Probe) -> Probe:
    """Make a probe of your own known, to `vlx.explain` in this process; its values are in ``word.measured``.

    One of the same name that was registered before is replaced. Raises InputError for the name of a field of
    `Measured`, and for what is no probe.

    >>> registry.register(Probe("heat", lambda context: True, lambda context: [row.score for row in context.rows]))
    """
    if not isinstance(probe, Probe):
        raise InputError(f"register() takes a vlx.probes.probe.Probe, got {type(probe).__name__}")
    functions = (probe.wanted, probe.run, probe.to_record, probe.from_record, probe.told)
    if not isinstance(probe.name, str) or not all(map(callable, functions)):
        raise InputError(
            f"probe {shortened(repr(probe.name))}: its name is a text, and wanted, run, to_record, from_record and "
            "told are functions; give such"
        )
    if probe.name in TAKEN or not probe.name.isidentifier():
        raise InputError(
            f"probe {shortened(probe.name)!r}: its name must be a word with no spaces that vlx has not taken; give "
            "another one"
        )
    _OWN[probe.name] = probe
    return probe


def unregister(name: str) -> None:
    """Forget a probe of your own; one that there is not is no fault."""
    _OWN.pop(name, None)


def probed(context: Context) -> list[Measured]:
    """The context's rows with what the probes that are wanted say of each that they are asked of."""
    rows, with_maps = list(context.rows), context.with_maps
    every: Sequence[int] = range(len(rows))
    places: Sequence[int] = [n for n in every if context.asked[n].with_map]
    for probe in probes():
        part, numbers = (context, every) if probe.every else (with_maps, places)
        if part.asked and probe.wanted(part):
            for n, value in zip(numbers, _values(probe, part), strict=True):
                rows[n] = _with(probe, rows[n], value)
    return rows


def _values(probe: Probe, context: Context) -> Sequence[Any]:
    given = probe.run(context)
    if not isinstance(given, Iterable):
        raise InputError(f"probe {probe.name!r} gave {type(given).__name__}; give one value a target")
    values = list(given)
    if len(values) != len(context.asked):
        raise InputError(
            f"probe {probe.name!r} gave {len(values)} values for {len(context.asked)} targets; give one a target, as "
            "context.asked has them"
        )
    return values


def _with(probe: Probe, row: Measured, value: Any) -> Measured:
    if probe.name in TAKEN:
        return replace(row, **{probe.name: value})
    told = probe.told(value)
    if told and not isinstance(told, str):
        raise InputError(
            f"probe {probe.name!r} told {shortened(repr(told), 60)}, no text; give a sentence, or an empty one"
        )
    notes = (*row.told, told) if told else row.told
    return replace(row, more={**row.more, probe.name: probe.to_record(value)}, told=notes)

"""Any method at another layer of the model than the task's own: ``gradcam@layer3``.

The task is split anew at that layer (`vlx.protocol.layered.Layered`) and the picture shown to it once more; methods at
one layer share that run. The map lies on that layer's cells, and its importance weights are of that layer's units.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from weakref import WeakKeyDictionary

import torch

from vlx.errors import InputError
from vlx.language import shortened
from vlx.methods.engine import Attribution
from vlx.methods.method import Method, Site
from vlx.methods.names import AT
from vlx.pictures.placement import Grid
from vlx.protocol.layered import Layered
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task

WEIGHING = (
    "guided-gradcam",
    "deconvolution-gradcam",
)  # whose maps are of pixels, and rest on what a layer's cells weigh all the same
SAME = 0.75  # of each other's cells a side: two layers of one resolution

_seen: WeakKeyDictionary[Features, dict[str, Features]] = WeakKeyDictionary()  # by layer, of features at A


@lru_cache(maxsize=256)
def at_layer(method: Method, layer: str) -> Method:
    """The method at a layer of the vision part, by that layer's name in the model.

    Raises InputError for a method that does not weigh A's cells: no layer changes its map. So it does without a layer.

    >>> at_layer(registry.choose("gradcam"), "layer3").name
    'gradcam@layer3'
    """
    if not layer or not layer.isprintable():
        raise InputError(
            f"method {method.name}{AT}: name the layer behind {AT} as the model calls it, {method.name}{AT}layer3"
        )
    if not method.on_cells and method.name not in WEIGHING:
        raise InputError(f"{method.name} makes no map of a layer's cells: leave {AT}{shortened(layer, 60)} out")
    return replace(
        method,
        name=f"{method.name}{AT}{layer}",
        summary=f"{method.summary}; at {layer}",
        attribute=partial(_attribute, method, layer),
        grid=partial(_grid, method, layer),
        against=f"{method.against}{AT}{layer}" if method.against else "",
        weighting=None,
        layer=layer,
    )


def ablated_layers(task: Task) -> tuple[str, ...]:
    """The last layer of each resolution beneath A's, which keep the change of size between them, lowest first.

    Raises InputError for a task that cannot be split at another layer.

    >>> ablated_layers(vlx.load("scenes/captioner"))
    ('layers.5', 'layers.11')
    """
    layers = _layered(task).layers()
    groups: list[list[str]] = []
    for name, cells in layers.items():
        alike = next((group for group in groups if _alike(layers[group[0]], cells)), None)
        if alike is None:
            groups.append([name])
        else:
            alike.append(name)
    own = [*layers][-1:]
    kept = [_last_of_most(group, layers) for group in groups if not {*own} & {*group}]
    return tuple(name for name in layers if name in kept)


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two numbers of cells are one resolution, but for what padding adds."""
    return all(min(sides) > SAME * max(sides) for sides in zip(one, other, strict=True))


def _last_of_most(group: Sequence[str], layers: Mapping[str, tuple[int, int]]) -> str:
    """The last layer of a resolution of those that have the cells that most have."""
    most, _ = Counter(layers[name] for name in group).most_common(1)[0]
    return [name for name in group if layers[name] == most][-1]


def split_at(task: Task, layer: str) -> Task:
    """The task split at another layer of its model.

    Raises InputError for a task that cannot be, ModelError, with close names, for a layer that there is not.
    """
    return _layered(task).at(layer)


def _layered(task: Task) -> Layered:
    layered = powers_of(task).layered
    if layered is None:
        raise InputError(
            f"{shortened(task.name, 60)} can be explained at its own layer only: give the method's name alone, or the "
            "adapter the members layers() and at(layer) of vlx.protocol.layered.Layered"
        )
    return layered


def _site(layer: str, task: Task, site: Site) -> tuple[Task, Site]:
    """The task split at the layer, and the site there: row m of its features is of picture m."""
    other = split_at(task, layer)
    if other is task:
        return task, site
    known = _seen.setdefault(site.features, {})
    if layer not in known:
        if site.inputs is None:
            raise InputError(f"a method at {layer} shows the model the picture again; give the site its inputs")
        with torch.no_grad():
            known[layer] = other.features(other.place(site.inputs))
    return other, Site(known[layer], site.inputs, site.filling, task=other)


def _attribute(method: Method, layer: str, task: Task, site: Site, targets: Sequence[Target]) -> Attribution:
    other, there = _site(layer, task, site)
    moved = targets if there is site else [replace(target, row=site.picture_of(target.row)) for target in targets]
    return method.attributed(other, there, moved)


def _grid(method: Method, layer: str, site: Site) -> Grid:
    if site.task is None:
        raise InputError(f"a method at {layer} needs the task that the site is of: Site(features, inputs, task=task)")
    return method.grid(_site(layer, site.task, site)[1]).plain  # `_attribute` has folded its maps

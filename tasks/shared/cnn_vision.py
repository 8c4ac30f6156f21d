"""The vision half of adapters for a CNN and something behind it: placing, geometry, versions, refusals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures.receptive_fields import Laid, Tracer
from vlx.protocol.signatures import fit
from vlx.protocol.task import Features
from vlx.tasks.classification.layers import layers
from vlx.tasks.shared.cnn_layers import OTHERS, CnnLayer
from vlx.tasks.shared.networks import Networks
from vlx.tasks.shared.wrapped import passes, plain, short, unquantised

LAYER = "cnn"
_CUDNN = RLock()
Scope = Callable[[Features, Image.Image, str], tuple[str, ...]]  # see `vlx.protocol.powers.Scoped`


class Deeper(Protocol):
    """Optional, of a CNN: other maps that it makes on the way to A or behind it, for what is said beside A."""

    def with_maps(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Pictures [B, C, H, W] → A as the CNN itself gives it, and maps [B, K, h, w] by name."""
        ...


class CnnVision(Networks):
    """A = ``cnn(images)``, [B, K, h, w], with what the Task protocol asks of the vision part.

    ``behind`` names the attributes that hold the networks behind A. ``tells`` says what of a picture lies outside of
    what the model was made for.
    """

    besides: Mapping[str, str] = {OTHERS: "the tokens that are no cells"}  # see `vlx.protocol.powers.Powers`

    def __init__(
        self,
        *behind: str,
        cnn: Callable[[Tensor], Tensor],
        prepare: Callable[[Image.Image], Tensor],
        name: str,
        blank: tuple[float, float, float] | None,
        notes: Sequence[str],
        tells: Scope | None = None,
    ) -> None:
        super().__init__("cnn", *behind, prepare=prepare, name=name, blank=blank, notes=notes)
        self.cnn, self.tells = plain(cnn), tells
        self._tracer = Tracer()
        self._beneath: dict[str, CnnLayer] = {}

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, C, H, W] → A [B, K, h, w] and its geometry, in one run of the CNN, without a graph.

        A CNN that gives its map in another order (channels last, tokens) is understood where its cells are seen to be
        places; ``rest`` then holds the tokens that are no cells. Raises ModelError in training mode, for a CNN whose
        output is no map, and for NaN.
        """
        self.refuse_training()
        maps: dict[str, Tensor] = {}
        with torch.no_grad():
            laid = self._tracer.lay(partial(self._run, maps=maps), inputs)
        if not torch.isfinite(laid.A).all():
            raise ModelError(f"{self.name}: the CNN gives NaN or infinite features; check its weights and the picture")
        return _features(laid, maps)

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, C, H, W] → A as `features` gives it, with a graph where gradients are on; see `Sees`.

        Raises ModelError in training mode.
        """
        self.refuse_training()
        return self._tracer.see(getattr(self.cnn, "_orig_mod", self.cnn), inputs)  # a compiled CNN hides its ReLUs

    def layers(self) -> Mapping[str, tuple[int, int]]:
        """The layers of the CNN that give a feature map, with their cells; see `vlx.protocol.layered.Layered`.

        None of a CNN that is a function: it has no layers by name.
        """
        network = self._network()
        return {} if network is None else layers(network, self.cnn, self.example) or {}

    def at(self, layer: str) -> "CnnVision | CnnLayer":
        """The same model split at a layer of its CNN, named as in ``cnn.named_modules()``; "cnn" is A itself.

        Raises ModelError for a name that no layer bears, and for a CNN that is a function.
        """
        if layer == LAYER:
            return self
        network, known = self._network(), self._beneath.get(layer)
        if network is None:
            raise ModelError(f"{self.name}: its CNN is a function, whose layers have no names; give it as an nn.Module")
        if known is None or known.cnn is not self.cnn:
            cnn = self.cnn
            known = self._beneath[layer] = CnnLayer(self, network, layer, lambda _network, pictures: cnn(pictures))
        return known

    def laid(self, made: Tensor, inputs: Tensor) -> Features:
        """What the CNN made of pictures [B, C, H, W], as `features` gives it, with its graph."""
        with torch.no_grad():
            self._tracer.known(partial(self._run, maps={}), inputs)
        return _features(self._tracer.laid(made, (inputs.shape[-2], inputs.shape[-1])), {})

    def example(self) -> Tensor:
        """A grey picture as the networks take it, [1, C, H, W]."""
        return self.place(self.prepare(Image.new("RGB", (256, 256), (128, 128, 128)))[None])

    def _network(self) -> nn.Module | None:
        """The module that the CNN is, or whose method it is."""
        owner = getattr(self.cnn, "__self__", self.cnn)
        return owner if isinstance(owner, nn.Module) else None

    def _own(self, A: Tensor, rest: Any) -> Tensor:
        """A [M, K, h, w] as the CNN gave it: what comes behind it knows its own layout only."""
        return self._tracer.join(A, rest.get(OTHERS) if isinstance(rest, dict) else None)

    def scope(self, features: Features, picture: Image.Image, text: str) -> tuple[str, ...]:
        """What of one picture lies outside of what the model was made for; see `vlx.protocol.powers.Scoped`."""
        return () if self.tells is None else self.tells(features, picture, text)

    def _run(self, pictures: Tensor, maps: dict[str, Tensor]) -> Tensor:
        """What the CNN gives, other maps of the first run into ``maps``; what it raises becomes a ModelError."""
        try:
            made, others = self._made(pictures)
        except Exception as error:  # a network's code raises anything
            if passes(error):
                raise
            raise ModelError(
                f"{self.name}: the CNN does not run on prepared pictures {list(pictures.shape)} ({short(error)}). If "
                "it takes more, bind it: cnn=lambda x: net(x, other), with len(x) rows of each; else mend prepare"
            ) from error
        unquantised(made, f"{self.name}: the CNN")
        if not maps:
            maps.update(others)
        return made

    def _made(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        deeper = getattr(self.cnn, "with_maps", None)
        if deeper is None or fit(deeper, Deeper.with_maps) != "fits":
            return self.cnn(pictures), {}
        made: tuple[Tensor, dict[str, Tensor]] = deeper(pictures)
        return made


def _features(laid: Laid, maps: dict[str, Tensor]) -> Features:
    rest = None if laid.others is None else {OTHERS: laid.others}
    return Features({**maps, LAYER: laid.A}, LAYER, laid.grid, rest, laid.notes)


@contextmanager
def rnn_backward_allowed(device: torch.device | None) -> Iterator[None]:
    """cuDNN refuses the backward of an RNN in eval mode (pytorch/pytorch#15788): use the native kernels there."""
    if device is not None and device.type == "cuda":
        with _CUDNN, torch.backends.cudnn.flags(enabled=False):  # the flag is the whole process's
            yield
    else:
        yield

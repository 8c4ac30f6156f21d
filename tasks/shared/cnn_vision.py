"""The vision half of adapters for a CNN and something behind it: placing, geometry, versions, refusals."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Any, Protocol, cast, runtime_checkable

import torch
from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures.receptive_fields import Tracer, mean_colour
from vlx.protocol.identity import Digest
from vlx.protocol.task import Features, Task
from vlx.selftest import run
from vlx.tasks.shared.wrapped import passes, plain, short, unquantised

LAYER = "cnn"
OTHERS = "others"  # tokens that are no cells
_CUDNN = RLock()
Scope = Callable[[Features, Image.Image, str], tuple[str, ...]]  # see `vlx.protocol.powers.Scoped`


@runtime_checkable
class Deeper(Protocol):
    """Optional, of a CNN: other maps that it makes on the way to A or behind it, for what is said beside A."""

    def with_maps(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Pictures [B, C, H, W] → A as the CNN itself gives it, and maps [B, K, h, w] by name."""
        ...


class CnnVision:
    """A = ``cnn(images)``, [B, K, h, w], with what the Task protocol asks of the vision part.

    ``blank`` is RGB in [0, 1] of a picture that shows nothing, by default the colour that ``prepare`` turns into zeros.
    ``tells`` says what of a picture lies outside of what the model was made for.
    """

    besides: Mapping[str, str] = {OTHERS: "the tokens that are no cells"}  # see `vlx.selftest.around.Besides`

    def __init__(
        self,
        cnn: Callable[[Tensor], Tensor],
        prepare: Callable[[Image.Image], Tensor],
        *,
        name: str,
        blank: tuple[float, float, float] | None,
        notes: Sequence[str],
        tells: Scope | None = None,
    ) -> None:
        self.cnn, self.prepare = plain(cnn), prepare
        self.name, self.notes, self._blank = name, tuple(notes), blank
        self.tells = tells
        self._tracer, self._digest = Tracer(), Digest()

    @property
    def blank(self) -> tuple[float, float, float]:
        """RGB in [0, 1] of a picture that shows nothing: as given, or the colour that ``prepare`` turns into zeros."""
        if self._blank is None:
            self._blank = mean_colour(self.prepare)
        return self._blank

    def place(self, inputs: Tensor) -> Tensor:
        """Move prepared pictures [B, C, H, W] to the networks' device and dtype."""
        sample = next((tensor for module in self._modules() for tensor in module.parameters()), None)
        return inputs if sample is None else inputs.to(sample.device, sample.dtype)

    def version(self) -> Hashable:
        """Changes whenever a weight changes in place or is replaced."""
        tensors = [t for module in self._modules() for t in (*module.parameters(), *module.buffers())]
        return tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors)

    def digest(self) -> str:
        """A hash of the CNN's weights; see `vlx.protocol.powers.Identified`."""
        owner = getattr(self.cnn, "__self__", self.cnn)
        tensors = owner.state_dict().values() if isinstance(owner, nn.Module) else ()
        return self._digest.of(self.version(), tensors)

    def features(self, inputs: Tensor) -> Features:
        """Pictures [B, C, H, W] → A [B, K, h, w] and its geometry, in one run of the CNN, without a graph.

        A CNN that gives its map in another order (channels last, tokens) is understood where its cells are seen to be
        places; ``rest`` then holds the tokens that are no cells. Raises ModelError in training mode, for a CNN whose
        output is no map, and for NaN.
        """
        self._refuse_training()
        maps: dict[str, Tensor] = {}
        with torch.no_grad():
            laid = self._tracer.lay(partial(self._run, maps=maps), inputs)
        if not torch.isfinite(laid.A).all():
            raise ModelError(f"{self.name}: the CNN gives NaN or infinite features; check its weights and the picture")
        rest = None if laid.others is None else {OTHERS: laid.others}
        return Features({**maps, LAYER: laid.A}, LAYER, laid.grid, rest, laid.notes)

    def see(self, inputs: Tensor) -> Tensor:
        """Pictures [B, C, H, W] → A as `features` gives it, with a graph where gradients are on; see `Sees`.

        Raises ModelError in training mode.
        """
        self._refuse_training()
        return self._tracer.see(getattr(self.cnn, "_orig_mod", self.cnn), inputs)  # a compiled CNN hides its ReLUs

    def self_test(self, image: Any, **options: Any) -> run.SelfTest:
        """Whether explanations of this model can be trusted, tried on a picture; see `vlx.selftest.run.self_test`."""
        return run.self_test(cast(Task, self), image, **options)

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
        return self.cnn.with_maps(pictures) if isinstance(self.cnn, Deeper) else (self.cnn(pictures), {})

    def _parts(self) -> dict[str, Any]:
        """The parts of the model by name, the CNN first."""
        raise NotImplementedError

    def _modules(self) -> Iterator[nn.Module]:
        return (module for _, module in self._named_modules())

    def _named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """The networks behind the parts, also when one is given as a method (``net.forward_features``)."""
        for name, part in self._parts().items():
            owner = getattr(part, "__self__", part)
            if isinstance(owner, nn.Module):
                yield name, owner

    def _refuse_training(self) -> None:
        for name, part in self._named_modules():
            if any(tensor.is_inference() for tensor in part.parameters()):
                raise ModelError(
                    f"{self.name}: its weights were made under torch.inference_mode(); make the model outside"
                )
            if any(module.training for module in part.modules()):
                raise ModelError(f"{self.name}: the {name} is in training mode; call {name}.eval() first")


@contextmanager
def rnn_backward_allowed(device: torch.device | None) -> Iterator[None]:
    """cuDNN refuses the backward of an RNN in eval mode (pytorch/pytorch#15788): use the native kernels there."""
    if device is not None and device.type == "cuda":
        with _CUDNN, torch.backends.cudnn.flags(enabled=False):  # the flag is the whole process's
            yield
    else:
        yield

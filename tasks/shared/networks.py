"""`Networks`: what a task made of networks owes to the Task protocol beside its split, written once."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from PIL import Image
from torch import Tensor, nn

from vlx.errors import ModelError
from vlx.pictures.prepare import mean_colour
from vlx.protocol.identity import Digest, weights_of
from vlx.protocol.task import Task
from vlx.tasks.shared.devices import home_of

if TYPE_CHECKING:
    from vlx.selftest.result import SelfTest


class Networks:
    """The base of adapters: where the networks are, which weights they have, and whether they may be explained.

    ``parts``: the names of the attributes that hold the networks, that before A first; a part may also be a method of a
    network (``net.forward_features``), or none. They are looked up whenever they are needed, so that another network
    may be put in a part's place. ``prepare``: PIL RGB → [C, H, W]. ``blank``: RGB in [0, 1] of a picture that shows
    nothing, by default the colour that ``prepare`` turns into zeros. ``notes`` are shown with every explanation.

    What is left to write is ``kind``, ``defaults``, ``features``, ``predict`` and ``scores``:

    >>> class Mine(Networks):
    ...     kind, defaults = "classification", Defaults("gradcam", "logit")
    ...     def __init__(self, net, prepare):
    ...         super().__init__("net", prepare=prepare, name="mine")
    ...         self.net = net
    >>> Mine(net.train(), prepare).refuse_training()
    Traceback (most recent call last):
    vlx.errors.ModelError: mine: it is in training mode; call net.eval() first
    """

    inside = "module"  # what a refusal calls a part of a network

    def __init__(
        self,
        *parts: str,
        prepare: Callable[[Image.Image], Tensor],
        name: str,
        blank: tuple[float, float, float] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.prepare, self.name, self.notes = prepare, name, tuple(notes)
        self.blank = mean_colour(prepare) if blank is None else blank
        self._names, self._digest = parts, Digest()

    def vision(self) -> Sequence[nn.Module]:
        """The networks before A, by default the first part; inputs go where they are, and `digest` is theirs.

        An adapter that splits inside a network names what comes before A: ``[self.net.get_submodule("tower")]``.
        """
        return [network for name, network in self._networks() if name == self._names[0]]

    def place(self, inputs: Tensor) -> Tensor:
        """Move prepared pictures [B, C, H, W] to the networks' device and dtype, those of the vision part first."""
        home = home_of((*self.vision(), *(network for _, network in self._networks())))
        return inputs if home is None else inputs.to(home.device or inputs.device, home.dtype)

    def version(self) -> Hashable:
        """Changes whenever a weight changes in place or is replaced."""
        tensors = (one for _, network in self._networks() for one in (*network.parameters(), *network.buffers()))
        return tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors)

    def digest(self) -> str:
        """A hash of the weights before A; see `vlx.protocol.powers.Identified`."""
        return self._digest.of(self.version(), chain.from_iterable(map(weights_of, self.vision())))

    def refuse_training(self) -> None:
        """Raises ModelError where a network is in training mode, or was made under ``torch.inference_mode``."""
        for name, network in self._networks():
            if any(weights.is_inference() for weights in network.parameters()):
                raise ModelError(
                    f"{self.name}: its weights were made under torch.inference_mode(); make the model outside"
                )
            training = next((inner for inner, module in network.named_modules() if module.training), None)
            if training is not None:
                what = f"its {self.inside} {training!r}" if training else "it"
                what = what if len(self._names) == 1 else f"the {name}"
                raise ModelError(f"{self.name}: {what} is in training mode; call {name}.eval() first")

    def self_test(self, image: Any, **options: Any) -> "SelfTest":
        """Whether explanations of this model can be trusted, tried on a picture; see `vlx.selftest.run.self_test`."""
        from vlx.selftest.run import self_test

        return self_test(cast(Task, self), image, **options)

    def _networks(self) -> Iterator[tuple[str, nn.Module]]:
        """The networks by their parts' names, also where a part is a method of one."""
        for name in self._names:
            part = getattr(self, name)
            owner = getattr(part, "__self__", part)
            if isinstance(owner, nn.Module):
                yield name, owner

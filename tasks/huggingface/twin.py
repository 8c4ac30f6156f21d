"""A model of transformers without its vision tower: what is behind the feature map, run as the library runs it.

`Twin` copies the modules but not the weights. In the copy the tower is a module that hands on features which were
computed before, so that stock ``forward`` and ``generate`` take any feature map, differentiably, and the tower is not
run again. The user's model is neither hooked nor changed, and threads cannot meet.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

from torch import Tensor, nn

STACKS = ("layers", "layer", "blocks")  # what a tower's stack of blocks is called
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class GivenTokens(nn.Module):
    """Stands for a vision tower: its tokens [B, T, D] come in as pixels [B, 1, T, D]."""

    main_input_name = "pixel_values"

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    def forward(self, pixel_values: Tensor, **_: Any) -> Any:
        """The features, as a tower's output."""
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(last_hidden_state=pixel_values[:, 0])


class Twin:
    """The twin of ``model`` with other modules in some places; made again when the weights move.

    ``stand_ins``: a module by the name of the submodule it stands for. The weights are those of ``model``, in place,
    and need no gradient; hooks of the owner run in the twin too. ``eager``: the submodule whose attention is to be
    computed in plain steps, which show the probabilities and can be differentiated for many targets at once; for models
    that know other ways. ``change``: what else is to be done to the twin when it is made.
    """

    def __init__(
        self,
        model: nn.Module,
        stand_ins: Mapping[str, nn.Module],
        *,
        eager: str | None = None,
        change: Callable[[Any], object] | None = None,
    ) -> None:
        self.model, self.stand_ins, self.eager, self.change = model, dict(stand_ins), eager, change
        self._made: tuple[tuple[int, ...], nn.Module] | None = None

    def __call__(self) -> Any:
        """The twin, in eval mode."""
        places = tuple(tensor.data_ptr() for tensor in (*self.model.parameters(), *self.model.buffers()))
        made = self._made
        if made is None or places != made[0]:
            self._made = made = (places, self._make())
        return made[1]

    def __getstate__(self) -> dict[str, Any]:
        """Without the twin that was made: a copy of the model has weights of its own, and makes one of them."""
        return {**vars(self), "_made": None}

    def _make(self) -> nn.Module:
        model = self.model
        memo: dict[int, Any] = {id(weight): _shared(weight) for weight in model.parameters()}
        memo |= {id(buffer): buffer for buffer in model.buffers()}
        memo |= {id(model.get_submodule(name)): stand_in for name, stand_in in self.stand_ins.items()}
        memo |= {id(hook): hook for module in model.modules() for name in HOOKS for hook in vars(module)[name].values()}
        copied: Any = deepcopy(model, memo)
        if self.eager is not None:
            copied.get_submodule(self.eager).set_attn_implementation("eager")
        if self.change is not None:
            self.change(copied)
        twin: nn.Module = copied.eval()
        return twin


def _shared(weight: nn.Parameter) -> nn.Parameter:
    """The same weight without a gradient; one of a kind of its own, as a quantised one is, as it is."""
    return weight if type(weight) is not nn.Parameter else nn.Parameter(weight.detach(), requires_grad=False)


def given_back(name: str, copied: Any) -> None:
    """Make the tower ``name`` of a twin hand on what it gets as pictures: all tokens that a tower gave before.

    >>> Twin(model, {}, change=partial(given_back, "vision_model"))
    """
    tower = copied.get_submodule(name)
    tower.forward = _given
    for hooks in HOOKS:
        vars(tower)[hooks].clear()


def _given(pixel_values: Tensor, *_: Any, **__: Any) -> Any:
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    return BaseModelOutputWithPooling(last_hidden_state=pixel_values)


def first_blocks(model: nn.Module, vision: Sequence[nn.Module]) -> Any:
    """A twin of ``model`` in which every block of its ``vision`` part behind the first of its stack hands on what it
    is given; where stacks stand between other layers, all of their blocks do.
    """
    inside = {id(module) for part in vision for module in part.modules()}
    stacks = [
        name
        for name, module in model.named_modules()
        if id(module) in inside and isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in STACKS
    ]

    def change(twin: Any) -> None:
        for name in stacks:
            stack = list(twin.get_submodule(name))
            inner = [block for part in stack if isinstance(part, nn.ModuleList) for block in part]
            for block in inner or stack[1:]:
                block.forward = partial(_handed_on, block.forward)

    return Twin(model, {}, change=change)()


def _handed_on(forward: Callable[..., Any], hidden: Any, *others: Any, **named: Any) -> Any:
    """What came in, in the form in which ``forward`` gives what goes out."""
    output = forward(hidden, *others, **named)
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

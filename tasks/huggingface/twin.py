"""A model of transformers without its vision tower: what is behind the feature map, run as the library runs it.

`Twin` copies the modules but not the weights. In the copy the tower is a module that hands on features which were
computed before, so that stock ``forward`` and ``generate`` take any feature map, differentiably, and the tower is not
run again. The user's model is neither hooked nor changed, and threads cannot meet.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor, nn


class Given(nn.Module):
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
    and need no gradient. ``eager``: the submodule whose attention is to be computed in plain steps, which show the
    probabilities and can be differentiated for many targets at once; for models that know other ways.
    """

    def __init__(self, model: nn.Module, stand_ins: Mapping[str, nn.Module], *, eager: str | None = None) -> None:
        self.model, self.stand_ins, self.eager = model, dict(stand_ins), eager
        self._made_of: tuple[int, ...] = ()
        self._twin: nn.Module | None = None

    def __call__(self) -> Any:
        """The twin, in eval mode."""
        places = tuple(tensor.data_ptr() for tensor in (*self.model.parameters(), *self.model.buffers()))
        if self._twin is None or places != self._made_of:
            self._twin, self._made_of = self._make(), places
        return self._twin

    def _make(self) -> nn.Module:
        model = self.model
        memo: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
        memo |= {id(buffer): buffer for buffer in model.buffers()}
        memo |= {id(model.get_submodule(name)): stand_in for name, stand_in in self.stand_ins.items()}
        copied: Any = deepcopy(model, memo)
        if self.eager is not None:
            copied.get_submodule(self.eager).set_attn_implementation("eager")
        found: nn.Module = copied.eval()
        return found

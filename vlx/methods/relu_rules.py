"""How a gradient passes ReLUs: by the chain rule, as in deconvolution nets, or as in guided backpropagation.

The network's forward run is its own: nothing is swapped, hooked or patched. A rule is put on the backward run of one
graph, in the thread that runs it. What torch's autograd calls for a ReLU is met there by a dispatch mode, whatever
the ReLU was in the code: a module, a function, in place, on a view. A clamp at 0 has no backward function of its own;
its nodes of the graph get hooks, which go with the graph.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vlx.errors import InputError, ModelError

Rule = Literal["gradient", "deconvolution", "guided"]
RULES: tuple[Rule, ...] = get_args(Rule)
HIDING = ("CompiledFunction", "DifferentiableGraph")  # nodes of torch.compile and torch.jit that hold whole networks

Passed = Callable[[Tensor, Tensor], Tensor]

# From G, the gradient that comes to a ReLU from above, and the chain rule's G·[x > 0].
_PASSED: dict[Rule, Passed | None] = {
    "gradient": None,
    "deconvolution": lambda G, _plain: G.clamp_min(0),
    "guided": lambda _gradient, plain: plain.clamp_min(0),
}


def choose_rule(name: str) -> Rule:
    """The rule of this name; raises InputError that names all three."""
    if name not in RULES:
        raise InputError(f"rule={name!r}; known are {', '.join(RULES)}")
    return name


class ReluCount:
    """How many ReLUs a backward run met: 0 before it, and for the rule "gradient", which need not look for them."""

    def __init__(self) -> None:
        self.count = 0


@contextmanager
def ruled(output: Tensor, rule: Rule) -> Iterator[ReluCount]:
    """Let backward runs of this thread from ``output`` pass every ReLU by ``rule``, until the ``with`` ends.

    With G the gradient from above and x the ReLU's input: ``gradient`` G·[x > 0]; ``deconvolution`` G·[G > 0] (Zeiler
    and Fergus, arXiv 1311.2901); ``guided`` G·[x > 0]·[G > 0] (Springenberg et al., arXiv 1412.6806).

    ReLUs are relu, threshold and clamp_min at 0, and those with a ceiling (ReLU6, hardtanh and clamp from 0 up), where
    [x > 0] is [0 < x < ceiling]; modules, functions and methods, in place or not. LeakyReLU, ELU, GELU, SiLU, sigmoid
    and all else keep their gradients, and so do ReLUs written otherwise: maximum(x, 0), x·(x > 0), clamp_ on a view,
    one's own ``autograd.Function``. Where x is exactly 0, torch's own derivative of the operation stands for [x > 0].

    Raises ModelError for a rule other than ``gradient`` when part of the graph is compiled: its ReLUs cannot be met.
    """
    met, passed = ReluCount(), _PASSED[rule]
    if passed is None:
        yield met
        return
    nodes = _nodes(output)
    _check_open(nodes)
    with ExitStack() as stack:
        for node in filter(_is_clamp, nodes):
            stack.callback(node.register_hook(_hook(met, passed)).remove)
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))  # the mode is this thread's
        stack.enter_context(_Rectified(met, passed))
        yield met


class _Rectified(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Meets the backward functions of ReLUs and gives what ``passed`` makes of them."""

    def __init__(self, met: ReluCount, passed: Passed) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._met, self._passed = met, passed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = func(*args, **(kwargs or {}))
        if not _is_relu(func, args):
            return plain
        self._met.count += 1
        return self._passed(args[0], plain)


def _is_relu(func: Any, args: Any) -> bool:
    """Of threshold_backward(G, x, threshold) and hardtanh_backward(G, x, floor, ceiling), those that bend at 0."""
    aten = torch.ops.aten
    if func is aten.threshold_backward.default:
        return bool(args[2] == 0)
    return func is aten.hardtanh_backward.default and args[2] == 0 < args[3]


def _is_clamp(node: Any) -> bool:
    """Whether a node of the graph is clamp or clamp_min from the number 0 up."""
    floor = getattr(node, "_saved_min", None) if node.name().startswith("Clamp") else None
    return isinstance(floor, int | float) and floor == 0


def _hook(met: ReluCount, passed: Passed) -> Callable[[Any, Any], tuple[Any, ...]]:
    def hook(plain: tuple[Tensor, ...], G: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        met.count += 1
        return (passed(G[0], plain[0]), *plain[1:])

    return hook


def _nodes(output: Tensor) -> set[Any]:
    """All nodes of the graph behind ``output``."""
    found, ahead = set[Any](), [output.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in found:
            found.add(node)
            ahead += [before for before, _ in node.next_functions]
    return found


def _check_open(nodes: set[Any]) -> None:
    hiding = sorted({node.name() for node in nodes if any(part in node.name() for part in HIDING)})
    if hiding:
        raise ModelError(
            f"the vision part is compiled ({', '.join(hiding)}), which hides its ReLUs; give the module as it was "
            "before torch.compile or torch.jit, or take rule='gradient'"
        )

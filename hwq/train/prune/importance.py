"""What makes a weight worth keeping: one score a weight, larger is better."""

from __future__ import annotations

import numpy as np
import torch
from brevitas.proxy.runtime_quant import ActQuantProxyFromInjectorBase
from torch import Tensor, nn

from hwq.cost.laws.setting import dsp_blocks
from hwq.cost.laws.weights import count
from hwq.errors import InputError
from hwq.train.prune.layers import Target, as_matrix, integers
from hwq.train.prune.lut_cost import accumulator_bits, lut_cost

_AVERAGE = 0.9


class GradientScores:
    """Scores that need gradients, summed up over the steps; one tensor a layer, made at the first step."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.scores: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, name: str, weight: Tensor, gradient: Tensor) -> None:
        """Take a step's gradient into account: of the masked weight, also where the mask is 0.

        Movement (Sanh 2020, equation 3) sums -weight x gradient: of weights that grow. Taylor
        (Molchanov 2019, equation 8) averages the squared change of the loss if the weight were zero.
        """
        product = weight * gradient
        if not bool(product.isfinite().all()):
            return  # a step that a gradient scaler is about to skip
        if self.kind == "movement":
            self.scores[name] = self.scores[name] - product if name in self.scores else -product
        else:
            square = product.square()
            before = self.scores.get(name, square)
            self.scores[name] = before.lerp(square, 1 - _AVERAGE)


@torch.no_grad()
def hardware_scores(target: Target, in_bits: int) -> Tensor:
    """The squared weight for each LUT that it costs; 0 where its integer is 0 and costs nothing.

    The error that a pruned weight leaves grows with its square, so this is the order of a knapsack.
    """
    whole = integers(target)
    matrix = as_matrix(target, whole).cpu().numpy().astype(np.int64)
    acc_bits = accumulator_bits(matrix, in_bits)
    statistics = count(matrix)
    dsp = statistics.u3 if dsp_blocks(in_bits, statistics.bits) else 0
    luts = torch.from_numpy(lut_cost(matrix, in_bits, acc_bits, dsp))
    luts = _from_matrix(target, luts).to(target.weight)
    return torch.where(luts > 0, target.weight.square() / luts.clamp_min(1e-9), torch.zeros_like(luts))


def _from_matrix(target: Target, matrix: Tensor) -> Tensor:
    """The inverse of `as_matrix`."""
    shape = target.weight.shape
    if isinstance(target.layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return matrix.T.reshape(shape[1], shape[0], *shape[2:]).transpose(0, 1)
    return matrix.T.reshape(shape)


def input_bits(model: nn.Module, targets: list[Target], example: Tensor) -> dict[str, int]:
    """Width of each layer's input codes: of the activation quantiser that ran last before it.

    Raises:
        InputError: A layer is not quantised, or nothing quantises its input.
    """
    last, found = [0], dict[str, int]()

    def note(name: str) -> None:
        found.setdefault(name, last[-1])

    handles = [
        m.fused_activation_quant_proxy.tensor_quant.register_forward_hook(
            lambda _, __, outputs: last.append(int(outputs[3]))  # value, scale, zero point, bit width
        )
        for m in model.modules()
        if isinstance(m, ActQuantProxyFromInjectorBase) and m.is_quant_enabled
    ]
    handles += [t.layer.register_forward_pre_hook(lambda _, __, name=t.name: note(name)) for t in targets]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(example)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    for target in targets:
        if not target.quantised or not found.get(target.name):
            raise InputError(
                f"layer '{target.name}': what a weight costs is known of integers alone, but its "
                f"{'weights are' if not target.quantised else 'input is'} not quantised\n"
                '  cure: quantise it (hwq.train.quantize), or use prune.importance = "magnitude"'
            )
    return found

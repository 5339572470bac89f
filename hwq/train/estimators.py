"""Gradient estimators: what stands for the derivative of rounding, which is zero almost everywhere.

An estimator never changes what a quantiser puts out. It turns the gradient with respect to the integer
code into one with respect to the value v = x / scale that was rounded. All of them work on that integer
grid, for any number of levels, also for −1, +1 (where the decision boundary is 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from hwq.errors import InputError
from hwq.train.quantize_spec import EstimatorName


@dataclass(frozen=True)
class Codes:
    """The integers low .. high, or only −1 and +1 where `bipolar`."""

    low: int
    high: int
    bipolar: bool = False

    def inside(self, v: Tensor) -> Tensor:
        """Where v is not clipped; a bipolar code clips at −1, +1."""
        return (v >= self.low) & (v <= self.high)

    def round(self, v: Tensor) -> Tensor:
        """The code: to nearest, half to even; the sign, +1 at 0."""
        if self.bipolar:
            return torch.where(v >= 0, 1.0, -1.0).to(v.dtype)
        return v.round().clamp(self.low, self.high)


@dataclass(frozen=True)
class Rounding:
    """One rounding, as an estimator sees it.

    Attributes:
        gradient: With respect to the codes.
        v: What was rounded, in steps of the grid.
        code: What came out.
        codes: Those that there are.
    """

    gradient: Tensor
    v: Tensor
    code: Tensor
    codes: Codes


Derivative: TypeAlias = Callable[[Rounding, "Estimator"], Tensor]


@dataclass(frozen=True)
class Estimator:
    """A name and what it may be told.

    Attributes:
        name: Of the formula.
        delta: EWGS: how much more a value is moved by that lies far from its code, in steps of the grid.
        power: ReSTE: o at present.
    """

    name: EstimatorName = "ste"
    delta: float = 0.1
    power: float = 1.0

    @property
    def scaled(self) -> bool:
        """Whether the gradient of a learned scale is multiplied by 1/√(N·Qp).

        Source: Esser et al., Learned Step Size Quantization (ICLR 2020), section 2.2; N is the number of
        weights, or of features of one sample.
        """
        return self.name == "lsq"

    def derivative(self, rounding: Rounding) -> Tensor:
        """The gradient with respect to v."""
        return _DERIVATIVES[self.name](rounding, self)


def ste(r: Rounding, _: Estimator) -> Tensor:
    """Straight through rounding; clipping keeps its own gradient, and one bit passes everywhere.

    Source: Bengio, Léonard & Courville, Estimating or Propagating Gradients Through Stochastic Neurons (2013).
    """
    return r.gradient if r.codes.bipolar else r.gradient * r.codes.inside(r.v)


def clipped_ste(r: Rounding, _: Estimator) -> Tensor:
    """Straight through inside the range, zero outside, which for one bit is −1 .. 1.

    Source: Hubara et al., Binarized Neural Networks (2016), eq. 4.
    """
    return r.gradient * r.codes.inside(r.v)


def ewgs(r: Rounding, estimator: Estimator) -> Tensor:
    """The gradient g becomes g · (1 + δ · sign(g) · (v − code)) inside the range: what is rounded far moves more.

    Source: Lee, Kim & Ham, Network Quantization with Element-wise Gradient Scaling (CVPR 2021), eq. 5; its
    δ is for values of 0 .. 1, this one for the integer grid: δ here = δ there / (levels − 1).
    """
    slope = 1 + estimator.delta * r.gradient.sign() * (r.v - r.code)
    return r.gradient * slope * r.codes.inside(r.v)


def dorefa(r: Rounding, _: Estimator) -> Tensor:
    """The derivative of tanh(w) / max|tanh(w)|, w = v / high; clipped straight through if codes are not symmetric.

    Source: Zhou et al., DoReFa-Net (2016), eq. 9 (weights), eq. 10 (activations are clipped), and eq. 7
    (one bit: straight through).
    """
    if r.codes.bipolar:
        return r.gradient
    if r.codes.low != -r.codes.high:
        return clipped_ste(r, _)
    squashed = torch.tanh(r.v / r.codes.high)
    return r.gradient * (1 - squashed.square()) / squashed.abs().max().clamp_min(_TINY)


def reste(r: Rounding, estimator: Estimator) -> Tensor:
    """The derivative of sign(u)·|u|^(1/o), u from −1 to 1 between two codes, 0 at the boundary; o rises in training.

    Within |u| < 0.1 the slope of the chord stands for it; one bit has u = v, clipped at 1.5.

    Source: Wu et al., Estimator Meets Equilibrium Perspective: A Rectified Straight Through Estimator
    (ICCV 2023), eqs. 7 and 8; more than two codes are our extension, a boundary at a time.
    """
    one_bit = r.codes.bipolar
    u = (r.v if one_bit else 2 * (r.v - r.v.floor() - 0.5)).abs()
    inverse = 1 / estimator.power
    slope = torch.where(u < _CHORD, _CHORD ** (inverse - 1), inverse * u.clamp_min(_CHORD) ** (inverse - 1))
    return r.gradient * slope * (u <= _RESTE_CLIP if one_bit else r.codes.inside(r.v))


_TINY, _CHORD, _RESTE_CLIP = 1e-12, 0.1, 1.5
_DERIVATIVES: dict[str, Derivative] = {
    "ste": ste,
    "clipped-ste": clipped_ste,
    "ewgs": ewgs,
    "ewgs-hessian": ewgs,
    "lsq": clipped_ste,
    "dorefa": dorefa,
    "reste": reste,
}


@dataclass(frozen=True)
class Quantiser:
    """How a tensor is rounded, and what its gradient is.

    Attributes:
        codes: What comes out.
        estimator: For the gradient of x.
        truncate: Round toward zero instead of to nearest (accumulator-aware weights).
        clip_only: The scale learns from clipped values alone.
            Source: Choi et al., PACT (2018), eq. 3.
        batched: Whether the first axis is one of samples.
    """

    codes: Codes
    estimator: Estimator
    truncate: bool = False
    clip_only: bool = False
    batched: bool = False


def quantise(x: Tensor, scale: Tensor, quantiser: Quantiser, high: Tensor | None = None) -> Tensor:
    """code(x / scale) · scale, differentiable by the quantiser's estimator.

    Args:
        x: Any shape.
        scale: Positive, broadcast over x.
        quantiser: The rounding.
        high: The largest code as a tensor, where the number of bits is learned; it then replaces that of `codes`.
    """
    found: Tensor = _Quantise.apply(x, scale, high, quantiser)  # type: ignore[no-untyped-call]
    return found


class _Quantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, high: Tensor | None, quantiser: Quantiser) -> Tensor:
        if high is not None:
            top = round(float(high))
            quantiser = replace(
                quantiser, codes=replace(quantiser.codes, low=_low(quantiser.codes, top), high=top)
            )
        v = x / scale
        code = (
            v.trunc().clamp(quantiser.codes.low, quantiser.codes.high)
            if quantiser.truncate
            else quantiser.codes.round(v)
        )
        ctx.save_for_backward(v, code, scale)
        ctx.quantiser, ctx.learned_high = quantiser, high is not None
        return code * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        v, code, scale = ctx.saved_tensors
        quantiser: Quantiser = ctx.quantiser
        (gradient,) = gradients
        to_code = gradient * scale
        seen = v - 0.5 * v.sign() if quantiser.truncate else v  # boundaries of rounding to nearest
        to_v = quantiser.estimator.derivative(Rounding(to_code, seen, code, quantiser.codes))
        to_x = to_v / scale if ctx.needs_input_grad[0] else None
        to_scale = _to_scale(quantiser, gradient, to_v, v, code, scale) if ctx.needs_input_grad[1] else None
        to_high = _to_high(quantiser.codes, to_code, v) if ctx.learned_high else None
        return to_x, to_scale, to_high, None


def _to_scale(
    quantiser: Quantiser, gradient: Tensor, to_v: Tensor, v: Tensor, code: Tensor, scale: Tensor
) -> Tensor:
    """d(code(x / s) · s) / ds = code + s · dcode/dv · (−x / s²), summed over what shares the scale; a sign has no s."""
    each = gradient * code
    if quantiser.clip_only:
        each = each * ~quantiser.codes.inside(v)
    elif not quantiser.codes.bipolar:
        each = each - to_v * v / scale
    found = each.sum_to_size(scale.shape)
    if quantiser.estimator.scaled:
        count = v.numel() / scale.numel() / (len(v) if quantiser.batched and v.ndim > 1 else 1)
        found = found / (count * quantiser.codes.high) ** 0.5
    return found


def _to_high(codes: Codes, to_code: Tensor, v: Tensor) -> Tensor:
    """Clipped values follow the ends of the range."""
    above = (to_code * (v > codes.high)).sum()
    return above - (to_code * (v < codes.low)).sum() if codes.low < 0 else above


def _low(codes: Codes, high: int) -> int:
    """The lowest code that belongs to another highest one: 0, −high, or −high − 1."""
    return 0 if codes.low == 0 else -high + (codes.low + codes.high)


def estimator(name: EstimatorName, **parameters: float) -> Estimator:
    """An estimator by name.

    Raises:
        InputError: There is none of that name.
    """
    from hwq.train.recipe import nearest

    if name not in _DERIVATIVES:
        raise InputError(
            f"no gradient estimator is called '{name}'{nearest(name, _DERIVATIVES)}\n  known: {', '.join(_DERIVATIVES)}"
        )
    return Estimator(name, **parameters)

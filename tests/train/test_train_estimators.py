"""Gradient estimators: the papers' formulas on numbers, and codes that none of them changes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hwq.errors import InputError
from hwq.train.estimators import Codes, Estimator, Quantiser, estimator, quantise
from hwq.train.quantize_spec import EstimatorName

INT2, UINT2, SIGN = Codes(-1, 1), Codes(0, 3), Codes(-1, 1, bipolar=True)
NAMES = ("ste", "clipped-ste", "ewgs", "ewgs-hessian", "lsq", "dorefa", "reste")
X = [-2.0, -0.7, -0.3, 0.0, 0.2, 0.5, 0.9, 3.4]
SCALE = 0.8


def gradients(
    x: list[float], codes: Codes, estimator: Estimator, seed: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Values, and the gradients of Σ seedᵢ · value with respect to x and the scale."""
    inputs, scale = torch.tensor(x, requires_grad=True), torch.tensor(SCALE, requires_grad=True)
    value = quantise(inputs, scale, Quantiser(codes, estimator))
    torch.autograd.backward((value * _seeds(len(x), seed)).sum())
    assert inputs.grad is not None
    assert scale.grad is not None
    return value.detach(), inputs.grad, scale.grad


def _seeds(count: int, seed: float) -> Tensor:
    return seed * torch.tensor([1.0, -0.5, 2.0] * count)[:count]


def code(v: float, codes: Codes) -> float:
    if codes.bipolar:
        return 1.0 if v >= 0 else -1.0
    return float(min(max(round(v), codes.low), codes.high))


def inside(v: float, codes: Codes) -> bool:
    return codes.low <= v <= codes.high


Slope = Callable[[float, float, Codes], float]


def tanh_slope(v: float, _: float, codes: Codes) -> float:
    if codes.bipolar:
        return 1.0
    if codes.low != -codes.high:
        return float(inside(v, codes))
    largest = max(abs(math.tanh(x / SCALE / codes.high)) for x in X)
    return (1 - math.tanh(v / codes.high) ** 2) / largest


def reste_slope(v: float, _: float, codes: Codes) -> float:
    power = 3.0
    u = abs(v) if codes.bipolar else abs(2 * (v - math.floor(v) - 0.5))
    slope = 0.1 ** (1 / power) / 0.1 if u < 0.1 else (1 / power) * u ** ((1 - power) / power)
    return slope if (u <= 1.5 if codes.bipolar else inside(v, codes)) else 0.0


SLOPES: dict[str, Slope] = {
    "ste": lambda v, _, codes: float(codes.bipolar or inside(v, codes)),
    "clipped-ste": lambda v, _, codes: float(inside(v, codes)),
    "lsq": lambda v, _, codes: float(inside(v, codes)),
    "ewgs": lambda v, g, codes: inside(v, codes) * (1 + 0.4 * math.copysign(1, g) * (v - code(v, codes))),
    "ewgs-hessian": lambda v, g, codes: (
        inside(v, codes) * (1 + 0.4 * math.copysign(1, g) * (v - code(v, codes)))
    ),
    "dorefa": tanh_slope,
    "reste": reste_slope,
}


@pytest.mark.parametrize("codes", [INT2, UINT2, SIGN], ids=["int2", "uint2", "sign"])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_papers_and_the_value_that_of_rounding(name: str, codes: Codes) -> None:
    value, to_x, to_scale = gradients(X, codes, Estimator(name, delta=0.4, power=3.0))  # type: ignore[arg-type]
    seeds = _seeds(len(X), 1.0).tolist()
    vs = [x / SCALE for x in X]
    assert value.tolist() == pytest.approx([code(v, codes) * SCALE for v in vs])
    slopes = [SLOPES[name](v, g, codes) for v, g in zip(vs, seeds, strict=True)]
    assert to_x.tolist() == pytest.approx([g * s for g, s in zip(seeds, slopes, strict=True)], abs=1e-6)
    moved = 0.0 if codes.bipolar else 1.0
    terms = [g * (code(v, codes) - moved * s * v) for g, s, v in zip(seeds, slopes, vs, strict=True)]
    expected = sum(terms) / (math.sqrt(len(X) * codes.high) if name == "lsq" else 1)
    assert float(to_scale) == pytest.approx(expected, abs=1e-5)


def test_pact_learns_its_clipping_point_from_clipped_values_alone() -> None:
    """Choi et al., eq. 3: the derivative with respect to α is 1 where x ≥ α, else 0."""
    alpha = torch.tensor(2.4, requires_grad=True)
    x = torch.tensor([-1.0, 0.3, 2.0, 2.5, 9.0], requires_grad=True)
    quantiser = Quantiser(UINT2, Estimator("clipped-ste"), clip_only=True)
    torch.autograd.backward(quantise(x, alpha / 3, quantiser).sum())
    assert alpha.grad is not None
    assert float(alpha.grad) == pytest.approx(2.0)
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]


def test_lsq_counts_the_features_of_one_sample() -> None:
    def slope(name: EstimatorName, *, batched: bool) -> float:
        x, scale = (
            torch.rand(4, 9, generator=torch.Generator().manual_seed(0)),
            torch.tensor(0.5, requires_grad=True),
        )
        torch.autograd.backward(quantise(x, scale, Quantiser(UINT2, Estimator(name), batched=batched)).sum())
        assert scale.grad is not None
        return float(scale.grad)

    plain = slope("ste", batched=True)
    assert slope("lsq", batched=True) == pytest.approx(plain / math.sqrt(9 * 3))
    assert slope("lsq", batched=False) == pytest.approx(plain / math.sqrt(36 * 3))


def test_learned_bits_move_the_ends_of_the_range() -> None:
    """With the clipping point fixed, bits change the step: d value = (code − v) · ds inside, 0 outside."""
    clip, bits = torch.tensor(1.0), torch.tensor(3.0, requires_grad=True)
    high = 2 ** (bits - 1) - 1
    x = torch.tensor([0.4, 0.2, 5.0, -5.0])
    value = quantise(x, clip / high, Quantiser(Codes(-3, 3), Estimator("ste")), high)
    torch.autograd.backward(value.sum())
    step_slope = -1 / 9 * math.log(2) * 4
    expected = sum((round(3 * v) - 3 * v) for v in (0.4, 0.2)) * step_slope
    assert bits.grad is not None
    assert float(bits.grad) == pytest.approx(expected, abs=1e-6)
    assert value.tolist() == pytest.approx([1 / 3, 1 / 3, 1.0, -1.0])


def test_more_bits_change_the_codes() -> None:
    high = torch.tensor(127.0)
    value = quantise(torch.tensor([0.4]), 1 / high, Quantiser(Codes(-1, 1), Estimator("ste")), high)
    assert float(value) == pytest.approx(51 / 127)


def test_the_gradient_can_be_differentiated_again() -> None:
    x = torch.tensor([0.3, 0.6], requires_grad=True)
    value = quantise(x, torch.tensor(0.5), Quantiser(UINT2, Estimator("ewgs", delta=0.5)))
    (first,) = torch.autograd.grad((value**2).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert bool((second > 0).all())


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(InputError, match="no gradient estimator is called 'ewg'; did you mean 'ewgs'"):
        estimator("ewg")  # type: ignore[arg-type]

"""The quantised layers: Brevitas's, with quantisers of our own in them.

Brevitas's own quantisers hold their rounding fixed at one bit and for ternary, so no gradient estimator
can be put there; and its defaults take activation scales from the first 300 steps, which a checkpoint
does not show. One-bit activations are bipolar, because QONNX has no one-bit unsigned quantiser in
Brevitas's exporter (it writes BipolarQuant for any one-bit quantiser, signed or not).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import brevitas.nn as qnn
import torch
from brevitas.inject import ExtendedInjector
from brevitas.inject.enum import FloatToIntImplType
from brevitas.proxy import ActQuantProxyFromInjector, WeightQuantProxyFromInjector
from torch import Tensor, nn

from hwq.errors import InputError
from hwq.train.estimators import Codes, Estimator, Quantiser, quantise
from hwq.train.quantize_spec import InputSpec, QuantizeSpec
from hwq.train.scaling import CLIP, TERNARY, Clip, ConstantClip, WeightClip, activation_source, weight_source

_LAYERS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: qnn.QuantLinear,
    nn.Conv1d: qnn.QuantConv1d,
    nn.Conv2d: qnn.QuantConv2d,
    nn.ConvTranspose1d: qnn.QuantConvTranspose1d,
    nn.ConvTranspose2d: qnn.QuantConvTranspose2d,
}
WEIGHTED = tuple(_LAYERS)
_CONV = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
)
_FEWEST_LEARNED, _MOST_LEARNED = 2, 8


def codes_of(name: int | str, *, signed: bool, narrow: bool = False) -> Codes:
    """The integers of a quantiser by bits or by name; `signed` and `narrow` where the name does not say.

    >>> codes_of(2, signed=False), codes_of("int4", signed=False), codes_of("ternary", signed=False)
    (Codes(low=0, high=3, bipolar=False), Codes(low=-8, high=7, bipolar=False), Codes(low=-1, high=1, bipolar=False))
    """
    if name in (1, "binary"):
        return Codes(-1, 1, bipolar=True)
    if name == "ternary":
        return Codes(-1, 1)
    bits = name if isinstance(name, int) else int(re.sub(r"\D", "", name))
    if isinstance(name, str):
        signed = not name.startswith("u")
    high = 2 ** (bits - signed) - 1
    return Codes((-high - (not narrow)) if signed else 0, high)


def bits_of(codes: Codes) -> int:
    """How many bits hold them; −1 and +1 take one."""
    return 1 if codes.bipolar else (codes.high - codes.low).bit_length()


@dataclass(frozen=True)
class Accumulator:
    """How accumulator-aware weights are bounded: Σ|q| of a channel ≤ `limit`; centred first, where `centre`."""

    limit: float
    centre: bool


class TensorQuant(nn.Module):
    """A quantiser as Brevitas calls it: x to value, scale, zero point and bit width.

    Args:
        quantiser: Codes and gradient.
        clip: Where the clipping point comes from.
        power_of_two: Whether the scale is the nearest power of two.
        learned_bits: Whether the number of bits is a parameter.
        axis: The output channels' axis of a weight.
        accumulator: The bound of accumulator-aware weights.
    """

    def __init__(
        self,
        quantiser: Quantiser,
        clip: Clip,
        *,
        power_of_two: bool = False,
        learned_bits: bool = False,
        axis: int = 0,
        accumulator: Accumulator | None = None,
    ) -> None:
        super().__init__()
        self.quantiser, self.clip, self.power_of_two, self.axis = quantiser, clip, power_of_two, axis
        self.accumulator = accumulator
        self.observed: list[Tensor] | None = None
        bits = float(bits_of(quantiser.codes))
        self.learned_bits = nn.Parameter(torch.tensor(bits)) if learned_bits else None
        self.register_buffer("zero_point", torch.tensor(0.0), persistent=False)
        self.register_buffer("constant_bits", torch.tensor(bits), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Value, scale, zero point, bit width."""
        bits, high = self._bits()
        scale, zero = self._scale(x, high), self.get_buffer("zero_point")
        if self.observed is not None:
            self.observed.append(x.detach())
            return x, scale, zero, bits
        if self.accumulator is not None:
            x = _bounded(x, scale, self.accumulator, self.axis)
        return quantise(x, scale, self.quantiser, high), scale, zero, bits

    def bits(self) -> Tensor:
        """How many there are, differentiable where they are learned."""
        return self._bits()[0]

    def _scale(self, x: Tensor, high: Tensor | None) -> Tensor:
        scale: Tensor = self.clip(x) / (self.steps if high is None else high)
        return _power_of_two(scale) if self.power_of_two else scale

    def start_at(self, clip: Tensor) -> None:
        """Set the clipping point, whatever becomes of it later."""
        if not isinstance(self.clip, WeightClip):
            self.clip.set(clip)

    @property
    def steps(self) -> int:
        """Steps of the grid from zero to the clipping point."""
        return max(self.quantiser.codes.high, -self.quantiser.codes.low)

    def _bits(self) -> tuple[Tensor, Tensor | None]:
        if self.learned_bits is None:
            return self.get_buffer("constant_bits"), None
        free = self.learned_bits.clamp(_FEWEST_LEARNED, _MOST_LEARNED)
        bits = free + (free.round() - free).detach()
        return bits, 2 ** (bits - 1) - 1


def _power_of_two(scale: Tensor) -> Tensor:
    """The nearest power of two on the logarithmic axis, with the gradient of the scale in proportion."""
    nearest = torch.exp2(torch.log2(scale.detach()).round())
    return nearest * (scale / scale.detach())


def _bounded(weight: Tensor, scale: Tensor, accumulator: Accumulator, axis: int) -> Tensor:
    """Weights whose integers, rounded toward zero, have Σ|q| ≤ limit in every output channel.

    Source: Colbert et al., A2Q (ICCV 2023), eqs. 15 to 17, and A2Q+ (2024), section 3.2; the norm that is
    a parameter there is the weight's own here, up to the limit.
    """
    others = [i for i in range(weight.ndim) if i != axis]
    if accumulator.centre:
        weight = weight - weight.mean(others, keepdim=True)
    norm = (weight / scale).abs().sum(others, keepdim=True)
    return weight * (accumulator.limit / norm.clamp_min(_TINY_NORM)).clamp_max(1)


_TINY_NORM = 1e-12


def accumulator(spec: QuantizeSpec, reads: Codes | None, name: str) -> Accumulator | None:
    """The bound that keeps sums of weights times codes within the accumulator's signed range.

    A2Q: Σ|q| · max|x| ≤ 2**(P−1) − 1. A2Q+: positive and negative weights have half of Σ|q| each, and
    unsigned codes meet one sort at a time.

    Raises:
        InputError: What the layer reads is not known, or the accumulator is too narrow for any weight.
    """
    if spec.accumulator_bits is None:
        return None
    if reads is None:
        raise InputError(
            f"layer '{name}': accumulator_bits needs to know the codes that the layer reads\n"
            "  cure: give the input's type ([input], or input_spec=)"
        )
    largest, room = max(reads.high, -reads.low), 2 ** (spec.accumulator_bits - 1) - 1
    halves = 2 if spec.accumulator == "a2q+" and reads.low == 0 else 1
    limit = halves * room / largest
    if limit < halves:
        raise InputError(
            f"layer '{name}': {spec.accumulator_bits} bits hold no sum of codes up to {largest}\n"
            f"  cure: accumulator_bits of at least {largest.bit_length() + 1}, or fewer activation bits"
        )
    return Accumulator(limit * (1 - 1e-5), spec.accumulator == "a2q+")  # what float32 sums may be off by


def _estimator(spec: QuantizeSpec, name: Any) -> Estimator:
    return Estimator(name, delta=0.0 if name == "ewgs-hessian" else spec.ewgs_delta)


def quant_input(spec: InputSpec) -> nn.Module:
    """The input quantiser: a constant power-of-two scale, so inputs on the grid pass unchanged."""
    codes = codes_of(spec.bits, signed=spec.signed)
    step = 2.0**-spec.fraction_bits
    clip = ConstantClip(torch.tensor(step * max(codes.high, -codes.low)))
    return _activation(
        qnn.QuantIdentity, TensorQuant(Quantiser(codes, Estimator("clipped-ste"), batched=True), clip)
    )


def quant_activation(
    spec: QuantizeSpec, *, unsigned: bool, cap: float | None = None, name: str = ""
) -> nn.Module:
    """Rectified to unsigned codes, or signed, as the specification says.

    Args:
        spec: With the layer's own fields in.
        unsigned: Whether negative values are to become zero, or cannot occur.
        cap: No clipping point above this at the start, as of a ReLU6.
        name: Of the layer, for errors.
    """
    codes = codes_of(spec.activations, signed=not unsigned)
    _check_estimator(
        spec.activation_estimator, spec.activation_scale_source, codes, f"layer '{name}': activation"
    )
    start = TERNARY if codes == Codes(-1, 1) else CLIP[bits_of(codes)]
    quantiser = Quantiser(
        codes,
        _estimator(spec, spec.activation_estimator),
        clip_only=spec.activation_scale_source == "pact",
        batched=True,
    )
    clip = activation_source(
        spec.activation_scale_source, start if cap is None else min(start, cap), bipolar=codes.bipolar
    )
    made = TensorQuant(quantiser, clip, power_of_two=spec.activation_scale_type == "power-of-two")
    return _activation(qnn.QuantReLU if codes.low == 0 else qnn.QuantIdentity, made)


def quant_layer(
    layer: nn.Module, spec: QuantizeSpec, *, reads: Codes | None = None, name: str = ""
) -> nn.Module:
    """The quantised form of a layer with weights, with its parameters; a bias stays in float, folded exactly later.

    Args:
        layer: One of `WEIGHTED`.
        spec: With the layer's own fields in.
        reads: The codes of its input, for accumulator-aware weights.
        name: For errors.
    """
    made = _LAYERS[type(layer)]
    names = ["in_features", "out_features"] if isinstance(layer, nn.Linear) else list(_CONV)
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
        names.append("output_padding")
    quantiser = weight_quant(layer, spec, reads, name)
    found = made(
        **{key: getattr(layer, key) for key in names},
        bias=layer.bias is not None,
        weight_quant=_injector(WeightQuantProxyFromInjector, quantiser.quantiser.codes, quantiser),
    )
    found.weight, found.bias = layer.weight, layer.bias
    found.get_submodule("weight_quant").init_tensor_quant = _keep  # type: ignore[assignment]
    return found.to(layer.weight.device)  # type: ignore[arg-type]


def weight_quant(layer: nn.Module, spec: QuantizeSpec, reads: Codes | None, name: str) -> TensorQuant:
    """The quantiser of a layer's weights."""
    weight = layer.get_parameter("weight").detach()
    codes = codes_of(spec.weights, signed=True, narrow=True)
    if codes.low < -codes.high:
        codes = replace(codes, low=-codes.high)
    _check_weights(spec, codes, layer, name)
    axis = 1 if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d) else 0
    kind, start = "max", f"sigma{bits_of(codes)}"
    if codes.bipolar or spec.weights == "ternary":
        kind = start = "mean" if codes.bipolar else "ternary"
    bound = accumulator(spec, reads, name)
    return TensorQuant(
        Quantiser(codes, _estimator(spec, spec.weight_estimator), truncate=bound is not None),
        weight_source(
            weight, spec.weight_scale_source, kind, start, axis if spec.weight_scale == "channel" else None
        ),
        power_of_two=spec.weight_scale_type == "power-of-two",
        learned_bits=spec.learned_bits,
        axis=axis,
        accumulator=bound,
    )


def _check_weights(spec: QuantizeSpec, codes: Codes, layer: nn.Module, name: str) -> None:
    where = f"layer '{name}': "
    _check_estimator(spec.weight_estimator, spec.weight_scale_source, codes, where + "weight")
    few = "binary" if codes.bipolar else "ternary" if spec.weights == "ternary" else ""
    if few and spec.learned_bits:
        raise InputError(f"{where}{few} weights have no number of bits to learn\n  cure: weights = 2 or more")
    if codes.bipolar and spec.accumulator_bits is not None:
        raise InputError(
            f"{where}binary weights cannot be bounded, none of them is zero\n  cure: weights = 'ternary' or more bits"
        )
    if spec.learned_bits and spec.accumulator_bits is not None:
        raise InputError(
            f"{where}learned_bits and accumulator_bits exclude each other\n  cure: give one of the two"
        )
    if (
        spec.weight_scale == "channel"
        and isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d)
        and layer.groups > 1
    ):
        raise InputError(
            f"{where}a grouped transposed convolution has no axis of output channels\n  cure: weight_scale = 'tensor'"
        )


def _check_estimator(name: str, source: str | None, codes: Codes, where: str) -> None:
    if name == "lsq" and (source not in (None, "learned") or (source is None and codes.bipolar)):
        kind = where.rsplit(" ", 1)[1]
        raise InputError(
            f"{where}: lsq scales the gradient of a learned scale, and this one is not\n"
            f"  cure: {kind}_scale_source = 'learned', or another {kind}_estimator"
        )


def _activation(kind: type[nn.Module], quantiser: TensorQuant) -> nn.Module:
    layer: Any = kind(
        act_quant=_injector(ActQuantProxyFromInjector, quantiser.quantiser.codes, nn.Identity())
    )
    proxy = layer.act_quant
    proxy.fused_activation_quant_proxy = _Fused(proxy.fused_activation_quant_proxy.activation_impl, quantiser)
    proxy.init_tensor_quant = _keep
    found: nn.Module = layer
    return found


class _Fused(nn.Module):
    """Activation, then quantiser, as in Brevitas's class of this use, which BREVITAS_JIT would have compiled."""

    def __init__(self, activation_impl: nn.Module, tensor_quant: TensorQuant) -> None:
        super().__init__()
        self.activation_impl, self.tensor_quant = activation_impl, tensor_quant

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor, Tensor] = self.tensor_quant(self.activation_impl(x))
        return found


def _injector(proxy: type[nn.Module], codes: Codes, quantiser: nn.Module) -> type[ExtendedInjector]:
    found: type[ExtendedInjector] = ExtendedInjector.let(
        proxy_class=proxy,
        tensor_quant=quantiser,
        signed=codes.low < 0,
        narrow_range=codes.low == -codes.high,
        float_to_int_impl_type=FloatToIntImplType.ROUND,
    )
    return found


def _keep(*_: Any, **__: Any) -> None:
    """Brevitas makes a quantiser anew while a state dict is loaded, out of reach of an optimiser: this one stays."""

"""Steps against mpmath with 60 digits, and exact numbers with exponentials."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import libmp

from hwq import computable
from hwq.computable import Atom, Computable, enclose
from hwq.exact import Surd, add, exact_array, multiply, nearest
from hwq.lowering.branches import Combine, Concatenated
from hwq.lowering.functions import Elu, Transcendental
from hwq.lowering.pending import (
    BAND,
    MIXED,
    Affine,
    BatchNorm,
    Clip,
    LeakyRelu,
    Relu,
    Steps,
    channels,
    compose,
    direction,
    evaluate,
    evaluate_exact,
    exact_channels,
    is_exact_in_float64,
    scale_by,
    shift_by,
    take,
)

pytestmark = pytest.mark.filterwarnings("error")
MP: Any = mpmath.mp.clone()
MP.dps = 400
NAMES = ["sigmoid", "tanh", "erf", "exp", "softplus"]


def big(x: Fraction | float) -> Any:
    exact = Fraction(x)
    return MP.mpf(exact.numerator) / exact.denominator


def reference(name: str, x: Any) -> Any:
    if name == "sigmoid":
        return 1 / (1 + MP.exp(-x))
    if name == "softplus":
        return MP.log1p(MP.exp(x))
    return getattr(MP, name)(x)


def value(number: Surd) -> Any:
    """Through the enclosures, at a precision at which they are narrow."""
    lo, hi = enclose(number, 600)
    return (MP.make_mpf(lo) + MP.make_mpf(hi)) / 2


def one(*numbers: float) -> np.ndarray[Any, Any]:
    return np.array(numbers, dtype=np.float64)


HALF, ROOT = one(0.5), one(float(np.float32(0.5**0.5)))
SILU: Steps = (Combine("mul", (), (Transcendental("sigmoid"),)),)
GELU: Steps = (
    Combine("mul", (scale_by(HALF),), (scale_by(ROOT), Transcendental("erf"), shift_by(one(1.0)))),
)
MISH: Steps = (Combine("mul", (), (Transcendental("softplus"), Transcendental("tanh"))),)
HARD_SWISH: Steps = (Combine("mul", (), (shift_by(one(3.0)), Clip(Surd(0), Surd(6)))),)
NORM = BatchNorm(one(1.5, -0.25), one(0.1, 3.0), one(-7.0, 2.5), one(0.3, 11.0), Fraction(1, 1000))

CASES: dict[str, tuple[Steps, Callable[[Any], Any]]] = {
    **{n: ((Transcendental(n),), lambda x, n=n: reference(n, x)) for n in NAMES},  # type: ignore[misc]
    "elu": ((Elu(Surd(1.25)),), lambda x: x if x > 0 else MP.mpf(1.25) * MP.expm1(x)),
    "leaky": ((LeakyRelu(one(0.1)),), lambda x: x if x > 0 else x * MP.mpf(0.1)),
    "steep": ((LeakyRelu(one(-3.3)),), lambda x: x if x > 0 else x * MP.mpf(-3.3)),
    "clip": ((Clip(Surd(-1.1), Surd.sqrt(5)),), lambda x: min(MP.sqrt(5), max(MP.mpf(-1.1), x))),
    "crossed": ((Clip(Surd(2), Surd(-1)),), lambda _x: MP.mpf(-1)),
    "silu": (SILU, lambda x: x * reference("sigmoid", x)),
    "gelu": (GELU, lambda x: x / 2 * (1 + MP.erf(x * big(ROOT[0])))),
    "mish": (MISH, lambda x: x * MP.tanh(reference("softplus", x))),
    "hard swish": (HARD_SWISH, lambda x: x * min(6, max(0, x + 3))),
    "max": ((Combine("max", SILU, (scale_by(HALF),)),), lambda x: max(x * reference("sigmoid", x), x / 2)),
    "min": ((Combine("min", SILU, (scale_by(HALF),)),), lambda x: min(x * reference("sigmoid", x), x / 2)),
    "sum": (
        (Combine("add", SILU, (Transcendental("tanh"),)),),
        lambda x: x * reference("sigmoid", x) + MP.tanh(x),
    ),
    "relu": ((Relu(), Transcendental("exp")), lambda x: MP.exp(max(x, 0))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("scale", [1e-6, 0.0123, 1.7])
@pytest.mark.parametrize("shift", [0.0, -0.7, 1e7])
def test_float_errors_stay_within_the_band(case: str, scale: float, shift: float) -> None:
    """With a shift there and back, so that x itself has lost digits."""
    steps, expected = CASES[case]
    before: Steps = (
        scale_by(one(scale)),
        shift_by(one(shift)),
        scale_by(one(1.1)),
        shift_by(one(-1.1 * shift)),
    )
    x = np.unique(np.concatenate([np.arange(-25, 26), np.random.default_rng(1).integers(-500, 500, 30)]))
    got, magnitude = evaluate((*before, *steps), x[None, :].astype(np.float64))
    got, magnitude = np.broadcast_to(got, (1, len(x)))[0], np.broadcast_to(magnitude, (1, len(x)))[0]
    for i, point in enumerate(x.tolist()):
        real = (big(scale) * point + big(shift)) * big(1.1) + big(-1.1 * shift)
        exact = expected(real)
        if np.isfinite(magnitude[i]):
            assert abs(big(float(got[i])) - exact) <= BAND * big(float(magnitude[i]))
            assert abs(got[i]) <= magnitude[i] * (1 + 1e-9)


@pytest.mark.parametrize("case", CASES)
def test_exact_values(case: str) -> None:
    steps, expected = CASES[case]
    for x in (Fraction(n, 7) for n in range(-60, 61, 5)):
        got, right = value(evaluate_exact(steps, x, 0)), expected(big(x))
        assert abs(got - right) <= abs(right) * MP.mpf(2) ** -500 + MP.mpf(2) ** -900, x
        assert float(evaluate_exact(steps, x, 0)) == float(right)


@pytest.mark.parametrize("name", ["exp", "tail", "erfc", "softplus"])
@pytest.mark.parametrize("bits", [64, 200, 700])
def test_enclosures_enclose_and_shrink(name: str, bits: int) -> None:
    functions = {
        "exp": MP.exp,
        "tail": lambda y: 1 / (1 + MP.exp(y)),
        "erfc": MP.erfc,
        "softplus": lambda y: MP.log1p(MP.exp(-y)),
    }
    for y in (
        Fraction(1, 2**60),
        Fraction(1, 3),
        Fraction(5, 2),
        Fraction(9),
        Fraction(61, 3),
        Fraction(250),
    ):
        lo, hi = (MP.make_mpf(v) for v in enclose(computable.atom(name, Surd(y)), bits))
        right = functions[name](big(y))
        assert lo <= right <= hi
        assert hi - lo <= right * MP.mpf(2) ** (-bits // 2)
    assert libmp.mpf_sign(enclose(computable.atom(name, Surd(10**9)), 64)[0]) > 0  # no underflow


@pytest.mark.parametrize("seed", range(4))
def test_series_enclose_at_few_bits(seed: int) -> None:
    """Where the rounding of every term matters, and nothing rounds afterwards."""
    r = np.random.default_rng(seed)
    for bits in (4, 9, 17, 30):
        for x in np.exp(r.uniform(-6, 3, 40)).tolist():
            raw = libmp.from_float(x)
            lo, hi = (MP.make_mpf(v) for v in computable._exp(raw, bits))
            assert lo <= MP.exp(x) <= hi
            lo, hi = (MP.make_mpf(v) for v in computable._erfc(raw, bits))
            assert lo <= MP.erfc(x) <= hi
            lo, hi = (MP.make_mpf(v) for v in computable._log1p_exp_minus(raw, bits))
            assert lo <= MP.log1p(MP.exp(-x)) <= hi
            u = min(x, 0.33)
            lo, hi = (MP.make_mpf(v) for v in computable._atanh_over_u(libmp.from_float(u), bits))
            assert lo <= MP.atanh(u) / u <= hi
            if x > 0.1:
                lo, hi = (MP.make_mpf(v) for v in computable._erfc_far(raw, bits, 7))
                assert lo <= MP.erfc(x) <= hi


def test_zero_gives_algebraic_numbers() -> None:
    zero = Surd()
    assert computable.sigmoid(zero) == Fraction(1, 2)
    assert computable.tanh(zero) == computable.erf(zero) == 0
    assert computable.exp(zero) == 1
    assert Elu(Surd(3)).exact(zero, 0) == 0
    assert evaluate_exact(SILU, 0, 0) == evaluate_exact(GELU, 0, 0) == 0
    assert isinstance(computable.softplus(zero), Computable)
    assert computable.sigmoid(Surd(1)) * 0 == 0


def test_arithmetic_with_exponentials() -> None:
    e, root = computable.exp(Surd(1)), Surd.sqrt(2)
    assert e - e == 0
    assert (2 - e).sign() == (root - e).sign() == -1
    assert (e * e - e * root).sign() == 1
    assert root < e < 3
    assert e > root
    assert e >= 1
    assert not e.is_rational
    assert ((e + root) * (e - root) + 2 - e * e) == 0
    assert isinstance(root + e, Computable)
    assert isinstance(root * e, Computable)
    with pytest.raises(ValueError, match="irrational"):
        e.rational()
    with pytest.raises(ZeroDivisionError):
        e.inverse()


@pytest.mark.parametrize("steps", [SILU, GELU])
def test_signs_far_below_any_precision(steps: Steps) -> None:
    """The value is nearer to x (or to zero) than ``2**-100000``."""
    x = 10**4
    assert (evaluate_exact(steps, x, 0) - x).sign() == -1
    assert evaluate_exact(steps, -x, 0).sign() == -1


def test_what_cannot_be_decided_says_so() -> None:
    square, product = computable.exp(Surd(2)), computable.exp(Surd(1)) * computable.exp(Surd(1))
    with pytest.raises(ValueError, match="cannot be decided"):
        (square - product).sign()
    with pytest.raises(ValueError, match="too large"):
        computable.exp(Surd(2**1100)).sign()


def test_atoms_are_equal_by_value() -> None:
    assert Atom("exp", Surd.sqrt(2)) == Atom("exp", Surd.sqrt(2))
    assert Atom("exp", computable.exp(Surd(1))) == Atom("exp", computable.exp(Surd(1)))


def test_directions() -> None:
    falling: Steps = (scale_by(one(-1.0)),)
    constant: Steps = (Affine(one(0.0), one(-2.0)),)
    sigmoid: Steps = (Transcendental("sigmoid"),)
    assert direction(()) == 1
    assert direction((*falling, *sigmoid)) == -1
    assert direction((LeakyRelu(one(-1.0)), *falling)) == MIXED
    assert direction((LeakyRelu(one(-1.0)), *constant)) == 0
    assert direction((*constant, LeakyRelu(one(-1.0)))) == 0
    assert direction((LeakyRelu(one(0.0)),)) == 1
    assert direction((Clip(Surd(2), Surd(1)),)) == 0
    assert direction((Clip(None, Surd(1)),)) == 1
    assert direction((Elu(Surd(-1)),)) == MIXED
    assert direction(SILU) == MIXED
    assert direction((Combine("add", sigmoid, ()),)) == 1
    assert direction((Combine("max", falling, falling),)) == -1
    assert direction((Combine("min", falling, sigmoid),)) == MIXED
    assert direction((Combine("add", constant, falling),)) == -1
    assert direction((Combine("mul", constant, sigmoid),)) == -1
    assert direction((Combine("mul", constant, SILU),)) == MIXED
    tiny = exact_array([Surd(Fraction(1, 10**400))])
    assert direction((scale_by(tiny),)) == 1


def joined() -> Concatenated:
    return Concatenated(((NORM,), SILU, (scale_by(one(1.0, -2.0, 3.0)), LeakyRelu(one(0.5)))), (2, 2, 3))


def test_concatenated_parts_keep_their_channels() -> None:
    steps, x = joined(), np.arange(-6.0, 7.0)[None, :]
    got, _ = steps.float(x, np.abs(x))
    for c in range(7):
        exact = [float(steps.exact(Surd(v), c)) for v in x[0].tolist()]
        assert np.allclose(got[c], exact, rtol=1e-12, atol=1e-12)
    assert steps.direction().tolist() == [1, -1, MIXED, MIXED, 1, -1, 1]
    rows = np.arange(7.0)[:, None] + x
    by_row, _ = steps.float(rows, np.abs(rows))
    assert float(by_row[5, 0]) == float(steps.exact(Surd(-1), 5))
    with pytest.raises(ValueError, match="do not fit"):
        Concatenated(((NORM,), SILU), (3, 1))


@pytest.mark.parametrize("index", [[0, 1, 2], [6, 0, 6, 6, 3, 2, 1], [5], list(range(7)) * 3])
def test_taking_channels(index: list[int]) -> None:
    steps, at = joined(), np.array(index)
    taken = take((steps, shift_by(np.arange(7.0)), Combine("add", (), (steps,))), at)
    whole = (steps, shift_by(np.arange(7.0)), Combine("add", (), (steps,)))
    assert channels(taken) == len(index)
    x = np.arange(-6.0, 7.0)[None, :]
    assert (evaluate(taken, x)[0] == evaluate(whole, x)[0][at]).all()
    for i, c in enumerate(index):
        assert evaluate_exact(taken, 3, i) == evaluate_exact(whole, 3, c)
    assert direction(taken).tolist() == direction(whole)[at].tolist()


def test_compose_of_everything_affine() -> None:
    mixed: Steps = (
        scale_by(one(0.1)),
        NORM,
        Combine("add", (scale_by(one(3.0)),), (NORM,)),
        Combine("mul", (Affine(one(0.0), one(0.3)),), ()),
        Concatenated(((scale_by(one(2.0)),), (shift_by(one(0.7)),)), (1, 1)),
    )
    both = compose(mixed)
    assert both is not None
    for c in range(2):
        for x in (-3, 0, 5):
            assert Surd.of(both[0][c]) * x + both[1][c] == evaluate_exact(mixed, x, c)
    for step in (Relu(), LeakyRelu(one(1.0)), Clip(None, None), *SILU, Transcendental("exp"), joined()):
        assert compose((*mixed, step)) is None


def test_compose_gives_the_simplest_numbers() -> None:
    both = compose((scale_by(exact_array([Surd(Fraction(1, 4))] * 3)), shift_by(one(1.0, 2.0, 3.0))))
    assert both is not None
    assert both[0].dtype == np.float64
    assert both[0].tolist() == [0.25]
    assert both[1].tolist() == [1.0, 2.0, 3.0]
    both = compose((scale_by(one(0.1)), scale_by(one(0.1))))
    assert both is not None
    assert both[0][0] == Fraction(0.1) ** 2


@pytest.mark.parametrize("seed", range(5))
def test_array_arithmetic_is_exact(seed: int) -> None:
    r = np.random.default_rng(seed)
    a, b = (np.ldexp(r.integers(-99, 99, 6).astype(float), r.integers(-40, 40, 6)) for _ in range(2))
    for x, y in ((a, b), (a / 3, b), (a * 1e-300, b * 1e-20), (a, b[:1])):
        for op, plain in ((add, Fraction.__add__), (multiply, Fraction.__mul__)):
            wide = np.broadcast_to(y, x.shape)
            expected = [
                plain(Fraction(p), Fraction(q)) for p, q in zip(x.tolist(), wide.tolist(), strict=True)
            ]
            assert [Surd.of(v).rational() for v in op(x, y).tolist()] == expected


def test_where_float64_rounds_nowhere() -> None:
    dyadic: Steps = (
        scale_by(one(2.0**-10)),
        shift_by(one(0.375)),
        LeakyRelu(one(0.125)),
        Clip(Surd(-1), Surd(6)),
    )
    assert is_exact_in_float64(dyadic, 2**20)
    assert is_exact_in_float64((*dyadic, Combine("mul", (), (scale_by(one(0.5)), Relu()))), 2**15)
    assert is_exact_in_float64((Clip(Surd(float(np.finfo(np.float32).min)), Surd(6)),), 2**20)
    assert not is_exact_in_float64((scale_by(one(0.1)), scale_by(one(0.1))), 2**20)
    assert not is_exact_in_float64((NORM,), 4)
    assert not is_exact_in_float64((Clip(Surd(0), Surd(Fraction(1, 3))),), 4)
    assert not is_exact_in_float64((Transcendental("exp"), Clip(Surd(0), Surd(1))), 4)
    uneven: Steps = (scale_by(one(1.0)), shift_by(one(0.5, 2.0**-60)))
    assert exact_channels(uneven, 2.0**20).tolist() == [True, False]
    assert exact_channels((joined(),), 2.0**20).tolist() == [False] * 4 + [True] * 3


@pytest.mark.parametrize("seed", range(20))
def test_what_counts_as_exact_is(seed: int) -> None:
    r = np.random.default_rng(seed)

    def number() -> np.ndarray[Any, Any]:
        return one(float(np.ldexp(int(r.integers(-(2**12), 2**12)), int(r.integers(-16, 3)))))

    pool = [
        lambda: Affine(number(), number()),
        lambda: LeakyRelu(number()),
        lambda: Clip(Surd(float(number()[0])), Surd(float(number()[0]))),
        lambda: Combine("mul", (scale_by(number()),), (shift_by(number()),)),
        lambda: Combine("min", (scale_by(number()),), (shift_by(number()), Relu())),
    ]
    for _ in range(40):
        steps = tuple(pool[i]() for i in r.integers(0, len(pool), r.integers(1, 4)))
        if is_exact_in_float64(steps, 999):
            points = r.integers(-999, 1000, 8)
            got = np.broadcast_to(evaluate(steps, points[None, :].astype(float))[0], (1, 8))[0]
            assert [evaluate_exact(steps, int(p), 0) for p in points] == got.tolist()


def test_batch_norm_near_the_pole() -> None:
    """A variance of almost minus epsilon: the float64 sum has lost nearly all digits."""
    norm = BatchNorm(one(1.0), one(0.0), one(0.0), one(-0.001 + 1e-16), Fraction(0.001) + Fraction(1, 10**25))
    got, magnitude = evaluate((norm,), np.array([[3.0]]))
    assert abs(got[0, 0] - float(evaluate_exact((norm,), 3, 0))) <= BAND * magnitude[0, 0]
    assert nearest(one(1.0)) == 1

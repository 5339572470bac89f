"""The fit file: reproducible from the points, honest about what it covers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hwq.cost import calibrate
from hwq.cost.fits import FITS_FILE, Basis, fits
from hwq.cost.measured import points


@pytest.fixture(scope="module")
def laws() -> dict[str, calibrate.Law]:
    return {law.name: law for law in calibrate.laws()}


def test_the_fit_file_follows_from_the_points() -> None:
    made, kept = json.loads(calibrate.encoded()), json.loads(FITS_FILE.read_bytes())
    assert made.keys() == kept.keys()
    for name, fit in made.items():
        same = {k: v for k, v in kept[name].items() if k not in ("coefficients", "lo", "hi", "median_ape")}
        assert {k: fit[k] for k in same} == same, name
        assert fit["coefficients"] == pytest.approx(kept[name]["coefficients"], rel=1e-3)
        assert (fit["lo"], fit["hi"]) == pytest.approx((kept[name]["lo"], kept[name]["hi"]), rel=1e-3)


@pytest.mark.parametrize("name", sorted(fits()))
def test_every_fit_says_what_stands_behind_it(name: str) -> None:
    fit = fits()[name]
    assert fit.source
    assert 0 <= fit.lo <= 1 <= fit.hi
    assert (fit.points == 0) == (fit.basis is Basis.STRUCTURAL)
    assert all(c >= 0 for c in fit.coefficients.values())


@pytest.mark.parametrize(
    ("name", "error", "coverage"),
    [
        ("dense/latency/lut", 0.08, 0.90),
        ("dense/latency/ff", 0.35, 0.90),
        ("dense/resource/lut/direct", 0.01, 0.95),
        ("dense/resource/lut/mux", 0.01, 0.95),
        ("dense/resource/ff", 0.03, 0.95),
        ("max_pool/parallel/lut", 0.20, 0.95),
    ],
)
def test_held_out_error_and_coverage(
    laws: dict[str, calibrate.Law], name: str, error: float, coverage: float
) -> None:
    """Mean over the sources of each one's median error, on designs the fit had not seen."""
    fit = fits()[name]
    assert np.mean(list(fit.median_ape.values())) <= error
    inside = [fit.value(laws[name].features(r)) for r in laws[name].rows]
    hits = [v.lo <= laws[name].target(r) <= v.hi for v, r in zip(inside, laws[name].rows, strict=True)]
    assert np.mean(hits) >= coverage


def test_every_point_says_where_it_comes_from() -> None:
    for name in ("dense_latency", "dense_resource", "conv", "max_pool", "synthesis_pairs"):
        for row in points(name):
            assert row["source"].count("/") == 1
            assert row["licence"] in ("Apache-2.0", "MIT", "numbers cited as facts")
            assert row["commit"] or name == "synthesis_pairs"


def test_non_negative_least_squares_finds_the_constrained_best() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 2, (50, 3))
    y = X @ np.array([2.0, 0.0, 1.0])
    assert calibrate.non_negative(X, y, np.ones(50)) == pytest.approx([2, 0, 1], abs=1e-9)
    bent = X @ np.array([3.0, -0.5, 0.0])
    found = calibrate.non_negative(X, bent, np.ones(50))
    assert (found >= 0).all()
    assert found[1] == 0

"""Make ``fits.json`` from ``points/``: ``hwq cost calibrate``.

Each law is fitted with coefficients that are not negative, to relative errors, every source with the
same weight. Errors and bands are held out: a source is predicted from the others; where there is one
source only, a group of sizes from the other sizes. The error to quote is the mean of the sources'
medians; rows are never pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import msgspec
import numpy as np
import numpy.typing as npt

from hwq.cost.design_bands import design_bands
from hwq.cost.fits import Basis, Fit
from hwq.cost.judgements import JUDGEMENTS
from hwq.cost.laws import conv, pool, product
from hwq.cost.laws.setting import CLOCK_UNCERTAINTY, VIVADO_UNCERTAINTY, Setting
from hwq.cost.laws.weights import WeightStatistics
from hwq.cost.measured import Row, integer, leaving_exactly, left_out, point_sources, points
from hwq.cost.model import Stage

Features = dict[str, float]
Array = npt.NDArray[np.float64]
_TAIL = 0.05
"""Share of the held-out ratios beyond each end of a band: nominally nine designs in ten lie inside."""
_VITIS = "2020.2"
"""From this version on the tool is Vitis HLS."""
_LONG_FOLDS = 100
"""From this II on a folded product holds all its results."""
_ONE_SOURCE = 1.25
"""Bands found inside one source are widened by this: how far the next source differs is not known."""


def non_negative(X: Array, y: Array, weight: Array) -> Array:
    """Least squares of ``X c / y = 1`` with c >= 0: the best of all sets of active columns (few columns)."""
    A, b = X * (weight / y)[:, None], weight
    best, best_error = np.zeros(X.shape[1]), np.inf
    for size in range(1, X.shape[1] + 1):
        for active in combinations(range(X.shape[1]), size):
            c, *_ = np.linalg.lstsq(A[:, active], b, rcond=None)
            error = float(np.sum((A[:, active] @ c - b) ** 2))
            if (c >= 0).all() and error < best_error - 1e-12:
                best, best_error = np.zeros(X.shape[1]), error
                best[list(active)] = c
    return best


def median_ratio(X: Array, y: Array, _weight: Array) -> Array:
    """Of one column: relative errors would lean to the smallest ratios where these spread widely."""
    return np.array([np.median(y / X[:, 0])])


def _even(labels: npt.NDArray[np.str_]) -> Array:
    """Weights that give every label the same say."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray(1 / np.sqrt(counts[inverse]), dtype=np.float64)


Solve = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Law:
    """One fit to make.

    Attributes:
        name: Its key in ``fits.json``.
        rows: Measured designs.
        target: What was measured.
        features: Of a row.
        source: Citation of the law's form.
        group: What is held out together where there is only one source.
        domain: Columns whose range the law is calibrated for.
        solve: From features (rows, columns), what was measured, and the rows' weights to coefficients.
    """

    name: str
    rows: Sequence[Row]
    target: Callable[[Row], float]
    features: Callable[[Row], Features]
    source: str
    group: Callable[[Row], str]
    domain: tuple[str, ...] = ()
    solve: Solve = non_negative


def held_out(
    X: Array,
    y: Array,
    sources: npt.NDArray[np.str_],
    groups: npt.NDArray[np.str_],
    solve: Solve = non_negative,
) -> Array:
    """Predictions of each row from a fit without its source (or its group, where there is one source)."""
    labels = sources if len(set(sources)) > 1 else groups
    out = np.empty(len(y))
    for label in np.unique(labels):
        test = labels == label
        out[test] = X[test] @ solve(X[~test], y[~test], _even(sources[~test]))
    return out


def band(ratio: Array, sources: npt.NDArray[np.str_]) -> tuple[float, float]:
    """Split-conformal factors of measured over predicted, the widest of the sources' own."""
    lows, highs = [1.0], [1.0]
    for source in np.unique(sources):
        ordered = np.sort(ratio[sources == source])
        rank = int((len(ordered) + 1) * _TAIL)
        lows.append(float(ordered[max(rank - 1, 0)]))
        highs.append(float(ordered[min(len(ordered) - rank, len(ordered) - 1)]))
    return min(lows), max(highs)


def fit_law(law: Law) -> Fit:
    """Coefficients, held-out errors and band of one law."""
    made = [law.features(r) for r in law.rows]
    names = list(made[0])
    X = np.array([[f[n] for n in names] for f in made], dtype=np.float64)
    y = np.array([law.target(r) for r in law.rows], dtype=np.float64)
    sources = np.array([r["source"] for r in law.rows])
    predicted = held_out(X, y, sources, np.array([law.group(r) for r in law.rows]), law.solve)
    coefficients = law.solve(X, y, _even(sources))
    alone = len(set(sources)) == 1
    lo, hi = band(y / predicted, sources)
    lo, hi = (lo / _ONE_SOURCE, hi * _ONE_SOURCE) if alone else (lo, hi)
    inside = (X @ coefficients * lo <= y) & (y <= X @ coefficients * hi)
    errors = {str(s): float(np.median(np.abs(predicted / y - 1)[sources == s])) for s in np.unique(sources)}
    return Fit(
        coefficients={n: _round(c) for n, c in zip(names, coefficients, strict=True)},
        lo=_round(lo),
        hi=_round(hi),
        basis=Basis.MEASURED,
        source=law.source,
        points=len(y),
        sources={str(s): int((sources == s).sum()) for s in np.unique(sources)},
        median_ape={s: _round(e) for s, e in errors.items()},
        method=f"one group of sizes held out, band x{_ONE_SOURCE}" if alone else "one source held out",
        coverage=_round(float(inside.mean())),
        domain={d: _range(law.rows, d) for d in law.domain},
    )


def _range(rows: Sequence[Row], column: str) -> tuple[float, float]:
    values = [float(r[column]) for r in rows]
    return min(values), max(values)


def _round(value: float) -> float:
    return float(f"{value:.5g}")


# --- the laws -------------------------------------------------------------------------------------


def statistics(row: Row) -> WeightStatistics:
    """Weight statistics of a Latency point."""
    n_in, n_out, bits, nz, u2, u3, csd = integer(row, "n_in", "n_out", "w_bits", "nz", "u2", "u3", "csd")
    return WeightStatistics(n_in, n_out, bits, nz, u2, u3, csd - n_out)


def latency_setting(row: Row) -> Setting:
    """Where a Latency point was built: UltraScale+ at speed grade 2."""
    timing = JUDGEMENTS["timing/ultrascale_plus"].coefficients
    return Setting(
        stream=False,
        resource=False,
        reuse=int(row["reuse"]),
        clock_ns=float(row["clock_ns"]),
        t_add_ns=timing["t_add_ns"],
        t_mul_ns=timing["t_mul_ns"],
        series7=False,
        stage=Stage.CSYNTH,
        uncertainty=CLOCK_UNCERTAINTY if row["tool"] >= _VITIS else VIVADO_UNCERTAINTY,
    )


def _latency_lut(row: Row) -> Features:
    w, (in_bits, acc_bits) = statistics(row), integer(row, "in_bits", "acc_bits")
    return product.latency_lut_features(
        w, in_bits, acc_bits, product.latency_dsp(w, in_bits, 1), vitis=row["tool"] >= _VITIS
    )


def _latency_ff(row: Row) -> Features:
    """With the measured number of cycles: how long the pipeline is, is another law's matter."""
    w, (acc_bits, cycles, dsp) = statistics(row), integer(row, "acc_bits", "latency_cycles", "dsp")
    return {"live_bits": product.live_bits(w, acc_bits, cycles, latency_setting(row), dsp=dsp > 0)}


def _held_ff(row: Row) -> Features:
    nz, acc_bits, ii = integer(row, "nz", "acc_bits", "ii_cycles")
    return {"held_bits": product.held_share(ii) * nz * acc_bits}


def _layer_ff(row: Row) -> float:
    """Flip-flops without the input registers that a whole design has."""
    n_in, in_bits, ff = integer(row, "n_in", "in_bits", "ff")
    return ff - (n_in * in_bits + 2 if row["level"] == "model" else 0)


def _resource_lut(row: Row) -> Features:
    return product.resource_lut_features(*integer(row, "n_in", "n_out", "reuse", "in_bits", "acc_bits"))


def _resource_ff(row: Row) -> Features:
    return product.resource_ff_features(*integer(row, "n_in", "n_out", "reuse", "acc_bits", "w_bits"))


def _resource_bram(row: Row) -> Features:
    return {"bram18": product.weight_bram18(*integer(row, "n_in", "n_out", "reuse", "w_bits"))}


def _conv_stream(row: Row) -> Features:
    kh, kw, c_in, c_out, reuse, in_bits, acc_bits = integer(
        row, "kernel_h", "kernel_w", "in_channels", "out_channels", "reuse", "in_bits", "acc_bits"
    )
    n_in = kh * kw * c_in
    return conv.stream_resource_lut_features(n_in, n_in * c_out, reuse, in_bits, acc_bits)


def _pool_parallel(row: Row) -> Features:
    h, w, c, kh, kw, bits = integer(row, "out_h", "out_w", "channels", "kernel_h", "kernel_w", "in_bits")
    return pool.parallel_lut_features(h * w * c, kh * kw, bits)


def _pool_stream(row: Row) -> Features:
    c, kh, kw, width, bits = integer(row, "channels", "kernel_h", "kernel_w", "in_w", "in_bits")
    return pool.stream_lut_features(c, (kh, kw), width, bits)


def _size(row: Row) -> str:
    return row["n_in"]


def laws() -> list[Law]:
    """Every law that is fitted."""
    latency = [r for r in points("dense_latency") if r["reuse"] == "1"]
    folded = [r for r in points("dense_latency") if int(r["ii_cycles"]) > _LONG_FOLDS]
    piped = [r for r in latency if r["latency_cycles"] == "1"]
    shared = points("dense_resource")
    direct, mux = (
        [r for r in shared if (int(r["reuse"]) > 2 * int(r["n_in"])) is above] for above in (False, True)
    )
    streamed = [r for r in points("conv") if (r["io"], r["strategy"]) == ("stream", "resource")]
    pools = {io: [r for r in points("max_pool") if r["io"] == io] for io in ("parallel", "stream")}
    sizes = ("n_in", "n_out", "in_bits", "acc_bits")
    nnet = "csynth; structure of hls4ml's nnet_"
    return [
        Law("dense/latency/lut", latency, _lut, _latency_lut, f"{nnet}dense_latency.h", _size, sizes),
        Law("dense/latency/ff", piped, _layer_ff, _latency_ff, f"{nnet}dense_latency.h", _size,
            solve=median_ratio),
        Law("dense/latency/held_ff", folded, _layer_ff, _held_ff, f"{nnet}dense_latency.h, RF > 1", _size,
            solve=median_ratio),
        *(
            Law(f"dense/resource/lut/{kind}", rows, _lut, _resource_lut, f"{nnet}dense_resource.h",
                _size, (*sizes, "reuse"))
            for kind, rows in (("direct", direct), ("mux", mux))
        ),
        Law("dense/resource/ff", shared, _ff, _resource_ff, f"{nnet}dense_resource.h", _size),
        Law("conv/stream/resource/lut", streamed, _lut, _conv_stream, f"{nnet}conv_stream.h", _shape),
        Law("max_pool/parallel/lut", pools["parallel"], _lut, _pool_parallel, f"{nnet}pooling.h", _shape,
            ("in_bits", "kernel_h", "kernel_w")),
        Law("max_pool/stream/lut", pools["stream"], _lut, _pool_stream, f"{nnet}pooling_stream.h", _shape),
    ]  # fmt: skip


def _enough(rows: Sequence[Row]) -> bool:
    """Two sources, or of one source all."""
    return bool(rows) and (not left_out() or len({r["source"] for r in rows}) > 1)


def _lut(row: Row) -> float:
    return float(row["lut"])


def _ff(row: Row) -> float:
    return float(row["ff"])


def _shape(row: Row) -> str:
    """Held out together: designs of the same tool and size."""
    return f"{row['tool']} {row['in_h']}"


def bram_fit() -> Fit:
    """The memory law has nothing to fit; its band is that of measured over predicted."""
    rows = points("dense_resource")
    depths = [float(r["reuse"]) for r in rows]
    ratio = np.array([float(r["bram18"]) / _resource_bram(r)["bram18"] for r in rows])
    sources = np.array([r["source"] for r in rows])
    lo, hi = band(ratio, sources)
    return Fit(
        coefficients={"bram18": 1.0},
        lo=_round(lo),
        hi=_round(hi),
        basis=Basis.MEASURED,
        source="cheapest shape of an 18 Kb block RAM, no coefficient; csynth",
        points=len(rows),
        sources={str(rows[0]["source"]): len(rows)},
        median_ape={str(rows[0]["source"]): _round(float(np.median(np.abs(1 / ratio - 1))))},
        method=f"nothing fitted; {float((ratio == 1).mean()):.1%} exact",
        coverage=_round(float(((lo <= ratio) & (ratio <= hi)).mean())),
        domain={"reuse": (min(depths), max(depths))},
    )


def mux_fit(latency: Fit) -> Fit:
    """io_parallel conv: what two reports hold beyond the product itself, a bit of the multiplexers."""
    rows = [r for r in points("conv") if r["io"] == "parallel" and r["licence"] == "Apache-2.0"]
    left = []
    for r in rows:
        h, w, c, kh, kw, bits, lut = integer(
            r, "out_h", "out_w", "in_channels", "kernel_h", "kernel_w", "in_bits", "lut"
        )
        weights = kh * kw * c * int(r["out_channels"])
        core = latency.coefficients["adder_bits"] * weights * int(r["acc_bits"]) + latency.coefficients[
            "dsp"
        ] * int(r["dsp"])
        left.append((lut - core) / conv.window_mux_features(h * w, kh * kw * c, bits)["mux_bits"])
    return Fit(
        coefficients={"mux_bits": _round(float(np.mean(left)))},
        lo=0.3,
        hi=2.0,
        basis=Basis.MEASURED,
        source="fill_buffer multiplexers of hls4ml's io_parallel conv; csynth",
        points=len(rows),
        sources={rows[0]["source"]: len(rows)},
        method="mean of two reports of one design; the band is a judgement",
    )


def stage_fits() -> dict[str, Fit]:
    """Post-synthesis over csynth, from designs of which both reports are known: median and range."""
    rows, made = points("synthesis_pairs"), {}
    for strategy in ("latency", "resource"):
        for key in ("lut", "ff", "dsp", "bram18"):
            chosen = [r for r in rows if r["strategy"] == strategy and r[key]]
            ratio = np.array([float(r[key]) for r in chosen])
            middle = float(np.median(ratio))
            made[f"stage/{strategy}/{key}"] = Fit(
                coefficients={"ratio": _round(middle)},
                lo=_round(float(ratio.min()) / middle),
                hi=_round(float(ratio.max()) / middle),
                basis=Basis.MEASURED,
                source="post-synthesis over csynth of whole designs",
                points=len(chosen),
                sources={
                    s: sum(r["source"] == s for r in chosen) for s in sorted({r["source"] for r in chosen})
                },
                method="median and full range",
            )
    return made


def calibrate() -> dict[str, Fit]:
    """All fits; with a source left out, laws that only it has points for are fitted with it all the same."""
    return dict(sorted({**fitted_laws(), **design_bands(fitted_laws)}.items()))


def fitted_laws() -> dict[str, Fit]:
    """All fits but the bands of designs, without the sources that are left out."""
    return dict(_fitted_laws(left_out() & point_sources()))


@cache
def _fitted_laws(left: frozenset[str]) -> dict[str, Fit]:
    base = dict(_fitted_laws(frozenset())) if left else {}
    with leaving_exactly(left):
        found = {**base, **JUDGEMENTS, **{law.name: fit_law(law) for law in laws() if _enough(law.rows)}}
        if points("dense_resource"):
            found["dense/resource/bram18"] = bram_fit()
        if any((r["io"], r["licence"]) == ("parallel", "Apache-2.0") for r in points("conv")):
            found["conv/parallel/mux"] = mux_fit(found["dense/latency/lut"])
        return found | stage_fits()


def encoded() -> bytes:
    """The content of ``fits.json``."""
    return msgspec.json.format(msgspec.json.encode(calibrate()), indent=1) + b"\n"

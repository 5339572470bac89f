"""What limits a design, and what to do about it, in one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwq.cost.model import Fits, LayerCost, Value, verdict

NAMES = {"lut": "LUT", "ff": "flip-flop", "dsp": "DSP", "bram18": "block RAM", "uram": "UltraRAM"}


def tightest(needs: Mapping[str, Value], available: Mapping[str, int]) -> str:
    """The resource whose band ends highest above, or least below, its budget."""
    return max(
        needs, key=lambda r: (needs[r].share(available[r])["hi"], needs[r].share(available[r])["value"])
    )


def bottleneck(layers: Sequence[LayerCost], needs: Mapping[str, Value], available: Mapping[str, int]) -> str:
    """The tightest resource with the layer that takes most of it, and the slowest layer."""
    resource = tightest(needs, available)
    share = needs[resource].share(available[resource])
    largest = max(layers, key=lambda row: float(getattr(row, resource).value))
    slowest = max(layers, key=lambda row: row.ii_cycles)
    pace = f"'{slowest.name}' sets the pace, an inference every {slowest.ii_cycles} cycles"
    if slowest.ii_cycles <= 1:
        pace = "no layer waits: an inference every cycle"
    return (
        f"{NAMES[resource]}s: {share['value']:.0%} of the board "
        f"(band {share['lo']:.0%} to {share['hi']:.0%}), "
        f"most of them in '{largest.name}'; {pace}"
    )


def cure(
    layers: Sequence[LayerCost],
    needs: Mapping[str, Value],
    available: Mapping[str, int],
    *,
    unrolled: bool,
    parallel: bool,
) -> str:
    """What to change: in the configuration if it does not fit, in the model if that is not enough."""
    answer = verdict(needs, available)
    if answer is Fits.YES:
        slowest = max(layers, key=lambda row: row.ii_cycles)
        if slowest.ii_cycles <= 1:
            return "nothing to do: it fits and takes an input every cycle"
        return f"nothing to do: it fits; '{slowest.name}' is the layer to speed up if it is too slow"
    resource = tightest(needs, available)
    largest = max(layers, key=lambda row: float(getattr(row, resource).value)).name
    doubt = "" if answer is Fits.NO else "the band crosses the budget: synthesise to know, or "
    return doubt + _remedy(resource, largest, unrolled=unrolled, parallel=parallel)


def _remedy(resource: str, largest: str, *, unrolled: bool, parallel: bool) -> str:
    smaller = f"use fewer bits or channels in '{largest}'"
    if resource == "bram18":
        return f"lower the reuse factor (weights then become logic), or {smaller}"
    more = "raise the reuse factor (it shares multipliers)" if unrolled else "raise the reuse factor"
    stream = "use --io stream, " if parallel else ""
    return f"{more}, {stream}{smaller}, or take a larger board"

"""The answers of the first screen: how accurate, exact or not, fits or not, how fast."""

from __future__ import annotations

from dataclasses import dataclass

from hwq.report import numbers
from hwq.report.inputs import Run
from hwq.report.resources import FITS, design_title, tightest_resource
from hwq.report.schema import Csim, Estimate, Stage, Verify
from hwq.report.status import Status


@dataclass(frozen=True)
class Verdict:
    """One question with its answer in a few words, and the facts behind it."""

    question: str
    answer: str
    status: Status
    facts: tuple[str, ...]


def verdicts(run: Run) -> list[Verdict]:
    """The answers, always in the same order."""
    return [_accuracy(run), _exact(run), _fits(run), _speed(run)]


def integer_accuracy(run: Run) -> float | None:
    """Accuracy of the integer network, if it was measured."""
    accuracy = run.verify.accuracy if run.verify is not None else None
    return accuracy.integers if accuracy is not None else None


def _accuracy(run: Run) -> Verdict:
    metrics, integers = run.metrics, integer_accuracy(run)
    facts = []
    if metrics is not None and metrics.test_correct is not None and metrics.test_total is not None:
        facts.append(f"{metrics.test_correct:,} of {metrics.test_total:,} test samples")
    if integers is not None and run.verify is not None:
        facts.append(
            f"integer network: {numbers.percent(integers)} of {run.verify.inputs.given:,} given inputs"
        )
    if metrics is not None and metrics.weight_bits is not None:
        bits = f"{numbers.plain(metrics.weight_bits)}-bit weights"
        facts.append(f"{bits}, {numbers.plain(metrics.act_bits)}-bit activations")
    known = metrics.test_accuracy if metrics is not None else integers
    if known is None:
        return Verdict(
            "Accuracy", "not measured", Status.UNKNOWN, ("no labelled data was given to this run",)
        )
    return Verdict("Accuracy", numbers.percent(known), Status.PLAIN, tuple(facts))


def _exact(run: Run) -> Verdict:
    failed = _failed_projects(run)
    if failed:
        fact = f"C++ simulation of {', '.join(failed)} differs from its golden vectors"
        return Verdict("Verification", "not exact", Status.BAD, (fact, *_divergence(run.verify)))
    if run.verify is None:
        return Verdict(
            "Verification", "not checked", Status.UNKNOWN, _csim_fact(run) or ("run hwq verify to know",)
        )
    if not run.verify.ok:
        return Verdict("Verification", "not exact", Status.BAD, _divergence(run.verify))
    return Verdict("Verification", "exact", Status.OK, _agreement(run, run.verify))


def _failed_projects(run: Run) -> list[str]:
    projects = run.generate.projects if run.generate is not None else []
    return [project.path for project in projects if project.csim is not None and not project.csim.ok]


def simulated(run: Run) -> bool:
    """Whether the C++ has been run and compared, by `hwq verify` or in a project."""
    stages = run.verify.stages if run.verify is not None else []
    return any(stage.name.startswith("csim") for stage in stages) or bool(_csims(run))


def _csims(run: Run) -> list[Csim]:
    projects = run.generate.projects if run.generate is not None else []
    return [project.csim for project in projects if project.csim is not None]


def _csim_fact(run: Run) -> tuple[str, ...]:
    done = _csims(run)
    return (f"C++ simulation agrees in {numbers.plural(len(done), 'project')}",) if done else ()


def _agreement(run: Run, verify: Verify) -> tuple[str, ...]:
    values = sum(stage.values for stage in verify.stages)
    stages = numbers.plural(len(verify.stages), "stage")
    facts = [
        f"{stages} equal the integers: {values:,} values from {numbers.plural(verify.inputs.total, 'input')}"
    ]
    certified = sum(stage.certified for stage in verify.stages)
    if certified:
        facts[0] = facts[0].replace(" equal", " match")
        differences = numbers.plural(certified, "float32 rounding difference")
        facts.append(f"{differences}, {'each' if certified > 1 else 'it is'} certified")
    if not simulated(run):
        facts.append("the C++ has not been simulated yet")
    return tuple(facts)


def failing_stages(verify: Verify) -> list[Stage]:
    """Stages that differ from the integers without a certificate."""
    return [stage for stage in verify.stages if not stage.ok]


def _divergence(verify: Verify | None) -> tuple[str, ...]:
    failing = failing_stages(verify) if verify is not None else []
    if not failing:
        return ()
    total = sum(stage.uncertified for stage in failing)
    values = "1 value differs" if total == 1 else f"{total:,} values differ"
    facts = [f"{values} without a certificate, in {', '.join(stage.name for stage in failing)}"]
    first = next((stage.first for stage in failing if stage.first is not None), None)
    if first is not None:
        facts.append(f"first at {first.layer or first.tensor}: expected {first.expected}, got {first.got}")
    return tuple(facts)


def _fits(run: Run) -> Verdict:
    designs = run.estimates
    if not designs:
        return Verdict("Board", "not estimated", Status.UNKNOWN, ("run hwq estimate to know",))
    facts = tuple(_fit_fact(design, alone=len(designs) == 1) for design in designs[:4])
    if len(designs) > 4:
        facts += (f"and {len(designs) - 4} more below",)
    outcomes = {design.fits for design in designs}
    if len(outcomes) == 1:
        answer, status = FITS[outcomes.pop()]
        return Verdict("Board", answer, status, facts)
    fitting = sum(design.fits == "yes" for design in designs)
    return Verdict("Board", f"{fitting} of {len(designs)} designs", Status.UNSURE, facts)


def _fit_fact(design: Estimate, *, alone: bool) -> str:
    title = design_title(design)
    tightest = tightest_resource(design)
    text = title if alone else f"{title}: {FITS[design.fits][0]}"
    if tightest is None:
        return text
    name, use = tightest
    return f"{text}, {name} {numbers.share(use.value)} ({numbers.share(use.lo)} to {numbers.share(use.hi)})"


def _speed(run: Run) -> Verdict:
    timed = [design for design in run.estimates if design.inferences_per_second is not None]
    if not timed:
        return Verdict("Speed", "not estimated", Status.UNKNOWN, ("run hwq estimate to know",))
    possible = [d for d in timed if d.fits == "yes"] or [d for d in timed if d.fits != "no"] or timed
    fastest = max(possible, key=lambda design: design.inferences_per_second or 0)
    facts = [f"latency {numbers.latency(fastest.latency_us)}, {numbers.count(fastest.latency_cycles)} cycles"]
    if fastest.clock_ns:
        facts.append(f"at {1000 / fastest.clock_ns:.0f}\u00a0MHz on {design_title(fastest)}")
    if fastest.fits == "no":
        facts.append("of a design that does not fit")
    return Verdict("Speed", f"{numbers.count(fastest.inferences_per_second)}/s", Status.PLAIN, tuple(facts))

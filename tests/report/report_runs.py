"""Runs as the commands leave them: a small convolutional network on digits, good, bad and hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HOSTILE = "<script>alert('x')</script>|a|b\n# `_y_`"
RESOURCES = ("lut", "ff", "dsp", "bram18")
STAGES = ("torch", "qonnx", "numpy", "csim parallel", "csim stream")


def band(value: float, spread: float = 0.2) -> dict[str, float]:
    return {"value": value, "lo": value * (1 - spread), "hi": value * (1 + spread)}


def layer(name: str, op: str, source: str, shape: list[int], out_type: str, **more: Any) -> dict[str, Any]:
    empty = dict.fromkeys(["weight_bits", "accumulator_bits", "form", "proof_checks", "ties"])
    return {
        "name": name,
        "op": op,
        "inputs": [source],
        "shape": shape,
        "in_type": "uint2",
        "out_type": out_type,
        "source": f"{op}_0_out0",
        "lo": 0,
        "hi": 3,
        "macs": 0,
        "parameters": 0,
        **empty,
        **more,
    }


def metrics() -> dict[str, Any]:
    epochs = [
        {
            "epoch": e,
            "loss": 2.3 * 0.9**e + 0.08,
            "train_accuracy": 0.99 - 0.8 * 0.85**e,
            "validation_accuracy": 0.975 - 0.75 * 0.84**e + 0.004 * (e % 3),
            "learning_rate": 0.01,
        }
        for e in range(1, 41)
    ]
    return {
        "hwq": "0.1.0",
        "recipe": {"name": "digits-w2a2", "model": {"kind": "convnet", "channels": [16, 32]}},
        "seed": 1,
        "dataset": {
            "name": "digits",
            "train": 1077,
            "validation": 360,
            "test": 360,
            "input_shape": [1, 8, 8],
            "classes": 10,
        },
        "parameters": 7466,
        "weight_bits": 2,
        "act_bits": 2,
        "epochs": epochs,
        "best_epoch": 38,
        "validation_accuracy": 0.9806,
        "test_accuracy": 350 / 360,
        "test_correct": 350,
        "test_total": 360,
        "seconds": 41.3,
    }


def lower() -> dict[str, Any]:
    tree = {"form": "compare tree, 3 levels", "proof_checks": 96, "ties": 4}
    shift = {"form": "(a*M+B)>>s, M 7 bits, s 12", "proof_checks": 192, "ties": 0}
    conv = {"in_type": "uint2", "lo": -212, "hi": 198, "weight_bits": 2, "accumulator_bits": 9}
    layers = [
        layer("stem", "conv", "image", [8, 8, 16], "int9", macs=9216, parameters=144, **conv),
        layer("stem_act", "threshold", "stem", [8, 8, 16], "uint2", **tree),
        layer("body", "conv", "stem_act", [8, 8, 16], "int9", macs=147456, parameters=2304, **conv),
        layer("body_act", "requant", "body", [8, 8, 16], "uint2", **shift),
        layer("join", "add", "body_act", [8, 8, 16], "uint3"),
        layer("pool", "max_pool", "join", [4, 4, 16], "uint3"),
        layer("flat", "reshape", "pool", [256], "uint3"),
        layer("classify", "dense", "flat", [10], "int11", macs=2560, parameters=2560, **conv),
    ]
    layers[4]["inputs"] = ["body_act", "stem_act"]
    return {
        "hwq": "0.1.0",
        "model": "model.onnx",
        "sha256": "9f2c" * 16,
        "layers": layers,
        "macs": 159232,
        "parameters": 5008,
        "inputs": [
            {
                "name": "image",
                "shape": [8, 8, 1],
                "type": "uint4",
                "lo": 0,
                "hi": 15,
                "quantizer": "scale 1/15",
            }
        ],
        "outputs": [{"name": "classify", "shape": [10], "type": "int11"}],
        "seconds": 0.21,
        "notes": ["The final Softmax is cut: it does not change the class decision."],
    }


def stage(name: str) -> dict[str, Any]:
    certified = {"torch": 3, "qonnx": 2}.get(name, 0)
    return {
        "name": name,
        "against": "integers",
        "rows": 512,
        "tensors": 8,
        "values": 1835008,
        "different": certified,
        "certified": certified,
        "uncertified": 0,
        "argmax_flips": 0,
        "ok": True,
        "seconds": 1.8,
        "first": None,
    }


def verify() -> dict[str, Any]:
    layers = []
    for entry in lower()["layers"]:
        zero = {name: 0 for name in STAGES if entry["op"] != "add" or name != "qonnx"}
        layers.append(
            {
                "tensor": entry["name"],
                "layer": entry["name"],
                "values": 524288,
                "ties": entry["ties"] or 0,
                "different": zero,
                "certified": dict(zero),
            }
        )
    for name, number in (("torch", 3), ("qonnx", 2)):
        layers[1]["different"][name] = layers[1]["certified"][name] = number
    certificate = {
        "stage": "torch",
        "tensor": "stem_act",
        "row": 17,
        "index": [3, 4, 11],
        "code": 2,
        "stage_code": 1,
        "distance": "0",
        "bound": "2.4e-7",
    }
    return {
        "hwq": "0.1.0",
        "model": "model.onnx",
        "ok": True,
        "stages": [stage(name) for name in STAGES],
        "layers": layers,
        "inputs": {"given": 360, "tie": 96, "extreme": 56, "total": 512},
        "certificates": [certificate] * 3,
        "ties": {"quantiser_values": 214, "argmax_rows": 1},
        "accuracy": {"integers": 350 / 360},
    }


def estimate() -> dict[str, Any]:
    costs = [
        {
            "name": entry["name"],
            "op": entry["op"],
            "path": f"{entry['op']} latency",
            "lut": band(900 + entry["macs"] / 12),
            "ff": band(400),
            "dsp": band(0),
            "bram18": band(0),
            "latency_cycles": 4,
            "ii_cycles": 1,
            "outside_calibration": entry["op"] == "add",
        }
        for entry in lower()["layers"]
    ]
    available = {"lut": 53200, "ff": 106400, "dsp": 220, "bram18": 280, "uram": 0}
    total = {"lut": band(21834), "ff": band(9120), "dsp": band(0), "bram18": band(4), "uram": band(0)}
    used = {n: {k: v / available[n] for k, v in total[n].items()} for n in RESOURCES}
    return {
        "board": "pynq-z2",
        "part": "xc7z020clg400-1",
        "clock_ns": 10,
        "stage": "csynth",
        "io": "parallel",
        "strategy": "latency",
        "layers": costs,
        "total": total,
        "available": available,
        "utilisation": used,
        "latency_cycles": 31,
        "ii_cycles": 1,
        "latency_us": 0.31,
        "inferences_per_second": 1e8,
        "fits": "yes",
        "bottleneck": "body: 61 % of the LUTs",
        "cure": "",
    }


def generate() -> dict[str, Any]:
    csim = {"ok": True, "rows": 512, "seconds_compile": 21.4, "seconds_run": 0.6}
    both = ("parallel", "stream")
    return {
        "projects": [
            {
                "path": f"project_{io}",
                "io": io,
                "board": "pynq-z2",
                "part": "xc7z020clg400-1",
                "clock_ns": 10,
                "digest": "ab12" * 16,
                "csim": dict(csim),
            }
            for io in both
        ]
    }


def good_run() -> dict[str, Any]:
    stream = {
        **estimate(),
        "io": "stream",
        "latency_cycles": 412,
        "latency_us": 4.12,
        "inferences_per_second": 24271,
    }
    return {
        "metrics": metrics(),
        "lower": lower(),
        "verify": verify(),
        "estimate": {"estimates": [estimate(), stream]},
        "generate": generate(),
    }


def failing_run() -> dict[str, Any]:
    run = good_run()
    broken = run["verify"]["stages"][3]
    first = {
        "tensor": "body_act",
        "layer": "body_act",
        "row": 5,
        "index": [2, 7, 9],
        "expected": 3,
        "got": 0,
        "why": "The accumulator wraps at 8 bits.",
    }
    broken.update(ok=False, different=41, uncertified=41, argmax_flips=6, first=first)
    run["verify"]["ok"] = False
    run["verify"]["layers"][3]["different"]["csim parallel"] = 41
    return run


def oversized_run() -> dict[str, Any]:
    run = good_run()
    big = estimate()
    big["total"]["lut"], big["total"]["dsp"] = band(131072), band(210)
    big["utilisation"] = {}
    big.update(fits="no", bottleneck="LUT", cure="raise the reuse factor of body to 4 or more")
    run["estimate"] = big
    return run


def hostile_run() -> dict[str, Any]:
    """Every text of a good run, but the keys that hwq itself chooses from, is the attacker's."""
    keep = {"type", "fits", "hwq"}

    def poison(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(v, key) for v in value]
        return HOSTILE if isinstance(value, str) and key not in keep else value

    poisoned: dict[str, Any] = poison(good_run())
    return poisoned


def long_run(layers: int = 100) -> dict[str, Any]:
    """Residual blocks, 100 layers."""
    content = lower()
    first = content["layers"][0]
    content["layers"] = [{**first, "name": "l0", "inputs": ["image"]}]
    for k in range(1, layers):
        entry = {**first, "name": f"l{k}", "inputs": [f"l{k - 1}"]}
        if k % 4 == 3:
            entry |= {"op": "add", "inputs": [f"l{k - 1}", f"l{k - 3}"], "macs": 0}
        content["layers"].append(entry)
    content["outputs"][0]["name"] = f"l{layers - 1}"
    return {"lower": content}


def save(folder: Path, run: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in run.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


RUNS = {
    "good": good_run,
    "failing": failing_run,
    "oversized": oversized_run,
    "hostile": hostile_run,
    "long": long_run,
}

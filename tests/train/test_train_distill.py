"""Distillation: what the losses are, which layers they see, and a run that takes them from a recipe."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path

import brevitas.nn as qnn
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hwq.errors import InputError
from hwq.train import TrainResult
from hwq.train.checkpoint import load_model, read
from hwq.train.distill import Distillation, from_recipe
from hwq.train.distill_losses import attention_loss, hint_loss, logits_loss, relation_loss
from hwq.train.distill_spec import DistillSpec, LayerSpec
from hwq.train.job import run_job
from hwq.train.loop import Epoch
from hwq.train.network import build_network
from hwq.train.recipe import load_recipe
from hwq.train.technique import Batch, Moment

_NOW = Moment(step=0, steps=10, epoch=0, epochs=1)


def _net(width: int, classes: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, classes))


def _images(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(width * 4, 3)
    )


def _batch(student: nn.Module, x: Tensor, classes: int = 4) -> Batch:
    return Batch(x, torch.arange(len(x)) % classes, student(x))


def _loss(teaching: Distillation, batch: Batch) -> Tensor:
    return teaching.loss(cross_entropy(batch.logits, batch.y), batch, _NOW)


def test_logits_loss_is_the_divergence_by_hand() -> None:
    student, teacher, t = torch.tensor([[0.0, 2.0]]), torch.tensor([[2.0, 0.0]]), 2.0
    p, q = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))  # softmax of (1, 0)
    expected = t**2 * (p * math.log(p / q) + q * math.log(q / p))
    assert float(logits_loss(student, [teacher], t)) == pytest.approx(expected, rel=1e-5)
    assert float(logits_loss(student, [teacher, -teacher + 2], t)) == pytest.approx(
        t**2 * (0.5 * math.log(0.5 / q) + 0.5 * math.log(0.5 / p)), rel=1e-5
    )


def test_feature_losses_ignore_what_they_should() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 3, 4, 4)
    signs = torch.randn_like(x).sign()
    assert float(attention_loss(x, 7 * signs * x[:, [2, 0, 1]])) == pytest.approx(
        0, abs=1e-9
    )  # squares, in any order
    assert float(attention_loss(x, x.flip(3))) > 0.01
    assert float(relation_loss(x, 3 * x.flip(3))) == pytest.approx(0, abs=1e-9)  # any place, any size
    assert float(relation_loss(x, torch.randn(5, 8))) > 0.001
    small = x.reshape(5, 3, 2, 2, 2, 2).mean((3, 5))
    assert float(hint_loss(x, small)) == pytest.approx(0, abs=1e-9)  # to the smaller map
    assert float(hint_loss(x, x + 2)) == pytest.approx(4)


def test_alpha_weighs_task_and_teacher() -> None:
    torch.manual_seed(1)
    student, teacher, x = _net(5), _net(9), torch.randn(8, 6)
    batch = _batch(student, x)
    task = cross_entropy(batch.logits, batch.y)
    kl = logits_loss(batch.logits, [teacher(x)], 3.0)
    for alpha in (0.25, 1.0):
        teaching = Distillation(student, teacher, DistillSpec(temperature=3.0, alpha=alpha), x)
        assert torch.allclose(_loss(teaching, batch), (1 - alpha) * task + alpha * kl)


def test_the_teacher_is_not_trained_and_stays_in_evaluation_mode() -> None:
    torch.manual_seed(2)
    student = _net(5)
    teacher = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.Dropout(0.5), nn.Linear(9, 4)).train()
    before = deepcopy(teacher.state_dict())
    x = torch.randn(8, 6)
    teaching = Distillation(student, teacher, DistillSpec(alpha=1.0), x)
    torch.autograd.backward(_loss(teaching, _batch(student, x)))
    assert not teacher.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())


@pytest.mark.parametrize("kind", ["hint", "attention", "relation"])
def test_features_of_several_layers_teach_what_lies_below(kind: str) -> None:
    torch.manual_seed(3)
    student, teacher, x = _images(4), _images(7), torch.randn(8, 1, 6, 6)
    layers = {"0": LayerSpec("0", kind, 0.5), "2": LayerSpec("1", kind)}  # type: ignore[arg-type]
    teaching = Distillation(student, teacher, DistillSpec(alpha=0, layers=layers), x[:2])
    batch = _batch(student, x, 3)
    total = _loss(teaching, batch) - cross_entropy(batch.logits, batch.y)
    torch.autograd.backward(total)
    assert float(total.detach()) > 0
    below, above = (student.get_parameter(f"{i}.weight").grad for i in (0, 4))
    assert below is not None and float(below.abs().sum()) > 0  # noqa: PT018
    assert above is not None and float(above.abs().max()) < 1e-6  # noqa: PT018  the task's two terms cancel
    sizes = [tuple(p.shape) for p in teaching.parameters()]
    assert sizes == ([(7, 4, 1, 1), (7,)] * 2 if kind == "hint" else [])
    assert all(p.grad is not None for p in teaching.parameters())


def test_a_hint_is_learned_by_student_and_adapter() -> None:
    torch.manual_seed(4)
    student, teacher, x = _net(5), _net(9), torch.randn(64, 6)
    spec = DistillSpec(alpha=0, layers={"1": LayerSpec("1", weight=100)})
    teaching = Distillation(student, teacher, spec, x)
    optimizer = torch.optim.Adam([*student.parameters(), *teaching.parameters()], lr=0.02)
    losses = []
    for step in range(80):
        optimizer.zero_grad()
        loss = _loss(teaching, _batch(student, x))
        torch.autograd.backward(loss)
        optimizer.step()
        teaching.after_step(Moment(step, 80, 0, 1))
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4


def test_the_mean_teacher_follows_slower() -> None:
    torch.manual_seed(5)
    student, x = _net(5), torch.randn(8, 6)
    teaching = Distillation(student, None, DistillSpec(ema_decay=0.9), x)
    assert teaching.ema is not None
    weight = student.get_parameter("0.weight")
    start = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1)
    teaching.after_step(Moment(1000, 2000, 0, 1))
    assert torch.allclose(teaching.ema.get_parameter("0.weight"), start + 0.1)
    fresh = Distillation(_net(5), None, DistillSpec(ema_decay=0.9), x)
    fresh.load_state_dict(teaching.state_dict())
    assert fresh.ema is not None
    assert torch.equal(fresh.ema.get_parameter("0.weight"), teaching.ema.get_parameter("0.weight"))


def test_state_of_adapters_is_taken_over() -> None:
    spec = DistillSpec(layers={"1": LayerSpec("1")})
    first, second = (Distillation(_net(5), _net(9), spec, torch.zeros(2, 6)) for _ in range(2))
    second.load_state_dict(first.state_dict())
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_quantised_features_and_copies_without_a_trace() -> None:
    student = nn.Sequential(
        nn.Linear(6, 5), qnn.QuantReLU(bit_width=2, return_quant_tensor=True), nn.Identity()
    )
    student.append(qnn.QuantLinear(5, 4, bias=False, weight_bit_width=2))
    x = torch.randn(8, 6)
    teaching = Distillation(student.train(), _net(9), DistillSpec(alpha=0, layers={"1": LayerSpec("1")}), x)
    batch = _batch(student, x)
    deepcopy(student).eval()(x[:3])  # validation between must not disturb
    assert float(_loss(teaching, batch).detach()) > 0
    with pytest.raises(InputError, match="'1' has not run in training mode"):
        _loss(teaching, batch)
    teaching.close()
    assert not student[1]._forward_hooks


@pytest.mark.parametrize(
    ("spec", "teacher", "text"),
    [
        (DistillSpec(layers={"layer": LayerSpec("1")}), _net(9), "the student has no layer 'layer'"),
        (
            DistillSpec(layers={"1": LayerSpec("11")}),
            _net(9),
            "the teacher has no layer '11'; did you mean '1'",
        ),
        (DistillSpec(), _net(9, classes=5), r"outputs for 2 inputs are \(2, 5\), the student's \(2, 4\)"),
        (DistillSpec(layers={"1": LayerSpec("1", "attention")}), _net(9), "no places to attend to"),
        (DistillSpec(), [], "needs a teacher"),
    ],
)
def test_what_cannot_teach_is_refused(spec: DistillSpec, teacher: nn.Module, text: str) -> None:
    with pytest.raises(InputError, match=text):
        Distillation(_net(5), teacher, spec, torch.zeros(2, 6))


def test_other_axes_are_refused_with_the_cure() -> None:
    student = _images(4)
    spec = DistillSpec(layers={"3": LayerSpec("0")})
    with pytest.raises(InputError, match='different axes\n  cure: loss "relation"'):
        Distillation(student, _images(7), spec, torch.zeros(2, 1, 6, 6))
    spec = DistillSpec(layers={"3": LayerSpec("0", "relation")})
    Distillation(student, _images(7), spec, torch.zeros(2, 1, 6, 6))


@pytest.mark.parametrize(
    ("values", "text"),
    [({"alpha": 0}, "nothing is taken"), ({"teacher": ("ema", "x")}, "no member of an ensemble")],
)
def test_settings_without_sense_are_refused(values: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DistillSpec(**values)  # type: ignore[arg-type]


def test_a_recipe_names_a_run_as_teacher(trained: TrainResult, fast: tuple[str, ...]) -> None:
    wanted = load_recipe("digits-w2a2", [*fast, f"distill.teacher={trained.folder}"])
    student = build_network(wanted, (1, 8, 8), 10)
    teaching = from_recipe(wanted, student, torch.zeros(2, 1, 8, 8))
    assert teaching is not None
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(teaching.teachers[0](x), load_model(trained.checkpoint)(x))
    assert from_recipe(load_recipe("digits-w2a2"), student, x) is None
    mean = from_recipe(load_recipe("digits-w2a2", ["distill.teacher=ema"]), student, x)
    assert mean is not None
    assert mean.ema is not None


def test_a_teacher_that_has_seen_held_out_rows_is_refused(
    trained: TrainResult, fast: tuple[str, ...]
) -> None:
    settings = [*fast, f"distill.teacher={trained.checkpoint}", "data.split_seed=1"]
    wanted = load_recipe("digits-w2a2", settings)
    with pytest.raises(InputError, match=r"trained with data\.split_seed = 0, the student has 1"):
        from_recipe(wanted, build_network(wanted, (1, 8, 8), 10), torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize("teacher", ["run", "ema"])
def test_a_distilled_run_is_resumed_to_the_bit(
    teacher: str, trained: TrainResult, fast: tuple[str, ...], tmp_path: Path
) -> None:
    named = str(trained.folder) if teacher == "run" else "ema"
    settings = [*fast, f"distill.teacher={named}", "distill.layers.flatten.teacher=flatten"]

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    whole = run_job("digits-w2a2", tmp_path / "whole", overrides=settings, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        run_job("digits-w2a2", tmp_path / "cut", overrides=settings, quiet=True, on_epoch=stop)
    cut = run_job("digits-w2a2", tmp_path / "cut", overrides=settings, quiet=True, resume=True)
    first, second, plain = (read(path.checkpoint)[0]["model"] for path in (whole, cut, trained))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, plain[name]) for name, value in first.items())

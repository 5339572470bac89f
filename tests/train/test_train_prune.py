"""`hwq.train.prune`: single weights, during training, in a loop of one's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import brevitas.nn as qnn
import msgspec
import numpy as np
import pytest
import torch
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import (
    Int8AccumulatorAwareWeightQuant,
    Int8AccumulatorAwareZeroCenterWeightQuant,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    SignedBinaryWeightPerTensorConst,
    SignedTernaryWeightPerTensorConst,
    Uint8ActPerTensorFloat,
)
from torch import Tensor, nn

from hwq.cost.fits import fits
from hwq.cost.laws.product import latency_lut_features
from hwq.cost.laws.weights import count
from hwq.errors import InputError
from hwq.train.prune import Pruner, PruneSpec, sparsity
from hwq.train.prune.importance import hardware_scores, input_bits
from hwq.train.prune.layers import find_layers, integers
from hwq.train.prune.lut_cost import accumulator_bits, lut_cost
from hwq.train.prune.masks import best, erdos_renyi_kernel, exchange, kept_of, pattern_mask
from hwq.train.prune.zeros import total
from hwq.train.scaling import weight_clip
from hwq.train.technique import Batch, Moment

INPUTS, CLASSES = 12, 4


def act(bits: int) -> nn.Module:
    layer: nn.Module = qnn.QuantReLU(
        act_quant=Uint8ActPerTensorFloat,
        bit_width=bits,
        scaling_impl_type=ScalingImplType.PARAMETER,
        scaling_init=2.0,
        return_quant_tensor=True,
    )
    return layer


def linear(inputs: int, outputs: int, quant: Any = Int8WeightPerTensorFloat, **options: Any) -> nn.Module:
    if quant in (Int8WeightPerTensorFloat, Int8WeightPerChannelFloat, Int8AccumulatorAwareWeightQuant):
        options["weight_bit_width"] = 4
    layer: nn.Module = qnn.QuantLinear(inputs, outputs, bias=False, weight_quant=quant, **options)
    return layer


def network(quant: Any = Int8WeightPerTensorFloat) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        act(4), linear(INPUTS, 16, quant), nn.BatchNorm1d(16), act(4), linear(16, CLASSES, quant)
    )


def float_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(INPUTS, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES))


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(64, INPUTS, generator=generator)
    return x, (x @ torch.randn(INPUTS, CLASSES, generator=generator)).argmax(dim=1)


def optimiser(model: nn.Module, kind: str = "adamw") -> torch.optim.Optimizer:
    if kind == "sgd":
        return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.05, nesterov=True)
    return torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)


def train(
    pruner: Pruner,
    steps: int = 20,
    start: int = 0,
    kind: str = "adamw",
    epochs: int = 1,
    watch: Callable[[Moment], None] = lambda _: None,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """A user's loop: the whole data is one batch; `watch` looks at the network after each step."""
    x, y = data()
    model = pruner.model.train()
    optimizer = optimizer or optimiser(model, kind)
    for step in range(start, steps):
        moment = Moment(step, steps, step * epochs // steps, epochs)
        if step % (steps // epochs) == 0:
            pruner.before_epoch(moment)
        optimizer.zero_grad()
        logits = model(x)
        loss = pruner.loss(nn.functional.cross_entropy(logits, y), Batch(x, y, logits), moment)
        loss.backward()  # type: ignore[no-untyped-call]
        pruner.before_step(moment)
        optimizer.step()
        pruner.after_step(moment)
        watch(moment)


def zeros(model: nn.Module) -> float:
    return total(sparsity(model)).share


def live(model: nn.Module) -> dict[str, Tensor]:
    return {target.name: target.weight.detach() != 0 for target in find_layers(model)}


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
@pytest.mark.parametrize("make", [network, float_network])
@pytest.mark.parametrize("importance", ["magnitude", "movement", "taylor"])
def test_masks_hold_through_every_step_of_an_optimiser_with_momentum_and_decay(
    make: Callable[[], nn.Module], importance: Any, kind: str
) -> None:
    model = make()
    pruner = Pruner(model, PruneSpec(sparsity=0.75, importance=importance, start=0.1, end=0.5, every=3))
    shares = []

    def watch(_: Moment) -> None:
        for target in find_layers(model):
            if target.name in pruner.masks:
                assert (target.weight[~pruner.masks[target.name]] == 0).all()
                assert not torch.signbit(target.weight[~pruner.masks[target.name]]).any()
        shares.append(sum(int((~m).sum()) for m in pruner.masks.values()))

    train(pruner, kind=kind, watch=watch)
    assert shares == sorted(shares)
    assert shares[1] == 0 < shares[5] < shares[10] == shares[-1] == 0.75 * (INPUTS * 16 + 16 * CLASSES)
    assert zeros(model) >= 0.75


def test_the_gradient_of_a_pruned_weight_is_gone_before_the_optimiser_sees_it() -> None:
    model = network()
    pruner = Pruner(model, PruneSpec(sparsity=0.5, method="one-shot", start=0.0))
    train(pruner, steps=3)
    for target in find_layers(model):
        assert target.weight.grad is not None
        assert (target.weight.grad[~pruner.masks[target.name]] == 0).all()
        assert (target.weight.grad[pruner.masks[target.name]] != 0).any()


def test_one_shot_prunes_once_and_the_smallest_of_all_layers_go() -> None:
    model = float_network()
    weights = torch.cat([t.weight.detach().flatten().abs() for t in find_layers(model)])
    pruner = Pruner(model, PruneSpec(sparsity=0.5, method="one-shot", start=0.0))
    pruner.after_step(Moment(0, 10, 0, 1))
    kept = torch.cat([mask.flatten() for mask in pruner.masks.values()])
    assert weights[kept].min() > weights[~kept].max()
    masks = {name: mask.clone() for name, mask in pruner.masks.items()}
    train(pruner, steps=10, start=1)
    assert all(torch.equal(mask, pruner.masks[name]) for name, mask in masks.items())


def test_scope_layer_and_own_sparsities_and_ignored_layers() -> None:
    spec = PruneSpec(sparsity=0.5, scope="layer", method="one-shot", start=0.0, layers={"3": 0.25})
    pruner = Pruner(float_network(), spec)
    train(pruner, steps=2)
    assert {name: float((~mask).float().mean()) for name, mask in pruner.masks.items()} == {
        "0": 0.5,
        "3": 0.25,
    }
    pruner = Pruner(float_network(), PruneSpec(sparsity=0.5, method="one-shot", start=0.0, ignore=("3",)))
    train(pruner, steps=2)
    assert list(pruner.masks) == ["0"]


def test_no_layer_loses_all_its_weights() -> None:
    scores = {"a": torch.arange(1.0, 9.0), "b": torch.tensor([0.01, 0.02])}
    assert [int(mask.sum()) for mask in best(scores, 3).values()] == [2, 1]
    assert best(scores, 3)["b"].tolist() == [False, True]


def test_movement_follows_the_sum_of_minus_weight_times_gradient_and_brings_weights_back() -> None:
    model = float_network()
    spec = PruneSpec(sparsity=0.5, importance="movement", start=0.0, end=1.0, every=1)
    pruner = Pruner(model, spec)
    first = find_layers(model)[0]
    start = first.weight.detach().clone()
    gradient = torch.linspace(-1, 1, start.numel()).reshape(start.shape)
    first.weight.grad = gradient.clone()
    pruner.before_step(Moment(0, 4, 0, 1))
    assert pruner._scores is not None
    assert torch.equal(pruner._scores.scores["0"], -(start * gradient))
    pruner._set({t.name: torch.zeros_like(t.weight, dtype=torch.bool) for t in pruner.targets})
    assert (first.weight == 0).all()
    pruner._set({t.name: torch.ones_like(t.weight, dtype=torch.bool) for t in pruner.targets})
    assert torch.equal(first.weight, start)


def test_taylor_is_the_mean_square_of_weight_times_gradient() -> None:
    model = float_network()
    pruner = Pruner(model, PruneSpec(sparsity=0.5, importance="taylor"))
    target = find_layers(model)[0]
    for value in (1.0, 3.0):
        target.weight.grad = torch.full_like(target.weight, value)
        pruner.before_step(Moment(0, 4, 0, 1))
    expected = target.weight.detach().square() * (0.9 * 1 + 0.1 * 9)
    assert pruner._scores is not None
    torch.testing.assert_close(pruner._scores.scores["0"], expected)


@pytest.mark.parametrize(("inputs", "kept", "group"), [(16, 2, 4), (12, 1, 3)])
def test_a_pattern_keeps_the_best_of_each_group_of_inputs(inputs: int, kept: int, group: int) -> None:
    torch.manual_seed(1)
    score = torch.rand(5, inputs, 3, 3)
    mask = pattern_mask(score, kept, group)
    for output, place in np.ndindex(5, 9):
        for first in range(0, inputs, group):
            where = (output, slice(first, first + group), place // 3, place % 3)
            assert int(mask[where].sum()) == kept
            assert score[where][mask[where]].min() > score[where][~mask[where]].max()


def test_training_with_a_pattern_ends_in_the_pattern() -> None:
    model = network()
    pruner = Pruner(model, PruneSpec(pattern=(2, 4), start=0.0, end=0.5, every=2))
    train(pruner)
    for target in find_layers(model):
        groups = pruner.masks[target.name].reshape(target.weight.shape[0], -1, 4).sum(dim=-1)
        assert (groups == 2).all()
        assert (integers(target)[~pruner.masks[target.name]] == 0).all()
    with pytest.raises(InputError, match=r"layer '1': its 12 inputs are no multiple of 8.*\n.*prune.ignore"):
        Pruner(network(), PruneSpec(pattern=(4, 8)))


def test_rigl_keeps_its_number_of_weights_and_moves_them_to_large_gradients() -> None:
    model = network()
    spec = PruneSpec(sparsity=0.8, method="rigl", every=4, start=0.0, end=0.75)
    pruner = Pruner(model, spec)
    assert not pruner.before_epoch(Moment(0, 20, 0, 1))
    assert zeros(model) >= 0.8
    before = {name: mask.clone() for name, mask in pruner.masks.items()}
    counts = {name: int(mask.sum()) for name, mask in before.items()}
    train(pruner, watch=lambda _: None)
    assert {name: int(mask.sum()) for name, mask in pruner.masks.items()} == counts
    assert any(not torch.equal(mask, before[name]) for name, mask in pruner.masks.items())
    expected = sum(counts.values()) / (INPUTS * 16 + 16 * CLASSES)
    assert abs(expected - 0.2) < 0.01
    uniform = Pruner(network(), msgspec.structs.replace(spec, distribution="uniform"))
    uniform.before_epoch(Moment(0, 20, 0, 1))
    assert [float(m.float().mean()) for m in uniform.masks.values()] == [pytest.approx(0.2, abs=0.02)] * 2


def test_an_exchange_drops_small_weights_and_grows_large_gradients() -> None:
    mask = torch.tensor([True, True, True, True, False, False, False])
    weight = torch.tensor([1.0, -0.1, 0.2, 5.0, 0.0, 0.0, 0.0])
    gradient = torch.tensor([9.0, 0.0, 0.0, 9.0, 0.5, -0.7, 0.0])
    moved = exchange(mask, weight, gradient, share=0.5)
    assert moved.tolist() == [True, False, False, True, True, True, False]


def test_erdos_renyi_kernel_gives_the_asked_sparsity_and_dense_small_layers() -> None:
    shapes = {"conv": (64, 32, 3, 3), "small": (4, 8), "wide": (10, 512)}
    found = erdos_renyi_kernel(shapes, 0.9)
    sizes = {"conv": 64 * 32 * 9, "small": 32, "wide": 5120}
    live_weights = sum((1 - found[name]) * size for name, size in sizes.items())
    assert live_weights == pytest.approx(0.1 * sum(sizes.values()))
    assert found["small"] == 0.0 < found["wide"] < found["conv"]


def test_the_lottery_goes_back_to_early_weights_and_gets_sparser_every_round() -> None:
    model = network()
    pruner = Pruner(model, PruneSpec(sparsity=0.75, method="lottery", rounds=2, start=0.2))
    assert pruner.cycles == 3
    early: dict[str, Tensor] = {}
    shares: list[float] = []
    settled: list[bool] = []

    def watch(moment: Moment) -> None:
        if moment.step == 2:
            early.update({t.name: t.weight.detach().clone() for t in find_layers(model)})
        settled.append(pruner.settled(moment))

    def before_epoch(moment: Moment) -> bool:
        over = original(moment)
        assert over == (moment.epoch > 0)
        shares.append(sum(int((~m).sum()) for m in pruner.masks.values()) / 256)
        if moment.epoch:
            for target in find_layers(model):
                mask = pruner.masks[target.name]
                assert torch.equal(target.weight, torch.where(mask, early[target.name], 0.0))
        return over

    original = pruner.before_epoch
    pruner.before_epoch = before_epoch  # type: ignore[method-assign]
    train(pruner, steps=30, epochs=3, watch=watch)
    assert shares == [0, 0.5, 0.75]
    assert settled == [False] * 20 + [True] * 10


def test_hold_keeps_the_zeros_that_the_network_has() -> None:
    model = float_network()
    with torch.no_grad():
        find_layers(model)[0].weight[:, ::2] = 0
    before = live(model)
    train(Pruner(model, PruneSpec(method="hold")))
    assert all(torch.equal(mask, live(model)[name]) for name, mask in before.items())


@pytest.mark.parametrize("method", ["gradual", "rigl", "lottery"])
@pytest.mark.parametrize("importance", ["magnitude", "movement", "taylor"])
def test_a_resumed_run_ends_in_the_same_bits(method: Any, importance: Any) -> None:
    if method == "rigl" and importance != "magnitude":
        return
    spec = PruneSpec(
        sparsity=0.75, method=method, importance=importance, start=0.1, end=0.8, every=3, rounds=2
    )
    whole = network()
    train(Pruner(whole, spec), steps=30, epochs=3)

    first = network()
    pruner, optimizer = Pruner(first, spec), optimiser(first)
    with pytest.raises(KeyboardInterrupt):
        train(pruner, steps=30, epochs=3, optimizer=optimizer, watch=interrupt_at(16))
    buffer = io.BytesIO()
    torch.save([first.state_dict(), optimizer.state_dict(), pruner.state_dict()], buffer)
    buffer.seek(0)
    weights, moments, state = torch.load(buffer, weights_only=True)
    second = network()
    second.load_state_dict(weights)
    pruner = Pruner(second, spec)
    optimizer = optimiser(second)
    optimizer.load_state_dict(moments)
    pruner.load_state_dict(state)
    train(pruner, steps=30, epochs=3, start=17, optimizer=optimizer)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key


def interrupt_at(step: int) -> Callable[[Moment], None]:
    def watch(moment: Moment) -> None:
        if moment.step == step:
            raise KeyboardInterrupt

    return watch


@pytest.mark.parametrize(("kind", "strength"), [("l1", 0.01), ("group", 0.01)])
def test_a_penalty_makes_weights_smaller(kind: Any, strength: float) -> None:
    plain, pressed = float_network(), float_network()
    train(Pruner(plain, PruneSpec()), steps=40, kind="sgd")
    train(Pruner(pressed, PruneSpec(penalty=kind, strength=strength)), steps=40, kind="sgd")
    norms = [sum(float(t.weight.detach().abs().sum()) for t in find_layers(m)) for m in (plain, pressed)]
    assert norms[1] < 0.8 * norms[0]


def test_the_group_penalty_of_an_empty_output_has_no_undefined_gradient() -> None:
    model = float_network()
    with torch.no_grad():
        find_layers(model)[0].weight[0] = 0
    train(Pruner(model, PruneSpec(penalty="group", strength=0.1)), steps=2)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_binary_weights_are_refused_with_the_cure_and_ternary_ones_are_not() -> None:
    binary = nn.Sequential(act(4), linear(8, 4, SignedBinaryWeightPerTensorConst, weight_scaling_init=0.1))
    with pytest.raises(InputError) as caught:
        Pruner(binary, PruneSpec(sparsity=0.5))
    assert str(caught.value) == (
        "layer '1': its weight quantiser makes 0.1 of a pruned weight, because binary weights have no zero\n"
        "  cure: ternary weights, channel pruning ([prune.channels]), or list the layer in prune.ignore"
    )
    Pruner(binary, PruneSpec(penalty="l1"))
    ternary = nn.Sequential(act(4), linear(8, 4, SignedTernaryWeightPerTensorConst, weight_scaling_init=0.1))
    pruner = Pruner(ternary, PruneSpec(sparsity=0.75, method="one-shot", start=0.0))
    pruner.after_step(Moment(0, 2, 0, 1))
    assert zeros(ternary) >= 0.75


def test_accumulator_aware_weights_are_pruned_and_counted() -> None:
    model = network()
    model[4] = linear(16, CLASSES, Int8AccumulatorAwareWeightQuant, weight_accumulator_bit_width=12)
    train(Pruner(model, PruneSpec(sparsity=0.75, start=0.0, end=0.5, every=2)))
    counted = sparsity(model, data()[0])
    assert total(counted).share >= 0.75
    assert counted["4"].weights == 16 * CLASSES
    with pytest.raises(InputError, match="layer '4': its weight integers depend on its input"):
        sparsity(model)


def test_quantisers_that_centre_the_weights_are_refused() -> None:
    centred = linear(
        8, 4, Int8AccumulatorAwareZeroCenterWeightQuant, weight_bit_width=4, weight_accumulator_bit_width=24
    )
    with pytest.raises(InputError, match=r"layer '1': .* of a pruned weight, because it shifts all weights"):
        Pruner(nn.Sequential(act(4), centred), PruneSpec(sparsity=0.5))


def test_unknown_layers_and_an_empty_choice_are_refused() -> None:
    with pytest.raises(InputError, match=r"key 'prune.ignore': no layer fits 'fc\*'\n  layers: 0, 3"):
        Pruner(float_network(), PruneSpec(sparsity=0.5, ignore=("fc*",)))
    with pytest.raises(InputError, match=r"key 'prune.layers': no layer fits 'x'"):
        Pruner(float_network(), PruneSpec(sparsity=0.5, layers={"x": 0.5}))
    with pytest.raises(InputError, match=r"key 'prune.ignore': no layer is left to prune"):
        Pruner(float_network(), PruneSpec(sparsity=0.5, ignore=("*",)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sparsity": 1.0}, "< 1"),
        ({"start": 0.5, "end": 0.2}, r"end \(0.2\) lies before start \(0.5\)"),
        ({"sparsity": 0.5, "initial": 0.6}, r"initial \(0.6\) is above sparsity"),
        ({"pattern": [4, 4]}, r"pattern \[4, 4\] keeps all"),
        ({"pattern": [2, 4], "sparsity": 0.5}, "fixes the sparsity"),
        ({"pattern": [2, 4], "method": "rigl"}, "rigl has no pattern"),
        ({"method": "rigl", "importance": "taylor", "sparsity": 0.5}, "drops by magnitude"),
        ({"importance": "magic"}, "Invalid enum value 'magic'"),
    ],
)
def test_values_that_contradict_each_other_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(table, PruneSpec)


def test_the_scale_of_a_weight_quantiser_is_not_dragged_by_the_zeros() -> None:
    learned = {
        "weight_scaling_impl_type": ScalingImplType.PARAMETER_FROM_STATS,
        "weight_scaling_stats_op": "MEAN_SIGMA_STD",
        "weight_sigma": 3.0,
    }
    for options in ({}, learned):
        torch.manual_seed(0)
        model = nn.Sequential(act(4), linear(64, 16, **options))
        before = find_layers(model)[0].layer.quant_weight().scale.clone()  # type: ignore[operator]
        pruner = Pruner(model, PruneSpec(sparsity=0.95, method="one-shot", start=0.0))
        pruner.after_step(Moment(0, 2, 0, 1))
        after = find_layers(model)[0].layer.quant_weight().scale  # type: ignore[operator]
        assert torch.equal(before, after)


# --- what a weight costs --------------------------------------------------------------------------


def law(matrix: np.ndarray[Any, Any], in_bits: int, acc_bits: int) -> float:
    features = latency_lut_features(count(matrix), in_bits, acc_bits, 0)
    return fits()["dense/latency/lut"].predict(features)


def test_costs_of_single_weights_add_up_to_the_law_of_the_layer() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        matrix = generator.integers(-15, 16, (7, 5))
        assert lut_cost(matrix, 6, 12).sum() == pytest.approx(law(matrix, 6, 12))


def test_a_weight_alone_in_its_row_costs_what_the_law_saves_without_it() -> None:
    matrix = np.array([[3, 0, 0], [0, -11, 0], [0, 0, 4], [7, 0, 1]])
    cost = lut_cost(matrix, 4, 9)
    for where in np.argwhere(matrix):
        without = matrix.copy()
        without[tuple(where)] = 0
        assert cost[tuple(where)] == pytest.approx(law(matrix, 4, 9) - law(without, 4, 9))
    assert (cost[matrix == 0] == 0).all()


def test_constants_that_are_shared_cost_less_each() -> None:
    cost = lut_cost(np.array([[11, 11, 11, 5]]), 4, 8)
    assert cost[0, 0] == cost[0, 1] < cost[0, 3] + 5
    alone = lut_cost(np.array([[11, 1, 1, 5]]), 4, 8)
    adder = lut_cost(np.array([[1]]), 4, 8)[0, 0]
    assert cost[0, 0] - adder == pytest.approx((alone[0, 0] - adder) / 3)


def test_the_accumulator_width_holds_every_sum() -> None:
    assert accumulator_bits(np.array([[7], [7], [-1]]), 4) == 9  # -15 .. 210
    assert accumulator_bits(np.array([[-8], [-8]]), 4) == 9  # -240 .. 0
    assert accumulator_bits(np.zeros((3, 2), dtype=np.int64), 4) == 1


def test_input_widths_are_those_of_the_quantiser_before() -> None:
    model = network()
    model[0] = act(7)
    targets = find_layers(model)
    assert input_bits(model, targets, data()[0]) == {"1": 7, "4": 4}
    with pytest.raises(InputError, match=r"layer '0': what a weight costs.*weights are not quantised"):
        Pruner(float_network(), PruneSpec(sparsity=0.5, importance="hardware"), example=data()[0])
    with pytest.raises(InputError, match=r"layer '0': .*input is not quantised"):
        Pruner(nn.Sequential(linear(4, 4)), PruneSpec(sparsity=0.5, importance="hardware"), torch.rand(2, 4))
    with pytest.raises(InputError, match="needs an example input"):
        Pruner(model, PruneSpec(sparsity=0.5, importance="hardware"))


def test_hardware_scores_order_equal_weights_by_their_cost() -> None:
    model = nn.Sequential(
        act(4), linear(2, 4, weight_scaling_impl_type=ScalingImplType.CONST, weight_scaling_init=7.0)
    )
    target = find_layers(model)[0]
    with torch.no_grad():
        target.weight.copy_(torch.tensor([[3.0, 4.0], [4.0, 4.0], [0.4, 1.0], [7.0, 2.0]]))
    scores = hardware_scores(target, 4)
    assert scores[2, 0] == 0  # its integer is 0
    assert scores[0, 1] > 16 / 9 * scores[0, 0]  # 4 is a shift, 3 an adder
    assert hardware_scores(target, 4).shape == target.weight.shape


def test_of_equally_sparse_networks_the_one_pruned_by_cost_needs_fewer_luts() -> None:
    needed = {}
    for importance in ("magnitude", "hardware"):
        torch.manual_seed(0)
        model = nn.Sequential(act(4), linear(64, 32, Int8WeightPerChannelFloat))
        spec = PruneSpec(sparsity=0.8, method="one-shot", start=0.0, importance=importance)
        Pruner(model, spec, example=torch.rand(2, 64)).after_step(Moment(0, 2, 0, 1))
        matrix = integers(find_layers(model)[0]).numpy().astype(np.int64).T
        assert np.count_nonzero(matrix) == kept_of(64 * 32, 0.8)
        needed[importance] = law(matrix, 4, 10)
    assert needed["hardware"] < 0.95 * needed["magnitude"]


def test_a_step_whose_gradients_overflow_leaves_the_scores_alone() -> None:
    model = float_network()
    pruner = Pruner(model, PruneSpec(sparsity=0.5, importance="movement"))
    target = find_layers(model)[0]
    target.weight.grad = torch.full_like(target.weight, torch.inf)
    pruner.before_step(Moment(0, 4, 0, 1))
    assert pruner._scores is not None
    assert not pruner._scores.scores


@pytest.mark.parametrize("axis", [None, 0])
def test_a_network_pruned_before_it_is_quantised_gets_the_scale_of_the_weights_that_are_left(
    axis: int | None,
) -> None:
    torch.manual_seed(0)
    live = torch.randn(4, 32)
    padded = torch.zeros(4, 320)
    padded[:, ::10] = live
    torch.testing.assert_close(weight_clip(padded, "sigma4", axis), weight_clip(live, "sigma4", axis))
    assert (weight_clip(torch.zeros(4, 8), "sigma4", axis) == 0).all()

"""Pruning of single weights during training, as a `hwq.train.technique.Technique`.

A pruned weight is 0 in the parameter itself, after every step of any optimiser: so quantisers, exports
and checkpoints see zeros, and nothing has to be removed at the end. Its gradient is still that of a
weight which is there (the straight-through estimator passes it), and is looked at before it is set to 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hwq.errors import InputError
from hwq.train.prune import masks as choose
from hwq.train.prune import schedule
from hwq.train.prune.importance import GradientScores, hardware_scores, input_bits
from hwq.train.prune.layers import Target, check_patterns, check_zeros_stay, find_layers, matches
from hwq.train.prune.penalty import penalty
from hwq.train.prune.spec import PruneSpec
from hwq.train.technique import Batch, Moment


class Pruner:
    """Prunes a network, float or of Brevitas layers, while it is trained.

    In a loop of your own: `before_epoch`, then for each batch `loss` after the forward pass, `before_step`
    and `after_step` around `optimizer.step()`; `Moment` tells it where training stands.

    Args:
        model: The network, with the weights that training starts from.
        spec: What to do.
        example: An input (N, ...) of the network; importance "hardware" needs it.

    Raises:
        InputError: A layer whose zeros would not stay, a pattern that fits no layer, or an input width
            that the pattern does not divide.
    """

    def __init__(self, model: nn.Module, spec: PruneSpec, example: Tensor | None = None) -> None:
        self.model, self.spec = model, spec
        self.targets = _targets(model, spec)
        self.masks: choose.Masks = {}
        self._gradients: dict[str, Tensor] = {}
        self._scores = GradientScores(spec.importance) if spec.importance in ("movement", "taylor") else None
        self._before: dict[str, Tensor] = {}
        self._early: dict[str, Tensor] = {}
        self._bits = _input_bits(model, self.targets, spec, example)
        if spec.method == "hold":
            self._set({t.name: t.weight.detach() != 0 for t in self.targets})

    # --- Technique ----------------------------------------------------------------------------

    def parameters(self) -> Iterable[nn.Parameter]:
        """It trains nothing of its own."""
        return ()

    def loss(self, loss: Tensor, batch: Batch, moment: Moment) -> Tensor:  # noqa: ARG002
        """With the penalty for weights that are not zero."""
        if self.spec.penalty == "none":
            return loss
        return loss + self.spec.strength * penalty(self.spec.penalty, self.targets)

    @torch.no_grad()
    def before_step(self, moment: Moment) -> None:
        """Look at the gradients, then take those of pruned weights away."""
        wanted = self.spec.method == "rigl" and schedule.due(self.spec, moment)
        for target in self.targets:
            gradient = target.weight.grad
            if gradient is None:
                continue
            if self._scores is not None:
                self._scores.add(target.name, self._whole(target), gradient)
            if wanted:
                self._gradients[target.name] = gradient.clone()
            if target.name in self.masks:
                gradient.masked_fill_(~self.masks[target.name], 0)

    @torch.no_grad()
    def after_step(self, moment: Moment) -> None:
        """Make new masks where it is time to, and set what is pruned to 0."""
        if self.spec.method == "lottery":
            self._remember(moment)
        elif schedule.due(self.spec, moment) and self.spec.makes_zeros and self.spec.method != "hold":
            self._set(self._exchanged(moment) if self.spec.method == "rigl" else self._chosen(moment))
        self.constrain(self.model)

    def state_dict(self) -> dict[str, Any]:
        """Masks, sums of scores, weights to go back to."""
        state: dict[str, Any] = {"masks": self.masks, "before": self._before, "early": self._early}
        return state | {"scores": self._scores.scores if self._scores else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where another pruner of the same network stood; the weights come from the network's own state."""
        self.masks, self._before = self._placed(state["masks"]), self._placed(state["before"])
        self._early = state["early"]
        if self._scores is not None:
            self._scores.scores = self._placed(state["scores"])

    # --- beyond a technique -------------------------------------------------------------------

    @property
    def cycles(self) -> int:
        """Equal parts of the run that each want the whole learning rate schedule and a new optimiser."""
        return self.spec.rounds + 1 if self.spec.method == "lottery" else 1

    def settled(self, moment: Moment) -> bool:
        """Whether the masks are final; an epoch that ends before is not a result of the run."""
        return schedule.settled(self.spec, moment)

    @torch.no_grad()
    def before_epoch(self, moment: Moment) -> bool:
        """Where a round of the lottery begins: prune by the last round's weights, go back to early ones.

        Returns:
            Whether training starts over: the optimiser's moments are then those of other weights.
        """
        if self.spec.method == "rigl" and not self.masks:
            self._set(_first_masks(self.targets, self.spec))
        length = moment.epochs // self.cycles
        if self.spec.method != "lottery" or moment.epoch == 0 or moment.epoch % length:
            return False
        finished = moment.epoch // length
        share = min(finished, self.spec.rounds) / self.spec.rounds
        self._set(self._masks_at(lambda target: 1 - (1 - target) ** share))
        for key, value in self.model.state_dict().items():  # in place: the optimiser keeps its parameters
            value.copy_(self._early[key])
        self.constrain(self.model)
        return True

    @torch.no_grad()
    def constrain(self, model: nn.Module) -> None:
        """Set what is pruned to 0 in the network, or in one with the same layers (an average of weights)."""
        for name, mask in self.masks.items():
            weight = model.get_parameter(f"{name}.weight".removeprefix("."))
            weight.masked_fill_(~mask.to(weight.device), 0)

    def _placed(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        devices = {target.name: target.weight.device for target in self.targets}
        return {name: tensor.to(devices[name]) for name, tensor in tensors.items()}

    # --- masks --------------------------------------------------------------------------------

    def _set(self, masks: choose.Masks) -> None:
        """Take over masks; of movement's pruned weights the values are kept, because they may come back."""
        for target in self.targets:
            mask = masks[target.name]
            if self.spec.importance == "movement":
                whole = self._whole(target).clone()
                self._before[target.name] = whole
                target.weight.data.copy_(whole)
            self.masks[target.name] = mask
        self.constrain(self.model)

    def _whole(self, target: Target) -> Tensor:
        """The weights, with the values that pruned ones had where they may come back."""
        weight = target.weight.detach()
        before = self._before.get(target.name)
        return weight if before is None else torch.where(self.masks[target.name], weight, before)

    def _chosen(self, moment: Moment) -> choose.Masks:
        share = schedule.progress(self.spec, moment)
        return self._masks_at(lambda target: schedule.between(self.spec.initial, target, share))

    def _masks_at(self, sparsity: Any) -> choose.Masks:
        """Masks whose sparsity is that function of each final sparsity."""
        scores = {target.name: self._score(target) for target in self.targets}
        if self.spec.pattern is not None:
            group = self.spec.pattern[1]
            kept = choose.kept_of(group, sparsity(self.spec.target))
            return {name: choose.pattern_mask(score, kept, group) for name, score in scores.items()}
        made: choose.Masks = {}
        pool: dict[str, Tensor] = {}
        for name, score in scores.items():
            own = _own_sparsity(name, self.spec)
            if own is None and self.spec.scope == "global":
                pool[name] = score
            else:
                target = self.spec.target if own is None else own
                made |= choose.best({name: score}, choose.kept_of(score.numel(), sparsity(target)))
        if pool:
            count = sum(score.numel() for score in pool.values())
            made |= choose.best(pool, choose.kept_of(count, sparsity(self.spec.target)))
        return {target.name: made[target.name] for target in self.targets}

    def _score(self, target: Target) -> Tensor:
        if self._scores is not None and target.name in self._scores.scores:
            return self._scores.scores[target.name]
        if self.spec.importance == "hardware":
            return hardware_scores(target, self._bits[target.name])
        return target.weight.detach().abs()

    def _exchanged(self, moment: Moment) -> choose.Masks:
        share = schedule.exchanged(self.spec, moment)
        return {
            t.name: choose.exchange(self.masks[t.name], t.weight.detach(), self._gradients.pop(t.name), share)
            for t in self.targets
        }

    def _remember(self, moment: Moment) -> None:
        """The lottery's early weights: everything that the network is after that step."""
        first, _ = schedule.span(self.spec, moment.steps // self.cycles)
        if moment.step == first:
            self._early = {key: value.clone() for key, value in self.model.state_dict().items()}


def _targets(model: nn.Module, spec: PruneSpec) -> list[Target]:
    """The layers to prune, after all checks."""
    layers = find_layers(model)
    names = [target.name for target in layers]
    check_patterns(names, spec.ignore, "key 'prune.ignore'")
    check_patterns(names, spec.layers, "key 'prune.layers'")
    targets = [t for t in layers if not matches(t.name, spec.ignore)]
    if not targets and (spec.makes_zeros or spec.penalty != "none"):
        raise InputError("key 'prune.ignore': no layer is left to prune")
    if spec.makes_zeros:
        check_zeros_stay(targets)
    if spec.pattern is not None:
        for target in targets:
            _check_pattern(target, *spec.pattern)
    return targets


def _check_pattern(target: Target, kept: int, group: int) -> None:
    inputs = target.weight.shape[1]
    if inputs % group:
        raise InputError(
            f"layer '{target.name}': its {inputs} inputs are no multiple of {group}, as key 'prune.pattern' "
            f"[{kept}, {group}] needs\n  cure: list the layer in prune.ignore, or give another pattern"
        )


def _input_bits(
    model: nn.Module, targets: list[Target], spec: PruneSpec, example: Tensor | None
) -> dict[str, int]:
    if spec.importance != "hardware" or not spec.makes_zeros:
        return {}
    if example is None:
        raise InputError("importance 'hardware' needs an example input: Pruner(model, spec, example=x)")
    return input_bits(model, targets, example)


def _own_sparsity(name: str, spec: PruneSpec) -> float | None:
    """Of the first entry of [prune.layers] that fits."""
    return next((value for pattern, value in spec.layers.items() if matches(name, (pattern,))), None)


def _first_masks(targets: list[Target], spec: PruneSpec) -> choose.Masks:
    """Random ones, from which rigl starts."""
    generator = torch.Generator().manual_seed(spec.seed)
    own = {t.name: _own_sparsity(t.name, spec) for t in targets}
    shapes = {t.name: tuple(t.weight.shape) for t in targets if own[t.name] is None}
    if spec.distribution == "erk":
        shared = choose.erdos_renyi_kernel(shapes, spec.sparsity)
    else:
        shared = dict.fromkeys(shapes, spec.sparsity)
    made = {}
    for target in targets:
        sparsity = own[target.name]
        shape = target.weight.shape
        kept = choose.kept_of(shape.numel(), shared[target.name] if sparsity is None else sparsity)
        made[target.name] = choose.random_mask(shape, kept, generator).to(target.weight.device)
    return made

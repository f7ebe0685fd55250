"""Stochastic gradient descent with momentum and weight decay, in the papers' form and in Optax's."""

import math
from collections.abc import Callable, Mapping, Sequence

import jax
import optax
from jaxtyping import PyTree

from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.paths import check_prefixes, longest_prefix

UPDATE_RULES = ("paper", "optax")
DECAY_MASKS = ("all", "kernels")


def _named(name: str) -> Callable[[PyTree], PyTree]:
    """A mask that is true for the leaves called `name`."""

    def mask(params: PyTree) -> PyTree:
        named = jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == name, params)
        if not any(jax.tree.leaves(named)):
            # A mask without a leaf would silently turn the option off.
            raise InputError(f"no parameter is called {name!r}, which the mask of the optimizer needs")
        return named

    return mask


def _scale_layers(lr_multipliers: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies the updates of the parameters below each path; the longest path that matches a parameter counts."""

    def name(path: tuple) -> str:
        return jax.tree_util.keystr(path, simple=True, separator="/")

    def init(params: optax.Params) -> optax.EmptyState:
        paths = [name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        check_prefixes("finetune.lr_multipliers", list(lr_multipliers), paths)
        return optax.EmptyState()

    def scaled(path: tuple, update: jax.Array) -> jax.Array:
        prefix = longest_prefix(name(path), lr_multipliers)
        return update if prefix is None else lr_multipliers[prefix] * update

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        return jax.tree_util.tree_map_with_path(scaled, updates), state

    return optax.GradientTransformation(init, update)


def _check_settings(
    momentum: float, nesterov: bool, weight_decay: float, bias_learning_rate: float, clip_norm: float
) -> None:
    """Raises InputError if a number is out of its range."""
    if not 0.0 <= momentum < 1.0:
        raise InputError(f"optim.momentum is {momentum!r} (allowed: 0 <= momentum < 1)")
    if nesterov and momentum == 0.0:
        raise InputError("optim.nesterov is True with optim.momentum 0 (allowed: optim.momentum above 0)")
    if not 0.0 <= weight_decay < math.inf:
        raise InputError(f"optim.weight_decay is {weight_decay!r} (allowed: 0 or more)")
    if not 0.0 <= bias_learning_rate < math.inf:
        raise InputError(f"optim.bias_learning_rate is {bias_learning_rate!r} (allowed: 0 or more)")
    if not 0.0 <= clip_norm < math.inf:
        raise InputError(f"optim.clip_norm is {clip_norm!r} (allowed: 0, for none, or more)")


def sgd(
    learning_rate: float | optax.Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay_mask: str = "all",
    update_rule: str = "paper",
    bias_learning_rate: float = 1.0,
    clip_norm: float = 0.0,
    lr_multipliers: Mapping[str, float] | None = None,
    scales: Sequence[optax.GradientTransformation] = (),
) -> optax.GradientTransformationExtraArgs:
    """SGD with momentum: g is the gradient, w a parameter, m the momentum, lr the learning rate, wd the weight decay.

    "paper":  v = m v - lr (g + wd w),  w += v.    The learning rate is inside the buffer.
    "optax":  v = m v + (g + wd w),     w -= lr v. The learning rate is outside, as in `optax.sgd` and torch.

    The two are equal while the learning rate is constant. After a drop by 10, the paper's buffer still has steps of the
    old learning rate, which decay over about 1 / (1 - m) steps; the other rule scales its whole buffer at once.

    Pass the inputs of `scales` as extra arguments, `tx.update(grads, opt_state, params, train_error=...)`. Extra
    arguments that no transformation uses are ignored.

    Args:
        learning_rate: a number, or a function of the step.
        momentum: m, in [0, 1).
        nesterov: step by -lr g + m v instead of v.
        weight_decay: wd, L2 regularization in the gradient (not decoupled).
        decay_mask: the leaves that decay: "all", or "kernels", the leaves called "kernel".
        update_rule: "paper" or "optax".
        bias_learning_rate: factor of the learning rate (and so of the decay) of the leaves called "bias", including
            those of normalization layers; 2 in cuda-convnet2.
        clip_norm: the largest global norm of the gradient, before weight decay is added; longer gradients are scaled to
            it. 0 for no limit.
        lr_multipliers: factors of the learning rate of the parameters below each path, such as "stages/0"; the longest
            path counts.
        scales: transformations that multiply updates, right after the learning rate: a plateau, a warm-up.

    Raises:
        InputError: a name is unknown, or a number is out of its range. `init` raises it if a path of `lr_multipliers`
            or a mask matches no parameter.

    Source: [K12] section 5 "v_{i+1} := 0.9 v_i - 0.0005 eps w_i - eps <dL/dw>"; [H15] section 3.4, momentum 0.9.
    Departure: none in the rule. The papers do not exclude any parameter from weight decay; `decay_mask` can.
    """
    check_name("optim.update_rule", update_rule, UPDATE_RULES)
    check_name("optim.decay_mask", decay_mask, DECAY_MASKS)
    _check_settings(momentum, nesterov, weight_decay, bias_learning_rate, clip_norm)
    gradient, rate, buffer = [], [], []
    if clip_norm:
        gradient.append(optax.clip_by_global_norm(clip_norm))
    if weight_decay:
        mask = _named("kernel") if decay_mask == "kernels" else None
        gradient.append(optax.add_decayed_weights(weight_decay, mask=mask))
    if bias_learning_rate != 1.0:
        rate.append(optax.masked(optax.scale(bias_learning_rate), _named("bias")))
    if lr_multipliers:
        rate.append(_scale_layers(lr_multipliers))
    rate += [optax.scale_by_learning_rate(learning_rate), *scales]
    if momentum:
        buffer.append(optax.trace(momentum, nesterov=nesterov))
    order = gradient + rate + buffer if update_rule == "paper" else gradient + buffer + rate
    return optax.chain(*order)

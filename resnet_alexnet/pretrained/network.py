"""A trained network: what it is, its weights, and how an image becomes its input."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from resnet_alexnet import models
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.paths import Tree, leaf_name
from resnet_alexnet.pretrained.preprocessing import Preprocessing

SCORES = ("softmax", "sigmoid")
# Options that say how a network is trained: with any value of them its weights give the same answers.
OF_TRAINING = ("bn_group", "bn_momentum", "bn_unbiased_variance", "dropout", "init", "zero_init_last_gamma")
_MOST_NAMES = 8  # of each kind in an error


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """What a network is, apart from its weights; it travels with them.

    Attributes:
        model: one of `models.MODELS`.
        options: the options of the model that are set, by name.
        num_logits: logits per image; a single one stands for two classes.
        scores: how logits become probabilities of the classes: "softmax", or "sigmoid", each by itself.
        preprocessing: how an image becomes the input, with the classes' names.
    """

    model: str
    options: Mapping[str, Any]
    num_logits: int
    scores: str
    preprocessing: Preprocessing

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "model": self.model,
            "options": dict(self.options),
            "num_logits": self.num_logits,
            "scores": self.scores,
            "preprocessing": self.preprocessing.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ModelSpec":
        """What `to_json` wrote.

        Raises:
            InputError: it is not that, or names a model, option or kind of scores that does not exist.
        """
        try:
            preprocessing = Preprocessing.from_json(values["preprocessing"])
            spec = cls(**{**values, "options": dict(values["options"]), "preprocessing": preprocessing})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the description of the network is damaged: {error!r}") from None
        check_name("scores", spec.scores, SCORES)
        spec.graphdef()
        return spec

    def create_model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The model, initialized."""
        return models.create_model(self.model, rngs=rngs, **self._sizes(), **self.options)

    def graphdef(self, **options: Any) -> nnx.GraphDef:
        """What `nnx.merge` needs besides the weights; `options` override those of the spec."""
        return self._traced(options)[0]

    def shapes(self, **options: Any) -> dict[str, Tree]:
        """As `weights_of`, with shapes and types instead of arrays; `options` override those of the spec."""
        return self._traced(options)[1]

    def abstract(self, **options: Any) -> Any:
        """The model with shapes and types instead of arrays; `options` override those of the spec."""
        graphdef, shapes = self._traced(options)
        return nnx.merge(graphdef, shapes["params"], shapes["batch_stats"])

    def _sizes(self) -> dict[str, int]:
        preprocessing = self.preprocessing
        return {
            "num_classes": self.num_logits,
            "image_size": preprocessing.image_size,
            "channels": preprocessing.channels,
        }

    def _traced(self, options: Mapping[str, Any]) -> tuple[nnx.GraphDef, dict[str, Tree]]:
        merged = {**self.options, **options}
        return _trace(self.model, tuple(self._sizes().items()), tuple(sorted(merged.items())))


@functools.lru_cache(maxsize=16)  # deep models take seconds to trace, and loading one asks several times
def _trace(
    model: str, sizes: tuple[tuple[str, int], ...], options: tuple[tuple[str, Any], ...]
) -> tuple[nnx.GraphDef, dict[str, Tree]]:
    """The graph definition of a model, and the shapes of its weights."""
    create = functools.partial(models.create_model, model, **dict(sizes), **dict(options))
    abstract = nnx.eval_shape(lambda: create(rngs=nnx.Rngs(0)))
    return nnx.graphdef(abstract), weights_of(abstract)


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained network: its description, and its weights on the host as `nnx.to_pure_dict` gives them."""

    spec: ModelSpec
    params: Tree
    batch_stats: Tree

    def module(self, **options: Any) -> Any:
        """The model with these weights, to call; `options` override those of the spec."""
        return nnx.merge(self.spec.graphdef(**options), self.params, self.batch_stats, copy=True)

    def leaves(self) -> dict[str, np.ndarray]:
        """The weights by name, such as "params/stages/0/0/conv1/conv/kernel" or "batch_stats/...": a weight file's."""
        tree = {"params": self.params, "batch_stats": self.batch_stats}
        return {leaf_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def weights_of(model: nnx.Module) -> dict[str, Tree]:
    """The trees "params" and "batch_stats" of a model; shapes for leaves, of one that is `ModelSpec.abstract`."""
    return {
        "params": nnx.to_pure_dict(nnx.state(model, nnx.Param)),
        "batch_stats": nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)),
    }


def shapes_of(weights: Mapping[str, Tree]) -> dict[str, tuple[int, ...]]:
    """The shapes of what `weights_of` gives, by the names of `TrainedModel.leaves`."""
    return {leaf_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(weights)}


def differing_options(spec: ModelSpec, options: Mapping[str, Any]) -> list[str]:
    """The names of those options with which the network would be another: its weights would give other answers.

    Options OF_TRAINING are none of them; but dropout is, where it scales what is tested.
    """
    scales_tests = {**spec.options, **options}.get("dropout_scaling") == "test"
    free = set(OF_TRAINING) - ({"dropout"} if scales_tests else set())

    def structure(changes: Mapping[str, Any]) -> tuple[nnx.GraphDef, dict[str, tuple[int, ...]]] | None:
        try:
            return spec.graphdef(**changes), shapes_of(spec.shapes(**changes))
        except InputError:  # an option that does not go with the others
            return None

    asked = {name: value for name, value in options.items() if name not in free}
    if not asked or structure(asked) == (own := structure({})):
        return []
    return [name for name, value in asked.items() if structure({name: value}) != own]


def from_leaves(spec: ModelSpec, leaves: Mapping[str, np.ndarray], *, where: str) -> TrainedModel:
    """The network whose weights these are, by the names of `TrainedModel.leaves`.

    Raises:
        InputError: names that are missing or unexpected and shapes that differ, all at once; values that are not
            finite; or negative variances. `where` says where they are from.
    """
    like = spec.shapes()
    given = {name: leaf.shape for name, leaf in leaves.items()}
    check_mismatches(shapes_of(like), given, model=spec.model, where=where)
    check_finite(leaves, where=where)
    if negative := [name for name, leaf in leaves.items() if name.endswith("/norm/var") and (leaf < 0).any()]:
        raise InputError(f"{where} holds negative variances, in {len(negative)} arrays ({_listed(negative)})")
    tree = jax.tree_util.tree_map_with_path(lambda path, _: np.asarray(leaves[leaf_name(path)], np.float32), like)
    return TrainedModel(spec, tree["params"], tree["batch_stats"])


def mismatches(expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> list[str]:
    """What is wrong with the shapes by name that are given: those missing, unexpected, and of another shape."""
    differing = [
        f"{name} is {given[name]}, not {shape}"
        for name, shape in expected.items()
        if name in given and given[name] != shape
    ]
    kinds = {
        "missing": [name for name in expected if name not in given],
        "unexpected": [name for name in given if name not in expected],
        "of another shape": differing,
    }
    return [f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds.items() if names]


def check_mismatches(
    expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], *, model: str, where: str
) -> None:
    """Raises InputError where `mismatches` finds any; `where` says where the given ones are from."""
    problems = mismatches(expected, given)
    if problems:
        raise InputError(f"{where} does not hold the weights of {model}: {'; '.join(problems)}")


def check_finite(leaves: Mapping[str, np.ndarray], *, where: str) -> None:
    """Raises InputError where a weight is not finite."""
    bad = [name for name, leaf in leaves.items() if not np.isfinite(leaf).all()]
    if bad:
        raise InputError(f"{where} holds weights that are not finite, in {len(bad)} arrays ({_listed(bad)})")


def _listed(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def probabilities(logits: Float[Array, "batch logits"], scores: str) -> Float[Array, "batch classes"]:
    """Float32 probabilities of the classes; a single logit gives those of two."""
    logits = logits.astype(jnp.float32)
    if logits.shape[-1] == 1:
        return jax.nn.sigmoid(jnp.concatenate([-logits, logits], axis=-1))
    return jax.nn.softmax(logits) if scores == "softmax" else jax.nn.sigmoid(logits)

"""A trained network: its spec, its weights and its preprocessing."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from resnet_alexnet import models
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.files import is_guest
from resnet_alexnet.models.stacked import stack, stack_blocks
from resnet_alexnet.paths import Tree, leaf_name
from resnet_alexnet.pretrained.preprocessing import Preprocessing

SCORES = ("softmax", "sigmoid")
# Options of training, and of how a step is computed: they do not change the predictions of given weights.
OF_TRAINING = (
    *("bn_group", "bn_momentum", "bn_unbiased_variance", "dropout", "init", "zero_init_last_gamma"),
    *("scan", "remat"),
)
_Traced = tuple[nnx.GraphDef, dict[str, Tree]]
_MOST_NAMES = 8  # how many names of each kind an error lists


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """The description of a network without its weights. It is saved with them.

    Attributes:
        model: one of `models.MODELS`.
        options: the options of the model that are set, by name.
        num_logits: logits per image; a single logit stands for two classes.
        scores: how logits become class probabilities: "softmax", or "sigmoid" of each logit.
        preprocessing: how an image becomes the input; also has the class names.
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
        """The inverse of `to_json`.

        Raises:
            InputError: fields are missing or unknown, or the model, an option or `scores` does not exist.
        """
        try:
            preprocessing = Preprocessing.from_json(values["preprocessing"])
            spec = cls(**{**values, "options": dict(values["options"]), "preprocessing": preprocessing})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the metadata of the network is damaged: {error!r}") from None
        check_name("scores", spec.scores, SCORES)
        spec.graphdef()
        return spec

    def initial_weights(self, seed: int) -> dict[str, Tree]:
        """The weights before training, as `weights_of` gives them."""

        def create() -> dict[str, Tree]:
            return weights_of(models.create_model(self.model, rngs=nnx.Rngs(seed), **self._sizes(), **self.options))

        # Ours compile a program for each shape, see `initializers.draw`; those of others would for each operation.
        return jax.jit(create)() if is_guest(self.model) else create()

    def graphdef(self, **options: Any) -> nnx.GraphDef:
        """The graph definition for `nnx.merge`; `options` override those of the spec."""
        return self._traced(options)[0][0]

    def shapes(self, **options: Any) -> dict[str, Tree]:
        """Like `weights_of`, with shapes and types instead of arrays; `options` override those of the spec."""
        return self._traced(options)[0][1]

    def stacked(self, **options: Any) -> tuple[nnx.GraphDef, dict[str, Tree]]:
        """`graphdef` and `shapes` for the program of a step: with equal blocks stacked, if the option `scan` is on."""
        return self._traced(options)[1]

    def abstract(self, **options: Any) -> Any:
        """The model with shapes and types instead of arrays; `options` override those of the spec."""
        graphdef, shapes = self._traced(options)[0]
        return nnx.merge(graphdef, shapes["params"], shapes["batch_stats"])

    def _sizes(self) -> dict[str, int]:
        preprocessing = self.preprocessing
        return {
            "num_classes": self.num_logits,
            "image_size": preprocessing.image_size,
            "channels": preprocessing.channels,
        }

    def _traced(self, options: Mapping[str, Any]) -> tuple[_Traced, _Traced]:
        merged = {**self.options, **options}
        return _trace(self.model, tuple(self._sizes().items()), tuple(sorted(merged.items())))


@functools.lru_cache(maxsize=16)  # a deep model takes seconds to trace, and loading it needs the trace several times
def _trace(
    model: str, sizes: tuple[tuple[str, int], ...], options: tuple[tuple[str, Any], ...]
) -> tuple[_Traced, _Traced]:
    """The graph definition of a model and the shapes of its weights: with single blocks, and with stacked ones."""
    create = functools.partial(models.create_model, model, **dict(sizes), **dict(options))
    abstract = nnx.eval_shape(lambda: create(rngs=nnx.Rngs(0)))
    single = nnx.graphdef(abstract), weights_of(abstract)
    return single, (nnx.graphdef(abstract), weights_of(abstract)) if stack_blocks(abstract) else single


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained network: its description, and its weights on the host as `nnx.to_pure_dict` gives them.

    Attributes:
        spec: the description.
        params: the parameters.
        batch_stats: the running statistics of batch normalization.
        missing: the names, as in `leaves`, of the arrays that the weight file lacks. They are NaN.
        notes: what was presumed, chosen or left out when the weight file was read, in lines for the user.
    """

    spec: ModelSpec
    params: Tree
    batch_stats: Tree
    missing: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def module(self, **options: Any) -> Any:
        """The model with these weights, to call; `options` override those of the spec."""
        return nnx.merge(self.spec.graphdef(**options), self.params, self.batch_stats, copy=True)

    def stacked(self, **options: Any) -> tuple[nnx.GraphDef, Tree, Tree]:
        """The graph definition, the parameters and the statistics for the program of a step, see `models.stacked`."""
        graphdef, shapes = self.spec.stacked(**options)
        weights = stack(self.leaves(), shapes)
        return graphdef, weights["params"], weights["batch_stats"]

    def leaves(self) -> dict[str, np.ndarray]:
        """The weights by their names in weight files: "params/stages/0/0/conv1/conv/kernel" or "batch_stats/..."."""
        tree = {"params": self.params, "batch_stats": self.batch_stats}
        return {leaf_name(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def weights_of(model: nnx.Module) -> dict[str, Tree]:
    """The trees "params" and "batch_stats" of a model. For a `ModelSpec.abstract` model the leaves are shapes."""
    return {
        "params": nnx.to_pure_dict(nnx.state(model, nnx.Param)),
        "batch_stats": nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)),
    }


def shapes_of(weights: Mapping[str, Tree]) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of `weights_of`, by the names of `TrainedModel.leaves`."""
    return {leaf_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(weights)}


def differing_options(spec: ModelSpec, options: Mapping[str, Any]) -> list[str]:
    """The names of the given options that would change the predictions of the weights.

    OF_TRAINING options do not, except dropout if it scales activations in testing (dropout_scaling is "test").
    """
    scales_tests = {**spec.options, **options}.get("dropout_scaling") == "test"
    free = set(OF_TRAINING) - ({"dropout"} if scales_tests else set())

    def structure(changes: Mapping[str, Any]) -> tuple[nnx.GraphDef, dict[str, tuple[int, ...]]] | None:
        try:
            return spec.graphdef(**changes), shapes_of(spec.shapes(**changes))
        except InputError:  # the option conflicts with another one
            return None

    candidates = {name: value for name, value in options.items() if name not in free}
    if not candidates or structure(candidates) == (own := structure({})):
        return []
    return [name for name, value in candidates.items() if structure({name: value}) != own]


def from_leaves(
    spec: ModelSpec,
    leaves: Mapping[str, np.ndarray],
    *,
    where: str,
    missing: Iterable[str] = (),
    notes: tuple[str, ...] = (),
) -> TrainedModel:
    """Builds a network from arrays by the names of `TrainedModel.leaves`.

    Args:
        spec: the description of the network.
        leaves: the arrays.
        where: their source, for error messages.
        missing: names of arrays that need not be there.
        notes: see `TrainedModel`.

    Raises:
        InputError: arrays are missing, unexpected or of another shape (the message lists all), values are not finite,
            or variances are negative.
    """
    like, missing = spec.shapes(), frozenset(missing)
    given = {name: leaf.shape for name, leaf in leaves.items()}
    expected = {name: shape for name, shape in shapes_of(like).items() if name not in missing}
    check_mismatches(expected, given, model=spec.model, where=where)
    check_finite(leaves, where=where)
    if negative := [name for name, leaf in leaves.items() if name.endswith("/norm/var") and (leaf < 0).any()]:
        raise InputError(f"{where} holds negative variances, in {len(negative)} arrays ({_listed(negative)})")

    def array(path: Any, leaf: Any) -> np.ndarray:
        name = leaf_name(path)
        return np.full(leaf.shape, np.nan, np.float32) if name in missing else np.asarray(leaves[name], np.float32)

    tree = jax.tree_util.tree_map_with_path(array, like)
    return TrainedModel(spec, tree["params"], tree["batch_stats"], missing, notes)


def mismatches(expected: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Compares shapes by name and describes the differences: missing, unexpected and of another shape."""
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
    """Raises InputError if `mismatches` finds any; `where` is the source of the given shapes."""
    problems = mismatches(expected, given)
    if problems:
        raise InputError(f"{where} does not hold the weights of {model}: {'; '.join(problems)}")


def check_finite(leaves: Mapping[str, np.ndarray], *, where: str) -> None:
    """Raises InputError if a weight is not finite."""
    bad = [name for name, leaf in leaves.items() if not np.isfinite(leaf).all()]
    if bad:
        raise InputError(f"{where} holds weights that are not finite, in {len(bad)} arrays ({_listed(bad)})")


def _listed(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def probabilities(logits: Float[Array, "batch logits"], scores: str) -> Float[Array, "batch classes"]:
    """Class probabilities in float32; a single logit gives two classes."""
    logits = logits.astype(jnp.float32)
    if logits.shape[-1] == 1:
        return jax.nn.sigmoid(jnp.concatenate([-logits, logits], axis=-1))
    return jax.nn.softmax(logits) if scores == "softmax" else jax.nn.sigmoid(logits)

"""Networks with the weights of torchvision, timm and the CIFAR repositories compute what those compute.

Layers are applied one by one, not compiled as a whole, which would take minutes for the deep ones.
"""

import jax
import numpy as np
import optax
import pytest
from flax import nnx

from resnet_alexnet import losses, pretrained
from resnet_alexnet.models import create_model
from resnet_alexnet.models.layers import MaxPool, observe
from resnet_alexnet.optim.sgd import sgd
from resnet_alexnet.paths import leaf_name
from resnet_alexnet.pretrained import mapping, torchvision
from resnet_alexnet.pretrained.network import TrainedModel, weights_of
from resnet_alexnet.pretrained.state_dict import WeightFile
from tests.support import torch_peers
from tests.support.torch_peers import F, torch

NETS = [
    ("torchvision", "alexnet_owt"),
    *((peer, model) for peer in ("torchvision", "timm") for model in torch_peers.RESNETS),
    *(("cifar", f"cifar_resnet{depth}") for depth in (20, 32, 44, 56, 110)),
]
SIZES = {"alexnet_owt": 80, "cifar": 32}  # pixels; of the other ResNets 64


def image_size(model):
    return SIZES.get(model.partition("_")[0], SIZES.get(model, 64))


def network(model, net, **options) -> TrainedModel:
    contents = WeightFile({"": torch_peers.state_dict(net)}, {})
    return pretrained.network_of(contents, where="the peer's", model=model, **options)


def table(model):
    return torchvision.layout(model, 224).table


def our_outputs(module, image, rename, *, train=False):
    """The logits and what every layer gives to whose path `rename` gives a name in torch."""
    paths = {id(layer): "/".join(map(str, path)) for path, layer in nnx.iter_modules(module)}
    outputs = {}

    def note(layer, x, y):
        if (name := rename(paths[id(layer)])) is not None:
            outputs[name] = np.asarray(y)

    with observe(note):
        outputs["logits"] = np.asarray(module(image, train=train))
    return outputs


def renaming(model):
    """For `our_outputs`: by the table, whose layers are those with weights."""

    def rename(path):
        try:
            return mapping.rename_layer(table(model), path)[0]
        except ValueError:
            return None

    return rename


def assert_close(ours, theirs, tolerance=1e-4, what=""):
    """To `tolerance` of the largest number."""
    assert ours.shape == theirs.shape, what
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max(), err_msg=what)


def assert_all_close(ours, theirs, tolerance=1e-4):
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert_close(ours[name].reshape(expected.shape), expected, tolerance, name)


@pytest.mark.slow
@pytest.mark.parametrize(("peer", "model"), NETS)
def test_every_layer_and_the_logits_are_the_peers(peer, model):
    net = torch_peers.create(peer, model)
    ours, theirs = torch_peers.images(image_size(model))
    outputs = our_outputs(network(model, net).module(), ours, renaming(model))
    assert_all_close(outputs, torch_peers.layer_outputs(net, theirs))


@pytest.mark.parametrize("size", [61, 62, 63])
def test_strided_windows_lie_as_torchs_at_odd_and_even_sizes(size):
    """Maps of 31 to 32, 16, 8, 4 and 2 pixels: each stride meets both an odd and an even side."""
    net = torch_peers.create("torchvision", "resnet18")
    ours, theirs = torch_peers.images(size)
    outputs = our_outputs(network("resnet18", net).module(), ours, renaming("resnet18"))
    assert_all_close(outputs, torch_peers.layer_outputs(net, theirs))


@pytest.mark.parametrize("size", range(5, 14))
def test_pooling_is_caffes_ceil_mode_or_torchs_padding(size):
    ours, theirs = torch_peers.images(size)
    for padding, expected in (
        ("ceil", F.max_pool2d(theirs, 3, 2, ceil_mode=True)),
        ("symmetric", F.max_pool2d(theirs, 3, 2, padding=1)),
        ("none", F.max_pool2d(theirs, 3, 2)),
    ):
        np.testing.assert_array_equal(MaxPool(3, 2, padding=padding)(ours), expected.permute(0, 2, 3, 1), padding)


def train(module, image, label, tx, opt_state=None):
    """One step of ours on the module, in place; the logits before it, and the optimizer's state."""
    graphdef, params, batch_stats = nnx.split(module, nnx.Param, nnx.BatchStat)

    def objective(params):
        model = nnx.merge(graphdef, params, batch_stats, copy=True)
        logits = model(image, train=True)
        loss = jax.numpy.mean(losses.softmax_cross_entropy(logits, label))
        return loss, (logits, nnx.state(model, nnx.BatchStat))

    (_, (logits, batch_stats)), grads = jax.value_and_grad(objective, has_aux=True)(params)
    updates, opt_state = tx.update(grads, tx.init(params) if opt_state is None else opt_state, params)
    nnx.update(module, optax.apply_updates(params, updates), batch_stats)
    return logits, opt_state


def changes(before, after):
    return {name: after[name] - before[name] for name in before if "num_batches" not in name}


def assert_steps_agree(module, net, to_theirs, images, *, tolerance=1e-2):
    """Logits in training, and what two steps of SGD with momentum and decay change, array by array."""
    ours, theirs = images
    label = np.arange(len(ours)) % 10
    tx, opt_state = sgd(0.005, momentum=0.9, weight_decay=1e-2, update_rule="optax"), None
    optimizer = torch.optim.SGD(net.parameters(), lr=0.005, momentum=0.9, weight_decay=1e-2)
    before = torch_peers.state_dict(net)
    net.train()
    for step in range(2):
        logits, opt_state = train(module, ours, label, tx, opt_state)
        expected = net(theirs)
        optimizer.zero_grad()
        F.cross_entropy(expected, torch.tensor(label)).backward()
        optimizer.step()
        assert_close(np.asarray(logits), expected.detach().numpy(), 1e-3, f"logits of step {step}")
    changed, expected = (changes(before, after) for after in (to_theirs(module), torch_peers.state_dict(net)))
    assert changed.keys() == expected.keys()
    for name, change in expected.items():
        assert np.abs(change).max() > 0, name
        assert_close(changed[name], change, 1e-3 if "running" in name else tolerance, name)


def leaves(module, of=np.asarray):
    tree = weights_of(module)
    return {leaf_name(path): of(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


IN_CI = [("torchvision", "resnet18"), ("cifar", "cifar_resnet20")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("peer", "model"), [pytest.param(*net, marks=[] if net in IN_CI else pytest.mark.nightly) for net in NETS]
)
def test_two_steps_of_training_are_the_peers(peer, model):
    net = torch_peers.create(peer, model, active=True)
    options = {"dropout": 0.0} if model == "alexnet_owt" else {}
    for module in net.modules():
        if isinstance(module, torch_peers.nn.Dropout):
            module.p = 0.0
    assert_steps_agree(
        network(model, net, **options).module(),
        net,
        lambda module: mapping.to_theirs(table(model), leaves(module)),
        torch_peers.images(image_size(model), batch=8),
        tolerance=5e-2 if model in ("resnet101", "resnet152") else 1e-2,
    )


@pytest.mark.slow
@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_alexnet_with_response_normalization_is_torchs_with_groups(trained):
    """The two-tower net, whose form is nobody's: torch's towers lie behind one another, ours have an axis of theirs."""
    norm = {"size": 5, "alpha": 1e-2, "beta": 0.75, "k": 1.0}  # alpha so large that it matters
    torch.manual_seed(0)
    net = torch_peers.AlexNet(**norm)
    options = {"lrn_across_towers": True, "lrn_alpha_over_size": True, "lrn_k": 1.0, "lrn_alpha": 1e-2, "dropout": 0.0}
    abstract = nnx.eval_shape(
        lambda: create_model("alexnet", num_classes=10, image_size=63, rngs=nnx.Rngs(0), **options)
    )
    shapes = {name: leaf.shape for name, leaf in leaves(abstract, lambda leaf: leaf).items()}
    weights = torch_peers.state_dict(net)

    def to_ours(shape, weight):
        if weight.ndim == 4:
            return weight.reshape(shape[0], shape[4], shape[3], *shape[1:3]).transpose(0, 3, 4, 2, 1)
        return weight.T.reshape(shape)

    def to_torch(weight, kernel):
        if kernel.ndim == 5:
            return kernel.transpose(0, 4, 3, 1, 2).reshape(weight.shape)
        return kernel.reshape(-1, kernel.shape[-1]).T if weight.ndim == 2 else kernel.reshape(weight.shape)

    def all_to_torch(module):
        return {torchs[name]: to_torch(weights[torchs[name]], leaf) for name, leaf in leaves(module).items()}

    torchs = {name: name.removeprefix("params/").replace("/", ".").replace("kernel", "weight") for name in shapes}
    state = {name: to_ours(shape, weights[torchs[name]]) for name, shape in shapes.items()}
    tree = nnx.to_pure_dict(nnx.state(abstract, nnx.Param))
    tree = jax.tree_util.tree_map_with_path(lambda path, _: state[f"params/{leaf_name(path)}"], tree)
    module = nnx.merge(nnx.graphdef(abstract), tree, copy=True)
    ours, theirs = torch_peers.images(63, batch=8, scale=30.0)
    outputs = our_outputs(module, ours, lambda path: path if path[:4] in ("conv", "norm") or path[:2] == "fc" else None)
    assert_all_close(outputs, torch_peers.layer_outputs(net, theirs))
    if trained:
        assert_steps_agree(module, net, all_to_torch, (ours / 30, theirs / 30))

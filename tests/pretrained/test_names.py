"""The names under which the networks circulate: the networks of torch in those names compute what they compute."""

import argparse
import re

import numpy as np
import pytest

from resnet_alexnet import pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import names
from resnet_alexnet.pretrained.state_dict import WeightFile
from tests.support import torch_peers
from tests.support.torch_peers import F, torch

WHERE = "x.pth"


def rename(arrays, *rules):
    """The arrays by other names: of each name the first of the rules (pattern, replacement) that matches."""
    renamed = {}
    for name, array in arrays.items():
        rule = next((rule for rule in rules if re.match(rule[0], name)), None)
        renamed[re.sub(*rule, name, count=1) if rule else name] = array
    assert len(renamed) == len(arrays)
    return renamed


def stages(pattern, from_0=False, of="layer"):
    """A rule for names in blocks; `pattern` has {stage}."""
    return [(rf"layer{i}\.(\d+)\.", pattern.format(stage=i - from_0)) for i in range(1, 5)]


def huggingface(arrays):
    def new(name):
        stem = {"conv1": "embedder.embedder.convolution", "bn1": "embedder.embedder.normalization"}
        layer, _, array = name.rpartition(".")
        if layer in stem:
            return f"resnet.{stem[layer]}.{array}"
        if layer == "fc":
            return f"classifier.1.{array}"
        stage, block, inner = re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", layer).groups()
        kinds = {"conv": "convolution", "bn": "normalization"}
        if inner.startswith("downsample"):
            inside = f"shortcut.{'convolution' if inner[-1] == '0' else 'normalization'}"
        else:
            inside = f"layer.{int(inner[-1]) - 1}.{kinds[inner[:-1]]}"
        return f"resnet.encoder.stages.{int(stage) - 1}.layers.{block}.{inside}.{array}"

    return {new(name): array for name, array in arrays.items()}


def pytorchcv(arrays):
    rules = [(r"conv1", "features.init_block.conv.conv"), (r"bn1", "features.init_block.conv.bn"), (r"fc", "output")]
    rules += [
        (r"layer(\d)\.(\d+)\.conv(\d)", r"features.stage\1.unit\2.body.conv\3.conv"),
        (r"layer(\d)\.(\d+)\.bn(\d)", r"features.stage\1.unit\2.body.conv\3.bn"),
        (r"layer(\d)\.(\d+)\.downsample\.0", r"features.stage\1.unit\2.identity_conv.conv"),
        (r"layer(\d)\.(\d+)\.downsample\.1", r"features.stage\1.unit\2.identity_conv.bn"),
    ]
    renamed = rename(arrays, *rules)
    return {re.sub(r"unit(\d+)", lambda m: f"unit{int(m[1]) + 1}", name): array for name, array in renamed.items()}


def detectron2(arrays):
    rules = [(r"conv1", "stem.conv1"), (r"bn1", "stem.conv1.norm"), (r"fc", "linear")]
    rules += [
        (r"layer(\d)\.(\d+)\.downsample\.0", r"res\1.\2.shortcut"),
        (r"layer(\d)\.(\d+)\.downsample\.1", r"res\1.\2.shortcut.norm"),
        (r"layer(\d)\.(\d+)\.bn(\d)", r"res\1.\2.conv\3.norm"),
        (r"layer(\d)\.(\d+)\.", r"res\1.\2."),
    ]
    renamed = rename(arrays, *rules)
    return {re.sub(r"res(\d)", lambda m: f"res{int(m[1]) + 1}", name): array for name, array in renamed.items()}


def sequential(arrays):
    """`torch.nn.Sequential` of the children of torchvision's network."""
    return rename(
        arrays, (r"conv1", "0"), (r"bn1", "1"), *((rf"layer{i}", str(i + 3)) for i in range(1, 5)), (r"fc", "9")
    )


IMAGENET_FORMS = {
    "torchvision": dict,
    "torch.compile": lambda arrays: rename(arrays, ("", "_orig_mod.")),
    "DistributedDataParallel, compiled": lambda arrays: rename(arrays, ("", "module._orig_mod.")),
    "Lightning": lambda arrays: rename(arrays, ("", "model.")),
    "nested": lambda arrays: rename(arrays, ("", "learner.encoder.backbone.")),
    "mmpretrain": lambda arrays: rename(arrays, (r"fc", "head.fc"), ("", "backbone.")),
    "Sequential(Dropout, Linear) as head": lambda arrays: rename(arrays, (r"fc", "fc.1")),
    "last_linear": lambda arrays: rename(arrays, (r"fc", "last_linear")),
    "Hugging Face": huggingface,
    "pytorchcv": pytorchcv,
    "detectron2": detectron2,
}


@pytest.fixture(scope="module")
def resnet18():
    net = torch_peers.create("torchvision", "resnet18", num_classes=3)
    image, theirs = torch_peers.images(64)
    with torch.no_grad():
        return torch_peers.state_dict(net), image, net(theirs).numpy()


def load(arrays, **arguments):
    return pretrained.network_of(WeightFile({"": arrays}, {}), where=WHERE, **arguments)


def logits(arrays, image, **arguments):
    return np.asarray(load(arrays, **arguments).module()(image))


@pytest.mark.parametrize("form", IMAGENET_FORMS)
def test_every_array_arrives_from_every_form(resnet18, form):
    arrays, _, _ = resnet18
    given = {name: array for name, array in arrays.items() if "num_batches" not in name or form == "torchvision"}
    expected = load(arrays).leaves()
    network = load(IMAGENET_FORMS[form](given))
    assert network.spec.model == "resnet18"
    assert network.spec.num_logits == 3
    for name, leaf in network.leaves().items():
        np.testing.assert_array_equal(leaf, expected[name], name)


def test_tensors_that_are_not_read_are_told(resnet18):
    unread = {"bn1.bias": "sparse; save it with to_dense()"}
    without = {name: array for name, array in resnet18[0].items() if name not in unread}
    with pytest.raises(InputError, match=r"missing .*bn1\.bias.*; .* tensors .* not read: bn1\.bias \(sparse; save it"):
        pretrained.network_of(WeightFile({"": without}, {}, unread), where=WHERE)
    network = pretrained.network_of(WeightFile({"": resnet18[0]}, {}, {"other": "complex"}), where=WHERE)
    assert network.notes[-1] == f"{WHERE} has tensors of kinds that are not read: other (complex)"


def test_the_logits_are_torchs(resnet18):
    arrays, image, expected = resnet18
    for form in ("Hugging Face", "mmpretrain"):
        given = {name: array for name, array in arrays.items() if "num_batches" not in name}
        np.testing.assert_allclose(logits(IMAGENET_FORMS[form](given), image), expected, atol=1e-4)


def test_half_precision_and_an_overflown_counter_do_not_matter(resnet18, tmp_path):
    arrays, image, expected = resnet18
    half = {name: torch.tensor(array.astype(np.float16)) for name, array in arrays.items()}
    half["bn1.num_batches_tracked"] = torch.tensor(float("inf"), dtype=torch.float16)
    torch.save(half, tmp_path / WHERE)
    network = pretrained.load_network(tmp_path / WHERE)
    np.testing.assert_allclose(np.asarray(network.module()(image)), expected, atol=0.02)


# CIFAR


class Block(torch_peers.CifarBlock):
    """With zero channels behind, as fb.resnet.torch; with `project`, option B of [H15]."""

    def __init__(self, in_channels, width, stride, *, shortcut):
        super().__init__(in_channels, width, stride)
        if shortcut == "B" and (stride != 1 or in_channels != width):
            conv = torch.nn.Conv2d(in_channels, width, 1, stride, bias=False)
            self.downsample = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(width))
        self.shortcut = shortcut

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            return F.relu(y + self.downsample(x))
        if self.shortcut == "plain":
            return F.relu(y)
        before = self.new if self.shortcut == "both" else 0
        x = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(x, (0, 0, 0, 0, before, 2 * self.new - before)))


def cifar(shortcut, *, depth=14, widths=(16, 16, 32, 64)):
    """A CIFAR network of torch with random weights, its head called fc."""
    torch.manual_seed(0)
    net = torch_peers.CifarResNet(8)
    net.conv1, net.bn1 = torch.nn.Conv2d(3, widths[0], 3, padding=1, bias=False), torch.nn.BatchNorm2d(widths[0])
    channels = widths[0]
    for stage, width in enumerate(widths[1:]):
        blocks = []
        for i in range((depth - 2) // 6):
            blocks.append(Block(channels, width, 2 if stage > 0 and i == 0 else 1, shortcut=shortcut))
            channels = width
        setattr(net, f"layer{stage + 1}", torch.nn.Sequential(*blocks))
    net.linear = torch.nn.Linear(channels, 10)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.3, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    image, theirs = torch_peers.images(32)
    with torch.no_grad():
        expected = net.eval()(theirs).numpy()
    arrays = {name: array for name, array in torch_peers.state_dict(net).items() if "num_batches" not in name}
    return arrays, image, expected


def blocks_in_a_row(arrays):
    """Blocks numbered through all stages, of two each."""

    def new(name):
        return re.sub(r"layer(\d)\.(\d)", lambda m: f"blocks.{2 * (int(m[1]) - 1) + int(m[2])}", name)

    return {new(name): array for name, array in arrays.items()}


def stage_1(arrays):
    rules = [(r"conv1", "conv_1_3x3"), (r"bn1", "bn_1"), (r"linear", "classifier")]
    rules += [
        (rf"layer(\d)\.(\d)\.{kind}{i}", rf"stage_\1.\2.{kind}_{'ab'[i - 1]}")
        for kind in ("conv", "bn")
        for i in (1, 2)
    ]
    return rename(arrays, *rules, (r"layer(\d)", r"stage_\1"))


CIFAR_FORMS = [
    ("akamaster", "both", dict, {}),
    ("akamaster, zero channels behind", "behind", dict, {"shortcut_padding": "behind"}),
    ("stage_1.0.conv_a", "behind", stage_1, {}),
    ("chenyaofo", "B", lambda arrays: rename(arrays, ("linear", "fc")), {}),
    ("kuangliu's blocks", "B", lambda arrays: rename(arrays, (r"(layer\d\.\d\.)downsample", r"\1shortcut")), {}),
    ("open_lth", "B", lambda arrays: blocks_in_a_row(rename(arrays, ("conv1", "conv"), ("bn1", "bn"))), {}),
    ("layers and norm", "both", lambda arrays: rename(arrays, ("bn1", "norm1"), (r"layer(\d)", r"layers\1")), {}),
    ("plain", "plain", dict, {"model": "cifar_plain14"}),
    ("DataParallel", "both", lambda arrays: rename(arrays, ("", "module.")), {}),
]


@pytest.mark.parametrize(
    ("shortcut", "form", "stated"), [row[1:] for row in CIFAR_FORMS], ids=[row[0] for row in CIFAR_FORMS]
)
def test_the_logits_of_cifar_networks_are_torchs(shortcut, form, stated):
    arrays, image, expected = cifar(shortcut)
    network = load(form(arrays), **stated)
    assert network.spec.model == stated.get("model", "cifar_resnet14")
    np.testing.assert_allclose(np.asarray(network.module()(image)), expected, atol=1e-4)


def test_what_is_presumed_is_said_and_matters():
    arrays, image, expected = cifar("behind")
    network = load(arrays)
    assert "presumed, as the arrays do not show it (flags state it otherwise): shortcut_padding=both" in network.notes
    assert np.abs(np.asarray(network.module()(image)) - expected).max() > 1e-2
    stated = load(arrays, shortcut_padding="behind")
    assert not any("shortcut_padding" in note for note in stated.notes)


@pytest.mark.parametrize("widths", [(8, 8, 16, 32), (24, 12, 24, 48), (16, 20, 40, 80)])
def test_widths_are_read_from_the_arrays(widths):
    arrays, image, expected = cifar("B", depth=8, widths=widths)
    network = load(arrays)
    options = network.spec.options
    assert (options.get("width", 16), options.get("stem_width", options.get("width", 16))) == (widths[1], widths[0])
    np.testing.assert_allclose(np.asarray(network.module()(image)), expected, atol=1e-4)


def test_a_thin_network_of_timm_is_read():
    torch.manual_seed(0)
    net = torch_peers.timm.create_model("resnet50", num_classes=4, channels=(32, 64, 128, 256)).eval()
    image, theirs = torch_peers.images(64)
    with torch.no_grad():
        expected = net(theirs).numpy()
    network = load(torch_peers.state_dict(net))
    assert {name: network.spec.options[name] for name in ("width", "stem_width")} == {"width": 32, "stem_width": 64}
    np.testing.assert_allclose(np.asarray(network.module()(image)), expected, atol=1e-4)


# What the arrays show


def test_biases_of_convolutions_go_into_the_means(resnet18):
    _, image, _ = resnet18
    net = torch_peers.create("torchvision", "resnet18", num_classes=3)
    for name, module in list(net.named_modules()):
        if name in ("conv1", "layer1.0.conv2", "layer2.0.downsample.0"):
            module.bias = torch.nn.Parameter(torch.linspace(-1, 1, module.out_channels))
    net.fc.bias = None
    with torch.no_grad():
        expected = net(torch_peers.images(64)[1]).numpy()
    network = load(torch_peers.state_dict(net))
    np.testing.assert_allclose(np.asarray(network.module()(image)), expected, atol=1e-4)
    assert any("biases of 3 convolutions" in note for note in network.notes)


def test_hes_published_form_strides_first_pools_as_caffe_and_sees_blue_first():
    net = torch_peers.create("torchvision", "resnet50", num_classes=3)
    for module in net.modules():
        if isinstance(module, torch_peers.torchvision.models.resnet.Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, (1, 1)
    net.maxpool = torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    image, theirs = torch_peers.images(64)
    with torch.no_grad():
        expected = net(theirs.flip(1)).numpy()
    stated = {"stride_in": "1x1", "pool_padding": "caffe", "channel_order": "bgr"}
    network = load(torch_peers.state_dict(net), **stated)
    np.testing.assert_allclose(np.asarray(network.module()(image)), expected, atol=1e-4)
    presumed = load(torch_peers.state_dict(net))
    assert (
        "presumed, as the arrays do not show it (flags state it otherwise): stride_in=3x3, pool_padding=torch"
        in presumed.notes
    )
    assert np.abs(np.asarray(presumed.module()(image)) - expected).max() > 1e-2


def test_one_channel_is_read_from_the_first_kernel(resnet18):
    arrays = dict(resnet18[0])
    arrays["conv1.weight"] = arrays["conv1.weight"].sum(1, keepdims=True)
    preprocessing = load(arrays).spec.preprocessing
    assert (preprocessing.channels, preprocessing.mean.shape, preprocessing.std.shape) == (1, (1,), (1,))


# Several state dicts


def test_plain_weights_are_taken_before_averages_and_both_are_named(resnet18):
    arrays = resnet18[0]
    average = {f"module.{name}": array + 0 for name, array in arrays.items()} | {"n_averaged": np.array(5)}
    average["module.fc.bias"] = arrays["fc.bias"] + 1
    for plain, ema in (
        ("model", "model_ema"),
        ("state_dict", "state_dict_ema"),
        ("net", "ema"),
        ("a", "ema.state_dict"),
    ):
        file = WeightFile({ema: average, plain: arrays}, {})
        network = pretrained.network_of(file, where=WHERE)
        np.testing.assert_array_equal(network.params["head"]["bias"], arrays["fc.bias"])
        assert f"the state dict {plain!r} is taken; --state_dict=NAME takes another: {ema}" in network.notes
        other = pretrained.network_of(file, where=WHERE, state_dict=ema)
        np.testing.assert_array_equal(other.params["head"]["bias"], arrays["fc.bias"] + 1)
        only = pretrained.network_of(WeightFile({ema: average}, {}), where=WHERE)
        assert any("a moving average of weights; the file has no others" in note for note in only.notes)
    with pytest.raises(InputError, match=r"has no state dict 'x' \(it has: ema.state_dict, a\)"):
        pretrained.network_of(file, where=WHERE, state_dict="x")


def test_averages_beside_the_weights_in_one_state_dict(resnet18):
    both = rename(resnet18[0], ("", "model.")) | rename(resnet18[0], ("", "ema_model."))
    both["criterion.weight"] = np.ones(3, np.float32)
    network = load(both)
    assert "the state dict 'model' is taken; --state_dict=NAME takes another: ema_model" in network.notes
    assert "left out, as not of the network: criterion.weight" in network.notes


def test_of_two_networks_one_is_chosen(resnet18):
    both = rename(resnet18[0], ("", "encoder_q.")) | rename(resnet18[0], ("", "encoder_k."))
    with pytest.raises(InputError, match=r"several networks: choose one .*--state_dict=NAME \(it has: encoder_k, enc"):
        load(both)
    assert load(both, state_dict="encoder_q").spec.model == "resnet18"


# What is not of the papers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer1.0.se.fc1.weight": np.ones((4, 64))}, r"arrays of no layer of the papers.*layer1.0.se.fc1.weight"),
        ({"conv1.weight": np.ones((64, 3, 3, 3), np.float32)}, r"2\+2\+2\+2 basic blocks behind a convolution of 3x3"),
        ({"layer1.1.bn1.weight": None}, r"as resnet18: 1 missing \(layer1.1.bn1.weight\)"),
        ({"fc.weight": np.ones((3, 7), np.float32)}, r"fc.weight is \(3, 7\), not \(3, 512\)"),
        ({"fc.weight": None, "fc.bias": None}, "lacks fc: it cannot classify, but serves as finetune.weights"),
        ({"layer4.1.conv2.weight": np.ones((512, 512, 3, 3), np.int8)}, "not floating-point"),
    ],
)
def test_what_does_not_fit_is_named(resnet18, change, message):
    arrays = {name: array for name, array in {**resnet18[0], **change}.items() if array is not None}
    with pytest.raises(InputError, match=message):
        load(arrays)


def test_unknown_names_can_be_changed(resnet18, tmp_path):
    arrays = rename(resnet18[0], (r"layer(\d)\.(\d)\.", r"abschnitt\1_\2_"), ("conv1", "anfang"))
    with pytest.raises(InputError, match=r"no network under names that are known \(anfang.weight, .*--rename=OLD=NEW"):
        load(arrays)
    rules = [("anfang", "conv1"), (r"abschnitt(\d)_(\d)_", r"layer\1.\2.")]
    assert load(arrays, rename=rules).spec.model == "resnet18"
    with pytest.raises(InputError, match=r"gives two arrays the name"):
        load(arrays, rename=[(".*", "x")])
    extra = {**resnet18[0], "aux.weight": np.ones((2, 2), np.float32)}
    with pytest.raises(InputError, match=r"aux.weight\); --rename='NAME=' leaves an array out"):
        load(extra)
    assert load(extra, rename=[(r"aux\..*", "")]).spec.model == "resnet18"


def test_only_the_names_of_averages_are_those_of_averages():
    for name, averaged in {
        "model_ema": True,
        "ema": True,
        "state_dict_ema": True,
        "swa_model": True,
        "ema_model.module": True,
        "average_model": True,
        "model": False,
        "schema": False,
        "demand.model": False,
        "": False,
    }.items():
        assert names.NamedNetwork(name, {}, (), ()).averaged == averaged, name


# AlexNet


def alexnet(**change):
    shapes = torch_peers.torchvision.models.alexnet(num_classes=2).state_dict()
    return {name: value.numpy() for name, value in shapes.items()} | change


@pytest.mark.nightly
def test_alexnet_by_every_name():
    arrays = alexnet()
    expected = load(arrays).leaves()
    for rule in (("features", "features.module"), ("", "module."), ("", "model.net.")):
        for name, leaf in load(rename(arrays, rule)).leaves().items():
            np.testing.assert_array_equal(leaf, expected[name])


def test_the_convolutions_of_alexnet_alone_are_a_part(tmp_path):
    net = torch_peers.torchvision.models.alexnet().features
    arrays = torch_peers.state_dict(net)
    network = load(arrays, partial=True)
    assert {name.split("/")[1] for name in network.missing} == {"fc6", "fc7", "fc8"}
    np.testing.assert_array_equal(network.params["conv1"]["bias"], arrays["0.bias"])
    with pytest.raises(InputError, match=r"as alexnet_owt, lacks classifier.1, classifier.4, classifier.6"):
        load(arrays)


def test_the_settings_of_a_training_script_do_not_matter(resnet18, tmp_path):
    saved = {"model": {name: torch.tensor(array) for name, array in resnet18[0].items()}, "optimizer": {}, "epoch": 1}
    torch.save({**saved, "args": argparse.Namespace(lr=0.1), "best": np.float64(3)}, tmp_path / WHERE)
    assert pretrained.load_network(tmp_path / WHERE).spec.num_logits == 3


def test_a_rule_need_not_match_in_every_state_dict(resnet18):
    file = WeightFile({"model": rename(resnet18[0], ("", "a_")), "ema": dict(resnet18[0])}, {})
    network = pretrained.network_of(file, where=WHERE, rename=[("^a_", "")])
    assert "the state dict 'model' is taken; --state_dict=NAME takes another: ema" in network.notes


def test_a_head_of_several_layers_is_left_out_of_a_part_and_named_else(resnet18):
    arrays = rename(resnet18[0], (r"fc", "fc.0")) | {"fc.2.weight": np.ones((5, 3), np.float32)}
    with pytest.raises(InputError, match=r"of another form .* \(fc.0.weight, fc.0.bias, fc.2.weight\): it cannot"):
        load(arrays)
    network = load(arrays, partial=True)
    assert {name.split("/")[1] for name in network.missing} == {"head"}
    assert any("left out, a last layer of another form: fc.0.weight" in note for note in network.notes)


def test_the_new_layers_that_fastai_puts_behind_a_network_are_a_head(resnet18):
    arrays = {f"0.{name}": array for name, array in resnet18[0].items() if not name.startswith("fc.")}
    arrays |= {
        "1.2.weight": np.ones(6, np.float32),
        "1.2.running_mean": np.ones(6, np.float32),
        "1.4.weight": np.ones((5, 6), np.float32),
    }
    with pytest.raises(
        InputError, match=r"last layers of another form .* \(1.2.weight, 1.2.running_mean, 1.4.weight\): it"
    ):
        load(arrays)
    assert {name.split("/")[1] for name in load(arrays, partial=True).missing} == {"head"}


def test_a_head_may_have_a_part_of_the_prefix(resnet18):
    for prefix, head in (("model.backbone.", "model.fc"), ("model.net.encoder.", "model.net.classifier.1")):
        arrays = rename(resnet18[0], (r"fc", head), (r"", prefix))
        network = load(arrays)
        assert not network.missing
        np.testing.assert_array_equal(network.params["head"]["bias"], resnet18[0]["fc.bias"])


def test_a_layer_before_or_behind_the_network_is_not_left_out(resnet18):
    inside = rename(resnet18[0], (r"", "0."))
    for outside in ({"1.weight": np.ones((2, 3), np.float32)}, {"norm.running_mean": np.ones(3, np.float32)}):
        with pytest.raises(InputError, match="arrays of no layer of the papers' networks"):
            load(inside | outside)
    assert load(inside | {"loss.weight": np.ones(3, np.float32)}).spec.model == "resnet18"


def test_state_dicts_that_are_not_read_are_named(resnet18):
    unknown = {f"teil{i}": array for i, array in enumerate(resnet18[0].values())}
    network = pretrained.network_of(WeightFile({"model": unknown, "ema": dict(resnet18[0])}, {}), where=WHERE)
    assert "the state dict 'ema' is taken, a moving average of weights" in network.notes
    assert "not read, as their names are not known: model" in network.notes


def test_one_logit_has_two_classes(resnet18):
    arrays = {**resnet18[0], "fc.weight": np.ones((1, 512), np.float32), "fc.bias": np.ones(1, np.float32)}
    spec = load(arrays).spec
    assert (spec.num_logits, spec.preprocessing.classes) == (1, ("0", "1"))


def test_names_of_detectron2_and_pytorchcv_stride_first(resnet18):
    arrays = torch_peers.state_dict(torch_peers.create("torchvision", "resnet50", num_classes=3))
    arrays = {name: array for name, array in arrays.items() if "num_batches" not in name}
    for form, stride in ((dict, "3x3"), (detectron2, "1x1"), (pytorchcv, "1x1")):
        assert load(form(arrays)).spec.options["stride_in"] == stride


@pytest.mark.parametrize(
    "arrays",
    [
        {f"p{i}.conv1.weight": np.ones((2, 1, 1, 1), np.float32) for i in range(20_000)},
        {"layer" + "1" * 5000 + ".0.conv1.weight": np.ones((1, 1, 1, 1), np.float32)},
    ],
    ids=["many prefixes", "large numbers"],
)
def test_strange_names_are_refused_in_a_short_line(arrays):
    with pytest.raises(InputError, match="no network under names that are known") as error:
        load(arrays)
    assert len(str(error.value)) < 800

"""Where the papers, their authors' code and libraries, the study text and this project differ.

The study text is the short comparison of the two networks that the project began from.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """Something that descriptions of the networks have in different ways.

    Attributes:
        subject: what it is.
        paper: what the paper says, with the place; "" if nothing.
        code: what the authors' code, or a library, does; "" if that is not known or the same.
        study_text: what the study text says; "" if nothing.
        ours: what is done here by default.
        options: fields of the config that give a variant, such as "model.shortcut=C", each to be set by itself unless
            two have a plus sign between.
    """

    subject: str
    paper: str
    code: str
    study_text: str
    ours: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statement:
    """A statement of the study text about the papers.

    Attributes:
        study_text: the statement.
        papers: what the papers say, with the place.
    """

    study_text: str
    papers: str


DEVIATIONS = (
    Deviation(
        "position of response normalization",
        "after the ReLU ([K12] section 3.3)",
        "cuda-convnet2: before the ReLU in the first layer, after it in the second",
        "between the convolutional layer and the activation function",
        "after the ReLU",
        ("model.lrn_order=before_activation",),
    ),
    Deviation(
        "alpha of response normalization",
        "as in the formula ([K12] section 3.3)",
        "cuda-convnet2, Caffe, torch: divided by the size of the window",
        "",
        "as in the formula",
        ("model.lrn_alpha_over_size=True",),
    ),
    Deviation(
        "k of response normalization",
        "2 ([K12] section 3.3)",
        "Caffe, torch: 1 by default",
        "",
        "2",
        ("model.lrn_k=1.0",),
    ),
    Deviation(
        "kernel maps in a window of response normalization",
        "adjacent ones of the layer ([K12] section 3.3), whose towers do not communicate before conv3 (section 3.5)",
        "Caffe, torch: those of both towers",
        "",
        "those of one tower",
        ("model.lrn_across_towers=True",),
    ),
    Deviation(
        "max-pooling",
        "overlapping: 0.4 and 0.3 points less top-1 and top-5 error, slightly harder to overfit ([K12] section 3.4)",
        "cuda-convnet2: overlapping",
        "adds complexity to avoid overfitting",
        "overlapping",
        ("model.pooling=plain",),
    ),
    Deviation(
        "padding of conv1",
        "not stated; 224 pixels without padding do not give the maps of 55 x 55 in figure 2 of [K12]",
        "cuda-convnet2: none, maps of 54 x 54",
        "",
        "2 pixels, maps of 55 x 55",
    ),
    Deviation(
        "dropout",
        "halves the outputs in tests ([K12] section 4.2)",
        "",
        "sets outputs to zero with probability 0.5",
        "in the recipe `alexnet` as in the paper; by default of the network, outputs are scaled up in training, which "
        "has the same expectation",
        ("model.dropout_scaling=inverted",),
    ),
    Deviation(
        "initialization of AlexNet",
        "weights N(0, 0.01); bias 1 in conv2, conv4, conv5, fc6 and fc7, else 0 ([K12] section 5)",
        "cuda-convnet2: N(0, 0.03) in conv3 to conv5, bias -7 in the last layer",
        "biases are 1 in certain layers",
        "as in the paper",
        ("model.init=author_code",),
    ),
    Deviation(
        "color augmentation",
        "each principal component times its eigenvalue times a draw of N(0, 0.1) ([K12] section 4.1)",
        "cuda-convnet2: times the standard deviation, then all divided by 1 + c; fb.resnet.torch: constants that are "
        "widely copied, and fit neither variances nor standard deviations of ImageNet",
        "alters intensities with principal component analysis",
        "as in the paper, with components of the training set",
        ("augment.color=pca_std", "augment.color=pca_community"),
    ),
    Deviation(
        "loss",
        "softmax cross-entropy ([K12] section 3.5, [H15] section 3.3)",
        "cuda-convnet2: 1,000 logistic units in layer-params-223-ce2-1gpu.cfg",
        "binary cross-entropy, the mean over n samples",
        "softmax cross-entropy; binary cross-entropy is the mean over classes or their sum, which for 1,000 classes "
        "is 1,000 times as much",
        (
            "loss.name=binary_cross_entropy_with_logits",
            "loss.name=binary_cross_entropy_with_logits + loss.reduction=sum_classes",
        ),
    ),
    Deviation(
        "learning rate and momentum",
        "the learning rate is inside the momentum buffer ([K12] section 5)",
        "cuda-convnet2, Caffe and so He's release: inside; optax, torch: outside",
        "",
        "inside",
        ("optim.update_rule=optax",),
    ),
    Deviation(
        "learning rate of AlexNet",
        "divided by 10 when the validation error stops improving, three times, by hand ([K12] section 5)",
        "cuda-convnet2: divided by 250 in three equal factors, at each quarter of the training",
        "divided by 10 when the validation error stops improving",
        "as in the paper, without a hand: on a plateau, at most three times",
        ("schedule.name=steps",),
    ),
    Deviation(
        "learning rate of biases",
        "that of all layers ([K12] section 5)",
        "cuda-convnet2: twice that of the weights",
        "",
        "that of the weights",
        ("optim.bias_learning_rate=2.0",),
    ),
    Deviation(
        "weight decay of ResNet",
        "0.0001 ([H15] section 3.4)",
        "",
        "0.001",
        "0.0001",
        ("optim.weight_decay=0.001",),
    ),
    Deviation(
        "what decays",
        "not stated",
        "cuda-convnet2: weights, not biases; fb.resnet.torch: all, and it says that the paper's were the weights of "
        "convolutions alone",
        "",
        "all parameters",
        ("optim.decay_mask=kernels",),
    ),
    Deviation(
        "images normalized together",
        "not stated for ImageNet; 256 images a step ([H15] section 3.4)",
        "He's release: 32, those of one of 8 GPUs",
        "batch normalization is between the convolution and the activation, as in the paper",
        "32 in the recipes for ImageNet, 64 in those for CIFAR-10, which had two GPUs ([H15] section 4.2)",
        ("model.bn_group=sync",),
    ),
    Deviation(
        "statistics of batch normalization in tests",
        "not stated",
        "He's release: averages over a large batch, after the training; torch: moving averages, with the variance "
        "divided by n - 1",
        "",
        "moving averages; `resnet-alexnet recalibrate` averages over the training set",
        ("model.bn_unbiased_variance=True",),
    ),
    Deviation(
        "plain networks on ImageNet",
        "18 and 34 layers ([H15] section 4.1)",
        "",
        'two, one of them "based in VGG-19"',
        "18 and 34 layers; the paper uses VGG-19 only to compare multiply-adds",
    ),
    Deviation(
        "shortcuts that change the width",
        "18 and 34 layers: zero padding, without parameters (A), projection (B), or projection in all shortcuts (C); "
        "from 50 layers: B; CIFAR: A ([H15] sections 4.1 and 4.2)",
        "torchvision: B",
        "zero padding, which only adds a parameter; or a projection",
        "18 and 34 layers and CIFAR: A; from 50 layers: B",
        ("model.shortcut=B", "model.shortcut=C"),
    ),
    Deviation(
        "zero channels of shortcut A",
        "not stated",
        "fb.resnet.torch: after the channels of the identity; widely used CIFAR weights: on both sides of them",
        "",
        "after the channels of the identity",
        ("model.shortcut_padding=both",),
    ),
    Deviation(
        "stride of a bottleneck",
        "in conv3_1, conv4_1 and conv5_1 ([H15] table 1)",
        "He's release: in the first 1x1 convolution; fb.resnet.torch, torchvision: in the 3x3 convolution",
        "",
        "in the first 1x1 convolution",
        ("model.stride_in=3x3",),
    ),
    Deviation(
        "padding of the first max-pooling of ResNet",
        "not stated",
        "He's release: at the end of each axis, as Caffe does; torchvision: one pixel on each side",
        "",
        "at the end of each axis",
        ("model.pool_padding=torch",),
    ),
    Deviation(
        "bias of the first convolution of ResNet",
        "not stated",
        "He's release: ResNet-50 has one, ResNet-101 and 152 have none",
        "",
        "none",
    ),
)

STATEMENTS = (
    Statement(
        "AlexNet has a top-5 error of 15.3 %.",
        "15.3 % is the top-5 test error of seven AlexNets, two of which were trained on more data. One network has "
        "18.2 % on the validation set ([K12] table 2).",
    ),
    Statement(
        "The 152-layer network has a top-5 error of 3.57 %.",
        "3.57 % is the top-5 test error of six ResNets. One ResNet-152 has 4.49 % on the validation set, tested at "
        "several scales ([H15] tables 4 and 5).",
    ),
    Statement(
        "ImageNet 2012 has 1.8 million training images.",
        "It has 1.28 million ([H15] section 4.1): 1,281,167.",
    ),
    Statement(
        "ResNet-1202 has higher training and test errors than shallower networks.",
        "It has as low a *training* error as the 110-layer network, below 0.1 %. Only its test error is higher, 7.93 "
        "% ([H15] section 4.2).",
    ),
    Statement(
        "Vanishing gradients cause the degradation.",
        "[H15] argues that vanishing gradients are *not* the likely cause of the plain networks' higher error, and "
        "conjectures exponentially low convergence rates (section 4.1).",
    ),
    Statement(
        "Any positive input triggers the ReLU; biases of 1 help the early training.",
        "Biases of 1 give the ReLUs positive inputs, which accelerates the early training ([K12] section 5).",
    ),
    Statement(
        "One of the two plain networks is based on VGG-19, with 19.6 billion multiply-adds.",
        "They are plain-18 and plain-34. VGG-19 is there to compare: plain-34 has 18 % of its multiply-adds ([H15] "
        "section 3.3).",
    ),
    Statement(
        "Plain-34 has 33 convolutions of 3x3.",
        "It has one of 7x7, 32 of 3x3 and a fully connected layer ([H15] table 1).",
    ),
    Statement(
        "A shortcut with zero padding only adds a parameter.",
        "It adds none; projections add parameters ([H15] section 3.3).",
    ),
    Statement(
        "ResNet-101 and 152 have 11.3 billion multiply-adds.",
        "ResNet-50, 101 and 152 have 3.8, 7.6 and 11.3 billion ([H15] table 1).",
    ),
    Statement(
        "ResNets are trained for 600,000 steps of 256 images; ResNet-34 has 2.8 points less error than ResNet-18.",
        "The same ([H15] sections 3.4 and 4.1).",
    ),
)

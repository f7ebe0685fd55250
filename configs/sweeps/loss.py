"""The loss: softmax cross-entropy, or a binary cross-entropy for each class, from logits or from sigmoids.

python launch/sweep.py --sweep=loss --workdir=runs/loss --jobs=2

The binary losses are summed over the classes, as in AlexNet's own code: their mean would make the gradient ten times
smaller. For results: --config.num_steps=840, and seeds 0 to 4 in each point. For two classes, --config=binary.

Source: [K12] section 5 for the softmax; the study text's appendix for the binary losses.
"""

BASE = "quickstart"
COMMON = {"num_steps": 140}


def sweep():
    yield {"loss.name": "softmax_cross_entropy"}
    for name in ("binary_cross_entropy_with_logits", "binary_cross_entropy"):
        yield {"loss.name": name, "loss.reduction": "sum_classes"}

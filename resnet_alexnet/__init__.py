"""AlexNet (Krizhevsky 2012) and ResNet (He 2015), as published, in JAX and Flax NNX."""

import sys

# If the process is one of our commands, Python imports this package first: from here on Ctrl-C is one line.
if (sys.argv[:1] == ["-m"] and any(word.partition(".")[0] == __name__ for word in sys.orig_argv)) or (
    sys.argv and sys.argv[0].endswith("/resnet-alexnet")
):
    from resnet_alexnet.cli.early import end_at_once

    end_at_once()

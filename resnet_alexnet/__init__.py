"""AlexNet (Krizhevsky 2012) and ResNet (He 2015), as published, in JAX and Flax NNX."""

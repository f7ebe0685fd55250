"""tf.data's process for benchmarks/input.py: the pipeline of Flax's ImageNet example, from photographs in memory.

It decodes only the random crop, resizes bicubically (without antialiasing, the default of tf.image), and normalizes in
float32. The random flip is left out, because ours runs on the device.
"""

import itertools
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf
from serve import Run, serve

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's channels, in pixel values 0 to 255


def create(folder: str, size: int, batch_size: int, threads: int) -> tuple[Run, dict[str, Any]]:
    """Creates the pipeline with the given number of threads."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    files = [path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1

    def load(data: Any) -> Any:
        begin, shape, _ = tf.image.sample_distorted_bounding_box(
            tf.image.extract_jpeg_shape(data),
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            min_object_covered=0.1,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=10,
        )
        window = tf.stack([begin[0], begin[1], shape[0], shape[1]])
        image = tf.image.decode_and_crop_jpeg(data, window, channels=3)
        image = tf.image.resize(image, (size, size), method="bicubic")
        return (image - MEAN) / STD

    photographs = tf.data.Dataset.from_tensor_slices(files).cache().repeat().shuffle(len(files))
    batches = iter(
        photographs.map(load, num_parallel_calls=threads)
        .batch(batch_size, drop_remainder=True)
        .prefetch(1)
        .with_options(options)
    )

    def run(images: int) -> None:
        for _ in itertools.islice(batches, images // batch_size):
            pass

    return run, {"versions": {"tensorflow": tf.__version__}}


if __name__ == "__main__":
    serve(create)

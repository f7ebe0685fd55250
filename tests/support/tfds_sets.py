"""Writes small sets as TensorFlow Datasets lays them out, without TensorFlow."""

import json
import os

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from tests.support.images import encode, photograph

NAMES = ("ant", "bee", "cat")
FEATURES = {
    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
    "label": tfds.features.ClassLabel(names=NAMES),
    "file_name": tfds.features.Text(),
}


def write_set(
    root,
    splits,
    *,
    name="animals",
    version="1.0.0",
    config=None,
    features=None,
    example=None,
    file_format="array_record",
):
    """Writes a set and gives its version folder back.

    splits: the number of records of each shard of each split; example(split, number) makes a record.
    """
    features = tfds.features.FeaturesDict(features or FEATURES)
    example = example or make_example
    folder = root.joinpath(*filter(None, (name, config, version)))
    folder.mkdir(parents=True)
    serializer = ExampleSerializer(features.get_serialized_info())
    infos = []
    for split, lengths in splits.items():
        template = tfds.core.ShardedFileTemplate(
            dataset_name=name, data_dir=folder, split=split, filetype_suffix=file_format
        )
        number = 0
        for path, length in zip(template.sharded_filepaths(len(lengths)), lengths, strict=True):
            writer = ArrayRecordWriter(os.fspath(path), "group_size:1,uncompressed")
            for _ in range(length):
                writer.write(serializer.serialize_example(example(split, number)))
                number += 1
            writer.close()
        infos.append(tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=0, filename_template=template))
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features, split_infos=infos, filename_template=template, check_data=False
    )
    if config:
        change_info(folder, configName=config)
    return folder


def change_info(folder, **fields):
    """Changes fields of the set's `dataset_info.json`."""
    path = folder / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def make_example(split, number):
    """A record that tells what it is. Its image is never decoded here, and TFDS takes encoded bytes as they are."""
    return {"image": image_bytes(split, number), "label": number % 3, "file_name": f"{split}_{number}.JPEG"}


def image_bytes(split, number):
    return f"the image {number} of {split}".encode()


def small_example(split, number):
    """An image of 12 x 14 pixels of one of three classes."""
    image = photograph(12, 14, seed=number + 1000 * (split == "test"))
    return {"image": encode(image, "PNG"), "label": number % 3, "file_name": f"{number}.png"}

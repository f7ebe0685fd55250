"""Reads single records from the files of a TFDS set, without TensorFlow."""

import bisect
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_alexnet.data.readers.tfds_folder import FILE_FORMAT
from resnet_alexnet.errors import InputError

_FILE_NAME_KEYS = ("file_name", "filename", "image/filename")  # features that hold the original file name
_SPARE_FILES = 256  # open files to allow in addition to those of the set


class Records:
    """The records of one split of a set. Files are opened on demand."""

    def __init__(self, folder: Path, split: str, image_key: str, label_key: str):
        from tensorflow_datasets import decode, features

        builder = open_builder(folder)
        _allow_open_files(folder, sum(part.num_shards for part in builder.info.splits.values()))
        own = builder.info.features
        self._name_keys = [key for key in _FILE_NAME_KEYS if key in own and isinstance(own[key], features.Text)]
        # With only these features, the other ones are not parsed.
        self._features = features.FeaturesDict({key: own[key] for key in (image_key, label_key, *self._name_keys)})
        self._image_key, self._label_key = image_key, label_key
        self._decoders = {image_key: decode.SkipDecoding()}
        self._files = builder.info.splits[split].file_instructions
        self._ends = list(itertools.accumulate(file.take for file in self._files))
        self._source = builder.as_data_source(split, deserialize_method=decode.DeserializeMethod.RAW_BYTES)

    def read(self, position: int) -> tuple[bytes, int]:
        """Returns the encoded image and the label of record `position` of the split.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            example = self._example(position)
        except Exception as error:  # of many types: from array_record, protobuf and TFDS
            raise InputError(
                f"{self._place(position)} cannot be read ({last_line(error)}): restore the file, or build the set again"
            ) from error
        return example[self._image_key], int(example[self._label_key])

    def where(self, position: int) -> str:
        """Returns the file of a record, its number in the file and, if the set has it, the original file name."""
        try:
            example = self._example(position)
        except Exception:  # the record cannot be read, but its place is known
            return self._place(position)
        names = [example[key].decode("utf-8", errors="backslashreplace") for key in self._name_keys]
        return self._place(position) + "".join(f" ({name})" for name in names)

    def _example(self, position: int) -> dict[str, Any]:
        return self._features.deserialize_example_np(self._source[position], decoders=self._decoders)

    def _place(self, position: int) -> str:
        """Returns the file of a record, and its number in the file."""
        number = bisect.bisect_right(self._ends, position)
        file = self._files[number]
        return f"{file.filename} record {file.skip + position - (self._ends[number] - file.take)}"


@functools.lru_cache(maxsize=16)
def open_records(folder: Path, split: str, image_key: str, label_key: str) -> Records:
    """Opens the records of a split, once per process."""
    return Records(folder, split, image_key, label_key)


def open_builder(folder: Path) -> Any:
    """Returns TFDS's builder for the array_record files in a version folder.

    Raises:
        InputError: the metadata is damaged.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        # A set converted in place also has files of its original format, which would be the default.
        builder.info.set_file_format(FILE_FORMAT, override=True, override_if_initialized=True)
    except Exception as error:  # of many types
        raise InputError(
            f"the metadata of {folder} (dataset_info.json, features.json) cannot be read ({last_line(error)}): restore "
            "the files, or build the set again"
        ) from error
    return builder


def check_files(files: Sequence[Any]) -> None:
    """Checks that the files of some TFDS file instructions exist and are complete.

    Only the index at the end of a file is read. Single records have checksums, which `Records.read` verifies.

    Raises:
        InputError: a file is missing or truncated, or its number of records differs from the metadata.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    for path, expected in {file.filename: file.examples_in_shard for file in files}.items():
        if not Path(path).is_file():
            raise InputError(f"{path} is missing: restore it, or build the set again")
        reader = ArrayRecordReader(path)
        found = reader.num_records()
        try:
            reader.close()
            problem = f"it has {found:,} records"
        except RuntimeError as error:
            problem = last_line(error)
        if found != expected:
            raise InputError(
                f"{path} is damaged or incomplete ({problem}; it should have {expected:,} records): restore it, or "
                "build the set again"
            )


def last_line(error: Exception) -> str:
    """Returns the last line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _allow_open_files(folder: Path, count: int) -> None:
    """Raises the process's limit of open files if a set needs it: ImageNet's 1,024 files exceed the usual limit."""
    import resource  # here: not available on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(f"{folder} has {count:,} files, but a process may only open {hard:,}: raise ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

"""Opens the files of a TFDS set and reads single records of them. Without TensorFlow."""

import bisect
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_alexnet.data.readers.tfds_folder import FILE_FORMAT
from resnet_alexnet.errors import InputError

_FILE_NAME_KEYS = ("file_name", "filename", "image/filename")  # what sets call the name of a photograph's own file
_SPARE_FILES = 256  # files that the process may have open besides a set's


class Records:
    """The records of one split of a set; files are opened as they are needed."""

    def __init__(self, folder: Path, split: str, image_key: str, label_key: str):
        from tensorflow_datasets import decode, features

        builder = open_builder(folder)
        _allow_open_files(folder, sum(part.num_shards for part in builder.info.splits.values()))
        own = builder.info.features
        self._name_keys = [key for key in _FILE_NAME_KEYS if key in own and isinstance(own[key], features.Text)]
        # A set of just these features does not parse the others.
        self._features = features.FeaturesDict({key: own[key] for key in (image_key, label_key, *self._name_keys)})
        self._image_key, self._label_key = image_key, label_key
        self._decoders = {image_key: decode.SkipDecoding()}
        self._files = builder.info.splits[split].file_instructions
        self._ends = list(itertools.accumulate(file.take for file in self._files))
        self._source = builder.as_data_source(split, deserialize_method=decode.DeserializeMethod.RAW_BYTES)

    def read(self, position: int) -> tuple[bytes, int]:
        """The encoded image and the label of record number `position` of the split.

        Raises:
            InputError: the file is gone or damaged.
        """
        try:
            example = self._example(position)
        except Exception as error:  # of many kinds: array_record's, protobuf's, TFDS's
            raise InputError(
                f"{self._place(position)} cannot be read ({last_line(error)}): restore the file, or make the set again"
            ) from error
        return example[self._image_key], int(example[self._label_key])

    def where(self, position: int) -> str:
        """The file of a record, its number there, and the name of the photograph's own file if the set has it."""
        try:
            example = self._example(position)
        except Exception:  # a record that cannot be read still has a place
            return self._place(position)
        names = [example[key].decode("utf-8", errors="backslashreplace") for key in self._name_keys]
        return self._place(position) + "".join(f" ({name})" for name in names)

    def _example(self, position: int) -> dict[str, Any]:
        return self._features.deserialize_example_np(self._source[position], decoders=self._decoders)

    def _place(self, position: int) -> str:
        """The file of a record, and its number there."""
        number = bisect.bisect_right(self._ends, position)
        file = self._files[number]
        return f"{file.filename} record {file.skip + position - (self._ends[number] - file.take)}"


@functools.lru_cache(maxsize=16)
def open_records(folder: Path, split: str, image_key: str, label_key: str) -> Records:
    """The records of a split, opened once in a process."""
    return Records(folder, split, image_key, label_key)


def open_builder(folder: Path) -> Any:
    """TFDS's builder of the set in a version folder, for its array_record files.

    Raises:
        InputError: the metadata is damaged.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        # Where the files were converted in place, those of the first format are still there.
        builder.info.set_file_format(FILE_FORMAT, override=True, override_if_initialized=True)
    except Exception as error:  # of many kinds
        raise InputError(
            f"the metadata of {folder} (dataset_info.json, features.json) cannot be read ({last_line(error)}): restore "
            "the files, or make the set again"
        ) from error
    return builder


def check_files(files: Sequence[Any]) -> None:
    """Checks that the files of these TFDS file instructions are there and whole.

    Only the index at a file's end is read; single records have checksums, which `Records.read` checks.

    Raises:
        InputError: a file is missing, cut off or has another number of records than the metadata says.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    for path, expected in {file.filename: file.examples_in_shard for file in files}.items():
        if not Path(path).is_file():
            raise InputError(f"{path} is missing: restore it, or make the set again")
        reader = ArrayRecordReader(path)
        found = reader.num_records()
        try:
            reader.close()
            problem = f"it holds {found:,} records"
        except RuntimeError as error:
            problem = last_line(error)
        if found != expected:
            raise InputError(
                f"{path} is damaged or unfinished ({problem}; {expected:,} records belong there): restore it, or make "
                "the set again"
            )


def last_line(error: Exception) -> str:
    """The last line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _allow_open_files(folder: Path, count: int) -> None:
    """Raises the process's limit of open files where a set has more of them: ImageNet's 1,024 reach the usual limit."""
    import resource  # not on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(f"{folder} has {count:,} files, but the system lets a process open {hard:,}: raise ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

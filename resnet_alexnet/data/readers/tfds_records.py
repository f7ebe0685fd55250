"""Reads single records from the files of a TFDS set, without TensorFlow."""

import bisect
import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from resnet_alexnet.data.readers.tfds_folder import FILE_FORMAT, read_info
from resnet_alexnet.errors import InputError, printable

_FILE_NAME_KEYS = ("file_name", "filename", "image/filename")  # features that hold the original file name
_FEATURES_FILE = "features.json"
# The classes of tfds.features that a set may have features of. For a name that it does not know, TFDS imports a module.
_FEATURES = (
    *("FeaturesDict", "Image", "LabeledImage", "ClassLabel", "Text", "Tensor", "Scalar", "Sequence", "BBoxFeature"),
    *("Audio", "Video", "Dataset"),
)
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
        names = [printable(example[key].decode("utf-8", errors="backslashreplace")) for key in self._name_keys]
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
        InputError: the metadata is damaged, or names a kind of feature that is not known. Nothing that it names is
            imported.
    """
    import tensorflow_datasets as tfds

    try:
        _check_features(folder, tfds.features)
        builder = tfds.builder_from_directory(folder)
        # A set converted in place also has files of its original format, which would be the default.
        builder.info.set_file_format(FILE_FORMAT, override=True, override_if_initialized=True)
    except InputError:
        raise
    except Exception as error:  # of many types
        raise InputError(
            f"the metadata of {folder} (dataset_info.json, features.json) cannot be read ({last_line(error)}): restore "
            "the files, or build the set again"
        ) from error
    return builder


def _check_features(folder: Path, features: Any) -> None:
    """Raises InputError if the metadata names a class that is none of `_FEATURES`, in any of TFDS's forms."""
    known = [getattr(features, name) for name in _FEATURES]
    names = {f"{kind.__module__}.{kind.__name__}" for kind in known}
    names |= {alias for kind in known for alias in vars(kind).get("ALIASES", ())}
    described = json.loads((folder / _FEATURES_FILE).read_text(encoding="utf-8"))
    for named in _named_classes([described, read_info(folder).get("features")]):
        if named not in names:
            raise InputError(
                f"the metadata of {folder} names the class {printable(named)}, which is not loaded (allowed: those of "
                f"tfds.features: {', '.join(kind.__name__ for kind in known)}); build the set again without it"
            )


def _named_classes(value: Any) -> Iterator[str]:
    """Yields the class names in the JSON of features: in the form of today, in the older one, and in JSON in a text."""
    if isinstance(value, list):
        for item in value:
            yield from _named_classes(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in ("pythonClassName", "python_class_name", "type") and isinstance(item, str):
                yield item
            yield from _named_classes(json.loads(item) if key == "json" and isinstance(item, str) else item)


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

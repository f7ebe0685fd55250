"""The splits of a data set as its files have them: in memory, or as encoded photographs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.readers import cifar, fashion_mnist, image_folder, mnist, npz, synthetic, tfds
from resnet_alexnet.data.readers.guest import read_guest
from resnet_alexnet.data.selection import Images, hold_out, select_classes
from resnet_alexnet.errors import InputError, nearest
from resnet_alexnet.files import is_guest


def _read_arrays(name: str, read: Callable[[str], Any]) -> Callable[[str], dict[str, ArraySource]]:
    """A reader of training and test arrays, as a reader of splits."""

    def read_splits(data_dir: str) -> dict[str, ArraySource]:
        train, test, classes = read(data_dir)
        return {
            split: ArraySource(images, labels, classes, name=f"{name} {split}")
            for split, (images, labels) in (("train", train), ("test", test))
        }

    return read_splits


Reader = Callable[[str], Mapping[str, Images]]  # from data_dir to the splits by name

# A reader is entered here and nowhere else. Sets whose files are read as they are published, or as TFDS has them:
PUBLISHED: dict[str, Reader] = {
    "cifar10": _read_arrays("cifar10", cifar.read_cifar10),
    "cifar100": _read_arrays("cifar100", cifar.read_cifar100),
    "fashion_mnist": _read_arrays("fashion_mnist", fashion_mnist.read_fashion_mnist),
    "mnist": _read_arrays("mnist", mnist.read_mnist),
}
# and kinds of files. Any other name is looked up in TFDS's folders, or is that of a user's own.
READERS: dict[str, Reader] = {**PUBLISHED, "npz": npz.read_npz}
OWN_NAMES = (*READERS, "image_folder", "synthetic")


def read_images(
    name: str,
    data_dir: str,
    *,
    validation_fraction: float,
    splits: Mapping[str, str],
    sizes: Mapping[str, int | None],
    test: bool = True,
    report: Callable[[str], None] = print,
) -> Mapping[str, Images]:
    """The splits of the set `name`; the arguments are those of `sources.create_splits`.

    Args:
        name: one of OWN_NAMES, a TFDS set, or a user's own, "path/to/file.py:FUNCTION", see `guest`.
        data_dir: folder or file of the set.
        validation_fraction: part of the training set to hold out, by those readers that do so themselves.
        splits: train_split, validation_split and test_split, of a TFDS set.
        sizes: image_size, channels, num_classes and num_examples, of "synthetic".
        test: whether to include the test split. If not, none of its photographs is read, but a set of arrays is opened
            as a whole.
        report: called with each line about files that are left out.

    Raises:
        InputError: unknown name; missing or damaged files; an option that the set does not have.
    """
    options = {"validation_fraction": validation_fraction, "splits": splits, "sizes": sizes, "report": report}
    images = _read(name, data_dir, **options)
    return images if test else {split: part for split, part in images.items() if split != "test"}


def _read(
    name: str,
    data_dir: str,
    *,
    validation_fraction: float,
    splits: Mapping[str, str],
    sizes: Mapping[str, int | None],
    report: Callable[[str], None],
) -> Mapping[str, Images]:
    """All splits of the set, see `read_images`."""
    if name == "synthetic":
        return _make(data_dir, validation_fraction, sizes)
    is_own = name in OWN_NAMES and (name not in PUBLISHED or not tfds.find_tfds(name, data_dir))
    if is_guest(name) or is_own:
        for option, value in splits.items():
            if value:
                raise InputError(f"dataset.{option}={value!r} is for the sets of TFDS; leave it empty for {name}")
        if name == "image_folder":
            return image_folder.read_image_folder(data_dir, report=report)
        return read_guest(name, data_dir) if is_guest(name) else READERS[name](data_dir)
    hint = nearest(name, OWN_NAMES)
    if not data_dir or (hint and name not in OWN_NAMES and not tfds.find_tfds(name, data_dir)):
        found = f"; {data_dir!r} holds no such set" if data_dir else ", which is empty"
        raise InputError(
            f"dataset.name is {name!r}{hint} (allowed: {', '.join(OWN_NAMES)}, your own FILE.py:FUNCTION or a set of "
            f"TFDS in dataset.data_dir{found})"
        )
    return tfds.read_tfds(name, data_dir, validation_fraction=validation_fraction, **splits)


def _make(data_dir: str, validation_fraction: float, asked: Mapping[str, int | None]) -> dict[str, ArraySource]:
    """The splits of synthetic data, of the sizes asked for."""
    if data_dir:
        raise InputError(f"data_dir={data_dir!r}: synthetic data is made, not read; leave data_dir empty")
    sizes = {option: value for option, value in asked.items() if value is not None}
    return synthetic.make_sources(validation_fraction=validation_fraction, **sizes)


def divide(
    images: Mapping[str, Images], validation_fraction: float, classes: Sequence[str], *, name: str
) -> tuple[dict[str, Images], Sequence[str]]:
    """Holds the validation set out and selects the classes, as far as the labels are known before the images are read.

    Returns:
        The splits, and the classes that are still to be selected.
    """
    divided = dict(images)
    if classes and all(part.labels is not None for part in divided.values()):
        divided = {split: select_classes(part, classes, name=f"{name} {split}") for split, part in divided.items()}
        classes = ()
    if "validation" not in divided and "train" in divided:
        train, validation = hold_out(divided["train"], validation_fraction, name=f"{name} train")
        divided |= {"train": train} if validation is None else {"train": train, "validation": validation}
    return divided, classes

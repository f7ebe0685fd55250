"""Writes small sets into files like those in which MNIST, Fashion-MNIST and CIFAR are published."""

import gzip
import io
import pickle
import tarfile

import numpy as np

CIFAR_TRAIN_FILES = {
    "cifar10": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "cifar100": ("train.bin",),
}
CIFAR_TEST_FILES = {"cifar10": ("test_batch.bin",), "cifar100": ("test.bin",)}


def idx_bytes(array):
    """An IDX file of bytes."""
    header = bytes([0, 0, 8, array.ndim])
    return header + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def write_idx_files(folder, num_train=20, num_test=10, suffix="", dash="-"):
    """Writes the four IDX files; gives (images, labels) of "train" and "t10k" back."""
    rng = np.random.default_rng(0)
    written = {}
    for prefix, count in (("train", num_train), ("t10k", num_test)):
        images = rng.integers(256, size=(count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in (("images", images), ("labels", labels)):
            data = idx_bytes(array)
            path = folder / f"{prefix}-{name}{dash}idx{array.ndim}-ubyte{suffix}"
            path.write_bytes(gzip.compress(data) if suffix else data)
        written[prefix] = images, labels
    return written


def write_cifar(folder, name, records):
    """Writes the files of "cifar10" or "cifar100", all with `records` records; gives (images, labels) by file back."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    num_classes = {"cifar10": 10, "cifar100": 100}[name]
    written = {}
    for file in (*CIFAR_TRAIN_FILES[name], *CIFAR_TEST_FILES[name]):
        images = rng.integers(256, size=(records, 32, 32, 3), dtype=np.uint8)
        labels = rng.integers(num_classes, size=records)
        with (folder / file).open("wb") as stream:
            for image, label in zip(images, labels, strict=True):
                planes = [image[:, :, channel].tobytes() for channel in range(3)]
                coarse = [label // 5] if name == "cifar100" else []
                stream.write(bytes([*coarse, label]) + b"".join(planes))
        written[file] = images, labels
    if name == "cifar10":
        classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
        (folder / "batches.meta.txt").write_text("\n".join(classes) + "\n\n")  # the archive's ends with an empty line
    else:
        (folder / "fine_label_names.txt").write_text("".join(f"fine_{label}\n" for label in range(100)))
        (folder / "coarse_label_names.txt").write_text("".join(f"coarse_{label}\n" for label in range(20)))
    return written


def pickle_cifar(binary, folder, name, written, *, protocol=2):
    """Writes the Python version of what `write_cifar` wrote into the folder `binary`."""
    folder.mkdir()
    key = {"cifar10": b"label_names", "cifar100": b"fine_label_names"}[name]
    names = (binary / {"cifar10": "batches.meta.txt", "cifar100": "fine_label_names.txt"}[name]).read_text().split()
    files = {
        file.removesuffix(".bin"): {b"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1).copy()}
        | {b"labels" if name == "cifar10" else b"fine_labels": labels.tolist(), b"batch_label": b"a batch"}
        | ({b"coarse_labels": (labels // 5).tolist()} if name == "cifar100" else {})
        for file, (images, labels) in written.items()
    }
    files[{"cifar10": "batches.meta", "cifar100": "meta"}[name]] = {key: [name.encode() for name in names]}
    for file, values in files.items():
        (folder / file).write_bytes(pickle.dumps(values, protocol=protocol))


def pack(folder, path):
    """Packs a folder into a `.tar.gz`, as the CIFAR archives are packed."""
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=folder.name, recursive=False)
        for file in sorted(folder.iterdir(), reverse=True):
            data = file.read_bytes()
            member = tarfile.TarInfo(f"{folder.name}/{file.name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

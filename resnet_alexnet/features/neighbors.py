"""Nearest neighbors in feature space."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from resnet_alexnet.plots import grid

_ROWS = 4096  # images whose distances are computed at a time
_COUNT = 6  # neighbors per query, as in [K12] figure 4


def choose_examples(labels: Int[np.ndarray, "images"], count: int) -> Int[np.ndarray, "count"]:
    """Chooses images of many classes: the first of each class, evenly spaced over classes, then the second ones."""
    classes, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels), np.int64)  # the rank of an image within its class
    rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    in_turn = np.lexsort((inverse, rank))
    if count >= len(classes):
        return in_turn[:count]
    return in_turn[np.arange(count) * len(classes) // count]


def find_neighbors(
    queries: Float32[np.ndarray, "queries ..."],
    among: Float32[np.ndarray, "images ..."],
    *,
    count: int,
    same: Sequence[int] | None = None,
) -> tuple[Int[np.ndarray, "queries count"], Float32[np.ndarray, "queries count"]]:
    """Finds the rows of `among` nearest to each query, nearest first, and their Euclidean distances.

    Args:
        queries: the features of the queries.
        among: the features to search.
        count: neighbors per query.
        same: the rows of `among` that are the queries themselves; a query is not its own neighbor. None if there are
            no such rows.

    Source: [K12] section 6.1 and figure 4.
    """
    queries, among = (x.reshape(len(x), -1) for x in (queries, among))
    indices = np.empty((len(queries), count), np.int64)
    distances = np.empty((len(queries), count), np.float32)
    for i, query in enumerate(queries):
        parts = [np.linalg.norm(among[start : start + _ROWS] - query, axis=1) for start in range(0, len(among), _ROWS)]
        distance = np.concatenate(parts)
        if same is not None:
            distance[same[i]] = np.inf
        indices[i] = np.argsort(distance, kind="stable")[:count]
        distances[i] = distance[indices[i]]
    return indices, distances


def draw_neighbors(queries: Any, among: Any, output: Path, *, rows: int, same: bool) -> None:
    """Draws images and their nearest neighbors.

    Args:
        queries: (source, features, labels) of the images to choose queries from.
        among: (source, features, labels) of the images to search for neighbors.
        output: the PNG to write.
        rows: the number of queries, one per row.
        same: whether both are the same split; then an image is not its own neighbor.
    """
    (source, features, labels), (others, other_features, other_labels) = queries, among
    chosen = choose_examples(labels, rows)
    count = min(_COUNT, len(others) - same)
    found, distances = find_neighbors(
        features[chosen], other_features, count=count, same=chosen.tolist() if same else None
    )
    cells = []
    for index, row, distance in zip(chosen, found, distances, strict=True):
        own = source.classes[labels[index]]
        cells.append([grid.Cell(source.gather(np.array([index]))["image"][0], own)])
        for image, label, far in zip(others.gather(row)["image"], other_labels[row], distance, strict=True):
            name = others.classes[label]
            cells[-1].append(grid.Cell(image, f"{name}\n{far:.3g}", frame="" if name == own else grid.WRONG))
    grid.draw(cells, output, gap_after=1)

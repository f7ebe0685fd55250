"""The names by which the splits of a data set go, in folders and in lists."""

import re
from typing import NamedTuple

# In small letters. The first is what messages call the split.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_SPLITS = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_USUAL = (
    r"(?:(?:data)?sets?|data|images?|imgs?|photos?|pictures?|pics?|splits?|folders?|dir|\d+)"  # train_set, train2017
)
_NAME = re.compile(
    rf"(?:(?P<before>.+?)[ _.-]+)?(?P<word>{'|'.join(sorted(_SPLITS, key=len, reverse=True))})"
    rf"(?P<after>(?:[ _.-]*{_USUAL})*|[ _.-].+)"
)


class SplitName(NamedTuple):
    """The name of a folder that is perhaps a split.

    Attributes:
        split: the split.
        form: what is before and behind the word for the split; empty for the word alone. "seg_train" and "seg_test"
            have the same form.
        is_usual: whether folders of splits are often called so; other names may be those of classes too.
    """

    split: str
    form: str
    is_usual: bool


def read_split_name(name: str) -> SplitName | None:
    """Reads the name of a folder, such as "train", "Training Data" or "seg_train"; None if it has no split's name."""
    match = _NAME.fullmatch(name.lower().strip())
    if match is None:
        return None
    before, after = match["before"] or "", match["after"]
    is_usual = all(re.fullmatch(rf"(?:[ _.-]*{_USUAL})*", part) for part in (before, after))
    form = f"{before}*{after}" if before or after else ""
    return SplitName(_SPLITS[match["word"]], form, is_usual)


def split_of(text: str) -> str | None:
    """The split that a list names; None if it is none of SPLIT_NAMES."""
    return _SPLITS.get(text.strip().lower())

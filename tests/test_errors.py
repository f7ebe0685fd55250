"""Text from outside, made printable, and what to do about a file that cannot be written."""

import errno
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet.errors import printable, remedy


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat", "cat"),
        ("Bär 猫 \u3000😀 50 %", "Bär 猫 \u3000😀 50 %"),
        ("\x1b[31mred\n\t\r\x07\x7f\x9b", r"\x1b[31mred\n\t\r\x07\x7f\x9b"),
        ("\u202egpj.exe\u2066\u2028\u200b", r"\u202egpj.exe\u2066\u2028\u200b"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("[red]{}$x$", "[red]{}$x$"),
        ("\U000e0041", r"\U000e0041"),  # an invisible tag
    ],
)
def test_what_a_terminal_could_obey_becomes_an_escape(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_is_left_that_a_terminal_could_obey(text):
    shown = printable(text)
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown.encode("utf-8")
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("error", "first"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space there"),
        (
            ValueError("RESOURCE_EXHAUSTED: Error writing x [OS error 122: Disk quota exceeded]"),
            "free some space there",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), "make the folder writable"),
        (UnicodeEncodeError("utf-8", "z", 0, 1, "surrogates not allowed"), "make the folder writable"),
    ],
)
def test_only_a_full_disk_needs_space(error, first):
    assert remedy(error).startswith(f"{first} and run the same command again; it resumes")

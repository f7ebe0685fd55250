"""The photographs that a user names."""

import io
import os
import sys

import pytest

from resnet_alexnet.data.images.decode import UnreadableImageError
from resnet_alexnet.errors import InputError
from resnet_alexnet.predict import photographs
from resnet_alexnet.predict.photographs import find_photographs


def names(*arguments):
    return [photograph.name for photograph in find_photographs(*arguments)]


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.jpg", "deep/er/C.JPEG", "notes.txt", ".hidden.png", ".thumbs/d.png"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    return tmp_path


def test_files_come_in_the_order_given_and_are_not_looked_at(folder):
    missing, text = str(folder / "none.jpg"), str(folder / "notes.txt")
    found = list(find_photographs([text, missing]))
    assert [photograph.name for photograph in found] == [text, missing]
    assert found[0].read() == b"notes.txt"
    with pytest.raises(FileNotFoundError):
        found[1].read()


def test_a_name_that_is_too_long_is_a_photograph_that_cannot_be_read(folder):
    too_long, text = "a" * 300 + ".jpg", str(folder / "notes.txt")
    found = list(find_photographs([too_long, text]))
    assert [photograph.name for photograph in found] == [too_long, text]
    with pytest.raises(OSError, match="File name too long"):
        found[0].read()


def test_a_file_without_an_end_is_refused_before_it_fills_memory(folder, monkeypatch):
    monkeypatch.setattr(photographs, "_MOST_BYTES", 2**22)
    with open(folder / "huge.png", "wb") as file:
        file.truncate(2**33)
    for name in (folder / "huge.png", "/dev/zero"):
        (endless,) = find_photographs([str(name)])
        with pytest.raises(UnreadableImageError, match="the file has more than 4,194,304 bytes"):
            endless.read()


def test_an_empty_word_is_not_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert names([""]) == []


def test_a_list_may_have_a_mark_at_its_beginning_and_blanks(folder):
    (folder / "list").write_bytes(b"\xef\xbb\xbfone.jpg \r\n  \r\ntwo words.jpg\r\n")
    assert names([], str(folder / "list")) == ["one.jpg", "two words.jpg"]


def test_a_folder_stands_for_all_photographs_below_it_but_hidden_ones(folder):
    assert names([str(folder)]) == [str(folder / name) for name in ("a.jpg", "b.png", "deep/er/C.JPEG")]


def test_an_image_and_a_list_are_read_from_standard_input(folder, monkeypatch):
    class Input(io.StringIO):
        buffer = io.BytesIO(b"an image")

    monkeypatch.setattr(sys, "stdin", Input("one.jpg\n\ntwo words.jpg\n"))
    (photograph,) = find_photographs(["-"])
    assert (photograph.name, photograph.read()) == ("standard input", b"an image")
    assert names(["zero.jpg"], "-") == ["zero.jpg", "one.jpg", "two words.jpg"]


@pytest.mark.parametrize(("words", "listed"), [(["-", "-"], ""), (["-"], "-")])
def test_standard_input_is_not_read_twice(words, listed, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(InputError, match="standard input can be read only once"):
        names(words, listed)


def test_a_list_that_cannot_be_read_is_named(folder):
    with pytest.raises(InputError, match=r"--list=nowhere.txt cannot be read: No such file"):
        names([], "nowhere.txt")
    (folder / "list").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is not UTF-8 text"):
        names([], str(folder / "list"))


def test_a_name_that_is_no_text_can_be_printed_and_its_file_read(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"an image")
    (photograph,) = find_photographs([str(tmp_path)])
    assert photograph.name.encode().endswith(rb"caf\xe9.png")
    assert photograph.read() == b"an image"


def test_a_folder_has_what_its_files_have_one_by_one(tmp_path):
    for name in ("a.jfif", "b.JPE", "c.tif", "d.GIF", "e.avif", "f.ppm", "g.pgm", "h.heic", "i"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")  # a JPEG, whatever it is called
    (tmp_path / "k.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir" / "thumb.jpg").touch()
    lines = []
    found = [photograph.name for photograph in find_photographs([str(tmp_path)], report=lines.append)]
    assert found == names(sorted(str(path) for path in tmp_path.glob("[a-i]*")))
    assert lines == [
        f"left out of {tmp_path}: 1 .heic, images of kinds that are not read; convert them to JPEG",
        f"passed over in {tmp_path}: 1 @eaDir, folders that systems leave behind",
    ]


def test_the_home_folder_may_be_written_short(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert names(["~/deep"]) == [str(folder / "deep" / "er" / "C.JPEG")]
    (folder / "list").write_text("~/a.jpg\n")
    (photograph,) = find_photographs([], "~/list")
    assert photograph.read() == b"a.jpg"


def test_names_that_would_steer_a_terminal_are_escaped(tmp_path):
    (tmp_path / "\x1b[31m\n.jpg").write_bytes(b"an image")
    (photograph,) = find_photographs([str(tmp_path)])
    assert photograph.name == f"{tmp_path}/\\x1b[31m\\n.jpg"
    assert photograph.read() == b"an image"

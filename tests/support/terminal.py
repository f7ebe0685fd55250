"""A terminal of our own: programs write to it, and tests read its screen."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios


def run_on_a_terminal(program: str, *, columns: int = 80, term: str = "xterm-256color", encoding: str = "utf-8") -> str:
    """Runs a program under a pseudo-terminal and returns all that it sent there."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": term, "PYTHONIOENCODING": encoding}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    received = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not piece:
            break
        received += piece
    os.close(master)
    assert process.wait() == 0, received.decode(encoding)
    return received.decode(encoding)


def screen(stream: str) -> list[str]:
    """Plays a stream of text and cursor moves on an endless screen; returns its lines without trailing blanks."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", stream):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
            lines.extend([""] * (row + 1 - len(lines)))
        elif token == "\x1b[2K":
            lines[row] = ""
        elif re.fullmatch(r"\x1b\[\d*A", token):
            row -= int(token[2:-1] or 1)
        elif not token.startswith("\x1b"):
            line = lines[row].ljust(column)
            lines[row] = line[:column] + token + line[column + len(token) :]
            column += len(token)
    return [line.rstrip() for line in lines]

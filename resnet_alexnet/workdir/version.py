"""Which code runs: the git commit, and a digest of the files themselves."""

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def git_commit() -> str | None:
    """The git commit of this package's checkout, with "+changes" if files differ from it; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        root = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, text=True)
        if root.returncode:
            return None  # installed, not in a checkout
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+changes" if changes.strip() else commit


def source_digest(others: Iterable[Path] = ()) -> str:
    """A digest of the package's Python files and of some others; equal for equal code, committed or not."""
    hasher = hashlib.blake2b(digest_size=6)
    for file in [*sorted(PACKAGE.rglob("*.py")), *others]:
        inside = file.relative_to(PACKAGE).as_posix() if file.is_relative_to(PACKAGE) else file.name
        hasher.update(f"{inside}\n".encode() + file.read_bytes())
    return hasher.hexdigest()

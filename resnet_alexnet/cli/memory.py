"""How memory is kept: what a training step frees is for the next one, in huge pages; garbage is collected seldom."""

import contextlib
import ctypes
import functools
import gc
import os
import sys
from pathlib import Path

# glibc's options by number, from malloc.h, and values.
_ARENA_MAX, _MMAP_MAX, _MMAP_THRESHOLD, _TOP_PAD, _TRIM_THRESHOLD = -8, -4, -3, -2, -1
_ALWAYS = {_ARENA_MAX: 1, _TRIM_THRESHOLD: 2**31 - 1}
_LARGE_KEPT = {_TOP_PAD: 2**28, _MMAP_MAX: 0}
_LARGE = 2**25  # bytes, the most that glibc takes for _MMAP_THRESHOLD
_LARGE_GIVEN_BACK = {_TOP_PAD: 2**24, _MMAP_THRESHOLD: _LARGE}  # a pad of less than a large buffer

_TUNABLES, _HUGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_STARTED_AGAIN = "RESNET_ALEXNET_STARTED_AGAIN"  # has what _TUNABLES was before
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_SINCE = (2, 35)  # the version of glibc that has the option

_COMPILED = "/jax/core/compile/backend_compile_duration"  # jax's event: a program was compiled
_LEAST_SECONDS = 0.5  # of a compilation that leaves much memory

_has_huge_pages = False


def use_huge_pages() -> None:
    """Starts this process again, once, so that glibc takes memory in huge pages: it reads the option at its start only.

    Call it before anything else is done. The process keeps its number, its command line and its files; processes that
    it starts do not have the option. Where the system gives huge pages to all or to nobody, or glibc is older than
    2.35, or the user has set the option, nothing is started.
    """
    global _has_huge_pages
    if _STARTED_AGAIN in os.environ:
        _has_huge_pages = True
        if before := os.environ.pop(_STARTED_AGAIN):
            os.environ[_TUNABLES] = before
        else:
            os.environ.pop(_TUNABLES, None)
    elif not _has_huge_pages and "[madvise]" in _setting() and _is_new_glibc():
        before = os.environ.get(_TUNABLES, "")
        if _HUGE_PAGES.partition("=")[0] in before:  # the user's choice
            _has_huge_pages = _HUGE_PAGES in before.split(":")
            return
        own = {_STARTED_AGAIN: before, _TUNABLES: f"{before}:{_HUGE_PAGES}".lstrip(":")}
        with contextlib.suppress(OSError):  # without a Python to start, it goes on as it is
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | own)


def _setting() -> str:
    """Who has huge pages, in brackets: "always [madvise] never"; empty where the system has none."""
    try:
        return _SETTING.read_text()
    except OSError:
        return ""


def _is_new_glibc() -> bool:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return name == "glibc" and tuple(map(int, version.split(".")[:2])) >= _SINCE
    except (OSError, ValueError):  # another library
        return False


def collect_less_often() -> None:
    """Collects garbage every 5,000 new objects: imports and tracing make many that stay.

    Every 700, as by default, took 8 % of the time that a command needs to start.
    """
    gc.set_threshold(5_000)


@functools.cache
def keep_freed() -> None:
    """From here on glibc keeps freed memory for this process, up to 2 GiB, instead of giving it back to the system.

    A training step on a CPU frees hundreds of large buffers. Given back, each step takes them again page by page, which
    is a tenth to a sixth of its time. Without glibc this does nothing.

    With huge pages, pages are taken again quickly, so buffers of 32 MiB and more are given back. If they are kept, the
    largest buffer of a step often does not fit where that of the last step was, since glibc needs a few bytes more to
    align it: the process of ResNet-50 took up to three times as much memory. Nor may a large buffer lie in the memory
    that glibc takes in advance: that of ResNet-20, 233 MB, fitted there in some steps only, and was then kept twice.

    What the compiler has freed is given back when it is done: it lies in small pieces, into which no buffer fits. And a
    step on a CPU begins when the one before has ended, not while that still has its memory. Call it before jax has
    looked for devices.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        has_huge_pages = _has_huge_pages or "[always]" in _setting()
        for option, value in (_ALWAYS | (_LARGE_GIVEN_BACK if has_huge_pages else _LARGE_KEPT)).items():
            library.mallopt(option, value)

        def give_back(event: str, duration_secs: float, **kwargs: object) -> None:
            if event == _COMPILED and duration_secs >= _LEAST_SECONDS:
                library.malloc_trim(0)

        jax.monitoring.register_event_duration_secs_listener(give_back)

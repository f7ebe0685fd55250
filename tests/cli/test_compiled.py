"""Compiled programs that are kept for the next process: where, for whom, how many, and that nothing else changes."""

import importlib
import os
import stat
import subprocess
import sys

import jax
import pytest

from resnet_alexnet.__main__ import COMMANDS
from resnet_alexnet.cli import compiled
from resnet_alexnet.errors import printable
from resnet_alexnet.main import main as train
from resnet_alexnet.parallel import hosts
from tests.support import processes, tiny
from tests.support.trees import assert_same_leaves

SETTINGS = (
    "jax_enable_compilation_cache",
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_enable_xla_caches",
)
# Compiles three programs, and says how many it asked for, found and wrote.
PROGRAM = """
import sys, warnings
from collections import Counter
from resnet_alexnet.cli import compiled
warnings.simplefilter("error")
compiled.keep(sys.argv[1] == "true")
import jax, numpy
counts = Counter()
jax.monitoring.register_event_listener(lambda event, **_: counts.update([event.rpartition("/")[2]]))
x = numpy.ones((3, 3), numpy.float32)
values = [jax.jit(f)(x) for f in (jax.numpy.tanh, jax.numpy.linalg.norm, lambda x: x @ x)]
print([numpy.asarray(value).tobytes().hex() for value in values])
print(*(counts[name] for name in ("compile_requests_use_cache", "cache_hits", "cache_misses")))
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder, which is not made yet; what is set of jax is reset at the end."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in SETTINGS[1:]:
        monkeypatch.delenv(name.upper(), raising=False)
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path / "cache" / "resnet_alexnet" / "compiled"
    for name, value in before.items():
        jax.config.update(name, value)


def start(cache, *arguments, **variables):
    """A process that keeps programs in `cache`, as outside of the tests."""
    environment = {**processes.environment(cache), "XDG_CACHE_HOME": str(cache.parents[1]), **variables}
    del environment["JAX_COMPILATION_CACHE_DIR"], environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], cwd=processes.CHECKOUT, env=environment, **pipes)


def finish(process):
    """The lines of a process that has gone well."""
    with process:
        output, errors = process.communicate(timeout=processes.SECONDS)
    assert (process.returncode, errors) == (0, "")
    return output.splitlines()


def programs(cache):
    """The names of the programs that are there, each with the file of its last use."""
    names = sorted(path.name.removesuffix("-cache") for path in cache.glob("*-cache"))
    assert names == sorted(path.name.removesuffix("-atime") for path in cache.glob("*-atime"))
    return names


def test_the_folder_is_private_and_bounded_and_small_programs_are_kept(cache, capsys):
    compiled.keep(True)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert jax.config.jax_compilation_cache_dir == os.path.realpath(cache)
    assert 0 < jax.config.jax_compilation_cache_max_size <= 2**30
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0
    assert capsys.readouterr() == ("", "")


def test_what_the_environment_sets_stays(cache, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "3")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 3.0)
    compiled.keep(True)
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 3
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    compiled.keep(True)
    assert jax.config.jax_compilation_cache_dir == "elsewhere"


def test_without_it_nothing_is_made(cache, monkeypatch):
    jax.config.update("jax_enable_compilation_cache", False)
    compiled.keep(True)
    assert jax.config.jax_compilation_cache_dir is None
    jax.config.update("jax_enable_compilation_cache", True)
    compiled.keep(False)
    assert not jax.config.jax_enable_compilation_cache
    assert not cache.exists()


def below_a_file(cache, monkeypatch):
    cache.parents[1].write_text("")


def somebody_elses(cache, monkeypatch):
    uid = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def writable_by(bits):
    def make(cache, monkeypatch):
        cache.mkdir(parents=True)
        cache.chmod(0o700 | bits)

    return make


def replaceable(cache, monkeypatch):
    cache.parents[1].mkdir()
    cache.parents[1].chmod(0o777)


def without_a_home(cache, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)


def read_only(cache, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # permissions do not hold back root


def on_a_disk_without_locks(cache, monkeypatch):
    def acquire(*_, **__):
        raise NotImplementedError("no locks here")

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (below_a_file, "{cache} cannot be written: Not a directory"),
        (read_only, "{cache} cannot be written: Permission denied"),
        (on_a_disk_without_locks, "{cache} cannot be written: no locks here"),
        (without_a_home, "there is no home folder for ~/.cache/resnet_alexnet/compiled"),
        (somebody_elses, "{cache} belongs to another user"),
        (writable_by(0o020), "others can write to {cache}: remove it"),
        (writable_by(0o002), "others can write to {cache}: remove it"),
        (replaceable, "others can replace {cache}, because anybody can write to {parent}"),
    ],
)
def test_a_folder_that_cannot_be_used_or_trusted_is_one_note(cache, monkeypatch, capsys, make, reason):
    make(cache, monkeypatch)
    compiled.keep(True)
    assert jax.config.jax_compilation_cache_dir is None
    output, errors = capsys.readouterr()
    reason = reason.format(cache=os.path.realpath(cache), parent=os.path.realpath(cache.parents[1]))
    advice = "set JAX_COMPILATION_CACHE_DIR to another folder, or give --compile_cache=false"
    assert (output, errors) == ("", f"note: compiled programs are not kept: {printable(reason)} ({advice})\n")


def test_half_written_programs_are_removed_and_of_too_many_those_not_used_for_longest(cache, monkeypatch):
    monkeypatch.setattr(compiled, "_MOST_PROGRAMS", 8)
    cache.mkdir(parents=True, mode=0o700)
    for number in range(12):
        for suffix in ("cache", "atime"):
            (cache / f"{number}-{suffix}").write_bytes(b"x")
        os.utime(cache / f"{number}-atime", (1e9, 1e9 + number))
    (cache / "half-cache").write_bytes(b"x")
    (cache / "gone-atime").write_bytes(b"x")
    compiled.keep(True)
    assert programs(cache) == sorted(str(number) for number in range(6, 12))
    compiled.keep(True)
    assert len(programs(cache)) == 6


def test_a_second_process_compiles_nothing_and_computes_the_same(cache):
    off = finish(start(cache, "-c", PROGRAM, "false"))
    assert not cache.exists()
    cold = finish(start(cache, "-c", PROGRAM, "true"))
    kept = programs(cache)
    warm = finish(start(cache, "-c", PROGRAM, "true"))
    assert programs(cache) == kept
    assert cold[0] == warm[0] == off[0]
    asked, found, written = map(int, cold[1].split())
    assert asked == written == len(kept) >= 3
    assert found == 0
    assert warm[1] == f"{asked} {asked} 0"
    assert off[1] == "0 0 0"


def test_processes_may_share_the_folder_at_once(cache):
    several = [start(cache, "-c", PROGRAM, "true") for _ in range(3)]
    assert len({finish(process)[0] for process in several}) == 1
    kept = len(programs(cache))
    assert finish(start(cache, "-c", PROGRAM, "true"))[1] == f"{kept} {kept} 0"


def test_a_damaged_program_is_compiled_again_without_a_word(cache):
    cold = finish(start(cache, "-c", PROGRAM, "true"))
    for file in cache.glob("*-cache"):
        file.write_bytes(file.read_bytes()[:-9])
    again = finish(start(cache, "-c", PROGRAM, "true"))
    assert again[0] == cold[0]
    asked, found, _ = map(int, again[1].split())
    assert asked >= 3
    assert found == 0


@pytest.mark.slow
def test_a_run_is_bitwise_the_same_with_kept_programs_and_its_second_start_adds_none(cache, tmp_path):
    config = tiny.config(num_steps=6)
    words = processes.words(config)

    def run(name, *flags):
        finish(start(cache, *processes.MAIN, *words, f"--workdir={tmp_path / name}", *flags))
        return processes.saved_leaves(tmp_path / name, config), processes.log_lines(tmp_path / name)

    off = run("off", "--compile_cache=false")
    assert not cache.exists()
    cold = run("cold")
    kept = programs(cache)
    warm = run("warm")
    assert programs(cache) == kept
    for leaves, lines in (cold, warm):
        assert_same_leaves(leaves, off[0])
        assert lines == off[1]


CALLS = {  # of each command that has the flag
    "main": ["--config=quickstart", "--workdir={tmp}/run"],
    "evaluate.__main__": ["--config=quickstart", "--weights={tmp}/file"],
    "predict.__main__": ["--weights={tmp}/file", "photo.png"],
    "features.__main__": ["--config=quickstart", "--weights={tmp}/file", "--output={tmp}/features.npz"],
    "recalibrate": ["--config=quickstart", "--weights={tmp}/file", "--output={tmp}/exact.safetensors"],
    "preview": ["--config=quickstart", "--output={tmp}/preview.png"],
    "signals": ["--workdir={tmp}"],
    "probe": ["--config=quickstart", "--weights={tmp}/file"],
    "robustness": ["--config=quickstart", "--weights={tmp}/file"],
}


def test_the_calls_are_of_all_commands_with_the_flag():
    def has_it(module: str) -> bool:
        parser = importlib.import_module(f"resnet_alexnet.{module}").create_parser()
        return "--compile_cache" in parser._option_string_actions

    assert set(CALLS) == set(filter(has_it, COMMANDS.values()))


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("command", CALLS)
def test_every_command_that_compiles_does_so_after_this(command, value, tmp_path, monkeypatch):
    class Reached(BaseException):
        pass

    def keep(wanted):
        assert wanted is value
        raise Reached

    monkeypatch.setattr(compiled, "keep", keep)
    (tmp_path / "file").write_text("")
    words = [word.format(tmp=tmp_path) for word in CALLS[command]]
    with pytest.raises(Reached):
        importlib.import_module(f"resnet_alexnet.{command}").main([*words, f"--compile_cache={value}"])


def test_processes_that_train_together_do_without(tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "detect", lambda *_: hosts.Processes("localhost", 1, 2, 0))
    monkeypatch.setattr(compiled, "keep", lambda _: pytest.fail("programs are kept"))
    monkeypatch.setattr("resnet_alexnet.main.exit_at_once_with", lambda *_, **__: None)
    train(["--config=quickstart", f"--workdir={tmp_path / 'run'}"])

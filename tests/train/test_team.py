"""What the processes of a team say of an error that one of them has, with threads as the processes."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.parallel.census import Census
from resnet_alexnet.train.team import Team
from resnet_alexnet.workdir.lock import locked
from tests.support.ports import free_ports


def together(block) -> list[str]:
    """What each of two processes raises in `block`, which is called with its team and number; "" for nothing."""
    port = free_ports(2)

    def process(number: int) -> str:
        with Census(("127.0.0.1", port), 2, number, host=f"host{number}", seconds=20) as census:
            try:
                block(Team(census, writes=number == 0), number)
            except (InputError, TrainingError) as error:
                return f"{type(error).__name__}: {error}"
            return ""

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(process, range(2)))


@pytest.mark.parametrize("kind", [InputError, TrainingError])
def test_an_error_of_one_has_its_name_on_the_others_alone(kind):
    def block(team, number):
        with team.agreeing():
            if number == 1:
                raise kind("no data here")

    assert together(block) == ["DisagreementError: process 1 (host1): no data here", f"{kind.__name__}: no data here"]


def test_each_has_its_own_error():
    def block(team, number):
        with team.agreeing():
            raise InputError(f"no file {number}")

    assert together(block) == ["InputError: no file 0", "InputError: no file 1"]


def test_a_run_folder_in_use_is_refused_on_all(tmp_path):
    def block(team, number):
        with team.locked(tmp_path):
            pytest.fail("two runs have the folder")

    with locked(tmp_path):
        first, second = together(block)
    assert first.startswith(f"InputError: --workdir={tmp_path} is in use by process ")
    assert second == first.replace("InputError: ", "DisagreementError: process 0 (host0): ")

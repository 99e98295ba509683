import signal
import subprocess
import threading

import pytest

from vla_bench.interrupts import deferred, held, out_of_reach


@pytest.fixture(autouse=True)
def usual_handler():
    # A test run started in the background of a shell inherits an ignored SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def held_work(times, done):
    with held():
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        done.append(times)


def test_ctrl_c_waits_for_the_end_of_held_work():
    done = []
    with pytest.raises(KeyboardInterrupt):
        held_work(1, done)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_of_two_held_ctrl_c_the_first_is_deferred_and_the_second_stops():
    told = []
    with deferred(lambda: told.append(1)) as asked:
        held_work(1, [])
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            held_work(1, [])
    assert told == [1]


def test_two_ctrl_c_within_one_held_piece_stop():
    with deferred(lambda: None) as asked:
        with pytest.raises(KeyboardInterrupt):
            held_work(2, [])
        assert asked()


def test_a_thread_other_than_the_main_one_holds_nothing():
    thread = threading.Thread(target=held_work, args=(0, []))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_out_of_reach_outlives_ctrl_c():
    with out_of_reach():
        child = subprocess.Popen(["sleep", "60"])
    child.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    child.kill()
    assert child.wait() == -signal.SIGKILL

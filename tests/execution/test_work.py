"""The queue of items: each is played once, environments are kept, failures are tried again elsewhere."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bench.execution.work import ATTEMPTS, Failure, WorkQueue
from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord


def item(task, index):
    return WorkItem(
        suite="s",
        version=1,
        task=task,
        trial=0,
        index=index,
        seed=index,
        instruction="go",
        initial_state={},
    )


def items(counts):
    return [item(f"task-{t}", i) for t, count in enumerate(counts) for i in range(count)]


def played(of):
    return EpisodeRecord.failed(of, "p", 1, "").model_copy(update={"reason": "success"})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(1, 4), st.randoms(), st.data()
)
def test_every_item_gets_one_record_whoever_fails(counts, workers, luck, data):
    wanted = items(counts)
    queue = WorkQueue(wanted, "p", 1)
    tasks, records = dict.fromkeys(range(workers)), []
    while queue:
        worker = luck.randrange(workers)
        if not queue.left(tasks[worker]):
            tasks[worker] = queue.choose_task([t for w, t in tasks.items() if w != worker])
        taken = queue.take(tasks[worker], worker)
        fails = data.draw(st.booleans())
        outcome = Failure(taken, "fell over") if fails else played(taken)
        record = queue.settle(outcome, worker)
        records += [record] if record else []
    assert sorted(r.item for r in records) == sorted(i.digest for i in wanted)


def test_workers_spread_over_tasks_and_then_help_the_slowest():
    queue = WorkQueue(items([4, 4, 9]), "p", 1)
    assert queue.choose_task([]) == "task-2"
    assert (
        queue.choose_task(["task-2"]) == "task-2"
    )  # 4.5 for each of two workers is still the most
    assert queue.choose_task(["task-2", "task-2"]) == "task-0"
    assert queue.choose_task(["task-2", "task-2", "task-0"]) == "task-1"
    while queue.take("task-2"):
        pass
    assert not queue.left("task-2")
    assert len(queue) == 8
    assert WorkQueue([], "p", 1).choose_task() is None


def test_a_failed_item_goes_to_another_worker_if_there_is_one():
    queue = WorkQueue(items([2]), "p", 1)
    first, second = queue.take("task-0", "a"), queue.take("task-0", "b")
    assert queue.settle(Failure(first, "x"), "a") is None
    assert queue.settle(Failure(second, "x"), "b") is None
    assert queue.take("task-0", "a") == second
    assert queue.take("task-0", "a") == first


def test_a_failed_item_is_played_alone():
    queue = WorkQueue(items([3]), "p", 1)
    first = queue.take("task-0", "a")
    queue.settle(Failure(first, "x"), "a")
    others = [queue.take("task-0", "b", alone=False) for _ in range(2)]
    assert first not in others
    assert queue.take("task-0", "b", alone=False) is None
    assert queue.take("task-0", "b") == first
    assert queue.suspect(first)
    assert not queue.suspect(others[0])


@pytest.mark.parametrize("attempts", range(1, ATTEMPTS + 1))
def test_the_last_attempt_ends_as_a_harness_error_with_its_cause(attempts):
    queue = WorkQueue(items([1]), "p", 7)
    for number in range(1, attempts + 1):
        record = queue.settle(Failure(queue.take("task-0"), f"cause {number}"))
    if attempts < ATTEMPTS:
        assert record is None
        assert len(queue) == 1
    else:
        assert (record.reason, record.error, record.horizon) == ("harness_error", "cause 4", 7)
        assert not queue

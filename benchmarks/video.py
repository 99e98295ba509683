"""What films cost: the same episodes unseen, rendered for nobody, and filmed."""

import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from vla_bench.cards import PolicyCard, SuiteCard, load_card
from vla_bench.registry import make_policy, make_suite, prepare_card
from vla_bench.rollout import play
from vla_bench.settings import Settings
from vla_bench.video import Caption, Film


def main(suite_name: str = "micro", rounds: str = "5", policy_name: str = "expert") -> None:
    card = load_card(SuiteCard, suite_name)
    suite = make_suite(card)
    suite.prepare()
    policy = make_policy(prepare_card(load_card(PolicyCard, policy_name), card), card)
    settings = Settings(policy.card.horizon, None, card.outcome, policy.card.inputs)
    task = next(iter(card.tasks))
    item = suite.items(task, episodes=1, trials=1)[0]
    env = suite.make_env(task, settings.inputs.images, "rgb_array")

    def unseen() -> int:
        return play(env, policy, item, settings).steps

    def rendered() -> int:
        return play(env, policy, item, settings, lambda env, *_: env.render()).steps

    def filmed() -> int:
        path = Path(scratch) / "film.mp4"
        caption = Caption(item, policy.card.name, settings.limit(env))
        with Film(path, card.control_hz, caption) as film:
            record = play(env, policy, item, settings, film.capture)
            film.keep(record)
        return record.steps

    ways = (unseen, rendered, filmed)
    with tempfile.TemporaryDirectory() as scratch:
        steps = filmed()
        found = [[cost(way) for way in ways] for _ in range(int(rounds))]
    print(f"{task} of {suite_name}, {steps} steps, median of {rounds} rounds")
    for n, way in enumerate(ways):
        cpu, wall = (median(row[n][m] for row in found) for m in (0, 1))
        print(f"{way.__name__:9} {cpu:8.3f} s CPU {wall:8.3f} s")
    for m, what in enumerate(("CPU", "time")):
        whole, frames = (median(row[2][m] / row[n][m] for row in found) for n in (0, 1))
        print(f"filmed over unseen {whole:.2f}, over rendered {frames:.2f} ({what})")


def cost(way) -> tuple[float, float]:  # noqa: ANN001
    """CPU time, encoder included, and wall-clock time (s)."""
    before, start = cpu(), time.perf_counter()
    way()
    return cpu() - before, time.perf_counter() - start


def cpu() -> float:
    uses = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


if __name__ == "__main__":
    main(*sys.argv[1:])

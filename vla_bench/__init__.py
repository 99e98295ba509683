"""vla-bench: evaluates vision-language-action policies on simulated manipulation suites.

The public API, by noun:

- cards: `PolicyCard`, `SuiteCard`, `load_card`
- policies: `Policy`, `Observation`, `prepare_card`, `make_policy`
- suites: `Suite`, `SuiteEnv`, `make_suite`
- episodes: `WorkItem`, `play`, `Settings`, `EpisodeRecord`
- runs: `RunSpec`, `Parallel`, `plan_run`, `execute`, `RunFolder`
- errors: `UserError`
"""

from vla_bench.cards import PolicyCard, SuiteCard, load_card
from vla_bench.errors import UserError
from vla_bench.execution.parallel import Parallel
from vla_bench.items import WorkItem
from vla_bench.policies.base import Observation, Policy
from vla_bench.records import EpisodeRecord, RunFolder
from vla_bench.registry import make_policy, make_suite, prepare_card
from vla_bench.rollout import play
from vla_bench.runs import RunSpec, execute, plan_run
from vla_bench.settings import Settings
from vla_bench.suites.base import Suite, SuiteEnv

__all__ = [
    "EpisodeRecord",
    "Observation",
    "Parallel",
    "Policy",
    "PolicyCard",
    "RunFolder",
    "RunSpec",
    "Settings",
    "Suite",
    "SuiteCard",
    "SuiteEnv",
    "UserError",
    "WorkItem",
    "execute",
    "load_card",
    "make_policy",
    "make_suite",
    "plan_run",
    "play",
    "prepare_card",
]

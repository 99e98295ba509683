"""What one process records: what every other way to play the same items has to record."""

import pytest

from tests.conftest import TOY
from tests.execution.spread import outcomes, spec
from vla_bench import execute, plan_run


@pytest.fixture(scope="module")
def inline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLA_BENCH_PATH", str(TOY))
        return outcomes(execute(plan_run(spec(tmp_path_factory.mktemp("inline"), workers=0))))

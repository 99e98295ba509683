"""`python -m vla_bench` is `vla-bench`."""

from vla_bench.cli import main

main()

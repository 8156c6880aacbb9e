"""Test suites that others wrote, run against Dynamis.

A visiting examiner brings his own questions. We may say beforehand which of them are not about our subject, one by one and with the
reason, and everything else must be answered right.

- `source` brings a suite's source from the package source it is published in, and checks that it is the one we know.
- `cluster` starts the nodes that are examined.
- `examination` is what the suites have in common: a server for each file, and an end in bounded time.
- `redis_suite` and `redis_py_suite` run a suite and tell what became of each of its tests.
- `left_out` is the list of what is not asked for, and judges the rest.

`compat-tests/suites` puts them together.
"""

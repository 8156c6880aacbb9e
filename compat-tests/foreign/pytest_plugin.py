"""Tells redis-py's tests which of a node's two faces they are meeting; loaded by pytest.

They look it up in INFO, which says `cluster_enabled:1` at both doors, and would then use a cluster client for all they do. And they
trace every allocation, of which nothing is told unless memory is looked into, and which takes four fifths of their time.
"""

import os
import sys
import tracemalloc


def pytest_configure():
    """Puts the answer over INFO's; redis-py's conftest is loaded by now, and asks later."""
    conftest = sys.modules["tests.conftest"]
    ask = conftest._get_info

    def info(url):
        return {**ask(url), "cluster_enabled": os.environ["DYNAMIS_SUITE_FACE"] == "cluster"}

    conftest._get_info = info
    tracemalloc.start = lambda *_: None

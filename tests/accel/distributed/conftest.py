"""Tests on a dask cluster: a process of their own, since distributed's threads outlive a cluster.

``tests/accel/distributed/test_processes.py`` starts it; elsewhere they are not collected.
"""

import os

collect_ignore_glob = [] if os.environ.get("ACCEL_TEST_CLUSTER") == "1" else ["test_cluster.py"]

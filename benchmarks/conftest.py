"""What the machine is and how the pytest suite sees it."""

import os

import pytest

from benchmarks.harness.machine import describe, handicap, peer_threads


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="benchmarks: prove that they run")


def pytest_report_header() -> list[str]:
    lines = [f"benchmarks: {peer_threads()} threads, pid {os.getpid()}"]
    return [*lines, f"benchmarks: {handicap()}"] if handicap() else lines


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    machine_info["accel"] = describe()


@pytest.fixture(scope="session")
def quick(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--quick"))

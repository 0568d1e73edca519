"""Limits of a control group, as /proc and /sys tell of them."""

from pathlib import Path

import pytest

from tasks import cgroup, node


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cgroup, "ROOT", tmp_path / "fs")
    monkeypatch.setattr(cgroup, "MEMBERSHIP", tmp_path / "cgroup")
    return tmp_path


def lay(tree: Path, membership: str, **files: str) -> None:
    (tree / "cgroup").write_text(membership)
    for name, content in files.items():
        file = tree / "fs" / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def test_a_container_with_its_own_namespace(tree: Path) -> None:
    lay(tree, "0::/\n", memory_dot_max="8589934592\n", cpu_dot_max="150000 100000\n")
    assert cgroup.memory() == 8 * 2**30
    assert cgroup.cores() == 1.5


def test_the_tightest_group_around_us_counts(tree: Path) -> None:
    lay(tree, "0::/a/b\n", a__memory_dot_max="1000\n", a__b__memory_dot_max="max\n", a__cpu_dot_max="max 100000\n",
        a__b__cpu_dot_max="400000 100000\n")
    assert cgroup.memory() == 1000
    assert cgroup.cores() == 4


def test_version_1_without_a_namespace_of_its_own(tree: Path) -> None:
    """The path is the host's and does not exist within; the tree's root is the container's."""
    lay(tree, "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n", memory__memory_dot_limit_in_bytes="2000\n",
        cpu__cpu_dot_cfs_quota_us="-1\n", cpu__cpu_dot_cfs_period_us="100000\n")
    assert cgroup.memory() == 2000
    assert cgroup.cores() is None


def test_no_limits(tree: Path) -> None:
    assert (cgroup.memory(), cgroup.cores()) == (None, None), "no such files, as on macOS"
    lay(tree, "0::/user.slice\n")
    assert (cgroup.memory(), cgroup.cores()) == (None, None)


def test_a_node_counts_what_it_may_use(tree: Path) -> None:
    lay(tree, "0::/\n", memory_dot_max="1048576\n", cpu_dot_max="50000 100000\n")
    assert node.usable_memory() == 2**20
    assert node.usable_cores() == 1
    assert node.default_memory(slots=2) == 2**19

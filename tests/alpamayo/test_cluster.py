"""Work on a Ray cluster of two nodes on this machine: the same bytes as in one process, also if a worker dies."""

import dataclasses
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpamayo import cluster
from alpamayo.cluster import Cluster
from alpamayo.episode import load_episode
from alpamayo.evaluation import evaluate
from alpamayo.parallel import in_order
from alpamayo_sim.errors import DriverError, InputError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'alpamayo[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

OBJECT_STORE_BYTES = 80_000_000  # rows of tables and names of scenarios need no more
EPISODES = 3
SOURCE = """
import os, signal
from pathlib import Path
from alpamayo_sim.drivers import ConstantVelocity

class Dying(ConstantVelocity):
    name = "dying"
    def act(self, observation):
        try:
            Path("died").touch(exist_ok=False)  # the first worker that comes here dies
        except FileExistsError:
            return super().act(observation)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """Start two nodes of one core each; give the address of the head."""
    from ray.cluster_utils import Cluster as Nodes

    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        nodes = Nodes(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        nodes.add_node(**node)
    except Exception as error:  # Ray gives a node 30 s, which a machine with much other work does not keep
        pytest.skip(f"Ray does not start two nodes here: {error}")
    yield nodes.address
    nodes.shutdown()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the nodes share, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dies.py").write_text(SOURCE)
    return tmp_path


def records(folder: Path) -> dict[str, Any]:
    """Return what a suite run holds, to the last bit, but for wall times."""
    found: dict[str, Any] = {"suite": json.loads((folder / "suite.json").read_text())}
    for path in sorted(folder.rglob("episode.json")):
        episode = load_episode(path.parent)
        values = {field.name: getattr(episode, field.name) for field in dataclasses.fields(episode)}
        del values["timings"], values["scenario"]
        found[str(path.relative_to(folder))] = {
            name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in values.items()
        }
    found["evaluation"] = json.loads((folder / "evaluation.json").read_text())
    for row in found["evaluation"]["runs"]:
        del row["folder"]  # where its record lies
    return found


def test_a_cluster_gives_the_bytes_of_one_process_although_a_worker_dies(two_nodes: str, here: Path) -> None:
    run = {"drivers": ["dies:Dying"], "episodes": EPISODES}
    evaluate(**run, out=here / "cluster", workers=Cluster(two_nodes))
    assert (here / "died").exists()
    evaluate(**run, out=here / "alone", workers=1)
    assert records(here / "cluster") == records(here / "alone")
    assert not list(here.glob(".alpamayo-*"))
    finished = (here / "cluster").rglob("summary.json")
    before = {path: path.stat().st_mtime_ns for path in finished}
    shutil.rmtree(next(iter(sorted(before))).parent)
    evaluate(**run, out=here / "cluster", workers=Cluster(two_nodes, 1))  # drives what is missing, and no more
    after = {path: path.stat().st_mtime_ns for path in (here / "cluster").rglob("summary.json")}
    assert sum(after[path] == before[path] for path in before) == EPISODES - 1


def test_results_come_in_order_with_what_their_tasks_raise(two_nodes: str, here: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = list(
        in_order(math.factorial, [3, -1, 5], workers=Cluster(two_nodes), what="f", progress=lambda *p: told.append(p))
    )
    assert [(task, result) for task, result in found if task > 0] == [(3, 6), (5, 120)]
    assert isinstance(found[1][1], ValueError)
    assert told == [("f", done, 3) for done in range(4)]


def test_a_task_that_kills_its_workers_is_a_failure(two_nodes: str, here: Path) -> None:
    found = list(in_order(os._exit, [3, 4], workers=Cluster(two_nodes, 1), what="exit"))
    assert [task for task, _ in found] == [3, 4]
    assert all(isinstance(result, DriverError) and "3 workers have died" in str(result) for _, result in found)


def test_a_node_with_another_version_of_the_code_is_refused(
    two_nodes: str, here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cluster, "code_version", lambda: "0.0.0+other")
    with pytest.raises(InputError, match=r"no node that can work: .*another version of the code"):
        list(in_order(math.factorial, [3], workers=Cluster(two_nodes), what="f"))
    assert "is left out; here is 0.0.0+other" in caplog.text


def test_a_node_that_does_not_share_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    started: list[bool] = []
    for folder, words in ((tmp_path / "none", "has no folder"), (tmp_path, "the nodes must share it")):
        worker = cluster.Actor(str(folder), "token", lambda: started.append(True))
        assert words in worker.about()[2]
    (tmp_path / "token").touch()
    assert not cluster.Actor(str(tmp_path), "token", lambda: started.append(True)).about()[2]
    assert len(started) == 3


def test_a_cluster_that_is_not_there_is_one_line(here: Path) -> None:
    for address in ("ray://127.0.0.1:1", "127.0.0.1:1", "ray://nowhere.invalid:10001", "ray://127.0.0.1:port"):
        with pytest.raises(InputError, match=rf"no Ray cluster at '{address}' \(.*start one with `ray start --head`"):
            list(in_order(math.factorial, [3], workers=Cluster(address), what="f"))
    assert not list(here.glob(".alpamayo-*"))

"""A training in several processes is that of one, and ends as a whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))

from kill_processes import ENVIRONMENT, Pair, alone, kill, prepare

pytest.importorskip("jax")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("together"))


def _command(config: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "flexseg.cli", "train", str(config), *options]


def _interrupted_in_its_middle(config: Path) -> tuple[int, str]:
    """The exit code and the words of two processes, told to stop once they train."""
    command = _command(config, "--resume", "--processes", "2")
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as running:
        written = config.parent / "history.json"  # after an epoch
        begun = written.stat().st_mtime
        while written.stat().st_mtime == begun and running.poll() is None:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate()
    return running.returncode, said


def test_devices_then_processes_then_one_of_them_go_the_same_way(config: Path) -> None:
    two_devices = ENVIRONMENT | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    first = _command(config, "--backend", "jax", "--set", "train.epochs=1")
    said = subprocess.run(first, env=two_devices, check=True, capture_output=True, text=True).stdout
    assert "2 devices share every batch of 4: 2 images each." in said

    code, told = _interrupted_in_its_middle(config)
    assert code == 130 and "Run the same command with --resume" in told

    subprocess.run(_command(config, "--backend", "jax", "--resume"), env=ENVIRONMENT, check=True)
    found = json.loads((config.parent / "history.json").read_text(encoding="utf-8"))
    expected = alone(config)
    assert len(found["loss"]) == len(expected["loss"]) == 40
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=5e-5, err_msg=name)


def test_both_end_once_one_is_lost(config: Path) -> None:
    (config.parent / "run.json").unlink(missing_ok=True)
    ended = kill(config, "process 1", 0.0, training=True)
    assert ended.seconds < 60 and ended.codes == [1, 1]
    assert all("Process 1" in said and "SIGKILL" in said for said in ended.said)
    assert all("--resume" in said and "Traceback" not in said for said in ended.said)


def test_different_configs_are_refused(config: Path) -> None:
    pair = Pair(config, options=[(), ("--set", "model.learning_rate=0.1")])
    ended = pair.wait(300)
    assert ended.codes == [2, 2]
    told = "differs from that of process 0 in [model] learning_rate: 0.1 instead of 0.0005"
    assert all(told in " ".join(said.split()) for said in ended.said)

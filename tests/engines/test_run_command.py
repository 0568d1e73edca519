"""`manage.py run`, as a person types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def manage(*words, **environment):
    return subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, env=os.environ | environment,
                          capture_output=True, text=True, timeout=250)


def test_a_run_prints_json_alone_and_keeps_artifacts(tmp_path):
    done = manage("run", "optimizers", "mlp-digits", "lamb", "--set", "method.lr=0.03", "--set", "problem.depth=6",
                  "--seed", "2", "--steps", "30", "--json", "--artifacts", str(tmp_path))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["spec"]["method"]["lr"] == 0.03 and answer["spec"]["problem"]["depth"] == 6
    assert answer["spec"]["seed"] == 2 and answer["cost"]["steps"] == 30
    assert 0 <= answer["summary"]["test/accuracy"] <= 1
    assert Path(answer["artifacts"]["curves.plotly.json"]).is_file()


def test_the_table_shows_the_headline():
    done = manage("run", "optimizers", "river-valley", "sgd", "--steps", "20")
    assert done.returncode == 0, done.stderr
    assert "value" in done.stdout and "peak_memory" in done.stdout and "MiB" in done.stdout


@pytest.mark.parametrize(("words", "message"), [
    (["optimizers", "mlp-digits", "sgd", "--steps", "5", "--set", "method.lr=-1"], "method.lr"),
    (["optimizers", "mlp-digits", "sgd", "--steps", "5", "--set", "lr=1"], "--set lr=1: write problem.NAME=VALUE"),
    (["optimizers", "mlp-digits", "lbfgs", "--steps", "5"], "does not accept mlp-digits: its gradients are noisy"),
    (["optimizers", "mlp-digits", "sgd"], "budget: give --steps"),
    (["optimizers", "charlm", "sgd", "--steps", "1"], "missing data: data set 'tiny_shakespeare'"),
])
def test_bad_input_gives_one_clear_line(tmp_path, words, message):
    done = manage("run", *words, DATA_ROOT=str(tmp_path))
    assert done.returncode == 1
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""

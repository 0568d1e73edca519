"""Sweeps: what the conductor takes a trial, whether the samplers are Optuna's own, and what killed workers do to them.

The conductor conducts 1,000 instant trials, 4 at once, on SQLite and on PostgreSQL (where one answers at
`TEST_POSTGRES_URL`), each in a process and a database of its own; its time is what passes between a run's end and the
row of the next run, the run's own way through queue and process not counted. What the sampler thinks meanwhile (of
TPE: Optuna's own code) is part of that and told apart; the target is for the rest. The peer is Optuna's RDB storage on
SQLite: ask and tell of as many trials over the same two parameters, with the same sampler, in the same minute.
Then Optuna's TPE is asked directly and through Assay's adapter, same seeds, same trials, on five test functions and two
real problems; and a sweep of 300 trials goes on while one of its two workers is killed every five seconds.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engines.core.data import data_file

from .report import ROOT, Row, against, at_most, figure, main, say, temporary_home
from .sweeps_trials import OVERHEAD
from .tables import POSTGRES, postgres_database

TRIALS = int(os.environ.get("BENCH_TRIALS", "1000"))  # fewer: to see that it runs
KILLED = int(os.environ.get("BENCH_KILLED", "300"))
OVERHEAD_MS = 25.0
FUNCTIONS, REAL = ("branin", "hartmann6", "ackley", "rosenbrock", "levy"), ("nb201", "hpo-digits")
DATA = (("nasbench201-mini", "nasbench201_12ep.csv"),)
EVALUATIONS = {"hpo-digits": 14}  # of a problem that trains; 40 of the others
SEEDS = (0, 1, 2)


def trials_on(url: str | None, *words: str) -> dict[str, Any]:
    """What `benchmarks.sweeps_trials` found on one database."""
    environment = dict(os.environ) | ({"DATABASE_URL": url} if url else {})
    done = subprocess.run([sys.executable, "-m", "benchmarks.sweeps_trials", *words], cwd=ROOT, env=environment,
                          stdout=subprocess.PIPE, text=True, check=True, timeout=400)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def conducted(database: str, url: str | None) -> list[Row]:
    say(f"{TRIALS} instant trials, {database} ...")
    found = trials_on(url, "conduct", str(TRIALS))
    return [row for sampler, (whole, own) in found.items() for row in (
        figure(f"from a run's end to its successor, {sampler} ({database})", whole, "ms"),
        at_most(f"the conductor's part of it, without {sampler}'s own thinking ({database})", whole - own, "ms",
                OVERHEAD_MS))]


def optuna_rdb(folder: Path) -> float:
    """Milliseconds of Optuna's ask and tell a trial, on a new SQLite file."""
    import optuna

    say(f"Optuna RDB, {TRIALS} trials ...")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.sqlite3",
                                sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True))
    began = time.perf_counter()
    for _ in range(TRIALS):
        trial = study.ask()
        params = {name: trial.suggest_float(name, axis["low"], axis["high"], log=bool(axis.get("log")))
                  for name, axis in OVERHEAD.items()}
        study.tell(trial, params["x"] ** 2 + params["lr"])
    return 1000 * (time.perf_counter() - began) / TRIALS


def _suggested(trial: Any, parameter: Any) -> Any:
    """A parameter as a user of Optuna asks for it."""
    if parameter.kind == "float":
        return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.log,
                                   step=parameter.step)
    if parameter.kind == "int":
        return trial.suggest_int(parameter.name, parameter.low, parameter.high, log=parameter.log,
                                 step=parameter.step or 1)
    return trial.suggest_categorical(parameter.name, parameter.values())


def bests(name: str, seed: int) -> tuple[float, float]:
    """The best value through the adapter, and with Optuna called directly."""
    import optuna

    from engines.core.registry import engine
    from engines.search.core import drive
    from engines.search.methods.tpe import TPE

    problem, trials = engine("search").problems[name](), EVALUATIONS.get(name, 40)
    objective = problem.objectives()[0]
    search = TPE().begin(problem.space(), problem.objectives(), seed=seed)
    drive(search, lambda trial: problem.evaluate(trial.params, 0), trials=trials)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction={"min": "minimize", "max": "maximize"}[objective.direction],
                                sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True))
    for _ in range(trials):
        trial = study.ask()
        params = {one.name: _suggested(trial, one) for one in problem.space().parameters}
        study.tell(trial, problem.evaluate(params, 0)[objective.name])
    ours = search.told[search.best()[0]].values
    return float((ours or {})[objective.name]), float(study.best_value)


def quality() -> list[Row]:
    """How far the adapter's best values are from Optuna's: 0 when both propose the same trials."""
    rows = []
    for what, names, seeds in (("5 test functions", FUNCTIONS, SEEDS), ("2 real problems", REAL, SEEDS[:1])):
        say(f"TPE through the adapter and directly, {what} ...")
        pairs = [bests(name, seed) for name in names for seed in seeds]
        rows.append(at_most(f"TPE, adapter against Optuna directly, {what}: largest difference",
                            max(abs(ours - theirs) for ours, theirs in pairs), "", 0.0))
    return rows


def killed() -> list[Row]:
    say(f"{KILLED} trials while workers are killed ...")
    with temporary_home():
        found = trials_on(None, "killed", str(KILLED))
    return [
        figure(f"workers killed during {KILLED} trials", found["kills"], "workers"),
        at_most("trials that did not end exactly once", abs(KILLED - found["ended"]) + abs(KILLED - found["runs"]),
                "trials", 0),
        at_most("trials lost", found["lost"], "trials", 0),
        at_most("results that the sampler did not see exactly once",
                abs(KILLED - found["told"]) + found["told twice"], "results", 0),
        figure("the whole of it", found["seconds"], "s"),
    ]


def measure() -> list[Row]:
    for name in DATA:  # before minutes are spent
        data_file(*name)
    with temporary_home() as home:
        rows = conducted("SQLite", None)
        rows.append(against("all of the last, against Optuna RDB", rows[-2].value, "ms",
                            "Optuna RDB on SQLite, ask + tell", optuna_rdb(home), less_is_better=True))
    with temporary_home(), postgres_database() as url:
        if url is None:
            say(f"no PostgreSQL at {POSTGRES}: left out")
        else:
            rows += conducted("PostgreSQL", url)
    with temporary_home():
        rows += quality()
    return rows + killed()


if __name__ == "__main__":
    raise SystemExit(main(__doc__, measure))

"""Directions from seeds, one byte a slope, replicas that stay equal to the bit; and the problems they are tried on."""

import json
import math
import time

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import distributed, nn
from torch.nn import functional as F

from engines.core import Budget, Cancelled, Context, Diverged, InvalidSpec, MemoryRecorder, RunSpec
from engines.core.cache import Cache
from engines.core.execute import cache_root
from engines.optimizers import rounds as loop
from engines.optimizers.batches import Epochs
from engines.optimizers.engine import Supervised
from engines.optimizers.gloo import launch
from engines.optimizers.methods.compressed_sgd import CompressedSgd
from engines.optimizers.methods.compressed_sgd import Run as CompressedRun
from engines.optimizers.methods.mezo import Mezo
from engines.optimizers.methods.one_byte import OneByte
from engines.optimizers.problems.domain_shift import DomainShift, changed
from engines.optimizers.problems.sentiment_mr import NEAR, UNKNOWN, SentimentMr, word_vectors
from engines.optimizers.zeroth_order import (
    Entry,
    Replica,
    Scale,
    Sharing,
    checksum,
    projected,
    seed_of,
    shift,
)


@pytest.fixture
def make_context(tmp_path):
    """As elsewhere, but all tests share what is trained beforehand."""

    def make(*, seed=0, recorder=None, **limits):
        return Context(seed=seed, device=torch.device("cpu"), budget=Budget(**(limits or {"steps": 10})),
                       recorder=recorder or MemoryRecorder(), folder=tmp_path / "run", cache=Cache(cache_root()))

    return make


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((5, 7), (7,), (3, 4, 2))]


class Toy(Supervised):
    """Classification of noise by a linear layer, after a dropout layer and a norm with running statistics."""

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(40, 6, generator=generator)
        self.y = torch.randint(3, (40,), generator=generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
        self.batches = Epochs(40, 10, seed)
        self.steps = 10

    def examples(self, batch):
        return self.x[batch], self.y[batch]

    def evaluate(self, poll):
        return {"loss": F.cross_entropy(self.model(self.x), self.y).item()}


# -- directions and slopes


def test_seeds_are_apart_and_stay_what_they_are():
    seeds = {seed_of(run, step, machine, sample) for run in range(3) for step in range(30) for machine in range(5)
             for sample in range(3)}
    assert len(seeds) == 3 * 30 * 5 * 3 and all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(1, 23, 0, 0) != seed_of(12, 3, 0, 0)


def test_a_direction_is_normal_and_the_same_every_time():
    zeros = [torch.zeros(200, 100), torch.zeros(5000)]
    shift(zeros, seed_of(0, 0, 0, 0), 1.0)
    flat = torch.cat([one.flatten() for one in zeros])
    assert abs(flat.mean()) < 0.02 and flat.std() == pytest.approx(1, abs=0.02)
    again = [torch.zeros(200, 100), torch.zeros(5000)]
    torch.rand(17)  # the common stream has no part in it
    shift(again, seed_of(0, 0, 0, 0), 1.0)
    assert checksum(zeros) == checksum(again)
    shift(again, seed_of(0, 0, 1, 0), 1.0)
    assert abs(torch.corrcoef(torch.stack([flat, torch.cat([one.flatten() for one in again]) - flat]))[0, 1]) < 0.02


def test_the_slope_of_a_quadratic_is_exact():
    """Central differences of a quadratic have no error but rounding: z'(A x + b)."""
    x = [value.double() for value in tensors()]
    weights = [torch.rand(value.shape, dtype=torch.float64) for value in x]

    def loss():
        return sum((0.5 * w * v * v + v).sum() for w, v in zip(weights, x, strict=True)).item()

    z = [torch.zeros_like(value) for value in x]
    shift(z, 7, 1.0)
    expected = sum((d * (w * v + 1)).sum() for d, w, v in zip(z, weights, x, strict=True)).item()
    slope, middle = projected(loss, x, 7, 1e-3)
    assert slope == pytest.approx(expected, rel=1e-9)
    assert middle == pytest.approx(loss(), abs=1e-4)


def test_the_mean_over_directions_is_the_gradient():
    """E[z z'g] = g: 1,000 directions of a linear function give it to a tenth or so."""
    gradient = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    x, found = [torch.zeros(4, dtype=torch.float64)], [torch.zeros(4, dtype=torch.float64)]
    for sample in range(1000):
        seed = seed_of(0, 0, 0, sample)
        slope, _ = projected(lambda: (gradient @ x[0]).item(), x, seed, 1e-3)
        shift(found, seed, slope / 1000)
    torch.testing.assert_close(found[0], gradient, atol=0.5, rtol=0)


def test_probing_leaves_the_bits_alone_and_walking_back_would_not():
    x = tensors()
    before = checksum(x)
    projected(lambda: 0.0, x, 3, 1e-3)
    assert checksum(x) == before
    for amount in (1e-3, -2e-3, 1e-3):
        shift(x, 3, amount)
    assert checksum(x) != before  # what the copy is for


# -- one byte


@settings(max_examples=60, deadline=None)
@given(slopes=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), clip=st.floats(0.5, 10))
def test_a_byte_is_off_by_half_a_level_at_most_or_clipped(slopes, clip):
    scale = Scale(clip, start=2.0)
    for slope in slopes:
        byte = scale.encode(slope)
        assert -127 <= byte <= 127 and isinstance(byte, int)
        if abs(slope) <= scale.c:
            assert abs(scale.decode(byte) - slope) <= scale.c / 254 * (1 + 1e-9)
        else:
            assert scale.decode(byte) == pytest.approx(math.copysign(scale.c, slope))
        scale.update([byte])


def test_the_scale_finds_the_root_mean_square_from_either_side():
    random = np.random.default_rng(0)
    for size in (1e-3, 1.0, 1e3):
        scale = Scale(3.0, start=1.0)
        for _ in range(400):
            scale.update([scale.encode(slope) for slope in random.normal(size=4) * size])
        assert scale.c == pytest.approx(3 * size, rel=0.15)


# -- replicas


def rounds_of(replicas, task, steps, first=0):
    entries = []
    for step in range(first, first + steps):
        message = []
        for replica in replicas:
            for sample in range(replica.sharing.samples):
                message.append(replica.probe(step, sample, task.batches.next())[0])
        entries.append(Entry(step, tuple(replica.machine for replica in replicas), tuple(message)))
        for replica in replicas:
            replica.apply(entries[-1])
    return entries


@pytest.mark.parametrize("bits", [8, 32])
def test_a_round_is_the_formula(bits):
    """x - lr/K * sum of slope * z, from all directions held at once, in double precision."""
    task = Toy()
    task.model.double()
    task.x = task.x.double()
    sharing = Sharing(5, 0.1, 1e-3, 2, bits=bits)
    replicas = [Replica(machine, task, sharing) for machine in range(3)]
    before = torch.cat([value.flatten() for value in replicas[0].tensors])
    (entry,) = rounds_of(replicas, task, 1)
    expected = before.clone()
    for at, scalar in enumerate(entry.message):
        z = [torch.zeros_like(value) for value in replicas[0].tensors]
        shift(z, seed_of(5, 0, at // 2, at % 2), 1.0)
        slope = scalar if bits == 32 else 1.0 * scalar / 127
        expected -= 0.1 / 6 * slope * torch.cat([one.flatten() for one in z])
    torch.testing.assert_close(torch.cat([value.flatten() for value in replicas[1].tensors]), expected)


def test_replicas_stay_equal_and_a_newcomer_replays():
    task = Toy()
    sharing = Sharing(0, 0.05, 1e-3, 2)
    replicas = [Replica(machine, task, sharing) for machine in range(3)]
    log = rounds_of(replicas, task, 6) + rounds_of(replicas[:2], task, 6, first=6)  # the last one leaves
    assert replicas[0].checksum() == replicas[1].checksum() != replicas[2].checksum()
    newcomer = Replica(7, task, sharing)
    assert newcomer.checksum() != replicas[0].checksum()
    for entry in log:
        newcomer.apply(Entry.of(json.loads(json.dumps(entry.plain()))))
    assert newcomer.checksum() == replicas[0].checksum()
    assert newcomer.scale.c == replicas[0].scale.c
    wrong = Replica(8, task, sharing)
    for entry in log:
        wrong.apply(Entry(entry.step, entry.members, tuple(reversed(entry.message))))
    assert wrong.checksum() != newcomer.checksum()


def test_dropout_is_off_and_running_statistics_stand_still():
    task = Toy()
    task.model.train()
    replica = Replica(0, task, Sharing(0, 0.1, 1e-3, 1))
    statistics = replica.task.model[0].running_mean.clone()
    first, second = (replica.probe(0, 0, torch.arange(10)) for _ in range(2))
    assert first == second
    assert torch.equal(replica.task.model[0].running_mean, statistics)
    assert task.model.training and not replica.task.model.training


def test_a_loss_that_is_not_finite_is_told():
    task = Toy()
    task.x[:] = math.inf
    with pytest.raises(Diverged, match="loss is not finite at step 4"):
        Replica(0, task, Sharing(0, 0.1, 1e-3, 1)).probe(4, 0, torch.arange(10))


# -- whole runs

CHURN = {"id": "one-byte", "leaves_at": 5, "joins_at": 9}


def test_the_bill_and_the_table_of_checksums(quick_run):
    result = quick_run("domain-shift", CHURN, steps=12)
    scalars = 5 * 4 + 4 * 3 + 3 * 4
    log = 9 * 4 + 2 * (5 * 4 + 4 * 3)  # per round its number; per scalar the sender and a byte
    down = 5 * 4 * 3 + 4 * 3 * 2 + 3 * 4 * 3 + 4 * 8970 + log
    assert result.summary["bytes_up"] == scalars
    assert result.summary["bytes_sent"] == result.cost["bytes"] == scalars + down
    assert result.summary["distinct_weights"] == 1
    assert result.cost["evaluations"] == 2 * scalars
    table = pd.read_csv(result.artifacts["checksums.csv"])
    assert table["machine"].tolist() == [0, 1, 2, 3, 4] and table["replayed"].tolist() == [0, 0, 0, 0, 9]
    assert table["left"].dropna().tolist() == [5] and table["joined"].tolist() == [0, 0, 0, 0, 9]
    assert table["checksum"].nunique() == 2 and table["checksum"].str.len().eq(64).all()  # who left has older weights


FIRST_ORDER = [
    {"id": "compressed-sgd"}, {"id": "compressed-sgd", "compression": "one-bit"},
    {"id": "compressed-sgd", "compression": "top-k", "rule": "adamw", "lr": 1e-3},
    {"id": "compressed-sgd", "compression": "sign", "lr": 1e-4},
]


@pytest.mark.parametrize("method", [CHURN, {"id": "mezo"}, *FIRST_ORDER], ids=str)
def test_runs_are_deterministic(quick_run, method):
    one, two = (quick_run("domain-shift", method, seed=3, steps=12) for _ in range(2))
    assert one.summary == two.summary
    assert quick_run("domain-shift", method, seed=4, steps=12).summary != one.summary
    assert {"loss", "lr", "samples", "test/accuracy"} <= one.series.keys()
    assert any(name.endswith(".plotly.json") for name in one.artifacts)


@pytest.mark.parametrize("method", [{"id": "one-byte"}, *FIRST_ORDER], ids=str)
def test_a_hundred_steps_help(quick_run, method):
    gain = quick_run("domain-shift", method, steps=100).summary["gain"]
    assert gain > (0.05 if method["id"] == "one-byte" else 0.15)


class Stopping(MemoryRecorder):
    def __init__(self, at):
        super().__init__()
        self.at = at

    def cancelled(self):
        return bool(self.series) and self.series["samples"][-1][1] >= self.at


@pytest.mark.parametrize("method", [
    OneByte(leaves_at=5, joins_at=9), OneByte(joins_at=9, bits=32), Mezo(samples=2), CompressedSgd(),
    CompressedSgd(compression="top-k", rule="adamw")], ids=lambda method: method.id)
def test_a_resumed_run_equals_an_uninterrupted_one(make_context, monkeypatch, method):
    problem, budget = DomainShift(), {"steps": 12}
    whole = make_context(**budget)
    method.run(problem, whole)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(Cancelled):
        method.run(problem, make_context(recorder=Stopping(0.6 * whole.spent["samples"]), **budget))
    resumed = make_context(**budget)
    method.run(problem, resumed)
    assert resumed.summary == whole.summary and resumed.spent == whole.spent


@pytest.mark.parametrize("wrong", [{"eps": 0}, {"lr": 0}, {"machines": 0}, {"bits": 16}, {"clip": 0}])
def test_bad_parameters_are_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        OneByte(**wrong)


def test_the_last_machine_cannot_leave():
    with pytest.raises(ValidationError, match="machines must be at least 2"):
        OneByte(machines=1, leaves_at=3)


@pytest.mark.parametrize("method", ["one-byte", "mezo", "compressed-sgd"])
def test_other_problems_are_refused_with_a_reason(method):
    spec = RunSpec(engine="optimizers", problem={"id": "wide-net"}, method={"id": method}, budget={"steps": 1})
    with pytest.raises(InvalidSpec, match="it is not a training problem"):
        spec.resolve()


# -- compressed gradients


def compressed(make_context, **parameters):
    return CompressedRun(CompressedSgd(**parameters), DomainShift(), make_context())


def test_none_is_the_gradient_of_the_whole_batch(make_context):
    run = compressed(make_context, machines=2)
    rows = [run.task.batches.next() for _ in range(2)]
    run.task.batches = Epochs(1437, 64, 0)
    shared = run._shared(torch.stack([run._gradient()[0] for _ in range(2)]))
    whole = torch.autograd.grad(run.task.loss(torch.cat(rows)), run.values)
    torch.testing.assert_close(shared, torch.cat([one.flatten() for one in whole]), atol=1e-6, rtol=1e-4)
    assert (run.cluster.up, run.cluster.down) == (2 * 4 * 8970, 2 * 4 * 8970)


def test_signs_are_those_of_the_majority(make_context):
    run = compressed(make_context, machines=3, compression="sign")
    gradients = torch.randn(3, 8970, generator=torch.Generator().manual_seed(0))
    expected = torch.where((gradients > 0).sum(0) >= 2, 1.0, -1.0)
    assert torch.equal(run._shared(gradients), expected)
    assert run.cluster.up == 3 * 1122


@pytest.mark.parametrize(("compression", "size"), [("one-bit", 1122 + 4), ("top-k", 8 * 90)])
def test_what_is_left_out_comes_later(make_context, compression, size):
    """Messages and errors add up to the gradients: nothing is lost."""
    run = compressed(make_context, machines=2, compression=compression)
    generator = torch.Generator().manual_seed(0)
    sent, given = torch.zeros(8970), torch.zeros(8970)
    for _ in range(5):
        gradients = torch.randn(2, 8970, generator=generator)
        sent, given = sent + run._shared(gradients), given + gradients.mean(0)
    torch.testing.assert_close(sent + torch.stack(run.errors).mean(0), given, atol=1e-4, rtol=1e-4)
    assert (run.cluster.up, run.cluster.down) == (5 * 2 * size, 5 * 2 * size)


# -- the problems


def test_changes_of_images():
    image = torch.arange(64.0).view(1, 64) / 64
    moved = changed(image, "shift").view(8, 8)
    assert torch.equal(moved[:, 1:], image.view(8, 8)[:, :-1]) and torch.equal(moved[:, 0], image.view(8, 8)[:, -1])
    assert torch.equal(changed(image, "invert"), 1 - image)


def test_domain_shift_starts_from_a_trained_network(make_context):
    context = make_context()
    task = DomainShift().task(context)
    with torch.no_grad():
        before = task.evaluate(lambda: None)
    assert before["source/accuracy"] > 0.94 and 0.4 < before["test/accuracy"] < 0.6 and before["gain"] == 0
    again = DomainShift(change="invert").task(context)
    assert torch.equal(again.model[0].weight, task.model[0].weight)
    assert not torch.equal(DomainShift().task(make_context(seed=1)).model[0].weight, task.model[0].weight)


@pytest.fixture
def reviews(make_context, data_root):
    return lambda **parameters: SentimentMr(**parameters).task(make_context())


def test_the_split_of_the_reviews(reviews):
    task = reviews(size="standard")
    assert (len(task.x), len(task.validation[0]), len(task.test[0])) == (8529, 1067, 1066)
    together = torch.cat([task.y, task.validation[1], task.test[1]])
    assert together.bincount().tolist() == [5331, 5331]
    quick = reviews()
    assert torch.equal(quick.x, task.x[:2000]) and torch.equal(quick.test[0], task.test[0])


def test_word_vectors_against_dense_matrices():
    """Counts of neighbours by a double loop, all of the table held, and NumPy's singular values."""
    x = np.random.default_rng(0).integers(0, 9, (30, 12))
    counts = np.zeros((9, 9))
    for row in x:
        for i in range(12):
            for j in range(max(0, i - NEAR), min(12, i + NEAR + 1)):
                if i != j and row[i] > UNKNOWN and row[j] > UNKNOWN:
                    counts[row[i], row[j]] += 1
    often = counts.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        table = np.nan_to_num(np.maximum(np.log(counts * often.sum() / np.outer(often, often)), 0))
    left, values, _ = np.linalg.svd(table)
    expected = left[:, :3] * np.sqrt(values[:3])
    expected /= np.sqrt((expected**2).mean())
    found = word_vectors(x, 9, 3)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)  # up to the vectors' signs
    assert np.abs(found[: UNKNOWN + 1]).max() < 1e-6


def test_frozen_vectors_are_no_parameters(reviews):
    assert set(reviews(frozen=True).parameters()) == {"judge.weight", "judge.bias"}
    assert "words.weight" in reviews().parameters()


@pytest.mark.parametrize("model", ["bag", "transformer"])
def test_padding_does_not_matter(reviews, model):
    task = reviews(model=model)
    sentence = torch.randint(2, 500, (1, 40), generator=torch.Generator().manual_seed(0))
    sentence[:, 12:] = 0
    with torch.no_grad():
        torch.testing.assert_close(task.model(sentence), task.model(sentence[:, :12]))


def test_reviews_are_learned(quick_run, data_root):
    assert quick_run("sentiment-mr", "adamw", steps=300).summary["test/accuracy"] > 0.65


# -- real processes


def one_machine(rank, processes, sharing, steps):
    """A machine of its own: it shares the task's start and nothing but bytes."""
    task = Toy()
    replica = Replica(rank, task, sharing)
    for step in range(steps):
        rows = [[task.batches.next() for _ in range(sharing.samples)] for _ in range(processes)][rank]
        mine = [replica.probe(step, sample, batch)[0] for sample, batch in enumerate(rows)]
        kind = torch.int8 if sharing.bits == 8 else torch.float32
        heard = [torch.zeros(sharing.samples, dtype=kind) for _ in range(processes)]
        distributed.all_gather(heard, torch.tensor(mine, dtype=kind))
        replica.apply(Entry(step, tuple(range(processes)), tuple(torch.cat(heard).tolist())))
    return replica.checksum()


def fail_on_one(rank, processes):
    if rank == 1:
        raise ValueError("on purpose")
    distributed.barrier()


def sleep(rank, processes):
    time.sleep(60)


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "bits"), [(2, 8), (3, 32), (4, 8)])
def test_real_processes_agree_with_the_simulation(processes, bits):
    sharing = Sharing(11, 0.05, 1e-3, 2, bits=bits)
    task = Toy()
    replicas = [Replica(machine, task, sharing) for machine in range(processes)]
    rounds_of(replicas, task, 20)
    found = launch(one_machine, processes, sharing, 20, seconds=180)
    assert set(found) == {replicas[0].checksum()}


@pytest.mark.slow
def test_failures_and_silence_of_processes_are_told():
    with pytest.raises(RuntimeError, match="rank 1: ValueError: on purpose"):
        launch(fail_on_one, 2, seconds=120)
    with pytest.raises(TimeoutError, match=r"no answer from ranks \[0, 1\] within 5 s"):
        launch(sleep, 2, seconds=5)


def test_more_processes_than_here_are_refused():
    with pytest.raises(ValueError, match="processes must be from 2 to 4, not 5"):
        launch(sleep, 5)

"""Compressors by their definitions, saddle problems by their exact solutions, MASHA against plain NumPy."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from engines.core import Cancelled, Context, InvalidSpec, MemoryRecorder
from engines.optimizers.claims import masha as claims
from engines.optimizers.cluster import Cluster
from engines.optimizers.compressors import Contraction, Identity, Natural, PermK, Qsgd, RandK, TopK, compressor
from engines.optimizers.methods.extragradient import Extragradient, QuantisedExtragradient
from engines.optimizers.methods.masha import Masha1, Masha2
from engines.optimizers.methods.quantised_gda import QuantisedGDA
from engines.optimizers.methods.sgd import Sgd
from engines.optimizers.problems import saddle_diabetes
from engines.optimizers.problems.mlp_digits import MlpDigits
from engines.optimizers.problems.saddle_bilinear import SaddleBilinear
from engines.optimizers.problems.saddle_diabetes import SaddleDiabetes
from engines.optimizers.saddle import FAR

METHODS = (Masha1, Masha2, Extragradient, QuantisedExtragradient, QuantisedGDA)
SIZE, DRAWS = 40, 8_000
UNBIASED = [Identity(SIZE), RandK(SIZE, 4), PermK(SIZE, 8), Natural(SIZE), Qsgd(SIZE, 3)]
name = lambda one: type(one).__name__  # noqa: E731


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def vector(seed=0):
    return torch.randn(SIZE, generator=generator(seed), dtype=torch.float64)


# -- compressors


def drawn(one):
    """What arrives of one vector, (draws, SIZE), and the vector."""
    rows = one.workers if isinstance(one, PermK) else DRAWS
    random, value = generator(1), vector()
    return torch.cat([one(value.expand(rows, -1), random) for _ in range(DRAWS // rows)]), value


@pytest.mark.parametrize("one", UNBIASED, ids=name)
def test_unbiased_with_the_stated_variance(one):
    arrived, value = drawn(one)
    bound = one.omega * value.square().sum()
    assert (arrived.mean(0) - value).square().sum() <= 1e-20 + 2 * bound / DRAWS
    assert (arrived - value).square().sum(1).mean() <= 1.05 * bound + 1e-20


@pytest.mark.parametrize(("one", "bound"), [
    (TopK(SIZE, 4), 1 - 4 / SIZE), *((Contraction(one), one.omega / (1 + one.omega)) for one in UNBIASED)])
def test_contractions_contract(one, bound):
    random, value = generator(1), vector()
    rows = 8 if isinstance(getattr(one, "_unbiased", None), PermK) else 4000
    left = [(one(value.expand(rows, -1), random) - value).square().sum(1).mean() for _ in range(4000 // rows)]
    assert torch.stack(left).mean() <= 1.02 * bound * value.square().sum() + 1e-20


def test_rand_k_and_perm_k_have_their_exact_variance():
    """(size / kept - 1) |x|^2, and no error at all in the mean over workers that agree."""
    arrived, value = drawn(UNBIASED[1])
    assert ((arrived != 0).sum(1) == 4).all()
    assert (arrived - value).square().sum(1).mean() == pytest.approx(9 * value.square().sum().item(), rel=0.05)
    mean = PermK(SIZE, 8)(value.expand(8, -1), generator()).mean(0)
    torch.testing.assert_close(mean, value, rtol=1e-15, atol=0)


def test_top_k_keeps_the_largest():
    values = torch.tensor([[1.0, -5.0, 0.0, 3.0], [0.1, 0.2, -0.3, 0.25]])
    expected = torch.tensor([[0.0, -5.0, 0.0, 3.0], [0.0, 0.0, -0.3, 0.25]])
    assert torch.equal(TopK(4, 2)(values, generator()), expected)


def test_natural_gives_the_powers_of_two_around():
    values = torch.tensor([[1.0, -0.25, 0.0, 3.0, -0.7, 1e-30]], dtype=torch.float64)
    for seed in range(20):
        arrived = Natural(6)(values, generator(seed))[0]
        assert arrived[:3].tolist() == [1.0, -0.25, 0.0] and arrived[3] in (2.0, 4.0) and arrived[4] in (-0.5, -1.0)
        assert np.log2(arrived[5].item()) in (-100, -99)


def test_qsgd_gives_multiples_of_its_unit_and_zero_stays():
    values = torch.stack((vector(), torch.zeros(SIZE, dtype=torch.float64)))
    arrived = Qsgd(SIZE, 3)(values, generator())
    steps = arrived[0] / (values[0].norm() / 3)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-12)
    assert (arrived[1] == 0).all() and (arrived[0] * values[0] >= 0).all()


def test_bytes_on_the_wire():
    weights = {"identity": 800, "rand-k": 80, "top-k": 160, "perm-k": 40, "natural": 225, "qsgd": 104}
    assert {one: compressor(one, 200, 20, 0.1, 7).bytes for one in weights} == weights
    assert RandK(200, 20, places=True).bytes == 160 and PermK(203, 20).bytes == 44
    assert Contraction(RandK(200, 20)).bytes == 80


@pytest.mark.parametrize("make", [lambda: RandK(10, 0), lambda: RandK(10, 11), lambda: TopK(10, 0),
                                  lambda: TopK(10, 11), lambda: PermK(3, 4), lambda: Qsgd(10, 0)])
def test_impossible_compressors_are_refused(make):
    with pytest.raises(InvalidSpec, match=r"method\.(share|compressor|levels)"):
        make()


def test_a_share_that_keeps_nothing_names_the_field(quick_run):
    with pytest.raises(InvalidSpec, match=r"method\.share: keeps 0 of 100 numbers"):
        quick_run("saddle-bilinear", {"id": "masha1", "share": 0.001})
    for share in (0.0, 1.1):
        with pytest.raises(ValidationError, match="share"):
            Masha2(share=share)


# -- problems


def test_the_bilinear_operator_is_the_gradient_of_its_formula(make_context):
    saddle = SaddleBilinear(noise=0.5).saddle(make_context())
    assert saddle.workers == 10 and saddle.solution.shape == (100,)
    matrices = saddle._rows.view(10, 50, 50)
    x, y = (torch.randn(50, generator=generator(s), dtype=torch.float64).requires_grad_() for s in (0, 1))
    found = saddle.operators(torch.cat((x, y)).detach())
    for worker in range(10):
        a, b = saddle._linear[worker, :50], -saddle._linear[worker, 50:]
        value = x @ matrices[worker] @ y + a @ x + b @ y + 0.05 * (x @ x) - 0.05 * (y @ y)
        up, down = torch.autograd.grad(value, (x, y))
        torch.testing.assert_close(found[worker], torch.cat((up, -down)), rtol=1e-12, atol=1e-12)


def test_the_bilinear_solution_and_constants(make_context):
    saddle = SaddleBilinear(noise=0.0).saddle(make_context())
    assert saddle.operators(saddle.solution).mean(0).norm() < 1e-10
    assert saddle.lipschitz == pytest.approx(math.hypot(10, 0.1), rel=1e-10)
    singular = torch.linalg.svdvals(saddle.matrix)
    torch.testing.assert_close(singular, torch.linspace(10, 0, 50, dtype=torch.float64), rtol=0, atol=1e-10)
    symmetric = (saddle.jacobian() + saddle.jacobian().T) / 2
    torch.testing.assert_close(symmetric, 0.1 * torch.eye(100, dtype=torch.float64), rtol=0, atol=1e-14)


def test_the_diabetes_solution_is_a_saddle_point_of_its_formula(make_context):
    saddle = SaddleDiabetes().saddle(make_context())

    def value(w, r):
        residual = (saddle._x + r) @ w - saddle._y
        return 0.5 * residual.square().mean() + 0.05 * (w @ w) - 2 * (r @ r)

    weights, shift = saddle.solution.chunk(2)
    at, random = value(weights, shift), generator()
    for _ in range(100):
        step = 0.1 * torch.randn(10, generator=random, dtype=torch.float64)
        assert value(weights, shift + step) < at < value(weights + step, shift)
    assert shift.norm() > 0.1 and saddle.monotone > 0 and saddle.operators(saddle.solution).mean(0).norm() < 1e-11


def test_the_diabetes_workers_mean_is_the_gradient(make_context):
    """Workers of unequal sizes: the mean of their means."""
    saddle = SaddleDiabetes(workers=4).saddle(make_context())
    z = torch.randn(20, generator=generator(), dtype=torch.float64).requires_grad_()
    weights, shift = z.chunk(2)
    residual = (saddle._x + shift) @ weights - saddle._y
    value = (saddle._means @ (0.5 * residual**2)).mean() + 0.05 * (weights @ weights) - 2 * (shift @ shift)
    up, down = torch.autograd.grad(value, z)[0].chunk(2)
    torch.testing.assert_close(saddle.operators(z.detach()).mean(0), torch.cat((up, -down)), rtol=1e-12, atol=1e-12)
    assert saddle._means.count_nonzero(1).sum() == 442


def test_a_solution_that_is_not_found_names_the_field(make_context, monkeypatch):
    monkeypatch.setattr(saddle_diabetes, "NEWTON", 2)
    with pytest.raises(InvalidSpec, match=r"problem\.price"):
        SaddleDiabetes().saddle(make_context())


# -- methods


def started(method, context: Context, problem=None):
    saddle = (problem or SaddleBilinear()).saddle(context)
    return method.start(saddle, Cluster(saddle.workers, context), context)


def test_masha1_with_the_identity_is_extragradient(make_context):
    """All shares sent, τ = 0: the snapshot is renewed in every step."""
    one = started(Masha1(compressor="identity"), make_context())
    other = started(Extragradient(), make_context())
    for _ in range(20):
        one.advance()
        other.advance()
    torch.testing.assert_close(one.z, other.z, rtol=1e-11, atol=1e-13)


class Coin:
    """Replays what the run drew."""

    def __init__(self, seed):
        self.random = generator(seed)

    def uniform(self, *shape):
        return torch.rand(shape, generator=self.random, dtype=torch.float64).numpy()

    def flip(self):
        return torch.rand((), generator=self.random).item()


@pytest.mark.parametrize("both_ways", [False, True])
def test_masha1_is_its_algorithm_in_numpy(make_context, both_ways):
    run = started(Masha1(share=0.1, c=0.5, both_ways=both_ways), make_context(seed=3))
    saddle, coin = run.saddle, Coin(3)
    size, gamma, tau = 100, 0.5 * math.sqrt(0.1) / run.saddle.lipschitz, 0.9

    def rand_k(rows):
        places = np.argsort(-coin.uniform(*rows.shape), axis=1)[:, :10]
        kept = np.zeros_like(rows)
        np.put_along_axis(kept, places, np.take_along_axis(rows, places, 1) * 10, 1)
        return kept

    def operators(z):
        return saddle.operators(torch.from_numpy(z)).numpy()

    z = w = np.zeros(size)
    renewed = 0
    for _ in range(40):
        mean = tau * z + (1 - tau) * w
        half = mean - gamma * operators(w).mean(0)
        difference = rand_k(operators(half) - operators(w)).mean(0)
        if both_ways:
            difference = rand_k(difference[None])[0]
        z = mean - gamma * operators(w).mean(0) - gamma * difference
        if coin.flip() < 1 - tau:
            w, renewed = z, renewed + 1
        run.advance()
    assert renewed > 0
    np.testing.assert_allclose(run.z.numpy(), z, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run.w.numpy(), w, rtol=1e-9, atol=1e-12)
    assert run.refreshes == (1 + renewed) * 10 * 400 and run.cluster.up == run.refreshes + 40 * 10 * 40
    assert run.cluster.down == (1 + renewed) * 10 * 400 + 40 * 10 * (40 if both_ways else 400)


@pytest.mark.parametrize("both_ways", [False, True])
def test_masha2_is_its_algorithm_in_numpy(make_context, both_ways):
    run = started(Masha2(share=0.1, c=0.3, both_ways=both_ways), make_context(seed=4))
    saddle, coin = run.saddle, Coin(4)
    gamma, tau = 0.3 * math.sqrt(0.1) / saddle.lipschitz, 0.9

    def top_k(rows):
        places = np.argsort(-np.abs(rows), axis=1)[:, :10]
        kept = np.zeros_like(rows)
        np.put_along_axis(kept, places, np.take_along_axis(rows, places, 1), 1)
        return kept

    def operators(z):
        return saddle.operators(torch.from_numpy(z)).numpy()

    z = w = np.zeros(100)
    left, left_down = np.zeros((10, 100)), np.zeros(100)
    for _ in range(40):
        mean = tau * z + (1 - tau) * w
        half = mean - gamma * operators(w).mean(0)
        wanted = gamma * operators(half) - gamma * operators(w) + left
        message = top_k(wanted)
        left = wanted - message
        down = message.mean(0) + left_down
        arrived = top_k(down[None])[0] if both_ways else down
        left_down = down - arrived
        z = mean - gamma * operators(w).mean(0) - arrived
        if coin.flip() < 1 - tau:
            w = z
        run.advance()
    np.testing.assert_allclose(run.z.numpy(), z, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(run.left.numpy(), left, rtol=1e-9, atol=1e-12)
    assert run.cluster.up == run.refreshes + 40 * 10 * 80


def test_the_fixed_point_is_the_solution_and_noise_vanishes_there(make_context):
    """Differences are compressed, not operators: at the solution nothing moves, while quantised operators do."""
    for method, still in ((Masha1(), True), (Masha2(), True), (Extragradient(), True), (QuantisedGDA(), False),
                          (QuantisedExtragradient(), False)):
        context = make_context()
        saddle = SaddleBilinear().saddle(context)
        saddle.start = saddle.solution.clone  # type: ignore[method-assign]
        run = method.start(saddle, Cluster(10, context), context)
        for _ in range(10):
            run.advance()
        assert (saddle.error(run.z) < 1e-20) == still


def test_partial_participation_bills_the_senders_alone(make_context):
    run = started(Masha1(participation=0.3), make_context())
    for _ in range(20):
        run.advance()
    assert run.cluster.up == run.refreshes + 20 * 3 * 40


@pytest.mark.parametrize("name", ["rand-k", "perm-k", "natural", "qsgd", "identity"])
def test_masha1_converges_linearly_with_every_compressor(quick_run, name):
    found = quick_run("saddle-diabetes", {"id": "masha1", "compressor": name}, steps=300)
    assert found.summary["error"] < 1e-8


@pytest.mark.parametrize("method", [{"compressor": name} for name in ("top-k", "rand-k", "natural")]
                         + [{"both_ways": True}])
def test_masha2_converges(quick_run, method):
    found = quick_run("saddle-diabetes", {"id": "masha2", **method}, steps=400)
    assert found.summary["error"] < 1e-8


def test_partial_participation_converges(quick_run):
    assert quick_run("saddle-diabetes", {"id": "masha1", "participation": 0.5}, steps=400).summary["error"] < 1e-8


@pytest.mark.parametrize("problem", ["saddle-bilinear", "saddle-diabetes"])
@pytest.mark.parametrize("method", [method.id for method in METHODS])
def test_two_runs_are_equal_and_stream(quick_run, problem, method):
    one, two = (quick_run(problem, method, steps=60) for _ in range(2))
    assert one.summary == two.summary
    assert {"error", "residual", "bytes_up", "bytes_refresh", "simulated_seconds"} <= set(one.series)
    assert list(one.artifacts) == ["curves.plotly.json"]
    assert one.cost["bytes"] >= one.summary["bytes_up"] and one.cost["grad_evals"] > 0


def test_divergence_is_a_result(quick_run):
    found = quick_run("saddle-bilinear", {"id": "extragradient", "c": 50.0}, steps=2000)
    assert found.summary["error"] == FAR and found.summary["steps"] < 50
    assert np.isfinite(found.series["error"][1]).all()


def test_pairs_are_refused_with_a_reason():
    for method in METHODS:
        assert method().accepts(MlpDigits()) == "it is not a saddle-point problem"
        assert method().accepts(SaddleBilinear()) is None and method().accepts(SaddleDiabetes()) is None
    assert Sgd().accepts(SaddleBilinear()) == "it is not a training problem"


def test_a_run_is_cancelled_and_goes_on(make_context):
    class Stop(MemoryRecorder):
        def cancelled(self):
            return len(self.series.get("error", ())) > 5

    with pytest.raises(Cancelled):
        Masha1().run(SaddleBilinear(), make_context(steps=100, recorder=Stop()))


@pytest.mark.parametrize("method", [Masha1(), Masha2(both_ways=True)])
def test_a_leg_goes_on_from_the_last(make_context, method):
    whole = make_context(steps=50)
    method.run(SaddleBilinear(), whole)
    for until in (20, None):
        leg = make_context(steps=50)
        leg.until = until
        method.run(SaddleBilinear(), leg)
    assert leg.summary == whole.summary


def test_the_claim_takes_the_first_point_below_its_target():
    class Found:
        series = {"error": (np.arange(3), np.array([1.0, 9e-5, 1e-6])),
                  "bytes_up": (np.arange(3), np.array([10.0, 20.0, 30.0])),
                  "bytes_refresh": (np.arange(3), np.array([10.0, 14.0, 18.0]))}

    assert claims.bytes_to(Found(), 1e-4) == 20 and claims.bytes_to(Found(), 1e-4, places=True) == 26
    assert claims.bytes_to(Found(), 1e-9) == math.inf


def test_a_target_that_is_not_reached_is_said():
    class Found:
        def __init__(self, spec, last):
            self.spec, column = spec, lambda *values: (np.arange(2), np.array(values))
            self.series = {"error": column(1.0, last), "bytes_up": column(0.0, 5.0), "bytes_refresh": column(0.0, 1.0)}

    part = claims.claim.parts[2]
    reached = part.verdict([Found(spec, 1e-5) for spec in part.runs])
    assert reached.measured == 1.0 and reached.state == "does not hold"
    missed = part.verdict([Found(spec, 1e-5 if spec in claims.WHOLE else 1.0) for spec in part.runs])
    assert math.isnan(missed.measured) and missed.state == "does not hold" and "no c" in missed.note

"""The problems against independent answers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.core import InvalidSpec, MissingData, RunSpec
from engines.optimizers.batches import Epochs, Noise, Offsets
from engines.optimizers.problems.bigram_toy import BigramToy, language
from engines.optimizers.problems.charlm import Charlm, encode
from engines.optimizers.problems.logreg_a9a import LogregA9a, minimum, read_libsvm
from engines.optimizers.problems.mlp_digits import MlpDigits
from engines.optimizers.problems.river_valley import RiverValley

# -- data orders


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 300), share=st.floats(0, 1), seed=st.integers(0, 100))
def test_every_epoch_sees_every_row_once(rows, share, seed):
    batches = Epochs(rows, max(1, round(share * rows)), seed)
    for _ in range(2):
        epoch = torch.cat([batches.next() for _ in range(batches.steps_per_epoch)])
        assert sorted(epoch.tolist()) == list(range(rows))


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 100), batch=st.integers(1, 100), samples=st.integers(1, 1000))
def test_steps_for_counts_what_is_drawn(rows, batch, samples):
    batches = Epochs(rows, min(batch, rows), 0)
    steps = batches.steps_for(samples)
    drawn = [len(batches.next()) for _ in range(steps)]
    assert sum(drawn) >= samples > sum(drawn[:-1])


@pytest.mark.parametrize("make", [lambda: Epochs(10, 3, 5), lambda: Offsets(100, 4, 5), lambda: Noise(2, 5)])
def test_a_restored_order_goes_on_where_it_was(make):
    one = make()
    for _ in range(5):
        one.next()
    state = one.state()
    expected = [one.next().clone() for _ in range(9)]
    two = make()
    two.restore(state)
    assert all(torch.equal(two.next(), value) for value in expected)


def test_batches_larger_than_the_data_are_refused():
    for batch in (0, 11):
        with pytest.raises(ValueError, match=f"a batch of {batch} from 10 rows"):
            Epochs(10, batch, 0)


# -- mlp-digits


def test_the_split_and_the_networks(make_context):
    context = make_context()
    for depth, parameters in ((3, 64 * 64 * 2 + 64 * 2 + 650), (6, 64 * 64 * 5 + 64 * 5 + 650)):
        task = MlpDigits(depth=depth).task(context)
        assert sum(value.numel() for value in task.parameters().values()) == parameters
    data = task.data
    assert data["train_x"].shape == (1437, 64) and data["test_x"].shape == (360, 64)
    assert data["train_x"].min() == 0 and data["train_x"].max() == 1
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, labels, train_size=1437, test_size=360, random_state=0)
    for name, part in zip(("train_x", "test_x", "train_y", "test_y"), parts, strict=True):
        np.testing.assert_array_equal(data[name].numpy(), part)
    rows = {tuple(row) for row in data["train_x"].tolist()}
    assert not any(tuple(row) in rows for row in data["test_x"].tolist())


def test_sizes_are_epochs(make_context):
    for size, steps in (("quick", 150), ("standard", 600), ("large", 1500)):
        assert MlpDigits(size=size, batch=100).task(make_context()).steps == steps
    assert MlpDigits(batch=1437).task(make_context()).steps == 10


def test_equal_seeds_give_equal_models_and_orders(make_context):
    def start(seed):
        torch.rand(seed + 3)  # whatever was drawn before
        task = MlpDigits().task(make_context(seed=seed))
        return [value.clone() for value in task.parameters().values()], task.batches.next()

    (one, first), (two, second), (other, third) = start(0), start(0), start(1)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True)) and torch.equal(first, second)
    assert not torch.equal(one[0], other[0]) and not torch.equal(first, third)


# -- logreg-a9a


def test_the_optimum_agrees_with_scikit_learn(make_context, data_root):
    from sklearn.linear_model import LogisticRegression

    task = LogregA9a().task(make_context())
    x, y = task.data["train_x"].numpy(), task.data["train_y"].numpy()
    assert x.shape == (2000, 123) and set(np.unique(y)) == {-1.0, 1.0}
    found = LogisticRegression(C=1.0, fit_intercept=False, solver="newton-cholesky", tol=1e-14, max_iter=500).fit(x, y)
    weights = found.coef_[0]
    value = np.logaddexp(0, -y * (x @ weights)).mean() + weights @ weights / (2 * len(y))
    assert task.optimum == pytest.approx(value, abs=1e-12)
    ours = minimum(x, y, 1 / len(y))
    assert ours["gradient"] < 1e-9
    with torch.no_grad():
        task.model.weight.copy_(ours["weights"])
        measured = task.evaluate(lambda: None)
    assert abs(measured["gap"]) < 1e-13
    assert 0.84 <= measured["test/accuracy"] <= 0.86


def test_the_gradient_is_right(make_context, data_root):
    task = LogregA9a().task(make_context())
    torch.manual_seed(0)
    rows = torch.arange(50)
    point = torch.randn_like(task.model.weight).requires_grad_()

    def objective(weights):
        margins = task.data["train_y"][rows] * (task.data["train_x"][rows] @ weights.squeeze(0))
        return torch.log1p(torch.exp(-margins)).mean() + weights.square().sum() / (2 * 2000)

    assert torch.autograd.gradcheck(objective, (point,))
    with torch.no_grad():
        task.model.weight.copy_(point)
    task.loss(rows).backward()
    (expected,) = torch.autograd.grad(objective(point), point)
    torch.testing.assert_close(task.model.weight.grad, expected)


def test_both_label_codings_are_read(tmp_path):
    for text in ("0 3:1 11:1 \n1 5:1 \n", "-1 3:1 11:1 \n+1 5:1 \n"):
        (tmp_path / "data").write_text(text)
        x, y = read_libsvm(tmp_path / "data")
        assert y.tolist() == [-1, 1] and x.shape == (2, 123) and x[0].nonzero()[0].tolist() == [2, 10]
    (tmp_path / "data").write_text("2 3:1\n")
    with pytest.raises(ValueError, match="labels must be"):
        read_libsvm(tmp_path / "data")


def test_a_batch_larger_than_its_size_names_the_rows():
    spec = RunSpec(engine="optimizers", problem={"id": "logreg-a9a", "batch": 2001}, method={"id": "sgd"},
                   budget={"steps": 1})
    with pytest.raises(InvalidSpec, match="2000, the rows of size quick"):
        spec.resolve()


def test_lbfgs_reaches_a_gap_of_1e_6(quick_run, data_root):
    result = quick_run("logreg-a9a", "lbfgs", grad_evals=100)
    assert 0 <= result.summary["gap"] < 1e-6
    assert result.cost["grad_evals"] == 100
    result = quick_run("logreg-a9a", "lbfgs", steps=50)
    assert abs(result.summary["gap"]) < 1e-12


# -- charlm


def test_parameters_and_first_loss(make_context, data_root):
    task = Charlm().task(make_context())
    d, layers, context, characters = 64, 2, 64, 65
    block = 4 * d + (3 * d * d + 3 * d) + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d)
    expected = characters * d * 2 + context * d + layers * block + 2 * d
    assert sum(value.numel() for value in task.parameters().values()) == expected
    with torch.no_grad():
        first = task.evaluate(lambda: None)["val/loss"]
    assert first == pytest.approx(math.log(65), abs=0.1)
    assert task.evaluate(lambda: None) == task.evaluate(lambda: None)


def test_no_position_sees_the_future(make_context, data_root):
    model = Charlm().task(make_context()).model
    text = torch.randint(65, (1, 64), generator=torch.Generator().manual_seed(0))
    changed = text.clone()
    changed[0, 40:] = (changed[0, 40:] + 1) % 65
    with torch.no_grad():
        one, two = model(text), model(changed)
    torch.testing.assert_close(one[0, :40], two[0, :40])
    assert not torch.allclose(one[0, 40:], two[0, 40:])


def test_training_and_validation_text_do_not_overlap(make_context, data_root):
    task = Charlm().task(make_context())
    assert len(task.train) == int(0.9 * 1_115_394) and len(task.train) + len(task.validation) == 1_115_394
    last = task.windows(task.train, torch.tensor([len(task.train) - 65]))
    assert torch.equal(last[0], task.train[-65:])


def test_codes_follow_the_bytes():
    assert encode(b"banana\n").tolist() == [2, 1, 3, 1, 3, 1, 0]


@pytest.mark.parametrize("problem", ["charlm", "logreg-a9a"])
def test_missing_data_says_how_to_get_it(quick_run, monkeypatch, tmp_path, problem):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    with pytest.raises(MissingData, match=r"manage\.py data fetch (a9a|tiny_shakespeare)"):
        quick_run(problem, "sgd")


# -- the toys


def test_the_river_valley_is_its_formula(make_context):
    task = RiverValley(noise=0).task(make_context())
    with torch.no_grad():
        task.model.at.copy_(torch.tensor([2.0, 3.0]))
        found = task.evaluate(lambda: None)
    river = 0.2 * (math.sqrt(1 + 18**2) - 1)
    hill = 0.5 * 4 * (1 + 4 / 104) * (3 - math.sin(1)) ** 2
    assert found == pytest.approx({"value": river + hill, "river": river, "hill": hill})


def test_the_bigram_language_has_the_stated_entropy(make_context):
    table = language(16)
    assert torch.allclose(table.sum(1), torch.ones(16, dtype=torch.float64))
    assert (table[:8].max(1).values == 1).all() and (table[8:].max(1).values < 0.9).all()
    task = BigramToy().task(make_context())
    with torch.no_grad():
        task.model.logits.copy_(torch.log(table.clamp_min(1e-300)))
        found = task.evaluate(lambda: None)
    assert all(abs(value) < 1e-12 for value in found.values())
    draws = torch.cat([task.batches.next() for _ in range(500)])
    counts = torch.zeros(16, 16, dtype=torch.float64).index_put_(tuple(draws.T), torch.ones(len(draws)).double(), True)
    torch.testing.assert_close(counts / counts.sum(1, keepdim=True), table, atol=0.05, rtol=0)

"""The auto-encoder and the convolutional network against independent answers."""

import gzip
import itertools

import numpy as np
import pytest
import torch

from engines.core import Cancelled, MissingData
from engines.optimizers.problems.ae_digits import AeDigits
from engines.optimizers.problems.cnn_mnist10k import CnnMnist10k, MnistData, read_idx, shrunk

# -- ae-digits


def test_the_auto_encoder_and_its_error(make_context):
    task = AeDigits().task(make_context())
    widths = [64, 48, 24, 8, 24, 48, 64]
    assert sum(value.numel() for value in task.parameters().values()) == sum(
        a * b + b for a, b in itertools.pairwise(widths))
    images, targets = task.examples(task.batches.next())
    assert images.shape == (64, 64) and torch.equal(images, targets)
    by_hand = sum(((task.model(image) - image) ** 2).sum() for image in images) / 64
    rows = torch.arange(64)
    torch.testing.assert_close(task.loss(rows), task.criterion(task.model(task.train[:64]), task.train[:64]))
    torch.testing.assert_close(task.criterion(task.model(images), targets), by_hand)


def test_the_errors_that_the_problem_names(make_context):
    """Of the mean image and of eight principal components, which a good optimizer comes near."""
    from sklearn.decomposition import PCA

    task = AeDigits().task(make_context())
    train, test = task.train.numpy(), task.test.numpy()
    assert ((test - train.mean(0)) ** 2).sum(1).mean() == pytest.approx(4.7, abs=0.1)
    components = PCA(8).fit(train)
    rebuilt = components.inverse_transform(components.transform(test))
    assert ((test - rebuilt) ** 2).sum(1).mean() == pytest.approx(1.6, abs=0.05)


def test_lengths_of_the_auto_encoders_runs(make_context):
    assert [AeDigits(size=size).task(make_context()).steps for size in ("quick", "standard", "large")] == [
        200, 400, 2000]


def test_training_the_auto_encoder_lowers_its_error(quick_run):
    result = quick_run("ae-digits", "adamw", steps=100)
    errors = result.series["test/error"][1]
    assert errors[-1] < 0.8 * errors[0]


# -- cnn-mnist10k


def test_the_images_are_those_of_the_file(data_root, make_context):
    key = MnistData.of()
    data = make_context().cached(key, key.load)
    assert data["pixels"].shape == (10_000, 28, 28) and data["pixels"].dtype == torch.uint8
    assert torch.bincount(data["labels"]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    with gzip.open(data_root / "mnist-t10k" / "t10k-images-idx3-ubyte.gz") as file:
        raw = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
    first = np.random.default_rng(0).permutation(10_000)[0]
    np.testing.assert_array_equal(data["pixels"][0].numpy(), raw[first])


def test_shrinking_keeps_the_ink():
    pixels = torch.randint(256, (3, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    small = shrunk(pixels) * 0.3081 + 0.1307
    assert small.shape == (3, 1, 16, 16)
    torch.testing.assert_close(4 * 255 * small.sum((1, 2, 3)), pixels.float().sum((1, 2)))
    torch.testing.assert_close(small[0, 0, 1, 1].item(), pixels[0, :2, :2].float().mean().item() / 255)
    assert small[:, :, 0].abs().max() < 1e-6  # the margin


@pytest.mark.parametrize(("normalisation", "buffers"), [("group", 0), ("batch", 9)])
def test_the_network_and_its_normalisation(data_root, make_context, normalisation, buffers):
    task = CnnMnist10k(normalisation=normalisation).task(make_context())
    expected = sum(9 * a * b + b + 2 * b for a, b in ((1, 16), (16, 32), (32, 64))) + 650
    assert sum(value.numel() for value in task.parameters().values()) == expected
    assert len(list(task.model.buffers())) == buffers
    before = [value.clone() for value in task.model.state_dict().values()]
    with torch.no_grad():
        found = task.evaluate(lambda: None)
    assert found["test/loss"] == pytest.approx(np.log(10), abs=0.2) and task.model.training
    assert all(torch.equal(a, b) for a, b in zip(before, task.model.state_dict().values(), strict=True))
    inputs, targets = task.examples(task.batches.next())
    assert inputs.shape == (64, 1, 16, 16) and targets.shape == (64,)
    assert task.steps == 2 * 110


def test_the_network_learns(data_root, make_context):
    task = CnnMnist10k(normalisation="batch").task(make_context())
    optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(50):
        optimizer.zero_grad()
        task.loss(task.batches.next()).backward()
        optimizer.step()
    with torch.no_grad():
        assert task.evaluate(lambda: None)["test/accuracy"] > 0.5


def test_judging_the_network_can_be_stopped(data_root, make_context):
    def poll():
        raise Cancelled

    with pytest.raises(Cancelled), torch.no_grad():
        CnnMnist10k().task(make_context()).evaluate(poll)


def test_missing_images_say_how_to_get_them(quick_run, monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    with pytest.raises(MissingData, match=r"manage\.py data fetch mnist-t10k"):
        quick_run("cnn-mnist10k", "sgd")


@pytest.mark.parametrize("content", [b"", b"\0\0\x0d\x01\0\0\0\1\0", b"\0\0\x08\x01\0\0\0\5abc"])
def test_what_is_no_idx_file_is_refused(tmp_path, content):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=r"images\.gz: (not an IDX file|its header promises)"):
        read_idx(path)

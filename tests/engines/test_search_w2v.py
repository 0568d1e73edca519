"""Word vectors: gradients against autograd, batches against their definition, a protocol that stays the same."""

import math

import numpy as np
import pytest
import torch

from engines.core import Diverged, data_file
from engines.core.errors import MissingData
from engines.search.core import drive
from engines.search.methods.random_search import RandomSearch
from engines.search.problems import w2v
from engines.search.problems.w2v import Corpus, Pairs, Word2Vec, auc, batches, corpus, draw, nearest, step, train

try:
    FILE = data_file("tiny_shakespeare", "input.txt")
except MissingData:
    FILE = None
needs_text = pytest.mark.skipif(FILE is None, reason="the data set tiny_shakespeare is not under DATA_ROOT")

USUAL = {one.name: one.default for one in Word2Vec().space().parameters}


def little(words=40, tokens=3000, seed=0):
    """Even words stand beside even ones, odd beside odd."""
    rng = np.random.default_rng(seed)
    parity = np.repeat(rng.integers(2, size=tokens // 20), 20)
    text = 2 * rng.integers(words // 2, size=len(parity)) + parity
    counts = np.bincount(text, minlength=words)
    centres = rng.integers(words, size=400)
    same = (centres + 2 * rng.integers(1, words // 2, 400)) % words
    other = (centres[:, None] + 1 + 2 * rng.integers(words // 2, size=(400, 10))) % words
    judged = Pairs(*(torch.from_numpy(part) for part in (centres, same, other)))
    return Corpus(tuple(f"w{number}" for number in range(words)), counts, text, judged, judged)


def test_a_step_follows_the_gradient_of_the_loss():
    torch.manual_seed(0)
    centres, contexts = torch.randn(9, 5, dtype=torch.float64), torch.randn(9, 5, dtype=torch.float64)
    words, others = torch.tensor([1, 4, 1]), torch.tensor([[2, 3, 8, 8], [1, 1, 0, 7], [5, 2, 3, 6]])
    weights = torch.tensor([[1, 0, 1, 1], [1, 1, 2, 2], [1, 1, 2, 2]], dtype=torch.float64)
    v, u = centres.clone().requires_grad_(), contexts.clone().requires_grad_()
    scores = (u[others] * v[words][:, None]).sum(2)
    sign = torch.tensor([1, 1, -1, -1])
    loss = -(weights * torch.nn.functional.logsigmoid(sign * scores)).sum()
    loss.backward()
    step(centres, contexts, words, others, weights, 2, 0.1)
    expected = v.detach() - 0.1 * v.grad, u.detach() - 0.1 * u.grad
    torch.testing.assert_close((centres, contexts), expected)


def test_a_window_holds_the_words_around_its_centre():
    text, params = little(tokens=300), USUAL | {"window": 3, "negatives": 2}
    reach = np.random.default_rng(5).integers(1, 4, 300)
    seen = 0
    for at, (words, others, weights) in batches(text, text.train, params, np.random.default_rng(5)):
        for row in range(len(words)):
            place = at + row
            around = [other for offset in (-3, -2, -1, 1, 2, 3) if abs(offset) <= reach[place]
                      and 0 <= (other := place + offset) < 300]
            real = weights[row, :6].bool()
            assert others[row, :6][real].tolist() == text.train[around].tolist() and words[row] == text.train[place]
            assert weights[row, 6:].tolist() == [len(around)] * 2
            seen += 1
    assert seen == 300


def test_words_are_drawn_by_a_power_of_their_counts():
    counts = np.array([100, 10, 0, 1])
    drawn = np.bincount(draw(counts, 0.75, (40_000,), np.random.default_rng(0)), minlength=4) / 40_000
    shares = np.array([100**0.75, 10**0.75, 0, 1])
    assert drawn == pytest.approx(shares / shares.sum(), abs=0.01) and drawn[2] == 0


def test_auc_is_the_mann_whitney_statistic():
    from scipy.stats import mannwhitneyu

    torch.manual_seed(1)
    centres, contexts = torch.randint(-3, 4, (2, 30, 4)).float()  # whole numbers: ties are ties
    judged = Pairs(torch.randint(30, (50,)), torch.randint(30, (50,)), torch.randint(30, (50, 10)))
    shares = [mannwhitneyu([float(centres[c] @ contexts[t])], (contexts[n] @ centres[c]).numpy()).statistic / 10
              for c, t, n in zip(judged.centres, judged.contexts, judged.noise, strict=True)]
    assert auc(centres, contexts, judged) == pytest.approx(np.mean(shares), abs=1e-9)


def test_training_finds_which_words_stand_together():
    text = little()
    settings = USUAL | {"dimension": 16, "lr": 0.05, "subsample": 1e-2, "window": 3}
    vectors = train(text, settings, 0, 3)
    assert auc(*vectors, text.validation) > 0.9
    assert all(int(word[1:]) % 2 == 0 for word, _ in nearest(vectors[0], text.words, "w4"))
    assert all(torch.equal(one, two) for one, two in zip(vectors, train(text, settings, 0, 3), strict=True))


def test_vectors_that_are_no_numbers_are_a_failure():
    text = little()
    with pytest.raises(Diverged, match="vectors"):
        train(text, USUAL | {"lr": 1e12, "subsample": 1e-2}, 0, 1)


@needs_text
def test_the_corpus_is_split_by_position():
    text = corpus(FILE)
    assert len(text.words) == 3330 and text.words[0] == "the" and len(text.train) == int(0.8 * 188_851)
    assert text.counts.sum() == len(text.train)
    for judged in (text.validation, text.test):
        assert judged.noise.shape == (w2v.PAIRS, w2v.NOISES) and (text.counts[judged.noise.numpy()] > 0).all()


@needs_text
def test_a_short_search_reports_its_gain_and_the_nearest_words(monkeypatch):
    text = corpus(FILE)
    short = Corpus(text.words, text.counts, text.train[:6000], text.validation, text.test)
    monkeypatch.setattr(w2v, "corpus", lambda path: short)
    w2v._usual.cache_clear()
    problem, seen = Word2Vec(), {}
    search = RandomSearch().begin(problem.space(), problem.objectives(), seed=0)

    def evaluate(trial):
        seen[trial.id] = problem.evaluate(trial.params, trial.seed)
        return seen[trial.id]

    drive(search, evaluate, trials=3)
    found = problem.judge(search, seen)
    assert found["gain"] == pytest.approx(found["best"] - problem.evaluate(USUAL, 0)["val/auc"])
    assert all(math.isfinite(value) and abs(value) <= 1 for value in found.values())
    figure = problem.figures(search)["neighbours"]["data"][0]
    assert figure["y"][-1] == "king" and all(len(row) == w2v.NEIGHBOURS for row in figure["text"])
    w2v._usual.cache_clear()

"""Gradient descent-ascent with quantised messages."""

from typing import ClassVar, Literal

from engines.core import Context, Source, param

from ..cluster import Cluster
from ..compressors import compressor
from ..saddle import Saddle, SaddleMethod
from .extragradient import QuantisedRun


class DescentAscentRun(QuantisedRun):
    def advance(self) -> None:
        self.z = self.z - self.step * self.mean(self.z)


class QuantisedGDA(SaddleMethod):
    """z ← z - γ avg Q(F_m(z)): simultaneous descent in x and ascent in y, as distributed training does it (QSGD).

    The baseline that shows why saddle points need methods of their own: where the operator turns more than it
    contracts (bilinear problems) it only converges for γ < 2μ/L², and then slowly. Step: c μ / L², its theory's; with
    c / L it would diverge there for every c of interest. It loses everywhere but on well-conditioned problems.
    """

    id: ClassVar[str] = "quantised-gda"
    title: ClassVar[str] = "Quantised gradient descent-ascent"
    source: ClassVar[Source | None] = Source(
        "Alistarh, Grubic, Li, Tomioka, Vojnovic", 2017,
        "QSGD: communication-efficient SGD via gradient quantization and encoding", "NeurIPS", "1610.02132")

    compressor: Literal["qsgd", "natural", "rand-k", "perm-k", "identity"] = param("qsgd", "unbiased compressor")
    share: float = param(0.1, "share of the numbers that rand-k keeps", log=True, gt=0, le=1)
    levels: int = param(7, "levels of qsgd", ge=1, le=32_767)

    def start(self, saddle: Saddle, cluster: Cluster, context: Context) -> DescentAscentRun:
        message = compressor(self.compressor, saddle.solution.numel(), saddle.workers, self.share, self.levels)
        step = self.c * saddle.monotone / saddle.lipschitz**2
        return DescentAscentRun(saddle, cluster, context, step, message)

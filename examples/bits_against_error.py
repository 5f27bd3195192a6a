# %% [markdown]
# # Bits against error
#
# One network told in ever more bins: how many bits the file takes, and how wrong the picture is that it draws.

# %%
import numpy as np
from matplotlib.figure import Figure

import draw_poly
from draw_poly.engine.code.picture import drawn, error
from draw_poly.engine.code.weights import Wanted, Weights

EPOCHS, BINS = 600, [2**power for power in range(4, 15)]
y, x = np.mgrid[-1:1:128j, -1:1:128j]
ring = (255 * np.exp(-((np.hypot(x, y) - 0.6) ** 2) / 0.03)).astype(np.uint8)

# %%
run = draw_poly.train(ring, "[10]*4", EPOCHS, seed=1)
for _ in run:
    pass
weights = Weights.of_state(run.state, run.config.kolmogorov_term)
codes = [weights.code(Wanted(bins=bins), run.size) for bins in BINS]
errors = [error(drawn(run.network, code.parameters, run.size), ring) for code in codes]
for bins, code, missed in zip(BINS, codes, errors, strict=True):
    print(f"{bins:6} bins: {code.bits:6} bits, {missed}")

# %%
figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
axes.plot([code.bits for code in codes], [missed.squared for missed in errors], "o-")
axes.axhline(error(run.picture(), ring).squared, linestyle="--", label="as it was trained")
axes.set(xlabel="bits of the file", ylabel="mean squared error of its picture", yscale="log")
axes.legend()
figure.savefig("bits.png")

# %%
figure

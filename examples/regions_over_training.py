# %% [markdown]
# # Linear regions over training
#
# The network's regions are known exactly after each epoch: how many there are, and where they become small.

# %%
import numpy as np
from matplotlib.figure import Figure

import draw_poly

EPOCHS, EVERY = 400, 10
y, x = np.mgrid[-1:1:128j, -1:1:128j]
ring = (255 * np.exp(-((np.hypot(x, y) - 0.6) ** 2) / 0.03)).astype(np.uint8)

# %%
run = draw_poly.train(ring, "[10]*4", EPOCHS, seed=1)
epochs, counts, medians = [0], [run.regions().cells], [float(np.median(run.regions().areas))]
for epoch in run:
    if epoch["epoch"] % EVERY == 0:
        found = run.regions()
        epochs.append(int(epoch["epoch"]))
        counts.append(found.cells)
        medians.append(float(np.median(found.areas)))
print(f"{counts[0]} regions at first, {counts[-1]} at last")

# %%
figure = Figure(figsize=(7, 5), layout="constrained")
above, below = figure.subplots(2, sharex=True)
above.plot(epochs, counts)
above.set_ylabel("regions of the square")
below.plot(epochs, medians)
below.set(xlabel="epoch", ylabel="area of a region, median", yscale="log")
figure.savefig("regions.png")

# %%
run.regions()

# %% [markdown]
# # A sweep, and a heat map of it
#
# Widths and learning rates, several seeds each: all runs are trained side by side, and come as they end.

# %%
import numpy as np
from matplotlib.figure import Figure

import draw_poly

EPOCHS, SEEDS = 200, 3
SHAPES, RATES = ["[5]*4", "[10]*4", "[20]*4"], [3e-4, 1e-3, 3e-3]
y, x = np.mgrid[-1:1:128j, -1:1:128j]
ring = (255 * np.exp(-((np.hypot(x, y) - 0.6) ** 2) / 0.03)).astype(np.uint8)

# %%
varied = {"shape": SHAPES, "learning_rate": RATES, "seed": list(range(1, SEEDS + 1))}
losses: dict[tuple[str, float], list[float]] = {}
for member in draw_poly.sweep(varied, ring, epochs=EPOCHS):
    place = member.varied["shape"], member.varied["learning_rate"]
    losses.setdefault(place, []).append(member.columns["validation"][-1])
table = np.array([[np.median(losses[shape, rate]) for rate in RATES] for shape in SHAPES])
print(table)

# %%
figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
image = axes.imshow(np.log10(table), cmap="viridis_r")
axes.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES])
axes.set_yticks(range(len(SHAPES)), SHAPES)
axes.set(xlabel="learning rate", ylabel="shape")
figure.colorbar(image, label="log10 of the validation's mean squared error, median")
figure.savefig("heat.png")

# %%
figure

# %% [markdown]
# # Fit an image, and film it
#
# A small network learns a ring; its picture, with the boundaries of its polytopes, becomes a frame now and then.

# %%
import numpy as np
from PIL import Image

import draw_poly

EPOCHS, EVERY = 600, 12
y, x = np.mgrid[-1:1:128j, -1:1:128j]
ring = (255 * np.exp(-((np.hypot(x, y) - 0.6) ** 2) / 0.03)).astype(np.uint8)

# %%
run = draw_poly.train(ring, "[10]*4", EPOCHS, seed=1)
frames = [run.picture(boundaries=True)]
for epoch in run:
    if epoch["epoch"] % EVERY == 0:
        frames.append(run.picture(boundaries=True))
print(f"{len(run.rows)} epochs, validation {run.rows[-1]['validation']:.5f}")

# %%
first, *others = (Image.fromarray(frame) for frame in frames)
first.save("film.gif", save_all=True, append_images=others, duration=40, loop=0)
run.save("ring.pt")  # `draw-poly -i … --resume ring.pt`, `draw-poly regions ring.pt`, `draw-poly code ring.pt`

# %%
run

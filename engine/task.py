"""The tasks: what a network learns of an image, and what log, names and frames make of it."""

from dataclasses import dataclass

from draw_poly.kernels.spec import Loss, cross_entropy, squared_error


@dataclass(frozen=True)
class Task:
    """What is learnt, under its name on the command line, by a network of so many `outputs`.

    `colour`: of the image's colours, else of its gray values. `classes`: each pixel's class among as many as there are
    outputs, scored by cross-entropy; a pixel without one is no point. `logger` and `title` are what the log's lines and
    the first of them say, `scored` is the loss for a person, `grid` how many rows and columns of panels a frame has.
    """

    name: str
    outputs: int
    colour: bool = True
    classes: bool = False
    logger: str = "polytope_nn"
    title: str = "polytope-viz-nn"
    scored: str = "mean squared error"
    grid: tuple[int, int] = (1, 3)

    def loss(self, final_activation: str) -> Loss:
        """The loss, with what becomes of outputs before, where it has that."""
        return cross_entropy(final_activation) if self.classes else squared_error()


TASKS = {
    task.name: task
    for task in (
        Task("gray", 1, colour=False),
        Task("rgb", 3),
        Task("classes", 3, classes=True, logger="polytope_classifier", title="polytope-classifier",
             scored="cross-entropy", grid=(2, 3)),
    )
}  # fmt: skip
# Of the classes, in their order: the colours of their pixels, and their names.
CLASS_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
CLASS_NAMES = ("red", "green", "blue")

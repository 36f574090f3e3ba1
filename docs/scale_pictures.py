"""Draws docs/_static/scales.png. Run it by hand when it should change."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mercer.data import gaussian_field, multisphere
from mercer.kernels import NTK, HierarchicalConv
from mercer.learn import KernelRidge, LearningCurve, scale_of_target
from mercer.plots import BLUE, ORANGE

X = multisphere(1000, 4, 2)
angles = np.arctan2(X[:, 1::2], X[:, ::2])
y = np.sin(2 * angles[:, 0]) + np.cos(angles[:, 2] + angles[:, 3]) + 0.5 * np.cos(angles[:, 0] - angles[:, 3])

rough = gaussian_field(HierarchicalConv((2,)), X)[:, 0]

figure = Figure(figsize=(9.0, 3.4), layout="constrained")
left, right = figure.subplots(1, 2)
scale_of_target(X, y, (2, 2, 2)).plot(left)
left.set_title("which patches the target needs", fontsize=10)
students = {
    "convolutional": (HierarchicalConv((2, 2, 2)), BLUE),
    "fully connected": (NTK(depth=2, sigma_b=0.0), ORANGE),
}
for name, (kernel, color) in students.items():
    model = KernelRidge(kernel=kernel, alpha=1e-8)
    curve = LearningCurve(model, [50, 100, 200, 400, 750], n_repeats=4, random_state=0)
    curve.fit(X, rough)
    curve.plot(right, color=color, label=f"{name}: n^-{curve.exponent_:.2f}")
right.set_title("a random function of single patches, learnt", fontsize=10)
figure.savefig(Path(__file__).parent / "_static" / "scales.png", dpi=130)

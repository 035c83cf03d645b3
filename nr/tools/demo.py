"""The first training job: a classifier of real images, trained by a functional loop.

``nr demo`` or ``python -m nr.tools.demo`` trains it in under a minute on two cores, prints the
test accuracy of each epoch, and draws the loss and some predictions.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import nr
import nr.numpy as jnp
from nr import nn, optim
from nr.data import ImageDataset, load_images


@dataclass(frozen=True)
class Recipe:
    """How a data set is trained on."""

    channels: int
    batch: int
    epochs: int
    learning_rate: float


RECIPES = {
    "Fashion-MNIST": Recipe(channels=32, batch=256, epochs=6, learning_rate=3e-3),
    "UCI digits": Recipe(channels=32, batch=32, epochs=15, learning_rate=3e-3),
}


# ---------------------------------------------------------------- model and training step
def make_model(height: int, width: int, channels: int, classes: int, *, key: Any) -> nn.Sequential:
    """Two convolutions, each of which halves the image, and a linear layer."""
    key1, key2, key3 = nr.random.split(key, 3)
    pixels = -(-height // 4) * -(-width // 4)
    return nn.Sequential(
        [
            nn.Conv.init(1, channels, (5, 5), stride=2, key=key1),
            nn.relu,
            nn.Conv.init(channels, 2 * channels, (3, 3), stride=2, bias=False, key=key2),
            nn.BatchNorm.init(2 * channels),
            nn.relu,
            nn.flatten,
            nn.Dropout(0.3),
            nn.Linear.init(pixels * 2 * channels, classes, key=key3),
        ]
    )


def loss(model: nn.Sequential, images: Any, labels: Any, key: Any) -> Any:
    """The mean cross entropy of a batch, and the model with its running statistics."""
    scores, model = model(images, key=key, training=True)
    return nn.softmax_cross_entropy(scores, labels), model


def make_step(optimizer: optim.GradientTransformation) -> Callable:
    """The jitted step: ``(model, state, images, labels, key) -> (model, state, loss)``."""

    @partial(nr.jit, donate_argnums=(0, 1))
    def step(model: Any, state: Any, images: Any, labels: Any, key: Any) -> Any:
        grad = nr.value_and_grad(loss, has_aux=True)
        (value, new), grads = grad(model, images, labels, key)
        updates, state = optimizer.update(grads, state, model)
        return optim.apply_updates(new, updates), state, value

    return step


@nr.jit
def predict(model: nn.Sequential, images: Any) -> Any:
    """The most likely classes of images."""
    scores, _ = model(images, training=False)
    return jnp.argmax(scores, axis=-1)


# ---------------------------------------------------------------- training
@dataclass(frozen=True)
class Result:
    """What a training run gave.

    Attributes:
        losses: one a step.
        accuracies: on the test images, one an epoch.
        predictions: the final classes of the test images.
        seconds: of the whole run.
    """

    losses: list[float]
    accuracies: list[float]
    predictions: np.ndarray
    seconds: float


def train(data: ImageDataset, recipe: Recipe, *, seed: int = 0) -> Result:
    """Train a classifier, printing progress; the same seed gives the same result."""
    start = time.perf_counter()
    images, test_images = (
        (x[..., None] / data.max_value).astype(np.float32)
        for x in (data.train_images, data.test_images)
    )
    labels = data.train_labels.astype(np.int32)

    model_key, order_key = nr.random.split(nr.random.key(seed))
    height, width = images.shape[1:3]
    classes = len(data.class_names)
    model = make_model(height, width, recipe.channels, classes, key=model_key)
    steps = len(images) // recipe.batch
    rate = optim.cosine_decay_schedule(recipe.learning_rate, recipe.epochs * steps)
    optimizer = optim.adamw(rate)
    state, step = optimizer.init(model), make_step(optimizer)

    losses: list[float] = []
    accuracies: list[float] = []
    predictions = np.zeros(len(test_images), np.int32)
    for epoch, epoch_key in enumerate(nr.random.split(order_key, recipe.epochs), 1):
        order = np.asarray(nr.random.permutation(epoch_key, len(images)))
        keys = nr.random.split(epoch_key, steps)
        with _progress(f"epoch {epoch}/{recipe.epochs}", steps) as advance:
            for i in range(steps):
                chosen = order[i * recipe.batch : (i + 1) * recipe.batch]
                model, state, value = step(model, state, images[chosen], labels[chosen], keys[i])
                losses.append(float(value))
                advance()
        predictions = np.asarray(predict(model, test_images))
        accuracies.append(float((predictions == data.test_labels).mean()))
        mean_loss = np.mean(losses[-steps:])
        print(
            f"epoch {epoch:2d}/{recipe.epochs}  loss {mean_loss:.4f}  "
            f"test accuracy {accuracies[-1]:.2%}  {time.perf_counter() - start:5.1f} s",
            flush=True,
        )
    return Result(losses, accuracies, predictions, time.perf_counter() - start)


# ---------------------------------------------------------------- progress
@contextmanager
def _progress(label: str, total: int) -> Iterator[Callable[[], object]]:
    """A progress bar, and what moves it on: tqdm's if installed, else a line as it starts."""
    try:
        from tqdm import tqdm
    except ImportError:
        print(f"{label}: {total} steps", flush=True)
        yield lambda: None
    else:
        with tqdm(total=total, desc=label, leave=False, unit="step", file=sys.stderr) as bar:
            yield bar.update


# ---------------------------------------------------------------- picture
def draw(data: ImageDataset, result: Result, path: Path) -> None:
    """Draw the loss, the accuracy, and predictions: the first mistakes among other images.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), layout="constrained")
    FigureCanvasAgg(figure)
    panels: Any = figure.subfigures(1, 2, width_ratios=[1, 1.4])
    curves, gallery = panels
    loss_axes, accuracy_axes = curves.subplots(2, 1)

    steps = len(result.losses) // len(result.accuracies)
    epochs = np.arange(1, len(result.losses) + 1) / steps
    loss_axes.plot(epochs, result.losses, color="#9ecae1", linewidth=0.8, label="each step")
    window = max(1, steps // 10)
    smooth = np.convolve(result.losses, np.full(window, 1 / window), "valid")
    loss_axes.plot(epochs[window - 1 :], smooth, color="#08519c", label=f"mean of {window} steps")
    loss_axes.set(title="training loss", ylabel="cross entropy", ylim=(0, None))
    loss_axes.legend(frameon=False)
    accuracy_axes.plot(
        range(1, len(result.accuracies) + 1),
        [100 * accuracy for accuracy in result.accuracies],
        marker="o",
        color="#08519c",
    )
    accuracy_axes.set(
        title=f"test accuracy: {result.accuracies[-1]:.2%}", xlabel="epoch", ylabel="%"
    )

    rows, columns = 4, 6
    wrong = np.flatnonzero(result.predictions != data.test_labels)[:columns]
    right = np.flatnonzero(result.predictions == data.test_labels)
    shown = np.concatenate([right[: rows * columns - len(wrong)], wrong])
    gallery.suptitle(f"{data.name}: predictions; the last {len(wrong)} are wrong")
    for axes in (grid := gallery.subplots(rows, columns)).flat:
        axes.set_axis_off()
    for axes, i in zip(grid.flat, shown):
        got, true = (data.class_names[x[i]] for x in (result.predictions, data.test_labels))
        axes.imshow(data.test_images[i], cmap="gray_r", vmin=0, vmax=data.max_value)
        title, color = (got, "black") if got == true else (f"{got}\nnot {true}", "#cb181d")
        axes.set_title(title, fontsize=8, color=color)

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


# ---------------------------------------------------------------- command
def main(argv: Sequence[str] = ()) -> int:
    """Train, print and draw.

    Args:
        argv: the options, as on the command line; none by default.

    Returns:
        The exit status: 0.
    """
    parser = argparse.ArgumentParser(
        prog="nr demo", description="Train a classifier on real images and draw the result."
    )
    parser.add_argument(
        "--data",
        choices=["fashion_mnist", "digits"],
        default="fashion_mnist",
        help="Fashion-MNIST falls back to the digits where it cannot be had",
    )
    parser.add_argument("--epochs", type=int, help="by default 6 for Fashion-MNIST, 15 for digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="for the picture")
    options = parser.parse_args(argv)
    if options.epochs is not None and options.epochs < 1:
        parser.error(f"--epochs must be 1 or more; got {options.epochs}.")

    start = time.perf_counter()
    data = load_images(options.data)
    recipe = RECIPES[data.name]
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    result = train(data, recipe, seed=options.seed)
    path = options.out / f"{data.name.lower().replace(' ', '-')}.png"
    try:
        draw(data, result, path)
        print(f"picture: {path}")
    except ImportError:
        print("no picture: matplotlib is not installed. Install nr[data].")
    print(
        f"test accuracy {result.accuracies[-1]:.2%} on {data.name}, "
        f"{result.seconds:.1f} s of training, {time.perf_counter() - start:.1f} s in all"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

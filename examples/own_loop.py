"""A training loop of one's own: batches, rate, and stopping are up to you, `Plan` does the step:  python own_loop.py"""

import numpy as np

import foveal as fv

EPOCHS, BATCH, HIGHEST_RATE = 10, 64, 0.1


def main() -> None:
    data = fv.load_dataset("digits")
    scale, shift = data.preprocess.scale, data.preprocess.shift

    def images_of(part):
        """(x, y): pixels (N, H, W, C) uint8 as decoded → (N, C, H, W) float32 with mean 0 and deviation 1."""
        return (part.pixels * scale + shift).transpose(0, 3, 1, 2), part.labels

    (x, y), (x_val, y_val), (x_test, y_test) = map(images_of, (data.train, data.validation, data.test))
    net = fv.Sequential(
        fv.Conv2d(16, 3, padding="same"), fv.BatchNorm(), fv.ReLU(), fv.MaxPool2d(2),
        fv.Flatten(), fv.Dropout(0.2), fv.Dense(10),
    )  # fmt: skip
    plan = fv.Plan(net, x.shape[1:], BATCH, optimizer=fv.Momentum(momentum=0.9), seed=1)
    random, best, kept = np.random.default_rng(1), 0.0, plan.state_dict()
    for epoch in range(EPOCHS):
        rate = HIGHEST_RATE * (1 - epoch / EPOCHS)
        order = random.permutation(len(x))
        losses = [
            plan.train_step(x[part], y[part], lr=rate, epoch=epoch)
            for part in np.array_split(order, -(-len(x) // BATCH))
        ]
        accuracy = float((plan.predict(x_val).argmax(axis=1) == y_val).mean())
        print(f"epoch {epoch + 1:2}  rate {rate:.3f}  loss {np.mean(losses):.4f}  validation accuracy {accuracy:.1%}")
        if accuracy > best:
            best, kept = accuracy, plan.state_dict()
    plan.load_state_dict(kept)
    print(f"test accuracy {(plan.predict(x_test).argmax(axis=1) == y_test).mean():.1%}")


if __name__ == "__main__":
    main()

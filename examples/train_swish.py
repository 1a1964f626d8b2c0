"""Train a network with a layer of one's own on digits, save it, load it:  python train_swish.py"""

from swish import Swish

import foveal as fv


def main() -> None:
    net = fv.Sequential(
        fv.Conv2d(16, 3, padding="same"), Swish(), fv.MaxPool2d(2),
        fv.Conv2d(32, 3, padding="same"), Swish(), fv.GlobalAvgPool(),
        fv.Dense(10),
    )  # fmt: skip
    data = fv.load_dataset("digits")
    run = fv.fit(net, data, optimizer="adam", lr=0.01, epochs=8, seed=1)
    accuracy = run.evaluate(data.test).accuracy

    again = fv.load_run(run.path)  # from the file; the layer is known because `swish` is imported
    assert again.evaluate(data.test).accuracy == accuracy
    beta = again.model.weights["1.beta"]
    print(f"test accuracy {accuracy:.1%}, β of the first Swish from {beta.min():.2f} to {beta.max():.2f}")
    print(again.plan)  # every step, and where it runs: natively, or in Python


if __name__ == "__main__":
    main()

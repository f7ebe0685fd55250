"""Trains a network: python -m resnet_alexnet.main --config=configs/quickstart.py --workdir=runs/quickstart."""

if __name__ == "__main__":
    # Here, not above: the loader's worker processes import the main module too, and need none of this.
    from resnet_alexnet import command, train

    command.run(train.train_and_evaluate)

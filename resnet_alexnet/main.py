"""Trains a network: python -m resnet_alexnet.main --config=configs/quickstart.py --workdir=runs/quickstart."""

from resnet_alexnet import command, train

if __name__ == "__main__":
    command.run(train.train_and_evaluate)

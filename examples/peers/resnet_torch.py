"""A ResNet-18 for 32x32 images, with batch norm and dropout, and its training step: PyTorch."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.norm1(self.conv1(x))
        y = self.norm2(self.conv2(F.relu(y)))
        return F.relu(self.shortcut(x) + y)


def resnet18(classes):
    layers = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    inputs = 64
    for outputs in (64, 128, 256, 512):
        layers.append(Block(inputs, outputs, 1 if outputs == 64 else 2))
        layers.append(Block(outputs, outputs, 1))
        inputs = outputs
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(512, classes)]
    return nn.Sequential(*layers, *head)


def make_step(model, optimizer):
    def step(images, labels):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def main():
    model = resnet18(10)
    step = make_step(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9))
    return step(torch.randn(4, 3, 32, 32), torch.randint(10, (4,)))


if __name__ == "__main__":
    print(main())

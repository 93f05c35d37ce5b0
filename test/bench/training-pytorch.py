# PyTorch's side of the training benchmark, as its own tutorials write it: modules, autograd, Adam, one thread. Each line
# of standard input is a command, each line of standard output its answer, both JSON.
import json
import sys
import time

import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(1)


class LastStep(nn.Module):
    def __init__(self, features, units, classes):
        super().__init__()
        self.lstm = nn.LSTM(features, units, batch_first=True)
        self.dense = nn.Linear(units, classes)

    def forward(self, x):
        return self.dense(self.lstm(x)[1][0][0])


nets = {
    "mlp": lambda: nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10)),
    "lstm": lambda: LastStep(64, 128, 10),
    "cnn": lambda: nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 10),
    ),
}
lanes = {}


def start(name, net, shape, rows, fused):
    model = nets[net]()
    x = torch.randn(rows, *shape)
    t = torch.randint(0, 10, (rows,))
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, fused=fused)
    lanes[name] = (model, nn.CrossEntropyLoss(), optimizer, x, t)
    return {"parameters": sum(p.numel() for p in parameters)}


def train(name, seconds, batch):
    model, criterion, optimizer, x, t = lanes[name]
    done = 0
    began = time.perf_counter()
    while True:
        order = torch.randperm(len(x))
        for first in range(0, len(x), batch):
            rows = order[first : first + batch]
            optimizer.zero_grad()
            loss = criterion(model(x[rows]), t[rows])
            loss.backward()
            optimizer.step()
            done += len(rows)
            elapsed = time.perf_counter() - began
            if elapsed >= seconds:
                return {"samples": done, "seconds": elapsed, "loss": loss.item()}


commands = {"start": start, "train": train}
for line in sys.stdin:
    command = json.loads(line)
    print(json.dumps(commands[command.pop("do")](**command)), flush=True)

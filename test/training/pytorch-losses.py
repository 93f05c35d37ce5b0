# Trains a net of the layers, weights and batches it is given (JSON on standard input) and prints the loss of each step.
import json
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
job = json.load(sys.stdin)
weights = {
    name: torch.tensor(w["data"], dtype=torch.float32).reshape(w["shape"]).requires_grad_()
    for name, w in job["weights"].items()
}
counts = {}


def lstm(x, spec, w, r, b):
    # Gates i, o, f, c in ONNX are i, f, c, o here.
    h = spec["units"]
    order = torch.cat([torch.arange(h), torch.arange(2 * h, 4 * h), torch.arange(h, 2 * h)])
    net = torch.nn.LSTM(w.shape[2], h, batch_first=True)
    named = {
        "weight_ih_l0": w[0][order],
        "weight_hh_l0": r[0][order],
        "bias_ih_l0": b[0][: 4 * h][order],
        "bias_hh_l0": b[0][4 * h :][order],
    }
    return torch.func.functional_call(net, named, (x,))[1][0][0]


def layer(x, spec):
    kind = spec["type"]
    counts[kind] = counts.get(kind, 0) + 1
    get = lambda what: weights[f"{kind}_{counts[kind]}/{what}"]
    if kind == "dense":
        x = x @ get("weight") + get("bias")
    elif kind == "conv2d":
        x = F.conv2d(x, get("weight"), get("bias"), padding="same" if spec.get("padding") == "same" else 0)
    elif kind == "max_pool":
        return F.max_pool2d(x, spec["size"])
    elif kind == "flatten":
        return x.flatten(1)
    elif kind == "lstm":
        return lstm(x, spec, get("weight"), get("recurrent_weight"), get("bias"))
    # The last activation is in the loss.
    return F.relu(x) if spec.get("activation") == "relu" else x


def forward(x):
    counts.clear()
    for spec in job["layers"]:
        x = layer(x, spec)
    return x


losses = {
    "mse": lambda z, t: F.mse_loss(z, t),
    "binary_crossentropy": lambda z, t: F.binary_cross_entropy_with_logits(z, t),
    "sparse_categorical_crossentropy": lambda z, t: F.cross_entropy(z, t[:, 0].long()),
}
parameters = list(weights.values())
rate = job["learningRate"]
optimizer = {
    "sgd": lambda: torch.optim.SGD(parameters, lr=rate),
    "momentum": lambda: torch.optim.SGD(parameters, lr=rate, momentum=0.9),
    "rmsprop": lambda: torch.optim.RMSprop(parameters, lr=rate, alpha=0.9),
    "adam": lambda: torch.optim.Adam(parameters, lr=rate),
    "adamw": lambda: torch.optim.AdamW(parameters, lr=rate),
}[job["optimizer"]]()
x = torch.tensor(job["x"]["data"], dtype=torch.float32).reshape(job["x"]["shape"])
t = torch.tensor(job["targets"]["data"], dtype=torch.float32).reshape(job["targets"]["shape"])
size = job["batchSize"]


def step(start):
    optimizer.zero_grad()
    loss = losses[job["loss"]](forward(x[start : start + size]), t[start : start + size])
    loss.backward()
    optimizer.step()
    return loss


curve = []
for number in range(job["steps"]):
    curve.append(step(number * size % len(x)).item())
times = []
for number in range(job.get("timed", 0)):
    began = time.perf_counter()
    step(number * size % len(x))
    times.append(time.perf_counter() - began)
print(json.dumps({"version": torch.__version__, "losses": curve, "stepMs": [1000 * s for s in times]}))

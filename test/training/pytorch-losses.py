# Trains nets of the layers, weights and batches it is given (a JSON list on standard input) and prints the loss of each
# step of each.
import json
import sys

import torch
import torch.nn.functional as F

torch.set_num_threads(1)


class Net:
    def __init__(self, job):
        self.layers = job["layers"]
        self.weights = {
            name: torch.tensor(w["data"], dtype=torch.float32).reshape(w["shape"]).requires_grad_()
            for name, w in job["weights"].items()
        }

    def forward(self, x):
        counts = {}
        for spec in self.layers:
            counts[spec["type"]] = counts.get(spec["type"], 0) + 1
            x = self.layer(x, spec, f"{spec['type']}_{counts[spec['type']]}")
        return x

    def layer(self, x, spec, name):
        kind = spec["type"]
        get = lambda what: self.weights[f"{name}/{what}"]
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


losses = {
    "mse": F.mse_loss,
    "binary_crossentropy": F.binary_cross_entropy_with_logits,
    "categorical_crossentropy": F.cross_entropy,
    "sparse_categorical_crossentropy": lambda z, t: F.cross_entropy(z, t[:, 0].long()),
}
optimizers = {
    "sgd": torch.optim.SGD,
    "momentum": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
    "rmsprop": lambda parameters, lr: torch.optim.RMSprop(parameters, lr=lr, alpha=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def tensor(given):
    return torch.tensor(given["data"], dtype=torch.float32).reshape(given["shape"])


def curve(job):
    net = Net(job)
    optimizer = optimizers[job["optimizer"]](list(net.weights.values()), lr=job["learningRate"])
    x, t, size = tensor(job["x"]), tensor(job["targets"]), job["batchSize"]
    values = []
    for step in range(job["steps"]):
        start = step * size % len(x)
        optimizer.zero_grad()
        loss = losses[job["loss"]](net.forward(x[start : start + size]), t[start : start + size])
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return values


print(json.dumps([curve(job) for job in json.load(sys.stdin)]))

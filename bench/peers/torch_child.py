"""PyTorch and SciPy in a process of their own, asked as child.ts is: requests and replies are lines of JSON."""

import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

MOST = 30
torch.set_num_threads(os.cpu_count() or 1)
# f32 against f32: on NVIDIA's GPUs convolutions round to TF32 by default.
torch.backends.cudnn.allow_tf32 = False
device = torch.device("cpu")


def convolution(x, w, g, stride, padding, dilation, wanted, transposed=False):
    """The gradients of a convolution alone, as autograd calls them."""
    parts = [wanted == "input", wanted == "weight", False]
    # As torch.autocast does: the weights come in f32, their gradient leaves in it.
    args = (g, x, w.to(x.dtype), None, [stride] * 3, [padding] * 3, [dilation] * 3, transposed, [0] * 3, 1, parts)
    result = torch.ops.aten.convolution_backward(*args)[0 if wanted == "input" else 1]
    return result.to((x if wanted == "input" else w).dtype)


def pull(f, *args):
    """Gradients of sum(f(...) * g); the last argument is g."""
    *inputs, g = [a.detach().requires_grad_() for a in args[:-1]] + [args[-1]]
    y = f(*inputs)
    return list(torch.autograd.grad(y, inputs, g.to(y.dtype)))


def attention(q, k, v):
    """The fused kernel of PyTorch 2 and later."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


def block(h, w, stride=1):
    return F.relu(F.group_norm(F.conv3d(h, w, padding=1, stride=stride), 4))


def unet_loss(w0, w1, w2, w3, w4, w5, w6, x, labels):
    e = block(block(x, w0), w1)
    d = block(block(e, w2, 2), w3)
    u = F.conv_transpose3d(d, w4, stride=2)
    return F.cross_entropy(F.conv3d(block(torch.cat([e, u], 1), w5), w6), labels.long())


def unet_step(*args):
    params = [p.detach().requires_grad_() for p in args[:-2]]
    loss = unet_loss(*params, *args[-2:])
    grads = torch.autograd.grad(loss, params)
    return [loss.detach()] + [(p - 0.1 * g).detach() for p, g in zip(params, grads)]


def unet_hvp(*args):
    params = [p.detach().requires_grad_() for p in args[:-2]]
    grads = torch.autograd.grad(unet_loss(*params, *args[-2:]), params, create_graph=True)
    return list(torch.autograd.grad(grads, params, [p.detach() for p in params]))


def edt(mask):
    """SciPy's, on NumPy arrays in and out."""
    from scipy import ndimage

    return torch.from_numpy(ndimage.distance_transform_edt(mask.cpu().numpy()).astype(np.float32))


PERIOD = 4194301


def stride_of(count):
    """Every how many values of an output are compared, as in inputs.ts."""
    return 1 if count <= PERIOD else -(-count // PERIOD) | 1


def sync():
    if device.type == "cuda":
        torch.cuda.synchronize()


class Run:
    def __init__(self, item, folder, names):
        self.item = item
        self.function = eval(item["torch"], names)
        kinds = {"f32": np.float32}
        self.inputs = [
            torch.from_numpy(
                # A long input repeats its file.
                np.resize(np.fromfile(f"{folder}/in{k}.bin", kinds.get(x.get("dtype", "f32"), np.int32)), x["shape"])
            ).to(device)
            for k, x in enumerate(item["inputs"])
        ]
        self.latest = []

    def call(self, count=1):
        """Milliseconds of one of count calls in a row."""
        sync()
        start = time.perf_counter()
        for _ in range(count):
            out = self.function(*self.inputs)
            out = list(out) if isinstance(out, (list, tuple)) else [out]
            if self.item.get("carry"):
                self.inputs[: len(out) - 1] = out[1:]
        read = self.item.get("read", "none")
        if read == "first":
            out[0].item()
        elif read == "all":
            for x in out:
                x.cpu()
        sync()
        elapsed = 1000 * (time.perf_counter() - start) / count
        self.latest = out
        return elapsed


run = None


def answer(request, names=globals()):
    """Names are those that an item's function may use."""
    global run, device
    op = request["op"]
    if op == "open":
        if request.get("gpu") and torch.cuda.is_available():
            device = torch.device("cuda")
        name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
        return {"version": torch.__version__, "device": name}
    if op == "prepare":
        run = None
        run = Run(request["row"], request["folder"], names)
        first = run.call()
        for k, x in enumerate(run.latest):
            values = x.detach().float().contiguous().flatten()[:: stride_of(x.numel())]
            values.cpu().numpy().tofile(f"{request['folder']}/{request['id']}{k}.bin")
        return {"first": first, "outputs": len(run.latest)}
    if op == "run":
        if run.item.get("measure") in ("build", "script"):
            raise RuntimeError("runs operators as they are called: no graph is built, no JavaScript runs")
        times, start, count = [], time.perf_counter(), 1
        while not times or (1000 * (time.perf_counter() - start) < request["budget"] and len(times) < MOST):
            times.append(run.call(count))
            count = max(1, min(MOST, round(request.get("queued", 0) / times[-1])))
        return {"times": times}
    if op == "drop":
        run = None
    return {}


def serve(answer):
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # The parent shows it in the table.
            reply = {"error": (str(error) or type(error).__name__).split("\n")[0]}
        print("@bench " + json.dumps(reply), flush=True)


if __name__ == "__main__":
    serve(answer)

"""PyTorch on a GPU as it is commonly run, asked as torch_child.py is. Usage: gpu_torch.py fp32|tf32|amp|last

last is amp with channels last in memory.
"""

import os
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../peers"))
import torch_child  # noqa: E402

MODE = sys.argv[1]
AMP = MODE in ("amp", "last")
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = MODE == "tf32"


def autocast():
    """f16 on a GPU; the CPU's autocast has bfloat16 alone."""
    kind = torch_child.device.type
    return torch.autocast(kind, dtype=torch.float16 if kind == "cuda" else torch.bfloat16, enabled=AMP)


def grad_scaler(enabled):
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler("cuda", enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled)


def last_channels(x):
    return x.contiguous(memory_format=torch.channels_last_3d) if MODE == "last" and x.dim() == 5 else x


class PlainUNet:
    """nnU-Net's PlainConvUNet with two convolutions a stage, from tensors by the names of its state dict.

    weights: of the outputs in the loss, finest first. nnunet: Dice over the batch, gradients of norm 12 at most.
    """

    def __init__(self, names, stages, weights, nnunet):
        self.names = names
        self.stages = stages
        self.weights = weights
        self.nnunet = nnunet

    def block(self, p, name, x, stride):
        y = F.conv3d(x, p[name + ".conv.weight"], p[name + ".conv.bias"], stride=stride, padding=1)
        y = F.instance_norm(y, weight=p[name + ".norm.weight"], bias=p[name + ".norm.bias"])
        return F.leaky_relu(y, 0.01)

    def stage(self, p, name, x, stride=1):
        return self.block(p, name + ".convs.1", self.block(p, name + ".convs.0", x, stride), 1)

    def loss(self, params, x, labels):
        p = dict(zip(self.names, params))
        skips = []
        for s in range(self.stages):
            x = self.stage(p, f"encoder.stages.{s}.0", x, 1 if s == 0 else 2)
            skips.append(x)
        loss = 0
        for d in range(self.stages - 1):
            name = f"decoder.transpconvs.{d}"
            up = F.conv_transpose3d(x, p[name + ".weight"], p[name + ".bias"], stride=2)
            x = self.stage(p, f"decoder.stages.{d}", torch.cat([up, skips[-2 - d]], 1))
            level = self.stages - 2 - d
            weight = self.weights[level] if level < len(self.weights) else 0
            if weight == 0:
                continue
            name = f"decoder.seg_layers.{d}"
            logits = F.conv3d(x, p[name + ".weight"], p[name + ".bias"])
            step = 2**level
            at = (slice(step // 2, None, step),) * 3
            loss = loss + weight * self.dice_cross_entropy(logits, labels[(slice(None), *at)])
        return loss

    def dice_cross_entropy(self, logits, labels, smooth=1e-5):
        log_probability = F.log_softmax(logits.float(), 1)
        hit = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).float()
        probability = log_probability.exp()
        axes = (0, 2, 3, 4) if self.nnunet else (2, 3, 4)
        both = (probability * hit).sum(axes)
        either = (probability + hit).sum(axes)
        dice = (2 * both + smooth) / (either + smooth)
        return F.nll_loss(log_probability, labels) + 1 - dice[..., 1:].mean()


class PlainUNetStep(PlainUNet):
    params = None

    def __call__(self, *args):
        count, x, labels = len(self.names), args[-2], args[-1]
        if self.params is None:
            self.params = [p.clone().requires_grad_() for p in args[:count]]
            self.optimizer = torch.optim.SGD(self.params, lr=0.01, momentum=0.99, nesterov=True)
            self.scaler = grad_scaler(AMP and torch_child.device.type == "cuda")
            self.labels = labels.long()
        self.optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = self.loss(self.params, x, self.labels)
        self.scaler.scale(loss).backward()
        if self.nnunet:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.params, 12)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # There is no velocity where the scaler left the first step out, nor of a head that the loss leaves out.
        velocities = [self.optimizer.state[p].get("momentum_buffer") for p in self.params]
        velocities = [torch.zeros_like(p) if v is None else v for p, v in zip(self.params, velocities)]
        return [loss.detach(), *[p.detach() for p in self.params], *velocities]


class PlainUNetHvp(PlainUNet):
    def __call__(self, *args):
        params = [p.detach().requires_grad_() for p in args[:-2]]
        with autocast():
            loss = self.loss(params, args[-2], args[-1].long())
        grads = torch.autograd.grad(loss, params, create_graph=True, allow_unused=True)
        used = [(g, p) for g, p in zip(grads, params) if g is not None]
        products = torch.autograd.grad([g for g, _ in used], params, [p.detach() for _, p in used], allow_unused=True)
        return [torch.zeros_like(p) if v is None else v for v, p in zip(products, params)]


class PlainUNetValidation(PlainUNet):
    def __call__(self, *args):
        with torch.no_grad(), autocast():
            return self.loss(args[:-2], args[-2], args[-1].long())


class Run(torch_child.Run):
    def __init__(self, item, folder, names):
        super().__init__(item, folder, names)
        if AMP:
            kind = torch.float16 if torch_child.device.type == "cuda" else torch.bfloat16
            self.inputs = [
                last_channels(t.to(kind) if x.get("half") else t) for t, x in zip(self.inputs, item["inputs"])
            ]
            if not isinstance(self.function, PlainUNet):
                function = self.function

                def cast(*args):
                    with autocast():
                        return function(*args)

                self.function = cast


torch_child.Run = Run


def answer(request):
    cuda = torch_child.device.type == "cuda"
    if request["op"] == "facts" and cuda:
        return {"peakBytes": torch.cuda.max_memory_allocated()}
    reply = torch_child.answer(request, {**vars(torch_child), **globals()})
    if request["op"] == "open" and torch.cuda.is_available():
        reply["version"] += f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    if request["op"] == "drop" and cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return reply


torch_child.serve(answer)

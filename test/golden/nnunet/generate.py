"""Small trainings in the files of nnU-Net v2, and what its steps give for two scans, in float64.

Networks, files and steps are written here from their published descriptions; nothing of nnU-Net is used. Needs torch
1.13, scipy, numpy and nibabel: python3 generate.py, in this folder. resize(x, order) of skimage is scipy's zoom on a
grid of cells with extended edges, clipped.
"""

import itertools
import json
import os
import pickle
import shutil
import sys
import types

import nibabel
import numpy as np
import torch
from scipy import ndimage
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
SPACING = (0.9, 3.1, 0.8)


# Networks.


class Block(nn.Module):
    def __init__(self, dims, inputs, outputs, kernel, stride, bias=True, active=True):
        super().__init__()
        conv = (nn.Conv2d, nn.Conv3d)[dims - 2]
        norm = (nn.InstanceNorm2d, nn.InstanceNorm3d)[dims - 2]
        padding = [(k - 1) // 2 for k in kernel]
        self.conv = conv(inputs, outputs, kernel, stride, padding, bias=bias)
        self.norm = norm(outputs, eps=1e-5, affine=True)
        self.all_modules = nn.Sequential(self.conv, self.norm, *([nn.LeakyReLU(0.01)] if active else []))

    def forward(self, x):
        return self.all_modules(x)


class Stack(nn.Module):
    def __init__(self, dims, count, inputs, outputs, kernel, stride):
        super().__init__()
        one = [1] * dims
        self.convs = nn.Sequential(
            *[Block(dims, outputs if k else inputs, outputs, kernel, one if k else stride) for k in range(count)]
        )

    def forward(self, x):
        return self.convs(x)


class Residual(nn.Module):
    def __init__(self, dims, inputs, outputs, kernel, stride):
        super().__init__()
        one = [1] * dims
        self.conv1 = Block(dims, inputs, outputs, kernel, stride)
        self.conv2 = Block(dims, outputs, outputs, kernel, one, active=False)
        parts = []
        if any(s != 1 for s in stride):
            parts.append((nn.AvgPool2d, nn.AvgPool3d)[dims - 2](stride, stride))
        if inputs != outputs:
            parts.append(Block(dims, inputs, outputs, one, one, bias=False, active=False))
        self.skip = nn.Sequential(*parts) if parts else (lambda x: x)
        self.nonlin2 = nn.LeakyReLU(0.01)

    def forward(self, x):
        return self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x))


class Blocks(nn.Module):
    def __init__(self, dims, count, inputs, outputs, kernel, stride):
        super().__init__()
        one = [1] * dims
        self.blocks = nn.Sequential(
            *[Residual(dims, outputs if k else inputs, outputs, kernel, one if k else stride) for k in range(count)]
        )

    def forward(self, x):
        return self.blocks(x)


class Encoder(nn.Module):
    def __init__(self, dims, channels, features, kernels, strides, counts, residual):
        super().__init__()
        inputs = channels
        if residual:
            self.stem = Stack(dims, 1, channels, features[0], kernels[0], [1] * dims)
            inputs = features[0]
        stages = []
        for n, outputs, kernel, stride in zip(counts, features, kernels, strides):
            if residual:
                stages.append(Blocks(dims, n, inputs, outputs, kernel, stride))
            else:
                stages.append(nn.Sequential(Stack(dims, n, inputs, outputs, kernel, stride)))
            inputs = outputs
        self.stages = nn.Sequential(*stages)

    def forward(self, x):
        if hasattr(self, "stem"):
            x = self.stem(x)
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        return skips


class Decoder(nn.Module):
    def __init__(self, encoder, dims, features, kernels, strides, counts, classes):
        super().__init__()
        self.encoder = encoder
        up = (nn.ConvTranspose2d, nn.ConvTranspose3d)[dims - 2]
        conv = (nn.Conv2d, nn.Conv3d)[dims - 2]
        stages, ups, heads = [], [], []
        for d, n in enumerate(counts):
            s = len(features) - 2 - d
            ups.append(up(features[s + 1], features[s], strides[s + 1], strides[s + 1]))
            stages.append(Stack(dims, n, 2 * features[s], features[s], kernels[s], [1] * dims))
            heads.append(conv(features[s], classes, 1))
        self.stages = nn.ModuleList(stages)
        self.transpconvs = nn.ModuleList(ups)
        self.seg_layers = nn.ModuleList(heads)

    def forward(self, skips):
        x = skips[-1]
        for d, stage in enumerate(self.stages):
            x = stage(torch.cat((self.transpconvs[d](x), skips[-2 - d]), 1))
        return self.seg_layers[-1](x)


class UNet(nn.Module):
    def __init__(self, kwargs, channels, classes, residual):
        super().__init__()
        dims = len(kwargs["kernel_sizes"][0])
        counts = kwargs["n_blocks_per_stage" if residual else "n_conv_per_stage"]
        shape = [kwargs[key] for key in ("features_per_stage", "kernel_sizes", "strides")]
        self.encoder = Encoder(dims, channels, *shape, counts, residual)
        self.decoder = Decoder(self.encoder, dims, *shape, kwargs["n_conv_per_stage_decoder"], classes)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def made(kwargs, channels, classes, residual, seed):
    """A network with weights of a seed, whose outputs differ between classes."""
    torch.manual_seed(seed)
    network = UNet(kwargs, channels, classes, residual)
    with torch.no_grad():
        for name, p in network.named_parameters():
            if "norm.weight" in name:
                p.normal_(1, 0.1)
            elif p.ndim == 1:
                p.normal_(0, 0.2)
            else:
                p.normal_(0, (2 / (p.numel() / p.shape[0])) ** 0.5)
        dims = len(kwargs["kernel_sizes"][0])
        logits = network(torch.randn(4, channels, *[32] * dims)).transpose(0, 1).flatten(1)
        head = network.decoder.seg_layers[-1]
        head.bias -= logits.mean(1)
        head.weight /= logits.std(1)[(...,) + (None,) * (dims + 1)]
    return network.eval()


# Plans.


def arch_kwargs(dims, features, kernels, strides, counts, decoder, residual):
    return {
        "n_stages": len(features),
        "features_per_stage": features,
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": kernels,
        "strides": strides,
        "n_blocks_per_stage" if residual else "n_conv_per_stage": counts,
        "n_conv_per_stage_decoder": decoder,
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def resampling(order, is_seg):
    return {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}


def configuration(patch, spacing, schemes, masks, kwargs=None, residual=False, **more):
    dims = len(patch)
    own = {
        "data_identifier": f"nnUNetPlans_{dims}d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "median_image_size_in_voxels": [20.0] * dims,
        "spacing": spacing,
        "normalization_schemes": schemes,
        "use_mask_for_norm": masks,
        "batch_dice": False,
    }
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        own[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        own[f"resampling_fn_{what}_kwargs"] = resampling(order, what == "seg")
    if kwargs:
        name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
        own["architecture"] = {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
            "arch_kwargs": kwargs,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }
    return {**own, **more}


def before_architecture(kwargs, configuration):
    """As nnU-Net wrote plans before the entry "architecture"."""
    return {
        **configuration,
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": kwargs["features_per_stage"][0],
        "n_conv_per_stage_encoder": kwargs["n_conv_per_stage"],
        "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [2, 2, 2],
        "pool_op_kernel_sizes": kwargs["strides"],
        "conv_kernel_sizes": kwargs["kernel_sizes"],
        "unet_max_num_features": kwargs["features_per_stage"][-1],
    }


def plans_of(dataset, reader, transpose, configurations, properties):
    backward = [transpose.index(k) for k in range(3)]
    # The scans are of another spacing than the median case.
    spacing = [1.1 * SPACING[2 - k] for k in transpose]
    return {
        "dataset_name": dataset,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": spacing,
        "original_median_shape_after_transp": [11, 17, 21],
        "image_reader_writer": reader,
        "transpose_forward": transpose,
        "transpose_backward": backward,
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": properties,
    }


# The steps of a prediction.


def resize(x, shape, order):
    zoom = [n / m for n, m in zip(shape, x.shape)]
    y = ndimage.zoom(x, zoom, order=order, mode="nearest", grid_mode=True)
    assert y.shape == tuple(shape)
    return np.clip(y, x.min(), x.max())


def resize_labels(labels, shape):
    out = np.zeros(shape, labels.dtype)
    for value in np.unique(labels):
        out[resize((labels == value).astype(float), shape, 1) >= 0.5] = value
    return out


def resample(data, shape, spacing, target, order, labels=False):
    """Channels on a grid of `shape`; a coarse axis apart, by its nearest slice."""
    if tuple(data.shape[1:]) == tuple(shape):
        return data
    one = (lambda x, to: resize_labels(x, to)) if labels else (lambda x, to: resize(x, to, order))
    coarse = next((s for s in (spacing, target) if max(s) / min(s) > 3), None)
    axes = [] if coarse is None else [k for k in range(3) if coarse[k] == max(coarse)]
    if len(axes) != 1:
        return np.stack([one(x, shape) for x in data])
    axis = axes[0]
    plane = [n for k, n in enumerate(shape) if k != axis]
    result = []
    for x in data:
        x = np.stack([one(np.take(x, k, axis), plane) for k in range(x.shape[axis])], axis)
        n, m = x.shape[axis], shape[axis]
        if n != m:
            places = (n / m) * (np.arange(m) + 0.5) - 0.5
            near = ndimage.map_coordinates(np.arange(n, dtype=float), [places], order=0, mode="nearest")
            x = np.take(x, near.astype(int), axis)
        result.append(x)
    return np.stack(result)


def normalized(data, inside, plans, own):
    out = data.copy()
    for c, (scheme, masked) in enumerate(zip(own["normalization_schemes"], own["use_mask_for_norm"])):
        x = out[c]
        if scheme == "CTNormalization":
            p = plans["foreground_intensity_properties_per_channel"][str(c)]
            x[:] = (np.clip(x, p["percentile_00_5"], p["percentile_99_5"]) - p["mean"]) / max(p["std"], 1e-8)
        elif scheme == "ZScoreNormalization":
            where = inside if masked else np.ones_like(inside)
            x[where] = (x[where] - x[where].mean()) / max(x[where].std(), 1e-8)
        elif scheme == "RescaleTo01Normalization":
            x -= x.min()
            x /= max(x.max(), 1e-8)
        elif scheme == "RGBTo01Normalization":
            x /= 255
    return out


def window_starts(size, patch):
    count = int(np.ceil((size - patch) / (patch * 0.5))) + 1
    step = (size - patch) / (count - 1) if count > 1 else 0
    return [int(np.round(step * k)) for k in range(count)]


def gaussian(patch):
    lines = [np.exp(-((np.arange(n) - n // 2) ** 2) / (2 * (n / 8) ** 2)) for n in patch]
    return lines[0][:, None, None] * lines[1][:, None] * lines[2]


def logits_of(data, networks, patch, mirror):
    """Gaussian-weighted mean over windows, of the mean over networks and mirror images."""
    flat = len(patch) == 2
    patch = [1, *patch] if flat else patch
    lack = [max(0, n - m) for n, m in zip(patch, data.shape[1:])]
    before = [n // 2 for n in lack]
    padded = np.pad(data, [(0, 0)] + [(b, n - b) for b, n in zip(before, lack)])
    weight = gaussian(patch)
    sums, weights = 0, np.zeros(padded.shape[1:])
    images = [axes for n in range(len(mirror) + 1) for axes in itertools.combinations(mirror, n)]
    for start in itertools.product(*[window_starts(n, p) for n, p in zip(padded.shape[1:], patch)]):
        box = tuple(slice(s, s + p) for s, p in zip(start, patch))
        x = torch.from_numpy(padded[(slice(None), *box)])[None]
        x = x[:, :, 0] if flat else x
        y = 0
        for network, axes in itertools.product(networks, images):
            turned = [axis + 2 for axis in axes]
            y = y + torch.flip(network(torch.flip(x, turned)), turned)
        y = (y / (len(networks) * len(images)))[0].numpy()
        y = y[:, None] if flat else y
        if isinstance(sums, int):
            sums = np.zeros((y.shape[0], *padded.shape[1:]))
        sums[(slice(None), *box)] += y * weight
        weights[box] += weight
    crop = tuple(slice(b, b + n) for b, n in zip(before, data.shape[1:]))
    return (sums / weights)[(slice(None), *crop)]


def predict(scan, plans, own, networks, mirror, dataset, previous=None):
    """Labels [z, y, x] of a scan [channels, z, y, x]."""
    order = plans["transpose_forward"]
    turn = lambda x: x.transpose(0, *[k + 1 for k in order])
    data, spacing = turn(scan), [SPACING[2 - k] for k in order]
    mask = ndimage.binary_fill_holes((data != 0).any(0))
    box = tuple(slice(np.where(mask.any(axis=tuple(j for j in range(3) if j != k)))[0].min(),
                      np.where(mask.any(axis=tuple(j for j in range(3) if j != k)))[0].max() + 1) for k in range(3))
    inside, cropped = mask[box], data[(slice(None), *box)]
    labels = None
    if previous is not None:
        labels = turn(previous[None].astype(int))[(slice(None), *box)].copy()
        labels[0][(labels[0] == 0) & ~inside] = -1
        inside = labels[0] >= 0
    target = own["spacing"] if len(own["spacing"]) == 3 else [spacing[0], *own["spacing"]]
    shape = [int(round(s / t * n)) for s, t, n in zip(spacing, target, cropped.shape[1:])]
    x = resample(normalized(cropped, inside, plans, own), shape, spacing, target, 3)
    if labels is not None:
        small = resample(labels, shape, spacing, target, 1, labels=True)[0]
        values = sorted(set(np.ravel([v for v in dataset["labels"].values()])) - {0})
        x = np.concatenate([x, np.stack([small == v for v in values]).astype(float)])
    with torch.no_grad():
        logits = logits_of(x, networks, own["patch_size"], mirror)
    logits = resample(logits, cropped.shape[1:], target, spacing, 1)
    if "regions_class_order" in dataset:
        found = np.zeros(logits.shape[1:], np.uint8)
        for region, value in zip(logits, dataset["regions_class_order"]):
            found[1 / (1 + np.exp(-region)) > 0.5] = value
    else:
        found = logits.argmax(0)
    out = np.zeros(data.shape[1:], np.uint8)
    out[box] = found
    return out.transpose(plans["transpose_backward"])


def keep_largest(labels, values):
    mask = np.isin(labels, values)
    parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    kept = np.isin(parts, 1 + np.where(sizes == sizes.max())[0])
    return np.where(mask & ~kept, 0, labels)


# Files.


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=2)


def checkpoint(network, plans, name, fold, dataset, mirror):
    first = next(network.parameters())
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": {
            "state": {0: {"momentum_buffer": torch.zeros_like(first)}},
            "param_groups": [{"lr": 0.01, "momentum": 0.99, "nesterov": True, "params": [0]}],
        },
        "grad_scaler_state": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3},
        "logging": {
            "mean_fg_dice": [np.float64(0.5), np.float64(0.75)],
            "ema_fg_dice": [np.float64(0.5)],
            "dice_per_class_or_region": [[np.float64(0.5), np.float32(0.25)]],
            "train_losses": [np.float32(-0.5)],
            "lrs": [0.01, 0.005],
            "epoch_start_timestamps": [1.7e9],
        },
        "_best_ema": np.float64(0.75),
        "current_epoch": 1000,
        "init_args": {
            "plans": plans,
            "configuration": name,
            "fold": fold,
            "dataset_json": dataset,
            "unpack_dataset": True,
            "device": torch.device("cuda"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": mirror,
    }


def write_result(folder, plans, name, networks, dataset, mirror, file="checkpoint_final.pth"):
    os.makedirs(folder)
    write_json(f"{folder}/plans.json", plans)
    write_json(f"{folder}/dataset.json", dataset)
    for fold, network in enumerate(networks):
        os.makedirs(f"{folder}/fold_{fold}")
        torch.save(checkpoint(network, plans, name, fold, dataset, mirror), f"{folder}/fold_{fold}/{file}")


def write_rule(path, steps):
    """Functions are pickled by their names alone."""
    module = types.ModuleType("nnunetv2.postprocessing.remove_connected_components")
    for name in ("nnunetv2", "nnunetv2.postprocessing"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[module.__name__] = module

    def remove_all_but_largest_component_from_segmentation():
        pass

    rule = remove_all_but_largest_component_from_segmentation
    rule.__module__, rule.__qualname__ = module.__name__, rule.__name__
    setattr(module, rule.__name__, rule)
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        pickle.dump(([rule] * len(steps), [{"labels_or_regions": step} for step in steps]), file)


def write_volume(path, data, dtype, affine):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    image = nibabel.Nifti1Image(data.transpose(2, 1, 0).astype(dtype), affine)
    nibabel.save(image, path)


def scan(seed, channels, shape):
    """Smooth noise with a border, a corner and a hole of zeros; [channels, z, y, x]."""
    random = np.random.RandomState(seed)
    noise = random.normal(size=(channels, *shape))
    smooth = np.stack([ndimage.gaussian_filter(x, 1.5) for x in noise])
    data = np.round(smooth / smooth.std() * 120 + 300)
    data[:, :2] = data[:, :, :1] = data[..., -3:] = 0
    data[:, 6:8, 4:7, 5:9] = 0
    places = np.indices(shape)
    data[:, (places / np.array(shape)[:, None, None, None]).sum(0) > 2.1] = 0
    return data


def main():
    for name in os.listdir(HERE):
        if os.path.isdir(f"{HERE}/{name}"):
            shutil.rmtree(f"{HERE}/{name}")
    double = lambda networks: [network.double() for network in networks]
    single = lambda networks: [network.float() for network in networks]

    # Labels of three classes; two channels; the second axis is the coarse one.
    affine = np.diag([*SPACING, 1])
    image = scan(1, 2, (21, 12, 23))
    for c in range(2):
        write_volume(f"{HERE}/scans/case_{c:04d}.nii.gz", image[c], np.int16, affine)
    dataset = {
        "channel_names": {"0": "CT", "1": "MRI"},
        "labels": {"background": 0, "organ": 1, "tumor": 2},
        "numTraining": 7,
        "file_ending": ".nii.gz",
    }
    props = {"mean": 310.5, "std": 104.25, "percentile_00_5": 40.0, "percentile_99_5": 560.0, "median": 300.0,
             "min": 0.0, "max": 700.0}
    schemes, masks = ["CTNormalization", "ZScoreNormalization"], [False, True]
    features = [2, 3, 4]
    kernels, strides = [[1, 3, 3], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2], [2, 2, 2]]
    cubes, halves = [[3, 3, 3]] * 3, [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
    deep = arch_kwargs(3, features, kernels, strides, [2, 2, 2], [2, 2], False)
    flat = arch_kwargs(2, features, [[3, 3]] * 3, [[1, 1], [2, 2], [2, 2]], [2, 1, 2], [1, 2], False)
    low = arch_kwargs(3, [2, 4, 4], cubes, halves, [1, 2, 1], [1, 1], False)
    configurations = {
        "2d": configuration([16, 12], [0.7, 1.0], schemes, masks, flat),
        "3d_lowres": before_architecture(
            low, configuration([8, 16, 12], [1.9, 1.2, 1.6], schemes, masks, next_stage="3d_cascade_fullres")
        ),
        "3d_fullres": configuration([8, 16, 16], [2.6, 0.7, 1.0], schemes, masks, deep),
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    plans = plans_of("Dataset901_Small", "SimpleITKIO", [1, 0, 2], configurations, {"0": props, "1": props})
    root = f"{HERE}/Dataset901_Small"
    networks = {
        "3d_fullres": ([made(deep, 2, 3, False, seed) for seed in (1, 2)], (0, 1, 2)),
        "2d": ([made(flat, 2, 3, False, 3)], (0, 1)),
        "3d_lowres": ([made(low, 2, 3, False, 4)], (2,)),
        "3d_cascade_fullres": ([made(deep, 4, 3, False, 5)], None),
    }
    lowres = None
    for name in ("3d_fullres", "2d", "3d_lowres", "3d_cascade_fullres"):
        own = dict(configurations[name])
        if "inherits_from" in own:
            own = {**configurations[own["inherits_from"]], **own}
        trained, mirror = networks[name]
        folder = f"{root}/nnUNetTrainer__nnUNetPlans__{name}"
        write_result(folder, plans, name, trained, dataset, mirror)
        previous = lowres if "previous_stage" in own else None
        found = predict(image, plans, own, double(trained), mirror or (), dataset, previous)
        single(trained)
        if name == "3d_lowres":
            lowres = found
        print(name, np.bincount(found.ravel()))
        write_volume(f"{HERE}/expected/{name}.nii.gz", found, np.uint8, affine)
        if name == "2d":
            # What find_best_configuration would write, with NumPy's numbers.
            write_rule(f"{folder}/crossval_results_folds_0/postprocessing.pkl",
                       [[np.int64(1), np.int64(2)], np.int64(2)])
            kept = keep_largest(keep_largest(found, [1, 2]), [2])
            print("kept", np.bincount(kept.ravel()))
            write_volume(f"{HERE}/expected/2d_kept.nii.gz", kept, np.uint8, affine)

    # Regions; four channels of other normalizations; scans that are turned to RAS; residual encoders.
    turned = np.array([[-SPACING[0], 0, 0, 9], [0, SPACING[1], 0, 8], [0, 0, -SPACING[2], 7], [0, 0, 0, 1]])
    image = scan(2, 4, (19, 13, 17))
    # Of no channel the others drown in: small values where nothing normalizes, all colors.
    image[1] = (image[1] / 100).round()
    image[3] = np.clip((image[3] - 150) * 1.2, 0, 255).round()
    stored = image[:, ::-1, :, ::-1]
    for c in range(4):
        write_volume(f"{HERE}/scans_ras/case_{c:04d}.nii.gz", stored[c], np.int16, turned)
    dataset = {
        "channel_names": {"0": "T1", "1": "noNorm", "2": "rescale_to_0_1", "3": "rgb_to_0_1"},
        "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
        "regions_class_order": [1, 2, 3],
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    schemes = ["ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization"]
    for size, counts, halved, seed in (("M", [1, 3, 4], halves, 6), ("L", [1, 3, 4, 6], [*strides, [1, 1, 2]], 7)):
        widths = [2, 3, 3, 2][: len(counts)]
        kwargs = arch_kwargs(3, widths, [[3, 3, 3]] * len(counts), halved, counts, [1] * (len(counts) - 1), True)
        patch = [8, 16, 16] if size == "M" else [6, 16, 24]
        own = configuration(patch, [2.9, 0.8, 0.8], schemes, [False] * 4, kwargs, True)
        plans = plans_of("Dataset902_Regions", "NibabelIOWithReorient", [1, 0, 2], {"3d_fullres": own},
                         {str(c): props for c in range(4)})
        network = made(kwargs, 4, 3, True, seed)
        folder = f"{HERE}/Dataset902_Regions/nnUNetTrainer__nnUNetResEncUNet{size}Plans__3d_fullres"
        write_result(folder, plans, "3d_fullres", [network], dataset, (1,), "checkpoint_best.pth")
        found = predict(image, plans, own, double([network]), (1,), dataset)
        print(size, np.bincount(found.ravel()))
        write_volume(f"{HERE}/expected/resenc_{size}.nii.gz", found[::-1, :, ::-1], np.uint8, turned)


main()

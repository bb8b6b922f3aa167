"""Time and memory of class activation maps: `wsss.cam` against two libraries, and against the bare forward pass.

    python benchmarks/cam.py [--repeats 5] [--only layer_cam_1]

All get the same random network, images, threads and float32. Peers are measured at every use their documentation allows
(parameters with or without gradients, classes in one call or one after another), and the fastest counts. Images are
channels last, the faster format; Score-CAM gets both. "bare" is the network alone: a forward pass, and a backward pass
for each class. Each variant runs in its own process, so that the peak of one does not hide the other's; "extra memory"
is the peak resident size of the first call above what inputs, network and libraries take before. pytorch-grad-cam also
resizes and averages its maps, which cannot be turned off; that is small beside the network.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from measuring import Comparison, measure_call, run_apart, store
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from wsss import _torchvision  # noqa: F401  (lets torchvision load)
from wsss.cam import CAMExtractor

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ["layer1", "layer2", "layer3", "layer4"]
PEERS = {"bare": "the network's forward and backward alone", "forward": "the network's forward alone"}
TARGETS = {
    ("layer_cam_1", "torch-cam"): 1.5,
    ("layer_cam_1", "pytorch-grad-cam"): 4,
    ("layer_cam_8", "torch-cam"): 1.5,
    ("layer_cam_8", "pytorch-grad-cam"): 4,
    ("score_cam_1", "torch-cam"): 1,
    ("score_cam_1", "pytorch-grad-cam"): 1,
    ("score_cam_3", "torch-cam"): 2.4,
    ("score_cam_3", "pytorch-grad-cam"): 2.4,
    ("export", "forward"): 1 / 1.15,
}
Call = Callable[[], object]


def network(name: str) -> nn.Module:
    """A random torchvision network in evaluation mode."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    model: nn.Module = get_model(name, weights=None).eval()
    return model


def images(batch: int, side: int) -> Tensor:
    """Random images."""
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def layer_cam_calls(batch: int) -> dict[str, Call]:
    """LayerCAM of four stages of ResNet-50, two classes an image, 320 pixels."""
    model, classes = network("resnet50"), [[3, 7]] * batch
    x = images(batch, 320).to(memory_format=torch.channels_last)

    def ours() -> object:
        with CAMExtractor(model, LAYERS, "layer_cam") as extractor:
            return extractor(x, classes)

    def torch_cam(frozen: bool) -> object:
        from torchcam.methods import LayerCAM

        model.requires_grad_(not frozen)
        extractor = LayerCAM(model, target_layer=LAYERS)
        scores = model(x.clone().requires_grad_(frozen))
        maps = [extractor([c] * batch, scores, retain_graph=c == 3, normalized=False) for c in (3, 7)]
        extractor.remove_hooks()
        return maps

    def grad_cam(together: bool, frozen: bool) -> object:
        from pytorch_grad_cam import LayerCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        model.requires_grad_(not frozen)
        targets = [[ClassifierOutputTarget(c)] * batch for c in (3, 7)]
        with LayerCAM(model, [model.get_submodule(name) for name in LAYERS]) as extractor:
            if together:
                return extractor(torch.cat([x, x]).requires_grad_(frozen), targets[0] + targets[1])
            return [extractor(x.clone().requires_grad_(frozen), t) for t in targets]

    def bare() -> object:
        model.requires_grad_(False)
        x0 = model.maxpool(model.relu(model.bn1(model.conv1(x))))
        first = model.layer1(x0).requires_grad_()
        scores = model.fc(model.avgpool(model.layer4(model.layer3(model.layer2(first)))).flatten(1))
        return [torch.autograd.grad(scores[:, c].sum(), first, retain_graph=c == 3) for c in (3, 7)]

    calls: dict[str, Call] = {"wsss": ours, "bare": bare}
    for frozen in (False, True):
        kind = "frozen" if frozen else "plain"
        calls[f"torch-cam {kind}"] = lambda frozen=frozen: torch_cam(frozen)
        for together in (False, True):
            name = f"pytorch-grad-cam {kind} {'together' if together else 'in turn'}"
            calls[name] = lambda together=together, frozen=frozen: grad_cam(together, frozen)
    return calls


def score_cam_calls(num_classes: int) -> dict[str, Call]:
    """Score-CAM of the last stage of ResNet-18, one image of 112 pixels."""
    model, classes = network("resnet18").requires_grad_(False), list(range(num_classes))
    formats = {"channels first": images(1, 112)}
    formats["channels last"] = formats["channels first"].to(memory_format=torch.channels_last)

    def ours(x: Tensor) -> object:
        return CAMExtractor(model, ["layer4"], "score_cam")(x, [classes])

    def torch_cam(x: Tensor) -> object:
        from torchcam.methods import ScoreCAM

        extractor = ScoreCAM(model, target_layer="layer4", batch_size=32)
        with torch.no_grad():
            scores = model(x)
            maps = [extractor(c, scores) for c in classes]
        extractor.remove_hooks()
        return maps

    def grad_cam(x: Tensor) -> object:
        from pytorch_grad_cam import ScoreCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with ScoreCAM(model, [model.layer4]) as extractor:
            extractor.batch_size = 32
            return [extractor(x, [ClassifierOutputTarget(c)]) for c in classes]

    libraries = {"wsss": ours, "torch-cam": torch_cam, "pytorch-grad-cam": grad_cam}
    return {
        f"{name} {layout}": lambda call=call, x=x: call(x)  # type: ignore[misc]
        for name, call in libraries.items()
        for layout, x in formats.items()
    }


def export_calls() -> dict[str, Call]:
    """CAM and ReCAM of the present classes with their flips, ResNet-50 of stride 16, against the bare forward pass."""
    from wsss.models import ReCAMClassifier, build_backbone
    from wsss.pipeline.config import CamConfig
    from wsss.pipeline.maps import draw_maps

    torch.manual_seed(0)
    model = ReCAMClassifier(build_backbone("resnet50", weights="none"), 20, fc2_init="default")
    model.eval().requires_grad_(False)
    x = torch.randint(0, 256, (4, 3, 320, 320), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    both = torch.cat([x, x.flip(-1)])
    config = CamConfig(scales=[1.0])

    def forward() -> object:
        with torch.inference_mode():
            return model.features(both)

    return {
        "wsss": lambda: draw_maps(model, x, [[1], [2, 3], [4], [5, 6]], ["cam", "recam"], config),
        "forward": forward,
    }


CASES: dict[str, tuple[str, Callable[[], dict[str, Call]]]] = {
    "layer_cam_1": ("LayerCAM, ResNet-50, 4 stages, 2 classes, 1 image of 320 px", lambda: layer_cam_calls(1)),
    "layer_cam_8": ("LayerCAM, a batch of 8", lambda: layer_cam_calls(8)),
    "score_cam_1": ("Score-CAM, ResNet-18, last stage, 1 class, 112 px", lambda: score_cam_calls(1)),
    "score_cam_3": ("Score-CAM, 3 classes", lambda: score_cam_calls(3)),
    "export": ("CAM + ReCAM, ResNet-50 at stride 16, 4 images + flips, 320 px", export_calls),
}


def measure(case: str, variant: str, repeats: int, threads: int) -> dict[str, float]:
    """Peak extra memory of the first call, median seconds of the others."""
    from wsss.pipeline.training import keep_freed_memory

    keep_freed_memory()  # for all alike
    torch.set_num_threads(threads)
    call = CASES[case][1]()[variant]
    return measure_call(call, repeats)[0]


def show(results: dict[str, dict[str, dict[str, float]]]) -> None:
    """A row a case and library, the fastest use of each."""
    table = Table(title="class activation maps, float32")
    for column in ("case", "by"):
        table.add_column(column)
    for column in ("seconds", "wsss is faster", "extra MiB"):
        table.add_column(column, justify="right")
    for case, variants in results.items():
        best = fastest(variants)
        for name, row in best.items():
            ratio = "" if name == "wsss" else f"{row['seconds'] / best['wsss']['seconds']:.2f} ×"
            title = CASES[case][0] if name == "wsss" else ""
            table.add_row(title, name, f"{row['seconds']:.3f}", ratio, f"{row['extra_mib']:.0f}")
        table.add_section()
    Console(width=120).print(table)


def fastest(variants: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The fastest use of each library."""
    best: dict[str, dict[str, float]] = {}
    for name, row in variants.items():
        library = name.split()[0]
        if library not in best or row["seconds"] < best[library]["seconds"]:
            best[library] = row
    return best


def comparisons(results: dict[str, dict[str, dict[str, float]]]) -> Iterator[Comparison]:
    """Us and the fastest use of each other library."""
    for case, variants in results.items():
        best = fastest(variants)
        ours = best.pop("wsss")
        for library, row in best.items():
            yield Comparison(
                what=CASES[case][0],
                peer=PEERS.get(library, library),
                seconds=ours["seconds"],
                peer_seconds=row["seconds"],
                faster=row["seconds"] / ours["seconds"],
                target=TARGETS.get((case, library)),
                mib=ours["extra_mib"],
                peer_mib=row["extra_mib"],
            )


def main() -> None:
    """Measure, print, store."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(
        description="Class activation maps against two libraries and the bare forward pass."
    )
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each variant")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "cam.json")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "VARIANT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure, options.repeats, options.threads)))
        return
    results: dict[str, Any] = {}
    for case in [options.only] if options.only else CASES:
        repeats = min(options.repeats, 3) if case.startswith("score_cam") else options.repeats  # long ones
        results[case] = {}
        for variant in CASES[case][1]():
            results[case][variant] = run_apart(
                __file__, ["--repeats", repeats, "--threads", options.threads, "--measure", case, variant]
            )
            print(f"{case}, {variant}: {results[case][variant]['seconds']:.3f} s", file=sys.stderr)
    show(results)
    store(options.out, threads=options.threads, cases=results, compared=[*comparisons(results)])


if __name__ == "__main__":
    main()

"""The demo's four methods in PyTorch: figures to hold alore's against.

    pip install -r bench/requirements.txt; python bench/demo_peer.py --epochs 10 5

Trains on items 0..999 of fashion and digits, tests on the rest, on one CPU thread. The order of items depends on the
seed alone, so all methods see the same batches. The model after the last step counts, not the best one.
"""
import argparse, json, math, platform, re, time
from pathlib import Path
import numpy as np, PIL.Image, safetensors, torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

TRAIN, BATCH, DECAY, BETAS, EPS = 1000, 32, 1e-4, (0.9, 0.999), 1e-8
RATES = {"linear probe": 1e-2, "LoRA r=8 at qkv": 3e-3, "ALoRE n=4 r=4 at qkv and fc1": 1e-2, "full fine-tuning": 1e-3}


class Block(nn.Module):                             # modules are named as in timm
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.attn.qkv(self.norm1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.attn.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self, img, patch, dim, depth, heads, hidden, classes):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, patch, stride=patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (img // patch) ** 2, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads, hidden) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patch_embed.proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def uniform(*shape, bound):
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Lora(nn.Module):                              # y = host(x) + scale x A B
    def __init__(self, host, rank, scale=1):
        super().__init__()
        self.host, self.scale = host, scale
        self.A = uniform(host.in_features, rank, bound=host.in_features ** -0.5)
        self.B = nn.Parameter(torch.zeros(rank, host.out_features))

    def forward(self, x):
        return self.host(x) + self.scale * (x @ self.A @ self.B)


class Alore(nn.Module):                             # y = host(x + x W'), W' = sum_i kron(S_i, D_i U_i) is never formed
    def __init__(self, host, S, rank):
        super().__init__()
        n, part = len(S), host.in_features // len(S)
        self.host, self.S = host, S                 # S [n,n,n] is one parameter for the whole network
        self.D = uniform(n, part, rank, bound=(6 / (part + rank)) ** 0.5)
        self.U = nn.Parameter(torch.zeros(n, rank, part))

    def forward(self, x):
        n, part, rank = self.D.shape
        t = x.reshape(-1, n, part) @ self.D.permute(1, 0, 2).reshape(part, n * rank)
        z = torch.einsum("iac,tair->tcir", self.S, t.view(-1, n, n, rank))
        return self.host(x + (z.reshape(-1, n, n * rank) @ self.U.reshape(n * rank, part)).view_as(x))


def build(method, config, tensors):
    model = ViT(**config)
    model.load_state_dict(tensors)
    model.requires_grad_(method.startswith("full"))
    for p in model.head.parameters():
        nn.init.zeros_(p.requires_grad_(True))
    S = uniform(4, 4, 4, bound=(3 / 4) ** 0.5)
    for attn, mlp in ((block.attn, block.mlp) for block in model.blocks):
        if method.startswith("LoRA"):
            attn.qkv = Lora(attn.qkv, rank=8)
        if method.startswith("ALoRE"):
            attn.qkv, mlp.fc1 = Alore(attn.qkv, S, rank=4), Alore(mlp.fc1, S, rank=4)
    return model


def load_data(path, size=32, mean=0.5, std=0.5):    # gray -> RGB -> Pillow's bilinear resize -> (x/255 - mean)/std
    items = load_file(path)
    gray = [PIL.Image.fromarray(image) for image in items["image"][..., 0].numpy()]
    rgb = [image.convert("RGB").resize((size, size), PIL.Image.Resampling.BILINEAR) for image in gray]
    x = torch.from_numpy(np.stack(rgb)).permute(0, 3, 1, 2).contiguous()
    return (x / 255 - mean) / std, items["label"].long()


def rate(s, steps):                                 # s counts from 0: the first step has rate 0
    warm = steps // 10
    return s / warm if s < warm else 0.5 * (1 + math.cos(math.pi * (s - warm) / (steps - warm)))


def train(method, config, tensors, data, name, epochs, seed):
    torch.manual_seed(seed)
    model, order, (x, y) = build(method, config, tensors), np.random.default_rng(seed), data[name]
    params = [p for p in model.parameters() if p.requires_grad]     # the shared S is listed once
    optimizer = torch.optim.AdamW(params, lr=RATES[method], betas=BETAS, eps=EPS, weight_decay=DECAY)
    steps = math.ceil(epochs * TRAIN / BATCH)       # one stream of items: batches are full, also across a pass's end
    stream = torch.from_numpy(np.concatenate([order.permutation(TRAIN) for _ in range(epochs + 1)]))
    start = np.array([time.perf_counter(), time.process_time()])
    for s in range(steps):
        pick = stream[s * BATCH:(s + 1) * BATCH]
        optimizer.param_groups[0]["lr"] = RATES[method] * rate(s, steps)
        optimizer.zero_grad()
        F.cross_entropy(model(x[pick]), y[pick]).backward()
        optimizer.step()
    wall, cpu = np.array([time.perf_counter(), time.process_time()]) - start
    with torch.no_grad():
        right = sum((model(x[i:i + 100]).argmax(1) == y[i:i + 100]).sum().item() for i in range(TRAIN, len(x), 100))
    return {"method": method, "lr": RATES[method], "epochs": epochs, "steps": steps, "data": name, "seed": seed,
            "trainable": sum(p.numel() for p in params), "right": right, "tested": len(x) - TRAIN,
            "top1": right / (len(x) - TRAIN), "seconds": round(wall, 3), "cpu_seconds": round(cpu, 3)}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--assets", type=Path, default=Path("examples/data"), help="folder of the three safetensors files")
    ap.add_argument("--epochs", type=int, nargs="+", default=[10])
    ap.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    ap.add_argument("--out", type=Path, default=Path("bench/demo_peer.json"))
    args = ap.parse_args()
    torch.set_num_threads(1)
    with safetensors.safe_open(args.assets / "vit_micro.safetensors", "pt") as f:
        meta, tensors = f.metadata(), {k: f.get_tensor(k) for k in f.keys()}
    config = {k: int(v.split("x")[0]) for k, v in re.findall(r"(\w+)=(\w+)", meta["alore.backbone"])}
    assert meta["alore.transform"] == "resize=32x32:bilinear,mean=0.5,std=0.5", meta["alore.transform"]
    data, runs = {name: load_data(args.assets / f"{name}.safetensors") for name in ("fashion", "digits")}, []
    for epochs in args.epochs:
        print(f"\n{epochs} epochs: top-1 in %, mean (seeds {args.seeds}); mean seconds of training, wall (CPU)\n\n"
              "| method | trainable | fashion | digits | seconds |\n|---|---|---|---|---|")
        for method in RATES:
            row = [train(method, config, tensors, data, name, epochs, seed) for name in data for seed in args.seeds]
            top1 = {name: [100 * r["top1"] for r in row if r["data"] == name] for name in data}
            cells = [f"{np.mean(t):.1f} ({', '.join(f'{v:.1f}' for v in t)})" for t in top1.values()]
            wall, cpu = (np.mean([r[key] for r in row]) for key in ("seconds", "cpu_seconds"))
            print(f"| {method} | {row[0]['trainable']:,} | {' | '.join(cells)} | {wall:.1f} ({cpu:.1f}) |", flush=True)
            runs += row
    versions = {m.__name__: str(m.__version__) for m in (torch, np, PIL, safetensors)}
    versions |= {"python": platform.python_version(), "simd": torch.backends.cpu.get_cpu_capability()}
    recipe = {"batch": BATCH, "decay": DECAY, "betas": BETAS, "eps": EPS, "warmup": "steps // 10", "threads": 1}
    args.out.write_text(json.dumps({"versions": versions, "recipe": recipe, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""alore beside PyTorch, ONNX Runtime and OpenVINO: the same weights, the same images, the same cores, in turn.

    pip install -r bench/requirements.txt; make; python bench/peers.py --cores 2

Every contestant is a process that warms up and then does one step whenever it is asked; all others are stopped
meanwhile, and rounds go A B C A B C, so that what else the machine does hits all alike. First all must give the same
logits; in training the same loss, and from the same start of the adapters the same norm of the first gradient.
Results pile up in bench/peers.json by model, cores and case; bench/README.md and bench/peers.svg show them.

    make bench; python bench/peers.py --kernels build/bench.json

keeps the table of kernels of that run in bench/kernels.json, one for each level, which the page shows, too. It ends with
bench/roofline.md, word for word.
"""
import argparse, atexit, collections, datetime, glob, json, os, platform, signal, subprocess, sys, time
from pathlib import Path

CASES = {"infer32": "inference, f32", "infer16": "inference, bf16", "infer8": "inference, int8", "batch1": "inference, f32",
         "batch1_16": "inference, bf16", "batch1_8": "inference, int8", "train32": "ALoRE training, f32",
         "train16": "ALoRE training, bf16"}
MODELS = {"vit_tiny_patch16_224": (192, 3), "vit_small_patch16_224": (384, 6), "vit_base_patch16_224": (768, 12)}
CLASSES, RULES = 100, "alore:rank=4,experts=4@qkv|fc1;unfreeze@head"
LIMIT = {"f32": 1e-4, "bf16": 3e-2, "i8": 2e-1}     # largest relative difference of all logits (Frobenius norms)


# ---- what a contestant runs -----------------------------------------------------------------------------------------

def first():
    """The first step is done."""
    print("FIRST", flush=True)


def serve(step, loss=0.0, norm=0.0):
    """Warmed up: say so, then answer each line with the seconds of one step, and q with the peak memory."""
    print(f"READY {loss:.9g} {norm:.9g}", flush=True)
    for line in sys.stdin:
        if line[0] == "q":
            break
        start = time.perf_counter()
        step()
        print(f"{time.perf_counter() - start:.6f}", flush=True)
    status = Path("/proc/self/status").read_text()  # getrusage would count the memory of the parent, too
    print(f"RSS {int(status.split('VmHWM:')[1].split()[0]) * 1024}", flush=True)


def load_inputs(folder, batch):
    from safetensors.numpy import load_file
    items = load_file(folder / "images.safetensors")
    return items["image"][:batch], items["label"][:batch]


def torch_model(folder, model):
    from demo_peer import ViT
    from safetensors.torch import load_file
    dim, heads = MODELS[model]
    net = ViT(img=224, patch=16, dim=dim, depth=12, heads=heads, hidden=4 * dim, classes=CLASSES)
    net.load_state_dict(load_file(folder / "weights.safetensors"))
    return net


def work_torch(a):
    """Forms: eager, compile, frozen; training factored or naive. Types: f32, amp, bf16 (the whole model)."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(a.cores)
    import numpy as np, torch
    from safetensors.torch import load_file
    from torch import nn
    from torch.nn import functional as F
    from demo_peer import Alore

    class Naive(Alore):                             # the whole matrix is formed, as the published code does
        def forward(self, x):
            return self.host(x + x @ sum(torch.kron(s, d @ u) for s, d, u in zip(self.S, self.D, self.U)))

    torch.set_num_threads(a.cores)
    torch.manual_seed(0)
    net, (x, y) = torch_model(a.folder, a.model), map(torch.from_numpy, load_inputs(a.folder, a.batch))
    train, loss, norm = a.task != "infer", 0.0, 0.0
    if train:
        start, kind = load_file(a.folder / "start.safetensors"), Naive if a.task == "naive" else Alore
        S = nn.Parameter(start["alore.S"].reshape(4, 4, 4))
        net.requires_grad_(False)
        net.head.requires_grad_(True)
        for i, block in enumerate(net.blocks):
            block.attn.qkv, block.mlp.fc1 = kind(block.attn.qkv, S, 4), kind(block.mlp.fc1, S, 4)
            for name, host in ("attn.qkv", block.attn.qkv), ("mlp.fc1", block.mlp.fc1):
                host.D.data = start[f"blocks.{i}.{name}.alore.D"].reshape(host.D.shape)
                host.U.data = start[f"blocks.{i}.{name}.alore.U"].reshape(host.U.shape)
        optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3, weight_decay=0)
    if a.dtype == "bf16":
        net, x = net.to(torch.bfloat16), x.to(torch.bfloat16)
    y = y.long()

    def logits(x):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.dtype == "amp"):
            return net(x)
    run = (lambda x: F.cross_entropy(logits(x).float(), y)) if train else logits
    if a.form == "frozen":
        import torch._inductor.config
        torch._inductor.config.freezing = True
    if a.form != "eager":
        run = torch.compile(run, dynamic=False)

    def step():
        if not train:
            with torch.no_grad() if a.form == "frozen" else torch.inference_mode():
                return run(x)
        optimizer.zero_grad(set_to_none=True)
        value = run(x)
        value.backward()
        optimizer.step()
        return value.detach()
    value = step()
    first()
    if train:
        loss = value.item()
        norm = sum(p.grad.double().square().sum().item() for p in net.parameters() if p.requires_grad) ** 0.5
    else:
        np.save(a.logits, value.float().numpy())
    for thread in os.listdir("/proc/self/task"):    # the main thread on the first core, its helpers on the others
        main = a.cores == 1 or int(thread) == os.getpid()
        os.sched_setaffinity(int(thread), {0} if main else set(range(1, a.cores)))
    step()
    serve(step, loss, norm)


def work_ort(a):
    os.sched_setaffinity(0, {0})
    import numpy as np, onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = a.cores, 1
    if a.cores > 1:
        affinity = ";".join(str(i + 1) for i in range(1, a.cores))
        options.add_session_config_entry("session.intra_op_thread_affinities", affinity)
    name = f"vit{a.batch}{'_i8' if a.dtype == 'i8' else ''}.onnx"
    session = ort.InferenceSession(str(a.folder / name), options, providers=["CPUExecutionProvider"])
    feed = {"x": load_inputs(a.folder, a.batch)[0]}
    logits = session.run(None, feed)[0]
    first()
    np.save(a.logits, logits)
    session.run(None, feed)
    serve(lambda: session.run(None, feed))


def work_ov(a):
    """Forms: one (stream), each (core has a stream of single images)."""
    os.sched_setaffinity(0, set(range(a.cores)))
    import numpy as np, openvino as ov
    each = a.form == "each"
    core, batch = ov.Core(), 1 if each else a.batch
    net = core.compile_model(core.read_model(a.folder / f"vit{batch}.xml"), "CPU", {
        "INFERENCE_PRECISION_HINT": a.dtype, "INFERENCE_NUM_THREADS": a.cores, "NUM_STREAMS": a.cores if each else 1,
        "ENABLE_CPU_PINNING": True, "PERFORMANCE_HINT": "THROUGHPUT" if each else "LATENCY"})
    x, out = load_inputs(a.folder, a.batch)[0], np.zeros((a.batch, CLASSES), np.float32)
    if each:
        queue = ov.AsyncInferQueue(net, a.cores)
        queue.set_callback(lambda r, i: out.__setitem__(i, r.get_output_tensor().data[0]))

        def step():
            for i in range(a.batch):
                queue.start_async({0: x[i:i + 1]}, i, share_inputs=True)
            queue.wait_all()
    else:
        request = net.create_infer_request()

        def step():
            out[:] = request.infer({0: x}, share_inputs=True, share_outputs=True)[0]
    step()
    first()
    np.save(a.logits, out)
    step()
    serve(step)


# ---- files that all share -------------------------------------------------------------------------------------------

def make_inputs(folder, model, batch):
    """Random weights in timm's names and random images; a size that keeps activations near 1."""
    import numpy as np
    from safetensors.numpy import save_file
    dim, heads = MODELS[model]
    rng, w = np.random.default_rng(0), {}

    def add(name, *shape, mean=0.0, deviation=None):
        deviation = deviation or float(np.prod(shape[1:])) ** -0.5
        w[name] = (mean + deviation * rng.standard_normal(shape, np.float32)).astype(np.float32)

    def linear(name, out, *into):
        add(f"{name}.weight", out, *into)
        add(f"{name}.bias", out, deviation=0.02)

    def norm(name):
        add(f"{name}.weight", dim, mean=1, deviation=0.1)
        add(f"{name}.bias", dim, deviation=0.02)
    add("cls_token", 1, 1, dim, deviation=0.02)
    add("pos_embed", 1, 197, dim, deviation=0.02)
    linear("patch_embed.proj", dim, 3, 16, 16)
    for i in range(12):
        at = f"blocks.{i}"
        norm(f"{at}.norm1"), linear(f"{at}.attn.qkv", 3 * dim, dim), linear(f"{at}.attn.proj", dim, dim)
        norm(f"{at}.norm2"), linear(f"{at}.mlp.fc1", 4 * dim, dim), linear(f"{at}.mlp.fc2", dim, 4 * dim)
    norm("norm"), linear("head", CLASSES, dim)
    spec = f"vit:img=224x224,patch=16,dim={dim},depth=12,heads={heads},classes={CLASSES}"
    save_file(w, folder / "weights.safetensors", {"alore.backbone": spec})
    image = rng.standard_normal((batch, 3, 224, 224), np.float32)
    save_file({"image": image, "label": np.arange(batch, dtype=np.int32)}, folder / "images.safetensors")


def export_models(folder, model, batches):
    """ONNX (f32 and dynamic int8 with a scale a column) and OpenVINO's form, for each batch size."""
    import torch, warnings
    warnings.filterwarnings("ignore")
    net = torch_model(folder, model).eval()
    for b in batches:
        x = torch.randn(b, 3, 224, 224)
        path = str(folder / f"vit{b}.onnx")
        torch.onnx.export(net, (x,), path, input_names=["x"], output_names=["y"], opset_version=17, dynamo=False)
        from onnxruntime.quantization import QuantType, quantize_dynamic
        quantize_dynamic(path, path.replace(".onnx", "_i8.onnx"), per_channel=True, weight_type=QuantType.QInt8)
        import openvino as ov
        with torch.no_grad():
            ov.save_model(ov.convert_model(net, example_input=x, input=[(b, 3, 224, 224)]), str(folder / f"vit{b}.xml"),
                          compress_to_fp16=False)


def export(a):
    export_models(a.folder, a.model, sorted({1, a.batch}))


# ---- the contest ----------------------------------------------------------------------------------------------------

STARTED, ONE_CORE = [], "one core"
UNITS = {"gflops": "GFLOP/s", "gbs": "GB/s", "images_per_second": "images/s"}
Contestant = collections.namedtuple("Contestant", "peer form dtype command env")


def batch_of(a, case):
    return 1 if case.startswith("batch1") else a.batch


def contestants(a, case):
    """All forms worth trying; the best one of each peer counts."""
    batch = batch_of(a, case)
    train, dtype = case.startswith("train"), {"16": "bf16", "r8": "i8", "_8": "i8"}.get(case[-2:], "f32")

    def alore(form, cores):
        command = ["taskset", "-c", ",".join(str(i) for i in range(cores)), str(a.alore), "bench", "--weights",
                   str(a.folder / "weights.safetensors"), "--data", str(a.folder / "images.safetensors"), "--batch",
                   str(batch), "--threads", str(cores), "--precision", dtype, "--serve", "-q"]
        return Contestant("alore", form, dtype, command + (["--train", "--attach", RULES] if train else []), {})
    out = [alore("", a.cores)] + ([alore(ONE_CORE, 1)] if a.cores > 1 else [])

    def peer(peer, form, task="infer", env={}, dtype=dtype):
        words = [task if train else "", dtype if dtype == "amp" else "", form, "tcmalloc" if env else ""]
        title, name = " ".join(filter(None, words)), {"torch": "PyTorch", "ort": "ONNX Runtime", "ov": "OpenVINO"}[peer]
        command = [sys.executable, __file__, "--work", peer, "--task", task, "--form", form, "--dtype", dtype, "--batch",
                   str(batch), "--cores", str(a.cores), "--model", a.model, "--folder", str(a.folder)]
        out.append(Contestant(name, title, dtype, command, env))
    forms = ["eager"] if a.no_compile else ["eager", "compile"] if train else ["eager", "compile", "frozen"]
    types = ["amp"] if train and dtype == "bf16" else ["amp", "bf16"] if dtype == "bf16" else ["f32"]
    for form in forms if dtype != "i8" else []:
        for task in ["fact", "naive"] if train else ["infer"]:
            for t in types:
                for env in [{}, {"LD_PRELOAD": a.tcmalloc}] if a.tcmalloc and form == "eager" else [{}]:
                    peer("torch", form, task, env, t)
    if not train and dtype != "bf16":
        peer("ort", "dynamic" if dtype == "i8" else "")
    if not train and dtype != "i8":
        for form in ["one"] if batch == 1 else ["one", "each"]:
            peer("ov", form)
    return [c for c in out if not a.peers or c.peer == "alore" or c.peer in a.peers]


def start(a, c, k):
    """Start it, wait until it is warm, and stop it. Returns process, the numbers it said, seconds from the start to the
    end of the first step, and why it failed."""
    log, logits = a.folder / f"log{k}.txt", a.folder / f"logits{k}.npy"
    logits.unlink(missing_ok=True)
    extra = [] if c.peer == "alore" else ["--logits", str(logits)]
    begin, seconds = time.perf_counter(), 0.0
    p = subprocess.Popen(c.command + extra, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(log, "w"),
                         text=True, env={**os.environ, **c.env}, bufsize=1)
    STARTED.append(p)
    for line in p.stdout:
        if line.startswith("FIRST"):
            seconds = time.perf_counter() - begin
        if line.startswith("READY"):
            os.kill(p.pid, signal.SIGSTOP)
            return p, [float(word) for word in line.split()[1:]], seconds, ""
    p.wait()
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    return None, [], 0, lines[-1][:160] if lines else f"exit {p.returncode}"


def ask(p, line):
    os.kill(p.pid, signal.SIGCONT)
    p.stdin.write(line + "\n")
    p.stdin.flush()
    answer = p.stdout.readline()
    return answer


def alore_logits(a, batch, dtype):
    from safetensors.numpy import load_file
    out = a.folder / "logits.safetensors"
    subprocess.run([str(a.alore), "predict", "--weights", str(a.folder / "weights.safetensors"), "--data",
                    f"{a.folder / 'images.safetensors'}[0:{batch}]", "--batch", str(batch), "--precision", dtype,
                    "--out", str(out), "-q"],
                   check=True, stdout=subprocess.DEVNULL)
    return load_file(out)["logits"]


def contest(a, case):
    """One case: start all, compare what they compute, then take turns."""
    import numpy as np
    batch, train = batch_of(a, case), case.startswith("train")
    rows, wrong, load = [], [], os.getloadavg()[0]
    for k, c in enumerate(contestants(a, case)):
        begin = time.time()
        p, said, seconds, why = start(a, c, k)
        row = dict(peer=c.peer, form=c.form, dtype=c.dtype, warm_seconds=round(time.time() - begin, 1),
                   first_seconds=round(seconds, 3), why=why, process=p, steps=[])
        if p and train:
            row["loss"], row["norm"] = said
        elif p:
            got = alore_logits(a, batch, c.dtype) if c.peer == "alore" else np.load(a.folder / f"logits{k}.npy")
            row["error"] = float(np.linalg.norm(got - a.reference[:batch]) / np.linalg.norm(a.reference[:batch]))
        tells = f"logits differ by {row['error']:.1e}" if "error" in row else "loss %.6f, gradient %.6g" % tuple(said or (0, 0))
        print(f"  {c.peer} {c.form} {c.dtype}: {why or 'warm after %.0f s, %s' % (row['warm_seconds'], tells)}",
              file=sys.stderr)
        rows.append(row)
    runs = [r for r in rows if r["process"]]
    norm = next((r["norm"] for r in runs if train and r["peer"] != "alore"), rows[0].get("norm", 1))
    for r in runs:
        limit = LIMIT.get(r["dtype"], LIMIT["bf16"])
        far = r["error"] if not train else max(abs(r["loss"] - a.loss) / a.loss, abs(r["norm"] - norm) / norm)
        if not far <= limit:
            wrong.append(f"{case}: {r['peer']} {r['form']} differs by {far:.2g}, at most {limit:g} is allowed")
    for _ in range(a.rounds):
        for r in runs:
            r["steps"].append(float(ask(r["process"], "go")))
            os.kill(r["process"].pid, signal.SIGSTOP)
    for r in runs:
        r["rss"] = int(ask(r["process"], "q").split()[1])
        r["process"].wait()
        s = sorted(r.pop("steps"))
        r["median"], r["low"], r["high"] = (batch / t for t in (s[len(s) // 2], s[-1], s[0]))
    for r in rows:
        del r["process"]
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return dict(model=a.model, cores=a.cores, case=case, batch=batch, rounds=a.rounds, cpu=a.cpu, versions=a.versions,
                flags=a.flags, load=round(load, 1), date=date, peak=a.peak, rows=rows), wrong


# ---- the picture and the page ---------------------------------------------------------------------------------------

def best_rows(result):
    """alore's row (or None), and of each peer the form with the highest median."""
    ours, best = None, {}
    for r in result["rows"]:
        if "median" not in r:
            continue
        kind = r["peer"] + (", naive" if "naive" in r["form"] else "")
        if r["form"] == ONE_CORE:
            continue
        if r["peer"] == "alore":
            ours = r
        elif kind not in best or r["median"] > best[kind]["median"]:
            best[kind] = r
    return ours, best


def title_of(result):
    cores = f"{result['cores']} core{'s' * (result['cores'] > 1)}"
    return f"{result['model']}, {CASES[result['case']]}, batch {result['batch']}, {cores}"


def command_of(r):
    """What measures this case again."""
    compiled = any(word in row["form"] for row in r["rows"] for word in ("compile", "frozen"))
    return (f"python bench/peers.py --model {r['model']} --batch {r['batch'] if r['batch'] > 1 else 16} "
            f"--cores {r['cores']} --cases {r['case']} --rounds {r['rounds']}"
            + " --no-compile" * (not compiled and any(row["peer"] == "PyTorch" for row in r["rows"])))


def kernel_tables(kernels):
    """The last runs of make bench that were kept, one for each level."""
    out = []
    for isa, k in sorted(kernels.items()):
        out += [f"## Kernels and networks, {isa}", "",
                f"{k['date']}; {k['cpu']}; alore {k['version']}{' ' * bool(k['commit'])}{k['commit']}; a core does "
                f"{k['peak_f32']:.0f} GFLOP/s in f32, {k['peak_bf16']:.0f} in bf16, {k['peak_i8']:.0f} in int8; kernels on one "
                f"thread, networks on as many as their names end with (of {k['threads']}). Shares are of the peak, or of a copy, "
                "of the same run. Again: "
                f"`make bench BENCHFLAGS='--isa {isa} --threads {k['threads']}'`.", "",
                "| case | median | | share | range | samples that count |", "|---|---|---|---|---|---|"]
        for r in k["rows"] + k["networks"]:
            unit, key = next((u, n) for n, u in UNITS.items() if n in r)
            share = f"{100 * r['share']:.1f} %" if r["share"] > 0 else ""
            times = f", {r['against_one_thread']:.2f} times one thread" if "against_one_thread" in r else ""
            out.append(f"| {r['name']} | {r[key]:.4g} | {unit} | {share} | {r['low']:.4g} to {r['high']:.4g} | "
                       f"{r['kept']} of {r['samples']}{times} |")
        out.append("")
    return out


def page(a, results):
    out = ["# alore and its peers", "",
           "Written by `bench/peers.py`; do not edit. Images per second: medians of interleaved rounds, with the slowest and",
           "the fastest; the same weights, images and cores for all; every contestant a process of its own, all others",
           "stopped during a step. The ratio is alore's median divided by that row's; **bold** where the row is the best form",
           "of that peer. `each`: a stream of single images on each core; `one`: all cores on one batch; `frozen`: compiled",
           "with constant weights; `fact`, `naive`: adapters as factors, or as Kronecker products formed; `amp`: autocast;",
           "`one core`: alore itself on one of the cores, so that its ratio is what all cores do against one. To first logits:",
           "from the start of the program, reading, packing or compiling included; in training to the end of the first step. A",
           "load average well above 0 says that other work took cores: then only the ratios mean something.", "",
           "![images per second](peers.svg)", ""]
    for r in results:
        ours, best = best_rows(r)
        out += [f"## {title_of(r)}", "", f"{r['date']}; {r['cpu']}; {r['rounds']} rounds; FMA peak of a core "
                f"{r['peak']:.0f} GFLOP/s in f32; load average before the start {r['load']}.  ",
                "; ".join(f"{k} {v}" for k, v in r["versions"].items()) + ".  ", f"Again: `{command_of(r)}`"]
        if r["case"].endswith("16") and "avx512_bf16" not in r["flags"] and "amx_bf16" not in r["flags"]:
            out += ["", "**This CPU has no bf16 products**: what is called bf16 here is computed in f32, or slowly, and",
                    "says nothing about CPUs that have them."]
        if r["case"].endswith("8") and not {"avx512_vnni", "avx_vnni"} & set(r["flags"]):
            out += ["", "**This CPU has no int8 dot products.**"]
        out += ["", "| | form | images/s | range | peak memory | start to first logits | differs from PyTorch f32 by "
                "| alore / it |", "|---|---|---|---|---|---|---|---|"]
        for row in r["rows"]:
            if "median" not in row:
                out.append(f"| {row['peer']} | {row['form']} {row['dtype']} | not run: {row['why']} | | | | | |")
                continue
            ratio = f"{ours['median'] / row['median']:.2f}" if ours and row is not ours else ""
            if any(row is b for b in best.values()):
                ratio = f"**{ratio}**" if ratio else ""
            differs = f"{row['error']:.1e}" if "error" in row else f"loss {row['loss']:.4f}"
            differs += f", gradient {row['norm']:.4g}" if "norm" in row else ""
            begin = f"{row['first_seconds']:.2f} s" if "first_seconds" in row else ""
            out.append(f"| {row['peer']} | {row['form']} {row['dtype']} | {row['median']:.3g} | "
                       f"{row['low']:.3g} to {row['high']:.3g} | {row['rss'] / 1e6:.0f} MB | {begin} | {differs} | {ratio} |")
        out.append("")
    out += ["Commands run after `make` and `pip install -r bench/requirements.txt`.", ""]
    kernels, roofline = a.out / "kernels.json", a.out / "roofline.md"
    out += kernel_tables(json.loads(kernels.read_text())) if kernels.exists() else []
    return "\n".join(out) + ("\n" + roofline.read_text() if roofline.exists() else "")


def svg(width, height, body):
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
            'font-size="12">\n'
            '<style>text{fill:#1a202c}.t{font-weight:bold}</style><rect width="100%" height="100%" fill="#fff"/>\n')
    return head + "\n".join(body) + "\n</svg>\n"


def picture(results):
    """A bar for alore and for the best form of each peer, a group a case."""
    body, y = [], 16
    color = {"alore": "#2b6cb0", "PyTorch": "#dd6b20", "PyTorch, naive": "#f6ad55", "ONNX Runtime": "#718096",
             "OpenVINO": "#805ad5"}
    for r in results:
        ours, best = best_rows(r)
        bars = ([("alore", ours)] if ours else []) + sorted(best.items())
        most = max((row["high"] for _, row in bars), default=1)
        body.append(f'<text x="8" y="{y + 12}" class="t">{title_of(r)}, {r["date"][:10]}</text>')
        y += 20
        for name, row in bars:
            w, low, high = (round(360 * row[k] / most, 1) for k in ("median", "low", "high"))
            other = ours and row is not ours
            label = f'{row["median"]:.3g}/s' + (f', alore {ours["median"] / row["median"]:.2f}x' if other else "")
            body += [f'<text x="120" y="{y + 12}" text-anchor="end">{name}</text>',
                     f'<rect x="128" y="{y + 2}" width="{w}" height="13" fill="{color[name]}"/>',
                     f'<path d="M{128 + low} {y + 8.5}H{128 + high}" stroke="#1a202c"/>',
                     f'<text x="{132 + max(w, high)}" y="{y + 12}">{label}</text>']
            y += 18
        y += 12
    return svg(680, y, body)


# ---- main -----------------------------------------------------------------------------------------------------------

def cpu_words():
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    info = dict(line.split(":", 1) for line in first if ":" in line)
    info = {k.strip(): v.strip() for k, v in info.items()}
    wanted = {"avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8"}
    return info.get("model name", platform.processor()), sorted(wanted & set(info.get("flags", "").split()))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--cores", type=int, default=2)
    ap.add_argument("--cases", default=",".join(CASES), help="of " + ",".join(CASES))
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--model", choices=list(MODELS), default="vit_base_patch16_224")
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--peers", default="", help="only these, such as PyTorch,OpenVINO")
    ap.add_argument("--no-compile", action="store_true", help="leave out torch.compile, whose first step takes a minute")
    ap.add_argument("--smoke", action="store_true", help="does it run: ViT-tiny, one round, results in build/peers")
    ap.add_argument("--alore", type=Path, default=Path("build/alore"))
    ap.add_argument("--out", type=Path, default=None, help="folder of README.md, peers.json and peers.svg (bench)")
    ap.add_argument("--show", action="store_true", help="only write the page and the picture again")
    ap.add_argument("--kernels", type=Path, metavar="FILE", help="keep the tables of make bench's FILE, and --show")
    for hidden in ("--work", "--task", "--form", "--dtype", "--logits"):
        ap.add_argument(hidden, help=argparse.SUPPRESS)
    ap.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    a = ap.parse_args()
    if a.work:
        return {"torch": work_torch, "ort": work_ort, "ov": work_ov, "export": export}[a.work](a)
    if a.smoke:
        a.model, a.rounds, a.batch, a.no_compile, a.cases = "vit_tiny_patch16_224", 1, 2, True, "infer32,infer8,train32"
    cases = a.cases.split(",")
    if not set(cases) <= set(CASES):
        ap.error(f"--cases: {a.cases}; there are {', '.join(CASES)}")
    a.out = a.out or Path("build/peers" if a.smoke else "bench")
    a.peers = [p for p in a.peers.split(",") if p]
    store = a.out / "peers.json"
    results = json.loads(store.read_text()) if store.exists() and not a.smoke else []
    a.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    atexit.register(lambda: [p.kill() for p in STARTED if p.poll() is None])
    if a.kernels:
        kept, new, a.show = a.out / "kernels.json", json.loads(a.kernels.read_text()), True
        kernels = json.loads(kept.read_text()) if kept.exists() else {}
        kept.write_text(json.dumps({**kernels, new["isa"]: new}, indent=1) + "\n")
    wrong, order = [], {c: i for i, c in enumerate(CASES)}
    for case in cases if not a.show else [None]:
        if case:
            if case == cases[0]:
                prepare(a)
            print(f"{a.model}, {CASES[case]}, {a.cores} cores", file=sys.stderr)
            result, bad = contest(a, case)
            wrong += bad
            results = [r for r in results if (r["model"], r["case"], r["cores"]) != (a.model, case, a.cores)] + [result]
        results.sort(key=lambda r: (-MODELS[r["model"]][0], order[r["case"]], r["cores"]))
        store.write_text(json.dumps(results, indent=1) + "\n")
        (a.out / "README.md").write_text(page(a, results))
        (a.out / "peers.svg").write_text(picture(results))
    print("\n".join(line for line in page(a, results).splitlines() if line.startswith(("|", "##", "**This"))))
    for line in wrong:
        print("peers: " + line, file=sys.stderr)
    return 1 if wrong else 0


def prepare(a):
    """Files, versions, the peak of this machine, and what PyTorch makes of it in f32."""
    import onnxruntime, openvino, torch
    from torch.nn import functional as F
    if not 1 <= a.cores <= (os.cpu_count() or 1):
        sys.exit(f"peers: --cores {a.cores}, but the machine has {os.cpu_count()}")
    a.folder = Path("build/peers") / f"{a.model}_b{a.batch}"
    a.folder.mkdir(parents=True, exist_ok=True)
    make_inputs(a.folder, a.model, a.batch)
    subprocess.run([str(a.alore), "train", "--weights", str(a.folder / "weights.safetensors"), "--data",
                    str(a.folder / "images.safetensors"), "--attach", RULES, "--steps", "0", "-q", "--out",
                    str(a.folder / "start.safetensors")], check=True, stdout=subprocess.DEVNULL)
    if not (a.folder / f"vit{a.batch}.xml").exists() or not (a.folder / "vit1.xml").exists():
        subprocess.run([sys.executable, __file__, "--work", "export", "--model", a.model, "--batch", str(a.batch), "--folder",
                        str(a.folder)], check=True, stdout=subprocess.DEVNULL)
    found = sorted(glob.glob("/usr/lib/*/libtcmalloc_minimal.so*") + glob.glob("/usr/lib/*/libtcmalloc.so*"))
    a.tcmalloc = found[0] if found and not a.smoke else ""
    a.cpu, a.flags = cpu_words()
    version = subprocess.run([str(a.alore), "--version"], check=True, capture_output=True, text=True).stdout.split()
    a.versions = {"alore": version[1], "isa": version[3], "PyTorch": torch.__version__, "ONNX Runtime": onnxruntime.__version__,
                  "OpenVINO": openvino.__version__.split("-")[0], "Python": platform.python_version()}
    if a.tcmalloc:
        a.versions["tcmalloc"] = os.path.basename(os.path.realpath(a.tcmalloc))
    bench = [str(a.alore), "bench", "--quick", "--json", "-q"]
    a.peak = json.loads(subprocess.run(bench, check=True, capture_output=True, text=True).stdout)["peak_f32"]
    x, y = map(torch.from_numpy, load_inputs(a.folder, a.batch))
    with torch.inference_mode():
        reference = torch_model(a.folder, a.model).eval()(x)
        a.loss = F.cross_entropy(reference, y.long()).item()
    a.reference = reference.numpy()


if __name__ == "__main__":
    sys.exit(main())

"""The shares of some cases over all runs of make bench on this machine, as a picture.

    python bench/plot.py                      cases of build/bench_history.csv, drawn in build/bench_history.svg
    python bench/plot.py 'gemm f32' kron      others: all whose names hold one of the texts
"""
import argparse, csv
from pathlib import Path
from peers import svg

COLUMNS = ["date", "version", "isa", "case", "unit", "value", "share", "kept", "commit", "cpu", "threads"]
USUAL = ["gemm f32 197x768x3072", "gemm bf16 197x768x3072", "gemm i8 197x768x3072", "kron f32", "kron backward",
         "attention forward f32 197x64x12", "attention backward", "vit_base_patch16_224 forward", "vit_base_patch16_224 alore"]
COLORS = ["#2b6cb0", "#dd6b20", "#805ad5", "#2f855a", "#c53030", "#b7791f", "#319795", "#d53f8c", "#4a5568", "#718096"]
WIDTH, HEIGHT, LEFT, TOP = 640, 320, 48, 40        # of the field in which lines are drawn, and where it begins


def read(path, wanted, isa):
    """Runs in their order (a date and a commit each), and of each case its share in each run that has it."""
    runs, cases = [], {}
    with open(path, newline="") as f:
        for line in csv.reader(f):
            row = dict(zip(COLUMNS, line))
            if row["date"] == "date" or float(row["share"]) <= 0 or (isa and row["isa"] != isa):
                continue
            if not any(text in row["case"] for text in wanted):
                continue
            run = (row["date"], row.get("commit", ""))
            if run not in runs:
                runs.append(run)
            cases.setdefault(f"{row['case']}, {row['isa']}", {})[runs.index(run)] = float(row["share"])
    return runs, cases


def picture(runs, cases):
    """A line a case: the share of the peak over the runs, which stand at equal distances."""
    body = [f'<text x="8" y="20" class="t">Shares of the peak (or of a copy) in {len(runs)} runs of make bench</text>']
    for percent in range(0, 101, 20):
        y = TOP + HEIGHT * (100 - percent) // 100
        body += [f'<path d="M{LEFT} {y}H{LEFT + WIDTH}" stroke="#e2e8f0"/>',
                 f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{percent} %</text>']
    at = [LEFT + round(WIDTH * (i + 0.5) / len(runs), 1) for i in range(len(runs))]
    for i in range(0, len(runs), max(1, len(runs) // 8)):
        date, commit = runs[i]
        body += [f'<text x="{at[i]}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{date[2:10]}</text>',
                 f'<text x="{at[i]}" y="{TOP + HEIGHT + 30}" text-anchor="middle">{commit[-8:]}</text>']
    for k, (name, shares) in enumerate(sorted(cases.items())):
        color, y = COLORS[k % len(COLORS)], TOP + 12 + 16 * k
        points = [(at[i], round(TOP + HEIGHT * (1 - min(share, 1)), 1)) for i, share in sorted(shares.items())]
        body.append(f'<polyline points="{" ".join(f"{x},{v}" for x, v in points)}" fill="none" stroke="{color}"/>')
        body += [f'<circle cx="{x}" cy="{v}" r="2.5" fill="{color}"/>' for x, v in points]
        body += [f'<rect x="{LEFT + WIDTH + 12}" y="{y - 9}" width="10" height="10" fill="{color}"/>',
                 f'<text x="{LEFT + WIDTH + 28}" y="{y}">{name}</text>']
    return svg(LEFT + WIDTH + 340, max(TOP + HEIGHT + 44, TOP + 16 * len(cases) + 16), body)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("cases", nargs="*", default=USUAL)
    ap.add_argument("--history", type=Path, default=Path("build/bench_history.csv"))
    ap.add_argument("--isa", default="", help="only runs at this level")
    ap.add_argument("--out", type=Path, default=Path("build/bench_history.svg"))
    a = ap.parse_args()
    runs, cases = read(a.history, a.cases or USUAL, a.isa)
    if not runs:
        raise SystemExit(f"plot: {a.history} has none of these cases")
    a.out.write_text(picture(runs, cases))
    print(f"{a.out}: {len(cases)} cases in {len(runs)} runs")


if __name__ == "__main__":
    main()

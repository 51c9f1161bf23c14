"""From the figures of single stretches to the table that scripts/bench prints."""

import numpy as np

# What is shown: heading, load, function of a case's rows, decimals, whether more is better.
COLUMNS = {
    "fps saturated": ("saturated", lambda rows: np.median([row["fps"] for row in rows]), 1),
    "p50 ms": ("calm", lambda rows: percentile(rows, 50), 1),
    "p99 ms": ("calm", lambda rows: percentile(rows, 99), 1),
    "CPU ms outside forward": (
        "calm",
        lambda rows: np.median([row["outside_cpu_millis"] for row in rows]),
        2,
    ),
    "the same, saturated": (
        "saturated",
        lambda rows: np.median([row["outside_cpu_millis"] for row in rows]),
        2,
    ),
    "CPU ms forward": ("calm", lambda rows: np.median([row["inside_cpu_millis"] for row in rows]), 1),
    "peak MB": ("saturated", lambda rows: max(row["peak_mb"] for row in rows), 0),
    "lost on the way %": ("calm", lambda rows: lost(rows), 1),
    "passed over %": ("saturated", lambda rows: passed_over(rows), 0),
}


def percentile(rows: list[dict], which: float) -> float:
    """From stamp to the receiver's callback, over all rounds."""
    millis = np.concatenate([row["millis"] for row in rows])
    return float(np.percentile(millis, which)) if len(millis) else float("nan")


def lost(rows: list[dict]) -> float:
    """Share of unhurried frames that did not come back."""
    sent = sum(row["sent"] for row in rows)
    return 100 * (1 - sum(row["arrived"] for row in rows) / sent)


def passed_over(rows: list[dict]) -> float:
    """Share of frames, sent faster than the node can go, that it did not answer."""
    return 100 * (1 - sum(row["arrived"] for row in rows) / sum(row["sent"] for row in rows))


def summary(rows: list[dict]) -> list[dict]:
    """One entry per case with both nodes' figures and their ratio."""
    found = []
    for case in dict.fromkeys((row["model"], row["size"], row["transport"]) for row in rows):
        of_case = [row for row in rows if (row["model"], row["size"], row["transport"]) == case]
        entry = {
            "model": case[0],
            "size": case[1],
            "transport": case[2],
            "calm_rate": of_case[0]["rate"],
            "n_latencies": sum(
                len(row["millis"]) for row in of_case if row["load"] == "calm" and row["node"] == "pixio_node"
            ),
        }
        for heading, (load, figure, _) in COLUMNS.items():
            ours, theirs = (
                float(figure([row for row in of_case if row["load"] == load and row["node"] == node]))
                for node in ("pixio_node", "Python")
            )
            entry[heading] = {
                "pixio_node": ours,
                "Python": theirs,
                "ratio": ours / theirs if theirs else None,
            }
        found.append(entry)
    return found


def cell(figures: dict, decimals: int) -> str:
    text = f"{figures['pixio_node']:.{decimals}f} / {figures['Python']:.{decimals}f}"
    return text if figures["ratio"] is None else f"{text} = {figures['ratio']:.2f}"


def table(rows: list[dict], profile: dict | None) -> str:
    """Each cell: pixio_node / Python = ratio."""
    lines = ["pixio_node / Python node = ratio"]
    cases = summary(rows)
    width = max(len(heading) for heading in COLUMNS)
    for case in cases:
        lines.append(
            f"\n{case['model']}, {case['size']}, {case['transport']} (latency at "
            f"{case['calm_rate']:.1f} Hz, {case['n_latencies']} frames)"
        )
        for heading, (_, _, decimals) in COLUMNS.items():
            lines.append(f"  {heading:{width}}  {cell(case[heading], decimals)}")
    if profile:
        published = max(profile["published"], 1)
        lines.append(
            "\nreceivers of ViT-B features (393 KB a frame, best effort), of "
            f"{profile['published']} published:"
        )
        for name in ("with", "without"):
            lines.append(
                f"  {name:7} config/fastdds.xml: {profile[name]} arrived, "
                f"{100 * (1 - profile[name] / published):.0f} % lost"
            )
    return "\n".join(lines)

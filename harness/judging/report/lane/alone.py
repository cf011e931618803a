"""The lane's lines on what was measured without a partner: bytes, the bare step, ladders, GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.judging.environments.stack import locked
from harness.judging.report.lane.published import PACKAGES, REFERENCE, SPEED_TOKENS
from harness.records.statistics import ratio

Records = Mapping[str, Mapping[str, Any]]
# Of a ladder's findings so many are named; all are in its file.
NAMED = 8
# What a training by several processes is run by.
RUN_BY = ("transformers", "trl", "accelerate", "bitsandbytes")
# Of the bare step's speed.
WANTED_TRAINER = 0.9


def gigabytes(count: float) -> str:
    """Bytes in GB of 1e9."""
    return f"{count / 1e9:.1f}"


def alone(records: Records) -> str:
    """What was measured without a partner: bytes, the bare step."""
    lines = []
    footprint = records.get(f"footprint-{SPEED_TOKENS}")
    if footprint is not None:
        total, differing = footprint["total"], footprint["differing"]
        verdict = "equal by component" if not differing else f"differ in {', '.join(differing)}"
        phases = ", ".join(
            f"{name} {gigabytes(now['peak_allocated'] - (footprint['kept_copy'] if i else 0))}"
            for i, (name, now) in enumerate(footprint["phases"].items())
        )
        lines.append(
            f"- Loaded bytes {total['measured']:,}, formula {total['formula']:,}: {verdict}. "
            f"Peaks by phase, GB: {phases}."
        )
    bare = records.get(f"throughput-{SPEED_TOKENS}")
    if bare is not None:
        energy, idle = bare["joules_per_sample"], bare["idle_share"]
        lines.append(
            f"- The recipe's bare step at {SPEED_TOKENS} tokens: "
            f"{bare['samples_per_second']:.2f} samples/s, {bare['tokens_per_second']:,.0f} "
            f"tokens/s of which {bare['supervised_per_second']:,.0f} supervised, "
            f"MFU {bare['mfu']:.3f}, HFU "
            f"{bare['hfu']:.3f} of {bare['matmul_rate'] / 1e12:.0f} TFLOP/s"
            + (f", {energy:.0f} J a sample" if energy is not None else "")
            + (f", GPU idle at most {idle:.0%}" if idle is not None else "")
            + "."
        )
    return "\n".join(lines)


def reference(records: Records) -> str:
    """The recipe's bare step with the reference's library versions, beside the newer ones'."""
    old = records.get(f"{REFERENCE}/throughput-{SPEED_TOKENS}")
    new = records.get(f"throughput-{SPEED_TOKENS}")
    if old is None:
        return ""
    pins = locked("reference")
    kept = [n for n in PACKAGES if old["versions"].get(n) == pins[n]]
    moved = [f"{n} {old['versions'].get(n, 'absent')}" for n in PACKAGES if n not in kept]
    sentence = (
        f"- With the reference's {', '.join(kept)} (not its own: {', '.join(moved)}): "
        f"{old['samples_per_second']:.2f} samples/s, MFU {old['mfu']:.3f}, peak "
        f"{gigabytes(old['peak_allocated'])} GB"
    )
    if new is not None:
        times = new["samples_per_second"] / old["samples_per_second"]
        sentence += (
            f"; the versions above take {gigabytes(new['peak_allocated'])} GB and give "
            f"{times:.2f}× the samples, each measured in a process of its own"
        )
    return sentence + "."


def trainer(records: Records) -> str:
    """SFTTrainer against the bare step on the same batches, and with its own collation."""
    record = records.get(f"trainer-{SPEED_TOKENS}")
    if record is None:
        return ""
    speed = ratio(record["runs"]["trainer"], record["runs"]["bare"])
    reached = "reached" if speed.median >= WANTED_TRAINER else "**not reached**"
    samples, seconds = record["batch"]["samples"], record["end_to_end_seconds"]
    return (
        f"- SFTTrainer at {SPEED_TOKENS} tokens on the same collated batches: {speed.median:.2f} "
        f"({speed.low:.2f}–{speed.high:.2f}) of the bare step's speed (wanted {WANTED_TRAINER}: "
        f"{reached}), {samples} samples a step; end to end, with its own collation, "
        f"{samples / seconds:.2f} samples/s, {record['data_loading_share']:.0%} of the time for "
        "data."
    )


def several(records: Records) -> str:
    """Data parallel and FSDP against one process, one record an execution and length."""
    return "\n".join(
        _against_one(raw, way, distance)
        for raw in records.values()
        if raw["case"] == "several" and "against_one" in raw
        for way, distance in raw["against_one"].items()
    )


def _against_one(raw: Mapping[str, Any], way: str, distance: Mapping[str, Any]) -> str:
    mine, why = raw["ways"][way], raw.get("superseded", {}).get(way)
    past = f"; {why}" if why else ""
    peak = max(p["training"]["peak_allocated"] for p in mine["per_process"])
    alone_peak = raw["ways"]["one"]["per_process"][0]["training"]["peak_allocated"]
    under = f" under `{raw['under']}`" if raw.get("under") else ""
    samples = raw["batch"]["samples"]
    libraries = ", ".join(f"{n} {raw['versions'][n]}" for n in RUN_BY) if "versions" in raw else ""
    line = f"- {way.removesuffix('_weak').replace('_', ' ')} over {mine['processes']} GPUs{under}"
    if way.endswith("_weak"):
        line += f", {samples} samples a step for each: efficiency {distance['efficiency']:.2f}"
    else:
        equal = "equal" if distance["equal"] else "**not equal**"
        norm = f"gradient norm {distance['norm_gap']:.1e}, " if "norm_gap" in distance else ""
        line += (
            f" against one on the same {samples} samples a step, {len(mine['losses'])} steps: loss "
            f"gap {distance['loss_gap']:.1e}, {norm}LoRA's cosine {distance['cosine']:.6f} "
            f"({equal}{past}), {distance['speed_over_one']:.2f}× its speed"
        )
    shares = [each["share"] for each in mine.get("communication", []) if each]
    if shares:
        line += f", at most {max(shares):.0%} of the time in communication"
    line += f", {gigabytes(peak)} GB a GPU at most (one process: {gigabytes(alone_peak)})"
    anew = [step + 1 for step in mine.get("compiled_anew", [])]
    if anew:
        line += f", steps left out because they compiled: {', '.join(map(str, anew))}"
    whole = f"{line}; {libraries}." if libraries else f"{line}."
    return " ".join([whole, *(f"{note}." for note in raw.get("notes", ()))])


def memory(records: Records) -> str:
    """What did not fit, in the record's own sentence."""
    exhausted = [raw for raw in records.values() if raw.get("status") == "out_of_memory"]
    return "\n".join(f"- {raw['sentence']}" for raw in exhausted)


def broken(records: Records) -> str:
    """What ended in an error: why, where somebody wrote that into the file, else its words."""
    return "\n".join(
        f"- Broke: `{raw['case']}` at {raw['tokens']} tokens: "
        + (raw.get("why") or f"{raw['type']}: {raw['message'].strip().splitlines()[0]}")
        + "."
        for raw in records.values()
        if "traceback" in raw
    )


def ladders(records: Records) -> str:
    """Ladders on the device: how many values are right, and what is wrong with which libraries."""
    lines = []
    for raw in records.values():
        if raw["case"] != "ladder":
            continue
        counts = ", ".join(f"{n} {verdict}" for verdict, n in raw["verdicts"].items())
        new = [d["finding"] for d in raw["differing"] if not d["known_on_like"]]
        libraries = ", ".join(
            f"{n} {raw['versions'][n]}" for n in ("transformers", "trl", "peft", "bitsandbytes")
        )
        more = f" and {len(new) - NAMED} more" if len(new) > NAMED else ""
        names = ", ".join(f"`{name}`" for name in new[:NAMED]) + more
        lines.append(
            f"- The ladder with {libraries} on torch {raw['versions']['torch']}, model "
            f"`{raw['model']}`: {counts}. Not known from the stack `{raw['like']}`: "
            f"{names or 'nothing'}."
        )
    return "\n".join(lines)


LANE, AUDITED = "gpu_lane", "audited"


def audited(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Whole audits of a training on the card: what they took and what they said."""
    return "\n".join(
        f"- `harness audit {raw['training']}` with `{raw['model']}`: {raw['seconds']:.0f} s from "
        f"the command to the page, {raw['holds']} checks hold, {len(raw['wrong'])} found wrong, "
        f"{len(raw['questions'])} questions ({', '.join(f'`{q}`' for q in raw['questions'])}), "
        f"{len(raw['not_judged'])} reasons why something was not judged."
        for raw in records.values()
        if raw["case"] == AUDITED
    )


def lane_once(records: Mapping[str, Mapping[str, Any]]) -> str:
    """The `gpu` lane's commands as they ended on a machine; those without an exit code did not
    run."""
    lines = []
    for raw in records.values():
        if raw["case"] != LANE:
            continue
        for one in raw["commands"]:
            end = "*not run*" if one["exit"] is None else f"exit {one['exit']}"
            says = f", {one['says']}" if one["says"] else ""
            lines.append(f"- The gpu lane, `{one['command']}`: {end}{says}.")
        lines += [f"- Of its failures: {cause}." for cause in raw["causes"]]
    return "\n".join(lines)

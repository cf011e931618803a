"""A user's file is opened, never trained, and leaves nothing behind; a bad one is one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import accelerate
import pytest
from accelerate.state import AcceleratorState

from harness.errors import BadInput
from harness.measuring.audit.capture import training_of
from harness.measuring.audit.opening import OpenTrainer, open_training
from harness.measuring.snapshots.source import STAND_IN
from suites.audits import TRAININGS, audited, red
from suites.commands import Command
from suites.small_trainings import LOOP, OTHER_ROWS, OWN_LOSS, SAME_ROWS, SMALL


def script(tmp_path: Path, text: str, name: str = "train.py") -> Path:
    """A user's file with the small Trainer at hand."""
    path = tmp_path / name
    path.write_text(SMALL + SAME_ROWS + text, "utf-8")
    return path


def opened(path: Path, function: str = "", words: tuple[str, ...] = ()) -> OpenTrainer:
    """What it opens to, in a process that an earlier test's training may have given a GPU."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return open_training(path, function, path.parent / "scratch", words)


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("\ndef make_trainer():\n    return build()\n", "function"),
        ("\ntrainer = build()\ntrainer.train()\n", "intercepted"),
        (
            "\nif __name__ == '__main__':\n    build().train(resume_from_checkpoint=False)\n",
            "intercepted",
        ),
        (
            "\ntry:\n    build().train()\nexcept Exception:\n    print('swallowed')\n",
            "intercepted",
        ),
        (
            "\ndef make_trainer():\n    t = build()\n"
            "    return {'model': t.model, 'args': t.args, 'train_dataset': rows}\n",
            "parts",
        ),
    ],
)
def test_every_way_in(text: str, way: str, tmp_path: Path) -> None:
    training = opened(script(tmp_path, text))
    assert training.way == way
    assert type(training.trainer).__name__ == "Trainer"


def test_a_loop_without_a_trainer(tmp_path: Path) -> None:
    """What accelerate prepared is what trains; after the steps that are watched the loop stops."""
    text = """
from accelerate import Accelerator
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model = Small(Config())
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
loader = torch.utils.data.DataLoader(
    rows, batch_size=2, collate_fn=lambda r: {k: torch.tensor([x[k] for x in r]) for k in r[0]}
)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for epoch in range(1000):
    for batch in loader:
        with accelerator.accumulate(model):
            accelerator.backward(model(**batch)["loss"])
            optimizer.step()
            optimizer.zero_grad()
raise SystemExit("it went on to its end")
"""
    training = opened(script(tmp_path, text))
    assert training.way == "loop"
    captured = training_of(training, 1, "")
    assert [tuple(batch.ids.shape) for batch in captured.batches] == [(2, 4), (2, 4)]
    # It was ended between two steps; the next training of this process makes its steps.
    assert accelerate.state.GradientState().sync_gradients


@pytest.mark.parametrize("own_loss", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loops_batches_are_those_that_it_takes(
    own_loss: bool, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what it wrote down itself, with their rows and labels; what it looked at before it trained
    is none of them. Its loader's workers are not started."""
    monkeypatch.chdir(tmp_path)
    text = SMALL + OTHER_ROWS + (LOOP.replace(*OWN_LOSS) if own_loss else LOOP)
    text = text.replace("shuffle=True", f"shuffle=True, num_workers={workers}")
    path = tmp_path / "train.py"
    path.write_text(text, "utf-8")
    training = opened(path)
    captured = training_of(training, 2, "")
    trained = json.loads((tmp_path / "trained.json").read_text("utf-8"))
    # Two steps of two micro-batches; the fifth is where the loop was ended.
    assert len(trained) == 5
    assert [batch.ids.tolist() for batch in captured.batches] == trained[:4]
    rows = [[row["input_ids"] for row in batch.features] for batch in captured.batches]
    assert rows == trained[:4]
    labels = [[[*row[1:], 10] for row in batch] for batch in trained[:4]]
    assert [batch.labels.tolist() for batch in captured.batches] == labels
    assert len(training_of(training, 1, "").batches) == 2
    assert training.changed == (["num_workers is 0"] if workers else [])


def test_a_loop_that_never_steps_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs to its end, and past it: what it saves there would lie where its training's lies.
    What it saved before it trained is its own business."""
    monkeypatch.chdir(tmp_path)
    loop = LOOP.replace("optimizer.step()", "pass").replace("range(1000)", "range(2)")
    before = "import torch\ntorch.save({'rows': 1}, 'before.pt')\n"
    after = """
accelerator.unwrap_model(model).save_pretrained("mine", safe_serialization=False)
accelerator.save_state("mine")
accelerator.save_model(model, "mine")
torch.save(model.state_dict(), "mine.pt")
from safetensors.torch import save_file
save_file(model.state_dict(), "mine.safetensors")
"""
    path = tmp_path / "train.py"
    path.write_text(
        before + SMALL + OTHER_ROWS + loop.replace("\nraise", f"{after}\nraise"), "utf-8"
    )
    with pytest.raises(BadInput, match="SystemExit: it went on to its end"):
        opened(path)
    written = {child.name for child in tmp_path.iterdir()} - {"scratch"}
    assert written == {"train.py", "before.pt", "trained.json"}
    path.write_text(before + SMALL + OTHER_ROWS + loop.replace("\nraise", f"{after}\n#"), "utf-8")
    training = opened(path)
    assert {child.name for child in tmp_path.iterdir()} - {"scratch"} == written
    assert training.changed == [
        "what the loop saves is not written (PreTrainedModel.save_pretrained)",
        "what the loop saves is not written (Accelerator.save_state)",
        "what the loop saves is not written (Accelerator.save_model)",
        "what the loop saves is not written (torch.save)",
        "what the loop saves is not written (safetensors.torch.save_file)",
    ]


def test_a_loop_over_rows_that_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that have no number: they are in the order in which they come, two a batch, in the loop
    and in the steps that are taken again."""
    monkeypatch.chdir(tmp_path)
    stream = """

class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(rows)


stream = Stream()
"""
    loop = LOOP.replace("DataLoader(rows, batch_size=2, shuffle=True", "DataLoader(stream, 2")
    path = tmp_path / "train.py"
    path.write_text(SMALL + OTHER_ROWS + stream + loop, "utf-8")
    document, judgement = audited(path, tmp_path / "out", ["labels", "trajectory"])
    assert document.opened.rows == 8
    assert red(judgement) == []
    (losses,) = [check.value for check in document.checks if check.name == "losses"]
    assert len(losses) == 4
    trained = json.loads((tmp_path / "trained.json").read_text("utf-8"))
    assert trained[0] == [[0, 0, 1, 3], [1, 0, 2, 3]]


def test_the_scripts_own_arguments_reach_it(tmp_path: Path) -> None:
    text = "\nimport sys\nbuild(learning_rate=float(sys.argv[2])).train()\n"
    training = opened(script(tmp_path, text), words=("--lr", "0.25"))
    assert training.declared["learning_rate"] == 0.25


def test_a_script_finds_the_modules_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside_the_script.py").write_text("RATE = 0.5\n", "utf-8")
    text = "\nfrom beside_the_script import RATE\nbuild(learning_rate=RATE).train()\n"
    training = opened(script(tmp_path, text))
    assert training.declared["learning_rate"] == 0.5


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output folder is not made, no callback hears of anything, no report begins; each that was
    asked for is named."""
    monkeypatch.chdir(tmp_path)
    text = """
class Loud(TrainerCallback):
    def on_init_end(self, *a, **k):
        open("heard", "w")
    on_step_end = on_train_begin = on_init_end

t = build(report_to=["tensorboard"], save_strategy="epoch", push_to_hub=False)
t = Trainer(model=t.model, args=TrainingArguments(output_dir="mine", use_cpu=True,
    report_to=["tensorboard"], save_strategy="epoch"), train_dataset=rows, callbacks=[Loud()])
t.train()
"""
    path = script(tmp_path, text)
    training = opened(path)
    training_of(training, 1, "")
    assert "the callback Loud is off" in training.changed
    left = {p.name for p in tmp_path.rglob("*") if "__pycache__" not in p.parts} - {"__pycache__"}
    assert left <= {"train.py", "scratch"}
    changed = training.changed
    assert "report_to is off" in changed
    assert "save_strategy is 'no'" in changed
    assert "output_dir is a scratch folder" in changed
    # What was nobody's choice is not told.
    assert not [line for line in changed if "pin_memory" in line or "eval_strategy" in line]


def test_the_batches_are_the_trainers_own(tmp_path: Path) -> None:
    """Steps × accumulation of them, with the rows that they were made from."""
    given = "per_device_train_batch_size=2, gradient_accumulation_steps=2"
    text = f"\ndef make_trainer():\n    return build({given})\n"
    training = training_of(opened(script(tmp_path, text)), 1, "")
    assert len(training.batches) == 2
    assert [len(batch.features) for batch in training.batches] == [2, 2]
    assert training.batches[0].ids.tolist() == [[0, 1, 2, 3]] * 2


BAD = [
    ("", "train.py ran to its end without training"),
    ("\nraise RuntimeError('no data here')\n", r"train.py:\d+ raises RuntimeError: no data here"),
    ("\ndef make_trainer(model):\n    return build()\n", "make_trainer in .* needs model"),
    ("\ndef make_trainer():\n    return 3\n", "returns a int; return the Trainer"),
    ("\ndef make_trainer():\n    return build(nonsense=1)\n", r"raises TypeError: .*nonsense"),
    ("\nimport sys\nsys.exit(2)\n", r"train.py:\d+ raises SystemExit: 2"),
    ("\nimport not_installed_anywhere\n", r"raises ModuleNotFoundError: .*not_installed_anywhere"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_a_bad_file_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=sentence) as refusal:
        opened(script(tmp_path, text))
    assert "\n" not in str(refusal.value)


def test_no_python_at_all(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text("def broken(:\n", "utf-8")
    with pytest.raises(BadInput, match=r"train\.py:1 is no Python"):
        opened(path)


def test_a_function_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="defines no function other"):
        opened(script(tmp_path, ""), "other")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\nrows = []\ndef make_trainer():\n    return build()\n", "empty"),
        (
            "\ndef make_trainer():\n    t = build()\n"
            "    t.data_collator = lambda r: {'pixels': torch.zeros(1)}\n    return t\n",
            "hold pixels and no input_ids",
        ),
        (
            "\ndef collate(rows):\n    raise KeyError('image')\n\n"
            "def make_trainer():\n    t = build()\n    t.data_collator = collate\n    return t\n",
            r"raises KeyError: 'image' \(.*train\.py:\d+\)",
        ),
    ],
)
def test_a_loader_that_gives_nothing(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=sentence):
        training_of(opened(script(tmp_path, text)), 1, "")


def test_one_row_is_enough(tmp_path: Path) -> None:
    text = "\nrows = rows[:1]\ndef make_trainer():\n    return build()\n"
    document, judgement = audited(script(tmp_path, text), tmp_path / "out", ["labels"])
    assert document.opened.rows == 1
    assert judgement.exit_code == 0


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`harness audit` as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "harness", "audit", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(TRAININGS.parents[1]), "MODEL": str(STAND_IN)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere.py",), "There is no file"),
        (("train.py", "--python", "nowhere"), "is no Python"),
        (("train.py", "--python", "x", "--stack", "latest"), "name two environments"),
        (("train.py", "--steps", "0"), "no whole number above 0"),
    ],
)
def test_a_bad_command(
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    harness: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    ended = harness("audit", *words, "--out", "out")
    assert ended.code == 2, ended.stderr
    assert sentence in ended.stderr
    assert not (tmp_path / "out").exists()


def test_a_training_that_raises_is_bad_input(tmp_path: Path) -> None:
    """Across the process too: the sentence, the line, exit code 2, no audit."""
    script(tmp_path, "\nraise RuntimeError('no data here')\n")
    done = command("train.py", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "raises RuntimeError: no data here; the training cannot be built." in done.stderr
    assert not (tmp_path / "out" / "audit.json").exists()


@pytest.mark.slow
def test_the_whole_command(tmp_path: Path) -> None:
    """The interpreter of an environment, a page, the verdict."""
    words = ("--python", sys.executable, "--out", "out", "--json")
    done = command(str(TRAININGS / "plain_trainer.py"), *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Your training learns from" in done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
    assert json.loads(done.stdout)["judgement"]["exit_code"] == 0
    assert {p.name for p in tmp_path.iterdir()} == {"out"}


@pytest.mark.slow
def test_a_rung_whose_process_dies_is_missing(tmp_path: Path) -> None:
    """The others are audited by a fresh process; the verdict is incomplete, never green."""
    text = """
import os, signal
class Deadly(Small):
    def forward(self, input_ids, labels=None, **rest):
        os.kill(os.getpid(), signal.SIGKILL)

def make_trainer():
    return Trainer(model=Deadly(Config()), args=TrainingArguments(output_dir="mine", use_cpu=True),
                   train_dataset=rows)
"""
    script(tmp_path, text)
    done = command("train.py", "--out", "out", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode in {1, 3}, done.stderr
    assert "labels" in [rung["rung"] for rung in document["audit"]["rungs"]]
    missing = document["audit"]["missing"]
    assert {"forward", "backward"} <= set(missing)
    assert all("signal 9" in why for why in missing.values())

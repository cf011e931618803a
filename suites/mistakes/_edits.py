"""What mistakes of several rungs change: trainings, and places in their texts."""

PLAIN, COOKBOOK, TWO = "plain_trainer", "cookbook_qwen2_vl", "two_images"
ASSISTANT, PACKED, UNPACKED = "assistant_only", "packing_text", "unpacked_text"
TRL, LOOP, SUMMED = "trl_sft_vlm", "accelerate_loop", "summed_loss_loop"
GUIDE, MIXED, TILES = "gemma3_guide", "mixed_rows", "smolvlm_conversations"

# Lines that several mistakes replace.
PLAIN_PROMPT = "labels[row, : start + length] = -100\n"
PADS = '    labels[batch["attention_mask"] == 0] = -100\n'
TWO_IMAGES = '    images = [[as_seen(picture) for picture in row["images"]] for row in examples]\n'
ARGUMENTS = "arguments = TrainingArguments(\n"
LAST = "    data_collator=collate,\n)"
LORA = 'target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")'
PREPARED = (
    "model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)"
)
WARMUP = "    warmup_steps=2,\n"
IMPORTED = "    TrainingArguments,\n"
TRAINABLE = "[p for p in model.parameters() if p.requires_grad]"


def given(optimizer: str, scheduler: str = "None") -> tuple[tuple[str, str], ...]:
    """An optimizer, and perhaps a schedule, of the user's own in the plain training."""
    own = f"import torch\n\noptimizer = {optimizer}\nscheduler = {scheduler}\n"
    return (
        (ARGUMENTS, own + ARGUMENTS),
        (LAST, LAST.removesuffix(")") + "    optimizers=(optimizer, scheduler),\n)"),
    )


def derived(body: str, *, trl: bool = False) -> tuple[tuple[str, str], ...]:
    """A Trainer of the user's own with these methods."""
    base = "SFTTrainer" if trl else "Trainer"
    kind = f"class OwnTrainer({base}):\n{body}\n\n\n"
    begin = "training_args = SFTConfig(\n" if trl else ARGUMENTS
    return ((begin, kind + begin), (f"trainer = {base}(\n", "trainer = OwnTrainer(\n"))

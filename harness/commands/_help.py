"""What the help of compare and bisect says below their options."""

COMPARE = """\
May I move to transformers 5, trl 1, the new peft? Two stacks are measured side by side on the same
weights, samples, seeds and dropout masks, and every difference is explained.

OLD and NEW:
  a stack                  reference, latest, reference,transformers==4.49.0, current
    varied by sources      latest,./mine.whl   latest,./trl   'latest,trl @ git+https://…@main'
    of your own            requirements:FILE   lock:uv.lock   lock:pylock.toml   python:PATH
                           A checkout, a file and an environment are known by their content: after
                           an edit they are another stack. None of them is written to.
  a folder of records      has a slash: records/last-year/

what it says:
  Each side is also held against the truths, so that it can say OLD is wrong and NEW is right, and
  never takes a fix for a regression.
  The first rung that moved is where to look. Later rungs are measured again on NEW with OLD's value
  (texts, ids, pixels, labels, positions, attention, normaliser, adapter): what vanishes is folded
  under its cause, with the proof. From folders of records alone causes are not established.
  Known changes of the libraries are named by the register (harness register table); what nothing
  explains is unknown. Bands are in golden/bands/compare.json; what is not listed there is exact.

its folder:
  report.html, comparison.json for machines, the records of both sides in old/ and new/.

examples:
  harness compare reference latest
  harness compare reference reference,transformers==4.49.0 --rungs 2-10
  harness compare records/last-year/ latest
  harness compare reference latest --resume reports/20261123T141500Z-1a2b3c4d
  harness compare reference latest --accept accepted.txt --json --offline

exit codes:
  0    the same or better
  1    a difference, a known one too unless --accept lists it
  2    bad input
  3    something could not be compared, and nothing else differs
  70   an internal error
  130  interrupted; --resume goes on
"""

WATCH = """\
Asks the package index that pip and uv are configured to use. Where the newest releases of torch,
transformers, trl, peft and bitsandbytes that resolve together are others than those of the last
known good lock, both locks are built and compared on the whole ladder, as `harness compare` does.
A lock that nothing speaks against is the good one from then on; the first is the committed lock of
`latest`. What only the newest lock cannot import is bisected at once, and its release named.

one line for cron:
  0 4 * * *  harness watch --state /srv/watch/state.json --summary /srv/watch/today.md || mail …

exit codes:
  0    nothing new, or nothing unexpected in what is new
  1    a difference, a known one too unless --accept lists it; the good lock stays
  2    bad input, also a state that is not as it was written
  3    the index cannot be reached, or something could not be compared; the good lock stays
  70   an internal error
  130  interrupted
"""

BISECT = """\
Each release is laid as a thin layer over the base stack; what has to move with it moves by the
smallest step that uv finds, and is named. A release that cannot be installed or run is skipped,
never guessed.

what is asked:
  --finding ID             the verdict of a golden: which release is right, which wrong
  --metric RUNG.METRIC     the value itself; with --band within a part of the larger of it and the
                           good end's. A time is decided by eight interleaved pairs, and six more
                           where those leave it open.
  --from-compare DIR       the findings of a comparison: first the responsible package, by swapping
                           packages between the two stacks, then its release; of two packages that
                           only together make the difference, the release of each. It measures as
                           the comparison did and judges by each finding's own band, or by --band.
                           A finding that needs both stacks at once is refused; a package that
                           cannot be swapped alone leaves the answer open.

how sure the answer is:
  Both sides of a change are measured twice; a release that answers differently the second time is
  undecided. Besides the binary search four more releases are looked at, and the answer says which
  stretches are assumed: --exhaustive assumes none, --assume-monotonic looks at none.
  Records are kept: an interrupted bisect goes on when it is asked again.

its folder:
  report.html, bisect.json for machines, reproduce.sh, which measures both sides of a change again.

examples:
  harness bisect transformers --good 4.49.0 --bad 4.45.1 --finding inputs.positions.left
  harness bisect transformers --good 4.45.1 --bad 5.23.0 --metric forward.loss.right --band 1e-4
  harness bisect tiny --good 1.0 --bad 1.9 --metric text.rendered --wheels wheelhouse
  harness bisect --from-compare reports/20261123T141500Z-1a2b3c4d

exit codes:
  0    every release found exactly
  2    bad input, also ends that show no difference
  3    a range, or something undecided
  70   an internal error
  130  interrupted
"""

MATRIX = """\
Which releases train which family rightly, since when? Every cell is one stack on one model with one
recipe on one device, or on a training of your own: each is measured once, kept by its content
(stack, harness, model, recipe, rungs), held against the truths, a training against what an audit
checks, and compared with the stack to its left.

FILE, in TOML; every line may be an option instead, and an option goes before it:
  schema = 1
  stacks = ["reference", "transformers-4.49.0", "latest"]   in the order to compare them in
  families = ["FAMILY"]                     each on a tiny model of random weights
  models = ["stand-in"]                     or any --model
  trainings = ["train.py:make_trainer"]     your own, as `harness audit` takes them
  recipes = ["reference"]
  devices = ["cpu"]
  rungs = "2-10"
  metrics = ["forward.plain_loss.none"]     shown over the stacks, with its steps

where it runs:
  --engine local   this machine: a cell has its own cores, or its own GPU
  --engine slurm   array jobs by submitit; --engine-option partition=gpu account=…
  --engine ray     a Ray cluster; --engine-option address=auto
  An engine's library is installed beside the harness, never in a stack: vlm-qlora-harness[ray].

A command that was killed goes on where it was when it is given again; a second one measures
nothing.
Exit codes: 0 all right and the same; 1 a cell is wrong or moved; 3 a cell was not measured.
"""

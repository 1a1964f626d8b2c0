"""Other trainers' names for our commands and flags, and an honest word about those that we have no like of.

From Keras, PyTorch Lightning, fastai, ultralytics, timm and torchvision's reference scripts. Flags stand here as
`foveal.cli.hints` normalises them: lower case, with dashes.
"""

from typing import Final

COMMAND_NAMES: Final = {
    "fit": "train", "learn": "train", "training": "train", "finetune": "train", "fine-tune": "train", "resume": "train",
    "eval": "evaluate", "test": "evaluate", "val": "evaluate", "validate": "evaluate", "score": "evaluate",
    "infer": "predict", "inference": "predict", "classify": "predict", "detect": "predict", "run": "predict",
    "describe": "summary", "model": "summary", "show": "summary", "look": "inspect", "data": "inspect",
    "check": "inspect", "stats": "inspect", "analyze": "inspect", "analyse": "inspect", "dataset": "inspect",
    "version": "info", "env": "info", "checks": "info", "settings": "info", "system": "info", "doctor": "info",
    "benchmark": "bench", "lr-find": "search", "lr_find": "search", "tune": "search", "find-lr": "search",
}  # fmt: skip

NO_COMMANDS: Final = {
    "export": "model.safetensors in the run folder has the weights as PyTorch names and shapes them",
    "track": "foveal classifies whole images", "segment": "foveal classifies whole images",
    "pose": "foveal classifies whole images", "obb": "foveal classifies whole images",
    "serve": "from Python, foveal.load_run(RUN).predict(...) answers requests",
    "help": "foveal --help shows all, foveal COMMAND --help one",
}  # fmt: skip

_MEANINGS: Final = {
    "--size": "--imgsz --img-size --image-size --img --input-size --resize --resize-size --train-crop-size --crop-size "
    "--target-size --resolution --res --image-dim --img-dim",
    "--optimizer": "--opt --optim --optimiser --opt-func --solver",
    "--lr": "--lr0 --learning-rate --base-lr --max-lr --lr-max --blr --init-lr --initial-lr --eta --base-learning-rate",
    "--batch-size": "--batch --bs --batchsize -b --train-batch-size --per-device-train-batch-size --mini-batch "
    "--minibatch-size --train-batch",
    "--epochs": "--epoch --num-epochs --n-epochs --max-epochs --nb-epoch --n-epoch -e --num-train-epochs --ep",
    "--steps": "--max-steps --iterations --num-steps --iters --max-iter --n-iter --updates --num-updates",
    "--schedule": "--sched --scheduler --lr-scheduler --lr-schedule --lr-policy --lr-decay --cos-lr "
    "--lr-scheduler-type --decay-type",
    "--warmup": "--warmup-epochs --warmup-steps --lr-warmup-epochs --warmup-ratio --warmup-t --lr-warmup "
    "--warmup-iters --pct-start",
    "--weight-decay": "--wd --decay --l2 --weight-decay-rate --opt-wd --l2-reg",
    "--momentum": "--mom --opt-momentum --beta",
    "--dropout": "--drop --drop-rate --dropout-rate --ps -p --dropout-p",
    "--validation": "--val-split --val --validation-split --valid-pct --val-frac --val-fraction --val-size --valid "
    "--validation-fraction --val-ratio --validation-size",
    "--threads": "--num-threads -j --num-workers --n-jobs --jobs --nthreads --cpus --n-threads --cores "
    "--num-cpus",
    "--out": "--output --save-dir --project -o --output-dir --out-dir --outdir --name --exp-name --experiment --logdir "
    "--log-dir --default-root-dir --run-name --run-dir --save-path --work-dir --dest --checkpoint-dir",
    "--model": "--arch --network --net --backbone -a -m --model-name --architecture --encoder --base-model",
    "--batch-norm": "--bn --batchnorm --use-bn --norm --norm-layer",
    "--seed": "--random-seed --random-state --manual-seed --rng-seed --pl-seed",
    "--patience": "--early-stopping --early-stop --early-stopping-patience --es-patience",
    "--augment": "--aug --data-augmentation --augmentation --augmentations --transforms --transform --fliplr --hflip "
    "--auto-augment --aa --item-tfms --batch-tfms --augmenter --train-transforms",
    "--tta": "--test-time-augmentation --test-time-aug --ttaug",
    "--width": "--width-multiplier --width-mult --width-factor --wide",
    "--init-from": "--weights --initial-checkpoint --finetune --fine-tune --finetune-from --from-checkpoint "
    "--load-weights --init-weights --transfer --init",
    "--resume": "--ckpt-path --resume-from --resume-from-checkpoint --auto-resume --checkpoint --continue -r --ckpt",
    "--label-smoothing": "--smoothing --ls --smooth --label-smooth",
    "--class-weight": "--class-weights --balanced --cls-weight --weighted --weighted-loss",
    "--clip-norm": "--clip-grad --gradient-clip-val --clipnorm --grad-clip --max-grad-norm --clip --clip-grad-norm "
    "--gradient-clip",
    "--max-norm": "--max-norm-constraint --maxnorm",
    "--fraction": "--subset --data-fraction --limit-train-batches --sample --train-fraction --subsample",
    "--group-by": "--group --groups --group-column",
    "--skip-bad": "--ignore-errors --skip-errors --allow-bad --skip-unreadable --ignore-bad",
    "--top": "--topk --top-k -k --top5 --num-predictions --n-best",
    "--json": "--json-output --as-json --to-json --save-json --output-format --format",
    "--csv": "--as-csv --to-csv --save-csv --save-txt",
    "--isa": "--simd --instruction-set --arch-flags --cpu-capability",
    "--minutes": "--time --max-time --time-limit --max-minutes --budget",
    "--chunks": "--accumulate-chunks",
}  # fmt: skip
FLAGS: Final = {theirs: ours for ours, names in _MEANINGS.items() for theirs in names.split()}

# names → what to know instead
ABSENT: Final = {
    "--device --devices --gpu --gpus --gpu-ids --cuda --no-cuda --accelerator --num-gpus --mps --tpu --use-gpu -g":
        "foveal runs on the processor; --threads and --isa say how",
    "--strategy --distributed --local-rank --world-size --dist-url --dist-backend --num-nodes --nodes "
    "--sync-bn --sync-batchnorm --ddp --nproc":
        "foveal trains on one machine",
    "--amp --half --fp16 --bf16 --precision --mixed-precision --apex-amp --native-amp --amp-dtype --dtype --fp32 "
    "--float16 --tf32":
        "all arithmetic is in float32",
    "--pretrained --no-pretrained --imagenet --hub --download":
        "foveal brings no pretrained weights; --init-from RUN starts from those of a run of yours",
    "--freeze --freeze-epochs --freeze-layers --freeze-backbone --unfreeze --linear-probe":
        "every layer is trained; a smaller --lr keeps them near --init-from",
    "--ema --model-ema --swa --ema-decay --swa-lrs": "there are no averaged weights",
    "--mixup --cutmix --cutmix-alpha --mixup-alpha --mosaic --copy-paste --hsv-h --hsv-s --hsv-v --degrees --shear "
    "--perspective --color-jitter --colour-jitter --jitter --flipud --vflip --rotate --rotation --scale --ra "
    "--randaugment --trivial-augment --augmix":
        "--augment has all that there is: flip, shift, standard, cutout",
    "--drop-path --stochastic-depth --drop-block --drop-connect": "of that kind there is --dropout alone",
    "--tensorboard --wandb --logger --mlflow --comet --log-wandb --report-to --use-wandb --tb":
        "metrics.csv in the run folder has a line for each epoch, for any plotting program",
    "--verbose --quiet -v -q --silent --log-level --progress --no-progress --progress-bar --print-freq "
    "--log-every-n-steps --log-interval --debug":
        "progress goes to stderr, results to stdout; 2>/dev/null silences the one, --json makes the other one object",
    "--deterministic --benchmark --reproducible --cudnn-benchmark --no-deterministic":
        "the same data, settings and --seed always give the same bits",
    "--compile --jit --torchcompile --torchscript --onnx --channels-last --fuse --aot-autograd":
        "the network is always compiled into one native program",
    "--nc --num-classes --n-classes --classes --class-num --n-out --names":
        "the classes are those of the data",
    "--in-channels --channels --in-chans --grayscale --greyscale --gray --color-mode --rgb":
        "images are grey if all files are, and colour otherwise",
    "--mean --std --normalize --normalise --norm-mean --rescale": "they are measured on the training images",
    "--shuffle --no-shuffle --sampler --drop-last --pin-memory --pin-mem --prefetch --persistent-workers":
        "images come in a new order each epoch, computed from --seed",
    "--exist-ok --overwrite --force -f --clobber": "nothing is overwritten: give --out a new name",
    "--save --nosave --save-period --save-freq --checkpoint-hist --save-best --save-every --checkpoint-freq "
    "--save-best-only --save-model --checkpoint-interval":
        "the best weights and a checkpoint to --resume from are always kept",
    "--config --cfg --hyp --yaml --args -c --config-file --params --recipe-file":
        "settings are flags; config.json in a run folder records them all",
    "--data --data-dir --data-path --dataset --train --root --train-dir --dataset-dir --input --source --path -d "
    "--data-root --images --directory":
        "the data come without a flag: foveal train DATA, foveal predict RUN IMAGES...",
    "--test --test-split --test-size --test-fraction --test-ratio --test-dir":
        "a tenth is held back to test, unless the data come with test/",
    "--conf --iou --max-det --nms --rect --single-cls --box --anchors": "foveal classifies whole images: no boxes",
    "--accumulate --accumulate-grad-batches --grad-accum --gradient-accumulation-steps --grad-accum-steps --nbs "
    "--iters-to-accumulate": "gradients are not gathered over batches: make --batch-size larger",
    "--loss --criterion --loss-func --loss-fn --bce --bce-loss": "the loss is cross-entropy",
    "--metrics --metric --eval-metric --monitor --mode --scoring": "accuracy and loss are always measured",
    "--folds --fold --kfold --cv --cross-validation --k-fold": "there is no cross-validation: try several --seed",
    "--lr-find --lr-finder --find-lr --auto-lr --auto-lr-find --lr-auto --auto-find-lr --suggest-lr --lr-suggest "
    "--lr-search --search-lr --lr-range-test --lr-test --tune --tune-lr --optimize-lr":
        "foveal train searches for the learning rate unless --lr gives one (--lr auto); foveal search does that alone",
    "--patience-lr --lr-patience --plateau --factor --reduce-lr --min-lr --lrf --final-lr --div --div-final --gamma "
    "--lr-gamma --lr-step-size --decay-rate --decay-epochs --cooldown-epochs --milestones":
        "--schedule has its own course; foveal train --help lists them",
    "--beta1 --beta2 --betas --opt-betas --adam-beta1 --adam-beta2 --eps --opt-eps --adam-epsilon --amsgrad --rho":
        "from Python an optimizer takes it: foveal.fit(..., optimizer=foveal.Adam(beta1=0.9))",
    "--cache --cache-images --no-cache --cache-ram --cache-dir --in-memory":
        "decoded images are always cached; foveal info shows where",
    "--evaluate --eval --validate --eval-only --test-only --predict":
        "that is a command: foveal evaluate RUN, foveal predict RUN IMAGES...",
}  # fmt: skip

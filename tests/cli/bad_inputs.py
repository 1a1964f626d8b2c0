"""Bad inputs: what a user may get wrong, and the one line that answers it. docs/errors.md is made from this table.

A command is run as it stands, in an empty folder that `made` has filled. `says` must appear in the line.
"""

import shutil
import tarfile
from dataclasses import dataclass

import numpy as np
from bad_makers import (
    LABELS,
    PIXELS,
    Maker,
    all_bad,
    bad_flowers,
    bad_images,
    changed,
    cifar,
    config,
    cut_tar,
    damaged,
    flowers,
    folder,
    idx,
    image,
    in_use,
    layers_file,
    mnist,
    model,
    npz,
    other_run,
    packed_bomb,
    pixel_bomb,
    run,
    tar,
    together,
    undecodable,
    without,
    written,
)

SMALL = "--model mlp --width 0.1 --lr 0.02 --epochs 1"


@dataclass(frozen=True)
class Case:
    """leaves: what a command may leave behind, and what it may say before its last line, where it fails while it
    trains."""

    title: str
    command: str
    says: str
    code: int = 1
    made: Maker = lambda tools: None
    leaves: str = ""


def usage(title: str, command: str, says: str) -> Case:
    return Case(title, command, says, 2)


COMMANDS = [
    usage("a command that is misspelt", "foveal trian digits", "did you mean foveal train?"),
    usage("a command of another trainer", "foveal fit digits", "there is no command 'fit'; did you mean foveal train?"),
    usage("no command at all like it", "foveal frobnicate", "there is no command 'frobnicate'; there are train, "),
    usage("a command that there is none of", "foveal export run", "there is no command 'export': model.safetensors"),
    usage("nothing to train on", "foveal train", "train needs DATA"),
    usage("nothing to evaluate", "foveal evaluate", "foveal evaluate needs RUN"),
    usage("nothing to predict", "foveal predict run", "foveal predict needs IMAGES"),
    usage("an argument too many", "foveal train a b", "one argument too many: b"),
    usage("an argument as ultralytics has them", "foveal train digits epochs=3", "did you mean --epochs 3?"),
    usage("a flag that is misspelt", "foveal train digits --schedul cosine", "did you mean --schedule?"),
    usage("a flag of another trainer", "foveal train digits --imgsz 32", "did you mean --size?"),
    usage("a flag with underscores", "foveal train digits --batch_size 8", "did you mean --batch-size?"),
    usage("a flag for a GPU", "foveal train digits --device cuda", "foveal runs on the processor"),
    usage("a flag for pretrained weights", "foveal train digits --pretrained", "foveal brings no pretrained weights"),
    usage("a flag of another command", "foveal predict run a.png --epochs 3", "--epochs belongs to foveal train"),
    usage("a flag that nobody has", "foveal train digits --zzzz", "no flag --zzzz; foveal train --help lists them"),
    usage("a flag without its value", "foveal train digits --lr", "--lr needs a value"),
    usage("a word for a number", "foveal train digits --epochs many", "'many' is not a valid integer"),
    usage("no epochs", "foveal train digits --epochs 0", "--epochs must be at least 1, not 0"),
    usage("negative steps", "foveal train digits --steps -3", "--steps must be at least 1, not -3"),
    usage("no threads", "foveal train digits --threads 0", "--threads must be at least 1, not 0"),
    usage("a negative rate", "foveal train digits --lr -0.1", "--lr must be above 0"),
    usage("a rate that is no number", "foveal train digits --lr nan", "--lr must be a number"),
    usage("a word for a rate", "foveal train digits --lr fast", "--lr must be a number above 0 or auto, not 'fast'"),
    usage("a rate that is no float32", "foveal train digits --lr 1e60", "as far as float32 goes, not 1e+60"),
    usage("workers without a search", "foveal train digits --lr 0.1 --workers 2", "--workers would change nothing"),
    usage("a flag for what is done anyway", "foveal train digits --auto-lr-find", "gives one (--lr auto)"),
    usage("dropout of everything", "foveal train digits --dropout 1", "--dropout must be at least 0 and below 1"),
    usage(
        "validation on everything", "foveal train digits --validation 1", "--validation must be at least 0 and below"
    ),
    usage("a limit of nothing", "foveal train digits --max-norm 0", "--max-norm must be above 0"),
    usage("a limit below nothing", "foveal train digits --clip-norm -1", "--clip-norm must be above 0"),
    usage("views that there are not", "foveal train digits --tta five-crop", "must be one of none, flip, not"),
    usage("labels that say nothing", "foveal train digits --label-smoothing 1", "must be at least 0 and below 1"),
    usage("weights of no kind", "foveal train digits --class-weight inverse", "must be one of none, balanced"),
    usage("a change that is misspelt", "foveal train digits --augment standard,cutuot", "did you mean cutout?"),
    usage("some changes and none", "foveal train digits --augment none,cutout", "asks for none and for some"),
    usage(
        "a change twice", "foveal train digits --augment standard,flip", "flip would change nothing beside the others"
    ),
    usage("a pattern that is none", "foveal train digits --group-by 'a(b'", "'a(b' is no regular expression"),
    usage("groups of what has no names", "foveal train digits --group-by a", "--group-by would change nothing"),
    usage("a part that is all", "foveal train digits --fraction 1", "--fraction must be above 0 and below 1"),
    usage("a negative seed", "foveal train digits --seed -1", "--seed must be from 0 to"),
    usage("a model that is misspelt", "foveal train digits --model lenett", "did you mean lenet?"),
    usage("a model of another name", "foveal train digits --model VGG16", "did you mean vgg?"),
    usage("a schedule of another name", "foveal train digits --schedule OneCycleLR", "did you mean one-cycle?"),
    usage("an augmentation that is misspelt", "foveal train digits --augment flipp", "did you mean flip?"),
    usage("an instruction set that there is not", "foveal train digits --isa avx9", "--isa must be one of"),
    usage("epochs and steps", "foveal train digits --epochs 2 --steps 3", "--epochs and --steps contradict each other"),
    usage("epochs and minutes", "foveal train digits --epochs 2 --minutes 3", "--epochs and --minutes contradict"),
    usage("no minutes", "foveal train digits --minutes 0", "--minutes must be above 0"),
    usage(
        "a setting the optimizer lacks",
        "foveal train digits --nesterov --optimizer adam",
        "--nesterov would change nothing with --optimizer adam",
    ),
    usage(
        "a setting the model lacks",
        "foveal train digits --model lenet --variant caffe",
        "--variant would change nothing with --model lenet",
    ),
    usage(
        "patience without validation",
        "foveal train digits --patience 3 --validation 0",
        "--patience needs validation images",
    ),
    usage(
        "patience that never ends", "foveal train digits --epochs 3 --patience 5", "would change nothing in 3 epochs"
    ),
    usage("warm-up twice", "foveal train digits --warmup 0.1", "the one-cycle schedule has its own"),
    usage("more epochs of nothing", "foveal train digits --epochs +3", "--epochs +N is for --resume"),
    usage("sizes of what has a size", "foveal train digits --size 32", "digits holds arrays"),
    usage("skipping files where there are none", "foveal train digits --skip-bad", "skip-bad would change nothing"),
    usage("two forms of output", "foveal predict run a.png --csv --json", "--csv and --json contradict each other"),
    usage("a shape that is none", "foveal summary vgg --input 32x32", "--input must be channels, height and width"),
    usage("layers that nothing needs", "foveal train digits --layers mine.py", "without --resume or --init-from"),
]

DATA = [
    Case("data that are not there", "foveal train flowers", "there is no flowers"),
    Case("an address", "foveal train https://example.org/a.zip", "is an address, and foveal reads what lies on this"),
    Case("a name that is too long", f"foveal train {'x' * 300}", "File name too long"),
    Case("an empty folder", "foveal train flowers", "flowers has no class folders", made=folder("flowers/")),
    Case("images without class folders", "foveal train flowers", "has no class folders", made=folder("flowers/a.png")),
    Case("one class only", "foveal train flowers", "at least 2 classes are needed", made=folder("flowers/daisy/a.png")),
    Case(
        "a class without images",
        "foveal train flowers",
        "tulip holds no images",
        made=folder("flowers/daisy/a.png", "flowers/tulip/"),
    ),
    Case(
        "too few images to split",
        "foveal train flowers",
        "too few to have some in each of train, test, validation",
        made=folder("flowers/daisy/a.png", "flowers/daisy/b.png", "flowers/tulip/c.png"),
    ),
    Case(
        "two folders for one part",
        "foveal train flowers",
        "has both val/ and valid/",
        made=folder("flowers/train/a/a.png", "flowers/val/a/b.png", "flowers/valid/a/c.png"),
    ),
    Case(
        "an image that cannot be read",
        "foveal train flowers",
        "1 of 13 image files cannot be read: daisy/x.jpg",
        made=bad_flowers,
    ),
    Case("no image that can be read", "foveal train flowers --skip-bad", "can be read", made=all_bad),
    Case("an image of absurd size", "foveal train flowers", "daisy/bomb.bmp (too many pixels", made=pixel_bomb),
    Case("a class name that is no text", "foveal train flowers", "has a name that is no text", made=undecodable),
    Case("a file of no kind", "foveal train flowers.doc", "flowers.doc is none of", made=written("flowers.doc", b"x")),
    Case(
        "a file that is none, inspected",
        "foveal inspect flowers.doc",
        "flowers.doc is none of",
        made=written("flowers.doc", b"x"),
    ),
    Case(
        "IDX that is cut off",
        "foveal train .",
        "says it holds 20 × 8 × 8 = 1280 bytes, but there are only 1180",
        made=mnist(cut=100),
    ),
    Case("IDX that lies about its size", "foveal train .", "but there are only 1280", made=mnist(count=4_000_000_000)),
    Case(
        "IDX of something else",
        "foveal train .",
        "holds elements of type",
        made=together(
            written("train-images-idx3-ubyte", b"\0\0\x0d\3" + bytes(80)),
            idx("train-labels-idx1-ubyte", LABELS.astype(np.uint8)),
        ),
    ),
    Case(
        "IDX that is none",
        "foveal train .",
        "is not an IDX file",
        made=together(
            written("train-images-idx3-ubyte", b"hello, hello"),
            idx("train-labels-idx1-ubyte", LABELS.astype(np.uint8)),
        ),
    ),
    Case(
        "IDX without labels",
        "foveal train .",
        "has no train-labels-idx1-ubyte",
        made=idx("train-images-idx3-ubyte", PIXELS),
    ),
    Case(
        "npz of real numbers", "foveal train a.npz", "images must be uint8", made=npz("a.npz", x=PIXELS / 255, y=LABELS)
    ),
    Case(
        "npz of other shapes",
        "foveal train a.npz",
        "images must be (N, H, W)",
        made=npz("a.npz", x=PIXELS[0, 0], y=LABELS),
    ),
    Case(
        "npz with too few labels",
        "foveal train a.npz",
        "20 images but 5 labels",
        made=npz("a.npz", x=PIXELS, y=LABELS[:5]),
    ),
    Case(
        "npz of objects (nothing is unpickled)",
        "foveal train a.npz",
        "object",
        made=npz("a.npz", x=PIXELS, y=np.array([{}] * 20)),
    ),
    Case(
        "npz of negative labels",
        "foveal train a.npz",
        "labels must be 0 or more",
        made=npz("a.npz", x=PIXELS, y=LABELS - 1),
    ),
    Case("npz without images", "foveal train a.npz", "a.npz holds z; needed are", made=npz("a.npz", z=PIXELS)),
    Case("npz that is none", "foveal train a.npz", "a.npz", made=written("a.npz", b"PK\x03\x04broken")),
    Case(
        "a CSV without columns",
        "foveal train a.csv",
        "its first line must name the columns, path,label",
        made=written("a.csv", b"a.png,daisy\n"),
    ),
    Case(
        "a CSV of files that are not there",
        "foveal train a.csv",
        "a.csv, line 2: there is no file a.png",
        made=written("a.csv", b"path,label\na.png,daisy\nb.png,tulip\n"),
    ),
    Case(
        "a CSV of an unknown part",
        "foveal train a.csv",
        "line 2: the split must be train, val or test, not 'dev'",
        made=together(folder("a.png"), written("a.csv", b"path,label,split\na.png,daisy,dev\n")),
    ),
    Case(
        "a CIFAR batch that would run a program",
        "foveal train cifar",
        "cifar/data_batch_1 is no batch of CIFAR's that can be read",
        made=cifar(b"cos\nsystem\n(S'touch run-by-pickle'\ntR."),
    ),
    Case(
        "a CIFAR batch that is cut off",
        "foveal train cifar",
        "cifar/data_batch_1.bin is cut off or no batch of CIFAR-10",
        made=cifar(bytes(5000), ".bin"),
    ),
    Case("a zip that is none", "foveal train a.zip", "a.zip is no zip archive", made=written("a.zip", b"hello")),
    Case("a tar that is none", "foveal train a.tar", "a.tar is no tar archive", made=written("a.tar", b"hello" * 300)),
    Case("an archive that is cut off", "foveal train flowers.tar.gz", "flowers.tar.gz is damaged", made=cut_tar),
    Case(
        "a path out of the archive",
        "foveal train flowers.tar",
        "'../evil.png', a path that leads out",
        made=tar("flowers.tar", ("../evil.png", tarfile.REGTYPE)),
    ),
    Case(
        "an absolute path in an archive",
        "foveal train flowers.tar",
        "'/etc/evil.png', a path that leads out",
        made=tar("flowers.tar", ("/etc/evil.png", tarfile.REGTYPE)),
    ),
    Case(
        "a link in an archive",
        "foveal train flowers.tar",
        "'a/link.png', a link",
        made=tar("flowers.tar", ("a/link.png", tarfile.SYMTYPE)),
    ),
    Case(
        "a decompression bomb", "foveal train flowers.zip", "unpacks to more than 200 times its size", made=packed_bomb
    ),
]

RUNS = [
    Case("a run that is not there", "foveal evaluate run", "there is no run folder run"),
    Case("a folder that is no run", "foveal evaluate run", "run is not a run folder", made=folder("run/")),
    Case(
        "a model that is none",
        "foveal summary model.safetensors",
        "damaged or not a safetensors file",
        made=written("model.safetensors", b"not a model"),
    ),
    Case(
        "a model of another library",
        "foveal predict model.safetensors a.png",
        "was not written by foveal",
        made=together(model(foreign=True), folder("a.png")),
    ),
    Case(
        "a model of a newer version",
        "foveal summary model.safetensors",
        "written by a newer version of foveal (format 99",
        made=model(record={"format": 99}),
    ),
    Case(
        "a model with a flipped bit",
        "foveal summary model.safetensors",
        "does not match its digest",
        made=model(flip=True),
    ),
    Case(
        "a checkpoint for a model",
        "foveal summary run/last.safetensors",
        "is a foveal checkpoint, not a model",
        made=run,
    ),
    Case(
        "a run without a model",
        "foveal evaluate run",
        "run has no model.safetensors",
        made=without("model.safetensors"),
    ),
    Case("a run that exists", f"foveal train digits {SMALL} --out run", "run exists already", 2, run),
    Case("resuming nothing", "foveal train --resume run", "there is no run folder run"),
    usage("resuming with other settings", "foveal train --resume run --lr 0.1", "leave out --lr"),
    Case("resuming to another end", "foveal train --resume run --epochs 3", "--epochs +N adds to it", 2, run),
    Case("resuming for no more epochs", "foveal train --resume run --epochs +0", "N of at least 1", 2, run),
    Case(
        "settings that are damaged", "foveal train --resume run", "config.json is damaged", made=damaged("config.json")
    ),
    Case(
        "settings that lack something",
        "foveal train --resume run",
        "it has no usable environment",
        made=config(environment=3),
    ),
    Case(
        "settings of a newer version",
        "foveal train --resume run",
        "settings that this version of foveal does not know",
        made=config(settings={"warp": 9}),
    ),
    Case(
        "a checkpoint that is damaged",
        "foveal train --resume run",
        "last.safetensors is damaged",
        made=damaged("last.safetensors"),
    ),
    Case(
        "a checkpoint of another run",
        "foveal train --resume run",
        "run/model.safetensors is not the file that this run wrote",
        made=other_run,
    ),
    Case(
        "a model that is gone",
        "foveal train --resume run",
        "model.safetensors is missing",
        made=without("model.safetensors"),
    ),
    Case(
        "a second process on one run", "foveal train --resume run --epochs +1", "run is in use by process", made=in_use
    ),
    Case(
        "data that are gone",
        "foveal train --resume run --epochs +1",
        "are no longer at flowers",
        made=changed(lambda tools: shutil.rmtree(tools.folder / "flowers")),
    ),
    Case(
        "data that have changed",
        "foveal train --resume run --epochs +1",
        "no longer those it was begun with",
        made=changed(lambda tools: image(tools.folder / "flowers" / "daisy" / "0.png", 99)),
    ),
    Case(
        "evaluating on other classes",
        "foveal evaluate run flowers",
        "the network has no class daisy, tulip",
        made=together(run, flowers),
    ),
    Case("evaluating on nothing", "foveal evaluate model.safetensors", "it has no test part", made=model()),
    Case(
        "evaluating on other shapes",
        "foveal evaluate run a.npz",
        "holds images of 9 × 9 × 1, but 8 × 8 × 1 are needed",
        made=together(run, npz("a.npz", x=np.zeros((20, 9, 9), np.uint8), y=LABELS)),
    ),
    Case("predicting what is not there", "foveal predict run a.png", "there is no file a.png", made=run),
    Case(
        "predicting an archive",
        "foveal predict run photos.zip",
        "photos.zip is an archive, and predict takes image files and folders",
        made=together(run, bad_images("photos.zip")),
    ),
    Case(
        "predicting what is no image",
        "foveal predict run a.png",
        "a.png cannot be read: not an image",
        made=together(run, bad_images("a.png")),
    ),
    Case(
        "predicting some that are no images",
        "foveal predict run a.png b.png",
        "1 of 2 images cannot be read: a.png",
        made=together(run, bad_images("a.png"), folder("b.png")),
    ),
    Case(
        "predicting an empty folder",
        "foveal predict run photos",
        "the folder photos holds no images",
        made=together(run, folder("photos/")),
    ),
    Case(
        "a pattern that matches nothing", "foveal predict run 'photos/*.png'", "no file matches photos/*.png", made=run
    ),
    Case("starting from nothing", "foveal train digits --init-from other", "there is no run folder other"),
    Case(
        "starting from another network",
        "foveal train digits --init-from run --model mlp --width 0.2",
        "layer 1 (Dense): weight has shape (160, 64) here, but (80, 64)",
        made=run,
    ),
    Case(
        "starting from grey for colour",
        "foveal train a.npz --init-from run",
        "the images are colour, but those of the model were grey",
        made=together(
            run,
            npz(
                "a.npz",
                x=np.zeros((40, 8, 8, 3), np.uint8) + np.arange(40, dtype=np.uint8)[:, None, None, None],
                y=np.arange(40) % 2,
            ),
        ),
    ),
    Case(
        "a model with layers of one's own",
        "foveal evaluate model.safetensors digits",
        "a layer of kind 'Swirl', which is none of foveal's",
        made=model(record={"spec": {"kind": "Swirl"}}),
    ),
    Case(
        "layers that cannot be imported",
        "foveal evaluate run --layers layers.py",
        "cannot be imported: ZeroDivisionError",
        2,
        layers_file("1 / 0"),
    ),
    Case(
        "a file without layers",
        "foveal evaluate run --layers layers.py",
        "layers.py defines no layer",
        2,
        layers_file(""),
    ),
]

MACHINE = [
    usage("threads from the environment", "FOVEAL_THREADS=many foveal info", "FOVEAL_THREADS must be a number from 1"),
    usage("no threads from the environment", "FOVEAL_THREADS=0 foveal info", "FOVEAL_THREADS must be from 1"),
    usage(
        "an instruction set from the environment",
        "FOVEAL_ISA=avx3 foveal info",
        "FOVEAL_ISA: no instruction set is called 'avx3'; did you mean",
    ),
    Case(
        "a rate that diverges",
        "foveal train digits --model mlp --width 0.1 --lr 1e6 --schedule constant",
        "; the learning rate was 1e+06, try --lr 1e+05 or --lr auto",
        leaves="runs",
    ),
    Case(
        "a run below a file",
        f"foveal train digits {SMALL} --out notes/run",
        "cannot create notes/run: notes is a file",
        made=written("notes", b"x"),
    ),
    Case(
        "a full disk",
        f"ulimit -f 1; foveal train digits {SMALL}",
        "cannot write runs/digits-1/config.json: File too large",
    ),
    Case("an output that is full", "foveal info > /dev/full", "input or output: No space left on device"),
]

SECTIONS = {"Commands and flags": COMMANDS, "Data": DATA, "Models and runs": RUNS, "The machine": MACHINE}
CASES = [case for cases in SECTIONS.values() for case in cases]
